/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which certificates TLS clients are shown, or that none is: the server names of
 * listeners for HTTPS and TLS, and those of Ingresses. Of those that a certificate gives, a listener
 * without a host name has each, so that of several the right one is shown.
 */
#include <string.h>

#include "kube/names.h"
#include "translate/translate_pvt.h"

size_t server_certs(const struct certificate *const *certs, size_t n, const char *host,
		    const struct certificate *out[WEIR_MAX_CERTS_OF_NAME])
{
	bool has_key[2][N_CERTIFICATE_KEYS] = {{false}};
	size_t n_out = 0;

	_Static_assert((int)N_CERTIFICATE_KEYS <= (int)WEIR_MAX_CERTS_OF_NAME, "one of each kind");
	for (unsigned any = 0; any < 2 && n_out == 0; any++)
		for (size_t i = 0; i < n; i++) {
			if (has_key[any][certs[i]->key] || (!any && !certificate_covers(certs[i], host)))
				continue;
			has_key[any][certs[i]->key] = true;
			out[n_out++] = certs[i];
		}
	return n_out;
}

/* Its certificates, in the memory of the model. */
static void add_name(struct translation *t, const struct model_server_name *proto, const char *host,
		     const struct certificate *const *certs, size_t n)
{
	struct model_server_name *out = model_add_name(t->m);
	const struct certificate **own = model_alloc(t->m, WEIR_MAX_CERTS_OF_NAME * sizeof(*own));

	*out = *proto;
	out->host = model_str(t->m, host);
	out->n_certs = server_certs(certs, n, host, own);
	out->certs = own;
}

#define DERIVED_MAX 256u /* of one listener, or entry of an Ingress */

/* Each name of each of them; where two have it, that of the first counts. */
static void add_derived(struct translation *t, struct model_server_name proto, const struct certificate *const *certs, size_t n)
{
	size_t n_added = 0;

	proto.is_derived = true;
	proto.host_one_label = true;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < certs[i]->n_names && n_added < DERIVED_MAX; k++, n_added++)
			add_name(t, &proto, certs[i]->names[k], certs, n);
}

/* ---- listeners ---- */

void server_names_of_listener(struct translation *t, const struct section *s, uint32_t listener)
{
	const struct model_listener *l = &t->m->listeners[listener];
	const struct model_server_name proto = {
	    .addr = l->addr, .port = l->port, .profile = s->profile, .listener = (int32_t)listener, .client_auth = s->client_auth,
	    .mode = s->is_passthrough ? WEIR_TLS_PASSTHROUGH : WEIR_TLS_TERMINATE, .owner = l->name};

	if (*s->host || s->is_passthrough) {
		add_name(t, &proto, s->host, s->certs, s->n_certs);
		return;
	}
	add_name(t, &proto, "", s->certs, 1);
	add_derived(t, proto, s->certs, s->n_certs);
}

/* A name's entry, its places in the table, its certificates, and its text. */
static uint64_t name_cost(const char *host)
{
	return sizeof(struct weir_server_name) + 4 * sizeof(struct weir_slot) + WEIR_MAX_CERTS_OF_NAME * sizeof(struct weir_cert_id) +
	       strlen(host);
}

uint64_t server_names_cost(const struct section *s)
{
	uint64_t cost = s->n_certs || s->is_passthrough ? name_cost(s->host) : 0;

	if (s->client_auth)
		cost += sizeof(struct weir_client_auth) + sizeof(struct weir_cert_id);
	for (size_t i = 0; !*s->host && i < s->n_certs; i++)
		for (size_t k = 0; k < s->certs[i]->n_names; k++)
			cost += name_cost(s->certs[i]->names[k]);
	return cost;
}

/* ---- Ingresses ---- */

#define INGRESS_PORT 443u

/* What one entry of spec.tls says, or the default certificate. */
struct tls_entry {
	struct translation *t;
	const struct kube_object *o;
	const struct certificate *c;
	struct model_server_name proto;
};

static void add_host(const struct tls_entry *e, const struct cursor *at, const char *host)
{
	if (!certificate_covers(e->c, host))
		report(e->t, e->o, at, false, "CertificateNameMismatch",
		       "served, but a certificate for \"%.253s\" was expected: clients that check will not take that of Secret %.63s/%.253s", host,
		       e->c->ns, e->c->name);
	add_name(e->t, &e->proto, host, &e->c, 1);
}

