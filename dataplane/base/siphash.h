/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for what a peer must not predict. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const void *data, size_t n, const uint8_t key[16]);

/* SipHash-1-3: half the rounds, for tables in memory, whose hashes nobody sees. */
uint64_t siphash13(const void *data, size_t n, uint64_t key0, uint64_t key1);

/* A key for one purpose (a name), from a secret: what one use of a hash shows says nothing about another. */
void siphash_derive(const uint8_t secret[16], const char *purpose, uint8_t key[16]);

#endif
