/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server names of a snapshot, for binds of HTTPS, and which certificates
 * each is shown. Who has a name first keeps it; a listener before an Ingress,
 * be it by its host name or by what its certificate covers. A name that only a
 * certificate gives is left out where another listener has that host, which
 * would answer 421 to who was shown the certificate; so is one of an Ingress,
 * whose owner else would choose what clients of that listener are shown.
 */
#include "translate/compile_pvt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "translate/staples.h"

/* A name, where it belongs. */
struct named {
	const struct model_server_name *n;
	uint8_t kind;
	struct slice key;
};

static int by_bind(const struct model_server_name *a, const struct model_server_name *b)
{
	return a->port != b->port ? (a->port < b->port ? -1 : 1) : memcmp(a->addr.b, b->addr.b, sizeof(a->addr.b));
}

/* Of one address, port and name. */
static int by_key(const struct named *a, const struct named *b)
{
	int order = by_bind(a->n, b->n);

	if (!order)
		order = (a->kind > b->kind) - (a->kind < b->kind);
	return order ? order : place_compare_slices(a->key, b->key);
}

static int by_precedence(const void *pa, const void *pb)
{
	const struct named *a = pa;
	const struct named *b = pb;
	int order = by_key(a, b);

	if (!order)
		order = (a->n->listener < 0) - (b->n->listener < 0);
	if (!order)
		order = a->n->is_derived - b->n->is_derived;
	return order ? order : (a->n > b->n) - (a->n < b->n);
}

/* ---- what listeners have */

static int listener_order(const void *pa, const void *pb)
{
	return place_compare_listeners(pa, *(const struct model_listener *const *)pb);
}

static bool has_listener(const struct compiler *c, const struct model_server_name *n, const char *host)
{
	const struct model_listener key = {.addr = n->addr, .port = n->port, .host = host};

	return bsearch(&key, c->listeners, c->n_listeners, sizeof(*c->listeners), listener_order) != NULL;
}

/* Whether requests for this name are another listener's, be it by the same host or by a wildcard. */
static bool is_of_listener(const struct compiler *c, const struct named *x)
{
	const char *host = x->n->host;
	char wildcard[256] = "*";

	if (x->kind == WEIR_HOST_ANY)
		return false;
	if (x->kind == WEIR_HOST_WILDCARD_ONE && has_listener(c, x->n, host)) /* it covers more labels, and all of these */
		return true;
	if (!x->n->is_derived && x->n->listener >= 0)
		return false;
	if (has_listener(c, x->n, host))
		return true;
	while ((host = strchr(host + 1, '.')) != NULL) {
		snprintf(wildcard + 1, sizeof(wildcard) - 1, "%s", host);
		if (has_listener(c, x->n, wildcard))
			return true;
	}
	return false;
}

/* ---- certificates */

static int id_order(const void *a, const void *b)
{
	return certificate_compare_ids(a, b);
}

static void report(struct compiler *c, const char *kind, const char *ns, const char *name, const char *reason, const char *text)
{
	struct model_problem *p = model_add_problem(c->m);

	p->file = p->field = "";
	p->kind = kind;
	p->ns = ns;
	p->name = name;
	p->reason = reason;
	p->text = text;
	p->is_fatal = true;
}

static const char refused_text[] = "the dataplane does not take this certificate: what needs it is refused";

/* Problems of a compiler last as long as what they are about: so they point there, and have nothing of their own. */
static void report_taken(struct compiler *c, const struct model_server_name *n)
{
	report(c, "", "", n->owner, "ServerNameTaken", "who is older, or a Gateway, has this name: its certificate is shown");
	c->m->problems[c->m->n_problems - 1].field = n->host;
	c->m->problems[c->m->n_problems - 1].is_fatal = false;
}

bool compile_is_refused(struct compiler *c, const struct certificate *x)
{
	struct model *m = c->m;
	const struct weir_cert_id *found =
		m->n_refused ? bsearch(&x->blob->id, m->refused, m->n_refused, sizeof(*m->refused), id_order) : NULL;

	if (!found)
		return false;
	for (size_t i = 0; x->name && i < m->n_problems; i++)
		if (m->problems[i].text == refused_text && strcmp(m->problems[i].name, x->name) == 0 &&
		    strcmp(m->problems[i].ns, x->ns) == 0)
			return true;
	if (x->name)
		report(c, x->of ? x->of : "Secret", x->ns, x->name, "CertificateRefused", refused_text);
	return true;
}

