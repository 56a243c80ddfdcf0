/* SPDX-License-Identifier: Apache-2.0 */
/* Early data: accepted, answered before the handshake is complete, rejected, and sent again by somebody else. */
#include "rig.h"

#include "tls/replay.h"
#include "tls/tls_pvt.h"

static SSL_SESSION *session;
static char text[40000];

/* Past the time in which nothing can be known of what came before; and session has a ticket. */
static void begin(uint64_t seed, bool is_on)
{
	struct client *p;

	tls_config.early_data = is_on;
	start(seed);
	set_keys(1, 1);
	memset(text, 'e', sizeof(text));
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	p->n_send = 10;
	p->closes = true;
	handshake(p);
	sim_run(&sim, 5000000, is_client_closed, p);
	session = SSL_get1_session(p->ssl);
	sim_run(&sim, 13000000, NULL, NULL);
}

static void done(void)
{
	SSL_SESSION_free(session);
	session = NULL;
	end();
}

static struct client *early_client(unsigned i, const char *name, size_t n)
{
	struct client *p = tls_client(i, name, TLS1_3_VERSION, TLS1_3_VERSION);
	SSL_SESSION *own;

	own = SSL_SESSION_dup(session); /* the client gives up one whose connection was cut */
	SSL_set_session(p->ssl, own);
	SSL_SESSION_free(own);
	p->early = text;
	p->n_early = n;
	p->keeps = true;
	return p;
}

static struct server *last(void)
{
	return &servers[(n_servers - 1) % 64];
}

static void answers_before_the_handshake_is_complete(void **state)
{
	struct client *p;

	begin(71, true);
	assert_int_equal(SSL_SESSION_get_max_early_data(session), 16384);
	p = early_client(0, "a.example", 1000);
	p->keeps_back = true;
	connect_client(p);
	sim_run(&sim, 300000, NULL, NULL);
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 1);
	assert_false(tls_is_ready(last()->s));
	assert_int_not_equal(tls_early_since(last()->s), 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 1);
	p->keeps_back = false;
	client_pump(p);
	assert_int_equal(SSL_get_early_data_status(p->ssl), SSL_EARLY_DATA_ACCEPTED);
	assert_int_equal(p->n_got, 1000); /* it was there already */
	assert_memory_equal(p->got, text, 1000);
	sim_run(&sim, 300000, NULL, NULL);
	assert_true(tls_is_ready(last()->s));
	assert_int_equal(tls_early_since(last()->s), 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	done();
}

static void goes_on_behind_early_data(void **state)
{
	struct client *p;

	begin(72, true);
	memcpy(text, pattern, 3000);
	p = early_client(0, "a.example", 3000);
	p->keeps = false;
	handshake(p);
	assert_true(p->is_done);
	sim_run(&sim, 300000, NULL, NULL);
	assert_int_equal(p->n_got, 3000);
	p->n_sent = 3000;
	p->n_send = 200000;
	p->closes = true;
	client_pump(p);
	sim_run(&sim, 20000000, is_client_closed, p);
	assert_int_equal(p->n_got, 200000);
	assert_false(last()->has_failed);
	done();
}

/* More than TCP has room for, of which the client reads nothing until later. */
static void long_answers_wait_for_room(void **state)
{
	struct client *p;

	begin(84, true);
	mode = MODE_SOURCE;
	p = early_client(0, "a.example", 100);
	p->keeps = false;
	p->keeps_back = true;
	connect_client(p);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(last()->n_out > 50000);
	assert_false(tls_is_ready(last()->s));
	p->keeps_back = false;
	client_pump(p);
	sim_run(&sim, 60000000, is_client_closed, p);
	assert_int_equal(p->n_got, N_DATA);
	assert_true(p->is_eof);
	done();
}

