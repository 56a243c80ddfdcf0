/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of clients: who is let in, under which name he is refused, and what backends would be told. */
#include "rig.h"

#include <ctype.h>

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509v3.h>

#include "tls/tls_pvt.h"

/* -- authorities and clients */

struct issued {
	X509 *x;
	EVP_PKEY *key;
};

enum { CA, CA_MIDDLE, CA_OTHER, GOOD, EXPIRED, EARLY, REVOKED, SERVER_ONLY, STRANGER, DEEP, HOSTILE, SELF, FORGED, N_ISSUED };
static struct issued issued[N_ISSUED];

enum { TRUST_PLAIN = N_CERTS, TRUST_CRL, TRUST_OLD_CRL, TRUST_MIDDLE, N_ALL };
static struct weir_certificate *trust[N_ALL - N_CERTS];

static void add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* by < 0: by itself. san NULL: none. */
static void issue(int i, int by, const char *name, long from_s, long to_s, const char *usage, const char *san)
{
	struct issued *o = &issued[i];
	struct issued *ca = by < 0 ? o : &issued[by];

	o->key = EVP_EC_gen("P-256");
	o->x = X509_new();
	X509_set_version(o->x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(o->x), 100 + i);
	X509_gmtime_adj(X509_getm_notBefore(o->x), from_s);
	X509_gmtime_adj(X509_getm_notAfter(o->x), to_s);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(o->x), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(o->x, X509_get_subject_name(ca->x));
	X509_set_pubkey(o->x, o->key);
	add_ext(o->x, ca->x, NID_basic_constraints, usage ? "CA:FALSE" : "critical,CA:TRUE");
	if (usage)
		add_ext(o->x, ca->x, NID_ext_key_usage, usage);
	if (san)
		add_ext(o->x, ca->x, NID_subject_alt_name, san);
	assert_true(X509_sign(o->x, ca->key, EVP_sha256()) > 0);
}

static X509_CRL *make_crl(const struct issued *ca, const struct issued *revoked, long next_s)
{
	X509_CRL *crl = X509_CRL_new();
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *at = ASN1_TIME_new();

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x));
	X509_CRL_set1_lastUpdate(crl, X509_gmtime_adj(at, -7200));
	X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(at, next_s));
	X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked->x));
	X509_REVOKED_set_revocationDate(r, X509_gmtime_adj(at, -3600));
	X509_CRL_add0_revoked(crl, r);
	assert_true(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0);
	ASN1_TIME_free(at);
	return crl;
}

static struct weir_certificate *make_trust(unsigned id, X509 *x, X509_CRL *crl)
{
	unsigned char *der = NULL, *list = NULL;
	int n = i2d_X509(x, &der), k = crl ? i2d_X509_CRL(crl, &list) : 0;
	struct weir_certificate *b = calloc(1, sizeof(*b) + (size_t)(n + k));

	b->id = cert_id(id);
	b->kind = WEIR_CERTIFICATE_TRUST;
	b->n_chain = 1;
	b->size = (uint32_t)(sizeof(*b) + (size_t)(n + k));
	b->chain[0] = (struct weir_part){sizeof(*b), (uint32_t)n};
	b->crls = (struct weir_part){b->chain[0].off + (uint32_t)n, (uint32_t)k};
	memcpy((char *)b + b->chain[0].off, der, (size_t)n);
	if (k)
		memcpy((char *)b + b->crls.off, list, (size_t)k);
	OPENSSL_free(der);
	OPENSSL_free(list);
	X509_CRL_free(crl);
	return b;
}

#define DAY 86400
#define HOSTILE_NAME "a\";URI=spiffe://evil;x=\"\\\r\nX-Evil: 1, \xc3\xa9\\"

