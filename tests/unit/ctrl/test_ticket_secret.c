/* SPDX-License-Identifier: Apache-2.0 */
/* The Secret with ticket keys against an API server that the test plays, in virtual time. */
#include "../status/calls.h"

#include <stdlib.h>

#include "base/log.h"
#include "kube/json_tree.h"
#include "ticket_secret.h"

#define ROTATE_S 28800u
#define ROTATE_MS (ROTATE_S * 1000ull)
#define PATH "/api/v1/namespaces/n/secrets"

static struct calls calls;
static struct ticket_secret *t;
static struct weir_ticket_keys given;
static unsigned n_given;
static uint64_t now_ms;
static int64_t now_s;
static bool may_write;

static void give(void *ctx, const struct weir_ticket_keys *keys)
{
	given = *keys;
	n_given++;
}

static void start(uint32_t rotate_s)
{
	const struct ticket_secret_options o = {.ns = "n", .name = "t", .rotate_s = rotate_s};
	const struct reflector_http http = calls_http(&calls);

	log_init("test", LOG_LEVEL_ERROR);
	memset(&calls, 0, sizeof(calls));
	n_given = 0;
	now_ms = 1000000;
	now_s = 1795780805;
	may_write = false;
	t = ticket_secret_create(&o, &http, give, NULL, 1);
}

static int setup(void **state)
{
	start(ROTATE_S);
	return 0;
}

static int teardown(void **state)
{
	ticket_secret_destroy(t);
	assert_int_equal(calls_n_open(&calls), 0);
	return 0;
}

static uint64_t turn(void)
{
	return ticket_secret_poll(t, may_write, now_ms, now_s);
}

/* Both clocks go on. */
static void sleep_ms(uint64_t ms)
{
	now_ms += ms;
	now_s += (int64_t)(ms / 1000);
}

static enum ticket_secret_state state_now(void)
{
	struct ticket_secret_status st;

	ticket_secret_status(t, &st);
	return st.state;
}

/* Keys with these first bytes, 0: no more. */
static const char *secret(const char *version, const char *firsts, const char *rotated)
{
	static char text[2048];
	struct weir_ticket_keys k = ticket_keys_none();
	const char *data;
	char *json;

	for (; firsts[k.n]; k.n++)
		memset(&k.key[k.n], firsts[k.n], sizeof(k.key[0]));
	json = ticket_keys_json(&k, "n", "t", NULL, 0);
	data = strstr(json, "\"data\"");
	snprintf(text, sizeof(text), "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"%s\",\"annotations\":{\"" TICKET_KEYS_ROTATED "\":\"%s\"}},%s",
		 version, rotated, data);
	ticket_keys_forget(json);
	return text;
}

/* It is read, which is due, and this is answered. */
static void answer_read(int status, const char *body)
{
	turn();
	calls_answer(calls_expect(&calls, "GET", PATH "/t"), status, body, 0);
	turn();
}

static void next_read(int status, const char *body)
{
	sleep_ms(TICKET_SECRET_READ_MS);
	answer_read(status, body);
}

static void assert_sealing(char first, unsigned n)
{
	assert_int_equal(given.n, n);
	assert_int_equal(given.key[0].name[0], first);
}

static void keys_are_given_once_and_when_they_change(void **state)
{
	answer_read(200, secret("1", "ab", ""));
	assert_int_equal(n_given, 1);
	assert_sealing('a', 2);
	next_read(200, secret("2", "ab", "")); /* the same in another version */
	assert_int_equal(n_given, 1);
	next_read(200, secret("3", "bca", ""));
	assert_int_equal(n_given, 2);
	assert_sealing('b', 3);
	assert_int_equal(calls.n_sent, 3);
}

static void it_is_looked_at_again_and_again(void **state)
{
	uint64_t next;

	answer_read(200, secret("1", "ab", ""));
	next = turn();
	assert_in_range(next, now_ms + TICKET_SECRET_READ_MS / 2, now_ms + TICKET_SECRET_READ_MS);
	now_ms = next - 1;
	turn();
	assert_int_equal(calls_n_open(&calls), 0);
	now_ms = next;
	turn();
	assert_int_equal(calls_n_open(&calls), 1);
}

