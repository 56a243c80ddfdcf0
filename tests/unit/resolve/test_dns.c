/* SPDX-License-Identifier: Apache-2.0 */
/* Lookups against a name server of the test's own, over real sockets and in real time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ip.h"
#include "dns_server.h"
#include "resolve/dns.h"

static struct dns_server *server;

struct rig {
	struct dns *d;
	unsigned n_answers;
	struct resolve_answer last;
	bool is_done[64];
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void on_answer(void *ctx, void *lookup, const struct resolve_answer *a)
{
	struct rig *rig = ctx;

	rig->n_answers++;
	rig->last = *a;
	*(bool *)lookup = true;
}

/* before: another server, asked first, or "". */
static void rig_open(struct rig *rig, const char *before)
{
	char servers[128];
	const char *why;

	memset(rig, 0, sizeof(*rig));
	snprintf(servers, sizeof(servers), "%s127.0.0.1:%u", before, dns_server_port(server));
	rig->d = dns_create(servers, on_answer, rig, &why);
	assert_non_null(rig->d);
}

static void wait_for(struct rig *rig, unsigned n)
{
	uint64_t end_ms = now_ms() + 60000;

	while (rig->n_answers < n) {
		uint64_t now = now_ms(), next = dns_poll(rig->d, now);
		struct pollfd fd = {.fd = dns_fd(rig->d), .events = POLLIN};

		assert_true(now < end_ms);
		if (rig->n_answers < n)
			poll(&fd, 1, next == UINT64_MAX ? 1000 : next > now ? (int)(next - now) : 0);
	}
}

/* One lookup, by itself. */
static struct resolve_answer look_up(const char *name, bool is_ip6)
{
	struct rig rig;

	rig_open(&rig, "");
	dns_ask(rig.d, name, is_ip6, &rig.is_done[0]);
	assert_false(rig.is_done[0]); /* not before it has returned */
	wait_for(&rig, 1);
	assert_true(rig.is_done[0]);
	dns_destroy(rig.d);
	return rig.last;
}

static void assert_answer(const char *name, bool is_ip6, const char *addr, uint32_t ttl_s)
{
	struct resolve_answer a = look_up(name, is_ip6);
	char text[IP_TEXT_MAX];

	assert_int_equal(a.outcome, RESOLVE_ANSWERED);
	assert_int_equal(a.n, 1);
	assert_string_equal(ip_format(&a.addrs[0], text), addr);
	assert_int_equal(a.ttl_s, ttl_s);
}

static void assert_outcome(const char *name, enum resolve_outcome outcome)
{
	struct resolve_answer a = look_up(name, false);

	assert_string_equal(resolve_outcome_name(a.outcome), resolve_outcome_name(outcome));
	assert_int_equal(a.n, 0);
}

static void takes_addresses_with_their_ttl(void **state)
{
	assert_answer("a.test", false, "192.0.2.1", 60);
	assert_answer("a.test", true, "2001:db8::1", 60);
	assert_answer("ttl7.test", false, "192.0.2.1", 7);
	assert_answer("ttl0.test", true, "2001:db8::1", 0);
	assert_answer("single", false, "192.0.2.1", 60);
}

static void follows_aliases_and_takes_the_least_ttl(void **state)
{
	assert_answer("alias.test", false, "192.0.2.1", 20);
	assert_answer("alias.test", true, "2001:db8::1", 20);
	assert_outcome("dangling.test", RESOLVE_NO_ADDRESS);
}

static void takes_a_truncated_answer_over_tcp(void **state)
{
	unsigned n = dns_server_count(server, true);
	struct resolve_answer a = look_up("many.test", false);

	assert_int_equal(dns_server_count(server, true), n + 1);
	assert_int_equal(a.outcome, RESOLVE_ANSWERED);
	assert_true(a.has_more);
	assert_int_equal(a.n, KNOWN_NAME_ADDRS_MAX);
	for (size_t i = 0; i < a.n; i++)
		assert_int_equal(a.addrs[i].b[15], 161 + i);
}

static void tells_a_name_that_is_not_there_from_one_without_addresses(void **state)
{
	assert_outcome("absent.test", RESOLVE_NOT_FOUND);
	assert_outcome("nothing.test", RESOLVE_NO_ADDRESS);
}

static void names_failures_of_servers(void **state)
{
	static const struct {
		const char *name;
		enum resolve_outcome outcome;
	} cases[] = {{"servfail.test", RESOLVE_SERVER_FAILURE}, {"refused.test", RESOLVE_REFUSED}, {"notimp.test", RESOLVE_OTHER}};

	for (size_t i = 0; i < 3; i++) {
		struct resolve_answer a = look_up(cases[i].name, false);

		assert_true(a.outcome == cases[i].outcome || a.outcome == RESOLVE_NO_SERVER); /* by c-ares's version */
		assert_int_equal(a.n, 0);
	}
}

