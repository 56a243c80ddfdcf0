/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/record.h"

#include <assert.h>
#include <string.h>

#include <rte_mbuf.h>

#define ROOM RTE_MBUF_DEFAULT_DATAROOM
#define SEGS_MAX 16u /* of a record */

static const char *const names[RECORD_N_CIPHERS] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};

size_t record_key_bytes(enum record_cipher cipher)
{
	return cipher == RECORD_AES_128_GCM ? 16 : 32;
}

/* -- contexts */

static const uint8_t no_key[32];

int record_ciphers_init(struct record_ciphers *c, OSSL_LIB_CTX *lib)
{
	for (unsigned i = 0; i < RECORD_N_CIPHERS; i++) {
		c->cipher[i] = EVP_CIPHER_fetch(lib, names[i], NULL);
		for (unsigned k = 0; k < RECORD_SLOTS; k++) {
			EVP_CIPHER_CTX *ctx = c->slots[i][k].ctx = EVP_CIPHER_CTX_new();

			if (!c->cipher[i] || !ctx || EVP_CipherInit_ex2(ctx, c->cipher[i], no_key, no_key, 1, NULL) != 1)
				return -1;
		}
	}
	return 0;
}

void record_ciphers_fini(struct record_ciphers *c)
{
	for (unsigned i = 0; i < RECORD_N_CIPHERS; i++) {
		for (unsigned k = 0; k < RECORD_SLOTS; k++)
			EVP_CIPHER_CTX_free(c->slots[i][k].ctx);
		EVP_CIPHER_free(c->cipher[i]);
	}
	memset(c, 0, sizeof(*c));
}

void record_forget(struct record_ciphers *c, struct record_key *k)
{
	struct record_context *slot = &c->slots[k->cipher][k->slot];

	if (slot->of != k)
		return;
	slot->of = NULL;
	EVP_CipherInit_ex2(slot->ctx, NULL, no_key, NULL, -1, NULL); /* no memory dump shows what it was */
}

/* The nonce that AEADs are given: RFC 8446 5.3, RFC 7905 2; RFC 5288 3. */
static void make_nonce(const struct record_key *k, const uint8_t explicit_nonce[RECORD_NONCE], uint8_t out[RECORD_IV])
{
	memcpy(out, k->iv, RECORD_IV);
	if (record_nonce_bytes(k)) {
		memcpy(out + 4, explicit_nonce, RECORD_NONCE);
		return;
	}
	for (unsigned i = 0; i < 8; i++)
		out[4 + i] ^= (uint8_t)(k->seq >> (56 - 8 * i));
}

/* A context with this key and this nonce. NULL: OpenSSL failed. */
static EVP_CIPHER_CTX *begin(struct record_ciphers *c, struct record_key *k, const uint8_t *nonce)
{
	struct record_context *slot = &c->slots[k->cipher][k->slot];
	const uint8_t *key = NULL;

	if (slot->of != k) {
		k->slot = (uint8_t)(c->next[k->cipher]++ % RECORD_SLOTS);
		slot = &c->slots[k->cipher][k->slot];
		slot->of = k;
		key = k->key;
	}
	if (EVP_CipherInit_ex2(slot->ctx, NULL, key, nonce, k->seals, NULL) == 1)
		return slot->ctx;
	slot->of = NULL;
	return NULL;
}

/* Additional data: RFC 8446 5.2: the head; RFC 5246 6.2.3.3: number, type, version, and length of the content. */
static bool add_head(const struct record_key *k, EVP_CIPHER_CTX *ctx, const uint8_t head[RECORD_HEAD], size_t n_content)
{
	uint8_t aad[13];
	int n;

	if (k->is_13)
		return EVP_CipherUpdate(ctx, NULL, &n, head, RECORD_HEAD) == 1;
	for (unsigned i = 0; i < 8; i++)
		aad[i] = (uint8_t)(k->seq >> (56 - 8 * i));
	memcpy(aad + 8, head, 3);
	aad[11] = (uint8_t)(n_content >> 8);
	aad[12] = (uint8_t)n_content;
	return EVP_CipherUpdate(ctx, NULL, &n, aad, sizeof(aad)) == 1;
}

/* -- sealing */

/* So many bytes of room. Heads come first, so only the last mbuf may be shorter than it could be. */
static struct rte_mbuf *alloc(struct rte_mempool *pool, size_t n)
{
	struct rte_mbuf *m[SEGS_MAX];
	unsigned n_segs = (unsigned)((n + ROOM - 1) / ROOM);

	assert(n_segs <= SEGS_MAX);
	if (rte_pktmbuf_alloc_bulk(pool, m, n_segs) != 0)
		return NULL;
	for (unsigned i = 0; i < n_segs; i++) {
		m[i]->data_len = (uint16_t)(n < ROOM ? n : ROOM);
		m[i]->next = i + 1 < n_segs ? m[i + 1] : NULL;
		n -= m[i]->data_len;
		m[0]->pkt_len = i ? m[0]->pkt_len + m[i]->data_len : m[i]->data_len;
	}
	m[0]->nb_segs = (uint16_t)n_segs;
	return m[0];
}

/* Where the next byte goes. */
struct place {
	struct rte_mbuf *m;
	size_t at;
};

static uint8_t *here(struct place *to, size_t *room)
{
	if (to->at == to->m->data_len)
		*to = (struct place){to->m->next, 0};
	*room = to->m->data_len - to->at;
	return rte_pktmbuf_mtod_offset(to->m, uint8_t *, to->at);
}

