/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protection of records whose keys are known (RFC 8446 5.2, RFC 5246 6.2.3.3, RFC 5288, RFC 7905), by OpenSSL's ciphers, from and into
 * packet buffers. A connection keeps its keys alone, 64 bytes each way: contexts of ciphers belong to the worker,
 * which has few, and are given the key of who needs one.
 */
#ifndef TLS_RECORD_H
#define TLS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

struct rte_mbuf;
struct rte_mempool;

#define RECORD_HEAD 5u
#define RECORD_TAG 16u
#define RECORD_NONCE 8u /* in front of what is sealed, by AES-GCM of TLS 1.2 */
#define RECORD_MAX_CONTENT 16384u
#define RECORD_IV 12u

enum record_type { RECORD_CHANGE_CIPHER_SPEC = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_CONTENT = 23 };

enum record_cipher { RECORD_AES_128_GCM, RECORD_AES_256_GCM, RECORD_CHACHA20_POLY1305, RECORD_N_CIPHERS };

/* One direction of a connection. */
struct record_key {
	uint64_t seq; /* of the next record */
	uint8_t key[32];
	uint8_t iv[RECORD_IV]; /* of AES-GCM in TLS 1.2 the first four bytes */
	uint8_t cipher;	       /* enum record_cipher */
	uint8_t slot;	       /* where its context was last */
	bool is_13;	       /* TLS 1.3, else 1.2 */
	bool seals;	       /* else it opens */
};

#define RECORD_SLOTS 32u /* contexts for each cipher */

struct record_context {
	EVP_CIPHER_CTX *ctx;
	const struct record_key *of; /* whose key it has; NULL: nobody's */
};

/* A worker's. */
struct record_ciphers {
	EVP_CIPHER *cipher[RECORD_N_CIPHERS];
	struct record_context slots[RECORD_N_CIPHERS][RECORD_SLOTS];
	unsigned next[RECORD_N_CIPHERS]; /* is taken from its owner next */
};

/* 0, or -1 with OpenSSL's reasons in its queue; then record_ciphers_fini(), too. */
int record_ciphers_init(struct record_ciphers *c, OSSL_LIB_CTX *lib);
void record_ciphers_fini(struct record_ciphers *c);
/* Bytes of a key. */
size_t record_key_bytes(enum record_cipher cipher);
/* The key was changed, or is not used any more: no context has it from now on. Its bytes are the caller's to wipe. */
void record_forget(struct record_ciphers *c, struct record_key *k);

/* Bytes in front of the ciphertext, behind the head. */
static inline size_t record_nonce_bytes(const struct record_key *k)
{
	return !k->is_13 && k->cipher != RECORD_CHACHA20_POLY1305 ? RECORD_NONCE : 0;
}

/* What a record has besides its content. */
static inline size_t record_overhead(const struct record_key *k)
{
	return RECORD_HEAD + record_nonce_bytes(k) + k->is_13 + RECORD_TAG;
}

/*
 * A record of n bytes, as a chain of mbufs of the pool. NULL: none is left there, or OpenSSL failed (*is_fatal); then
 * the key's number has not moved.
 */
struct rte_mbuf *record_seal(struct record_ciphers *c, struct record_key *k, enum record_type type, const uint8_t *p, size_t n,
			     struct rte_mempool *pool, bool *is_fatal);

/* What is known of a record before its content has come. */
struct record_head {
	uint8_t bytes[RECORD_HEAD];
	uint8_t nonce[RECORD_NONCE];
};

/*
 * Opens n bytes, ciphertext and tag, in a list of single mbufs (linked by next, direct, and nobody else has them), where they lie; their
 * ol_flags are cleared, since they told of other bytes. True: *list is the
 * content (NULL: none), what is over was freed, and *type its type, 0 if there was none (RFC 8446 5.4). False: the tag does
 * not fit; the list is as long as before, and its bytes are worth nothing.
 */
bool record_open(struct record_ciphers *c, struct record_key *k, const struct record_head *head, struct rte_mbuf **list, size_t n,
		 uint8_t *type);

#endif
