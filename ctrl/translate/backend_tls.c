/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a BackendTLSPolicy says of TLS to the Services that it names, and
 * whether it can be spoken so. Routes ask the latter, which costs little; what
 * it says is read by each backend for itself.
 */
#include <ctype.h>
#include <string.h>

#include "kube/names.h"
#include "translate/translator_pvt.h"

/* The parts of a policy. */
struct policy {
	struct cursor root, spec, validation;
};

static void open_policy(struct policy *p, const struct kube_object *o)
{
	p->root = cursor_root(o);
	p->spec = cursor_get(&p->root, "spec");
	p->validation = cursor_get(&p->spec, "validation");
}

static struct ref_fault invalid(struct translation *t, const struct kube_object *o, const struct cursor *at, bool tells,
				const char *text)
{
	if (tells)
		report(t, o, at, true, "InvalidValue", "%s", text);
	return (struct ref_fault){.reason = "Invalid",
				  .text = model_printf(t->m, "%s: %s", at->key ? at->key : "subjectAltNames", text)};
}

/* ---- names */

static bool is_exact_host(const char *s)
{
	return names_is_host(s) && *s != '*';
}

/* Scheme and something behind it (RFC 3986 3), as it can stand in a certificate (RFC 5280 4.2.1.6). */
static bool is_uri(const char *s)
{
	const char *colon = strchr(s, ':');

	if (!colon || !colon[1] || !isalpha((unsigned char)*s) || strlen(s) > WEIR_MAX_NAME)
		return false;
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p > '~')
			return false;
	return true;
}

/* The value of a SubjectAltName; NULL: it has none that is right. */
static const char *read_san(const struct cursor *san, uint8_t *kind)
{
	struct cursor type = cursor_get(san, "type");
	bool is_uri_type = strcmp(cursor_str(&type, ""), "URI") == 0;
	struct cursor at = cursor_get(san, is_uri_type ? "uri" : "hostname");
	const char *value = cursor_str(&at, "");

	*kind = is_uri_type ? WEIR_SAN_URI : WEIR_SAN_DNS;
	if (is_uri_type)
		return is_uri(value) ? value : NULL;
	return strcmp(cursor_str(&type, ""), "Hostname") == 0 && names_is_host(value) ? value : NULL;
}

static struct ref_fault check_names(struct translation *t, const struct kube_object *o, const struct policy *p, bool tells)
{
	struct cursor host = cursor_get(&p->validation, "hostname");
	struct cursor list = cursor_get(&p->validation, "subjectAltNames");
	uint8_t kind;

	if (!is_exact_host(cursor_str(&host, "")))
		return invalid(t, o, &host, tells, "a host name in lower case, without a wildcard, was expected");
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor san = cursor_at(&list, i);

		if (!read_san(&san, &kind))
			return invalid(t, o, &san, tells,
				       "type Hostname with a hostname, or type URI with an absolute uri, was expected");
	}
	return (struct ref_fault){NULL, NULL, false};
}

/* ---- whom to trust */

static struct ref_fault no_certificate(const char *text)
{
	return (struct ref_fault){.reason = "NoValidCACertificate", .text = text};
}

static struct ref_fault check_system(struct translation *t, const struct kube_object *o, const struct cursor *at, bool tells)
{
	const char *fault;

	depend_on(t, KEY_SYSTEM, "", "");
	fault = t->options->system_fault;
	if (t->options->system_trust || !fault)
		return (struct ref_fault){NULL, NULL, false};
	if (tells)
		report(t, o, at, true, "NoValidCACertificate", "CA certificates of the machine were expected: %s", fault);
	return no_certificate(model_printf(t->m, "the machine has no CA certificates: %s", fault));
}

/* Those that can be used do, be the others as they may; all together must not be too many. */
static struct ref_fault check_refs(struct translation *t, const struct kube_object *o, const struct cursor *list, bool tells)
{
	struct ref_fault first = {NULL, NULL, false};
	const struct certificate *trust = NULL;
	size_t n_right = 0;

	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor ref = cursor_at(list, i);
		struct ref_fault f = ca_fault(t, o, &ref, "InvalidKind");

		n_right += !f.text;
		if (f.reason && tells)
			report(t, o, &ref, true, f.reason, "%s", f.text);
		if (f.text && (!first.text || (first.is_pending && f.reason)))
			first = f;
	}
	if (n_right > 0 && tells)
		trust = trust_of_refs(t, o, list, "InvalidKind");
	if (trust)
		trust_warn(t, o, list, trust);
	if (n_right > 0 && (!tells || trust))
		return (struct ref_fault){NULL, NULL, false};
	if (n_right > 0)
		return no_certificate("the CA certificates and CRLs take more than 1 MiB together");
	if (first.is_pending)
		return first;
	return no_certificate(model_printf(t->m, "none of the CA certificates can be used: %s", first.text));
}

