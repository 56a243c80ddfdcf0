/* SPDX-License-Identifier: Apache-2.0 */
/* Records sealed and opened, against RFC 8448 section 3 and against OpenSSL's AEADs called at once over contiguous bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/crypto.h>
#include <rte_mbuf.h>

#include "eal.h"
#include "sim.h"
#include "tls/record.h"

#define N_MBUFS 20000u
#define RECORD_MAX (RECORD_HEAD + RECORD_NONCE + RECORD_MAX_CONTENT + 256u + RECORD_TAG)
#define SOME_SEQ 0x123456789abcull /* beyond 32 bits */

static struct rte_mempool *pool;
static OSSL_LIB_CTX *lib;
static struct record_ciphers ciphers;
static uint64_t prng = 4711;
static uint8_t text[RECORD_MAX];

static int begin(void **state)
{
	pool = rte_pktmbuf_pool_create("records", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	lib = OSSL_LIB_CTX_new();
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)sim_mix(&prng);
	return pool ? record_ciphers_init(&ciphers, lib) : -1;
}

static int end(void **state)
{
	record_ciphers_fini(&ciphers);
	OSSL_LIB_CTX_free(lib);
	return rte_mempool_avail_count(pool) == N_MBUFS ? 0 : -1;
}

static unsigned below(unsigned n)
{
	return (unsigned)(sim_mix(&prng) % n);
}

static struct record_key make_key(enum record_cipher cipher, bool is_13, bool seals)
{
	struct record_key k = {.seq = SOME_SEQ, .cipher = (uint8_t)cipher, .is_13 = is_13, .seals = seals};

	for (unsigned i = 0; i < sizeof(k.key); i++)
		k.key[i] = (uint8_t)(i * 7 + cipher);
	for (unsigned i = 0; i < sizeof(k.iv); i++)
		k.iv[i] = (uint8_t)(i * 31 + is_13);
	return k;
}

/* -- the same, at once */

struct flat {
	uint8_t b[RECORD_MAX + 1000];
	size_t n;
};

static void put_number(uint8_t *out, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* As the RFCs have it; for TLS 1.2 AES-GCM the explicit nonce is the number, too. */
static void nonce_and_aad(const struct record_key *k, const struct flat *r, size_t n_content, uint8_t nonce[12], uint8_t aad[13],
			  int *n_aad)
{
	uint8_t number[8];

	put_number(number, k->seq);
	memcpy(nonce, k->iv, 12);
	if (!k->is_13 && k->cipher != RECORD_CHACHA20_POLY1305)
		memcpy(nonce + 4, r->b + 5, 8);
	else
		for (unsigned i = 0; i < 8; i++)
			nonce[4 + i] ^= number[i];
	if (k->is_13) {
		memcpy(aad, r->b, 5);
		*n_aad = 5;
		return;
	}
	memcpy(aad, number, 8);
	memcpy(aad + 8, r->b, 3);
	aad[11] = (uint8_t)(n_content >> 8);
	aad[12] = (uint8_t)n_content;
	*n_aad = 13;
}

/* n_zeros: of padding, TLS 1.3 alone. */
static void seal_at_once(const struct record_key *k, uint8_t type, const uint8_t *p, size_t n, size_t n_zeros, struct flat *r)
{
	static const char *const names[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[k->cipher], NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool is_explicit = !k->is_13 && k->cipher != RECORD_CHACHA20_POLY1305;
	size_t at = 5 + (is_explicit ? 8 : 0), n_inner = n + (k->is_13 ? 1 + n_zeros : 0);
	uint8_t nonce[12], aad[13], inner[RECORD_MAX] = {0};
	int n_aad, done;

	r->n = at + n_inner + 16;
	r->b[0] = k->is_13 ? 23 : type;
	r->b[1] = r->b[2] = 3;
	r->b[3] = (uint8_t)((r->n - 5) >> 8);
	r->b[4] = (uint8_t)(r->n - 5);
	if (is_explicit)
		put_number(r->b + 5, k->seq);
	memcpy(inner, p, n);
	inner[n] = type;
	nonce_and_aad(k, r, n_inner, nonce, aad, &n_aad);
	assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, k->key, nonce, NULL), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &done, aad, n_aad), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, r->b + at, &done, inner, (int)n_inner), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, r->b + at + n_inner, &done), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, r->b + at + n_inner), 1);
	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(cipher);
}

/* -- lists of mbufs */

static unsigned piece_bytes; /* of the next list; 0: random ones */

