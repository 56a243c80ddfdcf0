/* SPDX-License-Identifier: Apache-2.0 */
/* Which name is looked up when, and what is known of it then, in virtual time: the test answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "resolve/resolver.h"

#define HOUR_MS 3600000u

struct asked {
	char name[256];
	bool is_ip6;
	void *lookup; /* NULL: answered */
};

struct rig {
	struct known_names *known;
	struct resolver *r;
	uint64_t now_ms;
	struct asked asked[4096];
	size_t n_asked;
};

static void ask(void *ctx, const char *name, bool is_ip6, void *lookup)
{
	struct rig *rig = ctx;
	struct asked *a = &rig->asked[rig->n_asked++];

	assert_true(rig->n_asked <= 4096);
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->is_ip6 = is_ip6;
	a->lookup = lookup;
}

static struct rig *rig_open(unsigned families)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->known = known_names_create();
	rig->now_ms = 1000000;
	rig->r = resolver_create(
	    &(struct resolver_options){.known = rig->known, .families = families, .ask = ask, .ctx = rig, .seed = 7});
	return rig;
}

static void rig_close(struct rig *rig)
{
	resolver_destroy(rig->r);
	known_names_destroy(rig->known);
	free(rig);
}

/* Names up to a NULL. */
static void want(struct rig *rig, ...)
{
	const char *names[16], *name;
	size_t n = 0;
	va_list ap;

	va_start(ap, rig);
	while ((name = va_arg(ap, const char *)) != NULL)
		names[n++] = name;
	va_end(ap);
	resolver_want(rig->r, names, n, rig->now_ms);
	resolver_poll(rig->r, rig->now_ms);
}

/* Time goes on, poll by poll, as a program would wait. */
static void pass(struct rig *rig, uint64_t ms)
{
	uint64_t end_ms = rig->now_ms + ms;

	while (resolver_next_ms(rig->r) <= end_ms) {
		rig->now_ms = resolver_next_ms(rig->r) > rig->now_ms ? resolver_next_ms(rig->r) : rig->now_ms;
		resolver_poll(rig->r, rig->now_ms);
	}
	rig->now_ms = end_ms;
}

/* The lookup under way; NULL: there is none. */
static struct asked *find(struct rig *rig, const char *name, bool is_ip6)
{
	for (size_t i = 0; i < rig->n_asked; i++)
		if (rig->asked[i].lookup && rig->asked[i].is_ip6 == is_ip6 && strcmp(rig->asked[i].name, name) == 0)
			return &rig->asked[i];
	return NULL;
}

/* Addresses as text with spaces between them. */
static void answer(struct rig *rig, const char *name, bool is_ip6, enum resolve_outcome outcome, uint32_t ttl_s,
		   const char *addrs)
{
	struct resolve_answer a = {.outcome = outcome, .ttl_s = ttl_s};
	struct asked *q = find(rig, name, is_ip6);
	void *lookup;

	assert_non_null(q);
	for (const char *p = addrs; *p; p += strcspn(p, " "), p += *p == ' ') {
		struct weir_ip ip;

		assert_int_equal(ip_parse(p, strcspn(p, " "), &ip), 0);
		resolve_answer_add(&a, &ip);
	}
	lookup = q->lookup;
	q->lookup = NULL;
	resolver_answered(rig->r, lookup, &a, rig->now_ms);
	resolver_poll(rig->r, rig->now_ms);
}

static void time_out(struct rig *rig, const char *name, bool is_ip6)
{
	answer(rig, name, is_ip6, RESOLVE_TIMEOUT, 0, "");
}

/* "answered 192.0.2.1 2001:db8::1" */
static void assert_known(const struct rig *rig, const char *name, const char *wanted)
{
	const struct known_name *k = known_names_get(rig->known, name);
	char text[1024], ip[IP_TEXT_MAX];
	size_t n;

	assert_non_null(k);
	n = (size_t)snprintf(text, sizeof(text), "%s", known_state_name(k->state));
	for (size_t i = 0; i < k->n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, " %s", ip_format(&k->addrs[i], ip));
	assert_string_equal(text, wanted);
}

static size_t n_changes(const struct rig *rig)
{
	size_t n;

	known_names_changes(rig->known, &n);
	return n;
}

