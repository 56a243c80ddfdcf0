/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker against server names that are wrong in each way. With
 * WEIR_SEEDS=DIR it also writes a blob there, as a seed for fuzzing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names_model.h"
#include "random_model.h"

static const struct names_bind binds[] = {
	{0, 80, WEIR_PROTO_HTTP, 1, 0, {{0}}},
	{0, 443, WEIR_PROTO_HTTPS, 2, 4,
	 {{"a.example", false, WEIR_TLS_INTERMEDIATE, 1, 0},
	  {"*.example", false, WEIR_TLS_STRICT, 4, 1},
	  {"*.example", true, WEIR_TLS_INTERMEDIATE, 2, WEIR_NONE},
	  {"", false, WEIR_TLS_STRICT, 1, WEIR_NONE}}},
	{1, 443, WEIR_PROTO_HTTPS, 1, 1, {{"b", false, 0, 1, 0}}},
	{0, 444, WEIR_PROTO_HTTPS, 1, 0, {{0}}},
};

#define ENTRY(s, section, type, i) ((type *)(uintptr_t)snapshot_at(s, section, type, i))
#define BIND(s, i) ENTRY(s, BINDS, struct weir_bind, i)
#define NAME(s, i) ENTRY(s, NAMES, struct weir_server_name, i)
#define CERT(s, i) ENTRY(s, CERTS, struct weir_cert_id, i)
#define BYTE(s, i) (((char *)(s))[(s)->sect[WEIR_SECT_STRINGS].off + NAME(s, i)->host.off])

typedef void change_fn(struct weir_snapshot *s);

static void change_proto(struct weir_snapshot *s) { BIND(s, 1)->proto = WEIR_PROTO_HTTP; }
static void change_slots_alone(struct weir_snapshot *s)
{
	BIND(s, 2)->proto = WEIR_PROTO_HTTP;
	BIND(s, 2)->names.count = 0;
	BIND(s, 3)->names.first--;
	s->sect[WEIR_SECT_NAMES].count--;
}
static void change_names_first(struct weir_snapshot *s) { BIND(s, 1)->names.first = 1; }
static void change_names_count(struct weir_snapshot *s) { BIND(s, 2)->names.count = UINT32_MAX; }
static void change_names_twice(struct weir_snapshot *s) { BIND(s, 2)->names.first = 0; }
static void change_names_empty(struct weir_snapshot *s) { BIND(s, 0)->names.first = 1; }
static void change_names_unreached(struct weir_snapshot *s) { BIND(s, 2)->names.count = 0; }
static void change_slots_first(struct weir_snapshot *s) { BIND(s, 1)->name_slots.first++; }
static void change_slots_order(struct weir_snapshot *s) { BIND(s, 1)->name_slots = BIND(s, 1)->slots; }
static void change_slots_count(struct weir_snapshot *s) { BIND(s, 1)->name_slots.count = UINT32_MAX; }
static void change_section(struct weir_snapshot *s) { s->sect[WEIR_SECT_NAMES].count = UINT32_MAX; }
static void change_certs_section(struct weir_snapshot *s) { s->sect[WEIR_SECT_CERTS].count += 2; }
static void change_certs_first(struct weir_snapshot *s) { NAME(s, 1)->certs.first++; }
static void change_certs_bounds(struct weir_snapshot *s) { NAME(s, 4)->certs.count = 2; }
static void change_certs_huge(struct weir_snapshot *s) { NAME(s, 4)->certs.count = UINT32_MAX; }
static void change_certs_unreached(struct weir_snapshot *s)
{
	NAME(s, 3)->certs.first--;
	NAME(s, 2)->certs.count = 1;
	NAME(s, 4)->certs.first--;
}
static void change_certs_many(struct weir_snapshot *s) { NAME(s, 1)->certs.count++; }
static void change_id_low(struct weir_snapshot *s) { CERT(s, 3)->v[0] = 0; }
static void change_id_high(struct weir_snapshot *s) { CERT(s, 8)->v[1] = 0; }
static void change_kind_none(struct weir_snapshot *s) { NAME(s, 0)->host_kind = 0; }
static void change_kind_unknown(struct weir_snapshot *s) { NAME(s, 0)->host_kind = WEIR_HOST_ANY + 1; }
static void change_kind_any(struct weir_snapshot *s) { NAME(s, 0)->host_kind = WEIR_HOST_ANY; }
static void change_host_empty(struct weir_snapshot *s) { NAME(s, 0)->host.len = 0; }
static void change_host_bounds(struct weir_snapshot *s) { NAME(s, 0)->host.off = UINT32_MAX; }
static void change_host_long(struct weir_snapshot *s) { NAME(s, 0)->host.len = UINT32_MAX; }
static void change_host_case(struct weir_snapshot *s) { BYTE(s, 0) = 'A'; }
static void change_host_star(struct weir_snapshot *s) { BYTE(s, 1) = '*'; }
static void change_host_address(struct weir_snapshot *s) { BYTE(s, 0) = ':'; }
static void change_host_bracket(struct weir_snapshot *s) { BYTE(s, 0) = '['; }
static void change_host_label(struct weir_snapshot *s) { BYTE(s, 0) = '.'; }
/* A name that another entry has: found by its key, but not there. */
static void change_not_unique(struct weir_snapshot *s) { NAME(s, 2)->host_kind = WEIR_HOST_WILDCARD; }
static void change_key(struct weir_snapshot *s) { BYTE(s, 0) = 'b'; }
static void change_slot(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < BIND(s, 1)->name_slots.count; i++)
		ENTRY(s, SLOTS, struct weir_slot, BIND(s, 1)->name_slots.first + i)->index_plus1 = 0;
}
static void change_profile(struct weir_snapshot *s) { NAME(s, 0)->profile = WEIR_TLS_STRICT + 1; }
static void change_listener(struct weir_snapshot *s) { NAME(s, 1)->listener = 2; }
static void change_listener_max(struct weir_snapshot *s) { NAME(s, 4)->listener = UINT32_MAX - 1; }
static void change_reserved0(struct weir_snapshot *s) { NAME(s, 0)->reserved0[0] = 1; }
static void change_reserved0_last(struct weir_snapshot *s) { NAME(s, 3)->reserved0[4] = 1; }
static void change_client_auth(struct weir_snapshot *s) { NAME(s, 3)->client_auth = 0; }
static void change_mode(struct weir_snapshot *s) { NAME(s, 0)->mode = WEIR_TLS_PASSTHROUGH + 1; }
static void change_passthrough(struct weir_snapshot *s) { NAME(s, 0)->mode = WEIR_TLS_PASSTHROUGH; }