static int make_all(void **state)
{
	make_certificates(state);
	issue(CA, -1, "ca", -DAY, DAY, NULL, NULL);
	issue(CA_MIDDLE, CA, "middle", -DAY, DAY, NULL, NULL);
	issue(CA_OTHER, -1, "other", -DAY, DAY, NULL, NULL);
	issue(GOOD, CA, "good", -DAY, DAY, "clientAuth", "URI:spiffe://td/ns/a,DNS:one.example,URI:spiffe://td/b,DNS:two.example");
	issue(EXPIRED, CA, "expired", -DAY, -3600, "clientAuth", NULL);
	issue(EARLY, CA, "early", 3600, DAY, "clientAuth", NULL);
	issue(REVOKED, CA, "revoked", -DAY, DAY, "clientAuth", NULL);
	issue(SERVER_ONLY, CA, "server", -DAY, DAY, "serverAuth", NULL);
	issue(STRANGER, CA_OTHER, "stranger", -DAY, DAY, "clientAuth", NULL);
	issue(DEEP, CA_MIDDLE, "deep", -DAY, DAY, "clientAuth", NULL);
	issue(HOSTILE, CA, HOSTILE_NAME, -DAY, DAY, "clientAuth", "URI:spiffe://td/a;Hash=0,DNS:a\"b,URI:spiffe://td/\x01");
	issue(SELF, -1, "self", -DAY, DAY, "clientAuth", NULL);
	issue(FORGED, CA, "forged", -DAY, DAY, "clientAuth", NULL);
	assert_true(X509_sign(issued[FORGED].x, issued[CA_OTHER].key, EVP_sha256()) > 0);
	trust[TRUST_PLAIN - N_CERTS] = make_trust(TRUST_PLAIN, issued[CA].x, NULL);
	trust[TRUST_CRL - N_CERTS] = make_trust(TRUST_CRL, issued[CA].x, make_crl(&issued[CA], &issued[REVOKED], DAY));
	trust[TRUST_OLD_CRL - N_CERTS] = make_trust(TRUST_OLD_CRL, issued[CA].x, make_crl(&issued[CA], &issued[REVOKED], -60));
	trust[TRUST_MIDDLE - N_CERTS] = make_trust(TRUST_MIDDLE, issued[CA_MIDDLE].x, NULL);
	return 0;
}

static int free_all(void **state)
{
	for (unsigned i = 0; i < N_ISSUED; i++) {
		X509_free(issued[i].x);
		EVP_PKEY_free(issued[i].key);
	}
	for (unsigned i = 0; i < N_ALL - N_CERTS; i++)
		free(trust[i]);
	return free_certificates(state);
}

/* -- what the name a.example asks */

static bool is_trust_late, is_trust_bad;
static char last_xfcc[8192], last_cert[8192], last_chain[8192];

static void deliver_trust(void *ctx, uint64_t now)
{
	unsigned i = (unsigned)(uintptr_t)ctx;
	const struct weir_cert_id id = cert_id(i);
	char why[100];
	struct tls_certificate *c = is_trust_bad ? NULL : tls_certificate_create(tls, trust[i - N_CERTS], why, sizeof(why));

	n_made += c != NULL;
	tls_take_certificate(tls, &id, c, now);
}

static void want_any(void *ctx, const struct weir_cert_id *id)
{
	if (id->v[0] <= N_CERTS) {
		on_want(ctx, id);
		return;
	}
	n_wants++;
	sim_at(&sim, sim.now_us + (is_trust_late ? 1000000 : 100), deliver_trust, (void *)(uintptr_t)(id->v[0] - 1));
}

static struct weir_client_auth auths[2];

/* trust_id 0: none. The other name that asks is c.example. */
static void ask(unsigned name, unsigned trust_id, enum weir_client_auth_mode m, unsigned depth, unsigned fields)
{
	uint32_t k = name ? 1 : 0, at = snapshot.head.sect[WEIR_SECT_CERTS].count;

	snapshot.certs[at] = cert_id(trust_id);
	snapshot.head.sect[WEIR_SECT_CERTS].count++;
	auths[k] = (struct weir_client_auth){.trust = {at, trust_id ? 1 : 0}, .mode = (uint8_t)m, .depth = (uint8_t)depth,
					     .fields = (uint8_t)fields};
	memcpy(snapshot.strings + 128, auths, sizeof(auths));
	snapshot.head.sect[WEIR_SECT_CLIENT_AUTHS] =
		(struct weir_section_ref){(uint32_t)(offsetof(struct test_snapshot, strings) + 128), 2};
	snapshot.names[name].client_auth = k;
}

static void begin(uint64_t seed)
{
	start(seed);
	is_trust_late = is_trust_bad = false;
	set_keys(1, 2);
	tls_config.want = want_any;
	tls->cfg.want = want_any;
}

