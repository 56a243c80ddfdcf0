/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker: after it says OK, readers need no test of their own. It reads
 * each byte a bounded number of times and trusts nothing but the length that
 * the caller measured.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"
#include "snapshot/check_pvt.h"

#define SCAN_FACTOR 48 /* times the blob's size: more than any routes need, though all had the same long filters */

enum weir_refusal check_refuse(const struct check *c, enum weir_refusal why, const char *fmt, ...)
{
	va_list ap;

	if (c->err) {
		c->err->refusal = why;
		va_start(ap, fmt);
		vsnprintf(c->err->text, sizeof(c->err->text), fmt, ap);
		va_end(ap);
	}
	return why;
}

static const struct {
	const char *name;
	size_t size;
} sections[WEIR_N_SECTIONS] = {
#define X(id, type) [WEIR_SECT_##id] = {#id, sizeof(type)},
	WEIR_SECTIONS(X)
#undef X
};

/* -- the frame */

static enum weir_refusal check_frame(const struct check *c, const struct weir_snapshot *s, size_t n)
{
	if (n < sizeof(*s))
		return check_refuse(c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head alone has %zu", n, sizeof(*s));
	if (s->magic != WEIR_SNAPSHOT_MAGIC)
		return check_refuse(c, WEIR_REFUSED_BAD_MAGIC, "magic is %016" PRIx64, s->magic);
	if (s->abi_major != WEIR_ABI_MAJOR)
		return check_refuse(c, WEIR_REFUSED_BAD_ABI, "major version %u, spoken here is %u", s->abi_major, WEIR_ABI_MAJOR);
	if (n > WEIR_SNAPSHOT_MAX_BYTES)
		return check_refuse(c, WEIR_REFUSED_TOO_BIG, "%zu bytes, at most %u", n, WEIR_SNAPSHOT_MAX_BYTES);
	if (s->size != n)
		return check_refuse(c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head says %u", n, s->size);
	if (hash64_zeroed(s, n, offsetof(struct weir_snapshot, checksum), 8, 0) != s->checksum)
		return check_refuse(c, WEIR_REFUSED_BAD_CHECKSUM, "checksum does not fit");
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_sections(const struct check *c)
{
	const struct weir_snapshot *s = c->s;
	uint64_t end = sizeof(*s);

	for (unsigned i = 0; i < WEIR_MAX_SECTIONS; i++) {
		uint64_t off = s->sect[i].off;

		if (i >= WEIR_N_SECTIONS) {
			if (off || s->sect[i].count)
				return check_refuse(c, WEIR_REFUSED_BAD_SECTION, "section %u is not known here", i);
			continue;
		}
		if (off < end || off % 8)
			return check_refuse(c, WEIR_REFUSED_BAD_SECTION, "%s begins at %" PRIu64, sections[i].name, off);
		end = off + (uint64_t)s->sect[i].count * sections[i].size;
		if (end > s->size)
			return check_refuse(c, WEIR_REFUSED_BAD_SECTION, "%s ends at %" PRIu64 " of %u", sections[i].name, end,
					    s->size);
	}
	return WEIR_REFUSED_OK;
}

/* -- strings and ranges */

enum weir_refusal check_str(const struct check *c, struct weir_str str, const char *what, uint32_t i)
{
	if ((uint64_t)str.off + str.len > snapshot_count(c->s, STRINGS))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u is out of bounds", what, i);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_cost(const struct check *c, struct weir_str str, uint32_t max, const char *what, uint32_t i)
{
	*c->n_scanned += str.len;
	if (str.len > max || *c->n_scanned > (uint64_t)c->s->size * SCAN_FACTOR)
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u is too long (%u)", what, i, str.len);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_text(const struct check *c, struct weir_str str, uint32_t max, const char *what, uint32_t i)
{
	struct slice t;

	TRY(check_str(c, str, what, i));
	TRY(check_cost(c, str, max, what, i));
	t = snapshot_str(c->s, str);
	for (size_t k = 0; k < t.n; k++)
		if (t.p[k] < 0x21 || t.p[k] > 0x7e)
			return check_refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u has byte %02x", what, i, (uint8_t)t.p[k]);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_host(const struct check *c, struct weir_str str, uint8_t kind, const char *what, uint32_t i)
{
	struct slice t;

	TRY(check_str(c, str, what, i));
	if (kind < WEIR_HOST_EXACT || kind > WEIR_HOST_ANY)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "%s of %u is of kind %u", what, i, kind);
	if ((kind == WEIR_HOST_ANY) != (str.len == 0) || str.len > 255)
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u has length %u", what, i, str.len);
	TRY(check_cost(c, str, 255, what, i));
	t = snapshot_str(c->s, str);
	for (size_t k = 0; k < t.n; k++)
		if (t.p[k] == ']' && k != t.n - 1)
			return check_refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u goes on behind its bracket", what, i);
	if (t.n && !snapshot_is_host(t))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u is no host name", what, i);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_range(const struct check *c, struct weir_range r, enum weir_section section, uint64_t *next,
				     const char *what, uint32_t i)
{
	if (r.first != *next || (uint64_t)r.first + r.count > c->s->sect[section].count)
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "%s of %u: %u + %u of %u, expected to begin at %" PRIu64, what, i,
				    r.first, r.count, c->s->sect[section].count, *next);
	*next += r.count;
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_all_used(const struct check *c, enum weir_section section, uint64_t next)
{
	if (next != c->s->sect[section].count)
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "%s: %" PRIu64 " of %u are reached", sections[section].name, next,
				    c->s->sect[section].count);
	return WEIR_REFUSED_OK;
}

/* -- look-up tables */

struct key {
	uint8_t kind;
	struct slice text;
};

/* The key of an entry. */
typedef struct key key_fn(const struct weir_snapshot *s, uint32_t i);

static struct key listener_key(const struct weir_snapshot *s, uint32_t i)
{
	const struct weir_listener *l = snapshot_listener(s, i);

	return (struct key){l->host_kind, snapshot_str(s, l->host)};
}

static struct key vhost_key(const struct weir_snapshot *s, uint32_t i)
{
	const struct weir_vhost *v = snapshot_vhost(s, i);

	return (struct key){v->host_kind, snapshot_str(s, v->host)};
}

static struct key path_key(const struct weir_snapshot *s, uint32_t i)
{
	const struct weir_path *p = snapshot_path(s, i);

	return (struct key){p->kind, snapshot_str(s, p->path)};
}

static struct key name_key(const struct weir_snapshot *s, uint32_t i)
{
	const struct weir_server_name *name = snapshot_name(s, i);

	return (struct key){name->host_kind, snapshot_str(s, name->host)};
}

struct find {
	const struct weir_snapshot *s;
	key_fn *key_of;
	uint32_t first;
	struct key key;
};

static bool is_same_key(const void *ctx, uint32_t index)
{
	const struct find *f = ctx;
	struct key k = f->key_of(f->s, f->first + index);

	return k.kind == f->key.kind && slice_eq(k.text, f->key.text);
}

/* Every slot leads into the range, and every entry is found by its key: so keys are unique too. */
static enum weir_refusal check_slots(const struct check *c, struct weir_range slots, struct weir_range entries, key_fn *key_of,
				     const char *what, uint32_t i)
{
	uint32_t n_used = 0;

	if (slots.count & (slots.count - 1) || slots.count / 2 < entries.count)
		return check_refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: %u slots for %u entries", what, i, slots.count,
				    entries.count);
	for (uint32_t k = 0; k < slots.count; k++) {
		const struct weir_slot *slot = snapshot_at(c->s, SLOTS, struct weir_slot, slots.first + k);

		if (slot->index_plus1 > entries.count)
			return check_refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: slot %u leads to %u of %u", what, i, k,
					    slot->index_plus1 - 1, entries.count);
		n_used += slot->index_plus1 != 0;
	}
	if (n_used != entries.count)
		return check_refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: %u of %u entries have a slot", what, i, n_used,
				    entries.count);
	for (uint32_t k = 0; k < entries.count; k++) {
		struct find f = {c->s, key_of, entries.first, key_of(c->s, entries.first + k)};
		uint64_t h = hash64(f.key.text.p, f.key.text.n, c->s->hash_seed + f.key.kind);

		if (snapshot_slot_find(c->s, slots, h, is_same_key, &f) != k)
			return check_refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: entry %u is not found by its key", what, i, k);
	}
	return WEIR_REFUSED_OK;
}

/* -- entries. Ranges first: keys are read only where every range holds. */

static enum weir_refusal check_binds(const struct check *c, uint64_t *slots)
{
	uint64_t next = 0;
	uint64_t names = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, BINDS); i++) {
		const struct weir_bind *b = snapshot_bind(c->s, i);
		const struct weir_bind *prev = i ? b - 1 : NULL;

		if (b->proto < WEIR_PROTO_HTTP || b->proto > WEIR_PROTO_TCP)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "bind %u has protocol %u", i, b->proto);
		if (b->port == 0)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "bind %u has port 0", i);
		if (prev && (prev->port > b->port ||
			     (prev->port == b->port && memcmp(prev->addr.b, b->addr.b, sizeof(b->addr.b)) >= 0)))
			return check_refuse(c, WEIR_REFUSED_BAD_ORDER, "bind %u is not behind the one before it", i);
		TRY(check_range(c, b->listeners, WEIR_SECT_LISTENERS, &next, "listeners of bind", i));
		TRY(check_range(c, b->slots, WEIR_SECT_SLOTS, slots, "slots of bind", i));
		TRY(check_range(c, b->names, WEIR_SECT_NAMES, &names, "names of bind", i));
		TRY(check_range(c, b->name_slots, WEIR_SECT_SLOTS, slots, "slots of names of bind", i));
	}
	TRY(check_all_used(c, WEIR_SECT_NAMES, names));
	return check_all_used(c, WEIR_SECT_LISTENERS, next);
}

