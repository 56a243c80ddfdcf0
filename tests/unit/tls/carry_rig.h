/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients whose records Weir has, and which make their own (own.h): each case is a connection of its own, beside one that must not be
 * touched by it.
 */
#ifndef TESTS_TLS_CARRY_RIG_H
#define TESTS_TLS_CARRY_RIG_H

#define N_SERVERS 256u
#include "own.h"
#include "tls/tls_pvt.h"

static struct own o;
static struct client *other;
static uint64_t n_ended; /* for any reason of TLS, before */

static uint64_t n_reasons(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		n += stat_reason_kind((enum weir_reason)i) == WEIR_KIND_TLS ? stats->reason[i] : 0;
	return n;
}

static void begin_with(uint64_t seed, const struct tcp_config *c)
{
	tls_config.n_sessions = 64;
	start_with(seed, c, c);
	other = tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(other);
	assert_true(other->is_done);
}

static void begin(uint64_t seed)
{
	const struct tcp_config c = sim_config();

	begin_with(seed, &c);
}

/* ciphers NULL: the first ones. */
static void open_with(int version, const char *ciphers)
{
	struct client *p = tls_client(0, "a.example", version, version);

	if (ciphers)
		assert_int_equal(version == TLS1_3_VERSION ? SSL_set_ciphersuites(p->ssl, ciphers) : SSL_set_cipher_list(p->ssl, ciphers), 1);
	own_listen(p);
	handshake(p);
	assert_true(p->is_done && !p->has_failed);
	own_begin(&o, p, n_servers - 1);
	assert_non_null(servers[o.server].s->carry);
	assert_null(servers[o.server].s->ssl);
	n_ended = n_reasons();
}

static void open_one(int version)
{
	open_with(version, NULL);
}

static void expect_other_unharmed(void)
{
	enum mode m = mode;

	mode = MODE_ECHO;
	other->n_send += 100;
	client_pump(other);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(other->n_got, other->n_send);
	mode = m;
}

/* Contexts of ciphers that have somebody's key. */
static unsigned n_lent(void)
{
	const struct record_ciphers *c = &servers[0].s->t->ciphers;
	unsigned n = 0;

	for (unsigned i = 0; i < RECORD_N_CIPHERS; i++)
		for (unsigned k = 0; k < RECORD_SLOTS; k++)
			n += c->slots[i][k].of != NULL;
	return n;
}

static void close_one(void)
{
	client_reset(o.p, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(servers[o.server].is_closed);
	assert_int_equal(o.n_bad, 0);
	own_end(&o);
	expect_other_unharmed();
	assert_int_equal(stats->gauge[WEIR_G_TCP_HELD], 0);
	assert_int_equal(n_lent(), 2); /* of the other one: whose memory comes next must not be taken for who has gone */
}

/* alert -1: none came. */
static void expect_end(enum weir_reason why, int alert)
{
	assert_int_equal(servers[o.server].reason, why);
	assert_int_equal(n_reasons(), n_ended + (why != WEIR_N_REASONS));
	assert_int_equal(o.alert, alert);
	assert_int_equal(o.level, alert < 0 ? -1 : alert == SSL_AD_CLOSE_NOTIFY ? 1 : 2);
	assert_int_equal(o.n_alerts, alert >= 0);
	close_one();
}

/* Content comes back. */
static void expect_echo(const char *text)
{
	size_t n = o.n_content;

	own_send(&o, RECORD_CONTENT, text, strlen(text));
	assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
	assert_int_equal(o.n_content, n + strlen(text));
	assert_memory_equal(o.content + n, text, strlen(text));
}

#define BYTES(s) s, sizeof(s) - 1

#endif