static void keep(char *to, struct slice s)
{
	snprintf(to, 8192, "%.*s", (int)s.n, s.p);
}

static void keep_fields(const struct server *v)
{
	const struct tls_client_cert *c = v->s ? tls_get_client_cert(v->s) : NULL;

	keep(last_xfcc, c ? c->xfcc : slice_of("", 0));
	keep(last_cert, c ? c->cert : slice_of("", 0));
	keep(last_chain, c ? c->chain : slice_of("", 0));
}

static SSL_SESSION *session;

/* who < 0: shows none. With a session: it is offered. Returns the server's view. */
static struct server *come(const char *name, int version, int who, bool with_session)
{
	struct client *p = tls_client(0, name, version, version);
	struct server *v;

	if (who >= 0) {
		assert_int_equal(SSL_use_certificate(p->ssl, issued[who].x), 1);
		assert_int_equal(SSL_use_PrivateKey(p->ssl, issued[who].key), 1);
	}
	if (who == DEEP)
		SSL_add1_chain_cert(p->ssl, issued[CA_MIDDLE].x);
	if (with_session)
		SSL_set_session(p->ssl, session);
	p->n_send = 10;
	handshake(p);
	sim_run(&sim, 1000000, NULL, NULL);
	v = &servers[n_servers - 1];
	keep_fields(v);
	SSL_SESSION_free(session);
	session = SSL_get1_session(p->ssl);
	SSL_set_shutdown(p->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or its session would be good for nothing */
	return v;
}

static void let_in(const char *name, int version, int who)
{
	struct server *v = come(name, version, who, false);

	assert_true(v->was_ready);
	assert_int_equal(v->reason, WEIR_N_REASONS);
	assert_int_equal(clients[0].n_got, 10);
}

static void refuse(const char *name, int version, int who, enum weir_reason why, int alert)
{
	uint64_t before = stats->reason[why];
	struct server *v = come(name, version, who, false);

	assert_int_equal(v->reason, why);
	assert_false(v->was_ready);
	assert_int_equal(stats->reason[why], before + 1);
	assert_int_equal(clients[0].alert, alert);
	assert_int_equal(clients[0].n_got, 0);
}

static void finish(void)
{
	SSL_SESSION_free(session);
	session = NULL;
	end();
}

#define FOR_VERSIONS(v) for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++)

/* -- tests */

static void lets_in_who_is_valid_alone(void **state)
{
	begin(1);
	ask(0, TRUST_CRL, WEIR_CLIENT_AUTH_REQUIRED, 2, 0);
	FOR_VERSIONS(v)
	{
		let_in("a.example", v, GOOD);
		refuse("a.example", v, -1, WEIR_R_TLS_CLIENT_CERT_NONE,
		       v == TLS1_3_VERSION ? SSL_AD_CERTIFICATE_REQUIRED : SSL_AD_HANDSHAKE_FAILURE);
		refuse("a.example", v, STRANGER, WEIR_R_TLS_CLIENT_CERT_UNKNOWN_CA, SSL_AD_UNKNOWN_CA);
		refuse("a.example", v, SELF, WEIR_R_TLS_CLIENT_CERT_UNKNOWN_CA, SSL_AD_UNKNOWN_CA);
		refuse("a.example", v, EXPIRED, WEIR_R_TLS_CLIENT_CERT_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED);
		refuse("a.example", v, EARLY, WEIR_R_TLS_CLIENT_CERT_NOT_YET_VALID, SSL_AD_BAD_CERTIFICATE);
		refuse("a.example", v, REVOKED, WEIR_R_TLS_CLIENT_CERT_REVOKED, SSL_AD_CERTIFICATE_REVOKED);
		refuse("a.example", v, SERVER_ONLY, WEIR_R_TLS_CLIENT_CERT_PURPOSE, SSL_AD_UNSUPPORTED_CERTIFICATE);
		let_in("c.example", v, -1); /* nothing is asked there */
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_CLIENT_CERTS], 2);
	finish();
}

static void an_issuer_without_a_crl_revokes_nothing(void **state)
{
	begin(2);
	ask(0, TRUST_CRL, WEIR_CLIENT_AUTH_REQUIRED, 2, 0);
	FOR_VERSIONS(v)
		let_in("a.example", v, DEEP); /* the CRL is of the root */
	finish();
}

