/* SPDX-License-Identifier: Apache-2.0 */
/* Arbitrary bytes as a manifest: read under two names, translated, changed, forgotten. */
#undef NDEBUG /* in a release, too: these are the checks */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/snapshot.h"
#include "status/status.h"
#include "translate/compile.h"
#include "translate/translate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Whatever the manifests say, what is made of them is taken by the dataplane's own checker. */
static void check_compiled(struct model *m)
{
	struct snapshot_error err;
	void *blob;
	size_t n;

	if (compile_snapshot(m, 1, &blob, &n) != 0 || snapshot_check(blob, n, &err) != WEIR_REFUSED_OK)
		abort();
	free(blob);
	for (size_t i = 0; i < m->n_backends; i++) {
		if (compile_endpoints(&m->backends[i], 1, &blob, &n) != 0 || endpoint_set_check(blob, n, &err) != WEIR_REFUSED_OK)
			abort();
		free(blob);
	}
}

static void count_status(void *ctx, const struct status_document *d)
{
	*(size_t *)ctx += d->differs;
	assert(d->json[0] == '{' && d->name[0]);
}

/* What is known of the names that the corpus has; of all others nothing. */
static const struct known_names *some_names(void)
{
	static struct known_names *names;
	struct known_name k = {.state = NAME_KEPT, .why = "why", .n = 2, .addrs = {{{[10] = 0xff, 0xff, 10, 0, 0, 1}}, {{0xfe, 0x80}}}};

	if (!names) {
		names = known_names_create();
		known_names_set(names, "good.example.net", &k);
		k = (struct known_name){.state = NAME_NOT_FOUND};
		known_names_set(names, "absent.example.net", &k);
	}
	return names;
}

static void check_with(const struct store *s, const struct address_pool *pool)
{
	const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER, .pool = pool, .node = "here",
						  .takes_external_names = pool != NULL, .names = pool ? some_names() : NULL};
	size_t n_differ = 0;
	size_t n_changes = 0;
	struct model m;

	model_init(&m);
	translate(s, &options, &m);
	for (size_t i = 0; i < m.n_matches; i++) {
		const struct model_match *x = &m.matches[i];

		assert(x->listener < m.n_listeners);
		assert(x->path[0] == '/');
		assert(x->action != WEIR_ACTION_FORWARD || x->n_splits > 0);
		for (size_t j = 0; j < x->n_splits; j++)
			assert(x->splits[j].backend >= -1 && x->splits[j].backend < (int32_t)m.n_backends);
	}
	for (size_t i = 0; pool && i < m.n_listeners; i++)
		assert(strcmp(m.listeners[i].name, "Ingress") == 0 || address_pool_has(pool, &m.listeners[i].addr));
	for (size_t i = 0; i < m.n_problems; i++)
		assert(m.problems[i].line > 0 && m.problems[i].reason && m.problems[i].text[0]);
	check_compiled(&m);
	status_make(s, &m, &(struct status_options){.controller_name = TRANSLATE_CONTROLLER, .wants_all = true}, count_status, &n_differ);
	status_make(s, &m, &(struct status_options){.controller_name = TRANSLATE_CONTROLLER}, count_status, &n_changes);
	assert(n_differ == n_changes);
	model_fini(&m);
}

static void check(const struct store *s)
{
	static const struct weir_ip addr = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}};
	struct address_range range = {addr, addr};
	const struct address_pool small = {.ranges = &range, .n = 1};

	check_with(s, NULL);
	check_with(s, &small);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct store *s = store_create();
	size_t n_problems;

	store_load_yaml(s, "a.yaml", (const char *)data, n);
	check(s);
	store_load_yaml(s, "b.yaml", (const char *)data, n);
	if (store_load_yaml(s, "b.yaml", (const char *)data, n) != 0) /* the same again is no change */
		abort();
	store_load_yaml(s, "a.yaml", (const char *)data, n / 2);
	store_problems(s, &n_problems);
	check(s);
	store_forget_file(s, "a.yaml");
	check(s);
	store_destroy(s);
	return 0;
}
