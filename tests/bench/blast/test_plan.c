/* SPDX-License-Identifier: Apache-2.0 */
/* What a load with faults sends and how it reads what comes: a judge that lets something pass would find nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "plan.h"

#define N_IDS 3000u

static struct content content;
static uint64_t prng = 7;

static uint32_t rnd(uint32_t n)
{
	prng ^= prng << 13;
	prng ^= prng >> 7;
	prng ^= prng << 17;
	return (uint32_t)(prng % n);
}

static const struct plan_rates rates = {.faults = 0.5, .posts = 0.5, .seed = 3, .size = UINT32_MAX};

static int set_up(void **state)
{
	return content_init(&content, "blast.example.com");
}

static int tear_down(void **state)
{
	content_fini(&content);
	return 0;
}

static size_t message(const struct plan *p, bool is_answer, size_t off, size_t n, uint8_t *out)
{
	return is_answer ? plan_answer(&content, p, p->fault, off, n, out) : plan_request(&content, p, false, off, n, out);
}

static void any_piece_of_a_message_is_that_of_the_whole(void **state)
{
	for (uint32_t id = 0; id < N_IDS; id++) {
		struct plan p = plan_of(&rates, id);
		bool is_answer = id & 1;
		size_t n = message(&p, is_answer, 0, 0, NULL);
		uint8_t *whole = malloc(n);
		uint8_t *piece = malloc(n);

		assert_int_equal(message(&p, is_answer, 0, n, whole), n);
		for (size_t off = 0, k; off < n; off += k) {
			k = 1 + rnd(1448 + (uint32_t)n / 20);
			k = k < n - off ? k : n - off;
			message(&p, is_answer, off, k, piece);
			assert_memory_equal(piece, whole + off, k);
		}
		free(whole);
		free(piece);
	}
}

static void each_fault_happens_and_a_cut_answer_is_cut(void **state)
{
	unsigned n[N_FAULTS] = {0};
	unsigned n_posts = 0;

	for (uint32_t id = 0; id < 200000; id++) {
		struct plan p = plan_of(&rates, id);
		bool is_cut = p.fault == F_RST_IN_HEAD || p.fault == F_FIN_IN_HEAD || p.fault == F_RST_IN_BODY || p.fault == F_FIN_IN_BODY ||
			      p.fault == F_STALL_IN_BODY;
		uint32_t whole = (uint32_t)plan_answer(&content, &p, p.fault, 0, 0, NULL);

		n[p.fault]++;
		n_posts += p.is_post;
		assert_in_range(plan_cut(&content, &p, p.fault), 1, is_cut ? whole - 1 : whole);
		assert_int_equal(plan_cut(&content, &p, p.fault) == whole, !is_cut);
	}
	for (unsigned f = 0; f < N_FAULTS; f++)
		assert_true(n[f] > 20);
	assert_in_range(n[F_NONE], 95000, 105000);
	assert_in_range(n_posts, 95000, 105000);
}

/* Reads a body in pieces, up to what comes first: its end, an error, or the end of the bytes. */
static enum body_state read_all(struct body_reader *r, uint32_t id, const uint8_t *p, size_t n)
{
	enum body_state s = BODY_MORE;
	size_t at = 0;
	uint32_t used = 1;

	while (at < n && s == BODY_MORE && used) {
		uint32_t k = 1 + rnd(3000);

		k = k < n - at ? k : (uint32_t)(n - at);
		s = body_take(r, &content, id, p + at, k, &used);
		at += used;
	}
	return s == BODY_DONE && at != n ? BODY_WRONG_LENGTH : s;
}

/* The request's body of some id that has one, with its framing. */
static size_t some_body(uint32_t *id, struct plan *p, uint8_t **out, struct body_reader *r)
{
	struct request_head h;
	size_t n, len;
	uint8_t *whole;

	do
		*p = plan_of(&rates, ++*id);
	while (!p->is_post || !p->post);
	n = plan_request(&content, p, false, 0, 0, NULL);
	whole = malloc(n);
	plan_request(&content, p, false, 0, n, whole);
	len = (size_t)content_read_any(whole, n, &h);
	assert_in_range(len, 40, n);
	assert_int_equal(h.id, *id);
	assert_int_equal(h.size, p->size);
	assert_true(h.is_post && h.is_chunked == p->is_chunked && (h.is_chunked || h.length == p->post));
	body_begin(r, p->is_chunked ? BODY_CHUNKED : BODY_SIZED, p->post, true);
	memmove(whole, whole + len, n - len);
	*out = whole;
	return n - len;
}

static void bodies_are_read_in_any_pieces(void **state)
{
	uint32_t id = 0;

	for (unsigned i = 0; i < N_IDS; i++) {
		struct body_reader r;
		struct plan p;
		uint8_t *body;
		size_t n = some_body(&id, &p, &body, &r);

		assert_int_equal(read_all(&r, id, body, n), BODY_DONE);
		assert_int_equal(r.got, p.post);
		free(body);
	}
}

static void a_body_with_a_wrong_byte_is_never_whole(void **state)
{
	uint32_t id = 0;

	for (unsigned i = 0; i < N_IDS; i++) {
		struct body_reader r;
		struct plan p;
		uint8_t *body;
		size_t n = some_body(&id, &p, &body, &r);
		size_t at = rnd((uint32_t)n);
		uint8_t b = (uint8_t)(body[at] ^ 1 << rnd(8));

		if ((body[at] ^ b) == 0x20) /* may be the case of a hexadecimal digit */
			b ^= 0x80;
		body[at] = b;
		assert_int_not_equal(read_all(&r, id, body, n), BODY_DONE);
		free(body);
	}
}

static void a_body_that_is_cut_or_lacks_a_piece_is_never_whole(void **state)
{
	uint32_t id = 0;

	for (unsigned i = 0; i < N_IDS; i++) {
		struct body_reader r;
		struct plan p;
		uint8_t *body;
		size_t n = some_body(&id, &p, &body, &r);
		size_t at = rnd((uint32_t)n);

		if (i & 1) {
			assert_int_equal(read_all(&r, id, body, at), BODY_MORE);
		} else {
			memmove(body + at, body + at + 1, n - at - 1);
			assert_int_not_equal(read_all(&r, id, body, n - 1), BODY_DONE);
		}
		free(body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_piece_of_a_message_is_that_of_the_whole),
		cmocka_unit_test(each_fault_happens_and_a_cut_answer_is_cut),
		cmocka_unit_test(bodies_are_read_in_any_pieces),
		cmocka_unit_test(a_body_with_a_wrong_byte_is_never_whole),
		cmocka_unit_test(a_body_that_is_cut_or_lacks_a_piece_is_never_whole),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