static enum weir_refusal check_listeners(const struct check *c, uint64_t *slots)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, LISTENERS); i++) {
		const struct weir_listener *l = snapshot_listener(c->s, i);

		static const uint8_t zeros[sizeof(l->reserved0)];

		TRY(check_host(c, l->host, l->host_kind, "host of listener", i));
		if (l->kind > WEIR_LISTENER_STREAM || memcmp(l->reserved0, zeros, sizeof(zeros)) != 0)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u is of kind %u", i, l->kind);
		TRY(check_str(c, l->name, "name of listener", i));
		TRY(check_range(c, l->vhosts, WEIR_SECT_VHOSTS, &next, "vhosts of listener", i));
		TRY(check_range(c, l->slots, WEIR_SECT_SLOTS, slots, "slots of listener", i));
	}
	return check_all_used(c, WEIR_SECT_VHOSTS, next);
}

/* A bind's own limits are the least of its listeners'. */
static enum weir_refusal check_limits(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, BINDS); i++) {
		const struct weir_bind *b = snapshot_bind(c->s, i);
		uint32_t header_ms = 0;
		uint32_t idle_ms = 0;

		for (uint32_t k = b->listeners.first; k < b->listeners.first + b->listeners.count; k++) {
			const struct weir_timeouts *t = &snapshot_listener(c->s, k)->timeouts;

			header_ms = snapshot_least_limit(header_ms, t->header_ms);
			idle_ms = snapshot_least_limit(idle_ms, t->idle_ms);
			if (t->backend_ms)
				return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u limits a try", k);
		}
		if (b->header_ms != header_ms || b->idle_ms != idle_ms || b->reserved1)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "bind %u has limits %u, %u, %u, its listeners %u, %u", i,
					    b->header_ms, b->idle_ms, b->reserved1, header_ms, idle_ms);
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_vhosts(const struct check *c, uint64_t *slots)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, VHOSTS); i++) {
		const struct weir_vhost *v = snapshot_vhost(c->s, i);

		TRY(check_host(c, v->host, v->host_kind, "host of vhost", i));
		TRY(check_range(c, v->paths, WEIR_SECT_PATHS, &next, "paths of vhost", i));
		TRY(check_range(c, v->slots, WEIR_SECT_SLOTS, slots, "slots of vhost", i));
	}
	TRY(check_all_used(c, WEIR_SECT_PATHS, next));
	return check_all_used(c, WEIR_SECT_SLOTS, *slots);
}

