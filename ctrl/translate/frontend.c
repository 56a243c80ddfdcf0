/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of clients: spec.tls.frontend of a Gateway, which says by whose
 * CA certificates those are judged who come to a port, and what a listener adds
 * (tls.options). What is said of all of a Gateway's ports is read once, before
 * its listeners and those of its ListenerSets. Whoever wants clients to be
 * checked never has them served unchecked.
 */
#include <stdlib.h>
#include <string.h>

#include "translate/translate_pvt.h"

struct frontend {
	uint16_t port;	  /* 0: all that have none of their own */
	bool is_checking; /* else clients are not asked */
	uint8_t mode;	  /* REQUIRED or INSECURE */
	const struct certificate *trust; /* held by the model; NULL: none yet, or refusal_text says why */
	struct ref_fault fault;		 /* the first one, with its place */
	const char *pending_text;	 /* not NULL: not all references are known yet */
	const char *refusal_text;	 /* not NULL: nobody could be trusted */
};

/* ---- what the Gateway says ---- */

static void read_mode(struct translation *t, const struct kube_object *o, const struct cursor *validation, struct frontend *f)
{
	struct cursor at = cursor_get(validation, "mode");
	const char *mode = cursor_str(&at, "AllowValidOnly");

	f->mode = strcmp(mode, "AllowInsecureFallback") == 0 ? WEIR_CLIENT_AUTH_INSECURE : WEIR_CLIENT_AUTH_REQUIRED;
	if (f->mode == WEIR_CLIENT_AUTH_REQUIRED && strcmp(mode, "AllowValidOnly") != 0)
		report(t, o, &at, true, "InvalidValue", "AllowValidOnly or AllowInsecureFallback was expected; it is AllowValidOnly");
}

/* What is wrong with the references, and who is trusted by the others. */
static void read_trust(struct translation *t, const struct kube_object *o, const struct cursor *list, struct frontend *f)
{
	size_t n_wrong = 0;

	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor ref = cursor_at(list, i);
		struct ref_fault fault = ca_fault(t, o, &ref, "InvalidCACertificateKind");

		if (fault.is_pending && !f->pending_text)
			f->pending_text = model_printf(t->m, "caCertificateRefs[%zu]: %s", i, fault.text);
		if (!fault.reason)
			continue;
		n_wrong++;
		report(t, o, &ref, true, fault.reason, "%s", fault.text);
		if (!f->fault.reason)
			f->fault = (struct ref_fault){.reason = fault.reason,
						      .text = model_printf(t->m, "caCertificateRefs[%zu]: %s", i, fault.text)};
	}
	if (cursor_count(list) == 0) {
		f->refusal_text = "a reference to the CA certificates for clients was expected: there is none";
		report(t, o, list, true, "InvalidCACertificateRef", "%s", f->refusal_text);
		return;
	}
	if (n_wrong == cursor_count(list)) {
		f->refusal_text = model_printf(t->m, "none of the CA certificates for clients can be used: %s", f->fault.text);
		return;
	}
	f->trust = trust_of_refs(t, o, list, "InvalidCACertificateKind");
	if (!f->trust && !f->pending_text)
		f->refusal_text = "the CA certificates for clients are too large together: 1 MiB at most was expected";
}

static void read_one(struct translation *t, struct gateway *g, const struct cursor *config, struct frontend *f)
{
	struct cursor validation = cursor_get(config, "validation");
	struct cursor list = cursor_get(&validation, "caCertificateRefs");

	if (!validation.n)
		return;
	f->is_checking = true;
	read_mode(t, g->o, &validation, f);
	read_trust(t, g->o, &list, f);
	if (f->trust)
		trust_warn(t, g->o, &list, f->trust);
	g->is_insecure |= f->mode == WEIR_CLIENT_AUTH_INSECURE;
}

void frontends_read(struct translation *t, struct gateway *g)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor tls = cursor_get(&spec, "tls");
	struct cursor frontend = cursor_get(&tls, "frontend");
	struct cursor fallback = cursor_get(&frontend, "default");
	struct cursor list = cursor_get(&frontend, "perPort");
	size_t n = cursor_count(&list);

	if (!frontend.n)
		return;
	g->frontends = model_alloc(t->m, (n + 1) * sizeof(*g->frontends));
	g->n_frontends = n + 1;
	for (size_t i = 0; i < n; i++) { /* a port of its own comes first, be it one where nobody is asked */
		struct cursor one = cursor_at(&list, i);
		struct cursor port = cursor_get(&one, "port");
		struct cursor config = cursor_get(&one, "tls");
		int64_t number = 0;

		node_int(port.n, 1, 65535, &number);
		g->frontends[i].port = (uint16_t)number;
		read_one(t, g, &config, &g->frontends[i]);
	}
	read_one(t, g, &fallback, &g->frontends[n]);
}

/* ---- what a listener adds ---- */

#define PREFIX "weir.dev/"
#define DEPTH_DEFAULT 3u

/* What tls.options say, be it needed or not. */
struct options {
	struct cursor first; /* of them; its node is NULL: there is none */
	bool is_optional;
	uint8_t depth, fields;
};

static void read_presence(struct translation *t, const struct gateway *g, const struct cursor *at, struct options *out)
{
	const char *value = cursor_str(at, "");

	if (strcmp(value, "optional") != 0 && strcmp(value, "required") != 0)
		report(t, g->o, at, false, "InvalidValue", "\"required\" or \"optional\" was expected; it is required");
	else if (g->parent && *value == 'o')
		report(t, g->o, at, false, "NotAllowed", "required was expected: what its Gateway demands, a ListenerSet cannot waive");
	else
		out->is_optional = *value == 'o';
}

