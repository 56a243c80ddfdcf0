/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPRoute (gateway.networking.k8s.io/v1): which listeners it attaches to,
 * under which host names, and what each rule matches and does. A bad backend
 * reference, or one with a wrong filter, answers 500 for its share, a rule with
 * a wrong filter answers 500 whole, as the Gateway API has it; each is a problem too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "kube/names.h"
#include "translate/translate_pvt.h"

struct route {
	struct translation *t;
	const struct kube_object *o;
	struct cursor root;
	struct cursor spec;
	struct attachments a;
	size_t n_matches;
	bool is_malformed; /* the schema refused it: nothing is known of its rules */
	struct findings found;
	/* rules that are not served as they are written: all of them, wholly, or none that is right */
	size_t n_rules, n_dropped;
	const char *value_reason;
	char dropped[1024]; /* "Rule 1: why; Rule 3 in part: why" */
	size_t n_dropped_text;
};

/* ---- what a rule does ---- */

static int32_t find_backend(struct translation *t, const struct kube_object *o, const struct cursor *ref)
{
	struct cursor group = cursor_get(ref, "group");
	struct cursor kind = cursor_get(ref, "kind");
	struct cursor ns = cursor_get(ref, "namespace");
	struct cursor name = cursor_get(ref, "name");
	struct cursor port = cursor_get(ref, "port");
	const char *service = cursor_str(&name, "");
	const char *service_ns = cursor_str(&ns, o->ns);
	int64_t number = 0;

	if (*cursor_str(&group, "") || strcmp(cursor_str(&kind, "Service"), "Service") != 0) {
		report(t, o, &kind, true, "InvalidKind", "a Service was expected");
		return -1;
	}
	if (!node_int(port.n, 1, 65535, &number)) {
		report(t, o, &port, true, "MissingField", "the port of the Service was expected");
		return -1;
	}
	if (strcmp(service_ns, o->ns) != 0 && !is_granted(t, kube_kind_name(o->kind), o->ns, "Service", service_ns, service)) {
		report(t, o, &ns, true, "RefNotPermitted",
		       "a ReferenceGrant in namespace %.63s was expected, from %ss of %s to Service %.63s", service_ns,
		       kube_kind_name(o->kind), o->ns, service);
		return -1;
	}
	return translate_backend(t, o, &name, service_ns, service, (uint16_t)number, "");
}

int32_t route_backend(struct translation *t, const struct kube_object *o, const struct cursor *ref)
{
	int32_t found;

	if (t->findings)
		t->findings->is_reference = true;
	found = find_backend(t, o, ref);
	if (t->findings)
		t->findings->is_reference = false;
	return found;
}

/* True if the rule has exactly one match, and that is of type PathPrefix, as it is where nothing is said. */
static bool has_one_prefix(const struct cursor *rule)
{
	struct cursor matches = cursor_get(rule, "matches");
	struct cursor match = cursor_count(&matches) ? cursor_at(&matches, 0) : matches;
	struct cursor path = cursor_get(&match, "path");
	struct cursor type = cursor_get(&path, "type");

	return cursor_count(&matches) <= 1 && strcmp(cursor_str(&type, "PathPrefix"), "PathPrefix") == 0;
}

static void read_split(struct route *r, const struct cursor *ref, bool has_prefix, const struct model_filters *rule,
		       struct model_split *out)
{
	struct cursor weight = cursor_get(ref, "weight");
	struct cursor filters = cursor_get(ref, "filters");
	int64_t w = 1;

	node_int(weight.n, 0, 1000000, &w);
	out->weight = (uint32_t)w;
	out->backend = route_backend(r->t, r->o, ref);
	if (!filters_read(r->t, r->o, &filters, has_prefix, &out->filters)) {
		out->backend = -1;
	} else if (filters_have(&out->filters, WEIR_FILTER_REDIRECT) && filters_have(rule, WEIR_FILTER_MIRROR)) {
		report(r->t, r->o, &filters, true, "IncompatibleFilters",
		       "no RequestRedirect was expected in a rule with RequestMirror: what is redirected is not mirrored");
		out->backend = -1;
	}
	if (out->backend < 0)
		out->filters.n = 0;
}

