/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of clients for an Ingress, by its annotations: for the hosts of
 * its spec.tls. Where one is required, nothing of the Ingress is served to who
 * has shown none: over plain HTTP there is a redirect, and where a host's
 * clients are asked otherwise, since somebody older has that name, or spec.tls
 * does not have it, the answer is 403. What is wrong closes, and never opens.
 */
#include <stdlib.h>
#include <string.h>

#include "kube/names.h"
#include "translate/compile_pvt.h"
#include "translate/translator_pvt.h"

#define INVALID "InvalidAnnotation"
#define DEPTH_DEFAULT 3u

/* "NAME" is a ConfigMap, "secret/NAME" a Secret, of the Ingress's own namespace. NULL, unusable or not known yet: nobody is trusted. */
static const struct certificate *read_ca(struct translation *t, const struct kube_object *o, const struct cursor *at)
{
	static const char secret[] = "secret/";
	const char *name = cursor_str(at, "");
	bool is_secret = strncmp(name, secret, strlen(secret)) == 0;
	enum kube_kind kind = is_secret ? KUBE_SECRET : KUBE_CONFIG_MAP;
	const struct certificate *c;
	bool is_pending = false;
	const char *fault;

	name += is_secret ? strlen(secret) : 0;
	if (!names_is_subdomain(name)) {
		report(t, o, at, true, INVALID,
		       "NAME of a ConfigMap, or secret/NAME, of the Ingress's own namespace was expected; nobody is let in");
		return NULL;
	}
	fault = secret_fault(t, kind, o->ns, name, SECRET_CA, &is_pending);
	if (fault && !is_pending)
		report(t, o, at, true, "InvalidCACertificateRef", "%s; nobody is let in", fault);
	if (fault)
		return NULL;
	c = secret_trust(t, kind, o->ns, name);
	if (c)
		trust_warn(t, o, at, c);
	return c;
}

static uint8_t read_mode(struct translation *t, const struct kube_object *o, const struct cursor *at)
{
	static const char *const modes[] = {"required", "optional", "insecure"};
	const char *text = cursor_str(at, "required");

	_Static_assert(WEIR_CLIENT_AUTH_REQUIRED == 0 && WEIR_CLIENT_AUTH_OPTIONAL == 1 && WEIR_CLIENT_AUTH_INSECURE == 2, "order");
	for (uint8_t i = 0; i < 3; i++)
		if (strcmp(text, modes[i]) == 0)
			return i;
	report(t, o, at, true, INVALID, "required, optional or insecure was expected; it is required");
	return WEIR_CLIENT_AUTH_REQUIRED;
}

static uint8_t read_depth(struct translation *t, const struct kube_object *o, const struct cursor *at)
{
	const char *text = cursor_str(at, "");
	size_t n = strspn(text, "0123456789");
	unsigned long v = n > 0 && n < 3 && !text[n] ? strtoul(text, NULL, 10) : WEIR_MAX_CLIENT_AUTH_DEPTH + 1;

	if (!at->n)
		return DEPTH_DEFAULT;
	if (v <= WEIR_MAX_CLIENT_AUTH_DEPTH)
		return (uint8_t)v;
	report(t, o, at, true, INVALID, "a number from 0 to %u was expected; it is %u", WEIR_MAX_CLIENT_AUTH_DEPTH, DEPTH_DEFAULT);
	return DEPTH_DEFAULT;
}

const struct model_client_auth *ingress_auth_read(struct translation *t, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor metadata = cursor_get(&root, "metadata");
	struct cursor list = cursor_get(&metadata, "annotations");
	struct cursor ca = cursor_get(&list, CLIENT_CERTIFICATE_CA);
	struct cursor mode = cursor_get(&list, CLIENT_CERTIFICATE);
	struct cursor depth = cursor_get(&list, CLIENT_CERTIFICATE_DEPTH);
	struct cursor fields = cursor_get(&list, CLIENT_CERTIFICATE_FIELDS);
	struct model_client_auth *auth;

	if (!ca.n && !mode.n && !depth.n && !fields.n)
		return NULL;
	auth = model_alloc(t->m, sizeof(*auth));
	auth->fields = WEIR_CLIENT_CERT_XFCC;
	auth->mode = read_mode(t, o, &mode);
	auth->depth = read_depth(t, o, &depth);
	if (fields.n && !client_fields_parse(cursor_str(&fields, ""), &auth->fields))
		report(t, o, &fields, true, INVALID, CLIENT_FIELDS_EXPECTED "; it is xfcc");
	if (ca.n)
		auth->trust = read_ca(t, o, &ca);
	else
		report(t, o, &list, true, "MissingField", CLIENT_CERTIFICATE_CA " was expected with the others; nobody is let in");
	if (!auth->trust)
		auth->mode = WEIR_CLIENT_AUTH_REQUIRED;
	return auth;
}

bool ingress_auth_knows(const char *key)
{
	return strcmp(key, CLIENT_CERTIFICATE_CA) == 0 || frontend_knows_option(key);
}

/* ---- who is served ---- */