static void wrong_ones_are_named_and_the_last_stay(void **state)
{
	struct ticket_secret_status st;

	answer_read(200, secret("1", "ab", ""));
	next_read(200, secret("2", "aa", ""));
	assert_int_equal(state_now(), TICKET_SECRET_WRONG);
	ticket_secret_status(t, &st);
	assert_non_null(strstr(st.why, "same name"));
	assert_int_equal(st.n_keys, 2);
	assert_int_equal(n_given, 1);
	assert_int_equal(ticket_secret_counters(t)->wrong, 1);
	next_read(200, secret("3", "aa", ""));
	assert_int_equal(ticket_secret_counters(t)->wrong, 1); /* the same */
	next_read(200, secret("4", "cd", ""));
	assert_sealing('c', 2);
}

static void what_is_no_answer_changes_nothing(void **state)
{
	answer_read(200, secret("1", "ab", ""));
	next_read(500, "{}");
	next_read(0, NULL);
	next_read(200, "{\"kind\":\"Status\"}");
	next_read(200, "no JSON");
	assert_int_equal(state_now(), TICKET_SECRET_GOOD);
	assert_int_equal(n_given, 1);
	assert_int_equal(ticket_secret_counters(t)->failed, 4);
	sleep_ms(10 * ROTATE_MS);
	turn();
	assert_int_equal(n_given, 1); /* nobody has said that they are wrong */
}

static void without_good_ones_for_too_long_there_are_none(void **state)
{
	answer_read(200, secret("1", "ab", ""));
	next_read(404, "{}");
	next_read(403, "{}");
	assert_int_equal(state_now(), TICKET_SECRET_FORBIDDEN);
	sleep_ms(2 * ROTATE_MS - TICKET_SECRET_READ_MS - 1);
	turn();
	assert_int_equal(n_given, 1);
	sleep_ms(1);
	turn();
	assert_int_equal(n_given, 2);
	assert_int_equal(given.n, 0);
	calls_answer(calls_expect(&calls, "GET", PATH "/t"), 200, secret("1", "ab", ""), 0);
	turn();
	assert_int_equal(n_given, 3); /* the same as before are given again */
	assert_sealing('a', 2);
}

static void who_may_not_write_never_does(void **state)
{
	answer_read(404, "{}");
	for (unsigned i = 0; i < 100; i++)
		next_read(i % 2 ? 404 : 200, i % 2 ? "{}" : secret("1", "ab", "2020-01-01T00:00:00Z"));
	assert_int_equal(calls.n_sent, 101);
	assert_int_equal(ticket_secret_counters(t)->created + ticket_secret_counters(t)->rotated, 0);
}

static void without_a_time_to_rotate_it_is_never_written(void **state)
{
	ticket_secret_destroy(t);
	start(0);
	may_write = true;
	answer_read(404, "{}");
	next_read(200, secret("1", "ab", "2020-01-01T00:00:00Z"));
	next_read(200, secret("1", "ab", "2020-01-01T00:00:00Z"));
	assert_int_equal(calls.n_sent, 3);
}

static struct weir_ticket_keys keys_of(const struct call *c)
{
	struct weir_ticket_keys k;
	const struct node *root;
	struct json_tree *tree = json_tree_read(c->body, strlen(c->body), &root);
	char why[TICKET_KEYS_FAULT_BYTES];

	/* a patch that takes one away has null there */
	if (strstr(c->body, ",\"2\":null"))
		memcpy(strstr(c->body, ",\"2\":null"), "          ", 9);
	json_tree_wipe(tree);
	tree = json_tree_read(c->body, strlen(c->body), &root);
	assert_non_null(tree);
	assert_int_equal(ticket_keys_read(root, &k, why), TICKET_KEYS_GOOD);
	json_tree_wipe(tree);
	return k;
}