static void answer_500(struct model_match *out)
{
	out->action = WEIR_ACTION_STATUS;
	out->status = 500;
	out->n_splits = 0;
	out->filters.n = 0;
}

static void read_backends(struct route *r, const struct cursor *rule, struct model_match *out)
{
	struct cursor refs = cursor_get(rule, "backendRefs");
	size_t n = cursor_count(&refs);

	if (n == 0) { /* a rule without backends answers 500, if it does not redirect */
		answer_500(out);
		return;
	}
	out->action = WEIR_ACTION_FORWARD;
	out->splits = model_alloc(r->t->m, n * sizeof(*out->splits));
	for (size_t i = 0; i < n; i++) {
		struct cursor ref = cursor_at(&refs, i);

		read_split(r, &ref, has_one_prefix(rule), &out->filters, &out->splits[out->n_splits++]);
	}
}

/* What the rule says comes before the annotations of its object, which are in out already. */
static void read_timeouts(struct route *r, const struct cursor *rule, struct model_match *out)
{
	struct cursor timeouts = cursor_get(rule, "timeouts");
	struct cursor request = cursor_get(&timeouts, "request");
	struct cursor backend = cursor_get(&timeouts, "backendRequest");
	uint32_t request_ms = timeout_read(r->t, r->o, &request, "InvalidValue");

	out->timeouts.backend_ms = timeout_read(r->t, r->o, &backend, "InvalidValue");
	if (request_ms)
		out->timeouts.request_ms = request_ms;
	if (request_ms && out->timeouts.backend_ms > request_ms) {
		report(r->t, r->o, &backend, true, "InvalidValue",
		       "at most the request's own timeout was expected; that is used for both");
		out->timeouts.backend_ms = request_ms;
	}
}

/* False, after a problem, if the rule answers 500 for what is wrong with it. */
static bool read_action(struct route *r, const struct cursor *rule, struct model_match *out)
{
	struct cursor filters = cursor_get(rule, "filters");
	struct cursor refs = cursor_get(rule, "backendRefs");
	struct cursor persistence = cursor_get(rule, "sessionPersistence");
	struct cursor retry = cursor_get(rule, "retry");
	bool is_right;

	if (persistence.n)
		report(r->t, r->o, &persistence, false, "UnsupportedField", "ignored: Weir does not carry this yet");
	read_timeouts(r, rule, out);
	is_right = filters_read(r->t, r->o, &filters, has_one_prefix(rule), &out->filters);
	if (is_right && filters_have(&out->filters, WEIR_FILTER_REDIRECT)) {
		out->action = WEIR_ACTION_REDIRECT;
		if (cursor_count(&refs) == 0)
			return true;
		report(r->t, r->o, &refs, true, "IncompatibleFilters", "no backend was expected beside RequestRedirect");
		is_right = false;
	}
	read_backends(r, rule, out);
	retry_read(r->t, r->o, &retry, &out->retry);
	if (!is_right)
		answer_500(out);
	if (out->action != WEIR_ACTION_FORWARD)
		out->retry = (struct weir_retry){0};
	return is_right;
}

/* ---- what a rule matches ---- */

static bool read_path(struct route *r, const struct cursor *match, struct model_match *out)
{
	struct cursor path = cursor_get(match, "path");
	struct cursor type = cursor_get(&path, "type");
	struct cursor value = cursor_get(&path, "value");
	const char *kind = cursor_str(&type, "PathPrefix");
	const char *text = cursor_str(&value, "/");

	if (strcmp(kind, "Exact") != 0 && strcmp(kind, "PathPrefix") != 0) {
		report(r->t, r->o, &type, true, "UnsupportedValue", "Exact or PathPrefix was expected");
		return false;
	}
	if (!is_path(text)) {
		report(r->t, r->o, &value, true, "InvalidPath",
		       "a path that begins with '/', without empty or dot segments and escaped slashes, was expected");
		return false;
	}
	out->path_kind = *kind == 'E' ? WEIR_PATH_EXACT : WEIR_PATH_PREFIX;
	out->path = model_path(r->t, out->path_kind, text);
	return true;
}

static const char *lower(struct model *m, const char *s)
{
	char *p = (char *)model_str(m, s);

	for (char *q = p; *q; q++)
		*q = ascii_lower(*q);
	return p;
}

