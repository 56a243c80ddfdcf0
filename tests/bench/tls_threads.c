/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How TLS handshakes scale with threads: both ends of TLS 1.3 (P-256, X25519) in each thread, over a pair of BIOs, on one thread and then
 * on several, each on a core of its own. Not a test: prints a table.
 *
 *   bench_tls_threads [THREADS [SECONDS [ROUNDS]]]
 *
 *   own           each thread has a library context, SSL_CTXs and a heap of its own, as Weir's workers do
 *   own, malloc   the same without the heap
 *   shared        one SSL_CTX in the process' library context, malloc
 *   X25519        key pairs and secrets, in library contexts of each thread's own: what the cores can do where nothing is shared
 *
 * The kinds take turns. "of CPU time" is what a handshake took of its own thread's CPU time: where that grows, cores share something (or caches lines of locks);
 * where the time by the clock grows more, threads waited for one another.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "mem/heap.h"
#include "tls_ends.h"

#define MAX_THREADS 64
#define MAX_ROUNDS 100
#define BLOCK_BYTES ((size_t)64 << 20)

enum kind { OWN, OWN_MALLOC, SHARED, ARITHMETIC, N_KINDS };

static const char *const kind_names[N_KINDS] = {"own", "own, malloc", "shared", "X25519"};

struct ends {
	OSSL_LIB_CTX *lib; /* NULL: the process' */
	SSL_CTX *server, *client;
};

struct thread {
	pthread_t id;
	unsigned core;
	enum kind kind;
	struct heap *heap;
	struct ends own, *ends;
	pthread_barrier_t *start;
	double seconds;
	uint64_t n;
	double cpu_us, clock_us; /* of each handshake */
};

static struct ends shared;

static double clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void certify(SSL_CTX *c, OSSL_LIB_CTX *lib)
{
	EVP_PKEY *key = must(EVP_PKEY_Q_keygen(lib, NULL, "EC", "P-256"), "key");
	X509 *x = make_certificate(lib, key);

	if (SSL_CTX_use_certificate(c, x) != 1 || SSL_CTX_use_PrivateKey(c, key) != 1)
		die("certificate");
	X509_free(x);
	EVP_PKEY_free(key);
}

