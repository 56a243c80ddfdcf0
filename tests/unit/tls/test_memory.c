/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an idle TLS connection takes, all told, in bytes that do not depend on the machine: the blocks of OpenSSL's allocator that it
 * holds, as a worker's heap rounds them, and the objects of tcp/, tls/ and proxy/ that are there as often as connections.
 */
#define N_CLIENTS 12
#include "rig.h"

#include <execinfo.h>
#include <stdio.h>

#include "mem/heap.h"

#define MAX_BYTES 1280u /* of an idle connection, which libssl has no part in */
#define CONN_BYTES (512u + 192u + 64u) /* struct tcp_conn, tls_session and client at most: asserted where they are */
#define N_FIRST 4u	/* what is made once has been made then */
#define N_MORE 8u
#define N_FRAMES 14

/* -- OpenSSL's allocator: counts as the heap does, whatever the build */

struct head {
	struct head *next, **prev_next;
	size_t n;
	bool is_noted;
	void *frame[N_FRAMES];
	int n_frames;
} __attribute__((aligned(16)));

static struct head *live;
static size_t live_bytes;
static bool prints; /* WEIR_TEST_BLOCKS: each block of one session, with who asked for it */

static void *count_malloc(size_t n, const char *file, int line)
{
	struct head *h = n ? malloc(sizeof(*h) + n) : NULL;

	if (!h)
		return NULL;
	*h = (struct head){.next = live, .prev_next = &live, .n = n};
	if (live)
		live->prev_next = &h->next;
	live = h;
	live_bytes += heap_block_bytes(n);
	if (prints)
		h->n_frames = backtrace(h->frame, N_FRAMES);
	return h + 1;
}

static void count_free(void *p, const char *file, int line)
{
	struct head *h = p ? (struct head *)p - 1 : NULL;

	if (!h)
		return;
	*h->prev_next = h->next;
	if (h->next)
		h->next->prev_next = h->prev_next;
	live_bytes -= heap_block_bytes(h->n);
	free(h);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	size_t old = p ? ((struct head *)p - 1)->n : 0;
	void *q = count_malloc(n, file, line);

	if (q && p)
		memcpy(q, p, old < n ? old : n);
	if (q || n == 0)
		count_free(p, file, line);
	return q;
}

static void print_new_blocks(void)
{
	for (struct head *h = live; h; h = h->next)
		if (!h->is_noted) {
			printf("-- %zu\n", h->n);
			fflush(stdout);
			backtrace_symbols_fd(h->frame + 1, h->n_frames - 1, 1);
		}
}

/* -- connections */

/* Of the server alone: the clients' objects of OpenSSL go. */
static void forget_client(struct client *p)
{
	SSL_set_shutdown(p->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session cannot be resumed any more */
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	p->ssl = NULL;
	p->ctx = NULL;
}

struct kind {
	const char *what, *name;
	int version;
	size_t n_echo; /* so many bytes go both ways before it is idle */
	bool resumes;
};

static SSL_SESSION *session; /* of the client before, if the next one resumes it */

static void open_one(unsigned i, const struct kind *k)
{
	struct client *p = tls_client(i, k->name, k->version, k->version);

	p->n_send = k->n_echo;
	if (session)
		SSL_set_session(p->ssl, session);
	handshake(p);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_true(p->is_done && !p->is_closed);
	assert_int_equal(p->n_got, k->n_echo);
	assert_int_equal(servers[i].info.is_resumed, session != NULL);
	SSL_SESSION_free(session); /* the next one's is this one's */
	session = k->resumes ? SSL_get1_session(p->ssl) : NULL;
	forget_client(p);
}

static size_t bytes_of(const struct kind *k)
{
	size_t before, n;

	start(1);
	set_keys(1, 1);
	for (unsigned i = 0; i < N_FIRST; i++)
		open_one(i, k);
	ERR_clear_error();
	before = live_bytes;
	for (struct head *h = live; h; h = h->next)
		h->is_noted = true;
	for (unsigned i = 0; i < N_MORE; i++) {
		open_one(N_FIRST + i, k);
		if (i == 0 && prints)
			print_new_blocks();
	}
	n = (live_bytes - before) / N_MORE;
	SSL_SESSION_free(session);
	session = NULL;
	end();
	return n;
}

static void what_an_idle_connection_takes_is_bounded(void **state)
{
	static const struct kind kinds[] = {
		{"TLS 1.3", "a.example", TLS1_3_VERSION, 0, false},
		{"TLS 1.3, after 100,000 bytes each way", "a.example", TLS1_3_VERSION, 100000, false},
		{"TLS 1.3, resumed", "a.example", TLS1_3_VERSION, 100, true},
		{"TLS 1.2", "a.example", TLS1_2_VERSION, 0, false},
		{"TLS 1.2, after 100,000 bytes each way", "a.example", TLS1_2_VERSION, 100000, false},
		{"TLS 1.2, resumed", "a.example", TLS1_2_VERSION, 100, true},
	};

	size_t most = 0;

	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		size_t n = bytes_of(&kinds[i]);

		print_message("%s: %zu bytes, of them %zu in blocks\n", kinds[i].what, n + CONN_BYTES, n);
		most = n > most ? n : most;
	}
	assert_in_range(most + CONN_BYTES, 1, MAX_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_idle_connection_takes_is_bounded),
	};

	prints = getenv("WEIR_TEST_BLOCKS") != NULL;
	if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
		return 1;
	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