static void an_expired_crl_lets_nobody_in(void **state)
{
	begin(3);
	ask(0, TRUST_OLD_CRL, WEIR_CLIENT_AUTH_REQUIRED, 2, 0);
	FOR_VERSIONS(v)
		refuse("a.example", v, GOOD, WEIR_R_TLS_CLIENT_CRL_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED);
	finish();
}

static void a_chain_may_be_as_long_as_the_name_says(void **state)
{
	begin(4);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 0, 0);
	FOR_VERSIONS(v)
	{
		let_in("a.example", v, GOOD);
		refuse("a.example", v, DEEP, WEIR_R_TLS_CLIENT_CERT_CHAIN, SSL_AD_UNKNOWN_CA);
	}
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
	let_in("a.example", TLS1_3_VERSION, DEEP);
	ask(0, TRUST_MIDDLE, WEIR_CLIENT_AUTH_REQUIRED, 0, 0); /* an intermediate one is enough to trust */
	let_in("a.example", TLS1_3_VERSION, DEEP);
	refuse("a.example", TLS1_3_VERSION, GOOD, WEIR_R_TLS_CLIENT_CERT_UNKNOWN_CA, SSL_AD_UNKNOWN_CA);
	finish();
}

static void optional_means_a_valid_one_or_none(void **state)
{
	begin(5);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_OPTIONAL, 1, WEIR_CLIENT_CERT_XFCC);
	FOR_VERSIONS(v)
	{
		let_in("a.example", v, -1);
		assert_string_equal(last_xfcc, "");
		let_in("a.example", v, GOOD);
		assert_string_not_equal(last_xfcc, "");
		refuse("a.example", v, STRANGER, WEIR_R_TLS_CLIENT_CERT_UNKNOWN_CA, SSL_AD_UNKNOWN_CA);
	}
	finish();
}

static void insecure_lets_all_in_and_tells_of_the_valid(void **state)
{
	static const int bad[] = {STRANGER, SELF, EXPIRED, REVOKED, SERVER_ONLY};

	begin(6);
	ask(0, TRUST_CRL, WEIR_CLIENT_AUTH_INSECURE, 1, WEIR_CLIENT_CERT_XFCC | WEIR_CLIENT_CERT_RFC9440);
	FOR_VERSIONS(v)
	{
		let_in("a.example", v, -1);
		assert_string_equal(last_xfcc, "");
		let_in("a.example", v, GOOD);
		assert_string_not_equal(last_xfcc, "");
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			let_in("a.example", v, bad[i]);
			assert_string_equal(last_xfcc, "");
			assert_string_equal(last_cert, "");
		}
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_CLIENT_CERTS], 2);
	assert_int_equal(stats->counter[WEIR_C_TLS_CLIENT_CERTS_INVALID], 10);
	finish();
}

static void without_trust_nobody_is_valid(void **state)
{
	begin(7);
	is_trust_bad = true;
	for (unsigned id = 0; id <= TRUST_PLAIN; id += TRUST_PLAIN) {
		ask(0, id, WEIR_CLIENT_AUTH_REQUIRED, 1, WEIR_CLIENT_CERT_XFCC);
		ask(2, id, WEIR_CLIENT_AUTH_OPTIONAL, 1, WEIR_CLIENT_CERT_XFCC);
		FOR_VERSIONS(v)
		{
			refuse("a.example", v, GOOD, WEIR_R_TLS_CLIENT_NO_TRUST, SSL_AD_UNKNOWN_CA);
			refuse("a.example", v, -1, WEIR_R_TLS_CLIENT_CERT_NONE,
			       v == TLS1_3_VERSION ? SSL_AD_CERTIFICATE_REQUIRED : SSL_AD_HANDSHAKE_FAILURE);
			refuse("c.example", v, GOOD, WEIR_R_TLS_CLIENT_NO_TRUST, SSL_AD_UNKNOWN_CA);
			let_in("c.example", v, -1);
		}
	}
	ask(0, 0, WEIR_CLIENT_AUTH_INSECURE, 1, WEIR_CLIENT_CERT_XFCC);
	let_in("a.example", TLS1_3_VERSION, GOOD);
	assert_string_equal(last_xfcc, "");
	finish();
}

