/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash, little endian. See siphash.h. */
#include "base/siphash.h"

#include <string.h>

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = ROTL(v[1], 13) ^ v[0];
		v[3] = ROTL(v[3], 16) ^ v[2];
		v[0] = ROTL(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = ROTL(v[1], 17) ^ v[2];
		v[3] = ROTL(v[3], 21) ^ v[0];
		v[2] = ROTL(v[2], 32);
	}
}

/* n_block rounds for each eight bytes, n_end at the end. */
static inline uint64_t hash(const void *data, size_t n, const uint64_t k[2], unsigned n_block, unsigned n_end)
{
	const uint8_t *p = data;
	uint64_t v[4];
	uint64_t m;
	size_t i = 0;

	v[0] = k[0] ^ 0x736f6d6570736575ull;
	v[1] = k[1] ^ 0x646f72616e646f6dull;
	v[2] = k[0] ^ 0x6c7967656e657261ull;
	v[3] = k[1] ^ 0x7465646279746573ull;
	for (; i + 8 <= n; i += 8) {
		memcpy(&m, p + i, 8);
		v[3] ^= m;
		rounds(v, n_block);
		v[0] ^= m;
	}
	m = (uint64_t)n << 56;
	for (size_t j = 0; i + j < n; j++)
		m |= (uint64_t)p[i + j] << (8 * j);
	v[3] ^= m;
	rounds(v, n_block);
	v[0] ^= m;
	v[2] ^= 0xff;
	rounds(v, n_end);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t siphash(const void *data, size_t n, const uint8_t key[16])
{
	uint64_t k[2];

	memcpy(k, key, 16);
	return hash(data, n, k, 2, 4);
}

uint64_t siphash13(const void *data, size_t n, uint64_t key0, uint64_t key1)
{
	return hash(data, n, (const uint64_t[2]){key0, key1}, 1, 3);
}

void siphash_derive(const uint8_t secret[16], const char *purpose, uint8_t key[16])
{
	size_t n = strlen(purpose);
	uint64_t low = siphash(purpose, n, secret);
	uint64_t high = siphash(&low, sizeof(low), secret);

	memcpy(key, &low, 8);
	memcpy(key + 8, &high, 8);
}
