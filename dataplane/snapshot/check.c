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
#include "base/ip.h"
#include "snapshot/snapshot.h"

struct check {
	const struct weir_snapshot *s;
	struct snapshot_error *err;
	uint64_t *n_scanned; /* bytes of strings looked at; strings may be shared, so this is bounded */
};

#define SCAN_FACTOR 48 /* times the blob's size: more than any routes need, though all had the same long filters */

static enum weir_refusal refuse(const struct check *c, enum weir_refusal why, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static enum weir_refusal refuse(const struct check *c, enum weir_refusal why, const char *fmt, ...)
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

/* Ends the function with the refusal, if there is one. */
#define TRY(x) \
	do { \
		enum weir_refusal try_ = (x); \
		if (try_ != WEIR_REFUSED_OK) \
			return try_; \
	} while (0)

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
		return refuse(c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head alone has %zu", n, sizeof(*s));
	if (s->magic != WEIR_SNAPSHOT_MAGIC)
		return refuse(c, WEIR_REFUSED_BAD_MAGIC, "magic is %016" PRIx64, s->magic);
	if (s->abi_major != WEIR_ABI_MAJOR)
		return refuse(c, WEIR_REFUSED_BAD_ABI, "major version %u, spoken here is %u", s->abi_major, WEIR_ABI_MAJOR);
	if (n > WEIR_SNAPSHOT_MAX_BYTES)
		return refuse(c, WEIR_REFUSED_TOO_BIG, "%zu bytes, at most %u", n, WEIR_SNAPSHOT_MAX_BYTES);
	if (s->size != n)
		return refuse(c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head says %u", n, s->size);
	if (hash64_zeroed(s, n, offsetof(struct weir_snapshot, checksum), 8, 0) != s->checksum)
		return refuse(c, WEIR_REFUSED_BAD_CHECKSUM, "checksum does not fit");
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
				return refuse(c, WEIR_REFUSED_BAD_SECTION, "section %u is not known here", i);
			continue;
		}
		if (off < end || off % 8)
			return refuse(c, WEIR_REFUSED_BAD_SECTION, "%s begins at %" PRIu64, sections[i].name, off);
		end = off + (uint64_t)s->sect[i].count * sections[i].size;
		if (end > s->size)
			return refuse(c, WEIR_REFUSED_BAD_SECTION, "%s ends at %" PRIu64 " of %u", sections[i].name, end, s->size);
	}
	return WEIR_REFUSED_OK;
}

/* -- strings and ranges */

static enum weir_refusal check_str(const struct check *c, struct weir_str str, const char *what, uint32_t i)
{
	if ((uint64_t)str.off + str.len > snapshot_count(c->s, STRINGS))
		return refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u is out of bounds", what, i);
	return WEIR_REFUSED_OK;
}

/* Strings may be shared: without this, many entries with one long string would cost its square. */
static enum weir_refusal check_cost(const struct check *c, struct weir_str str, uint32_t max, const char *what, uint32_t i)
{
	*c->n_scanned += str.len;
	if (str.len > max || *c->n_scanned > (uint64_t)c->s->size * SCAN_FACTOR)
		return refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u is too long (%u)", what, i, str.len);
	return WEIR_REFUSED_OK;
}

/* Visible ASCII without space; paths, names. */
static enum weir_refusal check_text(const struct check *c, struct weir_str str, uint32_t max, const char *what, uint32_t i)
{
	struct slice t;