static void redirect(struct model_match *m)
{
	static const struct model_filter to_https = {.kind = WEIR_FILTER_REDIRECT, .scheme = WEIR_PROTO_HTTPS, .status = 308};

	m->action = WEIR_ACTION_REDIRECT;
	m->status = 0;
	m->n_splits = 0;
	m->splits = NULL;
	m->filters = (struct model_filters){1, &to_https};
}

static void refuse(struct model_match *m)
{
	m->action = WEIR_ACTION_STATUS;
	m->status = 403;
	m->n_splits = 0;
	m->splits = NULL;
	m->filters = (struct model_filters){0, NULL};
}

/* Server names of the port of Ingresses, by host; of one host the first one, as for the compiler. */
struct names {
	const struct model_server_name **list;
	size_t n;
};

static int by_host(const void *pa, const void *pb)
{
	const struct model_server_name *a = *(const struct model_server_name *const *)pa;
	const struct model_server_name *b = *(const struct model_server_name *const *)pb;
	int d = strcmp(a->host, b->host);

	return d ? d : a < b ? -1 : a > b;
}

static struct names collect(const struct model *m)
{
	static const struct weir_ip any;
	struct names out = {.list = translate_must(malloc((m->n_names + 1) * sizeof(*out.list)))};
	size_t n = 0;

	for (size_t i = 0; i < m->n_names; i++)
		if (m->names[i].port == 443 && memcmp(&m->names[i].addr, &any, sizeof(any)) == 0)
			out.list[n++] = &m->names[i];
	qsort(out.list, n, sizeof(*out.list), by_host);
	for (size_t i = 0; i < n; i++)
		if (out.n == 0 || strcmp(out.list[out.n - 1]->host, out.list[i]->host) != 0)
			out.list[out.n++] = out.list[i];
	return out;
}

static int host_order(const void *host, const void *p)
{
	return strcmp(host, (*(const struct model_server_name *const *)p)->host);
}

static const struct model_server_name *find(const struct names *all, const char *host)
{
	const struct model_server_name **p = bsearch(host, all->list, all->n, sizeof(*all->list), host_order);

	return p ? *p : NULL;
}

/* Whether all who may ask for this host by name are asked for certificates as it demands. */
static bool is_guarded(const struct names *all, const char *host, const struct model_client_auth *auth)
{
	const char *dot = strchr(host, '.');
	const struct model_server_name *n = find(all, host);
	char wildcard[300];

	if (!n && *host && *host != '*' && dot && strlen(dot) + 2 < sizeof(wildcard)) {
		wildcard[0] = '*';
		strcpy(wildcard + 1, dot);
		n = find(all, wildcard);
	}
	if (!n || !compile_is_same_auth(n->client_auth, auth))
		return false;
	for (size_t i = 0; *host == '*' && i < all->n; i++) { /* names below a wildcard have their own say */
		const char *own = strchr(all->list[i]->host, '.');

		if (own && strcmp(own, host + 1) == 0 && !compile_is_same_auth(all->list[i]->client_auth, auth))
			return false;
	}
	return true;
}

void ingress_auth_guard(struct model *all, uint32_t https)
{
	struct names names = {NULL, 0};

	for (size_t i = 0; i < all->n_matches; i++) {
		struct model_match *m = &all->matches[i];

		if (!m->client_auth)
			continue;
		if (!names.list)
			names = collect(all);
		if (m->listener != https)
			redirect(m);
		else if (!is_guarded(&names, m->host, m->client_auth))
			refuse(m);
	}
	free(names.list);
}

/* ---- what its owner is told ---- */

static bool has_host(const struct cursor *tls, const char *host)
{
	const char *dot = strchr(host, '.');

	for (size_t i = 0; i < cursor_count(tls); i++) {
		struct cursor entry = cursor_at(tls, i);
		struct cursor hosts = cursor_get(&entry, "hosts");

		if (cursor_count(&hosts) == 0 && *host)
			return true;
		for (size_t k = 0; k < cursor_count(&hosts); k++) {
			struct cursor at = cursor_at(&hosts, k);
			const char *own = cursor_str(&at, "");

			if (strcmp(own, host) == 0 || (dot && own[0] == '*' && strcmp(own + 1, dot) == 0))
				return true;
		}
	}
	return false;
}

void ingress_auth_check(struct translation *t, const struct kube_object *o, const struct cursor *spec)
{
	struct cursor tls = cursor_get(spec, "tls");
	struct cursor rules = cursor_get(spec, "rules");
	struct cursor backend = cursor_get(spec, "defaultBackend");

	for (size_t i = 0; i < cursor_count(&rules); i++) {
		struct cursor rule = cursor_at(&rules, i);
		struct cursor host = cursor_get(&rule, "host");

		if (!has_host(&tls, cursor_str(&host, "")))
			report(t, o, host.n ? &host : &rule, true, "ClientCertificateHost",
			       "a host of spec.tls was expected: clients are asked for certificates by name; it answers 403");
	}
	if (backend.n)
		report(t, o, &backend, true, "ClientCertificateHost",
		       "none was expected: clients are asked for certificates by name; for hosts that are not in spec.tls it answers 403");
}
