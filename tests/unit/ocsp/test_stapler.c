/* SPDX-License-Identifier: Apache-2.0 */
/* Which responder is asked when, and what is stapled then, in virtual time: the test answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ocsp.h>

#include "authority.h"
#include "ocsp/check.h"
#include "ocsp/stapler.h"

#define MAX_ASKED 4096

struct rig {
	struct authority a;
	struct holder leaf;
	struct certificate *c;
	struct staples *staples;
	struct stapler *s;
	uint64_t now_ms;
	void *asked[MAX_ASKED];
	const char *urls[MAX_ASKED];
	size_t n_asked, n_answered;
};

static void ask(void *ctx, const char *url, const unsigned char *der, size_t n, void *question)
{
	struct rig *r = ctx;

	assert_true(r->n_asked < MAX_ASKED && n > 0 && der[0] == 0x30);
	assert_true(strncmp(url, "http://", 7) == 0);
	r->urls[r->n_asked] = url;
	r->asked[r->n_asked++] = question;
}

static int64_t now_s(const struct rig *r)
{
	return TEST_NOW_S + (int64_t)(r->now_ms / 1000);
}

static struct certificate *certificate_in(const struct rig *r, const char *ns, const struct holder *leaf)
{
	struct certificate *c = authority_certificate(leaf, (const struct holder *const[]){&r->a.ca}, 1);

	c->ns = strdup(ns);
	c->name = strdup("secret");
	return c;
}

static struct certificate *certificate_of(const struct rig *r, const struct holder *leaf)
{
	return certificate_in(r, "demo", leaf);
}

/* Issued for this alone. */
static struct certificate *another(struct rig *r, const char *ns, const char *url)
{
	struct holder h = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "x", .purpose = OF_SERVER, .url = url});
	struct certificate *c = certificate_in(r, ns, &h);

	holder_close(&h);
	return c;
}

static void open_stapler(struct rig *r, stapler_ask_fn *fn)
{
	r->staples = staples_create();
	r->s = stapler_create(&(struct stapler_options){.staples = r->staples, .ask = fn, .ctx = r, .seed = 7});
}

static void close_stapler(struct rig *r)
{
	stapler_destroy(r->s);
	staples_destroy(r->staples);
}

static int open_rig(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	authority_open(&r->a);
	r->leaf = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "leaf", .purpose = OF_SERVER, .url = "http://a.test/x", .must_staple = true});
	r->c = certificate_of(r, &r->leaf);
	open_stapler(r, ask);
	*state = r;
	return 0;
}

static int close_rig(void **state)
{
	struct rig *r = *state;

	close_stapler(r);
	certificate_put(r->c);
	holder_close(&r->leaf);
	authority_close(&r->a);
	free(r);
	return 0;
}

static void want(struct rig *r, struct certificate *const *list, size_t n)
{
	stapler_want_begin(r->s);
	for (size_t i = 0; i < n; i++)
		stapler_want(r->s, list[i], r->now_ms);
	stapler_want_end(r->s);
	stapler_poll(r->s, r->now_ms, now_s(r));
}

static void poll_at(struct rig *r, uint64_t ms)
{
	r->now_ms = ms;
	stapler_poll(r->s, r->now_ms, now_s(r));
}

/* Lets time pass until another question comes; how much that was. */
static uint64_t wait_for_question(struct rig *r)
{
	const uint64_t from_ms = r->now_ms;
	const size_t n = r->n_asked;

	while (r->n_asked == n) {
		assert_true(stapler_next_ms(r->s) != UINT64_MAX);
		poll_at(r, stapler_next_ms(r->s) > r->now_ms ? stapler_next_ms(r->s) : r->now_ms + 1);
	}
	return r->now_ms - from_ms;
}

static struct said good(const struct rig *r, int64_t since_s, int64_t until_s)
{
	return (struct said){.this_s = now_s(r) + since_s, .next_s = now_s(r) + until_s, .signer = &r->a.ca, .about = &r->leaf, .issuer = &r->a.ca};
}

static void answer(struct rig *r, const struct said *said, uint32_t max_age_s)
{
	struct stapler_answer a = {.outcome = OCSP_GOOD, .max_age_s = max_age_s};
	unsigned char *der = authority_response(said, &a.n);

	a.der = der;
	stapler_answered(r->s, r->asked[r->n_answered++], &a, r->now_ms, now_s(r));
	free(der);
}

