/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a Service's endpoints are chosen and judged: its annotations weir.dev/...
 * A wrong one is a problem and leaves the default; so does one that says nothing
 * together with the others. Each annotation is a row of the table below.
 */
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "kube/names.h"
#include "snapshot/snapshot.h"
#include "translate/translate_pvt.h"

#define PREFIX "weir.dev/"
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

struct reading {
	struct model *m; /* for strings */
	struct model_balance *out;
	bool has_hash_key, has_deviations;
};

/* Takes the value over. False: it is not what the row's expect says. */
typedef bool read_fn(struct reading *r, const char *text);

static bool one_of(const char *text, const char *const *names, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++)
		if (names[i] && strcmp(text, names[i]) == 0) {
			*out = (uint8_t)i;
			return true;
		}
	return false;
}

static bool read_number(const char *text, uint64_t lo, uint64_t hi, uint32_t *out)
{
	uint64_t v = 0;

	if (!*text || strlen(text) > 10)
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		v = v * 10 + (uint64_t)(*text - '0');
	if (*text || v < lo || v > hi)
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool read_ms(const char *text, uint64_t lo, uint64_t hi, uint32_t *out)
{
	uint64_t ms;

	if (!names_parse_duration(text, &ms) || ms < lo || ms > hi)
		return false;
	*out = (uint32_t)ms;
	return true;
}

static bool read_algorithm(struct reading *r, const char *text)
{
	for (uint8_t i = 0; i <= WEIR_BALANCE_RING_HASH; i++)
		if (strcmp(text, snapshot_balance_name(i)) == 0) {
			r->out->fixed.balance = i;
			return true;
		}
	return false;
}

static bool is_name(const char *text, size_t max)
{
	return strlen(text) <= max && snapshot_is_field_name(slice_str(text));
}

static bool read_hash_key(struct reading *r, const char *text)
{
	bool is_header = strncmp(text, "header:", 7) == 0;
	bool is_cookie = strncmp(text, "cookie:", 7) == 0;
	char *name;

	if (strcmp(text, "source-address") == 0) {
		r->has_hash_key = true;
		return true;
	}
	if (!(is_header || is_cookie) || !is_name(text + 7, is_cookie ? WEIR_MAX_COOKIE_NAME : WEIR_MAX_FIELD_NAME))
		return false;
	name = (char *)model_str(r->m, text + 7);
	for (char *p = name; is_header && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	r->out->hash_name = name;
	r->out->fixed.hash_on = is_header ? WEIR_HASH_HEADER : WEIR_HASH_COOKIE;
	r->has_hash_key = true;
	return true;
}

static bool read_slow_start(struct reading *r, const char *text)
{
	return read_ms(text, 0, WEIR_MAX_SLOW_START_MS, &r->out->fixed.slow_start_ms);
}

static bool read_affinity(struct reading *r, const char *text)
{
	static const char *const names[] = {[WEIR_AFFINITY_NONE] = "none", [WEIR_AFFINITY_COOKIE] = "cookie"};

	return one_of(text, names, COUNT(names), &r->out->fixed.affinity);
}

static bool read_cookie_name(struct reading *r, const char *text)
{
	if (!is_name(text, WEIR_MAX_COOKIE_NAME))
		return false;
	r->out->cookie_name = model_str(r->m, text);
	return true;
}

static bool read_cookie_path(struct reading *r, const char *text)
{
	if (!snapshot_is_cookie_path(slice_str(text)))
		return false;
	r->out->cookie_path = model_str(r->m, text);
	return true;
}

static bool read_max_age(struct reading *r, const char *text)
{
	uint32_t ms;

	if (read_number(text, 1, INT32_MAX, &r->out->fixed.cookie_max_age_s))
		return true;
	if (!read_ms(text, 1000, UINT32_MAX, &ms))
		return false;
	r->out->fixed.cookie_max_age_s = ms / 1000;
	return true;
}

static bool read_same_site(struct reading *r, const char *text)
{
	static const char *const names[] = {
		[WEIR_SAME_SITE_LAX] = "lax", [WEIR_SAME_SITE_STRICT] = "strict", [WEIR_SAME_SITE_NONE] = "none"};

	return one_of(text, names, COUNT(names), &r->out->fixed.same_site);
}

static bool read_failures(struct reading *r, const char *text)
{
	return read_number(text, 1, 65535, &r->out->fixed.eject_failures);
}

/* "1.9": standard deviations, in thousandths. */
static bool read_deviations(struct reading *r, const char *text)
{
	char *end;
	double v;

	if (!*text || strspn(text, "0123456789.") != strlen(text))
		return false;
	v = strtod(text, &end);
	if (*end || v < 0.1 || v > 10)
		return false;
	r->out->fixed.success_deviations = (uint32_t)(v * 1000 + 0.5);
	r->has_deviations = true;
	return true;
}

static bool read_window(struct reading *r, const char *text)
{
	return read_ms(text, 100, WEIR_MAX_EJECTION_MS, &r->out->fixed.success_window_ms);
}

static bool read_requests(struct reading *r, const char *text)
{
	return read_number(text, 1, 1000000, &r->out->fixed.success_requests);
}

static bool read_base(struct reading *r, const char *text)
{
	return read_ms(text, 1, WEIR_MAX_EJECTION_MS, &r->out->fixed.eject_base_ms);
}

static bool read_max(struct reading *r, const char *text)
{
	return read_ms(text, 1, WEIR_MAX_EJECTION_MS, &r->out->fixed.eject_max_ms);
}

static bool read_percent(struct reading *r, const char *text)
{
	uint32_t v;

	if (!read_number(text, 0, 100, &v))
		return false;
	r->out->fixed.max_ejected_percent = (uint8_t)v;
	return true;
}

static bool read_connections(struct reading *r, const char *text)
{
	return read_number(text, 1, 100000000, &r->out->fixed.max_connections);
}

static bool read_per_connection(struct reading *r, const char *text)
{
	return read_number(text, 1, 1000000000, &r->out->fixed.max_requests);
}

static const struct row {
	const char *name;
	read_fn *read;
	const char *expect;
} rows[] = {
	{"load-balancing", read_algorithm, "round-robin, least-request, random, maglev or ring-hash"},
	{"hash-key", read_hash_key, "source-address, header:NAME or cookie:NAME"},
	{"slow-start", read_slow_start, "a duration of at most 24h such as 30s"},
	{"affinity", read_affinity, "cookie or none"},
	{"affinity-cookie-name", read_cookie_name, "a token of at most 64 characters"},
	{"affinity-cookie-path", read_cookie_path, "a path that begins with '/', of at most 256 characters"},
	{"affinity-cookie-max-age", read_max_age, "seconds, or a duration such as 12h, from one second on"},
	{"affinity-cookie-same-site", read_same_site, "lax, strict or none"},
	{"outlier-consecutive-failures", read_failures, "a number from 1 to 65535"},
	{"outlier-success-rate", read_deviations, "standard deviations from 0.1 to 10, such as 1.9"},
	{"outlier-window", read_window, "a duration from 100ms to 24h"},
	{"outlier-min-requests", read_requests, "a number from 1 to 1000000"},
	{"outlier-base-ejection-time", read_base, "a duration from 1ms to 24h"},
	{"outlier-max-ejection-time", read_max, "a duration from 1ms to 24h"},
	{"outlier-max-ejected-percent", read_percent, "a number from 0 to 100"},
	{"max-connections", read_connections, "a number from 1 to 100000000"},
	{"max-requests-per-connection", read_per_connection, "a number from 1 to 1000000000"},
};

static const struct row *find_row(const char *key)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		if (strcmp(key + strlen(PREFIX), rows[i].name) == 0)
			return &rows[i];
	return NULL;
}

/* What is said for something that is not done. o NULL: nobody is told. */
static void check_together(struct translation *t, const struct kube_object *o, const struct cursor *annotations,
			   struct reading *r)
{
	struct weir_backend *f = &r->out->fixed;
	bool is_hash = f->balance == WEIR_BALANCE_MAGLEV || f->balance == WEIR_BALANCE_RING_HASH;
	bool has_cookie = f->affinity == WEIR_AFFINITY_COOKIE;
	const struct {
		bool is_idle;
		const char *key, *needs;
	} idle[] = {
		{r->has_hash_key && !is_hash, PREFIX "hash-key", "load-balancing maglev or ring-hash"},
		{f->slow_start_ms && is_hash, PREFIX "slow-start", "another load-balancing than maglev and ring-hash"},
		{r->out->cookie_name && !has_cookie, PREFIX "affinity-cookie-name", "affinity cookie"},
		{r->out->cookie_path && !has_cookie, PREFIX "affinity-cookie-path", "affinity cookie"},
		{f->cookie_max_age_s && !has_cookie, PREFIX "affinity-cookie-max-age", "affinity cookie"},
		{f->same_site && !has_cookie, PREFIX "affinity-cookie-same-site", "affinity cookie"},
		{f->success_window_ms && !r->has_deviations, PREFIX "outlier-window", "outlier-success-rate"},
		{f->success_requests && !r->has_deviations, PREFIX "outlier-min-requests", "outlier-success-rate"},
	};

	for (size_t i = 0; o && i < COUNT(idle); i++) {
		struct cursor c = cursor_get(annotations, idle[i].key);

		if (idle[i].is_idle)
			report(t, o, &c, false, "IgnoredAnnotation", "ignored: it needs %s", idle[i].needs);
	}
}

static void complete(struct reading *r)
{
	struct weir_backend *f = &r->out->fixed;

	if (f->balance != WEIR_BALANCE_MAGLEV && f->balance != WEIR_BALANCE_RING_HASH) {
		f->hash_on = WEIR_HASH_SOURCE;
		r->out->hash_name = NULL;
	}
	if (f->affinity == WEIR_AFFINITY_COOKIE) {
		r->out->cookie_name = r->out->cookie_name ? r->out->cookie_name : "weir-affinity";
		r->out->cookie_path = r->out->cookie_path ? r->out->cookie_path : "/";
	} else {
		r->out->cookie_name = r->out->cookie_path = NULL;
		f->cookie_max_age_s = f->same_site = 0;
	}
	if (r->has_deviations) {
		f->success_window_ms = f->success_window_ms ? f->success_window_ms : 10000;
		f->success_requests = f->success_requests ? f->success_requests : 100;
	} else {
		f->success_window_ms = f->success_requests = 0;
	}
	if (f->eject_max_ms < f->eject_base_ms)
		f->eject_max_ms = f->eject_base_ms;
}

/* o: the Service, if its problems are to be reported; annotations: its. */
static void read_all(struct translation *t, const struct kube_object *o, const struct cursor *annotations, struct reading *r)
{
	const struct node *n = annotations->n;

	r->out->fixed = (struct weir_backend){.max_ejected_percent = 50, .eject_base_ms = 30000, .eject_max_ms = 300000};
	for (size_t i = 0; n && n->kind == NODE_MAP && i < n->n; i++) {
		struct cursor c = cursor_value(annotations, i);
		const struct row *row;

		if (strncmp(n->keys[i], PREFIX, strlen(PREFIX)) != 0)
			continue;
		row = find_row(n->keys[i]);
		if (!row && o)
			report(t, o, &c, false, "UnknownAnnotation", "ignored: Weir knows no annotation of this name for kind Service");
		else if (row && !row->read(r, cursor_str(&c, "")) && o)
			report(t, o, &c, true, "InvalidAnnotation", "%s was expected; the default is used", row->expect);
	}
	check_together(t, o, annotations, r);
	complete(r);
}

void balance_read(struct translation *t, const struct kube_object *service, struct model_balance *out)
{
	struct cursor root = cursor_root(service);
	struct cursor metadata = cursor_get(&root, "metadata");
	struct cursor annotations = cursor_get(&metadata, "annotations");
	struct reading r = {.m = t->m, .out = out};

	read_all(t, NULL, &annotations, &r);
}

void balance_check(struct translation *t, const struct kube_object *service)
{
	struct cursor root = cursor_root(service);
	struct cursor metadata = cursor_get(&root, "metadata");
	struct cursor annotations = cursor_get(&metadata, "annotations");
	struct model_balance unused = {0};
	struct reading r = {.m = t->m, .out = &unused};

	if (annotations.n)
		read_all(t, service, &annotations, &r);
}
