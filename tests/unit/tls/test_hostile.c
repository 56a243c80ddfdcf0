/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that break the protocol, or use it to make work. */
#include "rig.h"

static struct client *ready_client(int version)
{
	struct client *p = tls_client(0, "a.example", version, version);

	handshake(p);
	assert_true(p->is_done);
	return p;
}

/* Changes a byte of what the client sends next. */
static void send_corrupted(struct client *p, size_t at)
{
	char buf[2000];
	int n;

	assert_int_equal(SSL_write(p->ssl, pattern, 1000), 1000);
	n = BIO_read(p->out, buf, sizeof(buf));
	buf[at] ^= 1;
	BIO_write(p->out, buf, n);
	client_pump(p);
	sim_run(&sim, 1000000, NULL, NULL);
}

static void ends_at_a_corrupted_record(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	start(51);
	for (unsigned i = 0; i < 2; i++) {
		struct client *p = ready_client(versions[i]);

		send_corrupted(p, 500);
		assert_int_equal(servers[i].reason, WEIR_R_TLS_BAD_RECORD);
		assert_int_equal(p->alert, SSL_AD_BAD_RECORD_MAC);
	}
	assert_int_equal(stats->reason[WEIR_R_TLS_BAD_RECORD], 2);
	send_corrupted(ready_client(TLS1_3_VERSION), 0); /* the type of the record */
	assert_int_equal(servers[2].reason, WEIR_R_TLS_BAD_RECORD);
	end();
}

static void ends_at_garbage_in_the_handshake(void **state)
{
	struct client *p, *q;
	char buf[4000];
	int n;

	start(52);
	q = tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	SSL_do_handshake(q->ssl);
	n = BIO_read(q->out, buf, sizeof(buf));
	memset(buf + n, 0x17, 300);
	p = raw_client(0, buf, (size_t)n + 300);
	handshake(p);
	assert_true(servers[0].has_failed);
	assert_int_equal(stats->reason[WEIR_R_TLS_PROTOCOL] + stats->reason[WEIR_R_TLS_NO_VERSION], 1);
	end();
}

static void bounds_key_updates(void **state)
{
	struct client *p;

	start(53);
	p = ready_client(TLS1_3_VERSION);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(SSL_key_update(p->ssl, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		p->n_send += 100;
		client_pump(p);
		sim_run(&sim, 100000, NULL, NULL);
	}
	assert_int_equal(p->n_got, 2000);
	assert_int_equal(stats->counter[WEIR_C_TLS_KEY_UPDATES], 20);
	assert_int_equal(servers[0].reason, WEIR_N_REASONS);
	for (unsigned i = 0; i < 2000; i++) { /* without data */
		SSL_key_update(p->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(p->ssl);
	}
	client_pump(p);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(servers[0].reason, WEIR_R_TLS_KEY_UPDATE_FLOOD);
	assert_int_equal(stats->counter[WEIR_C_TLS_KEY_UPDATES], 33);
	end();
}

static void allows_key_updates_with_data(void **state)
{
	struct client *p;

	start(54);
	mode = MODE_SINK;
	p = ready_client(TLS1_3_VERSION);
	for (unsigned i = 0; i < 50; i++) {
		SSL_key_update(p->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(p->ssl);
		for (unsigned k = 0; k < 3; k++) {
			p->n_send += i < 40 ? 15000 : 10;
			client_pump(p);
			sim_run(&sim, 1000000, NULL, NULL);
		}
	}
	assert_int_equal(servers[0].reason, WEIR_N_REASONS);
	end();
}

/* The answer to a KeyUpdate finds no room: nothing is lost. */
static void answers_key_updates_when_there_is_room(void **state)
{
	struct client *p;
	size_t room, n = 0;

	start(55);
	mode = MODE_SINK;
	p = ready_client(TLS1_3_VERSION);
	while ((room = tls_send_room(servers[0].s)) > 0) {
		room = room > 5000 ? 5000 : room;
		assert_int_equal(tls_send(servers[0].s, pattern + n, room), 0);
		n += room;
	}
	SSL_key_update(p->ssl, SSL_KEY_UPDATE_REQUESTED);
	p->n_send = 1000;
	client_pump(p);
	tls_flush(servers[0].s);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(p->n_got, n);
	assert_int_equal(servers[0].n_in, 1000);
	assert_int_equal(tls_send(servers[0].s, pattern + n, 100), 0);
	tls_flush(servers[0].s);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(p->n_got, n + 100);
	end();
}

static void refuses_renegotiation(void **state)
{
	struct client *p;

	start(56);
	p = ready_client(TLS1_2_VERSION);
	SSL_renegotiate(p->ssl);
	SSL_do_handshake(p->ssl);
	client_pump(p);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(p->alert, SSL_AD_NO_RENEGOTIATION);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 1);
	end();
}

static void ends_with_a_fatal_alert(void **state)
{
	struct client *p;

	start(57);
	p = ready_client(TLS1_2_VERSION);
	SSL_write(p->ssl, pattern, 100); /* as if the server had sent something broken */
	client_write_out(p);
	BIO_write(p->in, "\x17\x03\x03\x00\x20" "0123456789abcdef0123456789abcdef", 37);
	p->keeps = true;
	client_pump(p);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(p->has_failed);
	assert_int_equal(servers[0].reason, WEIR_R_TLS_PEER_ALERT);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_at_a_corrupted_record),
		cmocka_unit_test(ends_at_garbage_in_the_handshake),
		cmocka_unit_test(bounds_key_updates),
		cmocka_unit_test(allows_key_updates_with_data),
		cmocka_unit_test(answers_key_updates_when_there_is_room),
		cmocka_unit_test(refuses_renegotiation),
		cmocka_unit_test(ends_with_a_fatal_alert),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