static size_t next_piece(void)
{
	if (piece_bytes)
		return piece_bytes;
	return below(3) ? 1 + below(40) : 1 + below(2000);
}

static struct rte_mbuf *list_of(const uint8_t *p, size_t n)
{
	struct rte_mbuf *out = NULL, **at = &out;

	while (n) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		size_t k = next_piece();

		assert_non_null(m);
		k = k < n ? k : n;
		memcpy(rte_pktmbuf_append(m, (uint16_t)k), p, k);
		m->ol_flags |= RTE_MBUF_F_FIRST_FREE; /* something is known of these bytes */
		*at = m;
		at = &m->next;
		p += k;
		n -= k;
	}
	return out;
}

static size_t list_bytes(const struct rte_mbuf *m)
{
	size_t n = 0;

	for (; m; m = m->next)
		n += m->data_len;
	return n;
}

/* Also that none is empty, and each is one by itself. */
static void expect_list(const struct rte_mbuf *m, const uint8_t *p, size_t n)
{
	assert_int_equal(list_bytes(m), n);
	for (; m; m = m->next) {
		assert_true(m->data_len > 0);
		assert_int_equal(m->pkt_len, m->data_len);
		assert_memory_equal(rte_pktmbuf_mtod(m, const uint8_t *), p, m->data_len);
		p += m->data_len;
	}
}

static void free_list(struct rte_mbuf *m)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		m->next = NULL;
		rte_pktmbuf_free_seg(m);
		m = next;
	}
}

static bool open_flat(struct record_key *k, const struct flat *r, struct rte_mbuf **list, uint8_t *type)
{
	size_t at = RECORD_HEAD + record_nonce_bytes(k);
	struct record_head head = {.bytes = {0}};

	memcpy(head.bytes, r->b, RECORD_HEAD);
	memcpy(head.nonce, r->b + RECORD_HEAD, at - RECORD_HEAD);
	*list = list_of(r->b + at, r->n - at);
	*type = 0xff;
	if (!record_open(&ciphers, k, &head, list, r->n - at, type))
		return false;
	for (const struct rte_mbuf *m = *list; m; m = m->next)
		assert_int_equal(m->ol_flags, 0);
	return true;
}

static void expect_opens(struct record_key *k, const struct flat *r, uint8_t type, const uint8_t *p, size_t n)
{
	uint64_t seq = k->seq;
	struct rte_mbuf *list;
	uint8_t t;

	assert_true(open_flat(k, r, &list, &t));
	assert_int_equal(t, type);
	assert_int_equal(k->seq, seq + 1);
	expect_list(list, p, n);
	free_list(list);
}

static void expect_refused(struct record_key *k, const struct flat *r)
{
	size_t n = r->n - RECORD_HEAD - record_nonce_bytes(k);
	struct rte_mbuf *list;
	uint64_t seq = k->seq;
	uint8_t t;

	assert_false(open_flat(k, r, &list, &t));
	assert_int_equal(list_bytes(list), n);
	assert_int_equal(k->seq, seq);
	free_list(list);
}

static void seal_flat(struct record_key *k, enum record_type type, const uint8_t *p, size_t n, struct flat *r)
{
	uint64_t seq = k->seq;
	bool is_fatal = true;
	struct rte_mbuf *m = record_seal(&ciphers, k, type, p, n, pool, &is_fatal);

	assert_non_null(m);
	assert_false(is_fatal);
	assert_int_equal(k->seq, seq + 1);
	assert_int_equal(rte_mbuf_check(m, 1, NULL), 0);
	r->n = m->pkt_len;
	assert_int_equal(r->n, n + record_overhead(k));
	assert_ptr_equal(rte_pktmbuf_read(m, 0, m->pkt_len, r->b), m->nb_segs > 1 ? r->b : rte_pktmbuf_mtod(m, uint8_t *));
	if (m->nb_segs == 1)
		memcpy(r->b, rte_pktmbuf_mtod(m, uint8_t *), r->n);
	rte_pktmbuf_free(m);
}

static void expect_flat(const struct flat *r, const struct flat *e)
{
	assert_int_equal(r->n, e->n);
	assert_memory_equal(r->b, e->b, e->n);
}

#define FOR_ALL_KEYS(cipher, is_13) \
	for (unsigned cipher = 0; cipher < RECORD_N_CIPHERS; cipher++) \
		for (int is_13 = 0; is_13 < 2; is_13++)

/* -- RFC 8448 section 3 */