static void fail_it(struct rig *r, enum ocsp_outcome o, uint32_t retry_after_s)
{
	const struct stapler_answer a = {.outcome = o, .max_age_s = UINT32_MAX, .retry_after_s = retry_after_s};

	stapler_answered(r->s, r->asked[r->n_answered++], &a, r->now_ms, now_s(r));
}

static const struct staple *known(const struct rig *r)
{
	return staples_get(r->staples, &r->c->blob->id);
}

static void assert_within(uint64_t ms, uint64_t least_s, uint64_t most_s)
{
	if (ms < least_s * 1000 || ms > most_s * 1000)
		fail_msg("after %llu ms, not %llu to %llu s", (unsigned long long)ms, (unsigned long long)least_s, (unsigned long long)most_s);
}

/* ---- */

static void good_response_is_in_the_certificate_that_is_served(void **state)
{
	struct rig *r = *state;
	struct said said = good(r, -DAY_S, DAY_S);
	const struct certificate *c;

	want(r, &r->c, 1);
	assert_int_equal(r->n_asked, 1);
	assert_int_equal(known(r)->state, STAPLE_PENDING);
	assert_ptr_equal(staples_served(r->staples, r->c), r->c);
	answer(r, &said, UINT32_MAX);
	c = staples_served(r->staples, r->c);
	assert_ptr_not_equal(c, r->c);
	assert_int_equal(known(r)->state, STAPLE_GOOD);
	assert_true(known(r)->until_s == said.next_s && staples_has_changes(r->staples));
	assert_int_not_equal(certificate_compare_ids(&c->blob->id, &r->c->blob->id), 0);
	assert_int_equal(c->blob->key.off, r->c->blob->key.off);
	assert_memory_equal(c->blob + 1, r->c->blob + 1, r->c->blob->size - sizeof(*r->c->blob));
	assert_int_equal(c->blob->ocsp.off + c->blob->ocsp.size, c->blob->size);
}

static void reading_a_certificate_anew_asks_nobody(void **state)
{
	struct rig *r = *state;
	struct said said = good(r, -DAY_S, DAY_S);
	struct certificate *again = certificate_of(r, &r->leaf);
	struct certificate *longer = authority_certificate(&r->leaf, (const struct holder *const[]){&r->a.ca, &r->a.root}, 2);

	want(r, &r->c, 1);
	answer(r, &said, UINT32_MAX);
	staples_clear_changes(r->staples);
	want(r, &again, 1);
	assert_false(staples_has_changes(r->staples));
	want(r, (struct certificate *const[]){longer}, 1); /* the same leaf, in another chain: what is known is stapled at once */
	assert_ptr_not_equal(staples_served(r->staples, longer), longer);
	assert_null(known(r));
	assert_int_equal(r->n_asked, 1);
	want(r, NULL, 0);
	assert_null(staples_get(r->staples, &longer->blob->id));
	want(r, &r->c, 1); /* and who is forgotten is asked for again */
	assert_int_equal(r->n_asked, 2);
	certificate_put(again);
	certificate_put(longer);
}

static void response_is_renewed_at_half_of_its_time(void **state)
{
	struct rig *r = *state;
	struct said said = good(r, 0, 4 * DAY_S);

	want(r, &r->c, 1);
	answer(r, &said, UINT32_MAX);
	assert_within(wait_for_question(r), 2 * DAY_S * 7 / 8, 2 * DAY_S);
	said = good(r, -DAY_S * 3 / 2, DAY_S); /* past its half already: at the half of what is left */
	answer(r, &said, UINT32_MAX);
	assert_within(wait_for_question(r), DAY_S / 2 * 7 / 8, DAY_S / 2);
	said = good(r, 0, 90 * DAY_S); /* not that seldom */
	answer(r, &said, UINT32_MAX);
	assert_within(wait_for_question(r), STAPLER_REFRESH_MAX_S * 7 / 8, STAPLER_REFRESH_MAX_S);
	said = good(r, 0, DAY_S);
	answer(r, &said, 3600); /* HTTP says that there is another one then */
	assert_within(wait_for_question(r), 3600 * 7 / 8, 3600);
	said = good(r, 0, DAY_S);
	answer(r, &said, 0); /* not that often */
	assert_within(wait_for_question(r), STAPLER_REFRESH_MIN_S * 7 / 8, STAPLER_REFRESH_MIN_S);
	said = good(r, 0, 60); /* unless it ends before */
	answer(r, &said, UINT32_MAX);
	assert_within(wait_for_question(r), 30 * 7 / 8, 30);
	said = good(r, 0, 4);
	answer(r, &said, UINT32_MAX);
	assert_within(wait_for_question(r), STAPLER_REFRESH_LAST_S * 7 / 8, STAPLER_REFRESH_LAST_S);
}

