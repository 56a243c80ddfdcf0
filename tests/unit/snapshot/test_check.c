/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker against blobs that are wrong in each way, and against random
 * changes: whatever it takes can be read and matched without a fault.
 * With WEIR_SEEDS=DIR it also writes blobs there, as seeds for fuzzing.
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
#include "random_model.h"
#include "route/route.h"
#include "translate/compile.h"

static struct weir_snapshot *good;
static size_t n_good;

/* One that has everything. */
static void build_good(void)
{
	for (uint64_t seed = 1;; seed++) {
		struct prng r = {seed};
		struct model m;
		void *blob;

		random_model(&m, &r, 25);
		assert_int_equal(compile_snapshot(&m, 5, &blob, &n_good), 0);
		model_fini(&m);
		good = blob;
		if (snapshot_count(good, CONDS) > 3 && snapshot_count(good, SPLITS) > 5 && snapshot_count(good, BINDS) == 3 &&
		    snapshot_count(good, PATHS) > 10)
			return;
		free(blob);
	}
}

static void seal(struct weir_snapshot *s, size_t n)
{
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_snapshot, checksum), 8, 0);
}

static struct weir_snapshot *copy_good(void)
{
	struct weir_snapshot *s = malloc(n_good);

	memcpy(s, good, n_good);
	return s;
}

#define ENTRY(s, section, type, i) ((type *)(uintptr_t)snapshot_at(s, section, type, i))

typedef void change_fn(struct weir_snapshot *s);

static void change_off(struct weir_snapshot *s) { s->sect[WEIR_SECT_RULES].off += 4; }
static void change_overlap(struct weir_snapshot *s) { s->sect[WEIR_SECT_RULES].off = s->sect[WEIR_SECT_PATHS].off; }
static void change_count(struct weir_snapshot *s) { s->sect[WEIR_SECT_SLOTS].count = UINT32_MAX; }
static void change_head(struct weir_snapshot *s) { s->sect[WEIR_SECT_STRINGS].off = 8; }
static void change_unknown(struct weir_snapshot *s) { s->sect[WEIR_MAX_SECTIONS - 1].count = 1; }
static void change_str(struct weir_snapshot *s) { ENTRY(s, LISTENERS, struct weir_listener, 0)->name.len = UINT32_MAX; }
static void change_str_off(struct weir_snapshot *s) { ENTRY(s, ROUTES, struct weir_route, 0)->name.off = UINT32_MAX; }
static void change_range(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 0)->listeners.count = UINT32_MAX; }
static void change_first(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 1)->listeners.first = 0; }
static void change_route(struct weir_snapshot *s) { ENTRY(s, RULES, struct weir_rule, 0)->route = UINT32_MAX; }
static void change_backend(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < snapshot_count(s, SPLITS); i++)
		ENTRY(s, SPLITS, struct weir_split, i)->backend = 1000;
}
static void change_weight(struct weir_snapshot *s) { ENTRY(s, RULES, struct weir_rule, 0)->total_weight ^= 1; }
static void change_action(struct weir_snapshot *s) { ENTRY(s, RULES, struct weir_rule, 0)->action = 9; }
static void change_proto(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 0)->proto = 0; }
static void change_port(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 0)->port = 0; }
static void change_kind(struct weir_snapshot *s) { ENTRY(s, PATHS, struct weir_path, 0)->kind = WEIR_PATH_REGEX; }
static void change_host_kind(struct weir_snapshot *s) { ENTRY(s, VHOSTS, struct weir_vhost, 0)->host_kind = 0; }
static void change_prefix_len(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < snapshot_count(s, LENGTHS); i++)
		*ENTRY(s, LENGTHS, uint32_t, i) += 1;
}
static void change_op(struct weir_snapshot *s) { ENTRY(s, CONDS, struct weir_cond, 0)->op = WEIR_OP_REGEX; }
static void change_id(struct weir_snapshot *s) { ENTRY(s, BACKENDS, struct weir_backend, 0)->id++; }
static void change_bind_order(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 0)->port = 65535; }
static void change_backend_order(struct weir_snapshot *s)
{
	*ENTRY(s, BACKENDS, struct weir_backend, 0) = *ENTRY(s, BACKENDS, struct weir_backend, 1);
}
static void change_slot(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < snapshot_count(s, SLOTS); i++)
		if (ENTRY(s, SLOTS, struct weir_slot, i)->index_plus1)
			ENTRY(s, SLOTS, struct weir_slot, i)->index_plus1 = 4000;
}
static void change_slot_hash(struct weir_snapshot *s) { ENTRY(s, SLOTS, struct weir_slot, 0)->hash++; ENTRY(s, SLOTS, struct weir_slot, 1)->hash++; }
static void change_abi(struct weir_snapshot *s) { s->abi_major++; }
static void change_magic(struct weir_snapshot *s) { s->magic++; }
static void change_size(struct weir_snapshot *s) { s->size--; }

