/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"

static size_t encode(uint32_t c, unsigned char *out)
{
	if (c < 0x80) {
		out[0] = (unsigned char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (unsigned char)(0xc0 | c >> 6);
		out[1] = (unsigned char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (unsigned char)(0xe0 | c >> 12);
		out[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (unsigned char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (unsigned char)(0xf0 | c >> 18);
	out[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (unsigned char)(0x80 | (c & 0x3f));
	return 4;
}

static void every_character_is_taken_and_no_surrogate(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x200000; c++) {
		unsigned char b[4];
		size_t n = encode(c, b);
		bool is_right = c < 0x110000 && (c < 0xd800 || c > 0xdfff);

		assert_int_equal(utf8_length(b, n), is_right ? n : 0);
		if (n > 1)
			assert_int_equal(utf8_length(b, n - 1), 0); /* cut */
	}
}

/* Of all strings of two and three bytes as many are characters as Unicode has. */
static void nothing_else_is_taken(void **state)
{
	unsigned n1 = 0, n2 = 0, n3 = 0;

	(void)state;
	for (uint32_t v = 0; v < 0x1000000; v++) {
		const unsigned char b[] = {(unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
		size_t n = utf8_length(b, 3);

		n1 += n == 1 && (v & 0xffff) == 0;
		n2 += n == 2 && (v & 0xff) == 0;
		n3 += n == 3;
	}
	assert_int_equal(n1, 0x80);
	assert_int_equal(n2, 0x800 - 0x80);
	assert_int_equal(n3, 0x10000 - 0x800 - 0x800);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_character_is_taken_and_no_surrogate),
	    cmocka_unit_test(nothing_else_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
