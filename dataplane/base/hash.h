/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash64: the one hash of the contract (tables and checksums of snapshot.h)
 * and of in-memory tables. Not for keys that a network peer chooses, unless
 * the seed is secret.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Hash of n bytes. Stable over versions of Weir: part of the ABI. */
uint64_t hash64(const void *data, size_t n, uint64_t seed);

/* As hash64, with the n_zero bytes at zero_off read as zero (a checksum over the blob that holds it). */
uint64_t hash64_zeroed(const void *data, size_t n, size_t zero_off, size_t n_zero, uint64_t seed);

/*
 * A number that nobody outside of this process knows, the same until its end: a seed for what others choose the
 * keys of.
 */
uint64_t hash_secret(void);

/*
 * SipHash-1-3 under a key that nobody outside of this process knows: for tables in memory by names that others choose.
 * of: what else belongs to the key, such as the hash of another part of it.
 */
uint64_t hash_keyed(const void *data, size_t n, uint64_t of);

/*
 * The stable id of a backend, by its name ("namespace/service:port"); never 0.
 * The first 64 bits of SHA-256 (FIPS 180-4), since whoever may name a Service must not
 * be able to name one with the id of another's. It takes 200 ns, and at first allocates: not for workers.
 */
uint64_t hash_backend(const char *name);
uint64_t hash_backend_n(const char *name, size_t n);

#endif