static void one_that_is_absent_is_made(void **state)
{
	struct call *c;

	may_write = true;
	answer_read(404, "{}");
	c = calls_expect(&calls, "POST", PATH "?fieldManager=weir-ctrl");
	assert_int_equal(keys_of(c).n, 2);
	assert_null(c->r.on_data); /* what it answers is the Secret */
	assert_int_equal(n_given, 0);
	calls_answer(c, 201, NULL, 0);
	turn();
	assert_int_equal(ticket_secret_counters(t)->created, 1);
	answer_read(200, secret("1", "ab", "2026-11-27T12:00:05Z")); /* at once */
	assert_sealing('a', 2);
	assert_int_equal(calls_n_open(&calls), 0);
}

static void none_is_made_twice_while_nobody_says_what_is_there(void **state)
{
	may_write = true;
	answer_read(404, "{}");
	calls_answer(calls_expect(&calls, "POST", PATH), 201, NULL, 0);
	for (unsigned i = 0; i < 30; i++) {
		turn();
		for (unsigned k = 0; k < MAX_CALLS; k++)
			if (calls.list[k].is_open)
				calls_answer(calls_expect(&calls, "GET", PATH), 0, NULL, 0);
		sleep_ms(1000);
	}
	assert_int_equal(ticket_secret_counters(t)->created, 1);
	assert_true(ticket_secret_counters(t)->failed > 5);
}

static void an_empty_one_is_filled(void **state)
{
	struct call *c;

	may_write = true;
	answer_read(200, "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"7\"}}");
	c = calls_expect(&calls, "PATCH", PATH "/t?fieldManager=weir-ctrl");
	assert_string_equal(c->r.content_type, "application/merge-patch+json");
	assert_non_null(strstr(c->body, "\"resourceVersion\":\"7\""));
	assert_int_equal(keys_of(c).n, 2);
	calls_answer(c, 200, NULL, 0);
	turn();
	assert_int_equal(ticket_secret_counters(t)->created, 1);
}

static void one_that_is_wrong_is_not_overwritten(void **state)
{
	may_write = true;
	answer_read(200, secret("1", "aa", "2020-01-01T00:00:00Z"));
	sleep_ms(3 * ROTATE_MS);
	answer_read(200, secret("1", "aa", "2020-01-01T00:00:00Z"));
	assert_int_equal(calls.n_sent, 2);
}

/* Reads that change nothing, until something is written. */
static struct call *await_patch(const char *text, uint64_t at_most_ms)
{
	const uint64_t until_ms = now_ms + at_most_ms;

	for (;;) {
		turn();
		for (unsigned i = 0; i < MAX_CALLS; i++)
			if (calls.list[i].is_open && strcmp(calls.list[i].method, "GET") != 0)
				return &calls.list[i];
		if (calls_n_open(&calls))
			calls_answer(calls_expect(&calls, "GET", PATH "/t"), 200, text, 0);
		else if (now_ms >= until_ms)
			return NULL;
		else
			sleep_ms(1000);
	}
}

static void keys_rotate_by_the_time_of_the_secret(void **state)
{
	const char *text = secret("5", "abc", "2026-11-27T12:00:05Z"); /* now */
	struct call *c;
	struct weir_ticket_keys k;

	may_write = true;
	now_s += ROTATE_S - 600; /* who has just come knows nothing of the time before */
	assert_null(await_patch(text, 599000));
	c = await_patch(text, 2000);
	assert_non_null(c);
	assert_non_null(strstr(c->body, "\"resourceVersion\":\"5\""));
	k = keys_of(c);
	assert_int_equal(k.n, 3);
	assert_int_equal(k.key[0].name[0], 'b'); /* the next one */
	assert_int_equal(k.key[2].name[0], 'a');
	assert_sealing('a', 3); /* not before it is read again */
	calls_answer(c, 200, NULL, 0);
	answer_read(200, secret("6", "bda", "2026-11-27T20:00:05Z"));
	assert_sealing('b', 3);
	assert_int_equal(ticket_secret_counters(t)->rotated, 1);
	assert_null(await_patch(secret("6", "bda", "2026-11-27T20:00:05Z"), ROTATE_MS - 60000));
}

static void none_are_rotated_that_others_may_not_have_read(void **state)
{
	const char *text = secret("5", "abc", "2020-01-01T00:00:00Z"); /* a clock that is wrong by years */

	may_write = true;
	assert_null(await_patch(text, TICKET_SECRET_HOLD_MS - 1000));
	assert_non_null(await_patch(text, 2000));
}

