/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners of a Gateway: which can be served, which are in each other's way
 * (all of these are left out, as the API has it), and what they are told.
 * Those for protocols that Weir does not carry are named and left out; the
 * others of the same Gateway are served.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "kube/names.h"
#include "translate/translate_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"

/* ---- one listener ---- */

static bool is_http(const struct section *s)
{
	return strcmp(s->protocol, "HTTP") == 0;
}

static bool is_https(const struct section *s)
{
	return strcmp(s->protocol, "HTTPS") == 0;
}

/* Routes are attached to a listener, be it served or not: so the API has it. */
static bool is_for_http_routes(const struct section *s)
{
	return is_http(s) || is_https(s);
}

static void unresolved(struct section *s, const char *reason, const char *text)
{
	if (!s->unresolved) {
		s->unresolved = reason;
		s->unresolved_text = text;
	}
}

/* Which of the kinds that the listener names can be attached. */
static void read_kinds(struct translation *t, const struct gateway *g, const struct cursor *allowed, struct section *s)
{
	struct cursor kinds = cursor_get(allowed, "kinds");

	s->takes_http_routes = is_for_http_routes(s) && cursor_count(&kinds) == 0;
	for (size_t i = 0; i < cursor_count(&kinds); i++) {
		struct cursor k = cursor_at(&kinds, i);
		struct cursor group = cursor_get(&k, "group");
		struct cursor kind = cursor_get(&k, "kind");

		if (is_for_http_routes(s) && strcmp(cursor_str(&group, GATEWAY_GROUP), GATEWAY_GROUP) == 0 &&
		    strcmp(cursor_str(&kind, ""), "HTTPRoute") == 0) {
			s->takes_http_routes = true;
			continue;
		}
		report(t, g->o, &k, false, "InvalidRouteKinds", "%s was expected: no other kind can be attached",
		       is_for_http_routes(s) ? "HTTPRoute" : "none");
		unresolved(s, "InvalidRouteKinds",
			   model_printf(t->m, "allowedRoutes.kinds[%zu]: %s was expected, not %.60s of %.100s", i,
					is_for_http_routes(s) ? "HTTPRoute of " GATEWAY_GROUP : "none, since Weir does not carry the protocol yet,",
					cursor_str(&kind, ""), cursor_str(&group, GATEWAY_GROUP)));
	}
}

/* Whether a value is one of a list that ends with NULL; a problem if not. */
static bool check_enum(struct translation *t, const struct kube_object *o, const struct cursor *at,
		       const char *const *values, const char *expected)
{
	for (; *values; values++)
		if (strcmp(cursor_str(at, ""), *values) == 0)
			return true;
	report(t, o, at, true, "InvalidValue", "%s was expected", expected);
	return false;
}

static bool check_selector(struct translation *t, const struct kube_object *o, const struct cursor *namespaces)
{
	static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
	struct cursor selector = cursor_get(namespaces, "selector");
	struct cursor list = cursor_get(&selector, "matchExpressions");

	if (!selector.n) {
		report(t, o, &selector, true, "MissingField", "a label selector was expected");
		return false;
	}
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor e = cursor_at(&list, i);
		struct cursor op = cursor_get(&e, "operator");
		struct cursor values = cursor_get(&e, "values");

		if (!check_enum(t, o, &op, operators, "In, NotIn, Exists or DoesNotExist"))
			return false;
		if (strstr(cursor_str(&op, ""), "In") && cursor_count(&values) == 0) {
			report(t, o, &values, true, "MissingField", "at least one value was expected");
			return false;
		}
	}
	return true;
}

bool namespaces_are_right(struct translation *t, const struct kube_object *o, const struct cursor *namespaces)
{
	static const char *const values[] = {"Same", "All", "Selector", "None", NULL};
	struct cursor from = cursor_get(namespaces, "from");

	if (!from.n)
		return true;
	if (!check_enum(t, o, &from, values, "Same, All, Selector or None"))
		return false;
	return strcmp(cursor_str(&from, ""), "Selector") != 0 || check_selector(t, o, namespaces);
}

static bool has_tls(const struct section *s)
{
	return is_https(s) || strcmp(s->protocol, "TLS") == 0;
}