static void both_families_make_one_name(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4 | RESOLVE_IP6);

	want(rig, "a.test", NULL);
	assert_int_equal(rig->n_asked, 2);
	assert_known(rig, "a.test", "pending");
	answer(rig, "a.test", true, RESOLVE_ANSWERED, 60, "2001:db8::2 2001:db8::1");
	assert_known(rig, "a.test", "answered 2001:db8::1 2001:db8::2");
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 60, "192.0.2.1 192.0.2.1");
	assert_known(rig, "a.test", "answered 192.0.2.1 2001:db8::1 2001:db8::2");
	assert_int_equal(n_changes(rig), 1);
	rig_close(rig);
}

static void only_families_that_are_wanted_are_asked_for(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP6);

	want(rig, "a.test", NULL);
	assert_int_equal(rig->n_asked, 1);
	assert_true(rig->asked[0].is_ip6);
	answer(rig, "a.test", true, RESOLVE_NO_ADDRESS, 0, "");
	assert_known(rig, "a.test", "no-address");
	rig_close(rig);
}

static void a_ttl_is_obeyed_within_bounds(void **state)
{
	static const struct {
		uint32_t ttl_s, wait_s;
	} cases[] = {{60, 60}, {0, RESOLVE_TTL_MIN_S}, {4, RESOLVE_TTL_MIN_S}, {301, RESOLVE_TTL_MAX_S},
		     {UINT32_MAX, RESOLVE_TTL_MAX_S}};
	struct rig *rig = rig_open(RESOLVE_IP4);

	want(rig, "a.test", NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		answer(rig, "a.test", false, RESOLVE_ANSWERED, cases[i].ttl_s, "192.0.2.1");
		pass(rig, 1000 * cases[i].wait_s - 1);
		assert_null(find(rig, "a.test", false));
		pass(rig, 1);
		assert_non_null(find(rig, "a.test", false));
	}
	rig_close(rig);
}

static void the_same_answer_again_changes_nothing(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4);

	want(rig, "a.test", NULL);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 5, "192.0.2.1 192.0.2.2");
	known_names_clear_changes(rig->known);
	pass(rig, 5000);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 9, "192.0.2.2 192.0.2.1"); /* servers turn the order round */
	assert_int_equal(n_changes(rig), 0);
	pass(rig, 9000);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 9, "192.0.2.3");
	assert_int_equal(n_changes(rig), 1);
	assert_known(rig, "a.test", "answered 192.0.2.3");
	rig_close(rig);
}

static void the_last_answer_is_kept_for_an_hour_of_failures(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4);
	struct resolver_status st;
	uint64_t began_ms;
	unsigned n = 0;

	want(rig, "a.test", NULL);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 5, "192.0.2.1");
	began_ms = rig->now_ms;
	pass(rig, 5000);
	while (rig->now_ms - began_ms <= HOUR_MS) {
		if (find(rig, "a.test", false)) {
			n++;
			time_out(rig, "a.test", false);
			assert_known(rig, "a.test", "kept 192.0.2.1");
			assert_string_equal(known_names_get(rig->known, "a.test")->why, "no name server answers in time");
		}
		resolver_status(rig->r, rig->now_ms, &st);
		assert_true(st.n_kept == 1 && st.oldest_kept_ms == rig->now_ms - began_ms);
		pass(rig, 1000);
	}
	assert_in_range(n, 3600 / 40, 3600 / 20); /* each 30 s, but at first */
	pass(rig, 60000);
	time_out(rig, "a.test", false);
	assert_known(rig, "a.test", "failed");
	pass(rig, 60000);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 5, "192.0.2.2");
	assert_known(rig, "a.test", "answered 192.0.2.2");
	rig_close(rig);
}

static void what_was_never_answered_is_pending_for_an_hour(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4);

	want(rig, "a.test", NULL);
	time_out(rig, "a.test", false);
	assert_known(rig, "a.test", "pending");
	assert_non_null(known_names_get(rig->known, "a.test")->why);
	pass(rig, HOUR_MS - 1000);
	time_out(rig, "a.test", false);
	assert_known(rig, "a.test", "pending");
	pass(rig, 60000);
	time_out(rig, "a.test", false);
	assert_known(rig, "a.test", "failed");
	rig_close(rig);
}

