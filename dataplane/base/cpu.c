/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weir is built for x86-64-v3 (Haswell, Zen and later). This file alone is
 * built for any x86-64 and runs before all else, so that an older CPU gets a
 * sentence instead of an illegal instruction.
 */
#include <cpuid.h>
#include <string.h>
#include <unistd.h>

#define LEAF1_ECX (bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B)
#define LEAF7_EBX (bit_AVX2 | bit_BMI | bit_BMI2)

static int has_x86_64_v3(void)
{
	unsigned a;
	unsigned b;
	unsigned c;
	unsigned d;
	unsigned xcr0;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & LEAF1_ECX) != LEAF1_ECX)
		return 0;
	__asm__("xgetbv" : "=a"(xcr0), "=d"(d) : "c"(0)); /* the system saves AVX registers */
	if ((xcr0 & 6) != 6)
		return 0;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & LEAF7_EBX) != LEAF7_EBX)
		return 0;
	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_LZCNT) != 0;
}

__attribute__((constructor(101))) static void check_cpu(void)
{
	static const char text[] = "weir: error: this CPU lacks x86-64-v3 (AVX2, BMI, FMA), for which Weir is built\n";

	if (has_x86_64_v3())
		return;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(3);
	_exit(3);
}
