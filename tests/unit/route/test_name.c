/* SPDX-License-Identifier: Apache-2.0 */
/* What a TLS client is shown, against a naive search through all names of the bind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "names_model.h"
#include "random_model.h"

static const char *const patterns[] = {"", "a.example", "b.example", "*.example", "*.a.example", "x.a.example", "*.x.a.example",
				       "example", "*.y.x.a.example", "localhost"};
static const char *const asked[] = {"", "a.example", "b.example", "c.example", "x.a.example", "y.x.a.example", "z.y.x.a.example",
				    "example", "localhost", "other", "b.c.example", "xa.example", "a.example.org"};

static struct weir_snapshot *compile(const struct names_bind *binds, size_t n, uint64_t hash_seed)
{
	struct weir_snapshot *s = names_compile(binds, n, hash_seed);
	struct snapshot_error why;

	if (snapshot_check(s, s->size, &why) != WEIR_REFUSED_OK)
		fail_msg("%s", why.text);
	return s;
}

/* How specific a pattern is for a name: 0 no fit; larger is more specific. */
static size_t rank_of(const struct names_entry *e, const char *name)
{
	if (!e->host[0])
		return 1;
	if (strncmp(e->host, "*.", 2) != 0)
		return strcmp(e->host, name) == 0 ? 10000 : 0;
	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
		bool is_one = dot == strchr(name, '.');

		if (dot > name && strcmp(dot + 1, e->host + 2) == 0)
			return e->is_one_label && !is_one ? 0 : 2 * strlen(e->host) + e->is_one_label;
	}
	return 0;
}

static const struct names_entry *naive(const struct names_bind *b, const char *name)
{
	const struct names_entry *best = NULL;

	for (uint32_t i = 0; i < b->n_names; i++)
		if (rank_of(&b->names[i], name) > (best ? rank_of(best, name) : 0))
			best = &b->names[i];
	return best;
}

/* No pattern twice; the profile tells them apart. */
static void random_names(struct names_bind *b, struct prng *r)
{
	for (unsigned i = 0; i < COUNT(patterns) * 2; i++) {
		bool is_one = i >= COUNT(patterns);
		const char *host = patterns[i % COUNT(patterns)];

		if ((is_one && host[0] != '*') || pick(r, 3))
			continue;
		b->names[b->n_names++] = (struct names_entry){host, is_one, (uint8_t)pick(r, 2), 1 + pick(r, 4),
							      pick(r, 2) ? WEIR_NONE : pick(r, b->n_listeners)};
	}
}

static void names_are_found_as_the_text_has_it(void **state)
{
	unsigned n_hits = 0, n_misses = 0;

	for (uint64_t seed = 1; seed <= 1000; seed++) {
		struct prng r = {seed};
		struct names_bind binds[2] = {{0, 443, WEIR_PROTO_HTTPS, 1 + pick(&r, 3), 0, {{0}}},
					      {1, 443, WEIR_PROTO_HTTPS, 1 + pick(&r, 3), 0, {{0}}}};
		struct weir_snapshot *s;

		random_names(&binds[0], &r);
		random_names(&binds[1], &r);
		s = compile(binds, 2, seed % 2 ? seed * 0x9e3779b97f4a7c15ull : 0);
		for (unsigned i = 0; i < COUNT(asked) * 2; i++) {
			const char *name = asked[i / 2];
			struct weir_ip local = {.b[15] = (uint8_t)(1 + i % 2)}; /* of the second bind; of none */
			const struct names_bind *b = &binds[1 - i % 2];
			const struct names_entry *want = naive(b, name);
			const struct weir_bind *bind = NULL;
			enum route_miss miss;
			const struct weir_server_name *got = route_find_name(s, &local, 443, slice_str(name), &bind, &miss);

			assert_ptr_equal(bind, snapshot_bind(s, (uint32_t)(b - binds)));
			assert_int_equal(miss, want ? ROUTE_HIT : ROUTE_NO_HOST);
			if (!!got != !!want)
				fail_msg("seed %u: %s: wanted %s", (unsigned)seed, name, want ? want->host : "none");
			if (want)
				assert_ptr_equal(got, snapshot_name(s, bind->names.first + (uint32_t)(want - b->names)));
			*(want ? &n_hits : &n_misses) += 1;
		}
		free(s);
	}
	assert_true(n_hits > 5000 && n_misses > 5000);
}

static void only_binds_of_tls_have_names(void **state)
{
	const struct names_bind binds[] = {{0, 80, WEIR_PROTO_HTTP, 1, 0, {{0}}}, {1, 443, WEIR_PROTO_HTTPS, 1, 0, {{0}}}};
	struct weir_snapshot *s = compile(binds, 2, 0);
	struct weir_ip local = {.b[15] = 1}, other = {.b[15] = 2};
	const struct weir_bind *bind;
	enum route_miss miss;

	assert_null(route_find_name(s, &local, 80, SLICE("a"), &bind, &miss));
	assert_int_equal(miss, ROUTE_NO_BIND);
	assert_null(bind);
	assert_null(route_find_name(s, &local, 81, SLICE("a"), &bind, &miss));
	assert_int_equal(miss, ROUTE_NO_BIND);
	assert_null(route_find_name(s, &other, 443, SLICE("a"), &bind, &miss));
	assert_int_equal(miss, ROUTE_NO_BIND);
	assert_null(route_find_name(s, &local, 443, SLICE("a"), &bind, &miss));
	assert_int_equal(miss, ROUTE_NO_HOST); /* none at all */
	assert_ptr_equal(bind, snapshot_bind(s, 1));
	free(s);
}

static void no_name_means_any(void **state)
{
	struct names_bind b = {0, 443, WEIR_PROTO_HTTPS, 1, 2,
			       {{"*.example", false, 0, 1, WEIR_NONE}, {"a", false, 0, 1, WEIR_NONE}}};
	struct weir_ip local = {.b[15] = 1};
	const struct weir_bind *bind;
	enum route_miss miss;
	struct weir_snapshot *s = compile(&b, 1, 5);

	assert_null(route_find_name(s, &local, 443, SLICE(""), &bind, &miss));
	assert_int_equal(miss, ROUTE_NO_HOST);
	free(s);
	b.names[b.n_names++] = (struct names_entry){"", false, 1, 1, WEIR_NONE};
	s = compile(&b, 1, 5);
	assert_ptr_equal(route_find_name(s, &local, 443, SLICE(""), &bind, &miss), snapshot_name(s, 2));
	assert_ptr_equal(route_find_name(s, &local, 443, SLICE("example"), &bind, &miss), snapshot_name(s, 2));
	assert_ptr_equal(route_find_name(s, &local, 443, SLICE("x.y.example"), &bind, &miss), snapshot_name(s, 0));
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found_as_the_text_has_it),
		cmocka_unit_test(only_binds_of_tls_have_names),
		cmocka_unit_test(no_name_means_any),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
