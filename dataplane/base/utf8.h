/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 (RFC 3629). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character at p, of which n >= 1 are there; 0: it is none, or is cut. */
size_t utf8_length(const unsigned char *p, size_t n);

#endif