	TRY(check_str(c, str, what, i));
	TRY(check_cost(c, str, max, what, i));
	t = snapshot_str(c->s, str);
	for (size_t k = 0; k < t.n; k++)
		if (t.p[k] < 0x21 || t.p[k] > 0x7e)
			return refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u has byte %02x", what, i, (uint8_t)t.p[k]);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_host(const struct check *c, struct weir_str str, uint8_t kind, const char *what, uint32_t i)
{
	struct slice t;

	TRY(check_str(c, str, what, i));
	if (kind < WEIR_HOST_EXACT || kind > WEIR_HOST_ANY)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "%s of %u is of kind %u", what, i, kind);
	if ((kind == WEIR_HOST_ANY) != (str.len == 0) || str.len > 255)
		return refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u has length %u", what, i, str.len);
	TRY(check_cost(c, str, 255, what, i));
	t = snapshot_str(c->s, str);
	for (size_t k = 0; k < t.n; k++)
		if (t.p[k] == ']' && k != t.n - 1)
			return refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u goes on behind its bracket", what, i);
	if (t.n && !snapshot_is_host(t))
		return refuse(c, WEIR_REFUSED_BAD_STRING, "%s of %u is no host name", what, i);
	return WEIR_REFUSED_OK;
}

/* A range that begins where the one before it ended; *next moves on. */
static enum weir_refusal check_range(const struct check *c, struct weir_range r, enum weir_section section, uint64_t *next,
				     const char *what, uint32_t i)
{
	if (r.first != *next || (uint64_t)r.first + r.count > c->s->sect[section].count)
		return refuse(c, WEIR_REFUSED_BAD_RANGE, "%s of %u: %u + %u of %u, expected to begin at %" PRIu64, what, i,
			      r.first, r.count, c->s->sect[section].count, *next);
	*next += r.count;
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_all_used(const struct check *c, enum weir_section section, uint64_t next)
{
	if (next != c->s->sect[section].count)
		return refuse(c, WEIR_REFUSED_BAD_RANGE, "%s: %" PRIu64 " of %u are reached", sections[section].name, next,
			      c->s->sect[section].count);
	return WEIR_REFUSED_OK;
}

/* -- look-up tables */

struct key {
	uint8_t kind;
	struct slice text;
};

/* The key of entry i (relative to first) of a kind of entries. */
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
		return refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: %u slots for %u entries", what, i, slots.count, entries.count);
	for (uint32_t k = 0; k < slots.count; k++) {
		const struct weir_slot *slot = snapshot_at(c->s, SLOTS, struct weir_slot, slots.first + k);

		if (slot->index_plus1 > entries.count)
			return refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: slot %u leads to %u of %u", what, i, k,
				      slot->index_plus1 - 1, entries.count);
		n_used += slot->index_plus1 != 0;
	}
	if (n_used != entries.count)
		return refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: %u of %u entries have a slot", what, i, n_used, entries.count);
	for (uint32_t k = 0; k < entries.count; k++) {
		struct find f = {c->s, key_of, entries.first, key_of(c->s, entries.first + k)};
		uint64_t h = hash64(f.key.text.p, f.key.text.n, c->s->hash_seed + f.key.kind);

		if (snapshot_slot_find(c->s, slots, h, is_same_key, &f) != k)
			return refuse(c, WEIR_REFUSED_BAD_SLOTS, "%s of %u: entry %u is not found by its key", what, i, k);
	}
	return WEIR_REFUSED_OK;
}

/* -- entries. Ranges first: keys are read only where every range holds. */

static enum weir_refusal check_binds(const struct check *c, uint64_t *slots)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, BINDS); i++) {
		const struct weir_bind *b = snapshot_bind(c->s, i);
		const struct weir_bind *prev = i ? b - 1 : NULL;

		if (b->proto != WEIR_PROTO_HTTP && b->proto != WEIR_PROTO_HTTPS)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "bind %u has protocol %u", i, b->proto);
		if (b->port == 0)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "bind %u has port 0", i);
		if (prev && (prev->port > b->port ||
			     (prev->port == b->port && memcmp(prev->addr.b, b->addr.b, sizeof(b->addr.b)) >= 0)))
			return refuse(c, WEIR_REFUSED_BAD_ORDER, "bind %u is not behind the one before it", i);
		TRY(check_range(c, b->listeners, WEIR_SECT_LISTENERS, &next, "listeners of bind", i));
		TRY(check_range(c, b->slots, WEIR_SECT_SLOTS, slots, "slots of bind", i));
	}
	return check_all_used(c, WEIR_SECT_LISTENERS, next);
}

