/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded byte builder over memory that the caller owns. What does not fit
 * sets overflow and is left out; check it once at the end.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdint.h>

#include "base/slice.h"

struct buf {
	char *p;
	size_t n;
	size_t cap;
	bool overflow;
};

static inline void buf_init(struct buf *b, void *mem, size_t cap)
{
	*b = (struct buf){.p = mem, .cap = cap};
}

static inline void buf_add(struct buf *b, const void *p, size_t n)
{
	if (n > b->cap - b->n) {
		b->overflow = true;
		return;
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static inline void buf_slice(struct buf *b, struct slice s)
{
	buf_add(b, s.p, s.n);
}

static inline void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

static inline void buf_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

static inline void buf_uint(struct buf *b, uint64_t v, unsigned base)
{
	char tmp[24];
	size_t i = sizeof(tmp);

	do {
		tmp[--i] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	buf_add(b, tmp + i, sizeof(tmp) - i);
}

static inline struct slice buf_get(const struct buf *b)
{
	return slice_of(b->p, b->n);
}

#endif