static void failing_responder_is_asked_ever_later(void **state)
{
	struct rig *r = *state;
	uint64_t wait_ms = STAPLER_RETRY_MIN_MS;
	struct said said;

	want(r, &r->c, 1);
	for (unsigned i = 0; i < 14; i++) {
		fail_it(r, OCSP_UNREACHABLE, 0);
		assert_within(wait_for_question(r), wait_ms * 3 / 4 / 1000, wait_ms * 5 / 4 / 1000 + 1);
		wait_ms = wait_ms * 2 < STAPLER_RETRY_MAX_MS ? wait_ms * 2 : STAPLER_RETRY_MAX_MS;
	}
	assert_int_equal(known(r)->state, STAPLE_FAILED);
	assert_string_equal(known(r)->why, ocsp_outcome_text(OCSP_UNREACHABLE));
	said = good(r, -60, DAY_S);
	answer(r, &said, UINT32_MAX);
	assert_null(known(r)->why);
}

static void responder_says_when_to_ask_again_within_bounds(void **state)
{
	struct rig *r = *state;

	want(r, &r->c, 1);
	fail_it(r, OCSP_HTTP_ERROR, 600);
	assert_within(wait_for_question(r), 600, 601);
	fail_it(r, OCSP_HTTP_ERROR, UINT32_MAX);
	assert_within(wait_for_question(r), STAPLER_RETRY_MAX_MS / 1000, STAPLER_RETRY_MAX_MS / 1000 + 1);
}

static void response_lasts_through_failures_until_its_end(void **state)
{
	struct rig *r = *state;
	struct said said = good(r, -600, 600);
	struct stapler_status st;

	want(r, &r->c, 1);
	answer(r, &said, UINT32_MAX);
	while (r->now_ms < 599000) {
		poll_at(r, r->now_ms + 1000);
		while (r->n_answered < r->n_asked)
			fail_it(r, OCSP_TIMEOUT, 0);
		if (r->now_ms < 600000)
			assert_non_null(known(r)->stapled);
	}
	assert_int_equal(known(r)->state, STAPLE_GOOD);
	staples_clear_changes(r->staples);
	poll_at(r, 600000);
	assert_null(known(r)->stapled);
	assert_true(staples_has_changes(r->staples));
	assert_int_equal(known(r)->state, STAPLE_FAILED);
	stapler_status(r->s, &st);
	assert_int_equal(st.n_expired, 1);
	assert_int_equal(st.n_must_staple_without, 1);
}

/* Not only when there is something else to do. */
static void end_of_a_response_is_an_appointment(void **state)
{
	struct rig *r = *state;
	struct said said = good(r, -600, 600);

	want(r, &r->c, 1);
	answer(r, &said, UINT32_MAX);
	wait_for_question(r); /* which nobody answers */
	while (known(r)->stapled) {
		assert_true(stapler_next_ms(r->s) <= 601000); /* the clock on the wall has seconds */
		poll_at(r, stapler_next_ms(r->s));
	}
	assert_true(r->now_ms >= 600000);
}