static enum weir_refusal check_listeners(const struct check *c, uint64_t *slots)
{
	uint64_t next = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, LISTENERS); i++) {
		const struct weir_listener *l = snapshot_listener(c->s, i);

		TRY(check_host(c, l->host, l->host_kind, "host of listener", i));
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
				return refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u limits a try", k);
		}
		if (b->header_ms != header_ms || b->idle_ms != idle_ms || b->reserved1)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "bind %u has limits %u, %u, %u, its listeners %u, %u", i,
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
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "path %u is of kind %u", i, p->kind);
	if (t.n == 0 ? p->kind != WEIR_PATH_PREFIX : t.p[0] != '/')
		return refuse(c, WEIR_REFUSED_BAD_STRING, "path %u does not begin with a slash", i);
	if (p->kind == WEIR_PATH_PREFIX && t.n && t.p[t.n - 1] == '/')
		return refuse(c, WEIR_REFUSED_BAD_STRING, "prefix path %u ends with a slash", i);
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
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "vhost %u has more lengths than paths", i);
		for (uint32_t k = 0; k < v->lengths.count; k++) {
			uint32_t len = snapshot_length(c->s, v->lengths.first + k);

			if (len > WEIR_MAX_PATH || (k && len >= snapshot_length(c->s, v->lengths.first + k - 1)))
				return refuse(c, WEIR_REFUSED_BAD_ORDER, "length %u of vhost %u is %u", k, i, len);
		}
		for (uint32_t k = 0; k < v->paths.count; k++) {
			const struct weir_path *p = snapshot_path(c->s, v->paths.first + k);

			if (p->kind == WEIR_PATH_PREFIX && !has_length(c->s, v, p->path.len))
				return refuse(c, WEIR_REFUSED_BAD_VALUE, "vhost %u: prefix length %u is not listed", i, p->path.len);
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
		return refuse(c, WEIR_REFUSED_BAD_RANGE, "rule %u: route %u of %u", i, r->route, snapshot_count(c->s, ROUTES));
	if (r->action < WEIR_ACTION_FORWARD || r->action > WEIR_ACTION_REDIRECT)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u has action %u", i, r->action);
	if (r->action == WEIR_ACTION_STATUS && !is_status(r->status))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u answers %u", i, r->status);
	if (r->action == WEIR_ACTION_FORWARD && r->splits.count == 0)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u forwards to nothing", i);
	if (r->action == WEIR_ACTION_REDIRECT && r->splits.count)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u redirects and forwards", i);
	if (r->action == WEIR_ACTION_STATUS && r->filters.count)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u answers a status and has filters", i);
	if (r->timeouts.header_ms)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u limits heads", i);
	if (!is_retry(&r->retry, r->action))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u retries %u times for %u statuses", i, r->retry.attempts,
			      r->retry.n_codes);
	for (uint32_t k = 0; k < r->splits.count; k++)
		total += snapshot_split(c->s, r->splits.first + k)->weight;
	if (total != r->total_weight)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u: weights are %" PRIu64 " in all, not %u", i, total,
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

/* -- filters */

static enum weir_refusal check_header_op(const struct check *c, const struct weir_header_op *o, uint32_t i)
{
	struct slice name;