static const struct {
	change_fn *change;
	enum weir_refusal why;
} changes[] = {
	{change_proto, WEIR_REFUSED_BAD_VALUE},		{change_slots_alone, WEIR_REFUSED_BAD_VALUE},
	{change_names_first, WEIR_REFUSED_BAD_RANGE},	{change_names_count, WEIR_REFUSED_BAD_RANGE},
	{change_names_twice, WEIR_REFUSED_BAD_RANGE},	{change_names_empty, WEIR_REFUSED_BAD_RANGE},
	{change_names_unreached, WEIR_REFUSED_BAD_RANGE}, {change_slots_first, WEIR_REFUSED_BAD_RANGE},
	{change_slots_order, WEIR_REFUSED_BAD_RANGE},	{change_slots_count, WEIR_REFUSED_BAD_RANGE},
	{change_section, WEIR_REFUSED_BAD_SECTION},	{change_certs_section, WEIR_REFUSED_BAD_SECTION},
	{change_certs_first, WEIR_REFUSED_BAD_RANGE},	{change_certs_bounds, WEIR_REFUSED_BAD_RANGE},
	{change_certs_huge, WEIR_REFUSED_BAD_RANGE},	{change_certs_unreached, WEIR_REFUSED_BAD_RANGE},
	{change_mode, WEIR_REFUSED_BAD_VALUE},		{change_certs_many, WEIR_REFUSED_BAD_VALUE},
	{change_id_low, WEIR_REFUSED_BAD_VALUE},	{change_id_high, WEIR_REFUSED_BAD_VALUE},
	{change_kind_none, WEIR_REFUSED_BAD_VALUE},	{change_kind_unknown, WEIR_REFUSED_BAD_VALUE},
	{change_kind_any, WEIR_REFUSED_BAD_STRING},	{change_host_empty, WEIR_REFUSED_BAD_STRING},
	{change_host_bounds, WEIR_REFUSED_BAD_STRING},	{change_host_long, WEIR_REFUSED_BAD_STRING},
	{change_host_case, WEIR_REFUSED_BAD_STRING},	{change_host_star, WEIR_REFUSED_BAD_STRING},
	{change_host_address, WEIR_REFUSED_BAD_STRING},	{change_host_bracket, WEIR_REFUSED_BAD_STRING},
	{change_host_label, WEIR_REFUSED_BAD_STRING},	{change_not_unique, WEIR_REFUSED_BAD_SLOTS},
	{change_key, WEIR_REFUSED_BAD_SLOTS},		{change_slot, WEIR_REFUSED_BAD_SLOTS},
	{change_profile, WEIR_REFUSED_BAD_VALUE},	{change_listener, WEIR_REFUSED_BAD_RANGE},
	{change_listener_max, WEIR_REFUSED_BAD_RANGE},	{change_reserved0, WEIR_REFUSED_BAD_VALUE},
	{change_reserved0_last, WEIR_REFUSED_BAD_VALUE}, {change_client_auth, WEIR_REFUSED_BAD_RANGE},
	{change_passthrough, WEIR_REFUSED_BAD_VALUE},
};

