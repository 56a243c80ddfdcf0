/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes that weir-ctrl keeps on disk: what was made is taken, whatever is changed in it is refused by name. With
 * WEIR_SEEDS=DIR it also writes inputs of fuzz_saved there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "objects.h"
#include "paths/blob.h"
#include "pems.h"
#include "route/route.h"
#include "saved.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"
#include "translate/translate.h"

#define SOURCE 77u

struct made {
	struct weir_snapshot *snapshot;
	struct weir_endpoint_set *sets[4];
	size_t n_sets;
	struct weir_paths *paths; /* NULL: none */
	size_t paths_bytes;
	struct saved_head *head; /* and what follows it */
	size_t n;
};

static const struct weir_endpoint_set *find(const void *ctx, uint64_t id)
{
	const struct made *m = ctx;

	for (size_t i = 0; i < m->n_sets; i++)
		if (m->sets[i]->backend_id == id)
			return m->sets[i];
	return NULL;
}

static void make_paths(struct made *m)
{
	const struct weir_pod_path path = {
	    .prefix = {{[10] = 0xff, 0xff, 10, 244, 1, 0}}, .via = {{[10] = 0xff, 0xff, 192, 0, 2, 1}}, .prefix_len = 24, .kind = WEIR_PATH_ROUTE};
	const struct weir_vtep none[2] = {0};

	m->paths = paths_blob_make(&path, 1, none, &m->paths_bytes);
	assert_non_null(m->paths);
}

/* n_sets: so many of the two sets are known; of two the ways are, too. */
static struct made make_of(const char *text, size_t n_sets)
{
	const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};
	struct store *store = store_create();
	struct made m = {0};
	struct model model;
	size_t n;

	store_load_yaml(store, "a.yaml", text, strlen(text));
	model_init(&model);
	translate(store, &options, &model);
	assert_int_equal(model.n_backends, 2);
	assert_int_equal(compile_snapshot(&model, 5, (void **)&m.snapshot, &n), 0);
	for (m.n_sets = 0; m.n_sets < n_sets; m.n_sets++)
		assert_int_equal(compile_endpoints(&model.backends[m.n_sets], 9 + m.n_sets, (void **)&m.sets[m.n_sets], &n), 0);
	model_fini(&model);
	store_destroy(store);
	if (n_sets == 2)
		make_paths(&m);
	assert_int_equal(saved_make(&(struct saved_parts){.snapshot = m.snapshot, .find = find, .ctx = &m, .paths = m.paths, .paths_bytes = m.paths_bytes},
				    SOURCE, (void **)&m.head, &m.n), 0);
	saved_seal(m.head, m.n);
	return m;
}

static struct made make(size_t n_sets)
{
	return make_of(OBJECTS("shop.example.com"), n_sets);
}

static void made_fini(struct made *m)
{
	for (size_t i = 0; i < m->n_sets; i++)
		free(m->sets[i]);
	free(m->paths);
	free(m->snapshot);
	free(m->head);
}

static enum saved_refusal check(const struct made *m)
{
	struct saved s;

	return saved_check(m->head, m->n, SOURCE, false, &s);
}

/* The same once the outermost checksum is right. */
static enum saved_refusal check_sealed(struct made *m)
{
	saved_seal(m->head, m->n);
	return check(m);
}

static struct weir_snapshot *snapshot_of(const struct made *m)
{
	return (struct weir_snapshot *)(void *)(m->head + 1);
}

static struct weir_endpoint_set *set_of(const struct made *m, unsigned i)
{
	struct saved s;
	const struct weir_endpoint_set *e;

	assert_int_equal(saved_check(m->head, m->n, SOURCE, false, &s), SAVED_OK);
	e = saved_next(&s, NULL);
	while (i-- > 0)
		e = saved_next(&s, e);
	return (struct weir_endpoint_set *)(uintptr_t)e;
}

static void seal_set(struct weir_endpoint_set *e)
{
	e->checksum = hash64_zeroed(e, e->size, offsetof(struct weir_endpoint_set, checksum), 8, 0);
}

static void what_was_made_is_taken(void **state)
{
	struct saved s;

	for (size_t n_sets = 0; n_sets <= 2; n_sets++) {
		struct made m = make(n_sets);
		const struct weir_endpoint_set *e = NULL;

		assert_int_equal(saved_check(m.head, m.n, SOURCE, false, &s), SAVED_OK);
		assert_int_equal(s.n_sets, n_sets);
		assert_memory_equal(s.snapshot, m.snapshot, m.snapshot->size);
		for (uint32_t i = 0; i < s.n_sets; i++) {
			e = saved_next(&s, e);
			assert_memory_equal(e, find(&m, e->backend_id), e->size);
		}
		made_fini(&m);
	}
}

