/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes: versions, certificates by name and by what the client can verify, and what is refused. */
#define N_CLIENTS 20
#include "rig.h"

#include "tls/offload.h"

static void connect_to(const char *name, int version)
{
	handshake(tls_client(0, name, version, version));
}

static void serves_both_versions(void **state)
{
	start(1);
	connect_to("a.example", TLS1_3_VERSION);
	assert_true(clients[0].is_done);
	assert_true(servers[0].was_ready);
	assert_int_equal(servers[0].info.version, 0x0304);
	assert_string_equal(servers[0].name, "a.example");
	connect_to("a.example", TLS1_2_VERSION);
	assert_true(clients[0].is_done);
	assert_int_equal(servers[1].info.version, 0x0303);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 2);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES_12], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	end();
}

static void shows_the_certificate_of_the_name(void **state)
{
	static const struct {
		const char *name;
		unsigned cert;
	} cases[] = {
		{"a.example", CERT_A_EC}, {"A.Example", CERT_A_EC}, {"c.example", CERT_B_EC}, {"x.wild.example", CERT_WILD_EC},
		{"x.y.wild.example", CERT_WILD_EC}, {"wild.example", CERT_ANY_EC}, {"other", CERT_ANY_EC}, {NULL, CERT_ANY_EC},
	};

	start(2);
	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		connect_to(cases[i].name, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
		assert_true(clients[0].is_done);
		assert_true(peer_cert_is(&clients[0], cases[i].cert));
	}
	assert_string_equal(servers[1].name, "a.example");
	assert_string_equal(servers[7].name, "");
	assert_int_equal(stats->gauge[WEIR_G_TLS_CERTIFICATES], 5);
	assert_int_equal(n_wants, 5); /* each is asked for once; those of a.example both */
	end();
}

/* Of two certificates the client gets one that it says it can verify. */
static void chooses_the_key_type_by_the_offer(void **state)
{
	static const char *const ciphers[] = {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"};
	static const char *const sigalgs[] = {"RSA-PSS+SHA256", "ECDSA+SHA256"};
	static const unsigned certs[] = {CERT_A_RSA, CERT_A_EC};

	start(3);
	for (unsigned i = 0; i < 2; i++) {
		struct client *p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);

		assert_int_equal(SSL_set1_sigalgs_list(p->ssl, sigalgs[i]), 1);
		handshake(p);
		assert_true(peer_cert_is(p, certs[i]));
		p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION);
		assert_int_equal(SSL_set_cipher_list(p->ssl, ciphers[i]), 1);
		handshake(p);
		assert_true(peer_cert_is(p, certs[i]));
	}
	end();
}

static void refuses_a_name_that_nobody_has(void **state)
{
	start(4);
	make_snapshot(all_names, N_NAMES - 1); /* without the one for all others */
	connect_to("other", TLS1_3_VERSION);
	assert_true(clients[0].has_failed);
	assert_int_equal(clients[0].alert, 112);
	assert_int_equal(servers[0].reason, WEIR_R_TLS_UNRECOGNIZED_NAME);
	connect_to(NULL, TLS1_2_VERSION);
	assert_int_equal(clients[0].alert, 112);
	assert_int_equal(stats->reason[WEIR_R_TLS_UNRECOGNIZED_NAME], 2);
	assert_int_equal(n_wants, 0);
	end();
}

static void no_alert_speaks_for_backends_that_end_all_tls(void **state)
{
	start(5);
	make_snapshot(all_names, N_NAMES - 1);
	for (unsigned i = 0; i < N_NAMES - 1; i++)
		snapshot.names[i].mode = WEIR_TLS_PASSTHROUGH;
	connect_to("other", TLS1_3_VERSION);
	assert_int_equal(clients[0].alert, -1);
	assert_int_equal(servers[0].reason, WEIR_R_TLS_UNRECOGNIZED_NAME);
	snapshot.names[N_NAMES - 2].mode = WEIR_TLS_TERMINATE;
	connect_to("other", TLS1_3_VERSION);
	assert_int_equal(clients[0].alert, 112);
	assert_int_equal(stats->reason[WEIR_R_TLS_UNRECOGNIZED_NAME], 2);
	end();
}