/* Of entries that name one thing twice only the first counts (Gateway API). */
static bool is_repeated(const struct model_match *out, uint8_t kind, const char *name)
{
	for (size_t i = 0; i < out->n_conds; i++)
		if (out->conds[i].kind == kind && strcmp(out->conds[i].name, name) == 0)
			return true;
	return false;
}

static bool read_conds(struct route *r, const struct cursor *list, uint8_t kind, struct model_match *out)
{
	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor c = cursor_at(list, i);
		struct cursor type = cursor_get(&c, "type");
		struct cursor name = cursor_get(&c, "name");
		struct cursor value = cursor_get(&c, "value");
		const char *text;

		if (strcmp(cursor_str(&type, "Exact"), "Exact") != 0) {
			report(r->t, r->o, &type, true, "UnsupportedValue", "Exact was expected");
			return false;
		}
		if (!names_is_token(cursor_str(&name, ""))) {
			report(r->t, r->o, &name, true, "InvalidValue",
			       "the name of a header or parameter was expected");
			return false;
		}
		text = kind == WEIR_COND_HEADER ? lower(r->t->m, cursor_str(&name, ""))
						: model_str(r->t->m, cursor_str(&name, ""));
		if (is_repeated(out, kind, text))
			report(r->t, r->o, &name, false, "DuplicateName",
			       "ignored: only the first entry of this name counts");
		else
			out->conds[out->n_conds++] = (struct model_cond){
			    .kind = kind, .name = text, .value = model_str(r->t->m, cursor_str(&value, ""))};
	}
	return true;
}

static bool read_method(struct route *r, const struct cursor *match, struct model_match *out)
{
	static const char *const methods[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
					      "CONNECT", "OPTIONS", "TRACE", "PATCH"};
	struct cursor method = cursor_get(match, "method");

	out->method = "";
	if (!method.n)
		return true;
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		if (strcmp(cursor_str(&method, ""), methods[i]) == 0) {
			out->method = methods[i];
			return true;
		}
	report(r->t, r->o, &method, true, "InvalidValue", "a method in upper case was expected, such as GET");
	return false;
}

/* False, after a problem, if the match cannot be served; the others of the rule are. */
static bool read_match(struct route *r, const struct cursor *match, struct model_match *out)
{
	struct cursor headers = cursor_get(match, "headers");
	struct cursor params = cursor_get(match, "queryParams");
	size_t n = cursor_count(&headers) + cursor_count(&params);

	if (n)
		out->conds = model_alloc(r->t->m, n * sizeof(*out->conds));
	return read_path(r, match, out) && read_conds(r, &headers, WEIR_COND_HEADER, out) &&
	       read_conds(r, &params, WEIR_COND_QUERY, out) && read_method(r, match, out);
}

/* One entry of the model for each place of the route. all: what its rule does, by Gateway. False if there would be too many. */
static bool add_matches(struct route *r, const struct cursor *rule, const struct model_match *proto, const struct model_match *all)
{
	if (r->n_matches + r->a.n_at > ROUTE_MATCHES_MAX) {
		report(r->t, r->o, rule, true, "TooManyMatches",
		       "at most %u matches over all listeners and host names were expected: the rest is not served",
		       ROUTE_MATCHES_MAX);
		return false;
	}
	for (size_t i = 0; i < r->a.n_at; i++) {
		const struct model_match *via = attachments_via(&r->a, all, &r->a.at[i]);
		struct model_match *m = model_add_match(r->t->m);

		*m = *proto;
		m->splits = via->splits;
		m->filters = via->filters;
		m->listener = r->a.at[i].listener;
		m->host = r->a.at[i].host;
	}
	r->n_matches += r->a.n_at;
	return true;
}

/* False if further rules find no room. */
static bool read_matches(struct route *r, const struct cursor *rule, const struct model_match *action, size_t *n_kept)
{
	struct cursor matches = cursor_get(rule, "matches");
	const struct model_match *all = attachments_vias(&r->a, action);
	size_t n = cursor_count(&matches);

	*n_kept = 0;
	for (size_t i = 0; i < (n ? n : 1); i++) {
		struct cursor match = n ? cursor_at(&matches, i) : cursor_get(rule, "matches");
		struct model_match m = *action;

		m.match_index = (uint32_t)i;
		if (!read_match(r, &match, &m))
			continue;
		if (!add_matches(r, rule, &m, all))
			return false;
		++*n_kept;
	}
	return true;
}