static void waits_for_its_trust(void **state)
{
	begin(8);
	is_trust_late = true;
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
	let_in("a.example", TLS1_3_VERSION, GOOD);
	assert_int_equal(stats->counter[WEIR_C_TLS_CERTIFICATE_WAITS], 1);
	assert_int_equal(n_wants, 3);
	finish();
}

static void names_its_authorities(void **state)
{
	begin(9);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_OPTIONAL, 1, 0);
	FOR_VERSIONS(v)
	{
		const STACK_OF(X509_NAME) *names;

		let_in("a.example", v, -1);
		names = SSL_get0_peer_CA_list(clients[0].ssl);
		assert_int_equal(sk_X509_NAME_num(names), 1);
		assert_int_equal(X509_NAME_cmp(sk_X509_NAME_value(names, 0), X509_get_subject_name(issued[CA].x)), 0);
	}
	finish();
}

/* A ticket that is good for another name, or was before the name asked, opens nothing. */
static void tickets_do_not_get_around_it(void **state)
{
	begin(10);
	FOR_VERSIONS(v)
	{
		snapshot.names[0].client_auth = WEIR_NONE;
		ask(2, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
		let_in("a.example", v, -1);
		assert_true(SSL_SESSION_has_ticket(session));
		assert_true(come("a.example", v, -1, true)->info.is_resumed);
		assert_int_equal(come("c.example", v, -1, true)->reason, WEIR_R_TLS_CLIENT_CERT_NONE);
		let_in("a.example", v, -1);
		ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
		assert_int_equal(come("a.example", v, -1, true)->reason, WEIR_R_TLS_CLIENT_CERT_NONE);
		let_in("a.example", v, GOOD);
		assert_false(SSL_SESSION_has_ticket(session));
		assert_false(come("a.example", v, GOOD, true)->info.is_resumed);
		assert_int_equal(come("a.example", v, -1, true)->reason, WEIR_R_TLS_CLIENT_CERT_NONE);
	}
	finish();
}

/* The public part of one and the private part of the other. */
static EVP_PKEY *mix_keys(const EVP_PKEY *public, const EVP_PKEY *private)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	unsigned char point[200];
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params;
	BIGNUM *d = NULL;
	size_t n;

	assert_true(EVP_PKEY_get_bn_param(private, OSSL_PKEY_PARAM_PRIV_KEY, &d));
	assert_true(EVP_PKEY_get_octet_string_param(public, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &n));
	OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
	OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, n);
	OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, d);
	params = OSSL_PARAM_BLD_to_param(b);
	assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
	assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	EVP_PKEY_CTX_free(ctx);
	BN_free(d);
	return key;
}

/* Who shows it does not have its key: OpenSSL lets the client go on, since it compares the public parts. */
static struct server *come_with_a_stolen_one(int version)
{
	struct client *p = tls_client(0, "a.example", version, version);
	EVP_PKEY *key = mix_keys(issued[GOOD].key, issued[SELF].key);

	assert_int_equal(SSL_use_certificate(p->ssl, issued[GOOD].x), 1);
	assert_int_equal(SSL_use_PrivateKey(p->ssl, key), 1);
	EVP_PKEY_free(key);
	handshake(p);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(p->alert, SSL_AD_DECRYPT_ERROR);
	return &servers[n_servers - 1];
}

static void what_is_not_signed_right_is_of_no_use(void **state)
{
	begin(11);
	FOR_VERSIONS(v)
	{
		ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
		assert_int_equal(come_with_a_stolen_one(v)->reason, WEIR_R_TLS_CLIENT_CERT_SIGNATURE);
		refuse("a.example", v, FORGED, WEIR_R_TLS_CLIENT_CERT_SIGNATURE, SSL_AD_DECRYPT_ERROR);
		ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_INSECURE, 1, WEIR_CLIENT_CERT_XFCC);
		assert_int_equal(come_with_a_stolen_one(v)->reason, WEIR_R_TLS_CLIENT_CERT_SIGNATURE);
		let_in("a.example", v, FORGED);
		assert_string_equal(last_xfcc, "");
	}
	finish();
}

