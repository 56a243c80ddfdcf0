/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions to backends, in virtual time: OpenSSL as the backend over one stack, sessions of tls_connect() over the other one. */
#include "rig.h"

#include <openssl/x509v3.h>

#define N_ECHO 1048576u

enum { ID_TRUST, ID_OWN };
static EVP_PKEY *ca_key, *other_key, *leaf_key;
static X509 *ca, *other_ca, *own;

static void add_ext(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* Signed by the CA, or by itself; days: how long it is valid from yesterday on. */
static X509 *make_signed(const char *name, const char *san, X509 *by, EVP_PKEY *by_key, EVP_PKEY *key, long days)
{
	X509 *x = X509_new();

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -2 * 86400);
	X509_gmtime_adj(X509_getm_notAfter(x), days * 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, by ? X509_get_subject_name(by) : X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	if (!by)
		add_ext(x, NID_basic_constraints, "critical,CA:TRUE");
	if (san)
		add_ext(x, NID_subject_alt_name, san);
	assert_true(X509_sign(x, by ? by_key : key, EVP_sha256()) > 0);
	return x;
}

static int make_all(void **state)
{
	ca_key = EVP_EC_gen("P-256");
	other_key = EVP_EC_gen("P-256");
	leaf_key = EVP_EC_gen("P-256");
	ca = make_signed("ca", NULL, NULL, NULL, ca_key, 10);
	other_ca = make_signed("other", NULL, NULL, NULL, other_key, 10);
	own = make_signed("weir", "DNS:weir", ca, ca_key, leaf_key, 10);
	blobs[ID_TRUST] = make_blob(cert_id(ID_TRUST), ca, ca_key, NULL);
	blobs[ID_TRUST]->kind = WEIR_CERTIFICATE_TRUST;
	blobs[ID_TRUST]->crls = (struct weir_part){blobs[ID_TRUST]->key.off, 0};
	blobs[ID_OWN] = make_blob(cert_id(ID_OWN), own, leaf_key, NULL);
	return 0;
}

static int free_all(void **state)
{
	X509_free(ca);
	X509_free(other_ca);
	X509_free(own);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(other_key);
	EVP_PKEY_free(leaf_key);
	return free_certificates(state);
}

/* -- what the snapshot says */

static struct {
	struct weir_snapshot head;
	struct weir_backend_tls tls;
	struct weir_san sans[2];
	struct weir_cert_id certs[2];
	char strings[256];
} said;

struct want {
	const char *host, *san[2];
	uint8_t kind[2], profile;
	unsigned n_certs;
};

static void say(const struct want *w)
{
	uint32_t n = (uint32_t)strlen(w->host);

	memset(&said, 0, sizeof(said));
	said.head.sect[WEIR_SECT_STRINGS] = (struct weir_section_ref){offsetof(typeof(said), strings), sizeof(said.strings)};
	said.head.sect[WEIR_SECT_SANS] = (struct weir_section_ref){offsetof(typeof(said), sans), 2};
	said.head.sect[WEIR_SECT_CERTS] = (struct weir_section_ref){offsetof(typeof(said), certs), 2};
	said.head.sect[WEIR_SECT_BACKEND_TLS] = (struct weir_section_ref){offsetof(typeof(said), tls), 1};
	said.certs[0] = cert_id(ID_TRUST);
	said.certs[1] = cert_id(ID_OWN);
	said.tls = (struct weir_backend_tls){.host = {0, n}, .certs = {0, w->n_certs}, .profile = w->profile};
	memcpy(said.strings, w->host, n);
	for (uint32_t i = 0; i < 2 && w->san[i]; i++) {
		said.sans[i].kind = w->kind[i];
		said.sans[i].value = (struct weir_str){n, (uint32_t)strlen(w->san[i])};
		memcpy(said.strings + n, w->san[i], strlen(w->san[i]));
		n += (uint32_t)strlen(w->san[i]);
		said.tls.sans.count++;
	}
}

/* -- the backend: a client of the rig that accepts */

static struct client *backend;

static int on_backend_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	backend->c = c;
	*user = backend;
	return 0;
}

static SSL_CTX *backend_ctx; /* stays, for the keys of its tickets */

static void listen_as_backend(void)
{
	const struct tcp_listen l = {.port = 8443, .accept = on_backend_accept, .event = on_client};
	struct tcp_listener *out;

	assert_int_equal(tcp_listen(sim.host[0].tcp, &l, &out), 0);
	backend_ctx = SSL_CTX_new_ex(client_lib, NULL, TLS_server_method());
	SSL_CTX_set_msg_callback(backend_ctx, on_client_message);
	SSL_CTX_set_session_id_context(backend_ctx, (const unsigned char *)"t", 1);
}