static void report_protocol(struct translation *t, const struct gateway *g, const struct cursor *protocol)
{
	static const char *const known[] = {"TLS", "TCP", "UDP", NULL};
	bool is_known = false;

	for (size_t i = 0; known[i]; i++)
		is_known |= strcmp(cursor_str(protocol, ""), known[i]) == 0;
	report(t, g->o, protocol, true, "UnsupportedProtocol", "HTTP or HTTPS was expected%s",
	       is_known ? ": Weir does not carry this protocol yet" : "");
}

/* tls of a listener for HTTPS: what it refers to is one thing, that it can be served at all another. */
static void check_tls(struct translation *t, const struct gateway *g, const struct cursor *tls, struct section *s)
{
	struct cursor mode = cursor_get(tls, "mode");

	if (is_https(s) && strcmp(cursor_str(&mode, "Terminate"), "Terminate") != 0)
		report(t, g->o, &mode, true, "InvalidValue", "Terminate was expected: there is no other mode for HTTPS");
	t->findings->is_reference = true;
	certificates_check(t, g, tls, s);
	t->findings->is_reference = false;
}

/* What is wrong is a problem; t->findings keeps the first one that makes the listener unusable. */
static void check_section(struct translation *t, const struct gateway *g, const struct cursor *l, struct section *s)
{
	struct cursor protocol = cursor_get(l, "protocol");
	struct cursor host = cursor_get(l, "hostname");
	struct cursor allowed = cursor_get(l, "allowedRoutes");
	struct cursor namespaces = cursor_get(&allowed, "namespaces");
	struct cursor tls = cursor_get(l, "tls");

	s->namespaces = namespaces.n;
	if (!is_for_http_routes(s)) {
		report_protocol(t, g, &protocol);
		if (has_tls(s))
			check_tls(t, g, &tls, s);
		read_kinds(t, g, &allowed, s);
		return;
	}
	if (*s->host && !names_is_host(s->host))
		report(t, g->o, &host, true, "InvalidHostname",
		       "a host name in lower case, or \"*.\" and one, was expected");
	if (is_https(s))
		check_tls(t, g, &tls, s);
	else if (tls.n)
		report(t, g->o, &tls, false, "UnsupportedField", "ignored: a listener for HTTP has no TLS");
	s->admits_none = !namespaces_are_right(t, g->o, &namespaces);
	read_kinds(t, g, &allowed, s);
}

/* False, after a problem, if the listener has no name of its own. */
static bool check_name(struct translation *t, const struct gateway *g, const struct cursor *l, const char *text)
{
	struct cursor name = cursor_get(l, "name");

	if (!names_is_subdomain(text)) {
		report(t, g->o, &name, true, "InvalidName",
		       "a DNS name of lower case letters, digits, '-' and '.' was expected");
		return false;
	}
	for (size_t i = g->first; i < t->n_sections; i++) {
		if (strcmp(t->sections[i].name, text) != 0)
			continue;
		report(t, g->o, &name, true, "DuplicateListener",
		       "a name of its own was expected: %.100s stands before", text);
		return false;
	}
	return true;
}

static void read_section(struct translation *t, const struct gateway *g, const struct cursor *l)
{
	struct cursor name = cursor_get(l, "name");
	struct cursor protocol = cursor_get(l, "protocol");
	struct cursor host = cursor_get(l, "hostname");
	struct cursor port = cursor_get(l, "port");
	struct section s = {.index = l->index,
			    .name = cursor_str(&name, ""),
			    .protocol = cursor_str(&protocol, ""),
			    .host = cursor_str(&host, "")};
	struct findings found = {0};
	int64_t number = 0;

	if (!check_name(t, g, l, s.name))
		return;
	node_int(port.n, 1, 65535, &number);
	s.port = (uint16_t)number;
	t->findings = &found;
	check_section(t, g, l, &s);
	t->findings = NULL;
	if (!s.refusal) {
		s.refusal = found.value_reason;
		s.refusal_text = found.value_text;
	}
	t->sections = translate_grow(t->sections, t->n_sections, &t->cap_sections, sizeof(*t->sections));
	t->sections[t->n_sections++] = s;
}

