/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648 4) of what must not stay in memory. */
#include <stdlib.h>
#include <string.h>

#include "translate/translate_pvt.h"

static int digit_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

void bytes_fini(struct bytes *b)
{
	if (b->p)
		explicit_bzero(b->p, b->n);
	free(b->p);
	*b = (struct bytes){NULL, 0};
}

struct bytes base64_decode(const char *text, size_t n, const char *passed_over)
{
	struct bytes out = {.p = translate_must(malloc(n / 4 * 3 + 4))};
	uint32_t bits = 0;
	unsigned n_digits = 0;
	unsigned n_pads = 0;
	bool is_right = true;

	for (size_t i = 0; i < n && is_right; i++) {
		int digit = digit_of(text[i]);

		if (text[i] && strchr(passed_over, text[i]))
			continue;
		if (text[i] == '=')
			n_pads++;
		is_right = text[i] == '=' ? n_pads <= 2 && n_digits % 4 >= 2 : digit >= 0 && n_pads == 0;
		if (digit < 0)
			continue;
		bits = bits << 6 | (uint32_t)digit;
		if (n_digits++ % 4 != 0)
			out.p[out.n++] = (char)(bits >> (6 - 2 * ((n_digits - 1) % 4)));
	}
	if (!is_right || (n_digits + n_pads) % 4 != 0)
		bytes_fini(&out);
	return out;
}
