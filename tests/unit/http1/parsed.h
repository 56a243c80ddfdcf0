/* SPDX-License-Identifier: Apache-2.0 */
/* Heads as the tests of http1/ parse them. */
#ifndef TESTS_HTTP1_PARSED_H
#define TESTS_HTTP1_PARSED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http1/http1.h"

static const struct http1_limits limits = {.line_bytes = 200, .headers_bytes = 1024, .n_fields = 10};

struct parsed {
	enum http1_outcome o;
	size_t used;
	struct http_head h;
	char buf[1024];
};

/* Feeds pieces of `piece` bytes (0: all at once), or split once at `cut`. */
static void feed(struct parsed *r, const char *s, size_t n, size_t piece, size_t cut, bool is_response)
{
	struct http1_parser p;
	size_t i = 0;

	if (is_response)
		http1_response_init(&p, &r->h, r->buf, &limits, HTTP_METHOD_GET);
	else
		http1_request_init(&p, &r->h, r->buf, &limits);
	r->o = HTTP1_MORE;
	while (i < n && r->o == HTTP1_MORE) {
		size_t k = piece ? piece : cut && i < cut ? cut - i : n - i;
		size_t used;

		if (k > n - i)
			k = n - i;
		r->o = http1_parse(&p, s + i, k, &used);
		assert_true(used <= k);
		if (r->o == HTTP1_MORE)
			assert_int_equal(used, k);
		i += used;
	}
	r->used = i;
}

static void assert_text(struct slice s, const char *text)
{
	if (s.n != strlen(text) || memcmp(s.p, text, s.n) != 0)
		fail_msg("got '%.*s', wanted '%s'", (int)s.n, s.p, text);
}

#endif
