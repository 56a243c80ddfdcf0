/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets: who resumes, under which keys, and for which name. */
#include "rig.h"

static SSL_SESSION *session;

/* One connection with an echo, by which the ticket comes along; keeps the session for the next one. */
static bool resumes(const char *name, int version, bool with_session)
{
	struct client *p = tls_client(0, name, version, version);
	bool is_resumed;

	if (with_session)
		SSL_set_session(p->ssl, session);
	p->n_send = 10;
	p->closes = true;
	handshake(p);
	sim_run(&sim, 5000000, is_client_closed, p);
	assert_true(p->is_done);
	assert_int_equal(p->n_got, 10);
	is_resumed = SSL_session_reused(p->ssl);
	SSL_SESSION_free(session);
	session = SSL_get1_session(p->ssl);
	assert_int_equal(servers[n_servers - 1].info.is_resumed, is_resumed);
	return is_resumed;
}

static void done(void)
{
	SSL_SESSION_free(session);
	session = NULL;
	end();
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void resumes_by_a_ticket(void **state)
{
	start(41);
	set_keys(1, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_false(resumes("a.example", versions[i], false));
		assert_true(resumes("a.example", versions[i], true));
		assert_true(resumes("a.example", versions[i], true));
		assert_int_equal(stats->counter[WEIR_C_TLS_RESUMED], 2 * (i + 1));
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_TICKETS_UNKNOWN], 0);
	done();
}

static void gives_none_without_keys(void **state)
{
	start(42);
	for (unsigned i = 0; i < 2; i++) {
		assert_false(resumes("a.example", versions[i], false));
		assert_false(SSL_SESSION_has_ticket(session));
		assert_false(resumes("a.example", versions[i], true));
	}
	done();
}

static void follows_the_keys(void **state)
{
	static const unsigned char *ticket;
	size_t n;

	start(43);
	for (unsigned i = 0; i < 2; i++) {
		set_keys(10, 2);
		assert_false(resumes("a.example", versions[i], false));
		set_keys(9, 3); /* the key is the second now */
		assert_true(resumes("a.example", versions[i], true));
		SSL_SESSION_get0_ticket(session, &ticket, &n);
		assert_int_equal(ticket[0], 9); /* renewed by the first one */
		set_keys(20, 2);
		assert_false(resumes("a.example", versions[i], true));
		assert_int_equal(stats->counter[WEIR_C_TLS_TICKETS_UNKNOWN], i + 1);
	}
	done();
}

/* Also where both names have the same certificate. */
static void keeps_names_and_profiles_apart(void **state)
{
	start(44);
	set_keys(1, 1);
	for (unsigned i = 0; i < 2; i++) {
		resumes("c.example", versions[i], false);
		assert_false(resumes("x.wild.example", versions[i], true));
		assert_false(resumes("y.wild.example", versions[i], true));
		assert_true(resumes("y.wild.example", versions[i], true));
		assert_false(resumes(NULL, versions[i], true));
		assert_true(resumes(NULL, versions[i], true));
	}
	resumes("c.example", TLS1_3_VERSION, false);
	assert_false(resumes("b.example", TLS1_3_VERSION, true)); /* of the other profile */
	assert_true(resumes("b.example", TLS1_3_VERSION, true));
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resumes_by_a_ticket),
		cmocka_unit_test(gives_none_without_keys),
		cmocka_unit_test(follows_the_keys),
		cmocka_unit_test(keeps_names_and_profiles_apart),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
