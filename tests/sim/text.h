/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What test connections carry: an endless text of pseudo-random bytes for each
 * salt, so that a byte at the wrong place is seen wherever it is looked at.
 */
#ifndef SIM_TEXT_H
#define SIM_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_RUN 65536 /* so many bytes are contiguous from any place */

/* The text of a salt from byte off on, which may be negative; TEXT_RUN bytes may be read there. */
const uint8_t *text_at(uint32_t salt, int64_t off);

#endif
