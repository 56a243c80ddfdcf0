/* SPDX-License-Identifier: Apache-2.0 */
/* Which origins a CORS filter covers, and what it says to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "route/route.h"
#include "translate/compile.h"

/* A snapshot with one rule that has this filter. */
static struct weir_snapshot *make(const struct model_header_op *ops, size_t n_ops)
{
	const struct model_filter f = {.kind = WEIR_FILTER_CORS, .n_ops = n_ops, .ops = ops};
	struct model_split split = {.weight = 1};
	struct model m;
	void *blob;
	size_t n;

	model_init(&m);
	*model_add_listener(&m) = (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "l"};
	*model_add_backend(&m) = (struct model_backend){.name = "n/s:80"};
	*model_add_match(&m) = (struct model_match){.host = "", .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
						    .action = WEIR_ACTION_FORWARD, .n_splits = 1, .splits = &split,
						    .filters = {1, &f}, .kind = "K", .ns = "n", .name = "r"};
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	model_fini(&m);
	return blob;
}

static struct route_cors ask(const struct weir_snapshot *s, const char *origin)
{
	const struct weir_filter *f = route_find_cors(s, snapshot_rule(s, 0)->filters);

	assert_non_null(f);
	return route_cors(s, f, slice_str(origin));
}

static void origins_are_covered_as_the_api_says(void **state)
{
	static const struct {
		const char *pattern, *origin;
		bool wanted;
	} cases[] = {
		{"https://www.foo.test", "https://www.foo.test", true},
		{"https://www.foo.test", "HTTPS://WWW.foo.test", true},
		{"https://www.foo.test", "https://www.foo.test:443", true},
		{"https://www.foo.test", "https://www.foo.test:80", false},
		{"https://www.foo.test", "https://www.foo.test:8443", false},
		{"https://www.foo.test", "http://www.foo.test", false},
		{"https://www.foo.test", "https://www.foo.test.evil", false},
		{"https://www.foo.test", "https://www.foo.tes", false},
		{"http://foo.test", "http://foo.test:80", true},
		{"http://foo.test", "http://foo.test:443", false},
		{"http://foo.test:8080", "http://foo.test:8080", true},
		{"http://foo.test:8080", "http://foo.test", false},
		{"https://*.bar.test", "https://www.bar.test", true},
		{"https://*.bar.test", "https://x.y.z.bar.test", true},
		{"https://*.bar.test", "https://bar.test", false},
		{"https://*.bar.test", "https://.bar.test", false},
		{"https://*.bar.test", "https://foobar.test", false},
		{"https://*.bar.test", "http://www.bar.test", false},
		{"https://*.bar.test", "https://www.bar.test:8443", false},
		{"https://*.bar.test", "https://evil.test:1/x.bar.test", false},
		{"https://*.bar.test:8443", "https://www.bar.test:8443", true},
		{"https://*.bar.test:8443", "https://www.bar.test", false},
		{"https://*", "https://anything.test", true},
		{"https://*", "https://anything.test:443", true},
		{"https://*", "https://anything.test:444", false},
		{"https://*", "https://", false},
		{"https://*", "http://anything.test", false},
		{"https://*:444", "https://anything.test:444", true},
		{"*", "https://anything.test:444", true},
		{"*", "null", true},
		{"*", "", false},
		{"https://*", "null", false},
		{"http://a", "", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct model_header_op op = {WEIR_CORS_ORIGIN, "", cases[i].pattern};
		struct weir_snapshot *s = make(&op, 1);

		if (ask(s, cases[i].origin).is_allowed != cases[i].wanted)
			fail_msg("%s and %s", cases[i].pattern, cases[i].origin);
		free(s);
	}
}

static void any_of_several_origins_counts_and_nothing_is_said_that_is_not_there(void **state)
{
	static const struct model_header_op ops[] = {{WEIR_CORS_ORIGIN, "", "http://a"}, {WEIR_CORS_ORIGIN, "", "http://b"}};
	struct weir_snapshot *s = make(ops, 2);
	struct route_cors c = ask(s, "http://b");

	assert_true(c.is_allowed && c.varies && slice_eq(c.origin, SLICE("http://b")));
	assert_true(c.methods.n + c.headers.n + c.exposed.n + c.max_age.n + c.credentials.n == 0);
	assert_false(ask(s, "http://c").is_allowed);
	free(s);
	s = make(NULL, 0);
	assert_false(ask(s, "http://b").is_allowed);
	free(s);
}

/* "*" is told as it is, unless credentials go along. */
static void a_star_is_echoed_to_credentials_only(void **state)
{
	static const struct model_header_op ops[] = {{WEIR_CORS_ORIGIN, "", "*"}, {WEIR_CORS_CREDENTIALS, "", "true"}};
	struct weir_snapshot *s = make(ops, 1);
	struct route_cors c = ask(s, "http://b");

	assert_true(c.is_allowed && !c.varies && slice_eq(c.origin, SLICE("*")));
	free(s);
	s = make(ops, 2);
	c = ask(s, "http://b");
	assert_true(c.is_allowed && c.varies && slice_eq(c.origin, SLICE("http://b")));
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origins_are_covered_as_the_api_says),
		cmocka_unit_test(any_of_several_origins_counts_and_nothing_is_said_that_is_not_there),
		cmocka_unit_test(a_star_is_echoed_to_credentials_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