/* All at once: each takes as long as a lookup may. */
static void gives_up_where_no_right_answer_comes(void **state)
{
	static const char *const names[] = {"silent.test", "wrongid.test", "wrongname.test"};
	struct rig rig;
	uint64_t began_ms = now_ms();

	rig_open(&rig, "");
	for (unsigned i = 0; i < 3; i++)
		dns_ask(rig.d, names[i], false, &rig.is_done[i]);
	for (unsigned i = 1; i <= 3; i++) {
		wait_for(&rig, i);
		assert_string_equal(resolve_outcome_name(rig.last.outcome), "timeout");
	}
	assert_in_range(now_ms() - began_ms, DNS_TIMEOUT_MS, 60000);
	dns_destroy(rig.d);
}

static void asks_again_where_an_answer_is_lost(void **state)
{
	assert_answer("second.test", false, "192.0.2.1", 60);
}

static void takes_nothing_from_malformed_answers(void **state)
{
	static const char *const names[] = {"garbage.test", "cut.test", "loop.test"};

	for (unsigned i = 0; i < 3; i++) {
		struct resolve_answer a = look_up(names[i], false);

		assert_int_equal(a.n, 0);
		assert_true(a.outcome != RESOLVE_ANSWERED);
	}
}

static void a_mapped_address_is_that_of_ipv4(void **state)
{
	struct resolve_answer a = look_up("mapped.test", true);

	assert_int_equal(a.n, 1);
	assert_true(ip_is4(&a.addrs[0])); /* whoever decides about 127.0.0.1 sees it */
}

static void asks_the_next_server_where_one_is_dead(void **state)
{
	struct rig rig;

	rig_open(&rig, "127.0.0.1:1,"); /* nobody listens: it is refused at once */
	dns_ask(rig.d, "a.test", false, &rig.is_done[0]);
	wait_for(&rig, 1);
	assert_int_equal(rig.last.outcome, RESOLVE_ANSWERED);
	dns_destroy(rig.d);
}

static void no_server_at_all_is_a_failure(void **state)
{
	const char *why;
	struct rig rig = {.d = NULL};

	rig.d = dns_create("127.0.0.1:1", on_answer, &rig, &why);
	dns_ask(rig.d, "a.test", false, &rig.is_done[0]);
	wait_for(&rig, 1);
	assert_true(rig.last.outcome == RESOLVE_NO_SERVER || rig.last.outcome == RESOLVE_TIMEOUT);
	dns_destroy(rig.d);
}

static void many_lookups_are_under_way_at_once(void **state)
{
	struct rig rig;

	rig_open(&rig, "");
	for (unsigned i = 0; i < 64; i++)
		dns_ask(rig.d, i % 3 ? "a.test" : "many.test", i % 2, &rig.is_done[i]);
	wait_for(&rig, 64);
	for (unsigned i = 0; i < 64; i++)
		assert_true(rig.is_done[i]);
	dns_destroy(rig.d);
}

static void what_is_under_way_at_the_end_is_not_answered(void **state)
{
	struct rig rig;

	rig_open(&rig, "");
	dns_ask(rig.d, "silent.test", false, &rig.is_done[0]);
	dns_poll(rig.d, now_ms());
	dns_destroy(rig.d);
	assert_int_equal(rig.n_answers, 0);
}

static int start(void **state)
{
	server = dns_server_start();
	return 0;
}

static int stop(void **state)
{
	dns_server_stop(server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_addresses_with_their_ttl),
	    cmocka_unit_test(follows_aliases_and_takes_the_least_ttl),
	    cmocka_unit_test(takes_a_truncated_answer_over_tcp),
	    cmocka_unit_test(tells_a_name_that_is_not_there_from_one_without_addresses),
	    cmocka_unit_test(names_failures_of_servers),
	    cmocka_unit_test(gives_up_where_no_right_answer_comes),
	    cmocka_unit_test(asks_again_where_an_answer_is_lost),
	    cmocka_unit_test(takes_nothing_from_malformed_answers),
	    cmocka_unit_test(a_mapped_address_is_that_of_ipv4),
	    cmocka_unit_test(asks_the_next_server_where_one_is_dead),
	    cmocka_unit_test(no_server_at_all_is_a_failure),
	    cmocka_unit_test(many_lookups_are_under_way_at_once),
	    cmocka_unit_test(what_is_under_way_at_the_end_is_not_answered),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