static void put(struct place *to, const uint8_t *p, size_t n)
{
	while (n) {
		size_t room;
		uint8_t *out = here(to, &room);
		size_t k = n < room ? n : room;

		memcpy(out, p, k);
		to->at += k;
		p += k;
		n -= k;
	}
}

static bool encrypt(EVP_CIPHER_CTX *ctx, struct place *to, const uint8_t *p, size_t n)
{
	while (n) {
		size_t room;
		uint8_t *out = here(to, &room);
		int k = (int)(n < room ? n : room), done = 0;

		if (EVP_CipherUpdate(ctx, out, &done, p, k) != 1 || done != k)
			return false;
		to->at += (size_t)k;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static bool seal_into(struct record_ciphers *c, struct record_key *k, enum record_type type, const uint8_t *p, size_t n,
		      struct rte_mbuf *m)
{
	size_t n_body = m->pkt_len - RECORD_HEAD;
	const uint8_t head[RECORD_HEAD] = {k->is_13 ? RECORD_CONTENT : (uint8_t)type, 3, 3, (uint8_t)(n_body >> 8), (uint8_t)n_body};
	const uint8_t inner = (uint8_t)type;
	uint8_t explicit_nonce[RECORD_NONCE], nonce[RECORD_IV], tag[RECORD_TAG];
	struct place to = {m, 0};
	EVP_CIPHER_CTX *ctx;
	int done = 0;

	for (unsigned i = 0; i < 8; i++)
		explicit_nonce[i] = (uint8_t)(k->seq >> (56 - 8 * i));
	make_nonce(k, explicit_nonce, nonce);
	ctx = begin(c, k, nonce);
	put(&to, head, sizeof(head));
	put(&to, explicit_nonce, record_nonce_bytes(k));
	if (!ctx || !add_head(k, ctx, head, n) || !encrypt(ctx, &to, p, n) || !encrypt(ctx, &to, &inner, k->is_13) ||
	    EVP_CipherFinal_ex(ctx, tag, &done) != 1 || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG, tag) != 1)
		return false;
	put(&to, tag, sizeof(tag));
	return true;
}

struct rte_mbuf *record_seal(struct record_ciphers *c, struct record_key *k, enum record_type type, const uint8_t *p, size_t n,
			     struct rte_mempool *pool, bool *is_fatal)
{
	struct rte_mbuf *m = alloc(pool, n + record_overhead(k));

	*is_fatal = false;
	if (!m)
		return NULL;
	if (!seal_into(c, k, type, p, n, m)) {
		*is_fatal = true;
		rte_pktmbuf_free(m);
		return NULL;
	}
	k->seq++;
	return m;
}

/* -- opening */

/* In place: the first n bytes of the list. What follows them is the tag. */
static bool decrypt(EVP_CIPHER_CTX *ctx, struct rte_mbuf *m, size_t n, uint8_t tag[RECORD_TAG])
{
	size_t n_tag = 0;

	for (; m; m = m->next) {
		uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
		int k = (int)(n < m->data_len ? n : m->data_len), done = 0;

		if (k && (EVP_CipherUpdate(ctx, p, &done, p, k) != 1 || done != k))
			return false;
		m->ol_flags = 0; /* what is known of its bytes, such as their checksum, is true no more */
		n -= (size_t)k;
		memcpy(tag + n_tag, p + k, m->data_len - (size_t)k);
		n_tag += m->data_len - (size_t)k;
	}
	return n_tag == RECORD_TAG;
}

/* The last byte that is not zero is the type (RFC 8446 5.4). Bytes in front of it; 0 with *type 0: there is none. */
static size_t find_type(const struct rte_mbuf *m, size_t n, uint8_t *type)
{
	size_t at = 0, found = 0;

	*type = 0;
	for (; m && at < n; m = m->next) {
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
		size_t k = n - at < m->data_len ? n - at : m->data_len;

		for (size_t i = k; i-- > 0;)
			if (p[i]) {
				found = at + i;
				*type = p[i];
				break;
			}
		at += k;
	}
	return found;
}

/* The first n bytes stay, in mbufs none of which is empty. */
static struct rte_mbuf *cut(struct rte_mbuf *list, size_t n)
{
	struct rte_mbuf *out = NULL, **at = &out;

	while (list) {
		struct rte_mbuf *next = list->next;
		size_t k = n < list->data_len ? n : list->data_len;

		list->next = NULL;
		list->data_len = (uint16_t)k;
		list->pkt_len = (uint32_t)k;
		n -= k;
		if (k) {
			*at = list;
			at = &list->next;
		} else {
			rte_pktmbuf_free_seg(list);
		}
		list = next;
	}
	return out;
}

bool record_open(struct record_ciphers *c, struct record_key *k, const struct record_head *head, struct rte_mbuf **list, size_t n,
		 uint8_t *type)
{
	size_t n_content = n - RECORD_TAG;
	uint8_t nonce[RECORD_IV], tag[RECORD_TAG], rest[RECORD_TAG];
	EVP_CIPHER_CTX *ctx;
	int done = 0;

	assert(n >= RECORD_TAG);
	make_nonce(k, head->nonce, nonce);
	ctx = begin(c, k, nonce);
	if (!ctx || !add_head(k, ctx, head->bytes, n_content) || !decrypt(ctx, *list, n_content, tag) ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG, tag) != 1 || EVP_CipherFinal_ex(ctx, rest, &done) != 1)
		return false;
	k->seq++;
	*type = head->bytes[0];
	if (k->is_13)
		n_content = find_type(*list, n_content, type);
	*list = cut(*list, n_content);
	return true;
}
