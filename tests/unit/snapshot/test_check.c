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

/* Whether an entry of HEADER_OPS is a CORS filter's. */
static bool is_of_cors(const struct weir_snapshot *s, uint32_t i)
{
	for (uint32_t k = 0; k < snapshot_count(s, FILTERS); k++) {
		struct weir_range ops = snapshot_filter(s, k)->ops;

		if (snapshot_filter(s, k)->kind == WEIR_FILTER_CORS && i >= ops.first && i < ops.first + ops.count)
			return true;
	}
	return false;
}

static bool has_all_filters(const struct weir_snapshot *s)
{
	unsigned kinds = 0;
	unsigned changes = 0;
	unsigned ops = 0;

	for (uint32_t i = 0; i < snapshot_count(s, FILTERS); i++) {
		kinds |= 1u << snapshot_filter(s, i)->kind;
		if (snapshot_filter(s, i)->path.len)
			changes |= 1u << snapshot_filter(s, i)->path_change;
	}
	for (uint32_t i = 0; i < snapshot_count(s, HEADER_OPS); i++)
		if (!is_of_cors(s, i))
			ops |= 1u << snapshot_header_op(s, i)->kind;
	for (uint32_t i = 0; i < snapshot_count(s, RULES); i++)
		if (snapshot_rule(s, i)->action == WEIR_ACTION_REDIRECT)
			kinds |= 1;
	for (uint32_t i = 0; i < snapshot_count(s, SPLITS); i++)
		if (snapshot_split(s, i)->filters.count > 2)
			changes |= 1;
	return kinds == 0x7f && changes == 7 && ops == 0xe;
}

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
		    snapshot_count(good, PATHS) > 10 && has_all_filters(good))
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
static void change_bind_header(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 0)->header_ms ^= 1; }
static void change_bind_idle(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 1)->idle_ms ^= 1; }
static void change_bind_reserved(struct weir_snapshot *s) { ENTRY(s, BINDS, struct weir_bind, 0)->reserved1 = 1; }
static void change_try_limit(struct weir_snapshot *s) { ENTRY(s, LISTENERS, struct weir_listener, 0)->timeouts.backend_ms = 1; }
static void change_head_limit(struct weir_snapshot *s) { ENTRY(s, RULES, struct weir_rule, 0)->timeouts.header_ms = 1; }
#define RETRY(s) (&ENTRY(s, RULES, struct weir_rule, 0)->retry)
static void change_retry_for_nothing(struct weir_snapshot *s) { RETRY(s)->attempts = 1; }
static void change_retry_never(struct weir_snapshot *s) { *RETRY(s) = (struct weir_retry){.n_codes = 1, .codes = {500}}; }
static void change_retry_code(struct weir_snapshot *s) { *RETRY(s) = (struct weir_retry){.attempts = 1, .n_codes = 2, .codes = {500, 399}}; }
static void change_retry_codes(struct weir_snapshot *s) { *RETRY(s) = (struct weir_retry){.attempts = 1, .n_codes = WEIR_MAX_RETRY_CODES + 1}; }
static void change_retry_rest(struct weir_snapshot *s) { *RETRY(s) = (struct weir_retry){.attempts = 1, .n_codes = 1, .codes = {500, 500}}; }
static void change_retry_reserved(struct weir_snapshot *s) { RETRY(s)->reserved0 = 1; }
static void change_retry_backoff(struct weir_snapshot *s) { RETRY(s)->backoff_ms = 1; }
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
/* The first of the filters of this kind; with a change of the path, if change is not 0. */
static struct weir_filter *filter_of(struct weir_snapshot *s, uint8_t kind, uint8_t change)
{
	for (uint32_t i = 0; i < snapshot_count(s, FILTERS); i++) {
		struct weir_filter *f = ENTRY(s, FILTERS, struct weir_filter, i);

		if ((!kind || f->kind == kind) && (!change || (f->path_change == change && f->path.len)))
			return f;
	}
	fail_msg("no filter of kind %u", kind);
	return NULL;
}