static void takes_no_replay(void **state)
{
	struct client *p, *q;

	begin(73, true);
	p = early_client(0, "a.example", 500);
	p->keeps_back = true;
	connect_client(p);
	sim_run(&sim, 300000, NULL, NULL);
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 1);
	for (unsigned i = 1; i < 3; i++) {
		q = raw_client(1, p->first, p->n_first);
		connect_client(q);
		sim_run(&sim, 300000, NULL, NULL);
		assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 1);
		assert_int_equal(last()->n_in, 0);
		assert_int_equal(tls_early_since(last()->s), 0);
		assert_int_equal(tls_readable(last()->s), 0);
		tcp_abort(q->c, WEIR_R_CLOSE_ABORTED, sim.now_us);
		q->c = NULL;
	}
	/* A stretch later it is known still; OpenSSL's clock has hardly moved here, so it would take the age for good. */
	sim_run(&sim, 12500000, NULL, NULL);
	q = raw_client(1, p->first, p->n_first);
	connect_client(q);
	sim_run(&sim, 300000, NULL, NULL);
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 1);
	done();
}

static void takes_the_same_ticket_of_another_hello(void **state)
{
	begin(74, true);
	for (unsigned i = 0; i < 3; i++) {
		handshake(early_client(i, "a.example", 100));
		assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], i + 1);
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA_REJECTED], 0);
	done();
}

/* The handshake is complete, and the early data are skipped: what the client sends then is all that comes. */
static void rejects_of(struct client *p, enum weir_counter why)
{
	uint64_t n = stats->counter[why], all = stats->counter[WEIR_C_TLS_EARLY_DATA_REJECTED];

	handshake(p);
	assert_true(p->is_done);
	assert_int_equal(SSL_get_early_data_status(p->ssl), SSL_EARLY_DATA_REJECTED);
	assert_int_equal(stats->counter[why], n + 1);
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA_REJECTED], all + 1);
	assert_int_equal(p->n_got, 0);
	p->n_got = 0;
	p->keeps = false;
	p->n_send = 5000;
	p->closes = true;
	client_pump(p);
	sim_run(&sim, 5000000, is_client_closed, p);
	assert_int_equal(p->n_got, 5000);
}

static void rejects(const char *name, enum weir_counter why)
{
	rejects_of(early_client(0, name, 2000), why);
}

/* HelloRetryRequest: early data cannot be accepted (RFC 8446 4.2.10), and lie between the two ClientHellos. */
static void rejects_where_it_asks_for_another_key_share(void **state)
{
	struct client *p;

	begin(85, true);
	for (unsigned i = 0; i < 2; i++) { /* in one piece, and byte by byte */
		p = early_client(i, "a.example", 2000);
		SSL_set1_groups_list(p->ssl, "P-521:X25519");
		p->chunk = i;
		rejects_of(p, WEIR_C_TLS_EARLY_DATA_RETRY);
		assert_int_equal(p->n_hellos, 2);
		assert_true(SSL_session_reused(p->ssl));
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 0);
	handshake(early_client(2, "a.example", 100)); /* the next one that needs no other */
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 1);
	done();
}

/* Its bucket in the filter of replays is full, whichever that is: it counts as if it had come before. */
static void rejects_where_the_filter_is_full(void **state)
{
	begin(86, true);
	for (uint32_t i = 0; i < REPLAY_BUCKETS * REPLAY_WAYS; i++)
		assert_int_equal(replays_note(tls->replays, (uint64_t)(2 * i + 1) << 32 | i % REPLAY_BUCKETS, sim.now_us), REPLAY_NEW);
	rejects("a.example", WEIR_C_TLS_EARLY_DATA_FULL);
	sim_run(&sim, REPLAY_FRESH_US, NULL, NULL);
	rejects("a.example", WEIR_C_TLS_EARLY_DATA_FULL);
	sim_run(&sim, REPLAY_FRESH_US, NULL, NULL);
	handshake(early_client(0, "a.example", 100));
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 1);
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA_REJECTED], 2);
	done();
}

static void rejects_and_goes_on(void **state)
{
	begin(75, true);
	rejects("y.wild.example", WEIR_C_TLS_EARLY_DATA_NO_TICKET);
	set_keys(5, 1);
	rejects("a.example", WEIR_C_TLS_EARLY_DATA_NO_TICKET);
	done();
}