/* With its OCSP response, unless that is what the dataplane does not take. NULL: it is left out. */
static const struct certificate *served(struct compiler *c, const struct certificate *x)
{
	const struct model *m = c->m;
	const struct certificate *stapled = staples_served(m->staples, x);

	if (compile_is_refused(c, x))
		return NULL;
	return m->n_refused && bsearch(&stapled->blob->id, m->refused, m->n_refused, sizeof(*m->refused), id_order) ? x : stapled;
}

static struct weir_range add_certs(struct compiler *c, const struct model_server_name *n)
{
	struct weir_range range = {compile_count(c, CERTS), 0};

	for (size_t i = 0; i < n->n_certs && i < WEIR_MAX_CERTS_OF_NAME; i++) {
		const struct certificate *x = served(c, n->certs[i]);
		struct weir_cert_id *id = x ? compile_push(c, WEIR_SECT_CERTS, 1) : NULL;

		if (!x)
			continue;
		if (!id)
			break;
		*id = x->blob->id;
		range.count++;
	}
	return range;
}

/* ---- names */

static bool are_alike(const struct model_server_name *a, const struct model_server_name *b)
{
	if (a->n_certs != b->n_certs || a->profile != b->profile || a->mode != b->mode ||
	    !compile_is_same_auth(a->client_auth, b->client_auth))
		return false;
	for (size_t i = 0; i < a->n_certs; i++)
		if (certificate_compare_ids(&a->certs[i]->blob->id, &b->certs[i]->blob->id) != 0)
			return false;
	return true;
}

static void add_name(struct compiler *c, struct weir_bind *b, const struct named *x)
{
	struct weir_range certs = add_certs(c, x->n);
	struct weir_str host = compile_intern(c, x->key.p, x->key.n);
	uint32_t client_auth = compile_client_auth(c, x->n->client_auth);
	struct weir_server_name *out;

	out = compile_push(c, WEIR_SECT_NAMES, 1);
	if (!out)
		return;
	out->host = host;
	out->host_kind = x->kind;
	out->profile = x->n->profile;
	out->mode = x->n->mode;
	out->client_auth = client_auth;
	out->certs = certs;
	out->listener = x->n->listener < 0 ? WEIR_NONE : c->ranks[x->n->listener] - b->listeners.first;
	b->names.count++;
}

/* Those of one bind, from list on. How many there are, taken or not. */
static size_t add_names(struct compiler *c, struct weir_bind *b, const struct named *list, size_t n)
{
	const struct named *last = NULL;
	size_t i = 0;

	b->names.first = compile_count(c, NAMES);
	for (; i < n && list[i].n->port == b->port && memcmp(&list[i].n->addr, &b->addr, sizeof(b->addr)) == 0; i++) {
		const struct named *x = &list[i];

		if (b->proto != WEIR_PROTO_HTTPS || (x->n->listener >= 0 && c->ranks[x->n->listener] == WEIR_NONE))
			continue;
		if (is_of_listener(c, x)) {
			if (!x->n->is_derived)
				report_taken(c, x->n);
			continue;
		}
		if (!last || by_key(last, x) != 0) {
			add_name(c, b, x);
			last = x;
		} else if (!x->n->is_derived && !are_alike(last->n, x->n)) {
			report_taken(c, x->n);
		}
	}
	return i;
}

void compile_names(struct compiler *c)
{
	const struct model *m = c->m;
	struct named *list = malloc((m->n_names + 1) * sizeof(*list));
	size_t next = 0;

	if (!list) {
		c->no_memory = true;
		return;
	}
	for (size_t i = 0; i < m->n_names; i++) {
		list[i].n = &m->names[i];
		list[i].kind = place_host_key(m->names[i].host, m->names[i].host_one_label, &list[i].key);
	}
	qsort(list, m->n_names, sizeof(*list), by_precedence);
	for (uint32_t i = 0; i < compile_count(c, BINDS) && !c->no_memory; i++) {
		struct weir_bind *b = compile_at(c, BINDS, struct weir_bind, i);
		const struct model_server_name own = {.addr = b->addr, .port = b->port};

		while (next < m->n_names && by_bind(list[next].n, &own) < 0)
			next++; /* no listener is there */
		next += add_names(c, b, list + next, m->n_names - next);
	}
	free(list);
}