static enum weir_refusal check_path(const struct check *c, const struct weir_path *p, uint32_t i)
{
	struct slice t;

	TRY(check_text(c, p->path, WEIR_MAX_PATH, "path", i));
	t = snapshot_str(c->s, p->path);
	if (p->kind != WEIR_PATH_EXACT && p->kind != WEIR_PATH_PREFIX)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "path %u is of kind %u", i, p->kind);
	if (t.n == 0 ? p->kind != WEIR_PATH_PREFIX : t.p[0] != '/')
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "path %u does not begin with a slash", i);
	if (p->kind == WEIR_PATH_PREFIX && t.n && t.p[t.n - 1] == '/')
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "prefix path %u ends with a slash", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_paths(const struct check *c)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, PATHS); i++) {
		const struct weir_path *p = snapshot_path(c->s, i);

		TRY(check_path(c, p, i));
		TRY(check_range(c, p->rules, WEIR_SECT_RULES, &next, "rules of path", i));
	}
	return check_all_used(c, WEIR_SECT_RULES, next);
}

/* True if len is among the lengths of the vhost: sorted, longest first. */
static bool has_length(const struct weir_snapshot *s, const struct weir_vhost *v, uint32_t len)
{
	uint32_t lo = 0;
	uint32_t hi = v->lengths.count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		uint32_t at = snapshot_length(s, v->lengths.first + mid);

		if (at == len)
			return true;
		if (at > len)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

static enum weir_refusal check_lengths(const struct check *c)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, VHOSTS); i++) {
		const struct weir_vhost *v = snapshot_vhost(c->s, i);

