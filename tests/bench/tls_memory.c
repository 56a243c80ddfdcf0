/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What TLS handshakes cost the server in libssl alone: both ends in one thread, over buffers in memory, and only the CPU
 * time of the server's calls is counted. Not a test: prints a table of variants (which key, which
 * settings, whose allocator), each with its ratio to the first of its group.
 *
 *   bench_tls_memory [--quick] [--only TEXT] [--rounds N]
 *
 * The variants take turns, a few handshakes at a time, so that a machine that becomes slower does so for
 * all of them. A machine that others use only ever makes a handshake slower: ratios are those of the time that
 * a tenth of a variant's handshakes did not exceed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "mem/heap.h"
#include "tls_ends.h"

#define N_TURN 12u /* handshakes of a variant in a round; the first of them is not counted */
#define N_BUF 32768u
#define HEAP_BYTES ((size_t)64 << 20)

enum {
	F_HEAP = 1,	   /* the server's thread is bound to a heap */
	F_DEFAULT_CTX = 2, /* the process' OSSL_LIB_CTX, else one of its own */
	F_CLEAR = 4,	   /* SSL_clear() instead of SSL_new() */
	F_CACHE = 8,	   /* OpenSSL's session cache on, as it is by default; else off */
	F_RESUMED = 16,
	F_DRBG_128 = 32,   /* AES-128 in the generators of random bytes */
	F_FEW = 64,	   /* lists of one cipher, group and signature */
	F_KEY_ELSEWHERE = 128, /* the key was made in another library context */
	F_KEY_LEGACY = 256,    /* the key is an EC_KEY of the application's */
	F_RELEASE = 512,       /* SSL_MODE_RELEASE_BUFFERS */
	F_LEVEL_0 = 1024,      /* security level 0 */
	F_CLIENT_DEFAULT = 2048, /* the client offers what OpenSSL's does; else about what a browser does */
	F_TICKET_CB = 4096,	 /* tickets by a callback, with contexts set up anew */
	F_NOT_TLS12 = 8192,	 /* the server knows no TLS 1.2 */
};

struct variant {
	const char *group, *name;
	int version;
	const char *key, *kex;
	int n_tickets;
	unsigned flags;
};

#define P256 "P-256"
#define RSA "RSA-2048"
#define X "X25519"
#define V12 TLS1_2_VERSION
#define V13 TLS1_3_VERSION

static const struct variant variants[] = {
	{"kinds", "TLS 1.3, P-256, X25519", V13, P256, X, 2, 0},
	{"kinds", "TLS 1.3, P-256, P-256", V13, P256, P256, 2, 0},
	{"kinds", "TLS 1.3, RSA-2048, X25519", V13, RSA, X, 2, 0},
	{"kinds", "TLS 1.2, P-256, X25519", V12, P256, X, 1, 0},
	{"kinds", "TLS 1.3, resumed, X25519", V13, P256, X, 2, F_RESUMED},
	{"kinds", "TLS 1.2, resumed", V12, P256, X, 1, F_RESUMED},
	{"allocator", "malloc", V13, P256, X, 2, 0},
	{"allocator", "heap", V13, P256, X, 2, F_HEAP},
	{"allocator", "malloc, resumed", V13, P256, X, 2, F_RESUMED},
	{"allocator", "heap, resumed", V13, P256, X, 2, F_RESUMED | F_HEAP},
	{"tickets", "2", V13, P256, X, 2, F_HEAP},
	{"tickets", "1", V13, P256, X, 1, F_HEAP},
	{"tickets", "0", V13, P256, X, 0, F_HEAP},
	{"tickets", "1, sealed by a callback", V13, P256, X, 1, F_HEAP | F_TICKET_CB},
	{"settings, 1 ticket", "own library context", V13, P256, X, 1, F_HEAP},
	{"settings, 1 ticket", "the process' library context", V13, P256, X, 1, F_HEAP | F_DEFAULT_CTX},
	{"settings, 1 ticket", "SSL_clear() instead of SSL_new()", V13, P256, X, 1, F_HEAP | F_CLEAR},
	{"settings, 1 ticket", "session cache on", V13, P256, X, 1, F_HEAP | F_CACHE},
	{"settings, 1 ticket", "AES-128 in the DRBGs", V13, P256, X, 1, F_HEAP | F_DRBG_128},
	{"settings, 1 ticket", "one cipher, group, signature", V13, P256, X, 1, F_HEAP | F_FEW},
	{"settings, 1 ticket", "key made in another context", V13, P256, X, 1, F_HEAP | F_KEY_ELSEWHERE},
	{"settings, 1 ticket", "key is an EC_KEY", V13, P256, X, 1, F_HEAP | F_KEY_LEGACY},
	{"settings, 1 ticket", "SSL_MODE_RELEASE_BUFFERS", V13, P256, X, 1, F_HEAP | F_RELEASE},
	{"settings, 1 ticket", "security level 0", V13, P256, X, 1, F_HEAP | F_LEVEL_0},
	{"settings, 1 ticket", "no TLS 1.2", V13, P256, X, 1, F_HEAP | F_NOT_TLS12},
	{"settings, 1 ticket", "client of OpenSSL's defaults", V13, P256, X, 1, F_HEAP | F_CLIENT_DEFAULT},
	{"settings, 1 ticket", "that, and one of all", V13, P256, X, 1, F_HEAP | F_CLIENT_DEFAULT | F_FEW},
	{"in all", "OpenSSL's defaults, malloc", V13, P256, X, 2, F_DEFAULT_CTX | F_CACHE},
	{"in all", "what saves, heap", V13, P256, X, 1, F_HEAP | F_CLEAR | F_FEW | F_NOT_TLS12},
	{"in all", "the same, no ticket", V13, P256, X, 0, F_HEAP | F_CLEAR | F_FEW | F_NOT_TLS12},
};

