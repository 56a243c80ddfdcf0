/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets and ConfigMaps by name, in virtual time: which are asked for, and what is known of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kube/named.h"

#define MAX_CALLS 4096u
#define SECRET(name, version, data) \
	"{\"kind\":\"Secret\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"a\",\"resourceVersion\":\"" version \
	"\",\"annotations\":{\"last\":\"" data "\"}},\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"" data "\",\"other\":\"x\"}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define END_OF_LIST \
	EVENT("BOOKMARK", "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"9\"," \
	      "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}")

struct rig_call {
	struct kube_request q;
	char path[512];
	bool is_open;
};

struct rig {
	struct store *store;
	struct named *named;
	struct rig_call calls[MAX_CALLS];
	size_t n_calls, n_open, most_open;
	uint64_t now_ms, next_ms;
};

static struct kube_call *take_request(void *ctx, const struct kube_request *q)
{
	struct rig *rig = ctx;
	struct rig_call *c = &rig->calls[rig->n_calls++];

	assert_true(rig->n_calls < MAX_CALLS);
	c->q = *q;
	snprintf(c->path, sizeof(c->path), "%s", q->path);
	c->is_open = true;
	if (++rig->n_open > rig->most_open)
		rig->most_open = rig->n_open;
	return (struct kube_call *)c;
}

static void take_cancel(void *ctx, struct kube_call *call)
{
	struct rig *rig = ctx;
	struct rig_call *c = (struct rig_call *)call;

	assert_true(c->is_open);
	c->is_open = false;
	rig->n_open--;
}

static struct rig *rig_create(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->store = store_create();
	store_expect_named(rig->store);
	store_keep_journal(rig->store);
	rig->now_ms = 1000000;
	rig->named = named_create(rig->store, &(struct reflector_http){.ctx = rig, .request = take_request, .cancel = take_cancel}, 1);
	return rig;
}

static void rig_destroy(struct rig *rig)
{
	named_destroy(rig->named);
	assert_int_equal(rig->n_open, 0);
	store_destroy(rig->store);
	free(rig);
}

static uint64_t poll(struct rig *rig)
{
	rig->next_ms = UINT64_MAX;
	return named_poll(rig->named, rig->now_ms, &rig->next_ms);
}

static uint64_t want(struct rig *rig, const char *const *names, size_t n)
{
	struct named_ref *refs = calloc(n + 1, sizeof(*refs));
	uint64_t mask;

	assert_non_null(refs);
	for (size_t i = 0; i < n; i++)
		refs[i] = (struct named_ref){KUBE_SECRET, "a", names[i]};
	mask = named_want(rig->named, refs, n);
	free(refs);
	return mask | poll(rig);
}

/* The open request for a name. */
static struct rig_call *call_of(struct rig *rig, const char *name)
{
	char end[300];

	snprintf(end, sizeof(end), "&fieldSelector=metadata.name%%3D%s", name);
	for (size_t i = 0; i < rig->n_calls; i++) {
		const char *at = strstr(rig->calls[i].path, "&fieldSelector=");

		if (rig->calls[i].is_open && at && strcmp(at, end) == 0)
			return &rig->calls[i];
	}
	fail_msg("nothing asks for %s", name);
	return NULL;
}

static uint64_t give(struct rig *rig, const char *name, const char *bytes)
{
	struct rig_call *c = call_of(rig, name);

	c->q.on_headers(c->q.ctx, 200);
	c->q.on_data(c->q.ctx, bytes, strlen(bytes));
	return poll(rig);
}

static uint64_t end(struct rig *rig, const char *name, int status)
{
	struct rig_call *c = call_of(rig, name);

	c->is_open = false;
	rig->n_open--;
	c->q.on_done(c->q.ctx, status, NULL, 0);
	return poll(rig);
}

static enum store_absence absence(const struct rig *rig, const char *name)
{
	return store_absence(rig->store, KUBE_SECRET, "a", name);
}

static void each_name_is_asked_for_in_its_namespace_alone(void **state)
{
	struct rig *rig = rig_create();

	want(rig, (const char *const[]){"one", "two"}, 2);
	assert_int_equal(rig->n_open, 2);
	for (size_t i = 0; i < 2; i++)
		assert_non_null(strstr(rig->calls[i].path, "/api/v1/namespaces/a/secrets?watch=1"));
	assert_int_equal(absence(rig, "one"), STORE_PENDING);
	assert_true(named_n_pending(rig->named) > 0);
	assert_int_equal(give(rig, "one", EVENT("ADDED", SECRET("one", "5", "Yw==")) END_OF_LIST), 1ull << KUBE_SECRET);
	give(rig, "two", END_OF_LIST);
	assert_non_null(store_get(rig->store, KUBE_SECRET, "a", "one"));
	assert_int_equal(absence(rig, "two"), STORE_ABSENT);
	assert_int_equal(absence(rig, "three"), STORE_PENDING);
	assert_int_equal(named_n_pending(rig->named), 0);
	rig_destroy(rig);
}