static void over_tls_nobody_is_trusted(void **state)
{
	struct made m = make_of(OBJECTS("shop.example.com") POLICY("web") CAS, 2);
	struct saved s;

	assert_int_equal(snapshot_count(m.snapshot, CERTS), 1);
	assert_int_equal(saved_check(m.head, m.n, SOURCE, false, &s), SAVED_OK);
	assert_int_equal(snapshot_count(s.snapshot, CERTS), 0);
	assert_int_equal(snapshot_count(s.snapshot, BACKEND_TLS), 1);
	assert_int_equal(snapshot_backend_tls(s.snapshot, 0)->certs.count, 0);
	made_fini(&m);
	(void)state;
}

/* TLS of all names is passed through but for one, whose key is not kept. */
#define STREAMS \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weir}\n" \
	"spec: {controllerName: weir.dev/ingress-controller}\n---\n" \
	"apiVersion: v1\nkind: Secret\nmetadata: {name: own, namespace: demo}\ntype: kubernetes.io/tls\n" \
	"data: {tls.crt: " PEM_CRT ", tls.key: " PEM_KEY "}\n---\n" \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: demo}\nspec:\n" \
	"  gatewayClassName: weir\n  listeners:\n" \
	"  - {name: all, port: 443, protocol: TLS, hostname: '*.example.com', tls: {mode: Passthrough}}\n" \
	"  - {name: own, port: 443, protocol: HTTPS, hostname: own.example.com, tls: {certificateRefs: [{name: own}]}}\n" \
	"  - {name: tcp, port: 9000, protocol: TCP}\n---\n" ROUTE_OF("TLSRoute", "all") ROUTE_OF("TCPRoute", "tcp")
#define ROUTE_OF(kind, listener) \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: " kind "\nmetadata: {name: " listener ", namespace: demo}\n" \
	"spec: {parentRefs: [{name: edge, sectionName: " listener "}], rules: [{backendRefs: [{name: web, port: 80}]}]}\n---\n"

static enum route_miss miss_of(const struct weir_snapshot *s, enum route_stream how, const char *name)
{
	static const struct weir_ip any;

	return route_find_stream(s, &any, how == ROUTE_STREAM_TCP ? 9000 : 443, how, slice_str(name)).miss;
}

static void streams_are_kept_and_a_name_without_its_key_is_nobody_elses(void **state)
{
	struct made m = make_of(OBJECTS("shop.example.com") STREAMS, 2);
	static const struct weir_ip any;
	const struct weir_server_name *name;
	const struct weir_bind *bind;
	enum route_miss miss;
	struct saved s;

	assert_int_equal(snapshot_count(m.snapshot, CERTS), 1);
	assert_int_equal(saved_check(m.head, m.n, SOURCE, false, &s), SAVED_OK);
	assert_int_equal(snapshot_count(s.snapshot, CERTS), 0);
	assert_int_equal(miss_of(s.snapshot, ROUTE_STREAM_TCP, ""), ROUTE_HIT);
	assert_int_equal(miss_of(s.snapshot, ROUTE_STREAM_PASSED, "a.example.com"), ROUTE_HIT);
	assert_int_equal(miss_of(s.snapshot, ROUTE_STREAM_PASSED, "own.example.com"), ROUTE_NO_LISTENER);
	name = route_find_name(s.snapshot, &any, 443, SLICE("own.example.com"), &bind, &miss);
	assert_non_null(name);
	assert_int_equal(name->mode, WEIR_TLS_TERMINATE);
	assert_int_equal(name->certs.count, 0);
	made_fini(&m);
	(void)state;
}

static void every_length_but_its_own_is_refused(void **state)
{
	struct made m = make(2);
	struct saved s;

	for (size_t n = 0; n < m.n; n++) {
		char *part = malloc(n ? n : 1); /* of exact size: a sanitizer sees one byte too far */

		memcpy(part, m.head, n);
		assert_int_equal(saved_check(part, n, SOURCE, false, &s), SAVED_TRUNCATED);
		if (n >= sizeof(struct saved_head)) { /* even if head and checksum are made for it */
			((struct saved_head *)(void *)part)->size = n;
			saved_seal(part, n);
			assert_int_not_equal(saved_check(part, n, SOURCE, false, &s), SAVED_OK);
		}
		free(part);
	}
	made_fini(&m);
}

static void every_byte_that_is_changed_is_noticed(void **state)
{
	struct made m = make(2);

	for (size_t i = 0; i < m.n; i++) {
		((unsigned char *)m.head)[i] ^= 1u << i % 8;
		assert_int_not_equal(check(&m), SAVED_OK);
		((unsigned char *)m.head)[i] ^= 1u << i % 8;
	}
	assert_int_equal(check(&m), SAVED_OK);
	made_fini(&m);
}

