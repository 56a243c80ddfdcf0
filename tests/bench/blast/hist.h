/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of times with a bounded relative error (as HdrHistogram has):
 * each power of two is cut into HIST_SUB equal parts, so a value is known to
 * 1/HIST_SUB of itself, whatever its size.
 */
#ifndef BLAST_HIST_H
#define BLAST_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 7
#define HIST_SUB (1u << HIST_SUB_BITS)
#define HIST_MAX_BITS 44 /* 2^44 ns are 4.9 hours; what is longer counts as that */
#define HIST_SLOTS ((HIST_MAX_BITS - HIST_SUB_BITS + 1) * HIST_SUB)

struct hist {
	uint64_t n;
	uint64_t max;
	double sum;
	uint64_t count[HIST_SLOTS];
};

void hist_clear(struct hist *h);
void hist_add(struct hist *h, uint64_t ns);
/* The smallest value that at least share (0 to 1) of all are not above, rounded up to its slot's end. 0 if there is none. */
uint64_t hist_at(const struct hist *h, double share);
double hist_mean(const struct hist *h);

#endif