static void what_is_not_referred_to_any_more_is_forgotten(void **state)
{
	struct rig *rig = rig_create();

	want(rig, (const char *const[]){"one", "two"}, 2);
	give(rig, "one", EVENT("ADDED", SECRET("one", "5", "Yw==")) END_OF_LIST);
	give(rig, "two", END_OF_LIST);
	assert_int_equal(want(rig, (const char *const[]){"two"}, 1), 1ull << KUBE_SECRET);
	assert_null(store_get(rig->store, KUBE_SECRET, "a", "one"));
	assert_int_equal(absence(rig, "one"), STORE_PENDING);
	assert_int_equal(rig->n_open, 1);
	assert_int_equal(rig->n_calls, 2); /* the other one goes on */
	want(rig, NULL, 0);
	assert_int_equal(rig->n_open, 0);
	rig_destroy(rig);
}

static void a_deleted_one_is_absent(void **state)
{
	struct rig *rig = rig_create();

	want(rig, (const char *const[]){"one"}, 1);
	give(rig, "one", EVENT("ADDED", SECRET("one", "5", "Yw==")) END_OF_LIST);
	store_clear_journal(rig->store);
	assert_int_equal(give(rig, "one", EVENT("DELETED", SECRET("one", "6", "Yw=="))), 1ull << KUBE_SECRET);
	assert_null(store_get(rig->store, KUBE_SECRET, "a", "one"));
	assert_int_equal(absence(rig, "one"), STORE_ABSENT);
	rig_destroy(rig);
}

