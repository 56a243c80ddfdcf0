/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled routes against a naive matcher that reads the model as the Gateway API's text does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random_model.h"
#include "route/route.h"
#include "translate/compile.h"

struct request {
	struct weir_ip local;
	uint16_t port;
	const char *method, *host, *path, *query;
	const char *k, *j; /* headers of these names, or NULL */
};

/* -- naive */

/* How specific a host pattern is for a host: 0 no fit; larger is more specific. */
static unsigned host_rank(const char *pattern, bool one_label, const char *host)
{
	size_t n = strlen(pattern);
	size_t h = strlen(host);

	if (n == 0)
		return 1;
	if (strncmp(pattern, "*.", 2) != 0)
		return strcmp(pattern, host) == 0 ? 100000 : 0;
	if (h < n || strcmp(host + h - (n - 1), pattern + 1) != 0)
		return 0;
	if (one_label && memchr(host, '.', h - (n - 1)))
		return 0;
	return (unsigned)(n * 2 + one_label + 10);
}

static bool is_prefix(const char *prefix, const char *path)
{
	size_t n = strlen(prefix);

	while (n && prefix[n - 1] == '/')
		n--;
	return strncmp(prefix, path, n) == 0 && (path[n] == 0 || path[n] == '/');
}

static size_t prefix_length(const char *prefix)
{
	size_t n = strlen(prefix);

	while (n && prefix[n - 1] == '/')
		n--;
	return n;
}

static bool has_query(const char *query, const char *name, const char *value)
{
	const char *p = query;

	while (*p) {
		const char *end = strchrnul(p, '&');

		if (p[0] == name[0] && p[1] == '=')
			return (size_t)(end - p) == 2 + strlen(value) && strncmp(p + 2, value, strlen(value)) == 0;
		p = *end ? end + 1 : end;
	}
	return false;
}

static bool fits(const struct model_match *m, const struct request *q)
{
	if (m->method[0] && strcmp(m->method, q->method) != 0)
		return false;
	for (size_t i = 0; i < m->n_conds; i++) {
		const struct model_cond *c = &m->conds[i];
		const char *got = c->name[0] == 'k' ? q->k : q->j;

		if (c->kind == WEIR_COND_QUERY ? !has_query(q->query, c->name, c->value) : !got || strcmp(got, c->value) != 0)
			return false;
	}
	return m->path_kind == WEIR_PATH_EXACT ? strcmp(m->path, q->path) == 0 : is_prefix(m->path, q->path);
}

static unsigned n_of(const struct model_match *m, unsigned kind)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->n_conds; i++)
		n += m->conds[i].kind == kind;
	return n;
}