static void unlisten(void)
{
	SSL_CTX_free(backend_ctx);
}

static struct client *new_backend(unsigned i, X509 *x, EVP_PKEY *key, int version)
{
	struct client *p = backend = new_client(i);

	p->ssl = SSL_new(backend_ctx);
	SSL_set_msg_callback_arg(p->ssl, p);
	p->in = BIO_new(BIO_s_mem());
	p->out = BIO_new(BIO_s_mem());
	SSL_set_bio(p->ssl, p->in, p->out);
	SSL_set_accept_state(p->ssl);
	SSL_set_min_proto_version(p->ssl, version);
	SSL_set_max_proto_version(p->ssl, version);
	assert_int_equal(SSL_use_certificate(p->ssl, x), 1);
	assert_int_equal(SSL_use_PrivateKey(p->ssl, key), 1);
	return p;
}

/* -- our side */

static void on_up(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct server *v = user;
	const struct weir_snapshot *s = &said.head;

	if (events & TCP_EV_CONNECTED) {
		v->s = tls_connect(tls, c, s, &said.tls, tls_backend_hash(s, &said.tls));
		assert_non_null(v->s);
	}
	if (events & TCP_EV_CLOSED && v->s && !v->was_ready && !v->has_failed) { /* as upstream/ does */
		tls_fail(v->s, WEIR_R_TLS_CLIENT_GONE);
		v->reason = tls_reason(v->s);
	}
	on_server(c, v, events, now);
}

static bool is_up_through(void *ctx)
{
	struct server *v = ctx;

	return v->was_ready || v->has_failed || v->is_closed;
}

static struct server *reach(void)
{
	struct server *v = &servers[n_servers++];
	struct tcp_connect a = {.local = sim.host[1].ip, .remote = sim.host[0].ip, .remote_port = 8443, .timeout_ms = 30000,
				.event = on_up, .user = v};
	enum weir_reason why;

	memset(v, 0, sizeof(*v));
	v->reason = WEIR_N_REASONS;
	v->c = tcp_connect(sim.host[1].tcp, &a, sim.now_us, &why);
	assert_non_null(v->c);
	sim_run(&sim, 20000000, is_up_through, v);
	sim_run(&sim, 1000000, NULL, NULL);
	return v;
}

/* One connection to a backend whose certificate has these names; what came of it. */
static enum weir_reason outcome(const struct want *w, const char *san, X509 *by, EVP_PKEY *by_key, long days)
{
	X509 *x = make_signed("leaf", san, by, by_key, leaf_key, days);
	struct server *v;
	struct client *p;
	enum weir_reason why;

	start(1);
	listen_as_backend();
	say(w);
	p = new_backend(0, x, leaf_key, TLS1_3_VERSION);
	p->n_send = 5000;
	v = reach();
	why = v->reason;
	assert_true(v->was_ready == (why == WEIR_N_REASONS));
	if (v->was_ready) {
		assert_int_equal(p->n_got, 5000);
		assert_string_equal(v->info.alpn, "");
		assert_int_equal(stats->counter[WEIR_C_BACKEND_TLS_HANDSHAKES], 1);
		assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 0);
	} else {
		assert_int_equal(stats->reason[why], 1);
		assert_false(p->n_got);
	}
	end();
	unlisten();
	X509_free(x);
	return why;
}

#define DNS WEIR_SAN_DNS
#define URI WEIR_SAN_URI

