/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648 4) of what must not stay in memory. */
#ifndef TRANSLATE_BASE64_H
#define TRANSLATE_BASE64_H

#include <stddef.h>

/* Bytes that are overwritten before they are freed. */
struct bytes {
	char *p; /* NULL: there are none */
	size_t n;
};
void bytes_fini(struct bytes *b);
/* Strict, with padding, but for these characters. No bytes (p NULL) if it is none. */
struct bytes base64_decode(const char *text, size_t n, const char *passed_over);

#endif