	if (o->kind < WEIR_HEADER_SET || o->kind > WEIR_HEADER_REMOVE)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "header change %u is of kind %u", i, o->kind);
	TRY(check_str(c, o->name, "name of header change", i));
	TRY(check_cost(c, o->name, WEIR_MAX_FIELD_NAME, "name of header change", i));
	TRY(check_str(c, o->value, "value of header change", i));
	TRY(check_cost(c, o->value, WEIR_MAX_FILTER_BYTES, "value of header change", i));
	name = snapshot_str(c->s, o->name);
	if (!snapshot_is_field_name(name) || snapshot_is_protected_field(name))
		return refuse(c, WEIR_REFUSED_BAD_STRING, "header change %u: a field that none may change", i);
	if (o->kind == WEIR_HEADER_REMOVE ? o->value.len != 0 : !snapshot_is_field_value(snapshot_str(c->s, o->value)))
		return refuse(c, WEIR_REFUSED_BAD_STRING, "header change %u has a wrong value", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_cors(const struct check *c, const struct weir_filter *f, uint32_t i)
{
	unsigned kinds = 0;

	if (f->ops.count > WEIR_MAX_CORS_OPS)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "CORS filter %u has %u entries", i, f->ops.count);
	for (uint32_t k = f->ops.first; k < f->ops.first + f->ops.count; k++) {
		const struct weir_header_op *o = snapshot_header_op(c->s, k);

		if (o->kind < WEIR_CORS_ORIGIN || o->kind > WEIR_CORS_CREDENTIALS || o->name.len)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "entry %u of a CORS filter is of kind %u", k, o->kind);
		if (o->kind != WEIR_CORS_ORIGIN && kinds & 1u << o->kind)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "CORS filter %u has two entries of kind %u", i, o->kind);
		kinds |= 1u << o->kind;
		TRY(check_str(c, o->name, "name of a CORS entry", k));
		TRY(check_str(c, o->value, "value of a CORS entry", k));
		TRY(check_cost(c, o->value, WEIR_MAX_FILTER_BYTES, "value of a CORS entry", k));
		if (o->value.len == 0 || !snapshot_is_field_value(snapshot_str(c->s, o->value)))
			return refuse(c, WEIR_REFUSED_BAD_STRING, "entry %u of a CORS filter has a wrong value", k);
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_header_ops(const struct check *c, const struct weir_filter *f, uint32_t i)
{
	bool has_ops = f->kind == WEIR_FILTER_REQUEST_HEADERS || f->kind == WEIR_FILTER_RESPONSE_HEADERS;

	if (f->ops.count > (has_ops ? WEIR_MAX_HEADER_OPS : 0))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u of kind %u has %u header changes", i, f->kind, f->ops.count);
	for (uint32_t k = f->ops.first; k < f->ops.first + f->ops.count; k++)
		TRY(check_header_op(c, snapshot_header_op(c->s, k), k));
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_change_of_path(const struct check *c, const struct weir_filter *f, uint32_t i)
{
	bool is_prefix = f->path_change == WEIR_PATH_REPLACE_PREFIX;
	struct slice t;

	TRY(check_text(c, f->path, WEIR_MAX_FILTER_BYTES, "path of filter", i));
	t = snapshot_str(c->s, f->path);
	if (f->path_change > WEIR_PATH_REPLACE_PREFIX || (f->path_change == WEIR_PATH_KEEP && t.n))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u changes the path in way %u", i, f->path_change);
	if (f->path_change == WEIR_PATH_REPLACE ? !snapshot_is_target_path(t) : t.n && !snapshot_is_target_path(t))
		return refuse(c, WEIR_REFUSED_BAD_STRING, "filter %u: its path is none", i);
	if (is_prefix && t.n && t.p[t.n - 1] == '/')
		return refuse(c, WEIR_REFUSED_BAD_STRING, "filter %u: its prefix ends with a slash", i);
	return WEIR_REFUSED_OK;
}

static bool is_redirect(uint16_t status)
{
	return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

static enum weir_refusal check_filter(const struct check *c, const struct weir_filter *f, uint32_t i)
{
	if (f->kind < WEIR_FILTER_REQUEST_HEADERS || f->kind > WEIR_FILTER_CORS)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u is of kind %u", i, f->kind);
	TRY(check_str(c, f->host, "host of filter", i));
	TRY(check_cost(c, f->host, 255 + sizeof(":65535"), "host of filter", i));
	if (f->host.len && !snapshot_is_host(snapshot_str(c->s, f->host)))
		return refuse(c, WEIR_REFUSED_BAD_STRING, "host of filter %u is no host name", i);
	TRY(check_change_of_path(c, f, i));
	TRY(f->kind == WEIR_FILTER_CORS ? check_cors(c, f, i) : check_header_ops(c, f, i));
	if (f->kind == WEIR_FILTER_REDIRECT && (!is_redirect(f->status) || f->scheme > WEIR_PROTO_HTTPS))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u redirects by status %u, scheme %u", i, f->status, f->scheme);
	if (f->kind == WEIR_FILTER_MIRROR && f->backend >= snapshot_count(c->s, BACKENDS))
		return refuse(c, WEIR_REFUSED_BAD_RANGE, "filter %u mirrors to backend %u of %u", i, f->backend,
			      snapshot_count(c->s, BACKENDS));
	if (f->kind == WEIR_FILTER_MIRROR && (f->denominator == 0 || f->numerator > f->denominator))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u mirrors %u of %u", i, f->numerator, f->denominator);
	return WEIR_REFUSED_OK;
}

static uint64_t filter_bytes(const struct weir_snapshot *s, const struct weir_filter *f)
{
	uint64_t n = (uint64_t)f->host.len + f->path.len;

	for (uint32_t k = f->ops.first; k < f->ops.first + f->ops.count; k++) {
		const struct weir_header_op *o = snapshot_header_op(s, k);

		n += (uint64_t)WEIR_HEADER_OP_COST + o->name.len + o->value.len;
	}
	return n;
}

/* A list whose entries are right each: what it may not be together. kinds: of each, whether it is there. */
static enum weir_refusal check_filter_list(const struct check *c, struct weir_range list, bool is_prefix, const char *what,
					   uint32_t i)
{
	unsigned kinds = 0;
	uint64_t bytes = 0;

	if (list.count > WEIR_MAX_FILTERS)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u has %u filters", what, i, list.count);
	for (uint32_t k = list.first; k < list.first + list.count; k++) {
		const struct weir_filter *f = snapshot_filter(c->s, k);

		if (f->kind != WEIR_FILTER_MIRROR && kinds & 1u << f->kind)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u has two filters of kind %u", what, i, f->kind);
		kinds |= 1u << f->kind;
		bytes += filter_bytes(c->s, f);
		if (f->path_change == WEIR_PATH_REPLACE_PREFIX && !is_prefix)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u replaces a prefix and has none", what, i);
	}
	if (kinds & 1u << WEIR_FILTER_REDIRECT && kinds & 1u << WEIR_FILTER_REWRITE)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u redirects and rewrites", what, i);
	if (bytes > WEIR_MAX_FILTER_BYTES)
		return refuse(c, WEIR_REFUSED_BAD_STRING, "filters of %s %u are too long (%" PRIu64 ")", what, i, bytes);
	return WEIR_REFUSED_OK;
}

static bool has_redirect(const struct weir_snapshot *s, struct weir_range list)
{
	for (uint32_t k = list.first; k < list.first + list.count; k++)
		if (snapshot_filter(s, k)->kind == WEIR_FILTER_REDIRECT)
			return true;
	return false;
}

static enum weir_refusal check_filters_of_rule(const struct check *c, uint32_t i, bool is_prefix)
{
	const struct weir_rule *r = snapshot_rule(c->s, i);

	TRY(check_filter_list(c, r->filters, is_prefix, "rule", i));
	if (has_redirect(c->s, r->filters) != (r->action == WEIR_ACTION_REDIRECT))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u: action %u does not fit its filters", i, r->action);
	for (uint32_t k = r->splits.first; k < r->splits.first + r->splits.count; k++)
		TRY(check_filter_list(c, snapshot_split(c->s, k)->filters, is_prefix, "split", k));
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_filters(const struct check *c)
{
	uint64_t ops = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, FILTERS); i++) {
		const struct weir_filter *f = snapshot_filter(c->s, i);

		TRY(check_range(c, f->ops, WEIR_SECT_HEADER_OPS, &ops, "header changes of filter", i));
		TRY(check_filter(c, f, i));
	}
	TRY(check_all_used(c, WEIR_SECT_HEADER_OPS, ops));
	for (uint32_t i = 0; i < snapshot_count(c->s, PATHS); i++) {
		const struct weir_path *p = snapshot_path(c->s, i);

		for (uint32_t k = p->rules.first; k < p->rules.first + p->rules.count; k++)
			TRY(check_filters_of_rule(c, k, p->kind == WEIR_PATH_PREFIX));
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_leaves(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, CONDS); i++) {
		const struct weir_cond *d = snapshot_cond(c->s, i);

		if ((d->kind != WEIR_COND_HEADER && d->kind != WEIR_COND_QUERY) || d->op != WEIR_OP_EXACT)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "condition %u is of kind %u, %u", i, d->kind, d->op);
		TRY(check_str(c, d->name, "name of condition", i));
		TRY(check_str(c, d->value, "value of condition", i));
		if (d->name.len == 0)
			return refuse(c, WEIR_REFUSED_BAD_STRING, "condition %u has no name", i);
	}
	for (uint32_t i = 0; i < snapshot_count(c->s, SPLITS); i++) {
		const struct weir_split *p = snapshot_split(c->s, i);

		if (p->backend == WEIR_NONE ? !is_status(p->status) : p->backend >= snapshot_count(c->s, BACKENDS))
			return refuse(c, WEIR_REFUSED_BAD_RANGE, "split %u: backend %u, status %u", i, p->backend, p->status);
	}
	for (uint32_t i = 0; i < snapshot_count(c->s, ROUTES); i++) {
		const struct weir_route *r = snapshot_route(c->s, i);

		TRY(check_str(c, r->kind, "kind of route", i));
		TRY(check_str(c, r->ns, "namespace of route", i));
		TRY(check_str(c, r->name, "name of route", i));
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_cookie(const struct check *c, const struct weir_backend *b, uint32_t i)
{
	bool has_cookie = b->affinity == WEIR_AFFINITY_COOKIE;
	struct slice path;

	TRY(check_text(c, b->cookie_name, WEIR_MAX_COOKIE_NAME, "cookie of backend", i));
	TRY(check_text(c, b->cookie_path, WEIR_MAX_COOKIE_PATH, "path of the cookie of backend", i));
	if (b->affinity > WEIR_AFFINITY_COOKIE || b->same_site > WEIR_SAME_SITE_NONE)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u has affinity %u, SameSite %u", i, b->affinity, b->same_site);
	path = snapshot_str(c->s, b->cookie_path);
	if (has_cookie ? !snapshot_is_field_name(snapshot_str(c->s, b->cookie_name)) || !snapshot_is_cookie_path(path)
		       : b->cookie_name.len || path.n || b->cookie_max_age_s || b->same_site)
		return refuse(c, WEIR_REFUSED_BAD_STRING, "backend %u: its cookie is none", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_balance(const struct check *c, const struct weir_backend *b, uint32_t i)
{
	TRY(check_text(c, b->hash_name, b->hash_on == WEIR_HASH_COOKIE ? WEIR_MAX_COOKIE_NAME : WEIR_MAX_FIELD_NAME,
		       "hashed name of backend", i));
	if (b->balance > WEIR_BALANCE_RING_HASH || b->hash_on > WEIR_HASH_COOKIE)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u is balanced by %u, %u", i, b->balance, b->hash_on);
	if (b->hash_on == WEIR_HASH_SOURCE ? b->hash_name.len : !snapshot_is_field_name(snapshot_str(c->s, b->hash_name)))
		return refuse(c, WEIR_REFUSED_BAD_STRING, "backend %u hashes what has no name", i);
	if (b->slow_start_ms > WEIR_MAX_SLOW_START_MS)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u: slow start of %u ms", i, b->slow_start_ms);
	if (b->reserved0 || b->reserved1)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u: reserved fields are set", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_ejection(const struct check *c, const struct weir_backend *b, uint32_t i)
{
	if (b->max_ejected_percent > 100)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u ejects %u %%", i, b->max_ejected_percent);
	if ((b->eject_failures || b->success_window_ms) && (b->eject_base_ms == 0 || b->eject_max_ms < b->eject_base_ms))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u ejects for %u to %u ms", i, b->eject_base_ms, b->eject_max_ms);
	if (b->eject_max_ms > WEIR_MAX_EJECTION_MS || b->success_window_ms > WEIR_MAX_EJECTION_MS)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u ejects for %u ms, by %u ms", i, b->eject_max_ms,
			      b->success_window_ms);
	if (b->success_window_ms && b->success_requests == 0)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u judges endpoints without requests", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_backends(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, BACKENDS); i++) {
		const struct weir_backend *b = snapshot_backend(c->s, i);
		struct slice name;

		TRY(check_text(c, b->name, WEIR_MAX_NAME, "name of backend", i));
		name = snapshot_str(c->s, b->name);
		if (b->id != hash_backend_n(name.p, name.n))
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u: the id is not its name's", i);
		if (i && b[-1].id >= b->id)
			return refuse(c, WEIR_REFUSED_BAD_ORDER, "backend %u is not behind the one before it", i);
		if (b->proto != WEIR_PROTO_HTTP && b->proto != WEIR_PROTO_HTTPS)
			return refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u has protocol %u", i, b->proto);
		TRY(check_balance(c, b, i));
		TRY(check_cookie(c, b, i));
		TRY(check_ejection(c, b, i));
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_tables(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, BINDS); i++) {
		const struct weir_bind *b = snapshot_bind(c->s, i);

		TRY(check_slots(c, b->slots, b->listeners, listener_key, "bind", i));
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
	return check_tables(&c);
}

static enum weir_refusal check_endpoint(const struct check *c, const struct weir_endpoint *e, uint32_t i)
{
	if (e->port == 0 || e->weight == 0)
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "endpoint %u: port %u, weight %u", i, e->port, e->weight);
	if (e->flags & ~(WEIR_EP_READY | WEIR_EP_SERVING | WEIR_EP_TERMINATING))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "endpoint %u has flags %02x", i, e->flags);
	if (ip_is_any(&e->addr))
		return refuse(c, WEIR_REFUSED_BAD_VALUE, "endpoint %u has no address", i);
	if (i) {
		int order = memcmp(e[-1].addr.b, e->addr.b, sizeof(e->addr.b));

		if (order > 0 || (order == 0 && e[-1].port >= e->port))
			return refuse(c, WEIR_REFUSED_BAD_ORDER, "endpoint %u is not behind the one before it", i);
	}
	return WEIR_REFUSED_OK;
}

enum weir_refusal endpoint_set_check(const void *blob, size_t n, struct snapshot_error *err)
{
	struct check c = {.err = err};
	const struct weir_endpoint_set *s = blob;

	if (err)
		*err = (struct snapshot_error){0};
	if (n < sizeof(*s))
		return refuse(&c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head alone has %zu", n, sizeof(*s));
	if (s->magic != WEIR_ENDPOINTS_MAGIC)
		return refuse(&c, WEIR_REFUSED_BAD_MAGIC, "magic is %016" PRIx64, s->magic);
	if (s->abi_major != WEIR_ABI_MAJOR)
		return refuse(&c, WEIR_REFUSED_BAD_ABI, "major version %u, spoken here is %u", s->abi_major, WEIR_ABI_MAJOR);
	if (s->n_endpoints > WEIR_ENDPOINTS_MAX)
		return refuse(&c, WEIR_REFUSED_TOO_BIG, "%u endpoints, at most %u", s->n_endpoints, WEIR_ENDPOINTS_MAX);
	if (s->size != n || n != sizeof(*s) + (size_t)s->n_endpoints * sizeof(s->ep[0]))
		return refuse(&c, WEIR_REFUSED_TRUNCATED, "%zu bytes for %u endpoints, the head says %u", n, s->n_endpoints,
			      s->size);
	if (hash64_zeroed(s, n, offsetof(struct weir_endpoint_set, checksum), 8, 0) != s->checksum)
		return refuse(&c, WEIR_REFUSED_BAD_CHECKSUM, "checksum does not fit");
	if (s->backend_id == 0)
		return refuse(&c, WEIR_REFUSED_BAD_VALUE, "backend id 0");
	for (uint32_t i = 0; i < s->n_endpoints; i++)
		TRY(check_endpoint(&c, &s->ep[i], i));
	return WEIR_REFUSED_OK;
}