static void revoked_certificate_loses_its_good_response(void **state)
{
	struct rig *r = *state;
	struct said said = good(r, -DAY_S, DAY_S), old = said;

	want(r, &r->c, 1);
	answer(r, &said, UINT32_MAX);
	wait_for_question(r);
	said = good(r, -60, DAY_S);
	said.status = V_OCSP_CERTSTATUS_REVOKED;
	said.reason = OCSP_REVOKED_STATUS_SUPERSEDED;
	answer(r, &said, UINT32_MAX);
	assert_int_equal(known(r)->state, STAPLE_REVOKED);
	assert_null(known(r)->stapled);
	assert_string_equal(known(r)->reason, "superseded");
	assert_true(staples_is_news(r->staples, &r->c->blob->id));
	wait_for_question(r); /* the answer from before comes once more */
	answer(r, &old, UINT32_MAX);
	assert_int_equal(known(r)->state, STAPLE_REVOKED);
	wait_for_question(r);
	poll_at(r, r->now_ms + 3 * DAY_S * 1000ull); /* silence makes it not good */
	fail_it(r, OCSP_UNREACHABLE, 0);
	assert_int_equal(known(r)->state, STAPLE_REVOKED);
	wait_for_question(r);
	fail_it(r, OCSP_UNREACHABLE, 0);
	assert_string_equal(known(r)->reason, "superseded");
	wait_for_question(r);
	said = good(r, -60, DAY_S); /* it was on hold */
	answer(r, &said, UINT32_MAX);
	assert_int_equal(known(r)->state, STAPLE_GOOD);
}

static void news_are_what_owners_have_to_do_something_about(void **state)
{
	struct rig *r = *state;
	struct holder plain = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "p", .purpose = OF_SERVER, .url = "http://a.test/"});
	struct certificate *c = certificate_of(r, &plain);

	want(r, (struct certificate *const[]){r->c, c}, 2);
	staples_clear_news(r->staples);
	fail_it(r, OCSP_TIMEOUT, 0);
	fail_it(r, OCSP_TIMEOUT, 0);
	assert_true(staples_is_news(r->staples, &r->c->blob->id));
	assert_false(staples_is_news(r->staples, &c->blob->id));
	certificate_put(c);
	holder_close(&plain);
}

static void requests_at_a_time_are_bounded_and_all_come_to_pass(void **state)
{
	enum { N = 200 };
	struct rig *r = *state;
	static struct certificate *list[N];
	size_t n_most = 0;

	for (unsigned i = 0; i < N; i++) {
		char url[64];

		snprintf(url, sizeof(url), "http://%s.test/%u", i % 2 ? "one" : i % 4 ? "two" : "three", i);
		list[i] = another(r, i % 3 ? "demo" : i % 5 ? "shop" : "blog", url);
	}
	want(r, list, N);
	assert_int_equal(r->n_asked, 3 * STAPLER_IN_FLIGHT_OF_HOST);
	for (unsigned i = 0; i < N; i++) {
		fail_it(r, OCSP_TRY_LATER, 3600);
		poll_at(r, r->now_ms + STAPLER_REST_MS);
		n_most = r->n_asked - r->n_answered > n_most ? r->n_asked - r->n_answered : n_most;
	}
	assert_int_equal(r->n_asked, N);
	assert_true(n_most <= 3 * STAPLER_IN_FLIGHT_OF_HOST);
	for (unsigned i = 0; i < N; i++)
		certificate_put(list[i]);
}

/* How many of those that are under way are of this host. */
static unsigned n_under_way(const struct rig *r, const char *host)
{
	unsigned n = 0;

	for (size_t i = r->n_answered; i < r->n_asked; i++)
		n += strstr(r->urls[i], host) != NULL;
	return n;
}

static size_t n_waiting(const struct rig *r, enum stapler_wait why)
{
	struct stapler_status st;

	stapler_status(r->s, &st);
	return st.n_waiting[why];
}