/* Says of a rule that it is not served as it is written, and why. */
static void drop_rule(struct route *r, size_t index, bool is_whole)
{
	size_t left = sizeof(r->dropped) - r->n_dropped_text;
	int n;

	r->n_dropped += is_whole;
	if (!r->value_reason)
		r->value_reason = r->found.value_reason;
	n = snprintf(r->dropped + r->n_dropped_text, left, "%sRule %zu%s: %s", r->n_dropped_text ? "; " : "", index,
		     is_whole ? "" : " in part", r->found.value_text);
	r->n_dropped_text += (size_t)n < left ? (size_t)n : left - 1;
}

static bool read_rule(struct route *r, const struct cursor *rule, const struct model_match *origin)
{
	struct model_match action = *origin;
	size_t n_kept;
	bool is_right;
	bool is_room;

	r->found.value_reason = NULL;
	is_right = read_action(r, rule, &action);
	is_room = read_matches(r, rule, &action, &n_kept);
	if (r->found.value_reason)
		drop_rule(r, origin->rule_index, !is_right || n_kept == 0);
	return is_room;
}

/* ---- what the route is told ---- */

static void conclude(struct route *r)
{
	const char *refused = budget_refusal(r->t);
	struct model_status *s;

	if (r->a.n_parents == 0)
		return;
	if (refused) {
		report(r->t, r->o, &r->spec, true, BUDGET_REASON, "%s", refused);
		attachments_refuse(&r->a, BUDGET_REASON, refused);
	}
	if (r->n_rules && r->n_dropped == r->n_rules)
		attachments_refuse(&r->a, r->value_reason, model_printf(r->t->m, "no rule can be served: %s", r->dropped));
	s = attachments_conclude(&r->a, r->is_malformed ? NULL : &r->found);
	for (size_t i = 0; r->n_dropped_text && i < s->n_parents; i++)
		if (!r->a.parents[i].refusal)
			verdict_condition(&s->parents[i].conditions, "PartiallyInvalid", true, r->value_reason,
					  model_printf(r->t->m, "Dropped %s", r->dropped));
}

static void read_rules(struct route *r)
{
	struct model_match origin = {.kind = "HTTPRoute", .created_s = r->o->created_s};
	struct translation *t = r->t;
	struct cursor rules = cursor_get(&r->spec, "rules");
	size_t n = cursor_count(&rules);

	origin.ns = model_str(t->m, r->o->ns);
	origin.name = model_str(t->m, r->o->name);
	timeouts_read(t, r->o, &origin.timeouts);
	r->n_rules = n;
	t->findings = &r->found;
	t->via = r->a.vias[0];
	t->n_vias = r->a.n_vias;
	t->is_trial = r->a.n_at == 0 || budget_refusal(t);
	/* An attached route without rules matches all and has no backend. */
	for (size_t i = 0; i < (n ? n : 1); i++) {
		struct cursor rule = n ? cursor_at(&rules, i) : cursor_get(&r->spec, "rules");

		origin.rule_index = (uint32_t)i;
		if (!read_rule(r, &rule, &origin))
			break;
	}
	t->findings = NULL;
	t->is_trial = false;
	t->via = NULL;
	t->n_vias = 0;
	budget_charge(t, 0);
}

void httproute_read(struct translation *t, const struct kube_object *o)
{
	struct route r = {.t = t, .o = o, .root = cursor_root(o), .is_malformed = !is_usable(t, o), .a = {.t = t, .o = o}};

	r.spec = cursor_get(&r.root, "spec");
	r.a.spec = &r.spec;
	if (r.is_malformed)
		attachments_read_malformed(&r.a);
	else
		attachments_read(&r.a);
	if (r.a.n_parents && !r.is_malformed) /* else its parents are not ours, or their problem has been named */
		read_rules(&r);
	conclude(&r);
	attachments_fini(&r.a);
}
