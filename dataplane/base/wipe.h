/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What copies leave behind: glibc's memcpy() goes through vector registers, on
 * CPUs with AVX-512 through some that nothing else uses (zmm16 and on), so that a
 * key may stand there for hours, and a core dump has the registers of all threads.
 */
#ifndef BASE_WIPE_H
#define BASE_WIPE_H

/* Empties the calling thread's vector registers. Called behind what copies keys. */
void wipe_registers(void);

#endif