static void names_decide(void **state)
{
	static const struct {
		struct want w;
		const char *san;
		bool ok;
	} cases[] = {
		{{.host = "a.example", .n_certs = 1}, "DNS:a.example", true},
		{{.host = "a.example", .n_certs = 1}, "DNS:A.Example", true},
		{{.host = "a.example", .n_certs = 1}, "DNS:b.example", false},
		{{.host = "a.example", .n_certs = 1}, "DNS:*.example.org", false},
		{{.host = "a.b.example", .n_certs = 1}, "DNS:*.b.example", true},
		{{.host = "a.b.example", .n_certs = 1}, "DNS:a*.b.example", false},
		{{.host = "leaf", .n_certs = 1}, NULL, false}, /* the subject is no name */
		{{.host = "a.example", .san = {"b.example"}, .kind = {DNS}, .n_certs = 1}, "DNS:b.example", true},
		{{.host = "a.example", .san = {"b.example"}, .kind = {DNS}, .n_certs = 1}, "DNS:a.example", false},
		{{.host = "a.example", .san = {"b.example", "spiffe://x/y"}, .kind = {DNS, URI}, .n_certs = 1}, "URI:spiffe://x/y", true},
		{{.host = "a.example", .san = {"spiffe://x/y"}, .kind = {URI}, .n_certs = 1}, "URI:spiffe://x/Y", false},
		{{.host = "a.example", .san = {"spiffe://x/y"}, .kind = {URI}, .n_certs = 1}, "DNS:a.example", false},
		{{.host = "a.example", .san = {"*.b.example"}, .kind = {DNS}, .n_certs = 1}, "DNS:*.b.example", true},
		{{.host = "a.example", .san = {"*.b.example"}, .kind = {DNS}, .n_certs = 1}, "DNS:c.b.example", false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(outcome(&cases[i].w, cases[i].san, ca, ca_key, 10),
				 cases[i].ok ? WEIR_N_REASONS : WEIR_R_BACKEND_TLS_WRONG_NAME);
}

static void who_is_not_trusted_is_not_reached(void **state)
{
	const struct want w = {.host = "a.example", .n_certs = 1}, nobody = {.host = "a.example"};

	assert_int_equal(outcome(&w, "DNS:a.example", other_ca, other_key, 10), WEIR_R_BACKEND_TLS_UNTRUSTED);
	assert_int_equal(outcome(&w, "DNS:a.example", ca, ca_key, -1), WEIR_R_BACKEND_TLS_EXPIRED);
	assert_int_equal(outcome(&nobody, "DNS:a.example", ca, ca_key, 10), WEIR_R_BACKEND_TLS_NO_TRUST);
}

static void resumes_only_under_the_same_settings(void **state)
{
	const struct want w = {.host = "a.example", .n_certs = 1};
	const struct want other = {.host = "a.example", .san = {"a.example"}, .kind = {DNS}, .n_certs = 1};
	X509 *x = make_signed("leaf", "DNS:a.example", ca, ca_key, leaf_key, 10);

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		start(1);
		listen_as_backend();
		say(&w);
		for (unsigned i = 0; i < 4; i++) {
			struct server *v;

			new_backend(i, x, leaf_key, version)->n_send = 100;
			if (i == 3)
				say(&other);
			v = reach();
			assert_true(v->was_ready);
			assert_int_equal(v->info.version, version);
			assert_int_equal(v->info.is_resumed, i == 1 || i == 2);
		}
		assert_int_equal(stats->counter[WEIR_C_BACKEND_TLS_RESUMED], 2);
		assert_int_equal(stats->counter[WEIR_C_BACKEND_TLS_HANDSHAKES], 4);
		end();
		unlisten();
	}
	X509_free(x);
}

/* The ClientHello has a share of each of the two first: who knows one of them needs no second one. */
static void agrees_on_keys_in_one_round_trip(void **state)
{
	static const struct {
		const char *groups;
		uint16_t group;
		unsigned n_hellos;
	} cases[] = {{"X25519", 0x001d, 1}, {"X25519MLKEM768:X25519", 0x11ec, 1}, {"P-384", 0x0018, 2}};
	const struct want w = {.host = "a.example", .n_certs = 1};
	X509 *x = make_signed("leaf", "DNS:a.example", ca, ca_key, leaf_key, 10);

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool is_hybrid = cases[i].group == 0x11ec;
		struct server *v;
		struct client *p;

		start(1);
		listen_as_backend();
		say(&w);
		p = new_backend(0, x, leaf_key, TLS1_3_VERSION);
		if (SSL_set1_groups_list(p->ssl, cases[i].groups)) {
			v = reach();
			assert_true(v->was_ready);
			assert_int_equal(v->info.group, cases[i].group);
			assert_int_equal(p->n_hellos, cases[i].n_hellos);
			assert_int_equal(stats->counter[WEIR_C_BACKEND_TLS_HANDSHAKES_HYBRID], is_hybrid);
		} else { /* before 3.5 */
			assert_true(is_hybrid && OPENSSL_version_major() == 3 && OPENSSL_version_minor() < 5);
		}
		end();
		unlisten();
	}
	X509_free(x);
}