/* An entry without hosts stands for those of the rules; where these name none, for what its certificate covers. */
static void add_hosts(const struct tls_entry *e, const struct cursor *spec, const struct cursor *hosts)
{
	struct cursor rules = cursor_get(spec, "rules");
	size_t n = 0;

	for (size_t i = 0; i < cursor_count(hosts); i++) {
		struct cursor h = cursor_at(hosts, i);

		if (names_is_host(cursor_str(&h, "")))
			add_host(e, &h, cursor_str(&h, ""));
	}
	for (size_t i = 0; cursor_count(hosts) == 0 && i < cursor_count(&rules); i++) {
		struct cursor rule = cursor_at(&rules, i);
		struct cursor h = cursor_get(&rule, "host");

		if (!names_is_host(cursor_str(&h, "")))
			continue;
		add_host(e, &h, cursor_str(&h, ""));
		n++;
	}
	if (cursor_count(hosts) == 0 && n == 0)
		add_derived(e->t, e->proto, &e->c, 1);
}

static const struct certificate *default_certificate(struct translation *t, struct ref_fault *f)
{
	const struct translate_options *o = t->options;

	*f = o->default_name ? certificate_fault_of(t, o->default_ns, o->default_name)
			     : (struct ref_fault){"NoDefaultCertificate", "the name of a Secret was expected: there is no default certificate", false};
	return f->text ? NULL : secret_certificate(t, o->default_ns, o->default_name);
}

static void read_entry(struct tls_entry *e, const struct cursor *spec, const struct cursor *entry)
{
	struct cursor hosts = cursor_get(entry, "hosts");
	struct cursor at = cursor_get(entry, "secretName");
	const char *name = cursor_str(&at, "");
	struct ref_fault f;

	if (*name) {
		f = certificate_fault_of(e->t, e->o->ns, name);
		e->c = f.text ? NULL : secret_certificate(e->t, e->o->ns, name);
	} else {
		e->c = default_certificate(e->t, &f);
	}
	if (f.reason)
		report(e->t, e->o, at.n ? &at : entry, false, f.reason, "%s", f.text);
	if (!e->c)
		return;
	if (*name)
		certificate_warn(e->t, e->o, &at, e->c);
	add_hosts(e, spec, &hosts);
}

void server_names_of_ingress(struct translation *t, const struct kube_object *o, const struct cursor *spec,
			     const struct model_client_auth *auth)
{
	struct cursor list = cursor_get(spec, "tls");
	struct tls_entry e = {.t = t, .o = o, .proto = {.port = INGRESS_PORT, .host_one_label = true, .listener = -1}};

	if (cursor_count(&list) == 0)
		return;
	e.proto.client_auth = auth;
	e.proto.owner = model_printf(t->m, "Ingress %s/%s", o->ns, o->name);
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor entry = cursor_at(&list, i);

		read_entry(&e, spec, &entry);
	}
}

uint64_t server_names_ingress_cost(const struct cursor *spec)
{
	const size_t each = name_cost("") + 64; /* of a name in a certificate, which may not be there yet */
	struct cursor list = cursor_get(spec, "tls");
	struct cursor rules = cursor_get(spec, "rules");
	uint64_t cost = 0;

	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor entry = cursor_at(&list, i);
		struct cursor hosts = cursor_get(&entry, "hosts");

		for (size_t k = 0; k < cursor_count(&hosts); k++) {
			struct cursor h = cursor_at(&hosts, k);

			cost += name_cost(cursor_str(&h, ""));
		}
		if (cursor_count(&hosts) == 0)
			cost += each * (cursor_count(&rules) ? cursor_count(&rules) : CERTIFICATE_NAMES_MAX);
	}
	return cost;
}

void server_names_default(struct translation *t)
{
	const struct model_server_name proto = {.port = INGRESS_PORT, .listener = -1, .owner = "the default certificate"};
	const struct certificate *c;
	struct model_problem *p;
	struct ref_fault f;

	if (!t->options->default_name)
		return;
	c = default_certificate(t, &f);
	if (c)
		add_name(t, &proto, "", &c, 1);
	if (!f.reason)
		return;
	p = model_add_problem(t->m);
	p->file = p->field = "";
	p->kind = kube_kind_name(KUBE_SECRET);
	p->ns = model_str(t->m, t->options->default_ns);
	p->name = model_str(t->m, t->options->default_name);
	p->reason = f.reason;
	p->text = model_printf(t->m, "the default certificate: %s", f.text);
	p->is_fatal = true;
}