static int sign(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static const char *text_of(const struct model_match *m, char text[64])
{
	snprintf(text, 64, "%s/%s", m->ns, m->name);
	return text;
}

/* Below 0: a goes before b (both fit). */
static int precedence(const struct model_match *a, const struct model_match *b)
{
	char ta[64], tb[64];
	int o = sign(b->path_kind == WEIR_PATH_EXACT, a->path_kind == WEIR_PATH_EXACT);

	if (!o)
		o = sign((int64_t)prefix_length(b->path), (int64_t)prefix_length(a->path));
	if (!o)
		o = sign(b->method[0] != 0, a->method[0] != 0);
	if (!o)
		o = sign(n_of(b, WEIR_COND_HEADER), n_of(a, WEIR_COND_HEADER));
	if (!o)
		o = sign(n_of(b, WEIR_COND_QUERY), n_of(a, WEIR_COND_QUERY));
	if (!o)
		o = sign(a->created_s ? a->created_s : INT64_MAX, b->created_s ? b->created_s : INT64_MAX);
	if (!o)
		o = strcmp(text_of(a, ta), text_of(b, tb));
	return o ? o : sign(a->rule_index, b->rule_index);
}

static bool is_same_bind(const struct model_listener *a, const struct model_listener *b)
{
	return a->port == b->port && memcmp(&a->addr, &b->addr, 16) == 0;
}

static const struct model_match *naive(const struct model *m, const struct request *q)
{
	const struct model_listener *bind = NULL, *best_l = NULL;
	const struct model_match *best = NULL;
	unsigned rank = 0;

	for (size_t i = 0; i < m->n_listeners; i++) { /* the exact address before the zero one */
		const struct model_listener *l = &m->listeners[i];
		bool is_exact = memcmp(&l->addr, &q->local, 16) == 0;
		static const struct weir_ip any;

		if (l->port == q->port && (is_exact || memcmp(&l->addr, &any, 16) == 0) && (!bind || is_exact))
			bind = l;
	}
	for (size_t i = 0; bind && i < m->n_listeners; i++) {
		unsigned r = is_same_bind(&m->listeners[i], bind) ? host_rank(m->listeners[i].host, false, q->host) : 0;

		if (r > rank) {
			rank = r;
			best_l = &m->listeners[i];
		}
	}
	if (!best_l)
		return NULL;
	rank = 0;
	for (size_t i = 0; i < m->n_matches; i++) { /* the most specific host, whether its paths fit or not */
		const struct model_listener *l = &m->listeners[m->matches[i].listener];
		unsigned r = is_same_bind(l, best_l) && strcmp(l->host, best_l->host) == 0
				     ? host_rank(m->matches[i].host, m->matches[i].host_one_label, q->host)
				     : 0;

		if (r > rank)
			rank = r;
	}
	for (size_t i = 0; rank && i < m->n_matches; i++) {
		const struct model_match *x = &m->matches[i];
		const struct model_listener *l = &m->listeners[x->listener];

		if (!is_same_bind(l, best_l) || strcmp(l->host, best_l->host) != 0 ||
		    host_rank(x->host, x->host_one_label, q->host) != rank || !fits(x, q))
			continue;
		if (!best || precedence(x, best) < 0)
			best = x;
	}
	return best;
}

/* -- the real one */

static struct slice header(const void *ctx, struct slice name)
{
	const struct request *q = ctx;
	const char *v = name.p[0] == 'k' ? q->k : q->j;

	return v ? slice_str(v) : slice_of(NULL, 0);
}

static struct route_result match(const struct weir_snapshot *s, const struct request *q)
{
	const struct route_request rq = {q->local, q->port, slice_str(q->method), slice_str(q->host), slice_str(q->path),
					 slice_str(q->query), header, q};

	return route_match(s, &rq);
}

static const char *const hosts[] = {"a.example", "b.example", "c.example", "x.a.example", "y.x.a.example", "example", "other", ""};
static const char *const paths[] = {"/", "/a", "/a/", "/a/b", "/a/bc", "/ab", "/a/b/c/d", "/b", "/c", "//a"};
static const char *const queries[] = {"", "k=v", "k=w&j=v", "j=w", "k=w&k=v", "j"};

/* The path that looking ahead comes to, or WEIR_NONE. */
static uint32_t look_ahead(const struct weir_snapshot *s, const struct request *q)
{
	struct route_soon soon[2] = {{.local = q->local, .port = q->port, .host = slice_str(q->host), .path = slice_str(q->path)},
				     {.local = q->local, .port = 1, .host = slice_str("no.such"), .path = slice_str("/")}};

	soon[0].index = WEIR_NONE;
	route_look_ahead(s, soon, 2);
	assert_true(soon[0].index == WEIR_NONE || soon[0].index < snapshot_count(s, PATHS));
	return soon[0].index;
}

static void compiled_routes_agree_with_the_text(void **state)
{
	unsigned n_hits = 0;
	unsigned n_misses = 0;

	for (uint64_t seed = 1; seed <= 1500; seed++) {
		struct prng r = {seed};
		struct snapshot_error why;
		struct model m;
		void *blob;
		size_t n;

		random_model(&m, &r, pick(&r, 40));
		m.hash_seed = seed % 2 ? seed * 0x9e3779b97f4a7c15ull : 0;
		assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
		if (snapshot_check(blob, n, &why) != WEIR_REFUSED_OK)
			fail_msg("seed %u: %s", (unsigned)seed, why.text);
		for (int i = 0; i < 100; i++) {
			struct request q = {.port = pick(&r, 4) ? 80 : 81, .method = pick(&r, 2) ? "GET" : "PUT",
					    .host = hosts[pick(&r, COUNT(hosts))], .path = paths[pick(&r, COUNT(paths))],
					    .query = queries[pick(&r, COUNT(queries))], .k = pick(&r, 2) ? "v" : NULL,
					    .j = pick(&r, 2) ? "w" : NULL};
			const struct model_match *want;
			struct route_result got;

			q.local.b[15] = (uint8_t)(1 + pick(&r, 2));
			look_ahead(blob, &q); /* must change nothing */
			want = naive(&m, &q);
			got = match(blob, &q);
			if ((got.miss == ROUTE_HIT) != (want != NULL))
				fail_msg("seed %u: host %s path %s: %s, wanted %s", (unsigned)seed, q.host, q.path,
					 route_miss_name(got.miss), want ? want->name : "none");
			if (want)
				assert_int_equal(snapshot_rule(blob, got.rule)->rule_index, want->rule_index);
			*(want ? &n_hits : &n_misses) += 1;
		}
		free(blob);
		model_fini(&m);
	}
	assert_true(n_hits > 10000 && n_misses > 10000);
}

static void order_of_the_model_does_not_matter(void **state)
{
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct prng r = {seed};
		struct prng again = {seed};
		struct model m, shuffled;
		void *a, *b;
		size_t n_a, n_b;

		random_model(&m, &r, 30);
		random_model(&shuffled, &again, 30);
		for (size_t i = shuffled.n_matches - 1; i > 0; i--) {
			size_t k = pick(&r, (uint32_t)i + 1);
			struct model_match t = shuffled.matches[i];

			shuffled.matches[i] = shuffled.matches[k];
			shuffled.matches[k] = t;
		}
		assert_int_equal(compile_snapshot(&m, 1, &a, &n_a), 0);
		assert_int_equal(compile_snapshot(&shuffled, 1, &b, &n_b), 0);
		assert_int_equal(n_a, n_b);
		assert_memory_equal(a, b, n_a);
		free(a);
		free(b);
		model_fini(&m);
		model_fini(&shuffled);
	}
}