void section_bind(struct section *s, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "listeners");
	struct cursor l, name, protocol, host, allowed, namespaces;

	if (s->index >= cursor_count(&list)) /* another spec, too: all are read again */
		return;
	l = cursor_at(&list, s->index);
	name = cursor_get(&l, "name");
	protocol = cursor_get(&l, "protocol");
	host = cursor_get(&l, "hostname");
	allowed = cursor_get(&l, "allowedRoutes");
	namespaces = cursor_get(&allowed, "namespaces");
	s->name = cursor_str(&name, "");
	s->protocol = cursor_str(&protocol, "");
	s->host = cursor_str(&host, "");
	s->namespaces = namespaces.n;
}

/* ---- conflicts ---- */

/* Why two listeners cannot both be served, or NULL. Weir does not carry TCP, so such a listener is in nobody's way. */
static const char *conflict_of(const struct section *a, const struct section *b)
{
	if (a->port != b->port)
		return NULL;
	if ((is_http(a) && has_tls(b)) || (has_tls(a) && is_http(b)))
		return "ProtocolConflict";
	return is_for_http_routes(a) && is_for_http_routes(b) && strcmp(a->host, b->host) == 0 ? "HostnameConflict" : NULL;
}

static void tell_conflict(struct translation *t, const struct gateway *g, const struct cursor *list, struct section *s,
			  const struct section *other, const char *reason)
{
	struct cursor l = cursor_at(list, s->index);
	const char *what = *reason == 'P' ? "protocol" : "host name";

	if (s->is_conflicted)
		return;
	s->is_conflicted = true;
	report(t, g->o, &l, true, reason, "another port or %s was expected: listener %.100s is in the way", what,
	       other->name);
	s->refusal = reason;
	s->refusal_text = model_printf(t->m, "listener %s has the same port %u, and %s %s", other->name, s->port,
				       *reason == 'P' ? "another" : "the same", what);
}

void listeners_read(struct translation *t, const struct gateway *g, const struct cursor *list)
{
	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor l = cursor_at(list, i);

		read_section(t, g, &l);
	}
	for (size_t i = g->first; i < t->n_sections; i++)
		for (size_t k = g->first; k < t->n_sections; k++) {
			const char *reason = i == k ? NULL : conflict_of(&t->sections[i], &t->sections[k]);

			if (reason)
				tell_conflict(t, g, list, &t->sections[i], &t->sections[k], reason);
		}
}

/* A listener that is served, or will be when it can, keeps its port from all that speak another protocol over TCP. */
static const char *conflict_with_earlier(const struct section *s, const struct section *earlier)
{
	const char *reason = conflict_of(s, earlier);

	if (reason || s->port != earlier->port || strcmp(s->protocol, "UDP") == 0 || strcmp(earlier->protocol, "UDP") == 0)
		return reason;
	return strcmp(s->protocol, "TCP") == 0 || strcmp(earlier->protocol, "TCP") == 0 ? "ProtocolConflict" : NULL;
}

/* The first section that takes the port for a protocol (and a host name, if it is not NULL), or where that would stand. */
static struct taken_slot *taken_find(const struct translation *t, const struct taken *k, uint16_t port, const char *protocol,
				     const char *host)
{
	uint64_t h = hash_keyed(protocol, strlen(protocol), port);
	size_t i = (host ? hash_keyed(host, strlen(host), h + 1) : h) & (k->n_slots - 1);

	for (; k->slots[i].section_plus1; i = (i + 1) & (k->n_slots - 1)) {
		const struct section *s = &t->sections[k->slots[i].section_plus1 - 1];

		if (k->slots[i].has_host == (host != NULL) && s->port == port && strcmp(s->protocol, protocol) == 0 &&
		    (!host || strcmp(s->host, host) == 0))
			break;
	}
	return &k->slots[i];
}

static void taken_put(const struct translation *t, struct taken *k, uint32_t section, bool has_host)
{
	const struct section *s = &t->sections[section];
	struct taken_slot *slot = taken_find(t, k, s->port, s->protocol, has_host ? s->host : NULL);

	if (slot->section_plus1)
		return;
	*slot = (struct taken_slot){section + 1, has_host};
	k->n++;
}