static struct weir_header_op *op_of(struct weir_snapshot *s, uint8_t kind)
{
	for (uint32_t i = 0; i < snapshot_count(s, HEADER_OPS); i++)
		if (snapshot_header_op(s, i)->kind == kind && !is_of_cors(s, i))
			return ENTRY(s, HEADER_OPS, struct weir_header_op, i);
	fail_msg("no header change of kind %u", kind);
	return NULL;
}

static void put_string(struct weir_snapshot *s, struct weir_str at, char c)
{
	((char *)s)[s->sect[WEIR_SECT_STRINGS].off + at.off] = c;
}

static struct weir_rule *rule_with(struct weir_snapshot *s, uint8_t action)
{
	for (uint32_t i = 0; i < snapshot_count(s, RULES); i++)
		if (snapshot_rule(s, i)->action == action)
			return ENTRY(s, RULES, struct weir_rule, i);
	fail_msg("no rule of action %u", action);
	return NULL;
}

/* The backend that hashes, and binds clients; and the one that ejects. */
static struct weir_backend *backend_with(struct weir_snapshot *s, uint8_t balance)
{
	for (uint32_t i = 0; i < snapshot_count(s, BACKENDS); i++)
		if (snapshot_backend(s, i)->balance == balance)
			return ENTRY(s, BACKENDS, struct weir_backend, i);
	fail_msg("no backend is balanced by %u", balance);
	return NULL;
}

#define SESSIONS(s) backend_with(s, WEIR_BALANCE_MAGLEV)
#define OUTLIER(s) backend_with(s, WEIR_BALANCE_LEAST_REQUEST)

static void change_balance(struct weir_snapshot *s) { SESSIONS(s)->balance = WEIR_BALANCE_RING_HASH + 1; }
static void change_hash_on(struct weir_snapshot *s) { SESSIONS(s)->hash_on = WEIR_HASH_COOKIE + 1; }
static void change_hash_name(struct weir_snapshot *s) { SESSIONS(s)->hash_name.len = 0; }
static void change_hash_no_name(struct weir_snapshot *s) { SESSIONS(s)->hash_on = WEIR_HASH_SOURCE; }
static void change_hash_byte(struct weir_snapshot *s) { put_string(s, SESSIONS(s)->hash_name, ':'); }
static void change_affinity(struct weir_snapshot *s) { SESSIONS(s)->affinity = WEIR_AFFINITY_COOKIE + 1; }
static void change_no_affinity(struct weir_snapshot *s) { SESSIONS(s)->affinity = WEIR_AFFINITY_NONE; }
static void change_same_site(struct weir_snapshot *s) { SESSIONS(s)->same_site = WEIR_SAME_SITE_NONE + 1; }
static void change_cookie_name(struct weir_snapshot *s) { SESSIONS(s)->cookie_name.len = 0; }
static void change_cookie_byte(struct weir_snapshot *s) { put_string(s, SESSIONS(s)->cookie_name, '='); }
static void change_cookie_bounds(struct weir_snapshot *s) { SESSIONS(s)->cookie_path.off = UINT32_MAX; }
static void change_cookie_path(struct weir_snapshot *s)
{
	put_string(s, (struct weir_str){SESSIONS(s)->cookie_path.off + 1, 1}, ';');
}
static void change_cookie_of_none(struct weir_snapshot *s) { OUTLIER(s)->cookie_max_age_s = 1; }
static void change_slow_start(struct weir_snapshot *s) { OUTLIER(s)->slow_start_ms = WEIR_MAX_SLOW_START_MS + 1; }
static void change_percent(struct weir_snapshot *s) { OUTLIER(s)->max_ejected_percent = 101; }
static void change_eject_base(struct weir_snapshot *s) { OUTLIER(s)->eject_base_ms = 0; }
static void change_eject_max(struct weir_snapshot *s) { OUTLIER(s)->eject_max_ms = OUTLIER(s)->eject_base_ms - 1; }
static void change_eject_long(struct weir_snapshot *s) { OUTLIER(s)->eject_max_ms = WEIR_MAX_EJECTION_MS + 1; }
static void change_window(struct weir_snapshot *s) { OUTLIER(s)->success_window_ms = WEIR_MAX_EJECTION_MS + 1; }
static void change_requests(struct weir_snapshot *s) { OUTLIER(s)->success_requests = 0; }
static void change_reserved0(struct weir_snapshot *s) { OUTLIER(s)->reserved0 = 1; }
static void change_backend_tls(struct weir_snapshot *s) { OUTLIER(s)->tls = 0; }
static void change_backend_proto(struct weir_snapshot *s) { OUTLIER(s)->proto = WEIR_PROTO_HTTPS; }