#define N_VARIANTS (sizeof(variants) / sizeof(*variants))

/* Bytes under way to one end. */
struct buf {
	size_t from, to;
	uint8_t bytes[N_BUF];
};

struct rig {
	const struct variant *v;
	OSSL_LIB_CTX *lib, *elsewhere;
	SSL_CTX *server, *client;
	SSL *ssl;  /* the server's session now */
	SSL *kept; /* F_CLEAR */
	bool is_done;
	SSL_SESSION *session;
	unsigned n, n_max; /* of us, us_new */
	double *us, *us_new; /* for each handshake; of that: to make and to free the session */
	uint64_t n_allocs, used;
};

static struct heap *heap;
static BIO_METHOD *method;
static struct buf to_server, to_client;
static double clock_cost_us; /* of two looks at the clock, as they see it */

static void check(int is_ok, const char *what)
{
	if (is_ok != 1)
		die(what);
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* -- the buffers: data is the buf that an end reads from; it writes to the other one */

static int buf_read(BIO *b, char *out, size_t n, size_t *n_read)
{
	struct buf *in = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	*n_read = in->to - in->from < n ? in->to - in->from : n;
	memcpy(out, in->bytes + in->from, *n_read);
	in->from += *n_read;
	if (*n_read)
		return 1;
	BIO_set_retry_read(b);
	return 0;
}

static int buf_write(BIO *b, const char *data, size_t n, size_t *n_written)
{
	struct buf *out = BIO_get_data(b) == &to_server ? &to_client : &to_server;

	BIO_clear_retry_flags(b);
	if (n > N_BUF - out->to)
		return 0;
	memcpy(out->bytes + out->to, data, n);
	out->to += n;
	*n_written = n;
	return 1;
}

static long buf_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH;
}

static int buf_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

static void attach(SSL *s, struct buf *in)
{
	BIO *b = must(BIO_new(method), "BIO_new");

	BIO_set_data(b, in);
	SSL_set_bio(s, b, b);
}

/* -- keys, certificates, contexts */

static EVP_PKEY *make_key(OSSL_LIB_CTX *lib, const char *kind)
{
	bool is_rsa = strcmp(kind, RSA) == 0;

	return must(is_rsa ? EVP_PKEY_Q_keygen(lib, NULL, "RSA", (size_t)2048) : EVP_PKEY_Q_keygen(lib, NULL, "EC", kind), "key");
}

/* The same key as an application has it that parses it by the functions of OpenSSL 1.1. */
static EVP_PKEY *legacy_key(EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int n = i2d_PrivateKey(key, &der);
	const unsigned char *p = der;
	EVP_PKEY *legacy = must(EVP_PKEY_new(), "EVP_PKEY_new");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	EC_KEY *ec = must(d2i_ECPrivateKey(NULL, &p, n), "EC_KEY");

	check(EVP_PKEY_assign_EC_KEY(legacy, ec), "EVP_PKEY_assign_EC_KEY");
#pragma GCC diagnostic pop
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	return legacy;
}

