/* SPDX-License-Identifier: Apache-2.0 */
/* What test connections carry. See text.h. */
#include "text.h"

#include <string.h>

#include "sim.h"

#define PERIOD 65521 /* prime: a shift by a power of two, or by a window, is no period of it */

const uint8_t *text_at(uint32_t salt, int64_t off)
{
	static uint8_t text[PERIOD + TEXT_RUN];
	static int is_made;

	if (!is_made) {
		uint64_t prng = 42;

		for (unsigned i = 0; i < PERIOD; i++)
			text[i] = (uint8_t)sim_mix(&prng);
		for (unsigned i = PERIOD; i < sizeof(text); i++)
			text[i] = text[i - PERIOD];
		is_made = 1;
	}
	off = (off + (int64_t)(salt % PERIOD) * 4093) % PERIOD;
	return text + (off < 0 ? off + PERIOD : off);
}