static void keeps_to_the_profile(void **state)
{
	struct client *p;

	start(5);
	connect_to("b.example", TLS1_2_VERSION);
	assert_true(clients[0].has_failed);
	assert_int_equal(clients[0].alert, SSL_AD_PROTOCOL_VERSION);
	assert_int_equal(stats->reason[WEIR_R_TLS_NO_VERSION], 1);
	connect_to("b.example", TLS1_3_VERSION);
	assert_true(clients[0].is_done);
	p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION);
	SSL_set_cipher_list(p->ssl, "ECDHE-RSA-AES128-SHA256");
	handshake(p);
	assert_int_equal(p->alert, SSL_AD_HANDSHAKE_FAILURE);
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	SSL_set1_groups_list(p->ssl, "P-521");
	handshake(p);
	assert_true(p->has_failed);
	assert_int_equal(stats->reason[WEIR_R_TLS_NO_CIPHER], 2);
	end();
}

/* Without the group that resists quantum computers OpenSSL is older, and what weirctl tls shows says so. */
static bool has_hybrid(void)
{
	char version[64], groups[128], why[96];

	offload_describe_openssl(version, sizeof(version), groups, sizeof(groups), why, sizeof(why));
	assert_int_equal(strstr(groups, "X25519MLKEM768:") == groups, why[0] == 0);
	assert_int_equal(why[0] == 0, OPENSSL_version_major() > 3 || OPENSSL_version_minor() >= 5);
	return why[0] == 0;
}

/* An asterisk: the client sends a share of it at once (OpenSSL 3.5); without any it sends one of the first. */
static void agrees_on_keys_by_the_group_that_it_prefers(void **state)
{
	static const struct {
		const char *groups;
		uint16_t group;
		unsigned n_hellos;
		bool is_hybrid;
	} cases[] = {
		{"X25519", 0x001d, 1, false},
		{"P-256", 0x0017, 1, false},
		{"P-384", 0x0018, 1, false},
		{"P-521:P-384", 0x0018, 2, false},
		{"X25519MLKEM768", 0x11ec, 1, true},
		{"*X25519:*X25519MLKEM768", 0x11ec, 1, true},
		{"X25519:X25519MLKEM768", 0x11ec, 2, true}, /* it is asked for the share */
	};
	unsigned char protocols[9 + 256] = "\x08http/1.1\xff"; /* and one that is long: with a share of the hybrid group two segments */
	bool has = has_hybrid();

	memset(protocols + 10, 'x', 255);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client *p;

		start(7);
		p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
		assert_int_equal(SSL_set_alpn_protos(p->ssl, protocols, sizeof(protocols)), 0);
		if (SSL_set1_groups_list(p->ssl, cases[i].groups)) {
			handshake(p);
			assert_true(p->is_done && (has || !cases[i].is_hybrid));
			assert_int_equal(servers[0].info.group, cases[i].group);
			assert_int_equal(p->n_hellos, cases[i].n_hellos);
			assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES_HYBRID], cases[i].is_hybrid);
			assert_true(!cases[i].is_hybrid || p->n_hello > 1460); /* so it came in two segments */
		} else {
			assert_true(cases[i].is_hybrid && !has);
		}
		end();
	}
}

static void negotiates_http11(void **state)
{
	struct client *p;

	start(6);
	p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_3_VERSION);
	SSL_set_alpn_protos(p->ssl, (const unsigned char *)"\x02h2\x08http/1.1", 12);
	handshake(p);
	assert_true(p->is_done);
	assert_string_equal(servers[0].info.alpn, "http/1.1");
	p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_3_VERSION);
	SSL_set_alpn_protos(p->ssl, (const unsigned char *)"\x02h2", 3);
	handshake(p);
	assert_int_equal(p->alert, 120);
	assert_int_equal(stats->reason[WEIR_R_TLS_NO_APPLICATION_PROTOCOL], 1);
	end();
}