static void splits_are_taken_by_weight(void **state)
{
	struct model_split splits[] = {{.weight = 1}, {.backend = 1}, {.backend = 2, .weight = 3}};
	unsigned taken[3] = {0};
	struct prng r = {7};
	struct model m;
	void *blob;
	size_t n;
	struct request q = {.port = 80, .method = "GET", .host = "a", .path = "/", .query = ""};

	random_model(&m, &r, 0);
	m.listeners[0].host = "";
	*model_add_match(&m) = (struct model_match){.host = "", .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
						    .action = WEIR_ACTION_FORWARD, .n_splits = 3, .splits = splits,
						    .kind = "K", .ns = "n", .name = "x"};
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	for (uint32_t i = 0; i < 4000; i++) {
		const struct weir_snapshot *s = blob;
		const struct weir_rule *rule = snapshot_rule(s, match(s, &q).rule);
		uint32_t k = route_pick_split(s, rule, i * (UINT32_MAX / 4000));

		taken[k - rule->splits.first]++;
	}
	assert_in_range(taken[0], 999, 1001);
	assert_int_equal(taken[1], 0);
	assert_in_range(taken[2], 2999, 3001);
	free(blob);
	model_fini(&m);
}

static void query_is_compared_decoded(void **state)
{
	struct model_cond cond = {.kind = WEIR_COND_QUERY, .name = "na me", .value = "a&b"};
	struct prng r = {7};
	struct model m;
	void *blob;
	size_t n;
	struct request q = {.port = 80, .method = "GET", .host = "a", .path = "/", .query = "x=1&na%20me=a%26b"};

	random_model(&m, &r, 0);
	m.listeners[0].host = "";
	*model_add_match(&m) = (struct model_match){.host = "", .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
						    .action = WEIR_ACTION_STATUS, .status = 503, .n_conds = 1, .conds = &cond,
						    .kind = "K", .ns = "n", .name = "x"};
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(match(blob, &q).miss, ROUTE_HIT);
	q.query = "na%20me=a&b";
	assert_int_equal(match(blob, &q).miss, ROUTE_NO_RULE);
	q.query = "na%2";
	assert_int_equal(match(blob, &q).miss, ROUTE_NO_RULE);
	free(blob);
	model_fini(&m);
}

static void protocol_in_conflict_is_not_served(void **state)
{
	struct prng r = {7};
	struct request q = {.port = 80, .method = "GET", .host = "a", .path = "/", .query = ""};
	struct model m;
	void *blob;
	size_t n;

	random_model(&m, &r, 0);
	for (int i = 0; i < 2; i++) {
		m.listeners[i].addr.b[15] = 0;
		m.listeners[i].host = "";
	}
	m.listeners[1].proto = WEIR_PROTO_HTTPS;
	*model_add_match(&m) = (struct model_match){.listener = 1, .host = "", .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
						    .action = WEIR_ACTION_STATUS, .status = 503, .kind = "K", .ns = "n", .name = "x"};
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	assert_int_equal(match(blob, &q).miss, ROUTE_NO_HOST);
	assert_int_equal(m.n_problems, 1);
	assert_string_equal(m.problems[0].reason, "ProtocolConflict");
	free(blob);
	model_fini(&m);
}

static void ten_thousand_hosts_are_all_found(void **state)
{
	struct prng r = {3};
	unsigned n_ahead = 0;
	struct model m;
	void *blob;
	size_t n;

	random_model(&m, &r, 0);
	m.listeners[0].host = "";
	for (uint32_t i = 0; i < 10000; i++) {
		struct model_match *x = model_add_match(&m);

		*x = (struct model_match){.host = model_printf(&m, "h%u.example", i), .path_kind = WEIR_PATH_PREFIX, .path = "/",
					  .method = "", .action = WEIR_ACTION_STATUS, .status = 503, .kind = "K", .ns = "n",
					  .name = "x", .rule_index = i};
	}
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	for (uint32_t i = 0; i < 10000; i++) {
		char host[32];
		struct request q = {.port = 80, .method = "GET", .host = host, .path = "/x", .query = ""};
		struct route_result got;
		uint32_t ahead;

		snprintf(host, sizeof(host), "h%u.example", i);
		got = match(blob, &q);
		assert_int_equal(got.miss, ROUTE_HIT);
		assert_int_equal(snapshot_rule(blob, got.rule)->rule_index, i);
		ahead = look_ahead(blob, &q);
		assert_true(ahead == got.path || ahead == WEIR_NONE);
		n_ahead += ahead == got.path;
	}
	assert_true(route_is_large(blob));
	assert_true(n_ahead > 9800); /* it gives up where many hosts share a place */
	free(blob);
	model_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compiled_routes_agree_with_the_text),
		cmocka_unit_test(order_of_the_model_does_not_matter),
		cmocka_unit_test(splits_are_taken_by_weight),
		cmocka_unit_test(query_is_compared_decoded),
		cmocka_unit_test(protocol_in_conflict_is_not_served),
		cmocka_unit_test(ten_thousand_hosts_are_all_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