static void from_hex(struct flat *r, const char *s)
{
	assert_int_equal(OPENSSL_hexstr2buf_ex(r->b, sizeof(r->b), &r->n, s, '\0'), 1);
}

static void expect_known(const char *key, const char *iv, uint64_t seq, enum record_type type, size_t n, const char *record)
{
	static const uint8_t close_notify[] = {1, 0};
	uint8_t content[50];
	struct record_key k = {.seq = seq, .is_13 = true, .seals = true}, o;
	struct flat e, r;
	const uint8_t *p = type == RECORD_ALERT ? close_notify : content;

	for (unsigned i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)i;
	from_hex(&e, key);
	memcpy(k.key, e.b, 16);
	from_hex(&e, iv);
	memcpy(k.iv, e.b, 12);
	from_hex(&e, record);
	o = k;
	o.seals = false;
	seal_flat(&k, type, p, n, &r);
	expect_flat(&r, &e);
	expect_opens(&o, &e, (uint8_t)type, p, n);
	record_forget(&ciphers, &k);
	record_forget(&ciphers, &o);
}

static void has_the_records_of_rfc_8448(void **state)
{
	static const char client[] = "17422dda596ed5d9acd890e3c63f5051", client_iv[] = "5b78923dee08579033e523d9";
	static const char server[] = "9f02283b6c9c07efc26bb9f2ac92e356", server_iv[] = "cf782b88dd83549aadf1e984";

	expect_known(client, client_iv, 0, RECORD_CONTENT, 50,
		     "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2"
		     "977014bd1e3deae63aeebb21694915e4");
	expect_known(client, client_iv, 1, RECORD_ALERT, 2, "1703030013c98727606556" "66b74d7ff1153efd6db6d0b0e3");
	expect_known(server, server_iv, 1, RECORD_CONTENT, 50,
		     "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a2"
		     "1c0047c2abf332540dd032e167c2955d");
	expect_known(server, server_iv, 2, RECORD_ALERT, 2, "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9");
}

/* -- against OpenSSL at once */

static void expect_both_ways(struct record_key *s, struct record_key *o, size_t n)
{
	static struct flat r, e;
	enum record_type type = RECORD_ALERT + below(3);

	seal_at_once(s, (uint8_t)type, text, n, 0, &e);
	seal_flat(s, type, text, n, &r);
	expect_flat(&r, &e);
	expect_opens(o, &e, (uint8_t)type, text, n);
}

static void seals_and_opens_any_length(void **state)
{
	FOR_ALL_KEYS(c, is_13) {
		struct record_key s = make_key(c, is_13, true), o = make_key(c, is_13, false);

		for (size_t n = 0; n <= 70; n++)
			expect_both_ways(&s, &o, n);
		for (size_t n = 1900; n < 2100; n++) /* where an mbuf ends */
			expect_both_ways(&s, &o, n);
		for (unsigned i = 0; i < 100; i++)
			expect_both_ways(&s, &o, below(RECORD_MAX_CONTENT + 1));
		for (size_t n = RECORD_MAX_CONTENT - 3; n <= RECORD_MAX_CONTENT; n++)
			expect_both_ways(&s, &o, n);
		record_forget(&ciphers, &s);
		record_forget(&ciphers, &o);
	}
}

/* The mbufs end at every place, of a block of the cipher and of the tag, too. */
static void opens_pieces_of_any_length(void **state)
{
	static struct flat r;

	FOR_ALL_KEYS(c, is_13) {
		struct record_key o = make_key(c, is_13, false);

		for (piece_bytes = 1; piece_bytes <= 120; piece_bytes++) {
			seal_at_once(&o, RECORD_CONTENT, text, 100, 0, &r);
			expect_opens(&o, &r, RECORD_CONTENT, text, 100);
		}
		piece_bytes = 1;
		seal_at_once(&o, RECORD_CONTENT, text, 0, 0, &r);
		expect_opens(&o, &r, RECORD_CONTENT, text, 0);
		seal_at_once(&o, RECORD_CONTENT, text, RECORD_MAX_CONTENT, 0, &r);
		expect_opens(&o, &r, RECORD_CONTENT, text, RECORD_MAX_CONTENT);
		piece_bytes = 0;
		record_forget(&ciphers, &o);
	}
}