static struct weir_snapshot *good(void)
{
	return names_compile(binds, COUNT(binds), 77);
}

static void right_names_are_taken(void **state)
{
	struct weir_snapshot *s = good();
	struct snapshot_error err;

	if (snapshot_check(s, s->size, &err) != WEIR_REFUSED_OK)
		fail_msg("%s", err.text);
	free(s);
}

static void each_kind_of_fault_is_refused_by_its_name(void **state)
{
	for (size_t i = 0; i < COUNT(changes); i++) {
		struct weir_snapshot *s = good();
		struct snapshot_error err;
		enum weir_refusal why;

		changes[i].change(s);
		names_seal(s);
		why = snapshot_check(s, s->size, &err);
		if (why != changes[i].why)
			fail_msg("change %zu: refusal %d (%s), wanted %d", i, (int)why, err.text, (int)changes[i].why);
		assert_true(strlen(err.text) > 3);
		free(s);
	}
}

static void whatever_is_taken_can_be_read(void **state)
{
	struct prng r = {4};
	unsigned n_taken = 0;

	for (int i = 0; i < 30000; i++) {
		struct weir_snapshot *s = good();
		size_t from = s->sect[pick(&r, 2) ? WEIR_SECT_NAMES : WEIR_SECT_BINDS].off;

		for (uint32_t k = 1 + pick(&r, 3); k > 0; k--)
			((uint8_t *)s)[from + pick(&r, (uint32_t)(s->size - from))] ^= (uint8_t)(1 << pick(&r, 8));
		names_seal(s);
		if (snapshot_check(s, s->size, NULL) == WEIR_REFUSED_OK) {
			struct weir_ip local = {.b[15] = (uint8_t)pick(&r, 3)};
			const struct weir_bind *bind;
			enum route_miss miss;
			const struct weir_server_name *n = route_find_name(s, &local, 443, SLICE("x.example"), &bind, &miss);

			n_taken++;
			assert_true(!n || n->listener == WEIR_NONE || n->listener < bind->listeners.count);
			for (uint32_t k = 0; n && k < n->certs.count; k++)
				assert_true(snapshot_cert(s, n->certs.first + k)->v[0]);
		}
		free(s);
	}
	assert_true(n_taken > 100);
}

static void write_seed(const char *dir)
{
	struct weir_snapshot *s = good();
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/names", dir);
	f = fopen(path, "wb");
	if (!f)
		abort();
	fputc(1, f);
	fwrite(s, 1, s->size, f);
	fclose(f);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_names_are_taken),
		cmocka_unit_test(each_kind_of_fault_is_refused_by_its_name),
		cmocka_unit_test(whatever_is_taken_can_be_read),
	};

	if (getenv("WEIR_SEEDS"))
		write_seed(getenv("WEIR_SEEDS"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
