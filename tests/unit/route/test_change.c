/* SPDX-License-Identifier: Apache-2.0 */
/* What filters make of hosts, paths and ports, by the tables of the Gateway API. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route/route.h"
#include "translate/compile.h"

/* A snapshot with one rule under a prefix, and the filters that are given; n_rule of them the rule's, n_split its split's. */
static struct weir_snapshot *make(const char *prefix, const struct model_filter *f, size_t n_rule, size_t n_split)
{
	struct model_split split = {.weight = 1, .filters = {n_split, f + n_rule}};
	struct model m;
	void *blob;
	size_t n;

	model_init(&m);
	*model_add_listener(&m) = (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "l"};
	*model_add_backend(&m) = (struct model_backend){.name = "n/s:80"};
	*model_add_match(&m) = (struct model_match){.host = "", .path_kind = WEIR_PATH_PREFIX, .path = prefix, .method = "",
						    .action = WEIR_ACTION_FORWARD, .n_splits = 1, .splits = &split,
						    .filters = {n_rule, f}, .kind = "K", .ns = "n", .name = "r"};
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	model_fini(&m);
	return blob;
}

static struct route_change change(const struct weir_snapshot *s, const char *path)
{
	struct route_request rq = {.port = 80, .method = SLICE("GET"), .path = slice_str(path)};
	struct route_result r = route_match(s, &rq);
	const struct weir_rule *rule;
	struct route_change c = {0};

	assert_int_equal(r.miss, ROUTE_HIT);
	rule = snapshot_rule(s, r.rule);
	route_change_add(&c, s, rule->filters, rq.path, snapshot_path(s, r.path)->path.len);
	route_change_add(&c, s, snapshot_split(s, rule->splits.first)->filters, rq.path, snapshot_path(s, r.path)->path.len);
	return c;
}

static void assert_path(const char *prefix, const char *by, const char *path, const char *wanted)
{
	struct model_filter f = {.kind = WEIR_FILTER_REWRITE, .path_change = WEIR_PATH_REPLACE_PREFIX, .path = by};
	struct weir_snapshot *s = make(prefix, &f, 1, 0);
	struct route_change c = change(s, path);
	char got[64];

	assert_true(c.has_path);
	snprintf(got, sizeof(got), "%s%.*s%.*s", c.path_head.n + c.path_tail.n ? "" : "/", (int)c.path_head.n, c.path_head.p,
		 (int)c.path_tail.n, c.path_tail.p);
	assert_string_equal(got, wanted);
	free(s);
}

/* HTTPPathModifier.replacePrefixMatch; what the API writes as "/xyz/" and "/" comes here without that slash. */
static void prefixes_are_replaced_by_element(void **state)
{
	assert_path("/foo", "/xyz", "/foo/bar", "/xyz/bar");
	assert_path("/foo/", "/xyz", "/foo/bar", "/xyz/bar");
	assert_path("/foo", "/xyz", "/foo", "/xyz");
	assert_path("/foo", "/xyz", "/foo/", "/xyz/");
	assert_path("/foo", "", "/foo/bar", "/bar");
	assert_path("/foo", "", "/foo/", "/");
	assert_path("/foo", "", "/foo", "/");
	assert_path("/", "/xyz", "/bar", "/xyz/bar");
	assert_path("/", "/xyz", "/", "/xyz/");
	assert_path("/", "", "/bar", "/bar");
}

static void the_last_filter_that_changes_the_same_counts(void **state)
{
	const struct model_filter f[] = {
		{.kind = WEIR_FILTER_REQUEST_HEADERS, .host = "h1:81"},
		{.kind = WEIR_FILTER_REWRITE, .host = "h2", .path_change = WEIR_PATH_REPLACE, .path = "/rule"},
		{.kind = WEIR_FILTER_REWRITE, .path_change = WEIR_PATH_REPLACE_PREFIX, .path = "/split"},
	};
	struct weir_snapshot *s = make("/a", f, 2, 1);
	struct route_change c = change(s, "/a/b");

	assert_null(c.redirect);
	assert_true(slice_eq(c.host, SLICE("h2")));
	assert_true(slice_eq(c.path_head, SLICE("/split")) && slice_eq(c.path_tail, SLICE("/b")));
	free(s);
	s = make("/a", f, 1, 0);
	c = change(s, "/a/b");
	assert_true(slice_eq(c.host, SLICE("h1:81")) && !c.has_path);
	free(s);
}

static void redirect_is_of_the_request_as_it_came(void **state)
{
	const struct model_filter f[] = {
		{.kind = WEIR_FILTER_REWRITE, .host = "h2", .path_change = WEIR_PATH_REPLACE, .path = "/rule"},
		{.kind = WEIR_FILTER_REDIRECT, .status = 302},
	};
	struct weir_snapshot *s = make("/a", f, 1, 1);
	struct route_change c = change(s, "/a/b");

	assert_int_equal(c.redirect->status, 302);
	assert_null(c.host.p);
	assert_false(c.has_path);
	free(s);
}

static void port_of_a_redirect_follows_scheme_and_listener(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t scheme;
		enum weir_proto proto;
		uint16_t listener, wanted;
	} cases[] = {
		{0, 0, WEIR_PROTO_HTTP, 80, 0},		      {0, 0, WEIR_PROTO_HTTP, 8080, 8080},
		{0, 0, WEIR_PROTO_HTTPS, 443, 0},	      {0, 0, WEIR_PROTO_HTTPS, 8443, 8443},
		{0, WEIR_PROTO_HTTPS, WEIR_PROTO_HTTP, 8080, 0}, {0, WEIR_PROTO_HTTP, WEIR_PROTO_HTTPS, 8443, 0},
		{443, WEIR_PROTO_HTTPS, WEIR_PROTO_HTTP, 80, 0}, {443, 0, WEIR_PROTO_HTTP, 80, 443},
		{80, 0, WEIR_PROTO_HTTP, 8080, 0},	      {80, WEIR_PROTO_HTTPS, WEIR_PROTO_HTTP, 80, 80},
		{8443, WEIR_PROTO_HTTPS, WEIR_PROTO_HTTP, 80, 8443},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct weir_filter f = {.port = cases[i].port, .scheme = cases[i].scheme};

		if (route_redirect_port(&f, cases[i].proto, cases[i].listener) != cases[i].wanted)
			fail_msg("case %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes_are_replaced_by_element),
		cmocka_unit_test(the_last_filter_that_changes_the_same_counts),
		cmocka_unit_test(redirect_is_of_the_request_as_it_came),
		cmocka_unit_test(port_of_a_redirect_follows_scheme_and_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