static int seal(SSL *s, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *c, EVP_MAC_CTX *m, int is_new)
{
	static unsigned char key[32];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string("key", key, sizeof(key)),
		OSSL_PARAM_construct_utf8_string("digest", (char *)"sha256", 0),
		OSSL_PARAM_construct_end(),
	};
	const struct rig *r = SSL_CTX_get_app_data(SSL_get_SSL_CTX(s));

	if (is_new) {
		memset(name, 7, 16);
		if (RAND_bytes_ex(r->lib, iv, 16, 0) != 1)
			return -1;
	}
	return EVP_MAC_CTX_set_params(m, params) && EVP_CipherInit_ex(c, EVP_aes_256_cbc(), NULL, key, iv, is_new) ? 1 : -1;
}

static void make_server(struct rig *r)
{
	const struct variant *v = r->v;
	SSL_CTX *c = must(SSL_CTX_new_ex(r->lib, NULL, TLS_server_method()), "SSL_CTX_new");
	EVP_PKEY *key;
	X509 *x;

	if (v->flags & F_KEY_ELSEWHERE)
		r->elsewhere = must(OSSL_LIB_CTX_new(), "OSSL_LIB_CTX_new");
	key = make_key(v->flags & F_KEY_ELSEWHERE ? r->elsewhere : r->lib, v->key);
	x = make_certificate(r->lib, key);
	if (v->flags & F_KEY_LEGACY)
		key = legacy_key(key);
	check(SSL_CTX_use_certificate(c, x), "certificate");
	check(SSL_CTX_use_PrivateKey(c, key), "key");
	X509_free(x);
	EVP_PKEY_free(key);
	if (v->flags & F_NOT_TLS12)
		SSL_CTX_set_min_proto_version(c, V13);
	if (v->flags & F_FEW) {
		check(SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256"), "ciphers");
		check(SSL_CTX_set1_groups_list(c, v->kex), "groups");
		check(SSL_CTX_set1_sigalgs_list(c, "ECDSA+SHA256"), "signatures");
	}
	if (v->flags & F_LEVEL_0)
		SSL_CTX_set_security_level(c, 0);
	if (v->flags & F_RELEASE)
		SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(c, v->flags & F_CACHE ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c, (size_t)v->n_tickets);
	SSL_CTX_set_app_data(c, r);
	if (v->flags & F_TICKET_CB)
		SSL_CTX_set_tlsext_ticket_key_evp_cb(c, seal);
	r->server = c;
}

static void make_client(struct rig *r)
{
	const struct variant *v = r->v;
	SSL_CTX *c = must(SSL_CTX_new_ex(NULL, NULL, TLS_client_method()), "SSL_CTX_new");
	SSL_CTX_set_min_proto_version(c, v->version);
	SSL_CTX_set_max_proto_version(c, v->version);
	check(SSL_CTX_set1_groups_list(c, strcmp(v->kex, X) == 0 ? "X25519:P-256:P-384" : "P-256:P-384"), "groups");
	if (!(v->flags & F_CLIENT_DEFAULT)) {
		check(SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"), "ciphers");
		check(SSL_CTX_set1_sigalgs_list(c, "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384:"
						   "RSA-PSS+SHA512:RSA+SHA512"), "signatures");
	}
	r->client = c;
}

static void make_rig(struct rig *r, const struct variant *v, unsigned n_max)
{
	*r = (struct rig){.v = v, .n_max = n_max, .us = calloc(n_max, sizeof(double)), .us_new = calloc(n_max, sizeof(double))};
	if (!(v->flags & F_DEFAULT_CTX)) {
		r->lib = must(OSSL_LIB_CTX_new(), "OSSL_LIB_CTX_new");
		must(OSSL_PROVIDER_load(r->lib, "default"), "provider");
	}
	if (v->flags & F_DRBG_128)
		check(RAND_set_DRBG_type(r->lib, "CTR-DRBG", NULL, "AES-128-CTR", NULL), "DRBG");
	make_server(r);
	make_client(r);
}

/* -- a handshake */

static SSL *make_session(struct rig *r)
{
	SSL *s = r->kept;

	if (s) {
		check(SSL_clear(s), "SSL_clear");
		return s;
	}
	s = must(SSL_new(r->server), "SSL_new");
	attach(s, &to_server);
	SSL_set_accept_state(s);
	if (r->v->flags & F_CLEAR)
		r->kept = s;
	return s;
}

static void clear_buf(struct buf *b)
{
	b->from = b->to = 0;
}

static SSL *begin_client(struct rig *r)
{
	SSL *s = must(SSL_new(r->client), "SSL_new");

	clear_buf(&to_server);
	clear_buf(&to_client);
	attach(s, &to_client);
	SSL_set_connect_state(s);
	SSL_set_tlsext_host_name(s, "bench.example.com");
	if (r->session)
		SSL_set_session(s, r->session);
	go_on(s);
	return s;
}

/* The session as the client has it behind the tickets. */
static void keep_session(struct rig *r, SSL *client)
{
	char byte;

	SSL_read(client, &byte, 1);
	if (r->v->flags & F_RESUMED && !r->session)
		r->session = must(SSL_get1_session(client), "session");
}

/* A session that was not shut down is not resumed. */
static void end(SSL *s)
{
	SSL_set_quiet_shutdown(s, 1);
	SSL_shutdown(s);
}

enum step {
	MAKE,
	GO_ON,
	END,
};

/* The server's calls and nothing else, bound to its heap: a profile may be limited to this function. Returns their CPU time. */
__attribute__((noinline, noclone)) static double serve(struct rig *r, enum step step)
{
	double us;

	heap_bind(r->v->flags & F_HEAP ? heap : NULL);
	us = -cpu_us();
	switch (step) {
	case MAKE:
		r->ssl = make_session(r);
		break;
	case GO_ON:
		r->is_done = go_on(r->ssl);
		break;
	case END:
		end(r->ssl);
		if (!r->kept)
			SSL_free(r->ssl);
		break;
	}
	us += cpu_us();
	heap_bind(NULL);
	return us - clock_cost_us;
}

static void handshake(struct rig *r, bool counts)
{
	bool is_resuming = r->session != NULL;
	SSL *client = begin_client(r);
	struct heap_stats before, done, after;
	double us, us_new;

	heap_get_stats(heap, &before);
	us_new = serve(r, MAKE);
	us = us_new + serve(r, GO_ON);
	for (unsigned i = 0; !r->is_done && i < 4; i++) {
		go_on(client);
		us += serve(r, GO_ON);
	}
	heap_get_stats(heap, &done);
	go_on(client);
	keep_session(r, client);
	if (!r->is_done || SSL_session_reused(r->ssl) != is_resuming)
		die(r->v->name); /* not the handshake that was wanted */
	us -= us_new;
	us_new += serve(r, END);
	us += us_new;
	heap_get_stats(heap, &after);
	end(client);
	SSL_free(client);
	r->n_allocs = after.n_allocs - before.n_allocs;
	r->used = done.used_bytes - before.used_bytes;
	if (counts && r->n < r->n_max) {
		r->us[r->n] = us;
		r->us_new[r->n++] = us_new;
	}
}

/* -- what is measured beside it: the operations that no handshake can do without */

static double time_sign(EVP_PKEY *key)
{
	unsigned char sig[512], hash[64] = "x";
	size_t n = sizeof(sig);
	EVP_MD_CTX *m = EVP_MD_CTX_new();
	double us = -cpu_us();

	if (EVP_DigestSignInit(m, NULL, EVP_sha256(), NULL, key) != 1 || EVP_DigestSign(m, sig, &n, hash, sizeof(hash)) != 1)
		die("sign");
	us += cpu_us();
	EVP_MD_CTX_free(m);
	return us;
}

static double time_exchange(const char *group)
{
	EVP_PKEY *peer = strcmp(group, X) == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, X) : make_key(NULL, group);
	unsigned char secret[64];
	size_t n = sizeof(secret);
	double us = -cpu_us();
	EVP_PKEY *own = strcmp(group, X) == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, X) : make_key(NULL, group);
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);

	if (EVP_PKEY_derive_init(c) != 1 || EVP_PKEY_derive_set_peer(c, peer) != 1 || EVP_PKEY_derive(c, secret, &n) != 1)
		die("derive");
	us += cpu_us();
	EVP_PKEY_CTX_free(c);
	EVP_PKEY_free(own);
	EVP_PKEY_free(peer);
	return us;
}