static void a_name_that_is_gone_is_gone_at_once(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4 | RESOLVE_IP6);

	want(rig, "a.test", NULL);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 5, "192.0.2.1");
	answer(rig, "a.test", true, RESOLVE_NO_ADDRESS, 0, "");
	pass(rig, 5000);
	answer(rig, "a.test", true, RESOLVE_NOT_FOUND, 0, "");
	answer(rig, "a.test", false, RESOLVE_NOT_FOUND, 0, "");
	assert_known(rig, "a.test", "not-found");
	/* and that counts while the servers fail */
	pass(rig, 5000);
	time_out(rig, "a.test", false);
	assert_known(rig, "a.test", "not-found");
	rig_close(rig);
}

static void that_there_is_nothing_is_asked_again_ever_later(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4);
	static const unsigned wait_s[] = {5, 10, 20, 40, 60, 60};

	want(rig, "a.test", NULL);
	for (size_t i = 0; i < sizeof(wait_s) / sizeof(*wait_s); i++) {
		answer(rig, "a.test", false, RESOLVE_NOT_FOUND, 0, "");
		pass(rig, 1000 * wait_s[i] - 1);
		assert_null(find(rig, "a.test", false));
		pass(rig, 1);
	}
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 5, "192.0.2.1");
	pass(rig, 5000);
	answer(rig, "a.test", false, RESOLVE_NOT_FOUND, 0, "");
	pass(rig, 5000);
	assert_non_null(find(rig, "a.test", false));
	rig_close(rig);
}

static void a_family_that_fails_takes_nothing_from_the_other(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4 | RESOLVE_IP6);

	want(rig, "a.test", NULL);
	time_out(rig, "a.test", true);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 300, "192.0.2.1");
	assert_known(rig, "a.test", "answered 192.0.2.1");
	assert_null(known_names_get(rig->known, "a.test")->why);
	pass(rig, 2000);
	answer(rig, "a.test", true, RESOLVE_ANSWERED, 5, "2001:db8::1");
	pass(rig, 5000);
	time_out(rig, "a.test", true);
	assert_known(rig, "a.test", "kept 192.0.2.1 2001:db8::1");
	rig_close(rig);
}

static void no_address_of_one_family_waits_for_the_other(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4 | RESOLVE_IP6);

	want(rig, "a.test", NULL);
	answer(rig, "a.test", false, RESOLVE_NO_ADDRESS, 0, "");
	assert_known(rig, "a.test", "pending");
	answer(rig, "a.test", true, RESOLVE_NO_ADDRESS, 0, "");
	assert_known(rig, "a.test", "no-address");
	rig_close(rig);
}

static void the_lowest_addresses_are_kept(void **state)
{
	struct resolve_answer a = {.n = 0};
	struct weir_ip ip = ip_from4(0);

	for (unsigned i = 0; i < 40; i++) {
		ip.b[15] = (uint8_t)(7 * i % 40);
		resolve_answer_add(&a, &ip);
	}
	assert_true(a.has_more);
	assert_int_equal(a.n, KNOWN_NAME_ADDRS_MAX);
	for (unsigned i = 0; i < a.n; i++)
		assert_int_equal(a.addrs[i].b[15], i);
}

static void names_that_nobody_wants_are_forgotten(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4);
	struct asked *a;
	void *lookup;

	want(rig, "a.test", "b.test", NULL);
	answer(rig, "a.test", false, RESOLVE_ANSWERED, 5, "192.0.2.1");
	want(rig, "b.test", NULL);
	assert_null(known_names_get(rig->known, "a.test"));
	pass(rig, 60000);
	assert_null(find(rig, "a.test", false));
	/* one that is under way is answered to nobody */
	a = find(rig, "b.test", false);
	lookup = a->lookup;
	a->lookup = NULL;
	want(rig, NULL);
	want(rig, "b.test", NULL);
	assert_known(rig, "b.test", "pending");
	resolver_answered(rig->r, lookup, &(struct resolve_answer){.outcome = RESOLVE_NOT_FOUND}, rig->now_ms);
	assert_known(rig, "b.test", "pending");
	answer(rig, "b.test", false, RESOLVE_ANSWERED, 5, "192.0.2.2");
	assert_known(rig, "b.test", "answered 192.0.2.2");
	rig_close(rig);
}

