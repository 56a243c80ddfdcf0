/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References to certificates and CA bundles, of listeners, Gateways, Ingresses
 * and policies: who may refer to them, and whether they can be used, in the
 * Gateway API's terms. What can be used is collected for server_names.c.
 */
#include <string.h>
#include <time.h>

#include "translate/translate_pvt.h"

static struct ref_fault wrong(const char *reason, const char *text)
{
	return (struct ref_fault){.reason = reason, .text = text};
}

/* What was found of the object itself. */
static struct ref_fault fault_of(struct translation *t, enum kube_kind kind, const char *ns, const char *name, enum secret_use use,
				 const char *invalid)
{
	bool is_pending = false;
	const char *text = secret_fault(t, kind, ns, name, use, &is_pending);

	if (is_pending)
		return (struct ref_fault){.text = text, .is_pending = true};
	return text ? wrong(invalid, text) : wrong(NULL, NULL);
}

static struct ref_fault not_granted(struct translation *t, const struct kube_object *o, const char *kind, const char *ns,
				    const char *name)
{
	return wrong("RefNotPermitted", model_printf(t->m, "a ReferenceGrant in namespace %.63s was expected, from %ss of %s to %s %.253s",
						     ns, kube_kind_name(o->kind), o->ns, kind, name));
}

/* A reference by group, kind, name and perhaps namespace; group and kind may be left out if they are those of a Secret. */
static struct ref_fault check_ref(struct translation *t, const struct kube_object *o, const struct cursor *ref, enum kube_kind kind,
				  enum secret_use use, const char *wrong_kind, const char *invalid)
{
	struct cursor at_group = cursor_get(ref, "group");
	struct cursor at_kind = cursor_get(ref, "kind");
	struct cursor at_name = cursor_get(ref, "name");
	struct cursor at_ns = cursor_get(ref, "namespace");
	const char *expected = kube_kind_name(kind);
	const char *ns = cursor_str(&at_ns, o->ns);
	const char *name = cursor_str(&at_name, "");

	if (*cursor_str(&at_group, "") || strcmp(cursor_str(&at_kind, expected), expected) != 0)
		return wrong(wrong_kind, model_printf(t->m, "a %s was expected, not %.60s of group \"%.100s\"", expected,
						      cursor_str(&at_kind, expected), cursor_str(&at_group, "")));
	if (strcmp(ns, o->ns) != 0 && !is_granted(t, kube_kind_name(o->kind), o->ns, expected, ns, name))
		return not_granted(t, o, expected, ns, name);
	return fault_of(t, kind, ns, name, use, invalid);
}

struct ref_fault certificate_fault(struct translation *t, const struct kube_object *o, const struct cursor *ref, const char *invalid)
{
	return check_ref(t, o, ref, KUBE_SECRET, SECRET_CERTIFICATE, invalid, invalid);
}

struct ref_fault ca_fault(struct translation *t, const struct kube_object *o, const struct cursor *ref, const char *wrong_kind)
{
	return check_ref(t, o, ref, KUBE_CONFIG_MAP, SECRET_CA, wrong_kind, "InvalidCACertificateRef");
}

/* ---- what people should know ---- */