static void make_ends(struct ends *e, bool is_own)
{
	if (is_own) {
		e->lib = must(OSSL_LIB_CTX_new(), "OSSL_LIB_CTX_new");
		must(OSSL_PROVIDER_load(e->lib, "default"), "provider");
	}
	e->server = must(SSL_CTX_new_ex(e->lib, NULL, TLS_server_method()), "SSL_CTX_new");
	e->client = must(SSL_CTX_new_ex(e->lib, NULL, TLS_client_method()), "SSL_CTX_new");
	certify(e->server, e->lib);
	SSL_CTX_set_session_cache_mode(e->server, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_cache_mode(e->client, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(e->server, 1);
	if (SSL_CTX_set1_groups_list(e->client, "X25519") != 1 || SSL_CTX_set_min_proto_version(e->client, TLS1_3_VERSION) != 1)
		die("client");
}

static void free_ends(struct ends *e)
{
	SSL_CTX_free(e->server);
	SSL_CTX_free(e->client);
	OSSL_LIB_CTX_free(e->lib);
}

static void handshake(const struct ends *e)
{
	SSL *server = must(SSL_new(e->server), "SSL_new");
	SSL *client = must(SSL_new(e->client), "SSL_new");
	bool is_done = false;
	BIO *a, *b;
	char byte;

	if (BIO_new_bio_pair(&a, 32768, &b, 32768) != 1)
		die("BIO_new_bio_pair");
	SSL_set_bio(server, a, a);
	SSL_set_bio(client, b, b);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	while (!is_done) {
		go_on(client);
		is_done = go_on(server);
	}
	SSL_read(client, &byte, 1); /* the ticket */
	SSL_free(client);
	SSL_free(server);
}

static void agree(OSSL_LIB_CTX *lib)
{
	EVP_PKEY *key = must(EVP_PKEY_Q_keygen(lib, NULL, "X25519"), "key");
	EVP_PKEY_CTX *c = must(EVP_PKEY_CTX_new_from_pkey(lib, key, NULL), "context");
	unsigned char secret[32];
	size_t n = sizeof(secret);

	if (EVP_PKEY_derive_init(c) != 1 || EVP_PKEY_derive_set_peer(c, key) != 1 || EVP_PKEY_derive(c, secret, &n) != 1)
		die("X25519");
	EVP_PKEY_CTX_free(c);
	EVP_PKEY_free(key);
}

static void work(const struct thread *t)
{
	if (t->kind == ARITHMETIC)
		agree(t->ends->lib);
	else
		handshake(t->ends);
}

static void *run(void *arg)
{
	struct thread *t = arg;
	double cpu, begin, now;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(t->core, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	heap_bind(t->heap);
	if (t->kind == SHARED)
		t->ends = &shared;
	else
		make_ends(t->ends = &t->own, true);
	for (unsigned i = 0; i < 20; i++)
		work(t);
	pthread_barrier_wait(t->start);
	cpu = clock_us(CLOCK_THREAD_CPUTIME_ID);
	begin = clock_us(CLOCK_MONOTONIC);
	do {
		for (unsigned i = 0; i < 10; i++)
			work(t);
		t->n += 10;
		now = clock_us(CLOCK_MONOTONIC);
	} while (now - begin < t->seconds * 1e6);
	t->cpu_us = (clock_us(CLOCK_THREAD_CPUTIME_ID) - cpu) / (double)t->n;
	t->clock_us = (now - begin) / (double)t->n;
	if (t->kind != SHARED)
		free_ends(&t->own);
	OPENSSL_thread_stop();
	heap_bind(NULL);
	return NULL;
}

struct result {
	double rate, cpu_us, clock_us;
};

static struct result measure(enum kind kind, unsigned n, double seconds)
{
	struct thread threads[MAX_THREADS] = {0};
	struct result r = {0};
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		threads[i] = (struct thread){.core = i, .kind = kind, .start = &start, .seconds = seconds};
		if (kind == OWN)
			threads[i].heap = must(heap_create(BLOCK_BYTES, -1), "heap");
		if (pthread_create(&threads[i].id, NULL, run, &threads[i]))
			die("pthread_create");
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(threads[i].id, NULL);
		r.rate += 1e6 / threads[i].clock_us;
		r.cpu_us += threads[i].cpu_us / n;
		r.clock_us += threads[i].clock_us / n;
		if (threads[i].heap)
			heap_destroy(threads[i].heap);
	}
	pthread_barrier_destroy(&start);
	return r;
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

int main(int argc, char **argv)
{
	unsigned n_threads = argc > 1 ? (unsigned)atoi(argv[1]) : 2;
	double seconds = argc > 2 ? atof(argv[2]) : 1;
	unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 5;
	static double v[N_KINDS][6][MAX_ROUNDS];

	if (n_threads < 1 || n_threads > MAX_THREADS || rounds < 1 || rounds > MAX_ROUNDS || seconds <= 0) {
		fputs("bench_tls_threads [THREADS [SECONDS [ROUNDS]]]\n", stderr);
		return 2;
	}
	if (heap_install() != 0)
		die("heap_install");
	make_ends(&shared, false);
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned k = 0; k < N_KINDS; k++) {
			struct result one = measure((enum kind)k, 1, seconds), all = measure((enum kind)k, n_threads, seconds);
			const double got[6] = {one.rate, all.rate, all.rate / one.rate, one.cpu_us, all.cpu_us, all.clock_us - all.cpu_us};

			for (unsigned i = 0; i < 6; i++)
				v[k][i][r] = got[i];
		}
	printf("%s, %u threads, %u rounds of %g s; medians\n\n", OpenSSL_version(OPENSSL_VERSION), n_threads, rounds, seconds);
	printf("| kind | a second, one thread | a second, all | times | us of CPU time, one thread | us of CPU time, all | us of waiting, all |\n");
	printf("| --- | --- | --- | --- | --- | --- | --- |\n");
	for (unsigned k = 0; k < N_KINDS; k++)
		printf("| %s | %.0f | %.0f | %.2f | %.1f | %.1f | %.1f |\n", kind_names[k], median(v[k][0], rounds), median(v[k][1], rounds),
		       median(v[k][2], rounds), median(v[k][3], rounds), median(v[k][4], rounds), median(v[k][5], rounds));
	return 0;
}
