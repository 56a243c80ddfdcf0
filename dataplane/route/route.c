/* SPDX-License-Identifier: Apache-2.0 */
/* Matching. See route.h for the order of precedence. */
#include "route/route_pvt.h"

#include "base/hash.h"
#include "base/ip.h"

uint64_t route_key_hash(uint64_t hash_seed, unsigned kind, struct slice key)
{
	return hash64(key.p, key.n, hash_seed + kind);
}

const char *route_miss_name(enum route_miss m)
{
	static const char *const names[] = {"hit", "no bind", "no listener", "no host", "no path", "no rule"};

	return names[m];
}

/* The bind with this port and address, or WEIR_NONE. Sorted by (port, address). */
static uint32_t find_bind(const struct weir_snapshot *s, const struct weir_ip *addr, uint16_t port)
{
	uint32_t lo = 0;
	uint32_t hi = snapshot_count(s, BINDS);

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct weir_bind *b = snapshot_bind(s, mid);
		int order = b->port != port ? (b->port < port ? -1 : 1) : memcmp(b->addr.b, addr->b, sizeof(addr->b));

		if (order == 0)
			return mid;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return WEIR_NONE;
}

/* -- host names: the same for listeners, vhosts and server names */

struct host_find {
	const struct weir_snapshot *s;
	enum route_hosts what;
	uint32_t first;
	uint8_t kind;
	struct slice host;
};

static bool is_host(const void *ctx, uint32_t index)
{
	const struct host_find *f = ctx;
	struct weir_str host;
	uint8_t kind;

	index += f->first;
	if (f->what == ROUTE_HOSTS_LISTENERS) {
		kind = snapshot_listener(f->s, index)->host_kind;
		host = snapshot_listener(f->s, index)->host;
	} else if (f->what == ROUTE_HOSTS_VHOSTS) {
		kind = snapshot_vhost(f->s, index)->host_kind;
		host = snapshot_vhost(f->s, index)->host;
	} else {
		kind = snapshot_name(f->s, index)->host_kind;
		host = snapshot_name(f->s, index)->host;
	}
	return kind == f->kind && slice_eq(snapshot_str(f->s, host), f->host);
}

static uint32_t find_kind(struct host_find *f, struct weir_range slots, enum weir_host_kind kind, struct slice host)
{
	f->kind = (uint8_t)kind;
	f->host = host;
	return snapshot_slot_find(f->s, slots, route_key_hash(f->s->hash_seed, kind, host), is_host, f);
}

uint32_t route_find_host(const struct weir_snapshot *s, enum route_hosts what, struct weir_range entries, struct weir_range slots,
			 struct slice host)
{
	struct host_find f = {.s = s, .what = what, .first = entries.first};
	bool is_first_label = true;
	uint32_t i;

	if (host.n) {
		i = find_kind(&f, slots, WEIR_HOST_EXACT, host);
		if (i != WEIR_NONE)
			return entries.first + i;
	}
	for (size_t k = 0; k < host.n; k++) {
		struct slice suffix;

		if (host.p[k] != '.' || k == 0)
			continue;
		suffix = slice_of(host.p + k + 1, host.n - k - 1);
		i = is_first_label ? find_kind(&f, slots, WEIR_HOST_WILDCARD_ONE, suffix) : WEIR_NONE;
		if (i == WEIR_NONE)
			i = find_kind(&f, slots, WEIR_HOST_WILDCARD, suffix);
		if (i != WEIR_NONE)
			return entries.first + i;
		is_first_label = false;
	}
	i = find_kind(&f, slots, WEIR_HOST_ANY, slice_of("", 0));
	return i == WEIR_NONE ? WEIR_NONE : entries.first + i;
}

/* -- conditions */

/* The next byte of a percent-encoded text, decoded; *i moves on. '+' is no space: this is a URI, not a form. */
static uint8_t decode_byte(struct slice s, size_t *i)
{
	static const char hex[] = "0123456789abcdef";

	if (s.p[*i] == '%' && *i + 2 < s.n) {
		const char *hi = strchr(hex, ascii_lower(s.p[*i + 1]));
		const char *lo = strchr(hex, ascii_lower(s.p[*i + 2]));

		if (hi && lo && *hi && *lo) {
			*i += 3;
			return (uint8_t)((hi - hex) << 4 | (lo - hex));
		}
	}
	return (uint8_t)s.p[(*i)++];
}

static bool is_decoded_equal(struct slice encoded, struct slice plain)
{
	size_t i = 0;
	size_t k = 0;

	while (i < encoded.n && k < plain.n)
		if (decode_byte(encoded, &i) != (uint8_t)plain.p[k++])
			return false;
	return i == encoded.n && k == plain.n;
}

/* The first parameter of that name decides (Gateway API HTTPQueryParamMatch). */
static bool is_query_match(struct slice query, struct slice name, struct slice value)
{
	size_t i = 0;

	while (i < query.n) {
		const char *amp = memchr(query.p + i, '&', query.n - i);
		size_t end = amp ? (size_t)(amp - query.p) : query.n;
		const char *eq = memchr(query.p + i, '=', end - i);
		size_t name_end = eq ? (size_t)(eq - query.p) : end;

		if (is_decoded_equal(slice_of(query.p + i, name_end - i), name))
			return is_decoded_equal(eq ? slice_of(eq + 1, end - name_end - 1) : slice_of("", 0), value);
		i = end + 1;
	}
	return false;
}

