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

const struct carriage *section_carriage(const struct section *s)
{
	static const struct carriage list[] = {
	    {"HTTP", WEIR_PROTO_HTTP, WEIR_LISTENER_HTTP, KUBE_HTTP_ROUTE},
	    {"HTTPS", WEIR_PROTO_HTTPS, WEIR_LISTENER_HTTP, KUBE_HTTP_ROUTE},
	    {"TLS", WEIR_PROTO_HTTPS, WEIR_LISTENER_STREAM, KUBE_TLS_ROUTE},
	    {"TCP", WEIR_PROTO_TCP, WEIR_LISTENER_STREAM, KUBE_TCP_ROUTE},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		if (strcmp(list[i].protocol, s->protocol) == 0)
			return &list[i];
	return NULL;
}

/* enum weir_proto; 0: it is not carried. */
static uint8_t proto_of(const struct section *s)
{
	const struct carriage *c = section_carriage(s);

	return c ? c->proto : 0;
}

bool section_ends_tls(const struct section *s)
{
	return proto_of(s) == WEIR_PROTO_HTTPS && !s->is_passthrough;
}

/* Nothing that comes to a port of TCP says for which host it is. */
static const char *host_of(const struct section *s, const struct cursor *host)
{
	return proto_of(s) == WEIR_PROTO_TCP ? "" : cursor_str(host, "");
}

static void unresolved(struct section *s, const char *reason, const char *text)
{
	if (!s->unresolved) {
		s->unresolved = reason;
		s->unresolved_text = text;
	}
}

/* Which of the kinds that the listener names can be attached, be it served or not: so the API has it. */
static void read_kinds(struct translation *t, const struct gateway *g, const struct cursor *allowed, struct section *s)
{
	const struct carriage *c = section_carriage(s);
	const char *right = c ? kube_kind_name(c->routes) : NULL;
	struct cursor kinds = cursor_get(allowed, "kinds");

	s->routes = c && cursor_count(&kinds) == 0 ? c->routes : KUBE_N_KINDS;
	for (size_t i = 0; i < cursor_count(&kinds); i++) {
		struct cursor k = cursor_at(&kinds, i);
		struct cursor group = cursor_get(&k, "group");
		struct cursor kind = cursor_get(&k, "kind");

		if (right && strcmp(cursor_str(&group, GATEWAY_GROUP), GATEWAY_GROUP) == 0 && strcmp(cursor_str(&kind, ""), right) == 0) {
			s->routes = c->routes;
			continue;
		}
		report(t, g->o, &k, false, "InvalidRouteKinds", "%s was expected: no other kind can be attached", right ? right : "none");
		unresolved(s, "InvalidRouteKinds",
			   model_printf(t->m, "allowedRoutes.kinds[%zu]: %s%s was expected, not %.60s of %.100s", i,
					right ? right : "none, since Weir does not carry the protocol yet,",
					right ? " of " GATEWAY_GROUP : "", cursor_str(&kind, ""), cursor_str(&group, GATEWAY_GROUP)));
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

static void report_protocol(struct translation *t, const struct gateway *g, const struct cursor *protocol)
{
	report(t, g->o, protocol, true, "UnsupportedProtocol", "HTTP, HTTPS, TLS or TCP was expected%s",
	       strcmp(cursor_str(protocol, ""), "UDP") == 0 ? ": Weir does not carry this protocol yet" : "");
}

/* False if certificates are not asked for. */
static bool check_mode(struct translation *t, const struct gateway *g, const struct cursor *tls, struct section *s)
{
	struct cursor mode = cursor_get(tls, "mode");
	const char *text = cursor_str(&mode, "Terminate");

	if (section_carriage(s)->kind == WEIR_LISTENER_HTTP && strcmp(text, "Terminate") != 0)
		report(t, g->o, &mode, true, "InvalidValue", "Terminate was expected: there is no other mode for HTTPS");
	else if (strcmp(text, "Passthrough") == 0)
		s->is_passthrough = true;
	else if (strcmp(text, "Terminate") != 0)
		report(t, g->o, &mode, true, "InvalidValue", "Terminate or Passthrough was expected");
	return strcmp(text, "Passthrough") != 0;
}

/* tls of a listener: what it refers to is one thing, that it can be served at all another. */
static void check_tls(struct translation *t, const struct gateway *g, const struct cursor *tls, struct section *s)
{
	if (check_mode(t, g, tls, s)) {
		t->findings->is_reference = true;
		certificates_check(t, g, tls, s);
		t->findings->is_reference = false;
	} else if (s->is_passthrough && tls->n->n > 1) {
		report(t, g->o, tls, false, "UnsupportedField", "ignored but for mode: a listener has no part in TLS that is passed through");
	}
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
	if (!section_carriage(s)) {
		report_protocol(t, g, &protocol);
		read_kinds(t, g, &allowed, s);
		return;
	}
	if (*s->host && !names_is_host(s->host))
		report(t, g->o, &host, true, "InvalidHostname",
		       "a host name in lower case, or \"*.\" and one, was expected");
	if (*cursor_str(&host, "") && !*s->host)
		report(t, g->o, &host, false, "UnsupportedField", "ignored: a listener for TCP has no host name");
	if (proto_of(s) == WEIR_PROTO_HTTPS)
		check_tls(t, g, &tls, s);
	else if (tls.n)
		report(t, g->o, &tls, false, "UnsupportedField", "ignored: a listener for %s has no TLS", s->protocol);
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
			    .protocol = cursor_str(&protocol, "")};
	struct findings found = {0};
	int64_t number = 0;

	if (!check_name(t, g, l, s.name))
		return;
	node_int(port.n, 1, 65535, &number);
	s.port = (uint16_t)number;
	s.host = host_of(&s, &host);
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
	s->host = host_of(s, &host);
	s->namespaces = namespaces.n;
}

/* ---- conflicts ---- */

/* Why two listeners cannot both be served, or NULL. What Weir does not carry is in nobody's way. */
static const char *conflict_of(const struct section *a, const struct section *b)
{
	const uint8_t x = proto_of(a), y = proto_of(b);

	if (a->port != b->port || !x || !y)
		return NULL;
	if (x != y || x == WEIR_PROTO_TCP) /* two of TCP have nothing that could tell them apart */
		return "ProtocolConflict";
	return strcmp(a->host, b->host) == 0 ? "HostnameConflict" : NULL;
}

static void tell_conflict(struct translation *t, const struct gateway *g, const struct cursor *list, struct section *s,
			  const struct section *other, const char *reason)
{
	struct cursor l = cursor_at(list, s->index);
	const bool are_of_tcp = proto_of(s) == WEIR_PROTO_TCP && proto_of(other) == WEIR_PROTO_TCP;

	if (s->is_conflicted)
		return;
	s->is_conflicted = true;
	report(t, g->o, &l, true, reason, "another port%s was expected: listener %.100s is in the way",
	       are_of_tcp      ? ""
	       : *reason == 'P' ? " or protocol"
				: " or host name",
	       other->name);
	s->refusal = reason;
	s->refusal_text = model_printf(t->m, "listener %s has the same port %u, and %s", other->name, s->port,
				       are_of_tcp       ? "is for TCP, too"
				       : *reason == 'P' ? "another protocol"
							: "the same host name");
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
		const char *why = earlier ? conflict_of(s, earlier) : NULL;

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
	return s->refusal || (section_ends_tls(s) && s->n_certs == 0 && s->unresolved);
}

void listener_conclude(struct translation *t, const struct gateway *g, const struct section *s,
		       struct model_section *out)
{
	struct model_conditions *c = &out->conditions;

	out->name = model_str(t->m, s->name);
	out->routes = s->routes;
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
	else if (section_ends_tls(s) && s->n_certs == 0)
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