static const char *time_text(int64_t s, char out[32])
{
	const time_t when = (time_t)s;
	struct tm tm;

	out[0] = 0;
	if (gmtime_r(&when, &tm))
		strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

static void report_time(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *reason,
			const struct certificate *c, const char *what, int64_t when_s)
{
	char text[32];

	time_text(when_s, text);
	if (c->blob->kind == WEIR_CERTIFICATE_TRUST)
		report(t, o, at, false, reason, "of %s%s %s %s", c->names[0], c->n_names > 1 ? " and others" : "", what, text);
	else
		report(t, o, at, false, reason, "served, but the certificate of Secret %.63s/%.253s %s %s", c->ns, c->name, what, text);
}

/* Why a certificate that needs one has no OCSP response. */
static const char *lack_of(const struct staple *s)
{
	switch (s->state) {
	case STAPLE_NO_RESPONDER:
		return "the certificate names no responder";
	case STAPLE_NO_ISSUER:
		return "its issuer does not stand behind it in tls.crt";
	case STAPLE_HTTPS:
		return "its responder has a URL of https, which is not asked: http was expected (RFC 5280 8)";
	case STAPLE_OFF:
		return "weir-ctrl asks no responders (--ocsp off)";
	default:
		return s->why ? s->why : "none has come yet";
	}
}

/* What its issuer says of it, as far as owners have to do something. */
static void warn_of_status(struct translation *t, const struct kube_object *o, const struct cursor *at, const struct certificate *c)
{
	const struct staple *s = staples_get(t->options->staples, &c->blob->id);
	char text[32];

	if (s && s->state == STAPLE_REVOKED)
		report(t, o, at, false, "CertificateRevoked", "served, but the certificate of Secret %.63s/%.253s was revoked by its issuer on %s%s%s",
		       c->ns, c->name, time_text(s->revoked_s, text), *s->reason ? ": " : "", s->reason);
	else if (s && s->must_staple && !s->stapled && s->state != STAPLE_PENDING)
		report(t, o, at, false, "MustStaple",
		       "served, but clients refuse the certificate of Secret %.63s/%.253s: it must come with an OCSP response (RFC 7633), and there is none: %s",
		       c->ns, c->name, lack_of(s));
}

void certificate_warn(struct translation *t, const struct kube_object *o, const struct cursor *at, const struct certificate *c)
{
	const int64_t now_s = t->options->now_s;

	if (c->is_out_of_order)
		report(t, o, at, false, "CertificateChain",
		       "served, but in tls.crt of Secret %.63s/%.253s a certificate is not issued by the next one", c->ns, c->name);
	if (c->has_more_names)
		report(t, o, at, false, "CertificateNames", "the certificate of Secret %.63s/%.253s has more than %u names: the first are used",
		       c->ns, c->name, CERTIFICATE_NAMES_MAX);
	warn_of_status(t, o, at, c);
	if (!now_s)
		return;
	if (c->not_after_s < now_s)
		report_time(t, o, at, "CertificateExpired", c, "has expired on", c->not_after_s);
	else if (c->not_before_s > now_s)
		report_time(t, o, at, "CertificateNotYetValid", c, "is valid only from", c->not_before_s);
	else if (c->not_after_s - now_s < CERTIFICATE_SOON_S)
		report_time(t, o, at, "CertificateExpiresSoon", c, "expires on", c->not_after_s);
}

void trust_warn(struct translation *t, const struct kube_object *o, const struct cursor *at, const struct certificate *c)
{
	const int64_t now_s = t->options->now_s;

	if (!now_s || !c->n_names)
		return;
	if (c->not_after_s < now_s)
		report_time(t, o, at, "CACertificateExpired", c, "a CA certificate has expired on", c->not_after_s);
	else if (c->not_before_s > now_s)
		report_time(t, o, at, "CACertificateNotYetValid", c, "a CA certificate is valid only from", c->not_before_s);
	else if (c->not_after_s - now_s < CERTIFICATE_SOON_S)
		report_time(t, o, at, "CACertificateExpiresSoon", c, "a CA certificate expires on", c->not_after_s);
	if (c->crls_until_s && c->crls_until_s < now_s)
		report_time(t, o, at, "CRLExpired", c, "a CRL was to be replaced until", c->crls_until_s);
}

/* ---- listeners ---- */

/* The first one counts; what is wrong comes before what is not known. */
static void note(struct translation *t, struct section *s, const char *field, size_t i, const struct ref_fault *f)
{
	if (f->is_pending && !s->pending_text)
		s->pending_text = model_printf(t->m, "%s[%zu]: %s", field, i, f->text);
	if (!f->reason || s->unresolved)
		return;
	s->unresolved = f->reason;
	s->unresolved_text = model_printf(t->m, "%s[%zu]: %s", field, i, f->text);
}

/* It can be used: it is one of those of the listener. */
static void take_certificate(struct translation *t, const struct gateway *g, const struct cursor *ref, struct section *s)
{
	struct cursor at_ns = cursor_get(ref, "namespace");
	struct cursor at_name = cursor_get(ref, "name");
	const struct certificate *c = secret_certificate(t, cursor_str(&at_ns, g->o->ns), cursor_str(&at_name, ""));

	if (!c)
		return;
	s->certs[s->n_certs++] = c;
	certificate_warn(t, g->o, ref, c);
}

static void check_covered(struct translation *t, const struct gateway *g, const struct cursor *list, const struct section *s)
{
	for (size_t i = 0; i < s->n_certs; i++)
		if (certificate_covers(s->certs[i], s->host))
			return;
	if (s->n_certs)
		report(t, g->o, list, false, "CertificateNameMismatch",
		       "served, but a certificate for \"%.253s\" was expected: clients that check will not take %s", s->host,
		       s->n_certs > 1 ? "any of these" : "this one");
}

#define OPTIONS_PREFIX "weir.dev/"

/* Those of others are for others. */
uint8_t tls_options_read(struct translation *t, const struct kube_object *o, const struct cursor *options, bool are_frontend)
{
	uint8_t profile = WEIR_TLS_INTERMEDIATE;

	for (size_t i = 0; options->n && options->n->kind == NODE_MAP && i < options->n->n; i++) {
		struct cursor at = cursor_value(options, i);
		const char *value = cursor_str(&at, "");

		if (are_frontend && frontend_knows_option(at.key))
			continue;
		if (strcmp(at.key, OPTIONS_PREFIX "tls-profile") != 0)
			report(t, o, &at, false, "UnsupportedField",
			       "ignored: of the options, " OPTIONS_PREFIX "tls-profile is known%s",
			       o->kind != KUBE_BACKEND_TLS_POLICY ? ", and for HTTPS and TLS " CLIENT_CERTIFICATE ", "
				       CLIENT_CERTIFICATE_DEPTH " and " CLIENT_CERTIFICATE_FIELDS : "");
		else if (strcmp(value, "strict") == 0)
			profile = WEIR_TLS_STRICT;
		else if (strcmp(value, "intermediate") != 0)
			report(t, o, &at, false, "InvalidValue", "\"intermediate\" or \"strict\" was expected; it is intermediate");
	}
	return profile;
}

static void check_own(struct translation *t, const struct gateway *g, const struct cursor *tls, struct section *s)
{
	struct cursor options = cursor_get(tls, "options");
	struct cursor list = cursor_get(tls, "certificateRefs");

	s->profile = tls_options_read(t, g->o, &options, true);
	if (cursor_count(&list) == 0) {
		report(t, g->o, &list, true, "InvalidCertificateRef", "a Secret with a certificate was expected");
		s->unresolved = "InvalidCertificateRef";
		s->unresolved_text = "tls.certificateRefs: a Secret with a certificate was expected";
	}
	s->certs = model_alloc(t->m, (cursor_count(&list) + 1) * sizeof(*s->certs));
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);
		struct ref_fault f = certificate_fault(t, g->o, &ref, "InvalidCertificateRef");

		note(t, s, "tls.certificateRefs", i, &f);
		if (f.reason)
			report(t, g->o, &ref, true, f.reason, "%s", f.text);
		else if (!f.is_pending)
			take_certificate(t, g, &ref, s);
	}
	check_covered(t, g, &list, s);
}