static void reasons_have_names(void **state)
{
	struct made m = make(2);
	struct saved s;

	m.head->version++;
	assert_int_equal(check_sealed(&m), SAVED_OTHER_VERSION);
	m.head->version--;
	m.head->reserved1 = 1;
	assert_int_equal(check_sealed(&m), SAVED_OTHER_VERSION);
	m.head->reserved1 = 0;
	m.head->abi_major++;
	assert_int_equal(check_sealed(&m), SAVED_ABI);
	m.head->abi_major--;
	m.head->abi_minor++;
	assert_int_equal(check_sealed(&m), SAVED_ABI);
	m.head->abi_minor--;
	assert_int_equal(check_sealed(&m), SAVED_OK);
	assert_int_equal(saved_check(m.head, m.n, SOURCE + 1, false, &s), SAVED_SOURCE);
	assert_int_equal(saved_check(m.head, m.n, SOURCE + 1, true, &s), SAVED_OK);
	assert_string_equal(saved_refusal_name(SAVED_SOURCE), "other-source");
	made_fini(&m);
}

static void snapshot_is_checked(void **state)
{
	struct made m = make(2);
	struct weir_snapshot *s = snapshot_of(&m);

	s->sect[WEIR_SECT_RULES].count++;
	assert_int_equal(check_sealed(&m), SAVED_SNAPSHOT);
	s->sect[WEIR_SECT_RULES].count--;
	s->size = UINT32_MAX;
	assert_int_equal(check_sealed(&m), SAVED_SNAPSHOT);
	s->size = 8;
	assert_int_equal(check_sealed(&m), SAVED_SNAPSHOT);
	made_fini(&m);
}

static void sets_are_checked(void **state)
{
	struct made m = make(2);
	struct weir_endpoint_set *first = set_of(&m, 0), *second = set_of(&m, 1);
	uint64_t id = first->backend_id;

	first->version = 0; /* as a message it would be a snapshot's */
	seal_set(first);
	assert_int_equal(check_sealed(&m), SAVED_SET);
	first->version = 9;
	first->backend_id++; /* no backend of the routes */
	seal_set(first);
	assert_int_equal(check_sealed(&m), SAVED_SET);
	first->backend_id = second->backend_id; /* twice */
	seal_set(first);
	assert_int_equal(check_sealed(&m), SAVED_SET);
	first->backend_id = id;
	seal_set(first);
	assert_int_equal(check_sealed(&m), SAVED_OK);
	first->ep[0].port++;
	assert_int_equal(check_sealed(&m), SAVED_SET);
	first->ep[0].port--;
	m.head->n_sets++;
	assert_int_equal(check_sealed(&m), SAVED_SET);
	m.head->n_sets -= 2;
	assert_int_equal(check_sealed(&m), SAVED_TRUNCATED);
	made_fini(&m);
}

static void ways_are_checked(void **state)
{
	struct made m = make(2);
	struct weir_paths *paths;
	struct saved s;

	assert_int_equal(saved_check(m.head, m.n, SOURCE, false, &s), SAVED_OK);
	assert_int_equal(s.paths_bytes, m.paths_bytes);
	assert_memory_equal(s.paths, m.paths, m.paths_bytes);
	paths = (struct weir_paths *)(uintptr_t)s.paths;
	paths->n_paths++;
	assert_int_equal(check_sealed(&m), SAVED_PATHS);
	paths->n_paths--;
	m.head->paths_bytes -= 8;
	assert_int_equal(check_sealed(&m), SAVED_TRUNCATED);
	m.head->paths_bytes = UINT64_MAX - 4;
	assert_int_equal(check_sealed(&m), SAVED_TRUNCATED);
	m.head->paths_bytes = m.paths_bytes;
	assert_int_equal(check_sealed(&m), SAVED_OK);
	made_fini(&m);
	m = make(1);
	assert_int_equal(saved_check(m.head, m.n, SOURCE, false, &s), SAVED_OK);
	assert_null(s.paths);
	made_fini(&m);
}

static void write_seed(const char *dir, const char *name, uint8_t mend, const void *bytes, size_t n)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (!f)
		abort();
	fputc(mend, f);
	fwrite(bytes, 1, n, f);
	fclose(f);
}

static void write_seeds(const char *dir)
{
	struct made m = make(2);
	struct made none = make(0);

	write_seed(dir, "whole", 0, m.head, m.n);
	write_seed(dir, "ways", 3, m.head, m.n);
	write_seed(dir, "resealed", 3, m.head, m.n);
	write_seed(dir, "cut", 3, m.head, m.n - 40);
	write_seed(dir, "no-sets", 3, none.head, none.n);
	made_fini(&m);
	made_fini(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_made_is_taken),
	    cmocka_unit_test(over_tls_nobody_is_trusted),
	    cmocka_unit_test(streams_are_kept_and_a_name_without_its_key_is_nobody_elses),
	    cmocka_unit_test(ways_are_checked),
	    cmocka_unit_test(every_length_but_its_own_is_refused),
	    cmocka_unit_test(every_byte_that_is_changed_is_noticed),
	    cmocka_unit_test(reasons_have_names),
	    cmocka_unit_test(snapshot_is_checked),
	    cmocka_unit_test(sets_are_checked),
	};

	if (getenv("WEIR_SEEDS"))
		write_seeds(getenv("WEIR_SEEDS"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