static void a_time_in_the_future_delays_by_one_step_at_most(void **state)
{
	const char *text = secret("5", "abc", "2036-01-01T00:00:00Z");

	may_write = true;
	assert_null(await_patch(text, ROTATE_MS - 1000));
	assert_non_null(await_patch(text, 2000));
}

static void on_conflict_it_is_read_again(void **state)
{
	const char *text = secret("5", "abc", "");
	struct call *c;

	may_write = true;
	c = await_patch(text, TICKET_SECRET_HOLD_MS + 1000);
	calls_answer(c, 409, NULL, 0);
	turn();
	assert_int_equal(ticket_secret_counters(t)->conflicts, 1);
	answer_read(200, secret("6", "bda", "2026-11-27T12:00:05Z")); /* another one was quicker */
	assert_sealing('b', 3);
	assert_null(await_patch(secret("6", "bda", "2026-11-27T12:00:05Z"), ROTATE_MS / 2));
}

static void who_is_refused_asks_seldom(void **state)
{
	unsigned n_before;

	may_write = true;
	answer_read(404, "{}");
	calls_answer(calls_expect(&calls, "POST", PATH), 403, NULL, 0);
	turn();
	assert_int_equal(ticket_secret_counters(t)->refused, 1);
	n_before = calls.n_sent;
	for (unsigned i = 0; i < TICKET_SECRET_REFUSED_MS / 1000 - 1; i++) {
		turn();
		if (calls_n_open(&calls))
			calls_answer(calls_expect(&calls, "GET", PATH), 404, "{}", 0);
		sleep_ms(1000);
	}
	assert_in_range(calls.n_sent - n_before, 1, 7); /* looks */
}

static void a_large_one_is_wrong(void **state)
{
	char *big = malloc(TICKET_SECRET_MAX_BYTES + 2);

	memset(big, ' ', TICKET_SECRET_MAX_BYTES + 1);
	big[TICKET_SECRET_MAX_BYTES + 1] = 0;
	answer_read(200, big);
	assert_int_equal(state_now(), TICKET_SECRET_WRONG);
	free(big);
}

static void of_a_directory_it_is_taken_as_it_comes(void **state)
{
	const struct ticket_secret_options o = {.ns = "n", .name = "t"};
	const char *text = secret("", "ab", "");
	const struct node *root;
	struct json_tree *tree = json_tree_read(text, strlen(text), &root);

	ticket_secret_destroy(t);
	t = ticket_secret_create(&o, NULL, give, NULL, 1);
	may_write = true;
	ticket_secret_take(t, root, now_ms);
	assert_sealing('a', 2);
	assert_true(turn() == UINT64_MAX);
	ticket_secret_take(t, NULL, now_ms);
	assert_int_equal(state_now(), TICKET_SECRET_ABSENT);
	assert_true(turn() == now_ms + 2 * TICKET_SECRET_ROTATE_S * 1000ull);
	assert_int_equal(n_given, 1);
	json_tree_wipe(tree);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(keys_are_given_once_and_when_they_change),
		TEST(it_is_looked_at_again_and_again),
		TEST(wrong_ones_are_named_and_the_last_stay),
		TEST(what_is_no_answer_changes_nothing),
		TEST(without_good_ones_for_too_long_there_are_none),
		TEST(who_may_not_write_never_does),
		TEST(without_a_time_to_rotate_it_is_never_written),
		TEST(one_that_is_absent_is_made),
		TEST(none_is_made_twice_while_nobody_says_what_is_there),
		TEST(an_empty_one_is_filled),
		TEST(one_that_is_wrong_is_not_overwritten),
		TEST(keys_rotate_by_the_time_of_the_secret),
		TEST(none_are_rotated_that_others_may_not_have_read),
		TEST(a_time_in_the_future_delays_by_one_step_at_most),
		TEST(on_conflict_it_is_read_again),
		TEST(who_is_refused_asks_seldom),
		TEST(a_large_one_is_wrong),
		TEST(of_a_directory_it_is_taken_as_it_comes),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