static void who_leaves_in_the_middle_is_counted(void **state)
{
	begin(12);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
	let_in("a.example", TLS1_3_VERSION, GOOD);
	FOR_VERSIONS(v)
	{
		uint64_t before = stats->reason[WEIR_R_TLS_CLIENT_GONE];
		struct client *p = tls_client(1, "a.example", v, v);
		char hello[4000];
		int n;

		SSL_do_handshake(p->ssl);
		n = BIO_read(p->out, hello, sizeof(hello));
		p = raw_client(0, hello, (size_t)n);
		p->is_shut = true;
		handshake(p);
		assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], before + 1);
	}
	finish();
}

/* Of its Certificate, and of what follows that, a part comes, and then the end. */
static void a_half_certificate_is_none(void **state)
{
	begin(14);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
	let_in("a.example", TLS1_3_VERSION, GOOD);
	FOR_VERSIONS(v)
	{
		size_t n_whole = 0;

		for (size_t at = 1; n_whole == 0; at += 11) {
			uint64_t before = stats->reason[WEIR_R_TLS_CLIENT_GONE];
			struct client *p = tls_client(1, "a.example", v, v);

			assert_int_equal(SSL_use_certificate(p->ssl, issued[GOOD].x), 1);
			assert_int_equal(SSL_use_PrivateKey(p->ssl, issued[GOOD].key), 1);
			p->cut_at = at;
			n_servers = 1;
			handshake(p);
			sim_run(&sim, 1000000, NULL, NULL);
			if (servers[1].was_ready) {
				n_whole = at;
				client_reset(p, sim.now_us);
				sim_run(&sim, 1000000, NULL, NULL);
			} else {
				assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], before + 1);
			}
			assert_true(servers[1].is_closed && p->is_closed);
		}
		assert_true(n_whole > 700); /* with a hello of some 200, and a certificate of about 400 */
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_CLIENT_CERTS], 1 + 2);
	finish();
}

static void a_chain_that_is_too_large_is_refused(void **state)
{
	struct client *p;

	begin(13);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	SSL_use_certificate(p->ssl, issued[GOOD].x);
	SSL_use_PrivateKey(p->ssl, issued[GOOD].key);
	for (unsigned i = 0; i < 150; i++)
		SSL_add1_chain_cert(p->ssl, issued[CA_MIDDLE].x);
	handshake(p);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(servers[0].reason, WEIR_R_TLS_PROTOCOL);
	finish();
}

/* -- what backends are told */

static void hash_of(char *out, X509 *x)
{
	unsigned char hash[32];

	X509_digest(x, EVP_sha256(), hash, NULL);
	for (unsigned i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static void base64_of(char *out, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);

	out[0] = ':';
	n = EVP_EncodeBlock((unsigned char *)out + 1, der, n);
	strcpy(out + 1 + n, ":");
	OPENSSL_free(der);
}

static void tells_of_a_certificate(void **state)
{
	char hash[65], expected[8192];

	begin(21);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, WEIR_CLIENT_CERT_XFCC | WEIR_CLIENT_CERT_RFC9440 | WEIR_CLIENT_CERT_CHAIN);
	FOR_VERSIONS(v)
	{
		let_in("a.example", v, GOOD);
		hash_of(hash, issued[GOOD].x);
		snprintf(expected, sizeof(expected), "Hash=%s;Subject=\"CN=good\";URI=spiffe://td/ns/a;URI=spiffe://td/b;"
			 "DNS=one.example;DNS=two.example", hash);
		assert_string_equal(last_xfcc, expected);
		base64_of(expected, issued[GOOD].x);
		assert_string_equal(last_cert, expected);
		assert_string_equal(last_chain, ""); /* its issuer is the one that is trusted */
		let_in("a.example", v, DEEP);
		base64_of(expected, issued[CA_MIDDLE].x);
		assert_string_equal(last_chain, expected);
	}
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, WEIR_CLIENT_CERT_RFC9440);
	let_in("a.example", TLS1_3_VERSION, DEEP);
	assert_string_equal(last_xfcc, "");
	assert_string_not_equal(last_cert, "");
	assert_string_equal(last_chain, "");
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, 0);
	let_in("a.example", TLS1_3_VERSION, GOOD);
	assert_string_equal(last_cert, "");
	finish();
}

