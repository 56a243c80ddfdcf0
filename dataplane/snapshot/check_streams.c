/* SPDX-License-Identifier: Apache-2.0 */
/* Byte streams: where listeners of them may stand, and what is below. */
#include "snapshot/check_pvt.h"

/* Whatever is said of requests has no meaning for bytes. The first rule counts; those behind it are shadowed. */
static enum weir_refusal check_rules(const struct check *c, const struct weir_path *p, uint32_t listener)
{
	for (uint32_t i = p->rules.first; i < p->rules.first + p->rules.count; i++) {
		const struct weir_rule *r = snapshot_rule(c->s, i);

		if (r->action != WEIR_ACTION_FORWARD || r->method.len || r->conds.count || r->filters.count || r->retry.attempts)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u has streams, and rule %u is for requests", listener, i);
		for (uint32_t k = r->splits.first; k < r->splits.first + r->splits.count; k++)
			if (snapshot_split(c->s, k)->filters.count)
				return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u has streams, and split %u filters", listener, k);
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_stream(const struct check *c, const struct weir_listener *l, uint32_t i)
{
	for (uint32_t k = l->vhosts.first; k < l->vhosts.first + l->vhosts.count; k++) {
		const struct weir_vhost *v = snapshot_vhost(c->s, k);
		const struct weir_path *p = snapshot_path(c->s, v->paths.first);

		if (v->paths.count != 1 || p->kind != WEIR_PATH_PREFIX || p->path.len || p->rules.count == 0)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u has streams, and vhost %u has paths", i, k);
		TRY(check_rules(c, p, i));
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_place(const struct check *c, const struct weir_bind *b, const struct weir_listener *l, uint32_t i)
{
	if (l->kind == WEIR_LISTENER_STREAM ? b->proto == WEIR_PROTO_HTTP : b->proto == WEIR_PROTO_TCP)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u of kind %u stands where protocol %u is spoken", i, l->kind,
				    b->proto);
	if (b->proto == WEIR_PROTO_TCP && (b->listeners.count != 1 || l->host_kind != WEIR_HOST_ANY || l->vhosts.count > 1))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "listener %u has a host, where none is ever told", i);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_streams(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, BINDS); i++) {
		const struct weir_bind *b = snapshot_bind(c->s, i);

		for (uint32_t k = b->listeners.first; k < b->listeners.first + b->listeners.count; k++) {
			const struct weir_listener *l = snapshot_listener(c->s, k);

			TRY(check_place(c, b, l, k));
			if (l->kind == WEIR_LISTENER_STREAM)
				TRY(check_stream(c, l, k));
		}
	}
	return WEIR_REFUSED_OK;
}