static void too_many_names_are_refused_until_there_is_room(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4);
	const size_t n = KNOWN_NAMES_MAX + 2;
	const char **names = calloc(n, sizeof(*names));
	struct resolver_status st;

	for (size_t i = 0; i < n; i++) {
		char text[32];

		snprintf(text, sizeof(text), "n%04zu.test", n - 1 - i);
		names[i] = strdup(text);
	}
	resolver_want(rig->r, names, n, rig->now_ms);
	resolver_poll(rig->r, rig->now_ms);
	resolver_status(rig->r, rig->now_ms, &st);
	assert_true(st.n_names == KNOWN_NAMES_MAX && st.n_not_asked == 2 && st.n_in_flight == RESOLVE_IN_FLIGHT_MAX);
	assert_known(rig, "n1023.test", "pending");
	assert_known(rig, "n1024.test", "not-asked");
	assert_known(rig, "n1025.test", "not-asked");
	/* who was first stays; one that goes makes room for one */
	resolver_want(rig->r, names, n - 1, rig->now_ms);
	assert_known(rig, "n1024.test", "pending");
	assert_known(rig, "n1025.test", "not-asked");
	for (size_t i = 0; i < n; i++)
		free((char *)names[i]);
	free(names);
	rig_close(rig);
}

/* Many names whose servers fail must not keep a good one from being asked for. */
static void everybody_comes_to_be_asked(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4);
	static char texts[KNOWN_NAMES_MAX][32];
	static unsigned counts[KNOWN_NAMES_MAX];
	const char *names[KNOWN_NAMES_MAX];

	for (size_t i = 0; i < KNOWN_NAMES_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "n%04zu.test", i);
		names[i] = texts[i];
	}
	resolver_want(rig->r, names, KNOWN_NAMES_MAX, rig->now_ms);
	for (unsigned turn = 0; turn < 40; turn++) { /* each takes 5 s to fail */
		size_t n;

		resolver_poll(rig->r, rig->now_ms);
		pass(rig, 5000);
		n = rig->n_asked;
		assert_true(n <= RESOLVE_IN_FLIGHT_MAX);
		rig->n_asked = 0;
		for (size_t i = 0; i < n; i++) {
			counts[strtoul(rig->asked[i].name + 1, NULL, 10)]++;
			resolver_answered(rig->r, rig->asked[i].lookup, &(struct resolve_answer){.outcome = RESOLVE_TIMEOUT}, rig->now_ms);
		}
	}
	for (size_t i = 0; i < KNOWN_NAMES_MAX; i++)
		assert_in_range(counts[i], 4, 6);
	rig_close(rig);
}

static void outcomes_are_counted(void **state)
{
	struct rig *rig = rig_open(RESOLVE_IP4 | RESOLVE_IP6);
	struct resolver_status st;

	want(rig, "a.test", NULL);
	answer(rig, "a.test", false, RESOLVE_SERVER_FAILURE, 0, "");
	answer(rig, "a.test", true, RESOLVE_ANSWERED, 60, "2001:db8::1");
	resolver_status(rig->r, rig->now_ms, &st);
	assert_true(st.n_asked == 2 && st.outcomes[RESOLVE_SERVER_FAILURE] == 1 && st.outcomes[RESOLVE_ANSWERED] == 1);
	rig_close(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_families_make_one_name),
	    cmocka_unit_test(only_families_that_are_wanted_are_asked_for),
	    cmocka_unit_test(a_ttl_is_obeyed_within_bounds),
	    cmocka_unit_test(the_same_answer_again_changes_nothing),
	    cmocka_unit_test(the_last_answer_is_kept_for_an_hour_of_failures),
	    cmocka_unit_test(what_was_never_answered_is_pending_for_an_hour),
	    cmocka_unit_test(a_name_that_is_gone_is_gone_at_once),
	    cmocka_unit_test(that_there_is_nothing_is_asked_again_ever_later),
	    cmocka_unit_test(a_family_that_fails_takes_nothing_from_the_other),
	    cmocka_unit_test(no_address_of_one_family_waits_for_the_other),
	    cmocka_unit_test(the_lowest_addresses_are_kept),
	    cmocka_unit_test(names_that_nobody_wants_are_forgotten),
	    cmocka_unit_test(too_many_names_are_refused_until_there_is_room),
	    cmocka_unit_test(everybody_comes_to_be_asked),
	    cmocka_unit_test(outcomes_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