void certificates_check(struct translation *t, const struct gateway *g, const struct cursor *tls, struct section *s)
{
	struct cursor options = cursor_get(tls, "options");

	check_own(t, g, tls, s);
	frontend_apply(t, g, &options, s);
}

/* ---- Gateways ---- */

static void check_client_certificate(struct translation *t, struct gateway *g, const struct cursor *tls)
{
	struct cursor backend = cursor_get(tls, "backend");
	struct cursor ref = cursor_get(&backend, "clientCertificateRef");
	struct cursor ns = cursor_get(&ref, "namespace");
	struct cursor name = cursor_get(&ref, "name");

	if (!ref.n)
		return;
	g->has_client_certificate = true;
	g->client_certificate = certificate_fault(t, g->o, &ref, "InvalidClientCertificateRef");
	if (g->client_certificate.reason)
		report(t, g->o, &ref, true, g->client_certificate.reason, "%s", g->client_certificate.text);
	if (g->client_certificate.text)
		return;
	g->client = secret_certificate(t, cursor_str(&ns, g->o->ns), cursor_str(&name, ""));
	if (g->client)
		certificate_warn(t, g->o, &ref, g->client);
}

void certificates_check_gateway(struct translation *t, struct gateway *g)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor tls = cursor_get(&spec, "tls");

	frontends_read(t, g);
	check_client_certificate(t, g, &tls);
}

/* ---- others ---- */

struct ref_fault certificate_fault_of(struct translation *t, const char *ns, const char *name)
{
	return fault_of(t, KUBE_SECRET, ns, name, SECRET_CERTIFICATE, "InvalidCertificateRef");
}