static double quantile(double *us, unsigned n, double q)
{
	if (n == 0)
		return 0;
	qsort(us, n, sizeof(*us), compare);
	return us[(unsigned)((n - 1) * q)];
}

static double mean(const double *us, unsigned n)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += us[i];
	return n ? sum / n : 0;
}

static void learn_clock_cost(void)
{
	double us[1001];

	for (unsigned i = 0; i < 1001; i++) {
		us[i] = -cpu_us();
		us[i] += cpu_us();
	}
	clock_cost_us = quantile(us, 1001, 0.1);
}

static void print_primitives(unsigned n)
{
	EVP_PKEY *ec = make_key(NULL, P256), *rsa = make_key(NULL, RSA);
	double *us = calloc(4 * n, sizeof(double));

	for (unsigned i = 0; i < n; i++) {
		us[i] = time_sign(ec);
		us[n + i] = time_sign(rsa);
		us[2 * n + i] = time_exchange(X);
		us[3 * n + i] = time_exchange(P256);
	}
	printf("alone, us: sign with P-256 %.1f, RSA-2048 %.1f; ", quantile(us, n, 0.1), quantile(us + n, n, 0.1));
	printf("make a key and derive a secret with X25519 %.1f, P-256 %.1f; the clock %.2f\n\n",
	       quantile(us + 2 * n, n, 0.1), quantile(us + 3 * n, n, 0.1), clock_cost_us);
	free(us);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(rsa);
}

