/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the beginning of a connection. First two bytes: how large the
 * records are into which the handshake messages of the rest are put again; 0:
 * the rest as it is, alone. What was read does not depend on that, nor on what
 * comes behind it, and what is said of some bytes stays true for more.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tls/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MAX 16384u
#define RECORD_HEAD 5u

#define CHECK(x) \
	do { \
		if (!(x)) \
			abort(); \
	} while (0)

/* From bytes of just this size: a sanitizer sees one too far. */
static enum hello_outcome read_n(const uint8_t *p, size_t n, size_t max, struct hello *out)
{
	uint8_t *copy = malloc(n ? n : 1);
	enum hello_outcome o;
	size_t wants;

	CHECK(copy);
	memcpy(copy, p, n);
	memset(out, 0, sizeof(*out));
	o = hello_read(copy, n, max, out);
	wants = hello_wants(copy, n, max);
	CHECK(o == HELLO_MORE ? wants > n && wants <= max : wants == n);
	free(copy);
	return o;
}

static void check_hello(const struct hello *h)
{
	CHECK(strlen(h->server_name) == h->n_server_name);
	for (const char *p = h->server_name; *p; p++) {
		CHECK((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' || *p == '_' || *p == '.');
		CHECK(*p != '.' || (p > h->server_name && p[-1] != '.' && p[1]));
	}
	CHECK(h->has_alpn || !(h->has_h2 || h->has_http1));
}

/* Waiting for what is wanted comes to the same end; but where a later record is wrong, that may be seen later. */
static void check_steps(const uint8_t *p, size_t n, enum hello_outcome o)
{
	enum hello_outcome then;
	struct hello h;
	size_t k = 0;

	for (unsigned steps = 0; k < n; steps++) {
		size_t wants = hello_wants(p, k, MAX);

		CHECK(steps < 200);
		if (wants <= k || wants > n)
			break;
		k = wants;
	}
	then = read_n(p, k, MAX, &h);
	CHECK(then == o || (then == HELLO_MORE && (o == HELLO_BAD || o == HELLO_TOO_LARGE)));
}

/* The content of whole records, one behind the other, in records of size bytes. */
static size_t split(const uint8_t *p, size_t n, size_t size, uint8_t *out)
{
	uint8_t *content = malloc(n + 1);
	size_t n_content = 0;
	size_t n_out = 0;

	CHECK(content);
	for (size_t i = 0; i + RECORD_HEAD <= n;) {
		size_t k = (size_t)p[i + 3] << 8 | p[i + 4];

		if (k > n - i - RECORD_HEAD)
			k = n - i - RECORD_HEAD;
		memcpy(content + n_content, p + i + RECORD_HEAD, k);
		n_content += k;
		i += RECORD_HEAD + k;
	}
	for (size_t i = 0; i < n_content;) {
		size_t k = size < n_content - i ? size : n_content - i;
		const uint8_t head[RECORD_HEAD] = {22, 3, 1, (uint8_t)(k >> 8), (uint8_t)k};

		memcpy(out + n_out, head, RECORD_HEAD);
		memcpy(out + n_out + RECORD_HEAD, content + i, k);
		n_out += RECORD_HEAD + k;
		i += k;
	}
	free(content);
	return n_out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t size = n >= 2 ? ((size_t)data[0] << 8 | data[1]) % MAX : 0;
	struct hello h, again;
	enum hello_outcome o;

	if (n < 2)
		return 0;
	data += 2;
	n -= 2;
	o = read_n(data, n, MAX, &h);
	check_steps(data, n, o);
	for (size_t k = 0; k < n; k += 1 + n / 16) {
		enum hello_outcome part = read_n(data, k, MAX, &again);

		CHECK(part == HELLO_MORE || part == o);
		CHECK(part != HELLO_DONE || memcmp(&h, &again, sizeof(h)) == 0);
	}
	if (o == HELLO_DONE)
		check_hello(&h);
	if (size && o == HELLO_DONE) {
		size_t end = 0;
		size_t n_out;
		uint8_t *out;

		while (read_n(data, end, MAX, &again) != HELLO_DONE) /* what is behind the hello is no part of it */
			end = hello_wants(data, end, MAX);
		out = malloc(end * (RECORD_HEAD + 1));
		CHECK(out);
		n_out = split(data, end, size, out);
		CHECK(read_n(out, n_out, n_out, &again) == HELLO_DONE);
		CHECK(memcmp(&h, &again, sizeof(h)) == 0);
		CHECK(read_n(out, n_out, n_out - 1, &again) == HELLO_TOO_LARGE);
		free(out);
	}
	return 0;
}