static void refuses_any_changed_byte(void **state)
{
	static struct flat r, bad;

	FOR_ALL_KEYS(c, is_13) {
		struct record_key o = make_key(c, is_13, false);

		seal_at_once(&o, RECORD_CONTENT, text, 90, 0, &r);
		for (size_t i = 0; i < r.n; i++) {
			if (!is_13 && (i == 3 || i == 4)) /* the length is given by itself */
				continue;
			bad = r;
			bad.b[i] ^= (uint8_t)(1u << below(8));
			expect_refused(&o, &bad);
		}
		for (size_t n = 16; n < 16 + 90; n++) { /* cut */
			bad = r;
			bad.n = RECORD_HEAD + record_nonce_bytes(&o) + n;
			expect_refused(&o, &bad);
		}
		o.seq++;
		expect_refused(&o, &r); /* AES-GCM of TLS 1.2, too: its number is in the additional data */
		o.seq -= 2;
		expect_refused(&o, &r);
		o.seq++;
		expect_opens(&o, &r, RECORD_CONTENT, text, 90);
		expect_refused(&o, &r); /* once more */
		record_forget(&ciphers, &o);
	}
}

/* -- padding */

static void takes_padding_of_any_length(void **state)
{
	static const size_t more[] = {255, 2047, 2048, 2049, 5000, RECORD_MAX_CONTENT - 100};
	static struct flat r;

	for (unsigned c = 0; c < RECORD_N_CIPHERS; c++) {
		struct record_key o = make_key(c, true, false);

		for (size_t n_zeros = 0; n_zeros < 100 + RTE_DIM(more); n_zeros++)
			for (size_t n = 0; n < 3; n++) {
				size_t z = n_zeros < 100 ? n_zeros : more[n_zeros - 100];

				seal_at_once(&o, RECORD_ALERT + (uint8_t)n, text, n * 41, z, &r);
				expect_opens(&o, &r, RECORD_ALERT + (uint8_t)n, text, n * 41);
			}
		record_forget(&ciphers, &o);
	}
}

/* Zeros in front of the type are content. */
static void takes_zeros_as_content(void **state)
{
	static const uint8_t zeros[5000];
	static struct flat r;
	struct record_key o = make_key(RECORD_AES_128_GCM, true, false);

	for (size_t n = 0; n < sizeof(zeros); n += 1 + n / 3) {
		seal_at_once(&o, RECORD_CONTENT, zeros, n, 17, &r);
		expect_opens(&o, &r, RECORD_CONTENT, zeros, n);
	}
	record_forget(&ciphers, &o);
}

static void finds_no_type_where_there_is_none(void **state)
{
	static const uint8_t zeros[5000];
	static struct flat r;
	struct record_key o = make_key(RECORD_CHACHA20_POLY1305, true, false);

	for (size_t n = 0; n < sizeof(zeros); n += 1 + n / 3) {
		seal_at_once(&o, 0, zeros, n, 0, &r);
		expect_opens(&o, &r, 0, zeros, 0);
	}
	record_forget(&ciphers, &o);
}

/* -- numbers and contexts */

static void counts_beyond_32_bits(void **state)
{
	static const uint64_t numbers[] = {0, 1, 255, 0xffffffffull, 0x100000000ull, 0xffffffffffffull, 0xfffffffffffffffeull};

	FOR_ALL_KEYS(c, is_13)
		for (unsigned i = 0; i < RTE_DIM(numbers); i++) {
			struct record_key s = make_key(c, is_13, true), o = make_key(c, is_13, false);

			s.seq = o.seq = numbers[i];
			expect_both_ways(&s, &o, 100);
			if (numbers[i] < 0xfffffffffffffffeull)
				expect_both_ways(&s, &o, 100);
			record_forget(&ciphers, &s);
			record_forget(&ciphers, &o);
		}
}

#define N_PAIRS (2 * RECORD_SLOTS + 5)

static void lends_contexts_by_turns(void **state)
{
	static struct record_key s[N_PAIRS], o[N_PAIRS];

	for (unsigned i = 0; i < N_PAIRS; i++) {
		s[i] = make_key(i % 3 ? RECORD_AES_128_GCM : RECORD_CHACHA20_POLY1305, i & 1, true);
		s[i].key[3] ^= (uint8_t)(i * 5);
		o[i] = s[i];
		o[i].seals = false;
	}
	for (unsigned k = 0; k < 3000; k++) {
		unsigned i = k < 500 ? k % N_PAIRS : below(k < 2000 ? N_PAIRS : 4);

		expect_both_ways(&s[i], &o[i], below(200));
	}
	for (unsigned i = 0; i < N_PAIRS; i++) {
		record_forget(&ciphers, &s[i]);
		record_forget(&ciphers, &o[i]);
	}
}