		TRY(check_range(c, v->lengths, WEIR_SECT_LENGTHS, &next, "lengths of vhost", i));
		if (v->lengths.count > v->paths.count)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "vhost %u has more lengths than paths", i);
		for (uint32_t k = 0; k < v->lengths.count; k++) {
			uint32_t len = snapshot_length(c->s, v->lengths.first + k);

			if (len > WEIR_MAX_PATH || (k && len >= snapshot_length(c->s, v->lengths.first + k - 1)))
				return check_refuse(c, WEIR_REFUSED_BAD_ORDER, "length %u of vhost %u is %u", k, i, len);
		}
		for (uint32_t k = 0; k < v->paths.count; k++) {
			const struct weir_path *p = snapshot_path(c->s, v->paths.first + k);

			if (p->kind == WEIR_PATH_PREFIX && !has_length(c->s, v, p->path.len))
				return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "vhost %u: prefix length %u is not listed", i,
						    p->path.len);
		}
	}
	return check_all_used(c, WEIR_SECT_LENGTHS, next);
}

static bool is_status(uint16_t status)
{
	return status >= 200 && status <= 599;
}

static bool is_retry(const struct weir_retry *t, uint8_t action)
{
	if (t->n_codes > WEIR_MAX_RETRY_CODES || t->reserved0 || !t->n_codes != !t->attempts || (!t->attempts && t->backoff_ms))
		return false;
	for (uint32_t i = 0; i < WEIR_MAX_RETRY_CODES; i++)
		if (i < t->n_codes ? t->codes[i] < 400 || t->codes[i] > 599 : t->codes[i] != 0)
			return false;
	return !t->attempts || action == WEIR_ACTION_FORWARD;
}

static enum weir_refusal check_rule(const struct check *c, const struct weir_rule *r, uint32_t i)
{
	uint64_t total = 0;

	TRY(check_text(c, r->method, WEIR_MAX_NAME, "method of rule", i));
	if (r->route >= snapshot_count(c->s, ROUTES))
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "rule %u: route %u of %u", i, r->route,
				    snapshot_count(c->s, ROUTES));
	if (r->action < WEIR_ACTION_FORWARD || r->action > WEIR_ACTION_REDIRECT)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u has action %u", i, r->action);
	if (r->action == WEIR_ACTION_STATUS && !is_status(r->status))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u answers %u", i, r->status);
	if (r->action == WEIR_ACTION_FORWARD && r->splits.count == 0)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u forwards to nothing", i);
	if (r->action == WEIR_ACTION_REDIRECT && r->splits.count)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u redirects and forwards", i);
	if (r->action == WEIR_ACTION_STATUS && r->filters.count)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u answers a status and has filters", i);
	if (r->timeouts.header_ms)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u limits heads", i);
	if (!is_retry(&r->retry, r->action))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u retries %u times for %u statuses", i, r->retry.attempts,
				    r->retry.n_codes);
	for (uint32_t k = 0; k < r->splits.count; k++)
		total += snapshot_split(c->s, r->splits.first + k)->weight;
	if (total != r->total_weight)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u: weights are %" PRIu64 " in all, not %u", i, total,
				    r->total_weight);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_rules(const struct check *c)
{
	uint64_t conds = 0;
	uint64_t splits = 0;
	uint64_t filters = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, RULES); i++) {
		const struct weir_rule *r = snapshot_rule(c->s, i);

		TRY(check_range(c, r->conds, WEIR_SECT_CONDS, &conds, "conditions of rule", i));
		TRY(check_range(c, r->splits, WEIR_SECT_SPLITS, &splits, "splits of rule", i));
		TRY(check_rule(c, r, i));
		TRY(check_range(c, r->filters, WEIR_SECT_FILTERS, &filters, "filters of rule", i));
		for (uint32_t k = r->splits.first; k < r->splits.first + r->splits.count; k++)
			TRY(check_range(c, snapshot_split(c->s, k)->filters, WEIR_SECT_FILTERS, &filters, "filters of split", k));
	}
	TRY(check_all_used(c, WEIR_SECT_CONDS, conds));
	TRY(check_all_used(c, WEIR_SECT_FILTERS, filters));
	return check_all_used(c, WEIR_SECT_SPLITS, splits);
}