static void names_cannot_forge_anything(void **state)
{
	char hash[65], expected[8192];

	begin(22);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, WEIR_CLIENT_CERT_XFCC);
	let_in("a.example", TLS1_3_VERSION, HOSTILE);
	hash_of(hash, issued[HOSTILE].x);
	snprintf(expected, sizeof(expected),
		 "Hash=%s;Subject=\"CN=a\\22\\3BURI=spiffe://evil\\3Bx=\\22\\5C\\0D\\0AX-Evil: 1\\2C \\C3\\A9\\5C\";URI=\"spiffe://td/a;Hash=0\"",
		 hash);
	assert_string_equal(last_xfcc, expected);
	assert_int_equal(stats->counter[WEIR_C_TLS_CLIENT_CERT_LEFT_OUT], 2);
	finish();
}

/* Whatever the text: printable, and one quoted string. */
static void any_name_is_one_quoted_string(void **state)
{
	char in[64], mem[256];
	unsigned seed = 4711;

	for (unsigned i = 0; i < 200000; i++) {
		struct buf out;
		size_t n = i % sizeof(in);

		for (size_t k = 0; k < n; k++) {
			seed = seed * 1664525u + 1013904223u;
			in[k] = seed >> 29 ? "\\\"\\;4aF, =\r"[(seed >> 20) % 11] : (char)(seed >> 16);
		}
		buf_init(&out, mem, sizeof(mem));
		tls_client_cert_quote_name(&out, slice_of(in, n));
		assert_false(out.overflow);
		assert_true(mem[0] == '"' && mem[out.n - 1] == '"');
		for (size_t k = 1; k + 1 < out.n; k++) {
			assert_true(mem[k] >= ' ' && mem[k] < 0x7f && mem[k] != '"' && mem[k] != ';');
			if (mem[k] == '\\') {
				assert_true(k + 3 < out.n && isxdigit((unsigned char)mem[k + 1]) && isxdigit((unsigned char)mem[k + 2]));
				k += 2;
			}
		}
	}
}

static void what_is_too_long_is_left_out(void **state)
{
	static char san[8000];
	struct issued *o = &issued[GOOD];
	struct issued kept = *o;
	size_t n = 0;

	for (unsigned i = 0; n < 7000; i++)
		n += (size_t)snprintf(san + n, sizeof(san) - n, "%sDNS:host-%u.example", i ? "," : "", i);
	issue(GOOD, CA, "long", -DAY, DAY, "clientAuth", san);
	begin(23);
	ask(0, TRUST_PLAIN, WEIR_CLIENT_AUTH_REQUIRED, 1, WEIR_CLIENT_CERT_XFCC | WEIR_CLIENT_CERT_RFC9440);
	let_in("a.example", TLS1_3_VERSION, GOOD);
	assert_string_equal(last_xfcc, "");
	assert_string_equal(last_cert, "");
	assert_int_equal(stats->counter[WEIR_C_TLS_CLIENT_CERT_LEFT_OUT], 2);
	finish();
	X509_free(o->x);
	EVP_PKEY_free(o->key);
	*o = kept;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lets_in_who_is_valid_alone),
		cmocka_unit_test(an_issuer_without_a_crl_revokes_nothing),
		cmocka_unit_test(an_expired_crl_lets_nobody_in),
		cmocka_unit_test(a_chain_may_be_as_long_as_the_name_says),
		cmocka_unit_test(optional_means_a_valid_one_or_none),
		cmocka_unit_test(insecure_lets_all_in_and_tells_of_the_valid),
		cmocka_unit_test(without_trust_nobody_is_valid),
		cmocka_unit_test(waits_for_its_trust),
		cmocka_unit_test(names_its_authorities),
		cmocka_unit_test(tickets_do_not_get_around_it),
		cmocka_unit_test(what_is_not_signed_right_is_of_no_use),
		cmocka_unit_test(who_leaves_in_the_middle_is_counted),
		cmocka_unit_test(a_half_certificate_is_none),
		cmocka_unit_test(a_chain_that_is_too_large_is_refused),
		cmocka_unit_test(tells_of_a_certificate),
		cmocka_unit_test(names_cannot_forge_anything),
		cmocka_unit_test(any_name_is_one_quoted_string),
		cmocka_unit_test(what_is_too_long_is_left_out),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_all, free_all);
}