static void print(struct rig *rigs, unsigned n)
{
	const char *group = "";
	double first = 0;

	printf("| group | variant | us, best tenth | ratio | median | mean | of it SSL_new, SSL_free | allocations | bytes when done |\n");
	printf("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
	for (unsigned i = 0; i < n; i++) {
		struct rig *r = &rigs[i];
		double us_new = quantile(r->us_new, r->n, 0.5), us = quantile(r->us, r->n, 0.1);
		char counts[64] = "- | -";

		if (strcmp(group, r->v->group) != 0)
			first = us;
		group = r->v->group;
		if (r->v->flags & F_HEAP)
			snprintf(counts, sizeof(counts), "%llu | %llu", (unsigned long long)r->n_allocs, (unsigned long long)r->used);
		printf("| %s | %s | %.1f | %.3f | %.1f | %.1f | %.1f | %s |\n", group, r->v->name, us, us / first, quantile(r->us, r->n, 0.5),
		       mean(r->us, r->n), us_new, counts);
	}
}

static void make_method(void)
{
	method = must(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "buffer"), "BIO_meth_new");
	BIO_meth_set_read_ex(method, buf_read);
	BIO_meth_set_write_ex(method, buf_write);
	BIO_meth_set_ctrl(method, buf_ctrl);
	BIO_meth_set_create(method, buf_create);
}

static bool is_wanted(const struct variant *v, const char *only)
{
	return !only || strstr(v->name, only) || strstr(v->group, only);
}

int main(int argc, char **argv)
{
	static struct rig rigs[N_VARIANTS];
	unsigned n = 0, n_rounds = 200;
	const char *only = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			n_rounds = 15;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
			n_rounds = (unsigned)atoi(argv[++i]);
		else
			die("usage: bench_tls_memory [--quick] [--only TEXT] [--rounds N]");
	}
	if (heap_install() != 0)
		die("OpenSSL does not take the heap");
	heap = must(heap_create(HEAP_BYTES, -1), "heap");
	make_method();
	learn_clock_cost();
	for (unsigned i = 0; i < N_VARIANTS; i++)
		if (is_wanted(&variants[i], only))
			make_rig(&rigs[n++], &variants[i], n_rounds * N_TURN);
	printf("%s, %u rounds\n", OpenSSL_version(OPENSSL_VERSION), n_rounds);
	print_primitives(n_rounds * 4);
	for (unsigned i = 0; i < n_rounds; i++)
		for (unsigned j = 0; j < n; j++)
			for (unsigned k = 0; k < N_TURN; k++)
				handshake(&rigs[j], k > 0);
	print(rigs, n);
	return 0;
}
