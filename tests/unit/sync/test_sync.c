/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What weir-ctrl does with a snapshot that is too big though it was reckoned
 * to fit. Since that does not happen, the compiler here calls more than so
 * many matches too big.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snapshot.h"
#include "sync.h"
#include "translate/compile.h"

#define MATCHES_MAX 20u

int __real_compile_snapshot(struct model *m, uint64_t generation, void **blob, size_t *n);
int __wrap_compile_snapshot(struct model *m, uint64_t generation, void **blob, size_t *n);

int __wrap_compile_snapshot(struct model *m, uint64_t generation, void **blob, size_t *n)
{
	return m->n_matches > MATCHES_MAX ? -E2BIG : __real_compile_snapshot(m, generation, blob, n);
}

static void load(struct sync *s, const char *ns, unsigned n)
{
	char text[16384];
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i%02u, namespace: %s}\nspec:\n  rules:\n"
					"  - host: i%02u.%s.test\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, "
					"port: {number: 80}}}}]}\n---\n",
					i, ns, i, ns);
	sync_run(s, store_load_yaml(s->store, ns, text, len));
}

static size_t served(const struct sync *s, const char *ns)
{
	size_t n = 0;

	for (size_t i = 0; i < s->model->n_matches; i++)
		n += strcmp(s->model->matches[i].ns, ns) == 0;
	return n;
}

static void largest_namespace_gives_way_when_a_snapshot_is_too_big(void **state)
{
	struct store *store = store_create();
	struct publish *publish = publish_create("/nonexistent/dataplane.sock");
	struct translator_budget b;
	struct sync s;

	sync_init(&s, store, publish);
	load(&s, "modest", 3);
	assert_int_equal(s.generation, 1);
	load(&s, "greedy", 40);
	assert_int_equal(s.generation, 2); /* published, not frozen */
	assert_true(s.n_guarded > 0);
	assert_int_equal(served(&s, "modest"), 3);
	assert_in_range(served(&s, "greedy"), 1, MATCHES_MAX - 3);
	translator_budget(s.translator, &b);
	assert_int_equal(b.n_over_total, 40 - served(&s, "greedy"));
	load(&s, "modest", 4); /* others go on changing */
	assert_int_equal(s.generation, 3);
	assert_int_equal(served(&s, "modest"), 4);
	load(&s, "greedy", 5); /* and when it is small again, it has all that it wants */
	assert_int_equal(served(&s, "greedy"), 5);
	assert_false(sync_has_other_room(&s) && s.guard_bytes);
	load(&s, "greedy", 15);
	assert_int_equal(served(&s, "greedy"), 15);
	sync_fini(&s);
	publish_destroy(publish);
	store_destroy(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(largest_namespace_gives_way_when_a_snapshot_is_too_big),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