static void shows_its_certificate_where_it_is_asked_for(void **state)
{
	X509 *x = make_signed("leaf", "DNS:a.example", ca, ca_key, leaf_key, 10);

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
		for (unsigned n_certs = 1; n_certs <= 2; n_certs++) {
			const struct want w = {.host = "a.example", .n_certs = n_certs};
			struct server *v;
			struct client *p;

			start(1);
			listen_as_backend();
			X509_STORE_add_cert(SSL_CTX_get_cert_store(backend_ctx), ca);
			say(&w);
			p = new_backend(0, x, leaf_key, version);
			SSL_set_verify(p->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
			p->n_send = 100;
			v = reach();
			assert_true(p->is_done == (n_certs == 2));
			assert_int_equal(v->reason, n_certs == 2 ? WEIR_N_REASONS : WEIR_R_BACKEND_TLS_ALERT);
			end();
			unlisten();
		}
	X509_free(x);
}

static void a_megabyte_goes_both_ways(void **state)
{
	const struct want w = {.host = "a.example", .n_certs = 1};
	X509 *x = make_signed("leaf", "DNS:a.example", ca, ca_key, leaf_key, 10);
	struct server *v;
	struct client *p;

	start(1);
	listen_as_backend();
	say(&w);
	p = new_backend(0, x, leaf_key, TLS1_3_VERSION);
	p->n_send = N_ECHO;
	p->closes = true;
	v = reach();
	sim_run(&sim, 60000000, is_client_closed, p);
	assert_int_equal(p->n_got, N_ECHO);
	assert_true(v->is_eof);
	end();
	unlisten();
	X509_free(x);
}

/* After n bytes the backend ends its side. */
static void may_end_at_any_byte(void **state)
{
	const struct want w = {.host = "a.example", .n_certs = 1};
	X509 *x = make_signed("leaf", "DNS:a.example", ca, ca_key, leaf_key, 10);
	struct client *p;

	/* What a backend says, to be said again in parts to others: it makes no sense to them, or ends too early. */
	for (size_t n = 0; n < 200; n += 7) {
		struct server *v;

		start(1);
		listen_as_backend();
		say(&w);
		p = backend = new_client(0);
		p->n_raw = n;
		memset(p->raw, 22, n);
		if (n > 5)
			memcpy(p->raw, "\x16\x03\x03\x10\x00", 5); /* a record that never ends */
		p->is_shut = true;
		v = reach();
		assert_false(v->was_ready);
		assert_true(v->has_failed || v->is_closed);
		assert_true(stats->reason[WEIR_R_BACKEND_TLS_GONE] + stats->reason[WEIR_R_BACKEND_TLS_PROTOCOL] +
				    stats->reason[WEIR_R_BACKEND_TLS_NOT_AGREED] == 1);
		end();
		unlisten();
	}
	X509_free(x);
}

/* -- a backend that goes in the middle of the handshake */

static void give_up(struct server *v)
{
	tls_fail(v->s, WEIR_R_TLS_HANDSHAKE_TIMEOUT);
	v->reason = tls_reason(v->s);
	tcp_abort(v->c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	tls_free(v->s);
	v->c = NULL;
	v->s = NULL;
	sim_run(&sim, 1000000, NULL, NULL);
}

/* After so many bytes it closes, resets, or says nothing more. False: these were all of its handshake. */
static bool is_cut(X509 *x, int version, size_t at, unsigned how)
{
	const enum weir_reason wanted = how == CUT_STALLS ? WEIR_R_BACKEND_TLS_TIMEOUT : WEIR_R_BACKEND_TLS_GONE;
	uint64_t before = stats->reason[wanted];
	struct client *p = new_backend(0, x, leaf_key, version);
	struct server *v;

	p->cut_at = at;
	p->cut_how = how;
	n_servers = 0;
	v = reach();
	if (v->was_ready)
		return false;
	if (how == CUT_STALLS) {
		assert_int_equal(v->reason, WEIR_N_REASONS);
		give_up(v);
	}
	assert_int_equal(p->n_written, at);
	assert_int_equal(v->reason, wanted);
	assert_int_equal(stats->reason[wanted], before + 1);
	assert_true(!v->c && !v->s && !p->c);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	return true;
}

static void may_be_cut_at_any_byte_of_its_handshake(void **state)
{
	static const unsigned steps[] = {[CUT_CLOSES] = 1, [CUT_RESETS] = 17, [CUT_STALLS] = 23};
	const struct want w = {.host = "a.example", .n_certs = 1};
	X509 *x = make_signed("leaf", "DNS:a.example", ca, ca_key, leaf_key, 10);

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
		for (unsigned how = 0; how < 3; how++) {
			size_t at = 1;

			start(1);
			listen_as_backend();
			SSL_CTX_set_session_cache_mode(backend_ctx, SSL_SESS_CACHE_OFF);
			say(&w);
			while (is_cut(x, version, at, how))
				at += steps[how];
			assert_true(at > 500);
			for (unsigned r = 0; r < WEIR_N_REASONS; r++)
				if (stat_reason_kind((enum weir_reason)r) == WEIR_KIND_TLS && r != WEIR_R_BACKEND_TLS_GONE &&
				    r != WEIR_R_BACKEND_TLS_TIMEOUT)
					assert_int_equal(stats->reason[r], 0);
			end();
			unlisten();
		}
	X509_free(x);
}

static void tickets_without_end_are_refused(void **state)
{
	const struct want w = {.host = "a.example", .n_certs = 1};
	X509 *x = make_signed("leaf", "DNS:a.example", ca, ca_key, leaf_key, 10);
	struct server *v;
	struct client *p;

	start(1);
	listen_as_backend();
	say(&w);
	p = new_backend(0, x, leaf_key, TLS1_3_VERSION);
	p->n_send = 100;
	v = reach();
	assert_true(v->was_ready);
	for (unsigned i = 0; i < 40; i++) { /* many, with enough content between */
		SSL_new_session_ticket(p->ssl);
		SSL_do_handshake(p->ssl);
		p->n_send += 40000;
		client_pump(p);
		sim_run(&sim, 2000000, NULL, NULL);
	}
	assert_int_equal(p->n_got, p->n_send);
	assert_int_equal(v->reason, WEIR_N_REASONS);
	for (unsigned i = 0; i < 60; i++) {
		SSL_new_session_ticket(p->ssl);
		SSL_do_handshake(p->ssl);
	}
	client_pump(p);
	sim_run(&sim, 2000000, NULL, NULL);
	assert_int_equal(v->reason, WEIR_R_BACKEND_TLS_TICKET_FLOOD);
	assert_int_equal(stats->reason[WEIR_R_BACKEND_TLS_TICKET_FLOOD], 1);
	end();
	unlisten();
	X509_free(x);
}

/* -- what authorities have revoked */

static struct weir_certificate *trust_with(const struct weir_certificate *plain, X509_CRL *crl)
{
	unsigned char *der = NULL;
	int n = i2d_X509_CRL(crl, &der);
	struct weir_certificate *b = calloc(1, plain->size + (size_t)n);

	memcpy(b, plain, plain->size);
	b->crls = (struct weir_part){plain->size, (uint32_t)n};
	b->size += (uint32_t)n;
	memcpy((char *)b + plain->size, der, (size_t)n);
	OPENSSL_free(der);
	return b;
}

static void a_list_of_the_revoked_counts_where_there_is_one(void **state)
{
	const struct want w = {.host = "a.example", .n_certs = 1};
	struct weir_certificate *plain = blobs[ID_TRUST];
	X509_CRL *crl = X509_CRL_new();
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *at = ASN1_TIME_new();

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca));
	X509_CRL_set1_lastUpdate(crl, X509_gmtime_adj(at, -7200));
	X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(at, 7200));
	assert_true(X509_CRL_sign(crl, ca_key, EVP_sha256()) > 0);
	blobs[ID_TRUST] = trust_with(plain, crl);
	assert_int_equal(outcome(&w, "DNS:a.example", ca, ca_key, 10), WEIR_N_REASONS);
	free(blobs[ID_TRUST]);
	X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(own)); /* that of all leaves */
	X509_REVOKED_set_revocationDate(r, X509_gmtime_adj(at, -3600));
	X509_CRL_add0_revoked(crl, r);
	assert_true(X509_CRL_sign(crl, ca_key, EVP_sha256()) > 0);
	blobs[ID_TRUST] = trust_with(plain, crl);
	assert_int_equal(outcome(&w, "DNS:a.example", ca, ca_key, 10), WEIR_R_BACKEND_TLS_REVOKED);
	free(blobs[ID_TRUST]);
	blobs[ID_TRUST] = plain;
	X509_CRL_free(crl);
	ASN1_TIME_free(at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_decide),
		cmocka_unit_test(who_is_not_trusted_is_not_reached),
		cmocka_unit_test(resumes_only_under_the_same_settings),
		cmocka_unit_test(agrees_on_keys_in_one_round_trip),
		cmocka_unit_test(shows_its_certificate_where_it_is_asked_for),
		cmocka_unit_test(a_megabyte_goes_both_ways),
		cmocka_unit_test(may_end_at_any_byte),
		cmocka_unit_test(may_be_cut_at_any_byte_of_its_handshake),
		cmocka_unit_test(tickets_without_end_are_refused),
		cmocka_unit_test(a_list_of_the_revoked_counts_where_there_is_one),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_all, free_all);
}