static enum weir_refusal check_leaves(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, CONDS); i++) {
		const struct weir_cond *d = snapshot_cond(c->s, i);

		if ((d->kind != WEIR_COND_HEADER && d->kind != WEIR_COND_QUERY) || d->op != WEIR_OP_EXACT)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "condition %u is of kind %u, %u", i, d->kind, d->op);
		TRY(check_str(c, d->name, "name of condition", i));
		TRY(check_str(c, d->value, "value of condition", i));
		if (d->name.len == 0)
			return check_refuse(c, WEIR_REFUSED_BAD_STRING, "condition %u has no name", i);
	}
	for (uint32_t i = 0; i < snapshot_count(c->s, SPLITS); i++) {
		const struct weir_split *p = snapshot_split(c->s, i);

		if (p->backend == WEIR_NONE ? !is_status(p->status) : p->backend >= snapshot_count(c->s, BACKENDS))
			return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "split %u: backend %u, status %u", i, p->backend,
					    p->status);
	}
	for (uint32_t i = 0; i < snapshot_count(c->s, ROUTES); i++) {
		const struct weir_route *r = snapshot_route(c->s, i);

		TRY(check_str(c, r->kind, "kind of route", i));
		TRY(check_str(c, r->ns, "namespace of route", i));
		TRY(check_str(c, r->name, "name of route", i));
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_tables(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, BINDS); i++) {
		const struct weir_bind *b = snapshot_bind(c->s, i);

		TRY(check_slots(c, b->slots, b->listeners, listener_key, "bind", i));
		TRY(check_slots(c, b->name_slots, b->names, name_key, "names of bind", i));
	}
	for (uint32_t i = 0; i < snapshot_count(c->s, LISTENERS); i++) {
		const struct weir_listener *l = snapshot_listener(c->s, i);

		TRY(check_slots(c, l->slots, l->vhosts, vhost_key, "listener", i));
	}
	for (uint32_t i = 0; i < snapshot_count(c->s, VHOSTS); i++) {
		const struct weir_vhost *v = snapshot_vhost(c->s, i);

		TRY(check_slots(c, v->slots, v->paths, path_key, "vhost", i));
	}
	return WEIR_REFUSED_OK;
}

enum weir_refusal snapshot_check(const void *blob, size_t n, struct snapshot_error *err)
{
	uint64_t n_scanned = 0;
	struct check c = {.s = blob, .err = err, .n_scanned = &n_scanned};
	uint64_t slots = 0;

	if (err)
		*err = (struct snapshot_error){0};
	TRY(check_frame(&c, blob, n));
	TRY(check_sections(&c));
	TRY(check_binds(&c, &slots));
	TRY(check_listeners(&c, &slots));
	TRY(check_limits(&c));
	TRY(check_vhosts(&c, &slots));
	TRY(check_paths(&c));
	TRY(check_lengths(&c));
	TRY(check_rules(&c));
	TRY(check_filters(&c));
	TRY(check_leaves(&c));
	TRY(check_backends(&c));
	TRY(check_streams(&c));
	TRY(check_names(&c));
	return check_tables(&c);
}