static void an_expired_place_is_listed_again(void **state)
{
	struct rig *rig = rig_create();

	want(rig, (const char *const[]){"one", "two"}, 2);
	give(rig, "one", EVENT("ADDED", SECRET("one", "5", "Yw==")) END_OF_LIST);
	give(rig, "two", EVENT("ADDED", SECRET("two", "5", "Yw==")) END_OF_LIST);
	give(rig, "one", EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
	assert_non_null(strstr(call_of(rig, "one")->path, "sendInitialEvents"));
	assert_non_null(store_get(rig->store, KUBE_SECRET, "a", "one"));
	give(rig, "one", END_OF_LIST); /* it went meanwhile, and nothing else did */
	assert_null(store_get(rig->store, KUBE_SECRET, "a", "one"));
	assert_non_null(store_get(rig->store, KUBE_SECRET, "a", "two"));
	rig_destroy(rig);
}

static void what_may_not_be_read_concerns_that_one_alone(void **state)
{
	struct rig *rig = rig_create();
	size_t n_problems;

	want(rig, (const char *const[]){"one", "two"}, 2);
	give(rig, "two", END_OF_LIST);
	for (unsigned i = 0; i < REFLECTOR_FORBIDDEN_LOOKS; i++) {
		assert_int_equal(absence(rig, "one"), STORE_PENDING);
		end(rig, "one", 403);
		if (i + 1 < REFLECTOR_FORBIDDEN_LOOKS)
			rig->now_ms += 10000;
		poll(rig);
	}
	assert_int_equal(absence(rig, "one"), STORE_FORBIDDEN);
	assert_int_equal(named_n_pending(rig->named), 0);
	assert_int_equal(absence(rig, "two"), STORE_ABSENT);
	store_problems(rig->store, &n_problems);
	assert_int_equal(n_problems, 0);
	rig->now_ms += 40000; /* permission comes */
	poll(rig);
	give(rig, "one", EVENT("ADDED", SECRET("one", "5", "Yw==")) END_OF_LIST);
	assert_non_null(store_get(rig->store, KUBE_SECRET, "a", "one"));
	assert_int_equal(absence(rig, "one"), STORE_ABSENT); /* if it should go */
	rig_destroy(rig);
}

static void an_object_of_another_name_is_not_taken(void **state)
{
	struct rig *rig = rig_create();
	size_t n;

	want(rig, (const char *const[]){"one"}, 1);
	give(rig, "one", EVENT("ADDED", SECRET("two", "5", "Yw==")) END_OF_LIST);
	store_list(rig->store, KUBE_SECRET, &n);
	assert_int_equal(n, 0);
	assert_int_equal(absence(rig, "one"), STORE_PENDING);
	rig_destroy(rig);
}

static void only_what_is_read_is_kept(void **state)
{
	struct rig *rig = rig_create();
	const struct kube_object *o;

	want(rig, (const char *const[]){"one"}, 1);
	give(rig, "one", EVENT("ADDED", SECRET("one", "5", "Yw==")) END_OF_LIST);
	o = store_get(rig->store, KUBE_SECRET, "a", "one");
	assert_string_equal(node_str(node_get(node_get(o->root, "data"), "tls.crt")), "Yw==");
	assert_null(node_get(node_get(o->root, "data"), "other"));
	assert_null(node_path(o->root, "metadata.annotations"));
	assert_non_null(node_get(o->root, "type"));
	rig_destroy(rig);
}

static void many_are_asked_for_a_few_at_once_and_no_more_than_the_bound(void **state)
{
	enum { N = NAMED_MAX + 5 };
	static char texts[N][8];
	const char *names[N];
	struct rig *rig = rig_create();
	struct named_status st;

	for (unsigned i = 0; i < N; i++) {
		snprintf(texts[i], sizeof(texts[i]), "s%04u", i);
		names[i] = texts[i];
	}
	want(rig, names, N);
	assert_int_equal(rig->n_open, NAMED_ASKING);
	for (unsigned i = 0; i < NAMED_MAX; i++) {
		assert_in_range(rig->n_open - i, 1, NAMED_ASKING);
		give(rig, names[i], END_OF_LIST);
	}
	assert_int_equal(rig->n_open, NAMED_MAX);
	assert_int_equal(named_n_pending(rig->named), 0);
	named_status(rig->named, &st);
	assert_int_equal(st.n_followed, NAMED_MAX);
	assert_int_equal(st.n_absent, NAMED_MAX);
	assert_int_equal(st.n_beyond, N - NAMED_MAX);
	assert_int_equal(absence(rig, names[N - 1]), STORE_BEYOND);
	want(rig, names + 5, N - 5); /* five go: there is room for five */
	assert_int_equal(rig->n_open, NAMED_MAX);
	assert_int_equal(absence(rig, names[N - 1]), STORE_PENDING);
	want(rig, names, N); /* and back */
	assert_int_equal(absence(rig, names[N - 1]), STORE_BEYOND);
	assert_int_equal(rig->n_open, NAMED_MAX);
	rig_destroy(rig);
}

/* Whoever refers to more than there is room for takes nothing away from another namespace. */
static void each_namespace_has_its_share(void **state)
{
	enum { N = NAMED_MAX + 500, N_OTHERS = 3 };
	static struct named_ref refs[N + N_OTHERS];
	static char texts[N][8];
	struct rig *rig = rig_create();
	struct named_status st;

	for (unsigned i = 0; i < N; i++) {
		snprintf(texts[i], sizeof(texts[i]), "s%04u", i);
		refs[i] = (struct named_ref){KUBE_SECRET, "a", texts[i]};
	}
	for (unsigned i = 0; i < N_OTHERS; i++) /* the last of all by their order */
		refs[N + i] = (struct named_ref){KUBE_CONFIG_MAP, i ? "z" : "b", texts[i]};
	named_want(rig->named, refs, N + N_OTHERS);
	named_status(rig->named, &st);
	assert_int_equal(st.n_followed, NAMED_MAX);
	for (unsigned i = 0; i < N_OTHERS; i++)
		assert_int_equal(store_absence(rig->store, KUBE_CONFIG_MAP, refs[N + i].ns, texts[i]), STORE_PENDING);
	assert_int_equal(absence(rig, texts[NAMED_MAX - N_OTHERS - 1]), STORE_PENDING);
	assert_int_equal(absence(rig, texts[NAMED_MAX - N_OTHERS]), STORE_BEYOND);
	rig_destroy(rig);
}

static void lost_answers_are_asked_for_again_by_themselves(void **state)
{
	struct rig *rig = rig_create();

	want(rig, (const char *const[]){"one", "two"}, 2);
	end(rig, "one", 500);
	end(rig, "two", 0);
	assert_int_equal(rig->n_open, 0);
	rig->now_ms += 10000;
	poll(rig);
	assert_int_equal(rig->n_open, 2);
	end(rig, "two", 0);
	named_hurry(rig->named, false, rig->now_ms);
	poll(rig);
	assert_true(rig->next_ms <= rig->now_ms + REFLECTOR_BACKOFF_MIN_MS);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_name_is_asked_for_in_its_namespace_alone),
	    cmocka_unit_test(what_is_not_referred_to_any_more_is_forgotten),
	    cmocka_unit_test(a_deleted_one_is_absent),
	    cmocka_unit_test(an_expired_place_is_listed_again),
	    cmocka_unit_test(what_may_not_be_read_concerns_that_one_alone),
	    cmocka_unit_test(an_object_of_another_name_is_not_taken),
	    cmocka_unit_test(only_what_is_read_is_kept),
	    cmocka_unit_test(many_are_asked_for_a_few_at_once_and_no_more_than_the_bound),
	    cmocka_unit_test(each_namespace_has_its_share),
	    cmocka_unit_test(lost_answers_are_asked_for_again_by_themselves),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