static bool is_cond_match(const struct weir_snapshot *s, const struct weir_cond *c, const struct route_request *rq)
{
	struct slice name = snapshot_str(s, c->name);
	struct slice value = snapshot_str(s, c->value);
	struct slice got;

	if (c->kind == WEIR_COND_QUERY)
		return is_query_match(rq->query, name, value);
	got = rq->header ? rq->header(rq->header_ctx, name) : slice_of(NULL, 0);
	return got.p && slice_eq(got, value);
}

static bool is_rule_match(const struct weir_snapshot *s, const struct weir_rule *r, const struct route_request *rq)
{
	if (r->method.len && !slice_eq(snapshot_str(s, r->method), rq->method))
		return false;
	for (uint32_t i = 0; i < r->conds.count; i++)
		if (!is_cond_match(s, snapshot_cond(s, r->conds.first + i), rq))
			return false;
	return true;
}

/* -- paths */

struct path_find {
	const struct weir_snapshot *s;
	uint32_t first;
	uint8_t kind;
	struct slice path;
};

static bool is_path(const void *ctx, uint32_t index)
{
	const struct path_find *f = ctx;
	const struct weir_path *p = snapshot_path(f->s, f->first + index);

	return p->kind == f->kind && slice_eq(snapshot_str(f->s, p->path), f->path);
}

/* Tries the rules of the path with this key. True: *out is complete. */
static bool try_path(const struct weir_snapshot *s, const struct weir_vhost *v, enum weir_path_kind kind, struct slice key,
		     const struct route_request *rq, struct route_result *out)
{
	struct path_find f = {.s = s, .first = v->paths.first, .kind = (uint8_t)kind, .path = key};
	uint32_t i = snapshot_slot_find(s, v->slots, route_key_hash(s->hash_seed, kind, key), is_path, &f);
	const struct weir_path *p;

	if (i == WEIR_NONE)
		return false;
	p = snapshot_path(s, v->paths.first + i);
	if (out->miss == ROUTE_NO_PATH) {
		out->miss = ROUTE_NO_RULE;
		out->path = v->paths.first + i;
	}
	for (uint32_t k = 0; k < p->rules.count; k++) {
		if (!is_rule_match(s, snapshot_rule(s, p->rules.first + k), rq))
			continue;
		out->miss = ROUTE_HIT;
		out->path = v->paths.first + i;
		out->rule = p->rules.first + k;
		return true;
	}
	return false;
}

static void match_path(const struct weir_snapshot *s, const struct weir_vhost *v, const struct route_request *rq,
		       struct route_result *out)
{
	out->miss = ROUTE_NO_PATH;
	if (try_path(s, v, WEIR_PATH_EXACT, rq->path, rq, out))
		return;
	for (uint32_t k = 0; k < v->lengths.count; k++) {
		uint32_t n = snapshot_length(s, v->lengths.first + k);

		/* A prefix ends where the path ends, or before a slash. */
		if (n > rq->path.n || (n < rq->path.n && rq->path.p[n] != '/'))
			continue;
		if (try_path(s, v, WEIR_PATH_PREFIX, slice_of(rq->path.p, n), rq, out))
			return;
	}
}

uint32_t route_find_bind(const struct weir_snapshot *s, const struct weir_ip *addr, uint16_t port)
{
	static const struct weir_ip any;
	uint32_t i = find_bind(s, addr, port);

	return i == WEIR_NONE ? find_bind(s, &any, port) : i;
}

const struct weir_listener *route_find_listener(const struct weir_snapshot *s, const struct weir_ip *local, uint16_t port,
						struct slice host)
{
	uint32_t i = route_find_bind(s, local, port);
	const struct weir_bind *b;

	if (i == WEIR_NONE)
		return NULL;
	b = snapshot_bind(s, i);
	i = b->listeners.count == 1 ? b->listeners.first
				    : route_find_host(s, ROUTE_HOSTS_LISTENERS, b->listeners, b->slots, host);
	return i == WEIR_NONE ? NULL : snapshot_listener(s, i);
}

struct route_result route_match(const struct weir_snapshot *s, const struct route_request *rq)
{
	struct route_result out = {ROUTE_NO_BIND, WEIR_NONE, WEIR_NONE, WEIR_NONE, WEIR_NONE, WEIR_NONE};
	const struct weir_bind *b;
	const struct weir_listener *l;

	out.bind = route_find_bind(s, &rq->local, rq->port);
	if (out.bind == WEIR_NONE)
		return out;
	out.miss = ROUTE_NO_LISTENER;
	b = snapshot_bind(s, out.bind);
	out.listener = route_find_host(s, ROUTE_HOSTS_LISTENERS, b->listeners, b->slots, rq->host);
	if (out.listener == WEIR_NONE)
		return out;
	l = snapshot_listener(s, out.listener);
	if (l->kind != WEIR_LISTENER_HTTP)
		return out;
	out.miss = ROUTE_NO_HOST;
	out.vhost = route_find_host(s, ROUTE_HOSTS_VHOSTS, l->vhosts, l->slots, rq->host);
	if (out.vhost == WEIR_NONE)
		return out;
	match_path(s, snapshot_vhost(s, out.vhost), rq, &out);
	return out;
}

uint32_t route_pick_split(const struct weir_snapshot *s, const struct weir_rule *rule, uint32_t r)
{
	uint32_t left;

	if (rule->total_weight == 0)
		return WEIR_NONE;
	left = (uint32_t)(((uint64_t)r * rule->total_weight) >> 32);
	for (uint32_t i = 0; i < rule->splits.count; i++) {
		uint32_t weight = snapshot_split(s, rule->splits.first + i)->weight;

		if (left < weight)
			return rule->splits.first + i;
		left -= weight;
	}
	assert(!"weights are total_weight in all");
	return WEIR_NONE;
}