void taken_add(const struct translation *t, struct taken *k, size_t section)
{
	if (2 * (k->n + 2) > k->n_slots) {
		struct taken old = *k;

		k->n = 0;
		k->n_slots = old.n_slots ? old.n_slots * 2 : 64;
		k->slots = translate_must(calloc(k->n_slots, sizeof(*k->slots)));
		for (size_t i = 0; i < old.n_slots; i++)
			if (old.slots[i].section_plus1)
				taken_put(t, k, old.slots[i].section_plus1 - 1, old.slots[i].has_host);
		free(old.slots);
	}
	if (t->sections[section].refusal)
		return;
	taken_put(t, k, (uint32_t)section, false);
	taken_put(t, k, (uint32_t)section, true);
}

/* What stands first of all that is in the way of s; NULL: nothing. */
static const struct section *first_conflict(const struct translation *t, const struct taken *k, const struct section *s,
					    const char **reason)
{
	static const char *const protocols[] = {"HTTP", "HTTPS", "TLS", "TCP"};
	const struct section *found = NULL;

	for (size_t i = 0; k->n && i < 2 * sizeof(protocols) / sizeof(*protocols); i++) {
		const struct taken_slot *slot = taken_find(t, k, s->port, protocols[i / 2], i % 2 ? s->host : NULL);
		const struct section *earlier = slot->section_plus1 ? &t->sections[slot->section_plus1 - 1] : NULL;
		const char *why = earlier ? conflict_with_earlier(s, earlier) : NULL;

		if (!why || (found && found <= earlier))
			continue;
		found = earlier;
		*reason = why;
	}
	return found;
}

void listeners_add(struct translation *t, const struct gateway *set, const struct cursor *list, struct taken *taken)
{
	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor l = cursor_at(list, i);

		read_section(t, set, &l);
	}
	for (size_t i = set->first; i < t->n_sections; i++) {
		const char *reason;
		const struct section *earlier = first_conflict(t, taken, &t->sections[i], &reason);

		if (earlier)
			tell_conflict(t, set, list, &t->sections[i], earlier, reason);
		taken_add(t, taken, i);
	}
}

/* ---- what listeners are told ---- */

static void conclude_references(const struct section *s, struct model_conditions *c)
{
	if (s->unresolved) {
		verdict_condition(c, "ResolvedRefs", false, s->unresolved, s->unresolved_text);
	} else if (s->pending_text) {
		verdict_condition(c, "ResolvedRefs", false, "Pending", s->pending_text);
		c->c[c->n - 1].status = "Unknown";
	} else {
		verdict_condition(c, "ResolvedRefs", true, "ResolvedRefs", "all references are resolved");
	}
}

bool section_is_invalid(const struct section *s)
{
	return s->refusal || (is_https(s) && s->n_certs == 0 && s->unresolved);
}

void listener_conclude(struct translation *t, const struct gateway *g, const struct section *s,
		       struct model_section *out)
{
	struct model_conditions *c = &out->conditions;

	out->name = model_str(t->m, s->name);
	out->takes_http_routes = s->takes_http_routes;
	out->n_routes = s->n_routes;
	if (s->refusal)
		verdict_condition(c, "Accepted", false, s->refusal, s->refusal_text);
	else
		verdict_condition(c, "Accepted", true, "Accepted", "the listener is valid");
	if (s->is_conflicted)
		verdict_condition(c, "Conflicted", true, s->refusal, s->refusal_text);
	else
		verdict_condition(c, "Conflicted", false, "NoConflicts", "no other listener is in the way");
	if (s->refusal)
		verdict_condition(c, "Programmed", false, s->is_conflicted ? s->refusal : "Invalid", s->refusal_text);
	else if (g->refusal)
		verdict_condition(c, "Programmed", false, "Invalid", "the Gateway is not accepted");
	else if (is_https(s) && s->n_certs == 0)
		verdict_condition(c, "Programmed", false, s->unresolved ? "Invalid" : "Pending",
				  s->unresolved ? s->unresolved_text : s->pending_text ? s->pending_text : "there is no certificate");
	else if (s->is_unchecked)
		verdict_condition(c, "Programmed", false, "Pending", s->pending_text);
	else if (s->count == 0)
		verdict_condition(c, "Programmed", false, "Pending", "the Gateway has no address");
	else
		verdict_condition(c, "Programmed", true, "Programmed", "the listener is served");
	conclude_references(s, c);
}