static void change_filter_range(struct weir_snapshot *s) { rule_with(s, WEIR_ACTION_REDIRECT)->filters.first++; }
static void change_filter_count(struct weir_snapshot *s) { rule_with(s, WEIR_ACTION_REDIRECT)->filters.count = UINT32_MAX; }
static void change_split_filters(struct weir_snapshot *s) { ENTRY(s, SPLITS, struct weir_split, 0)->filters.count++; }
static void change_ops_range(struct weir_snapshot *s) { filter_of(s, WEIR_FILTER_MIRROR, 0)->ops.first += 5; }
static void change_ops_unreached(struct weir_snapshot *s) { s->sect[WEIR_SECT_HEADER_OPS].count--; }
static void change_filter_kind(struct weir_snapshot *s) { filter_of(s, 0, 0)->kind = WEIR_FILTER_CORS + 1; }
static void change_filter_none(struct weir_snapshot *s) { filter_of(s, 0, 0)->kind = 0; }
static void change_mirror(struct weir_snapshot *s) { filter_of(s, WEIR_FILTER_MIRROR, 0)->backend = UINT32_MAX; }
static void change_share(struct weir_snapshot *s) { filter_of(s, WEIR_FILTER_MIRROR, 0)->numerator = 5; }
static void change_denominator(struct weir_snapshot *s)
{
	filter_of(s, WEIR_FILTER_MIRROR, 0)->numerator = filter_of(s, WEIR_FILTER_MIRROR, 0)->denominator = 0;
}
/* The first entry of that kind in a CORS filter. */
static struct weir_header_op *cors_of(struct weir_snapshot *s, uint8_t kind)
{
	for (uint32_t i = 0; i < snapshot_count(s, FILTERS); i++) {
		struct weir_range ops = snapshot_filter(s, i)->ops;

		for (uint32_t k = ops.first; snapshot_filter(s, i)->kind == WEIR_FILTER_CORS && k < ops.first + ops.count; k++)
			if (snapshot_header_op(s, k)->kind == kind)
				return ENTRY(s, HEADER_OPS, struct weir_header_op, k);
	}
	fail_msg("no entry of kind %u in a CORS filter", kind);
	return NULL;
}
static void change_cors_kind(struct weir_snapshot *s) { cors_of(s, WEIR_CORS_MAX_AGE)->kind = WEIR_CORS_CREDENTIALS + 1; }
static void change_cors_none(struct weir_snapshot *s) { cors_of(s, WEIR_CORS_ORIGIN)->kind = 0; }
static void change_cors_name(struct weir_snapshot *s) { cors_of(s, WEIR_CORS_ORIGIN)->name = cors_of(s, WEIR_CORS_ORIGIN)->value; }
static void change_cors_twice(struct weir_snapshot *s) { cors_of(s, WEIR_CORS_METHODS)->kind = WEIR_CORS_MAX_AGE; }
static void change_cors_value(struct weir_snapshot *s) { cors_of(s, WEIR_CORS_ORIGIN)->value.len = 0; }
static void change_cors_range(struct weir_snapshot *s) { cors_of(s, WEIR_CORS_ORIGIN)->value.off = UINT32_MAX; }
static void change_cors_byte(struct weir_snapshot *s) { put_string(s, cors_of(s, WEIR_CORS_METHODS)->value, '\r'); }
static void change_status(struct weir_snapshot *s) { filter_of(s, WEIR_FILTER_REDIRECT, 0)->status = 304; }
static void change_scheme(struct weir_snapshot *s) { filter_of(s, WEIR_FILTER_REDIRECT, 0)->scheme = 3; }
static void change_path_change(struct weir_snapshot *s) { filter_of(s, 0, WEIR_PATH_REPLACE)->path_change = 3; }
static void change_kept_path(struct weir_snapshot *s) { filter_of(s, 0, WEIR_PATH_REPLACE)->path_change = WEIR_PATH_KEEP; }
static void change_no_path(struct weir_snapshot *s) { filter_of(s, 0, WEIR_PATH_REPLACE)->path.len = 0; }
static void change_path_byte(struct weir_snapshot *s) { put_string(s, filter_of(s, 0, WEIR_PATH_REPLACE)->path, 'x'); }
static void change_path_space(struct weir_snapshot *s)
{
	struct weir_str at = filter_of(s, 0, WEIR_PATH_REPLACE)->path;

	put_string(s, (struct weir_str){at.off + 1, 1}, '\n');
}
static void change_path_query(struct weir_snapshot *s)
{
	struct weir_str at = filter_of(s, 0, WEIR_PATH_REPLACE)->path;

	put_string(s, (struct weir_str){at.off + 1, 1}, '?');
}
static void change_prefix_slash(struct weir_snapshot *s)
{
	struct weir_str at = filter_of(s, 0, WEIR_PATH_REPLACE_PREFIX)->path;

	put_string(s, (struct weir_str){at.off + at.len - 1, 1}, '/');
}
/* A prefix is to be replaced where none was matched. */
static void change_to_prefix(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < snapshot_count(s, PATHS); i++) {
		const struct weir_path *p = snapshot_path(s, i);

		for (uint32_t k = p->rules.first; p->kind == WEIR_PATH_EXACT && k < p->rules.first + p->rules.count; k++) {
			struct weir_range list = snapshot_rule(s, k)->filters;

			for (uint32_t j = list.first; j < list.first + list.count; j++)
				if (snapshot_filter(s, j)->path_change == WEIR_PATH_REPLACE) {
					ENTRY(s, FILTERS, struct weir_filter, j)->path_change = WEIR_PATH_REPLACE_PREFIX;
					return;
				}
		}
	}
	fail_msg("no exact path with a filter");
}
static void change_filter_host(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < snapshot_count(s, FILTERS); i++)
		if (snapshot_filter(s, i)->host.len) {
			put_string(s, snapshot_filter(s, i)->host, '\r');
			return;
		}
	fail_msg("no filter with a host");
}
static void change_op_kind(struct weir_snapshot *s) { op_of(s, WEIR_HEADER_SET)->kind = 4; }
static void change_op_value(struct weir_snapshot *s) { put_string(s, op_of(s, WEIR_HEADER_SET)->value, '\n'); }
static void change_op_blank(struct weir_snapshot *s) { put_string(s, op_of(s, WEIR_HEADER_ADD)->value, ' '); }
static void change_op_no_value(struct weir_snapshot *s) { op_of(s, WEIR_HEADER_SET)->value.len = 0; }
static void change_op_remove(struct weir_snapshot *s) { op_of(s, WEIR_HEADER_SET)->kind = WEIR_HEADER_REMOVE; }
static void change_op_name(struct weir_snapshot *s) { put_string(s, op_of(s, WEIR_HEADER_SET)->name, ':'); }
static void change_op_no_name(struct weir_snapshot *s) { op_of(s, WEIR_HEADER_REMOVE)->name.len = 0; }
/* "Via" becomes "te", of all names that may not be changed the one that is short enough. */
static void change_op_protected(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < snapshot_count(s, HEADER_OPS); i++) {
		struct weir_header_op *o = ENTRY(s, HEADER_OPS, struct weir_header_op, i);

		if (o->name.len != 3 || snapshot_str(s, o->name).p[0] != 'V')
			continue;
		put_string(s, o->name, 'T');
		put_string(s, (struct weir_str){o->name.off + 1, 1}, 'e');
		o->name.len = 2;
		return;
	}
	fail_msg("no Via");
}
static void change_redirect_action(struct weir_snapshot *s) { rule_with(s, WEIR_ACTION_REDIRECT)->action = WEIR_ACTION_STATUS; }
static void change_no_redirect(struct weir_snapshot *s)
{
	struct weir_range list = rule_with(s, WEIR_ACTION_REDIRECT)->filters;

	for (uint32_t i = list.first; i < list.first + list.count; i++)
		if (snapshot_filter(s, i)->kind == WEIR_FILTER_REDIRECT)
			ENTRY(s, FILTERS, struct weir_filter, i)->kind = WEIR_FILTER_REWRITE;
}
/* Two filters of one kind, and redirect beside rewrite, in a list that has more than one. */
static struct weir_range long_list(struct weir_snapshot *s)
{
	for (uint32_t i = 0; i < snapshot_count(s, SPLITS); i++) {
		struct weir_range list = snapshot_split(s, i)->filters;

		if (list.count >= 2 && snapshot_filter(s, list.first)->kind == WEIR_FILTER_REQUEST_HEADERS &&
		    snapshot_filter(s, list.first + 1)->kind == WEIR_FILTER_RESPONSE_HEADERS)
			return list;
	}
	fail_msg("no split with both kinds of header changes");
	return (struct weir_range){0, 0};
}
static void change_twice(struct weir_snapshot *s)
{
	ENTRY(s, FILTERS, struct weir_filter, long_list(s).first + 1)->kind = WEIR_FILTER_REQUEST_HEADERS;
}
static void change_both(struct weir_snapshot *s)
{
	struct weir_filter *a = ENTRY(s, FILTERS, struct weir_filter, long_list(s).first);

	for (int i = 0; i < 2; i++) { /* what had header changes hands them to nobody: as filters of these kinds they would be too many */
		a[i].kind = i ? WEIR_FILTER_REWRITE : WEIR_FILTER_REDIRECT;
		a[i].status = 301;
	}
}