static void read_depth(struct translation *t, const struct gateway *g, const struct cursor *at, struct options *out)
{
	const char *value = cursor_str(at, "");
	const unsigned max = g->parent ? DEPTH_DEFAULT : WEIR_MAX_CLIENT_AUTH_DEPTH;
	size_t n = strspn(value, "0123456789");
	unsigned long v = n > 0 && n < 3 && !value[n] ? strtoul(value, NULL, 10) : max + 1;

	if (v > max)
		report(t, g->o, at, false, "InvalidValue", "a number from 0 to %u was expected; it is %u", max, DEPTH_DEFAULT);
	else
		out->depth = (uint8_t)v;
}

bool client_fields_parse(const char *text, uint8_t *out)
{
	static const struct {
		const char *name;
		uint8_t bit;
	} known[] = {{"xfcc", WEIR_CLIENT_CERT_XFCC}, {"rfc9440", WEIR_CLIENT_CERT_RFC9440}, {"chain", WEIR_CLIENT_CERT_CHAIN}};
	uint8_t bits = 0;

	if (strcmp(text, "none") == 0) {
		*out = 0;
		return true;
	}
	for (;;) {
		size_t n, i;

		text += strspn(text, " ");
		n = strcspn(text, ", ");
		for (i = 0; i < sizeof(known) / sizeof(*known); i++)
			if (strlen(known[i].name) == n && memcmp(known[i].name, text, n) == 0)
				break;
		if (i == sizeof(known) / sizeof(*known))
			return false;
		bits |= known[i].bit;
		text += n + strspn(text + n, " ");
		if (!*text)
			break;
		if (*text++ != ',')
			return false;
	}
	if ((bits & WEIR_CLIENT_CERT_CHAIN) && !(bits & WEIR_CLIENT_CERT_RFC9440))
		return false;
	*out = bits;
	return true;
}

static void read_fields(struct translation *t, const struct gateway *g, const struct cursor *at, struct options *out)
{
	if (!client_fields_parse(cursor_str(at, ""), &out->fields))
		report(t, g->o, at, false, "InvalidValue", CLIENT_FIELDS_EXPECTED "; it is xfcc");
}

bool frontend_knows_option(const char *key)
{
	return strncmp(key, PREFIX "client-certificate", strlen(PREFIX "client-certificate")) == 0 &&
	       (strcmp(key, CLIENT_CERTIFICATE) == 0 || strcmp(key, CLIENT_CERTIFICATE_DEPTH) == 0 ||
		strcmp(key, CLIENT_CERTIFICATE_FIELDS) == 0);
}

static struct options read_options(struct translation *t, const struct gateway *g, const struct cursor *list, const struct section *s)
{
	const bool has_fields = section_carriage(s)->kind == WEIR_LISTENER_HTTP; /* bytes carry none */
	struct options out = {.depth = DEPTH_DEFAULT, .fields = has_fields ? WEIR_CLIENT_CERT_XFCC : 0};

	for (size_t i = 0; list->n && list->n->kind == NODE_MAP && i < list->n->n; i++) {
		struct cursor at = cursor_value(list, i);

		if (!frontend_knows_option(at.key))
			continue;
		if (!out.first.n)
			out.first = at;
		if (strcmp(at.key, CLIENT_CERTIFICATE) == 0)
			read_presence(t, g, &at, &out);
		else if (strcmp(at.key, CLIENT_CERTIFICATE_DEPTH) == 0)
			read_depth(t, g, &at, &out);
		else if (has_fields)
			read_fields(t, g, &at, &out);
		else
			report(t, g->o, &at, false, "UnsupportedField", "ignored: there are no requests, whose fields could tell of certificates");
	}
	return out;
}

/* ---- both ---- */

static const struct frontend *find(const struct gateway *g, uint16_t port)
{
	for (size_t i = 0; i < g->n_frontends; i++)
		if (g->frontends[i].port == port || g->frontends[i].port == 0)
			return &g->frontends[i];
	return NULL;
}

static void take_trust(struct translation *t, const struct gateway *g, const struct frontend *f, const struct options *options,
		       struct section *s)
{
	struct model_client_auth *auth = model_alloc(t->m, sizeof(*auth));

	*auth = (struct model_client_auth){.trust = f->trust, .mode = f->mode, .depth = options->depth, .fields = options->fields};
	if (options->is_optional && f->mode == WEIR_CLIENT_AUTH_REQUIRED)
		auth->mode = WEIR_CLIENT_AUTH_OPTIONAL;
	else if (options->is_optional)
		report(t, g->o, &options->first, false, "UnsupportedField",
		       "ignored: the Gateway lets everybody through on this port (AllowInsecureFallback)");
	s->client_auth = auth;
}

void frontend_apply(struct translation *t, const struct gateway *g, const struct cursor *list, struct section *s)
{
	const struct frontend *f = find(g->parent ? g->parent : g, s->port);
	struct options options = read_options(t, g, list, s);

	if (!f || !f->is_checking) {
		if (options.first.n)
			report(t, g->o, &options.first, false, "UnsupportedField",
			       "ignored: no client is asked for a certificate on this port (spec.tls.frontend of the Gateway)");
		return;
	}
	if (f->pending_text && !s->pending_text)
		s->pending_text = f->pending_text;
	if (f->fault.reason && !s->unresolved) {
		s->unresolved = f->fault.reason;
		s->unresolved_text = f->fault.text;
	}
	if (f->refusal_text) {
		s->refusal = "NoValidCACertificate";
		s->refusal_text = f->refusal_text;
		if (!s->unresolved) {
			s->unresolved = "InvalidCACertificateRef";
			s->unresolved_text = f->refusal_text;
		}
		return;
	}
	s->is_unchecked = !f->trust;
	if (f->trust)
		take_trust(t, g, f, &options, s);
}