static struct ref_fault check_trust(struct translation *t, const struct kube_object *o, const struct policy *p, bool tells)
{
	struct cursor list = cursor_get(&p->validation, "caCertificateRefs");
	struct cursor known = cursor_get(&p->validation, "wellKnownCACertificates");
	const char *which = cursor_str(&known, "");

	if (*which && cursor_count(&list) > 0)
		return invalid(t, o, &known, tells, "either caCertificateRefs or wellKnownCACertificates was expected, not both");
	if (cursor_count(&list) > 0)
		return check_refs(t, o, &list, tells);
	if (strcmp(which, "System") == 0)
		return check_system(t, o, &known, tells);
	return invalid(t, o, &known, tells, *which ? "\"System\" was expected" : "\"System\", or caCertificateRefs, was expected");
}

struct ref_fault backend_tls_fault(struct translation *t, const struct kube_object *policy, bool tells)
{
	struct ref_fault f;
	struct policy p;

	if (!is_usable(t, policy))
		return (struct ref_fault){.reason = "Invalid", .text = refusal_text(t, policy)};
	open_policy(&p, policy);
	f = check_names(t, policy, &p, tells);
	return f.text ? f : check_trust(t, policy, &p, tells);
}

struct ref_fault backend_tls_references(struct translation *t, const struct kube_object *policy)
{
	struct ref_fault first = {NULL, NULL, false};
	struct cursor list;
	struct policy p;

	open_policy(&p, policy);
	list = cursor_get(&p.validation, "caCertificateRefs");
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);
		struct ref_fault f = ca_fault(t, policy, &ref, "InvalidKind");

		if (f.text && (!first.text || (f.reason && !first.reason))) {
			first = f;
			first.text = model_printf(t->m, "caCertificateRefs[%zu]: %s", i, f.text);
		}
	}
	return first;
}

/* ---- what it says */

static const struct certificate *read_trust(struct translation *t, const struct kube_object *o, const struct policy *p)
{
	struct cursor list = cursor_get(&p->validation, "caCertificateRefs");
	const struct certificate *c = t->options->system_trust;

	if (cursor_count(&list) > 0)
		return trust_of_refs(t, o, &list, "InvalidKind");
	if (c)
		model_hold(t->m, c);
	return c;
}

struct model_backend_tls *backend_tls_read(struct translation *t, const struct kube_object *policy)
{
	struct model_backend_tls *tls = model_alloc(t->m, sizeof(*tls));
	struct cursor host, list, options;
	struct model_san *sans;
	struct policy p;

	open_policy(&p, policy);
	host = cursor_get(&p.validation, "hostname");
	list = cursor_get(&p.validation, "subjectAltNames");
	options = cursor_get(&p.spec, "options");
	sans = model_alloc(t->m, (cursor_count(&list) + 1) * sizeof(*sans));
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor san = cursor_at(&list, i);

		sans[i].value = model_str(t->m, read_san(&san, &sans[i].kind));
	}
	tls->host = model_str(t->m, cursor_str(&host, ""));
	tls->sans = sans;
	tls->n_sans = cursor_count(&list);
	tls->trust = read_trust(t, policy, &p);
	tls->profile = tls_options_read(t, policy, &options, false);
	return tls;
}

static bool certificates_differ(const struct certificate *a, const struct certificate *b)
{
	return !a || !b ? a != b : certificate_compare_ids(&a->blob->id, &b->blob->id) != 0;
}

bool backend_tls_differs(const struct model_backend_tls *a, const struct model_backend_tls *b)
{
	if (!a || !b)
		return a != b;
	if (strcmp(a->host, b->host) != 0 || a->n_sans != b->n_sans || a->profile != b->profile ||
	    certificates_differ(a->trust, b->trust) || certificates_differ(a->client, b->client))
		return true;
	for (size_t i = 0; i < a->n_sans; i++)
		if (a->sans[i].kind != b->sans[i].kind || strcmp(a->sans[i].value, b->sans[i].value) != 0)
			return true;
	return false;
}

#define VIA_TEXT 328u /* in the name of a backend: namespace and name of a Gateway */

uint64_t backend_tls_cost(const struct kube_object *policy)
{
	struct cursor host, list;
	struct policy p;
	uint64_t cost = sizeof(struct weir_backend_tls) + 2 * sizeof(struct weir_cert_id) + VIA_TEXT;

	open_policy(&p, policy);
	host = cursor_get(&p.validation, "hostname");
	list = cursor_get(&p.validation, "subjectAltNames");
	cost += strlen(cursor_str(&host, ""));
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor san = cursor_at(&list, i);
		uint8_t kind;
		const char *value = read_san(&san, &kind);

		cost += sizeof(struct weir_san) + (value ? strlen(value) : 0);
	}
	return cost;
}