static void change_abi(struct weir_snapshot *s) { s->abi_major++; }
static void change_magic(struct weir_snapshot *s) { s->magic++; }
static void change_size(struct weir_snapshot *s) { s->size--; }

static const struct {
	change_fn *change;
	enum weir_refusal why;
} changes[] = {
	{change_bind_header, WEIR_REFUSED_BAD_VALUE}, {change_bind_idle, WEIR_REFUSED_BAD_VALUE},
	{change_bind_reserved, WEIR_REFUSED_BAD_VALUE}, {change_try_limit, WEIR_REFUSED_BAD_VALUE},
	{change_head_limit, WEIR_REFUSED_BAD_VALUE},
	{change_balance, WEIR_REFUSED_BAD_VALUE},
	{change_hash_on, WEIR_REFUSED_BAD_VALUE},
	{change_hash_name, WEIR_REFUSED_BAD_STRING},
	{change_hash_no_name, WEIR_REFUSED_BAD_STRING},
	{change_hash_byte, WEIR_REFUSED_BAD_STRING},
	{change_affinity, WEIR_REFUSED_BAD_VALUE},
	{change_no_affinity, WEIR_REFUSED_BAD_STRING},
	{change_same_site, WEIR_REFUSED_BAD_VALUE},
	{change_cookie_name, WEIR_REFUSED_BAD_STRING},
	{change_cookie_byte, WEIR_REFUSED_BAD_STRING},
	{change_cookie_bounds, WEIR_REFUSED_BAD_STRING},
	{change_cookie_path, WEIR_REFUSED_BAD_STRING},
	{change_cookie_of_none, WEIR_REFUSED_BAD_STRING},
	{change_slow_start, WEIR_REFUSED_BAD_VALUE},
	{change_percent, WEIR_REFUSED_BAD_VALUE},
	{change_eject_base, WEIR_REFUSED_BAD_VALUE},
	{change_eject_max, WEIR_REFUSED_BAD_VALUE},
	{change_eject_long, WEIR_REFUSED_BAD_VALUE},
	{change_window, WEIR_REFUSED_BAD_VALUE},
	{change_requests, WEIR_REFUSED_BAD_VALUE},
	{change_retry_for_nothing, WEIR_REFUSED_BAD_VALUE},
	{change_retry_never, WEIR_REFUSED_BAD_VALUE},
	{change_retry_code, WEIR_REFUSED_BAD_VALUE},
	{change_retry_codes, WEIR_REFUSED_BAD_VALUE},
	{change_retry_rest, WEIR_REFUSED_BAD_VALUE},
	{change_retry_reserved, WEIR_REFUSED_BAD_VALUE},
	{change_retry_backoff, WEIR_REFUSED_BAD_VALUE},
	{change_reserved0, WEIR_REFUSED_BAD_VALUE},
	{change_backend_tls, WEIR_REFUSED_BAD_RANGE},
	{change_backend_proto, WEIR_REFUSED_BAD_RANGE},
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
	{change_size, WEIR_REFUSED_TRUNCATED},	      {change_filter_range, WEIR_REFUSED_BAD_RANGE},
	{change_filter_count, WEIR_REFUSED_BAD_RANGE}, {change_split_filters, WEIR_REFUSED_BAD_RANGE},
	{change_ops_range, WEIR_REFUSED_BAD_RANGE},   {change_ops_unreached, WEIR_REFUSED_BAD_RANGE},
	{change_filter_kind, WEIR_REFUSED_BAD_VALUE}, {change_filter_none, WEIR_REFUSED_BAD_VALUE},
	{change_mirror, WEIR_REFUSED_BAD_RANGE},      {change_share, WEIR_REFUSED_BAD_VALUE},
	{change_denominator, WEIR_REFUSED_BAD_VALUE}, {change_status, WEIR_REFUSED_BAD_VALUE},
	{change_scheme, WEIR_REFUSED_BAD_VALUE},      {change_path_change, WEIR_REFUSED_BAD_VALUE},
	{change_kept_path, WEIR_REFUSED_BAD_VALUE},   {change_no_path, WEIR_REFUSED_BAD_STRING},
	{change_path_byte, WEIR_REFUSED_BAD_STRING},  {change_path_space, WEIR_REFUSED_BAD_STRING},
	{change_path_query, WEIR_REFUSED_BAD_STRING}, {change_prefix_slash, WEIR_REFUSED_BAD_STRING},
	{change_to_prefix, WEIR_REFUSED_BAD_VALUE},   {change_filter_host, WEIR_REFUSED_BAD_STRING},
	{change_op_kind, WEIR_REFUSED_BAD_VALUE},     {change_op_value, WEIR_REFUSED_BAD_STRING},
	{change_op_blank, WEIR_REFUSED_BAD_STRING},   {change_op_no_value, WEIR_REFUSED_BAD_STRING},
	{change_op_remove, WEIR_REFUSED_BAD_STRING},  {change_op_name, WEIR_REFUSED_BAD_STRING},
	{change_op_no_name, WEIR_REFUSED_BAD_STRING}, {change_op_protected, WEIR_REFUSED_BAD_STRING},
	{change_redirect_action, WEIR_REFUSED_BAD_VALUE}, {change_no_redirect, WEIR_REFUSED_BAD_VALUE},
	{change_cors_kind, WEIR_REFUSED_BAD_VALUE},   {change_cors_none, WEIR_REFUSED_BAD_VALUE},
	{change_cors_name, WEIR_REFUSED_BAD_VALUE},   {change_cors_twice, WEIR_REFUSED_BAD_VALUE},
	{change_cors_value, WEIR_REFUSED_BAD_STRING}, {change_cors_range, WEIR_REFUSED_BAD_STRING},
	{change_cors_byte, WEIR_REFUSED_BAD_STRING},
	{change_twice, WEIR_REFUSED_BAD_VALUE},	      {change_both, WEIR_REFUSED_BAD_VALUE},
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