static void staples_what_the_certificate_has(void **state)
{
	struct client *p;
	const unsigned char *resp;

	start(7);
	p = tls_client(0, "c.example", TLS1_2_VERSION, TLS1_3_VERSION);
	SSL_set_tlsext_status_type(p->ssl, TLSEXT_STATUSTYPE_ocsp);
	handshake(p);
	assert_true(p->is_done);
	assert_int_equal(SSL_get_tlsext_status_ocsp_resp(p->ssl, &resp), 7);
	assert_memory_equal(resp, "stapled", 7);
	end();
}

/* -- certificates that are not there yet */

static void waits_for_a_certificate(void **state)
{
	start(8);
	answer[CERT_A_EC] = answer[CERT_A_RSA] = ANSWER_LATE;
	connect_client(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	connect_client(tls_client(1, "a.example", TLS1_2_VERSION, TLS1_2_VERSION));
	sim_run(&sim, 500000, NULL, NULL);
	assert_false(clients[0].is_done);
	assert_int_equal(n_wants, 2);
	assert_int_equal(stats->counter[WEIR_C_TLS_CERTIFICATE_WAITS], 2);
	sim_run(&sim, 2000000, NULL, NULL);
	assert_true(clients[0].is_done && clients[1].is_done);
	assert_int_equal(n_wants, 2);
	end();
}

/* Answered one failure after the other; asks are counted. */
static void asks_again_for_what_could_not_be_used(void **state)
{
	start(23);
	answer[CERT_ANY_EC] = ANSWER_NULL;
	for (unsigned i = 0; i < 5; i++) { /* all at about the same time */
		connect_to(NULL, TLS1_3_VERSION);
		assert_int_equal(clients[0].alert, 80);
		assert_int_equal(n_wants, 1);
	}
	sim_run(&sim, 1000000, NULL, NULL);
	connect_to(NULL, TLS1_3_VERSION);
	assert_int_equal(n_wants, 2);
	sim_run(&sim, 1000000, NULL, NULL); /* longer each time */
	connect_to(NULL, TLS1_3_VERSION);
	assert_int_equal(n_wants, 2);
	sim_run(&sim, 1000000, NULL, NULL);
	answer[CERT_ANY_EC] = ANSWER_SOON;
	connect_to(NULL, TLS1_3_VERSION);
	assert_int_equal(n_wants, 3);
	assert_true(clients[0].is_done);
	end();
}

static unsigned n_in_tick_most;

/* The worker's loop: the handshakes that go on in each turn. */
static void tick(void *ctx, uint64_t now)
{
	unsigned n = tls_poll(tls, now);

	n_in_tick_most = n > n_in_tick_most ? n : n_in_tick_most;
	sim_at(&sim, now + 1000, tick, NULL);
}

static void who_waits_goes_on_a_few_at_a_time(void **state)
{
	tls_config.n_sessions = N_CLIENTS;
	start(24);
	answer[CERT_ANY_EC] = ANSWER_LATE;
	n_in_tick_most = 0;
	for (unsigned i = 0; i < N_CLIENTS; i++)
		connect_client(tls_client(i, NULL, TLS1_3_VERSION, TLS1_3_VERSION));
	tick(NULL, sim.now_us);
	sim_run(&sim, 500000, NULL, NULL);
	assert_int_equal(stats->counter[WEIR_C_TLS_CERTIFICATE_WAITS], N_CLIENTS);
	tcp_abort(clients[3].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	clients[3].c = NULL;
	sim_run(&sim, 2000000, NULL, NULL);
	for (unsigned i = 0; i < N_CLIENTS; i++)
		assert_true(clients[i].is_done == (i != 3));
	assert_in_range(n_in_tick_most, 1, 4);
	end();
}

/* Handshakes that come at the same time go on one after the other, a step in each iteration and in their order; who leaves meanwhile is in nobody's way. */
static void goes_on_a_step_in_an_iteration(void **state)
{
	const uint64_t *n_done;
	unsigned n_iterations = 0;

	tls_config.n_sessions = N_CLIENTS;
	tls_config.takes_turns = true;
	start(25);
	n_done = &stats->counter[WEIR_C_TLS_HANDSHAKES];
	connect_client(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	for (unsigned i = 0; i < 10; i++) {
		sim_run(&sim, 500000, NULL, NULL);
		tls_poll(tls, sim.now_us);
	}
	assert_int_equal(*n_done, 1); /* the certificate is here from now on */
	for (unsigned i = 1; i < N_CLIENTS; i++)
		connect_client(tls_client(i, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 500000, NULL, NULL);
	assert_int_equal(*n_done, 1); /* nobody polls: there was one step */
	tcp_abort(clients[2].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	clients[2].c = NULL;
	sim_run(&sim, 500000, NULL, NULL);
	while (*n_done < N_CLIENTS - 1 && n_iterations < 100) {
		uint64_t before = *n_done;

		tls_poll(tls, sim.now_us);
		sim_run(&sim, 500000, NULL, NULL);
		assert_in_range(*n_done, before, before + 1);
		for (unsigned i = 1; i < N_CLIENTS; i++)
			assert_true(!clients[i].is_done || i == 3 || clients[i - 1].is_done);
		n_iterations++;
	}
	assert_in_range(n_iterations, 2 * (N_CLIENTS - 2) - 1, 99); /* a hello and a Finished of each, of which one was before */
	end();
}

static void ends_while_it_waits(void **state)
{
	start(9);
	answer[CERT_ANY_EC] = ANSWER_NEVER;
	for (unsigned i = 0; i < 3; i++)
		connect_client(tls_client(i, NULL, TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 500000, NULL, NULL);
	tcp_shutdown(clients[1].c); /* one closes, the others are reset or given up */
	tcp_abort(clients[2].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	clients[2].c = NULL;
	sim_run(&sim, 500000, NULL, NULL);
	assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 1);
	tls_fail(servers[0].s, WEIR_R_TLS_HANDSHAKE_TIMEOUT);
	assert_int_equal(stats->reason[WEIR_R_TLS_HANDSHAKE_TIMEOUT], 1);
	deliver((void *)(uintptr_t)CERT_ANY_EC, sim.now_us);
	sim_run(&sim, 500000, NULL, NULL);
	end();
}

static void serves_the_one_that_can_be_used(void **state)
{
	start(10);
	answer[CERT_A_EC] = ANSWER_NULL;
	connect_to("a.example", TLS1_3_VERSION);
	assert_true(clients[0].is_done);
	assert_true(peer_cert_is(&clients[0], CERT_A_RSA));
	connect_to("a.example", TLS1_3_VERSION);
	assert_int_equal(n_wants, 2); /* not at each hello */
	answer[CERT_B_EC] = ANSWER_NULL;
	connect_to("c.example", TLS1_3_VERSION);
	assert_true(clients[0].has_failed);
	assert_int_equal(stats->reason[WEIR_R_TLS_NO_CERTIFICATE], 1);
	connect_to("c.example", TLS1_3_VERSION);
	assert_int_equal(n_wants, 3);
	answer[CERT_B_EC] = ANSWER_SOON;
	tls_retain(tls, (const struct weir_snapshot *)&snapshot); /* with another snapshot it is asked for again */
	connect_to("c.example", TLS1_3_VERSION);
	assert_true(clients[0].is_done);
	assert_int_equal(n_wants, 4);
	end();
}

static void releases_what_no_snapshot_names(void **state)
{
	int budget = 1, n = 0;

	start(11);
	connect_to("a.example", TLS1_3_VERSION);
	connect_to("c.example", TLS1_3_VERSION);
	assert_int_equal(stats->gauge[WEIR_G_TLS_CERTIFICATES], 3);
	make_snapshot(all_names + 1, N_NAMES - 1);
	tls_retain(tls, (const struct weir_snapshot *)&snapshot);
	while (!tls_step(tls, &budget)) {
		budget = 1;
		n++;
	}
	assert_true(n >= 4);
	assert_int_equal(stats->gauge[WEIR_G_TLS_CERTIFICATES], 1);
	assert_int_equal(n_released, 2);
	connect_to("c.example", TLS1_3_VERSION);
	assert_true(clients[0].is_done);
	assert_int_equal(n_wants, 3);
	end();
}

static void says_why_a_certificate_cannot_be_used(void **state)
{
	struct weir_certificate *b;
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *small = EVP_RSA_gen(1024);
	X509 *x = make_x509(key, "x"), *weak = make_x509(small, "x");
	char why[200] = "";

	start(12);
	b = make_blob(cert_id(0), x, other, NULL);
	assert_null(tls_certificate_create(tls, b, why, sizeof(why)));
	assert_non_null(strstr(why, "not that of the certificate"));
	free(b);
	b = make_blob(cert_id(0), x, key, NULL);
	b->chain[0].size--;
	assert_null(tls_certificate_create(tls, b, why, sizeof(why)));
	assert_non_null(strstr(why, "no X.509"));
	b->chain[0].size++;
	memset((char *)b + b->key.off, 0, 8);
	assert_null(tls_certificate_create(tls, b, why, sizeof(why)));
	assert_non_null(strstr(why, "cannot be read"));
	free(b);
	b = make_blob(cert_id(0), weak, small, NULL);
	assert_null(tls_certificate_create(tls, b, why, sizeof(why)));
	assert_non_null(strstr(why, "may not be used: "));
	free(b);
	X509_free(x);
	X509_free(weak);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	EVP_PKEY_free(small);
	end();
}

/* -- what comes first */

static void reads_a_hello_byte_by_byte(void **state)
{
	struct client *p;

	start(13);
	p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_3_VERSION);
	p->chunk = 1;
	p->is_slow = true;
	handshake(p);
	assert_true(p->is_done);
	end();
}

static void reads_a_hello_in_many_records(void **state)
{
	struct client *p, *q;
	unsigned char hello[4000], *out;
	int n, at = 0;

	start(14);
	q = tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	SSL_do_handshake(q->ssl);
	n = BIO_read(q->out, hello, sizeof(hello)) - 5;
	p = raw_client(0, "", 0);
	out = (unsigned char *)p->raw;
	for (; at < n; at += 7) {
		int k = n - at < 7 ? n - at : 7;

		memcpy(out, (unsigned char[]){22, 3, 1, 0, (unsigned char)k}, 5);
		memcpy(out + 5, hello + 5 + at, (size_t)k);
		out += 5 + k;
	}
	p->n_raw = (size_t)(out - (unsigned char *)p->raw);
	handshake(p);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(p->n_got > 100 && p->got[0] == 22); /* it was answered by a ServerHello */
	end();
}

static void refuses_what_is_no_hello(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	static unsigned char large[20000] = {22, 3, 1, 0x40, 0, 1, 0, 0x80, 0};
	static const unsigned char bad[] = {22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0};

	start(15);
	handshake(raw_client(0, http, sizeof(http) - 1));
	assert_int_equal(servers[0].reason, WEIR_R_TLS_NOT_TLS);
	assert_int_equal(clients[0].n_got, 0);
	handshake(raw_client(0, large, sizeof(large)));
	assert_int_equal(servers[1].reason, WEIR_R_TLS_HELLO_TOO_LARGE);
	handshake(raw_client(0, bad, sizeof(bad)));
	assert_int_equal(servers[2].reason, WEIR_R_TLS_BAD_HELLO);
	assert_memory_equal(clients[0].got, "\x15\x03\x03\x00\x02\x02\x32", 7);
	assert_int_equal(clients[0].n_got, 7);
	end();
}

static void ends_with_the_client(void **state)
{
	struct client *p;
	unsigned char hello[4000];
	int n;

	start(16);
	p = tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	SSL_do_handshake(p->ssl);
	n = BIO_read(p->out, hello, sizeof(hello));
	p = raw_client(0, hello, (size_t)n / 2); /* half of a hello */
	p->is_shut = true;
	handshake(p);
	assert_int_equal(servers[0].reason, WEIR_R_TLS_CLIENT_GONE);
	p = raw_client(0, hello, (size_t)n);
	p->is_shut = true;
	handshake(p);
	assert_int_equal(servers[1].reason, WEIR_R_TLS_CLIENT_GONE);
	p = raw_client(0, "", 0); /* nothing at all */
	p->is_shut = true;
	handshake(p);
	assert_int_equal(servers[2].reason, WEIR_R_TLS_CLIENT_GONE);
	end();
}

static int refuse(X509_STORE_CTX *ctx, void *arg)
{
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_UNTRUSTED);
	return 0;
}

static void counts_an_alert_of_the_client(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	start(17);
	for (unsigned i = 0; i < 2; i++) {
		struct client *p = tls_client(0, "a.example", versions[i], versions[i]);

		SSL_CTX_set_cert_verify_callback(p->ctx, refuse, NULL);
		SSL_set_verify(p->ssl, SSL_VERIFY_PEER, NULL);
		SSL_free(p->ssl);
		p->ssl = SSL_new(p->ctx);
		SSL_set_bio(p->ssl, p->in = BIO_new(BIO_s_mem()), p->out = BIO_new(BIO_s_mem()));
		SSL_set_verify(p->ssl, SSL_VERIFY_PEER, NULL);
		SSL_set_tlsext_host_name(p->ssl, "a.example");
		SSL_set_connect_state(p->ssl);
		handshake(p);
		assert_true(p->has_failed);
		assert_int_equal(stats->reason[WEIR_R_TLS_PEER_ALERT], i + 1);
	}
	end();
}

static void bounds_the_sessions(void **state)
{
	tls_config.n_sessions = 2;
	start(18);
	for (unsigned i = 0; i < 3; i++)
		connect_client(tls_client(i, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(clients[0].is_done + clients[1].is_done + clients[2].is_done, 2);
	assert_int_equal(stats->reason[WEIR_R_TLS_SESSIONS_FULL], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 2);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_both_versions),
		cmocka_unit_test(shows_the_certificate_of_the_name),
		cmocka_unit_test(chooses_the_key_type_by_the_offer),
		cmocka_unit_test(refuses_a_name_that_nobody_has),
		cmocka_unit_test(no_alert_speaks_for_backends_that_end_all_tls),
		cmocka_unit_test(keeps_to_the_profile),
		cmocka_unit_test(agrees_on_keys_by_the_group_that_it_prefers),
		cmocka_unit_test(negotiates_http11),
		cmocka_unit_test(staples_what_the_certificate_has),
		cmocka_unit_test(waits_for_a_certificate),
		cmocka_unit_test(asks_again_for_what_could_not_be_used),
		cmocka_unit_test(who_waits_goes_on_a_few_at_a_time),
		cmocka_unit_test(goes_on_a_step_in_an_iteration),
		cmocka_unit_test(ends_while_it_waits),
		cmocka_unit_test(serves_the_one_that_can_be_used),
		cmocka_unit_test(releases_what_no_snapshot_names),
		cmocka_unit_test(says_why_a_certificate_cannot_be_used),
		cmocka_unit_test(reads_a_hello_byte_by_byte),
		cmocka_unit_test(reads_a_hello_in_many_records),
		cmocka_unit_test(refuses_what_is_no_hello),
		cmocka_unit_test(ends_with_the_client),
		cmocka_unit_test(counts_an_alert_of_the_client),
		cmocka_unit_test(bounds_the_sessions),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
