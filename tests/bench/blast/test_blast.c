/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of weir-blast that its figures and its checks rest on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "frame.h"
#include "hist.h"

static uint64_t prng = 7;

static uint64_t rnd(void)
{
	prng ^= prng << 13;
	prng ^= prng >> 7;
	prng ^= prng << 17;
	return prng;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void percentiles_are_those_of_the_sorted_values(void **state)
{
	static const double shares[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
	static struct hist h;
	enum { N = 20000 };
	uint64_t *v = malloc(N * sizeof(*v));

	assert_non_null(v);
	for (unsigned round = 0; round < 5; round++) {
		hist_clear(&h);
		assert_int_equal(hist_at(&h, 0.5), 0);
		for (unsigned i = 0; i < N; i++) {
			v[i] = rnd() >> (22 + rnd() % (10 * round + 1)); /* over ever more powers of two */
			hist_add(&h, v[i]);
		}
		qsort(v, N, sizeof(*v), compare);
		for (unsigned k = 0; k < sizeof(shares) / sizeof(*shares); k++) {
			uint64_t want = v[(size_t)(shares[k] * N + 0.5) - 1];
			uint64_t got = hist_at(&h, shares[k]);

			assert_true(got >= want);
			assert_true(got - want <= want / HIST_SUB);
		}
		assert_int_equal(hist_at(&h, 1), v[N - 1]);
	}
	free(v);
}

static void a_value_beyond_the_range_counts_as_the_longest(void **state)
{
	static struct hist h;

	hist_clear(&h);
	hist_add(&h, UINT64_MAX);
	hist_add(&h, 1);
	assert_int_equal(hist_at(&h, 0.5), 1);
	assert_true(hist_at(&h, 1) >= 1ull << (HIST_MAX_BITS - 1));
}

static struct content content;

static void any_piece_of_a_response_is_that_of_the_whole(void **state)
{
	static const uint32_t sizes[] = {0, 1, 9, 10, 1000, 70000, BODY_MAX};
	uint8_t *whole = malloc(BODY_MAX + CONTENT_HEAD_MAX);
	uint8_t piece[2000];

	assert_non_null(whole);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint32_t id = (uint32_t)rnd();
		size_t n = content_response_length(&content, sizes[i]);
		struct response_head h;
		long head;

		content_response(&content, id, sizes[i], 0, n, whole);
		head = content_read_response(whole, n, &h);
		assert_int_equal(head, n - sizes[i]);
		assert_int_equal(h.status, 200);
		assert_true(h.has_length && h.has_id && !h.is_close);
		assert_int_equal(h.length, sizes[i]);
		assert_int_equal(h.id, id);
		assert_true(content_is_body(&content, id, 0, whole + head, sizes[i]));
		for (unsigned k = 0; k < 200; k++) {
			size_t off = rnd() % n;
			size_t len = rnd() % sizeof(piece) < n - off ? rnd() % sizeof(piece) : n - off;

			len = len < n - off ? len : n - off;
			content_response(&content, id, sizes[i], off, len, piece);
			assert_memory_equal(piece, whole + off, len);
		}
	}
	free(whole);
}

static void a_body_that_is_not_the_ids_is_noticed(void **state)
{
	uint8_t b[3000];
	size_t head = content_response_length(&content, 3000) - 3000;

	content_response(&content, 5, 3000, head, 3000, b);
	assert_true(content_is_body(&content, 5, 0, b, 3000));
	assert_false(content_is_body(&content, 6, 0, b, 3000));
	assert_false(content_is_body(&content, 5, 1, b, 2999)); /* one byte is missing */
	assert_true(content_is_body(&content, 5, 1, b + 1, 2999));
	b[2999] ^= 1;
	assert_false(content_is_body(&content, 5, 0, b, 3000));
	assert_false(content_is_body(&content, 5, BODY_MAX, b, 1));
}

static void a_request_is_read_back_whole_and_in_pieces(void **state)
{
	uint8_t b[CONTENT_HEAD_MAX];
	uint32_t id;
	uint32_t size;

	for (int is_last = 0; is_last < 2; is_last++) {
		size_t n = content_request_length(&content, is_last);

		content_request(&content, is_last, 0xdeadbeef, 12345, 0, n, b);
		assert_int_equal(content_read_request(b, n, &id, &size), n);
		assert_int_equal(id, 0xdeadbeef);
		assert_int_equal(size, 12345);
		assert_int_equal(content_is_last_request(b, n), is_last);
		for (size_t k = 0; k < n; k++) {
			assert_int_equal(content_read_request(b, k, &id, &size), 0);
			content_request(&content, is_last, 0xdeadbeef, 12345, k, n - k, b + k);
		}
		assert_int_equal(content_read_request(b, n, &id, &size), n);
		b[4] = 'x';
		assert_int_equal(content_read_request(b, n, &id, &size), -1);
	}
}

static void requests_are_spread_over_hosts_and_paths(void **state)
{
	bool hosts[50] = {false};
	bool paths[4] = {false};
	uint8_t p[CONTENT_HEAD_MAX];

	assert_int_not_equal(content_spread(&content, 5, 0), 0);
	assert_int_not_equal(content_spread(&content, 1000000, 1), 0);
	assert_int_equal(content_spread(&content, 50, 4), 0);
	for (uint32_t i = 0; i < 5000; i++) {
		size_t n = content_request_length(&content, i & 1);
		uint32_t id, size;
		unsigned host, path;

		content_request(&content, i & 1, i, 77, 0, n, p);
		p[n] = 0;
		assert_int_equal(content_read_request(p, n, &id, &size), n);
		assert_int_equal(id, i);
		assert_int_equal(size, 77);
		assert_int_equal(sscanf((char *)p, "GET /p%2u/%*8x/%*8x HTTP/1.1\r\nHost: h%5u.routes.example.com", &path, &host), 2);
		assert_true(host < 50 && path < 4);
		hosts[host] = paths[path] = true;
	}
	for (unsigned i = 0; i < 50; i++)
		assert_true(hosts[i] && paths[i % 4]);
	assert_int_equal(content_spread(&content, 0, 0), 0);
	content_request(&content, 0, 1, 2, 0, content_request_length(&content, 0), p);
	assert_memory_equal(p, "GET /00000002/00000001 HTTP/1.1\r\nHost: blast", 44);
}

static void malformed_responses_are_refused(void **state)
{
	static const char *const bad[] = {
		"HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\rX: y\r\n\r\n",
	};
	struct response_head h;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(content_read_response((const uint8_t *)bad[i], strlen(bad[i]), &h), -1);
	assert_int_equal(content_read_response((const uint8_t *)"HTTP/1.1 503 no\r\nconnection: CLOSE\r\n\r\n", 37, &h), 0);
	assert_int_equal(content_read_response((const uint8_t *)"HTTP/1.1 503 no\r\nconnection: CLOSE\r\n\r\n", 38, &h), 38);
	assert_int_equal(h.status, 503);
	assert_true(h.is_close && !h.has_length && !h.has_id);
}

static struct segment make_segment(void)
{
	return (struct segment){.src = (uint32_t)rnd(), .dst = (uint32_t)rnd(), .src_port = (uint16_t)rnd(),
				.dst_port = (uint16_t)rnd(), .seq = (uint32_t)rnd(), .ack = (uint32_t)rnd(), .wnd = (uint16_t)rnd(),
				.flags = rnd() & 1 ? SYN | ACK : ACK, .has_ts = rnd() & 1, .has_wscale = rnd() & 1,
				.ts_val = (uint32_t)rnd(), .ts_ecr = (uint32_t)rnd(), .wscale = rnd() % 15, .mss = 1460,
				.len = (uint32_t)(rnd() % 1400)};
}

static void a_segment_is_read_as_it_was_written_and_each_bit_counts(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	uint8_t b[FRAME_HEAD_MAX + 1400];

	for (unsigned round = 0; round < 300; round++) {
		struct segment s = make_segment();
		struct segment got;
		unsigned head = frame_head_length(&s);
		unsigned bit;

		for (unsigned i = 0; i < s.len; i++)
			b[head + i] = (uint8_t)rnd();
		frame_write_tcp(b, &s, mac, mac, (uint16_t)rnd());
		assert_int_equal(frame_read(b, head + s.len, true, &got, NULL), FRAME_TCP);
		assert_int_equal(got.src, s.src);
		assert_int_equal(got.dst, s.dst);
		assert_int_equal(got.src_port, s.src_port);
		assert_int_equal(got.dst_port, s.dst_port);
		assert_int_equal(got.seq, s.seq);
		assert_int_equal(got.ack, s.ack);
		assert_int_equal(got.wnd, s.wnd);
		assert_int_equal(got.flags, s.flags);
		assert_int_equal(got.len, s.len);
		assert_ptr_equal(got.data, b + head);
		assert_int_equal(got.has_ts, s.has_ts);
		assert_int_equal(got.ts_val, s.has_ts ? s.ts_val : 0);
		assert_int_equal(got.mss, s.flags & SYN ? 1460 : 0);
		assert_int_equal(got.wscale, (s.flags & SYN) && s.has_wscale ? s.wscale : 0);
		bit = (unsigned)(rnd() % ((20 + head - 34 + s.len) * 8)); /* of all that a checksum covers */
		b[14 + bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(frame_read(b, head + s.len, true, &got, NULL), FRAME_TCP);
	}
}

static int set_up(void **state)
{
	return content_init(&content, "blast.example.com");
}

static int tear_down(void **state)
{
	content_fini(&content);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(percentiles_are_those_of_the_sorted_values),
		cmocka_unit_test(a_value_beyond_the_range_counts_as_the_longest),
		cmocka_unit_test(any_piece_of_a_response_is_that_of_the_whole),
		cmocka_unit_test(a_body_that_is_not_the_ids_is_noticed),
		cmocka_unit_test(a_request_is_read_back_whole_and_in_pieces),
		cmocka_unit_test(requests_are_spread_over_hosts_and_paths),
		cmocka_unit_test(malformed_responses_are_refused),
		cmocka_unit_test(a_segment_is_read_as_it_was_written_and_each_bit_counts),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