static const struct {
	change_fn *change;
	enum weir_refusal why;
} changes[] = {
	{change_off, WEIR_REFUSED_BAD_SECTION},	      {change_overlap, WEIR_REFUSED_BAD_SECTION},
	{change_count, WEIR_REFUSED_BAD_SECTION},     {change_head, WEIR_REFUSED_BAD_SECTION},
	{change_unknown, WEIR_REFUSED_BAD_SECTION},   {change_str, WEIR_REFUSED_BAD_STRING},
	{change_str_off, WEIR_REFUSED_BAD_STRING},    {change_range, WEIR_REFUSED_BAD_RANGE},
	{change_first, WEIR_REFUSED_BAD_RANGE},	      {change_route, WEIR_REFUSED_BAD_RANGE},
	{change_backend, WEIR_REFUSED_BAD_RANGE},     {change_weight, WEIR_REFUSED_BAD_VALUE},
	{change_action, WEIR_REFUSED_BAD_VALUE},      {change_proto, WEIR_REFUSED_BAD_VALUE},
	{change_port, WEIR_REFUSED_BAD_VALUE},	      {change_kind, WEIR_REFUSED_BAD_VALUE},
	{change_host_kind, WEIR_REFUSED_BAD_VALUE},   {change_prefix_len, WEIR_REFUSED_BAD_VALUE},
	{change_op, WEIR_REFUSED_BAD_VALUE},	      {change_id, WEIR_REFUSED_BAD_VALUE},
	{change_bind_order, WEIR_REFUSED_BAD_ORDER},  {change_backend_order, WEIR_REFUSED_BAD_ORDER},
	{change_slot, WEIR_REFUSED_BAD_SLOTS},	      {change_slot_hash, WEIR_REFUSED_BAD_SLOTS},
	{change_abi, WEIR_REFUSED_BAD_ABI},	      {change_magic, WEIR_REFUSED_BAD_MAGIC},
	{change_size, WEIR_REFUSED_TRUNCATED},
};

static void each_kind_of_fault_is_refused_by_its_name(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct weir_snapshot *s = copy_good();
		struct snapshot_error err;
		enum weir_refusal why;

		changes[i].change(s);
		seal(s, n_good);
		why = snapshot_check(s, n_good, &err);
		if (why != changes[i].why)
			fail_msg("change %zu: refusal %d (%s), wanted %d", i, (int)why, err.text, (int)changes[i].why);
		assert_true(strlen(err.text) > 3);
		free(s);
	}
}

static void truncated_blobs_are_refused(void **state)
{
	for (size_t n = 0; n < n_good; n++) {
		void *s = malloc(n ? n : 1); /* exactly so many bytes: one too far is seen */

		memcpy(s, good, n);
		assert_int_not_equal(snapshot_check(s, n, NULL), WEIR_REFUSED_OK);
		free(s);
	}
}

