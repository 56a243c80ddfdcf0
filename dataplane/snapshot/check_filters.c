/* SPDX-License-Identifier: Apache-2.0 */
/* What requests and answers are changed by, and the lists that rules and splits have of it. */
#include <inttypes.h>

#include "snapshot/check_pvt.h"

static enum weir_refusal check_header_op(const struct check *c, const struct weir_header_op *o, uint32_t i)
{
	struct slice name;

	if (o->kind < WEIR_HEADER_SET || o->kind > WEIR_HEADER_REMOVE)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "header change %u is of kind %u", i, o->kind);
	TRY(check_str(c, o->name, "name of header change", i));
	TRY(check_cost(c, o->name, WEIR_MAX_FIELD_NAME, "name of header change", i));
	TRY(check_str(c, o->value, "value of header change", i));
	TRY(check_cost(c, o->value, WEIR_MAX_FILTER_BYTES, "value of header change", i));
	name = snapshot_str(c->s, o->name);
	if (!snapshot_is_field_name(name) || snapshot_is_protected_field(name))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "header change %u: a field that none may change", i);
	if (o->kind == WEIR_HEADER_REMOVE ? o->value.len != 0 : !snapshot_is_field_value(snapshot_str(c->s, o->value)))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "header change %u has a wrong value", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_cors(const struct check *c, const struct weir_filter *f, uint32_t i)
{
	unsigned kinds = 0;

	if (f->ops.count > WEIR_MAX_CORS_OPS)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "CORS filter %u has %u entries", i, f->ops.count);
	for (uint32_t k = f->ops.first; k < f->ops.first + f->ops.count; k++) {
		const struct weir_header_op *o = snapshot_header_op(c->s, k);

		if (o->kind < WEIR_CORS_ORIGIN || o->kind > WEIR_CORS_CREDENTIALS || o->name.len)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "entry %u of a CORS filter is of kind %u", k, o->kind);
		if (o->kind != WEIR_CORS_ORIGIN && kinds & 1u << o->kind)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "CORS filter %u has two entries of kind %u", i, o->kind);
		kinds |= 1u << o->kind;
		TRY(check_str(c, o->name, "name of a CORS entry", k));
		TRY(check_str(c, o->value, "value of a CORS entry", k));
		TRY(check_cost(c, o->value, WEIR_MAX_FILTER_BYTES, "value of a CORS entry", k));
		if (o->value.len == 0 || !snapshot_is_field_value(snapshot_str(c->s, o->value)))
			return check_refuse(c, WEIR_REFUSED_BAD_STRING, "entry %u of a CORS filter has a wrong value", k);
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_header_ops(const struct check *c, const struct weir_filter *f, uint32_t i)
{
	bool has_ops = f->kind == WEIR_FILTER_REQUEST_HEADERS || f->kind == WEIR_FILTER_RESPONSE_HEADERS;

	if (f->ops.count > (has_ops ? WEIR_MAX_HEADER_OPS : 0))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u of kind %u has %u header changes", i, f->kind,
				    f->ops.count);
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
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u changes the path in way %u", i, f->path_change);
	if (f->path_change == WEIR_PATH_REPLACE ? !snapshot_is_target_path(t) : t.n && !snapshot_is_target_path(t))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "filter %u: its path is none", i);
	if (is_prefix && t.n && t.p[t.n - 1] == '/')
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "filter %u: its prefix ends with a slash", i);
	return WEIR_REFUSED_OK;
}

static bool is_redirect(uint16_t status)
{
	return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

static enum weir_refusal check_filter(const struct check *c, const struct weir_filter *f, uint32_t i)
{
	if (f->kind < WEIR_FILTER_REQUEST_HEADERS || f->kind > WEIR_FILTER_CORS)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u is of kind %u", i, f->kind);
	TRY(check_str(c, f->host, "host of filter", i));
	TRY(check_cost(c, f->host, 255 + sizeof(":65535"), "host of filter", i));
	if (f->host.len && !snapshot_is_host(snapshot_str(c->s, f->host)))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "host of filter %u is no host name", i);
	TRY(check_change_of_path(c, f, i));
	TRY(f->kind == WEIR_FILTER_CORS ? check_cors(c, f, i) : check_header_ops(c, f, i));
	if (f->kind == WEIR_FILTER_REDIRECT && (!is_redirect(f->status) || f->scheme > WEIR_PROTO_HTTPS))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u redirects by status %u, scheme %u", i, f->status,
				    f->scheme);
	if (f->kind == WEIR_FILTER_MIRROR && f->backend >= snapshot_count(c->s, BACKENDS))
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "filter %u mirrors to backend %u of %u", i, f->backend,
				    snapshot_count(c->s, BACKENDS));
	if (f->kind == WEIR_FILTER_MIRROR && (f->denominator == 0 || f->numerator > f->denominator))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "filter %u mirrors %u of %u", i, f->numerator, f->denominator);
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
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u has %u filters", what, i, list.count);
	for (uint32_t k = list.first; k < list.first + list.count; k++) {
		const struct weir_filter *f = snapshot_filter(c->s, k);

		if (f->kind != WEIR_FILTER_MIRROR && kinds & 1u << f->kind)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u has two filters of kind %u", what, i, f->kind);
		kinds |= 1u << f->kind;
		bytes += filter_bytes(c->s, f);
		if (f->path_change == WEIR_PATH_REPLACE_PREFIX && !is_prefix)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u replaces a prefix and has none", what, i);
	}
	if (kinds & 1u << WEIR_FILTER_REDIRECT && kinds & 1u << WEIR_FILTER_REWRITE)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "%s %u redirects and rewrites", what, i);
	if (bytes > WEIR_MAX_FILTER_BYTES)
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "filters of %s %u are too long (%" PRIu64 ")", what, i, bytes);
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
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "rule %u: action %u does not fit its filters", i, r->action);
	for (uint32_t k = r->splits.first; k < r->splits.first + r->splits.count; k++)
		TRY(check_filter_list(c, snapshot_split(c->s, k)->filters, is_prefix, "split", k));
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_filters(const struct check *c)
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
