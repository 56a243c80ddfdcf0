/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many of the first n bytes are of a class, 32 at a time. Each has a twin
 * in scan_scalar(), which reads the table of class.c: the tests and the fuzz
 * target compare them.
 *
 * A load may read behind the n bytes, never into a page that has none of
 * them; what is read there is masked off.
 */
#ifndef HTTP1_SCAN_H
#define HTTP1_SCAN_H

#include <immintrin.h>
#include <stdint.h>

#include "http1/http1_pvt.h"

#define SCAN_PAGE 4096u

/* The twin: CLASS_TOKEN, CLASS_VALUE or CLASS_TARGET. */
static inline size_t scan_scalar(const char *p, size_t n, unsigned class)
{
	size_t i = 0;

	while (i < n && is_class(p[i], class))
		i++;
	return i;
}

static inline bool scan_is_near_page_end(const char *p)
{
	return ((uintptr_t)p & (SCAN_PAGE - 1)) > SCAN_PAGE - 32;
}

__attribute__((no_sanitize("address"))) static inline __m256i scan_load(const char *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/*
 * A set of ASCII characters: for each low nibble, a bit for each high nibble
 * below 8 (two table look-ups: Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019).
 */
struct scan_set {
	uint8_t by_low[16];
};

extern const struct scan_set scan_set_token, scan_set_target;

/* A bit for each byte that is not of the set. */
static inline uint32_t scan_outside(__m256i v, __m256i by_low)
{
	const __m256i bits = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0,
					      0, 0, 0, 0, 0);
	const __m256i nibble = _mm256_set1_epi8(15);
	__m256i low = _mm256_shuffle_epi8(by_low, _mm256_and_si256(v, nibble));
	__m256i high = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));

	return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(low, high), _mm256_setzero_si256()));
}

/* A bit for each control byte, but for HTAB. */
static inline uint32_t scan_controls(__m256i v)
{
	__m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
	__m256i tab = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\t'));
	__m256i del = _mm256_cmpeq_epi8(v, _mm256_set1_epi8(0x7f));

	return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_andnot_si256(tab, low), del));
}

/* set: of the class; NULL: CLASS_VALUE, all but control bytes. Both are constants where it is inlined. */
static inline __attribute__((always_inline)) size_t scan_while(const char *p, size_t n, unsigned class, const struct scan_set *set)
{
	__m256i by_low = set ? _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)set->by_low))
			     : _mm256_setzero_si256();

	for (size_t i = 0; i < n; i += 32) {
		uint32_t others;

		if (scan_is_near_page_end(p + i)) {
			size_t left = n - i < 32 ? n - i : 32;
			size_t k = scan_scalar(p + i, left, class);

			if (k < left)
				return i + k;
			continue;
		}
		others = set ? scan_outside(scan_load(p + i), by_low) : scan_controls(scan_load(p + i));
		if (others) {
			i += (size_t)__builtin_ctz(others);
			return i < n ? i : n;
		}
	}
	return n;
}

static inline size_t scan_token(const char *p, size_t n)
{
	return scan_while(p, n, CLASS_TOKEN, &scan_set_token);
}

static inline size_t scan_target(const char *p, size_t n)
{
	return scan_while(p, n, CLASS_TARGET, &scan_set_target);
}

static inline size_t scan_value(const char *p, size_t n)
{
	return scan_while(p, n, CLASS_VALUE, NULL);
}

#endif