static void every_flipped_bit_fails_the_checksum(void **state)
{
	struct weir_snapshot *s = copy_good();

	for (size_t i = 0; i < n_good * 8; i += 7) {
		((uint8_t *)s)[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_not_equal(snapshot_check(s, n_good, NULL), WEIR_REFUSED_OK);
		((uint8_t *)s)[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	assert_int_equal(snapshot_check(s, n_good, NULL), WEIR_REFUSED_OK);
	free(s);
}

static struct slice header(const void *ctx, struct slice name)
{
	return slice_str("v");
}

static void use(const struct weir_snapshot *s)
{
	static const char *const hosts[] = {"a.example", "y.x.a.example", "", "q"};
	char *text = NULL;

	for (unsigned i = 0; i < 16; i++) {
		struct route_request rq = {.port = i & 8 ? 81 : 80, .method = slice_str("GET"), .host = slice_str(hosts[i % 4]),
					   .path = slice_str(i & 4 ? "/a/b/c" : "/"), .query = slice_str("k=v&j=w"), .header = header};
		struct route_result r = route_match(s, &rq);

		if (r.miss == ROUTE_HIT)
			route_pick_split(s, snapshot_rule(s, r.rule), i << 28);
	}
	assert_int_equal(compile_dump(s, &text), 0);
	free(text);
}

static void whatever_is_taken_can_be_read(void **state)
{
	struct prng r = {42};
	unsigned n_taken = 0;

	for (int i = 0; i < 200000; i++) {
		struct weir_snapshot *s = copy_good();

		for (uint32_t k = 1 + pick(&r, 3); k > 0; k--) {
			size_t at = 32 + pick(&r, (uint32_t)n_good - 32);

			if (pick(&r, 2))
				((uint8_t *)s)[at] ^= (uint8_t)(1 << pick(&r, 8));
			else
				((uint8_t *)s)[at] = (uint8_t)pick(&r, 256);
		}
		seal(s, n_good);
		if (snapshot_check(s, n_good, NULL) == WEIR_REFUSED_OK) {
			n_taken++;
			if (n_taken % 16 == 0)
				use(s);
		}
		free(s);
	}
	assert_true(n_taken > 100);
}

/* Thousands of paths that share one long string: refused for its length, not read thousands of times. */
static void shared_long_strings_cost_no_square(void **state)
{
	struct prng r = {9};
	char path[5001];
	struct model m;
	void *blob;
	size_t n;
	struct snapshot_error err;

	memset(path, 'a', 5000);
	path[0] = '/';
	path[5000] = 0;
	random_model(&m, &r, 0);
	for (uint32_t i = 0; i < 3000; i++) {
		struct model_match *x = model_add_match(&m);

		*x = (struct model_match){.host = model_printf(&m, "h%u.example", i), .path_kind = WEIR_PATH_PREFIX,
					  .path = path, .method = "", .action = WEIR_ACTION_STATUS,
					  .status = 503, .kind = "K", .ns = "n", .name = "x"};
	}
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, &err), WEIR_REFUSED_BAD_STRING);
	assert_non_null(strstr(err.text, "too long"));
	free(blob);
	model_fini(&m);
}

static void wrong_endpoint_sets_are_refused_by_name(void **state)
{
	struct weir_endpoint ep[3] = {{.port = 1, .weight = 1, .flags = 1}, {.port = 2, .weight = 1, .flags = 3},
				      {.port = 3, .weight = 2, .flags = 7}};
	struct model_backend b = {.name = "n/s:80", .n_endpoints = 3, .endpoints = ep};
	struct weir_endpoint_set *s;
	void *blob;
	size_t n;

	for (int i = 0; i < 3; i++)
		ep[i].addr.b[15] = 9;
	assert_int_equal(compile_endpoints(&b, 1, &blob, &n), 0);
	s = blob;
	assert_int_equal(endpoint_set_check(s, n, NULL), WEIR_REFUSED_OK);
	for (size_t k = 0; k < n; k++)
		assert_int_not_equal(endpoint_set_check(s, k, NULL), WEIR_REFUSED_OK);
#define EXPECT(statement, undo, why) \
	do { \
		statement; \
		s->checksum = hash64_zeroed(s, n, offsetof(struct weir_endpoint_set, checksum), 8, 0); \
		assert_int_equal(endpoint_set_check(s, n, NULL), why); \
		undo; \
	} while (0)
	EXPECT(s->ep[1].port = 0, s->ep[1].port = 2, WEIR_REFUSED_BAD_VALUE);
	EXPECT(s->ep[1].weight = 0, s->ep[1].weight = 1, WEIR_REFUSED_BAD_VALUE);
	EXPECT(s->ep[1].flags = 8, s->ep[1].flags = 1, WEIR_REFUSED_BAD_VALUE);
	EXPECT(s->ep[1].port = 1, s->ep[1].port = 2, WEIR_REFUSED_BAD_ORDER);
	EXPECT(s->n_endpoints = 2, s->n_endpoints = 3, WEIR_REFUSED_TRUNCATED);
	EXPECT(s->n_endpoints = UINT32_MAX, s->n_endpoints = 3, WEIR_REFUSED_TOO_BIG);
	EXPECT(s->backend_id = 0, s->backend_id = 1, WEIR_REFUSED_BAD_VALUE);
	s->ep[2].port = 7;
	assert_int_equal(endpoint_set_check(s, n, NULL), WEIR_REFUSED_BAD_CHECKSUM);
	free(blob);
}

static void write_seeds(const char *dir)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct prng r = {seed * 11};
		struct model m;
		char path[256];
		void *blob;
		size_t n;
		FILE *f;

		random_model(&m, &r, (uint32_t)seed * 2);
		if (compile_snapshot(&m, 1, &blob, &n) != 0)
			abort();
		snprintf(path, sizeof(path), "%s/snapshot-%u", dir, (unsigned)seed);
		f = fopen(path, "wb");
		if (!f)
			abort();
		fputc(1, f);
		fwrite(blob, 1, n, f);
		fclose(f);
		free(blob);
		model_fini(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_fault_is_refused_by_its_name),
		cmocka_unit_test(truncated_blobs_are_refused),
		cmocka_unit_test(every_flipped_bit_fails_the_checksum),
		cmocka_unit_test(whatever_is_taken_can_be_read),
		cmocka_unit_test(shared_long_strings_cost_no_square),
		cmocka_unit_test(wrong_endpoint_sets_are_refused_by_name),
	};
	int rc;

	if (getenv("WEIR_SEEDS"))
		write_seeds(getenv("WEIR_SEEDS"));
	build_good();
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	free(good);
	return rc;
}