static void takes_none_just_after_the_start(void **state)
{
	SSL_SESSION *kept;

	begin(76, true);
	kept = session;
	session = NULL;
	done();
	tls_config.early_data = true;
	start(77);
	set_keys(1, 1);
	session = kept;
	rejects("a.example", WEIR_C_TLS_EARLY_DATA_UNKNOWN);
	sim_run(&sim, 13000000, NULL, NULL);
	handshake(early_client(0, "a.example", 100));
	assert_int_equal(stats->counter[WEIR_C_TLS_EARLY_DATA], 1);
	done();
}

static void is_off_where_it_is_not_asked_for(void **state)
{
	SSL_SESSION *kept;

	begin(78, false);
	assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
	done();
	begin(79, true);
	kept = session;
	session = NULL;
	done();
	start(80);
	set_keys(1, 1);
	session = kept;
	rejects("a.example", WEIR_C_TLS_EARLY_DATA_OFF);
	done();
}

static void bounds_what_is_accepted_and_what_is_skipped(void **state)
{
	struct client *p;

	begin(81, true);
	SSL_SESSION_set_max_early_data(session, 40000); /* the client believes that it may */
	for (unsigned i = 0; i < 2; i++) {
		if (i == 1)
			set_keys(9, 1);
		p = early_client(0, "a.example", 30000);
		connect_client(p);
		sim_run(&sim, 2000000, is_client_closed, p);
		assert_int_equal(stats->reason[WEIR_R_TLS_EARLY_DATA_TOO_LONG], i + 1);
		assert_true(last()->has_failed || last()->is_closed);
		sim_run(&sim, 2000000, NULL, NULL);
	}
	done();
}

static void client_leaves(struct client *p)
{
	if (!p->is_closed && p->c)
		client_reset(p, sim.now_us);
	sim_run(&sim, 500000, NULL, NULL);
}

static void ends_cleanly_wherever_it_is_cut(void **state)
{
	struct client *p;
	size_t whole, hello;

	begin(82, true);
	p = early_client(0, "a.example", 300);
	handshake(p);
	assert_true(p->is_done);
	whole = p->n_written;
	hello = p->n_hello; /* with a hybrid group it is three times as long as without */
	assert_true(whole > hello + 300);
	client_leaves(p);
	for (size_t n = 1; n < whole; n += n < hello ? 13 : 7) {
		p = early_client(0, "a.example", 300);
		p->cut_at = n;
		p->cut_how = n % 2 ? CUT_RESETS : CUT_CLOSES;
		connect_client(p);
		sim_run(&sim, 3000000, is_client_closed, p);
		sim_run(&sim, 500000, NULL, NULL);
		client_leaves(p);
		assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	}
	assert_true(stats->counter[WEIR_C_TLS_EARLY_DATA] >= (whole - hello) / 7); /* wherever the hello was whole */
	done();
}

static void takes_it_byte_by_byte(void **state)
{
	struct client *p;

	begin(83, true);
	p = early_client(0, "a.example", 200);
	p->chunk = 1;
	p->is_slow = true;
	handshake(p);
	assert_true(p->is_done);
	assert_int_equal(SSL_get_early_data_status(p->ssl), SSL_EARLY_DATA_ACCEPTED);
	sim_run(&sim, 2000000, NULL, NULL);
	assert_int_equal(p->n_got, 200);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_before_the_handshake_is_complete),
		cmocka_unit_test(goes_on_behind_early_data),
		cmocka_unit_test(long_answers_wait_for_room),
		cmocka_unit_test(takes_no_replay),
		cmocka_unit_test(takes_the_same_ticket_of_another_hello),
		cmocka_unit_test(rejects_and_goes_on),
		cmocka_unit_test(rejects_where_it_asks_for_another_key_share),
		cmocka_unit_test(rejects_where_the_filter_is_full),
		cmocka_unit_test(takes_none_just_after_the_start),
		cmocka_unit_test(is_off_where_it_is_not_asked_for),
		cmocka_unit_test(bounds_what_is_accepted_and_what_is_skipped),
		cmocka_unit_test(ends_cleanly_wherever_it_is_cut),
		cmocka_unit_test(takes_it_byte_by_byte),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