/* Without it a context would go on with the former key. */
static void uses_the_new_key_once_it_forgets(void **state)
{
	FOR_ALL_KEYS(c, is_13) {
		struct record_key s = make_key(c, is_13, true), o = make_key(c, is_13, false);
		static struct flat r;

		expect_both_ways(&s, &o, 100);
		for (unsigned i = 0; i < 3; i++) {
			seal_flat(&s, RECORD_CONTENT, text, 10, &r); /* under the former one */
			s.seq--;
			record_forget(&ciphers, &s);
			record_forget(&ciphers, &o);
			s.key[0] ^= 0x40;
			o.key[0] ^= 0x40;
			s.iv[0]++;
			o.iv[0]++;
			expect_refused(&o, &r);
			expect_both_ways(&s, &o, 100);
		}
		record_forget(&ciphers, &s);
		record_forget(&ciphers, &o);
		record_forget(&ciphers, &o);
	}
}

static unsigned owned_slots(void)
{
	unsigned n = 0;

	for (unsigned c = 0; c < RECORD_N_CIPHERS; c++)
		for (unsigned i = 0; i < RECORD_SLOTS; i++)
			n += ciphers.slots[c][i].of != NULL;
	return n;
}

/* It takes no other one's context away. */
static void forgets_its_own_context_alone(void **state)
{
	struct record_key a = make_key(RECORD_AES_256_GCM, true, true), b = a, never = a;
	struct flat r;

	assert_int_equal(owned_slots(), 0);
	seal_flat(&a, RECORD_CONTENT, text, 1, &r);
	seal_flat(&b, RECORD_CONTENT, text, 1, &r);
	assert_int_equal(owned_slots(), 2);
	never.slot = a.slot;
	record_forget(&ciphers, &never);
	assert_int_equal(owned_slots(), 2);
	record_forget(&ciphers, &a);
	assert_int_equal(owned_slots(), 1);
	assert_null(ciphers.slots[RECORD_AES_256_GCM][a.slot].of);
	assert_ptr_equal(ciphers.slots[RECORD_AES_256_GCM][b.slot].of, &b);
	record_forget(&ciphers, &b);
}

/* -- packet buffers */

static void seals_nothing_without_packet_buffers(void **state)
{
	struct rte_mempool *few = rte_pktmbuf_pool_create("few", 3, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	struct rte_mbuf *taken;
	bool is_fatal;

	FOR_ALL_KEYS(c, is_13) {
		struct record_key s = make_key(c, is_13, true), o = make_key(c, is_13, false);

		is_fatal = true;
		assert_null(record_seal(&ciphers, &s, RECORD_CONTENT, text, 3 * RTE_MBUF_DEFAULT_DATAROOM, few, &is_fatal));
		assert_false(is_fatal);
		assert_int_equal(s.seq, SOME_SEQ);
		assert_int_equal(rte_mempool_avail_count(few), 3);
		taken = record_seal(&ciphers, &s, RECORD_CONTENT, text, 3 * RTE_MBUF_DEFAULT_DATAROOM - record_overhead(&s), few, &is_fatal);
		assert_non_null(taken);
		assert_int_equal(taken->nb_segs, 3);
		assert_null(record_seal(&ciphers, &s, RECORD_CONTENT, text, 1, few, &is_fatal));
		assert_int_equal(s.seq, SOME_SEQ + 1);
		rte_pktmbuf_free(taken);
		assert_int_equal(rte_mempool_avail_count(few), 3);
		o.seq++;
		expect_both_ways(&s, &o, 10);
		record_forget(&ciphers, &s);
		record_forget(&ciphers, &o);
	}
	rte_mempool_free(few);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_the_records_of_rfc_8448),
		cmocka_unit_test(seals_and_opens_any_length),
		cmocka_unit_test(opens_pieces_of_any_length),
		cmocka_unit_test(refuses_any_changed_byte),
		cmocka_unit_test(takes_padding_of_any_length),
		cmocka_unit_test(takes_zeros_as_content),
		cmocka_unit_test(finds_no_type_where_there_is_none),
		cmocka_unit_test(counts_beyond_32_bits),
		cmocka_unit_test(lends_contexts_by_turns),
		cmocka_unit_test(uses_the_new_key_once_it_forgets),
		cmocka_unit_test(forgets_its_own_context_alone),
		cmocka_unit_test(seals_nothing_without_packet_buffers),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, begin, end);
}