/* Four with more slow responders than there is room for, and one that comes last: it waits for one answer, not for theirs. */
static void slow_responders_of_some_namespaces_are_not_in_the_way_of_others(void **state)
{
	enum { GREEDY = 4, EACH = 40, N = GREEDY * EACH };
	struct rig *r = *state;
	static struct certificate *list[N + 1];

	for (unsigned i = 0; i < EACH; i++) {
		char url[64];

		snprintf(url, sizeof(url), "http://slow%u.test/", i);
		list[i] = another(r, "greedy0", url);
	}
	want(r, list, EACH);
	assert_int_equal(n_under_way(r, "slow"), STAPLER_IN_FLIGHT_OF_NAMESPACE);
	assert_int_equal(n_waiting(r, STAPLER_WAIT_NAMESPACE), EACH - STAPLER_IN_FLIGHT_OF_NAMESPACE);
	list[EACH] = another(r, "modest", "http://quick.test/");
	want(r, list, EACH + 1);
	assert_int_equal(n_under_way(r, "quick"), 1); /* there is room, whatever one namespace does */
	while (r->n_answered < r->n_asked) {
		fail_it(r, OCSP_TIMEOUT, 3600);
		poll_at(r, r->now_ms + STAPLER_REST_MS);
	}
	certificate_put(list[EACH]);

	for (unsigned i = EACH; i < N; i++) {
		char url[64], ns[16];

		snprintf(url, sizeof(url), "http://slow%u.test/", i);
		snprintf(ns, sizeof(ns), "greedy%u", i / EACH);
		list[i] = another(r, ns, url);
	}
	want(r, list + EACH, N - EACH); /* three: and there is a quarter of the room left */
	assert_int_equal(r->n_asked - r->n_answered, 3 * STAPLER_IN_FLIGHT_OF_NAMESPACE);
	for (unsigned i = 0; i < EACH; i++) {
		certificate_put(list[i]);
		list[i] = another(r, "greedy0", "http://slow.test/");
	}
	want(r, list, N);
	assert_int_equal(r->n_asked - r->n_answered, STAPLER_IN_FLIGHT_MAX);
	list[N] = another(r, "modest", "http://quick.test/");
	want(r, list, N + 1);
	assert_int_equal(n_under_way(r, "quick"), 0);
	assert_int_equal(n_waiting(r, STAPLER_WAIT_TOTAL), 1);
	assert_string_equal(staples_get(r->staples, &list[N]->blob->id)->waits, stapler_wait_text(STAPLER_WAIT_TOTAL));
	fail_it(r, OCSP_TIMEOUT, 3600); /* the first answer of all */
	poll_at(r, r->now_ms + STAPLER_REST_MS);
	assert_int_equal(n_under_way(r, "quick"), 1);
	assert_null(staples_get(r->staples, &list[N]->blob->id)->waits);
	for (unsigned i = 0; i <= N; i++)
		certificate_put(list[i]);
}

/* Who has the fewest under way is the next; of two, who was served the longest time ago. */
static void rooms_are_given_in_rounds(void **state)
{
	enum { EACH = 20, N_NS = 6, N = EACH * N_NS };
	struct rig *r = *state;
	static struct certificate *list[N];

	for (unsigned i = 0; i < N; i++) {
		char url[64], ns[16];

		snprintf(url, sizeof(url), "http://h%u.of-%u.test/", i, i / EACH); /* those of a namespace in a row */
		snprintf(ns, sizeof(ns), "ns%u", i / EACH);
		list[i] = another(r, ns, url);
	}
	want(r, list, N);
	assert_int_equal(r->n_asked, STAPLER_IN_FLIGHT_MAX);
	while (r->n_asked < N) {
		for (unsigned i = 0; i < N_NS; i++) {
			char host[16];

			snprintf(host, sizeof(host), ".of-%u.", i);
			assert_in_range(n_under_way(r, host), STAPLER_IN_FLIGHT_MAX / N_NS, STAPLER_IN_FLIGHT_MAX / N_NS + 1);
		}
		fail_it(r, OCSP_TIMEOUT, 3600);
		poll_at(r, r->now_ms + STAPLER_REST_MS);
	}
	for (unsigned i = 0; i < N; i++)
		certificate_put(list[i]);
}

static void who_waits_for_his_responder_is_told_so(void **state)
{
	enum { N = 20 };
	struct rig *r = *state;
	static struct certificate *list[N + 1];

	for (unsigned i = 0; i < N; i++)
		list[i] = another(r, i % 2 ? "odd" : "even", "http://one.test/");
	list[N] = another(r, "odd", "http://two.test/");
	want(r, list, N + 1);
	assert_int_equal(n_under_way(r, "one"), STAPLER_IN_FLIGHT_OF_HOST);
	assert_int_equal(n_under_way(r, "two"), 1); /* it does not stand behind those of its namespace */
	assert_int_equal(n_waiting(r, STAPLER_WAIT_RESPONDER), N - STAPLER_IN_FLIGHT_OF_HOST);
	while (r->n_answered < r->n_asked) {
		fail_it(r, OCSP_TIMEOUT, 3600);
		poll_at(r, r->now_ms + STAPLER_REST_MS);
	}
	assert_int_equal(r->n_asked, N + 1);
	assert_int_equal(n_waiting(r, STAPLER_WAIT_RESPONDER), 0);
	for (unsigned i = 0; i <= N; i++)
		certificate_put(list[i]);
}

