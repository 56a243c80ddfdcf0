/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLSRoute and TCPRoute (gateway.networking.k8s.io/v1): bytes for backends. A
 * TLSRoute attaches to listeners under server names, to those that end TLS and
 * to those that let it through; a TCPRoute takes whatever comes to a port. A
 * connection for a bad backend reference is refused, for its share, and where
 * several routes stand in one place the oldest counts (place.c).
 *
 * What is passed through is TLS already: a BackendTLSPolicy, which would have
 * Weir speak TLS around it, does not count there. So of one reference there
 * may be two backends.
 */
#include <string.h>

#include "translate/translate_pvt.h"

struct stream {
	struct translation *t;
	const struct kube_object *o;
	struct attachments a;
	struct findings found;
};

static void read_split(struct stream *r, const struct cursor *ref, struct model_split *out)
{
	struct cursor weight = cursor_get(ref, "weight");
	int64_t w = 1;

	node_int(weight.n, 0, 1000000, &w);
	out->weight = (uint32_t)w;
	out->backend = route_backend(r->t, r->o, ref);
}

static void read_splits(struct stream *r, const struct cursor *rule, struct model_match *out)
{
	struct cursor refs = cursor_get(rule, "backendRefs");
	size_t n = cursor_count(&refs);

	out->n_splits = n ? n : 1;
	out->splits = model_alloc(r->t->m, out->n_splits * sizeof(*out->splits));
	if (n == 0)
		*out->splits = (struct model_split){.backend = -1, .weight = 1};
	for (size_t i = 0; i < n; i++) {
		struct cursor ref = cursor_at(&refs, i);

		read_split(r, &ref, &out->splits[i]);
	}
}

/* The same references for what is passed through: quietly if they were read before. */
static void read_splits_through(struct stream *r, const struct cursor *rule, bool is_quiet, struct model_match *out)
{
	struct translation *t = r->t;
	size_t n_problems = t->m->n_problems;

	t->is_passthrough = true;
	if (is_quiet)
		t->findings = NULL;
	read_splits(r, rule, out);
	t->is_passthrough = false;
	if (is_quiet)
		t->m->n_problems = n_problems;
}

/* Whether the route is attached to listeners of this sort, be they served or not. */
static bool has_listener(const struct stream *r, bool is_passthrough)
{
	for (size_t i = 0; i < r->a.n_attached; i++)
		if (r->t->sections[r->a.attached[i].section].is_passthrough == is_passthrough)
			return true;
	return false;
}

static void add_match(struct stream *r, const struct attachment *at, const struct model_match *action)
{
	struct model_match *m = model_add_match(r->t->m);

	*m = *action;
	m->listener = at->listener;
	m->host = at->host;
}

/* How many of its places it gets. */
static size_t count_places(struct stream *r, const struct cursor *rule)
{
	if (r->a.n_at <= ROUTE_MATCHES_MAX)
		return r->a.n_at;
	report(r->t, r->o, rule, true, "TooManyMatches",
	       "at most %u listeners and host names together were expected: the rest is not served", ROUTE_MATCHES_MAX);
	return ROUTE_MATCHES_MAX;
}

static void read_rule(struct stream *r, const struct cursor *rule, const struct model_match *origin)
{
	const bool is_through = has_listener(r, true);
	const bool is_ended = has_listener(r, false) || !is_through; /* attached nowhere: as if it were */
	struct model_match ended = *origin, through = *origin;
	const struct model_match *all;
	size_t n = count_places(r, rule);

	if (is_ended)
		read_splits(r, rule, &ended);
	all = attachments_vias(&r->a, &ended);
	if (is_through)
		read_splits_through(r, rule, is_ended, &through);
	for (size_t i = 0; i < n; i++) {
		const struct attachment *at = &r->a.at[i];

		add_match(r, at, at->is_passthrough ? &through : attachments_via(&r->a, all, at));
	}
}

/* Nothing tells connections for one rule from those for another: so the first one takes them all. */
static void read_rules(struct stream *r)
{
	struct translation *t = r->t;
	struct model_match origin = {.kind = kube_kind_name(r->o->kind),
				     .path_kind = WEIR_PATH_PREFIX,
				     .path = "/",
				     .method = "",
				     .action = WEIR_ACTION_FORWARD,
				     .created_s = r->o->created_s};
	struct cursor rules = cursor_get(r->a.spec, "rules");
	struct cursor rule = cursor_count(&rules) ? cursor_at(&rules, 0) : rules; /* one that has none leads nowhere */

	origin.ns = model_str(t->m, r->o->ns);
	origin.name = model_str(t->m, r->o->name);
	timeouts_read(t, r->o, &origin.timeouts);
	t->findings = &r->found;
	t->via = r->a.vias[0];
	t->n_vias = r->a.n_vias;
	t->is_trial = r->a.n_at == 0 || budget_refusal(t);
	read_rule(r, &rule, &origin);
	t->findings = NULL;
	t->is_trial = false;
	t->via = NULL;
	t->n_vias = 0;
	budget_charge(t, 0);
	if (cursor_count(&rules) > 1) {
		rule = cursor_at(&rules, 1);
		report(t, r->o, &rule, false, "UnsupportedField", "ignored: one rule was expected, and the first one takes all connections");
	}
}

static void conclude(struct stream *r, bool is_right)
{
	const char *refused = budget_refusal(r->t);

	if (r->a.n_parents == 0)
		return;
	if (refused) {
		report(r->t, r->o, r->a.spec, true, BUDGET_REASON, "%s", refused);
		attachments_refuse(&r->a, BUDGET_REASON, refused);
	}
	attachments_conclude(&r->a, is_right ? &r->found : NULL);
}

void streamroute_read(struct translation *t, const struct kube_object *o)
{
	struct stream r = {.t = t, .o = o, .a = {.t = t, .o = o}};
	const bool is_right = is_usable(t, o);
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");

	r.a.spec = &spec;
	if (is_right)
		attachments_read(&r.a);
	else
		attachments_read_malformed(&r.a);
	if (r.a.n_parents && is_right)
		read_rules(&r);
	conclude(&r, is_right);
	attachments_fini(&r.a);
}