/* A response ends while its next request waits for its turn. */
static void waiting_does_not_keep_a_response_beyond_its_end(void **state)
{
	enum { N = 3 * STAPLER_IN_FLIGHT_OF_NAMESPACE };
	struct rig *r = *state;
	static struct certificate *list[N + 1];
	struct said said = good(r, -600, 600);

	want(r, &r->c, 1);
	answer(r, &said, UINT32_MAX);
	list[0] = r->c;
	for (unsigned i = 1; i <= N; i++) {
		char url[64];

		snprintf(url, sizeof(url), "http://slow%u.test/", i);
		list[i] = another(r, "demo", url);
	}
	want(r, list, N + 1);
	while (known(r)->stapled) {
		assert_true(stapler_next_ms(r->s) <= 601000);
		poll_at(r, stapler_next_ms(r->s));
	}
	assert_true(r->now_ms >= 600000);
	assert_int_equal(n_under_way(r, "a.test"), 0);
	for (unsigned i = 1; i <= N; i++)
		certificate_put(list[i]);
}

static void answer_for_who_is_gone_is_dropped(void **state)
{
	struct rig *r = *state;
	struct said said = good(r, -DAY_S, DAY_S);

	want(r, &r->c, 1);
	want(r, NULL, 0);
	answer(r, &said, UINT32_MAX);
	assert_null(known(r));
	want(r, &r->c, 1);
	assert_int_equal(r->n_asked, 2);
	want(r, NULL, 0);
	want(r, &r->c, 1); /* it comes back meanwhile: the question under way is its own */
	assert_int_equal(r->n_asked, 2);
	answer(r, &said, UINT32_MAX);
	assert_int_equal(known(r)->state, STAPLE_GOOD);
}

static void who_cannot_be_asked_about_is_named(void **state)
{
	struct rig *r = *state;
	struct holder none = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "n", .purpose = OF_SERVER});
	struct certificate *c = certificate_of(r, &none), *alone = authority_certificate(&r->leaf, NULL, 0);

	alone->ns = strdup("demo");
	alone->name = strdup("alone");
	want(r, (struct certificate *const[]){c, alone}, 2);
	assert_int_equal(staples_get(r->staples, &c->blob->id)->state, STAPLE_NO_RESPONDER);
	assert_int_equal(staples_get(r->staples, &alone->blob->id)->state, STAPLE_NO_ISSUER);
	close_stapler(r);
	open_stapler(r, NULL);
	want(r, &r->c, 1);
	assert_int_equal(known(r)->state, STAPLE_OFF);
	assert_true(known(r)->must_staple);
	assert_int_equal(r->n_asked, 0);
	certificate_put(c);
	certificate_put(alone);
	holder_close(&none);
}

static void responder_of_https_is_not_asked(void **state)
{
	struct rig *r = *state;
	struct certificate *alone = another(r, "demo", "HTTPS://a.test/");
	struct certificate *with_http = another(r, "demo", "https://a.test/,OCSP;URI:http://b.test/,OCSP;URI:http://c.test/");

	want(r, (struct certificate *const[]){alone, with_http}, 2);
	assert_int_equal(staples_get(r->staples, &alone->blob->id)->state, STAPLE_HTTPS);
	assert_int_equal(r->n_asked, 1);
	assert_string_equal(r->urls[0], "http://b.test/");
	certificate_put(alone);
	certificate_put(with_http);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
	    T(good_response_is_in_the_certificate_that_is_served),
	    T(reading_a_certificate_anew_asks_nobody),
	    T(response_is_renewed_at_half_of_its_time),
	    T(failing_responder_is_asked_ever_later),
	    T(responder_says_when_to_ask_again_within_bounds),
	    T(response_lasts_through_failures_until_its_end),
	    T(end_of_a_response_is_an_appointment),
	    T(revoked_certificate_loses_its_good_response),
	    T(news_are_what_owners_have_to_do_something_about),
	    T(requests_at_a_time_are_bounded_and_all_come_to_pass),
	    T(slow_responders_of_some_namespaces_are_not_in_the_way_of_others),
	    T(rooms_are_given_in_rounds),
	    T(who_waits_for_his_responder_is_told_so),
	    T(waiting_does_not_keep_a_response_beyond_its_end),
	    T(answer_for_who_is_gone_is_dropped),
	    T(who_cannot_be_asked_about_is_named),
	    T(responder_of_https_is_not_asked),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
