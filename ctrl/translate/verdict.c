/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the status of an object says, before it is a document: findings of what
 * is being read, conditions, and the features that the dataplane has. Where the
 * Gateway API lists reasons for a condition, these are used.
 */
#include <assert.h>
#include <string.h>

#include "translate/translate_pvt.h"

/* Reasons of problems that the API lists by the same name; all others have the general one of their sort. */
static const char *const ref_reasons[] = {"BackendNotFound", "BackendTLSPolicyInvalid", "BackendTLSPolicyPending",
					  "InvalidCertificateRef", "InvalidKind", "RefNotPermitted", NULL};
static const char *const value_reasons[] = {"IncompatibleFilters", "UnsupportedProtocol", NULL};

static const char *known_reason(const char *const *list, const char *reason, const char *general)
{
	for (; *list; list++)
		if (strcmp(*list, reason) == 0)
			return *list;
	return general;
}

void findings_add(struct translation *t, bool is_fatal, const char *reason, const char *field, const char *text)
{
	struct findings *f = t->findings;
	bool is_protocol = strcmp(reason, "UnsupportedAppProtocol") == 0 || strcmp(reason, "BackendTLSNotSupported") == 0;

	if (!f || !is_fatal)
		return;
	if (f->is_reference && !f->ref_reason) {
		f->ref_reason = is_protocol ? "UnsupportedProtocol" : known_reason(ref_reasons, reason, "BackendNotFound");
		f->ref_text = model_printf(t->m, "%s: %s", field, text);
	} else if (!f->is_reference && !f->value_reason) {
		f->value_reason = known_reason(value_reasons, reason, "UnsupportedValue");
		f->value_text = model_printf(t->m, "%s: %s", field, text);
	}
}

struct model_status *verdict_add(struct translation *t, const struct kube_object *o)
{
	struct model_status *s = model_add_status(t->m);

	s->kind = o->kind;
	s->ns = model_str(t->m, o->ns);
	s->name = model_str(t->m, o->name);
	return s;
}

void verdict_condition(struct model_conditions *c, const char *type, bool is_true, const char *reason,
		       const char *message)
{
	assert(c->n < sizeof(c->c) / sizeof(*c->c));
	c->c[c->n++] = (struct model_condition){
	    .type = type, .status = is_true ? "True" : "False", .reason = reason, .message = message};
}

void verdict_references(struct model_conditions *c, const struct findings *found)
{
	if (found->ref_reason)
		verdict_condition(c, "ResolvedRefs", false, found->ref_reason, found->ref_text);
	else
		verdict_condition(c, "ResolvedRefs", true, "ResolvedRefs", "all references are resolved");
}

/* Sorted. Those that need a pool are claimed only with one. */
static const struct feature {
	const char *name;
	bool needs_pool;
} features[] = {
    {"BackendTLSPolicy", false},
    {"BackendTLSPolicySANValidation", false},
    {"Gateway", false},
    {"GatewayAddressEmpty", true},
    {"GatewayBackendClientCertificate", false},
    {"GatewayFrontendClientCertificateValidation", false},
    {"GatewayFrontendClientCertificateValidationInsecureFallback", false},
    {"GatewayHTTPListenerIsolation", false},
    {"GatewayPort8080", false},
    {"GatewayStaticAddresses", true},
    {"HTTPRoute", false},
    {"HTTPRoute303RedirectStatusCode", false},
    {"HTTPRoute307RedirectStatusCode", false},
    {"HTTPRoute308RedirectStatusCode", false},
    {"HTTPRouteBackendProtocolWebSocket", false},
    {"HTTPRouteBackendRequestHeaderModification", false},
    {"HTTPRouteBackendTimeout", false},
    {"HTTPRouteCORS", false},
    {"HTTPRouteDestinationPortMatching", false},
    {"HTTPRouteHostRewrite", false},
    {"HTTPRouteMethodMatching", false},
    {"HTTPRouteNamedRouteRule", false},
    {"HTTPRouteParentRefPort", false},
    {"HTTPRoutePathRedirect", false},
    {"HTTPRoutePathRewrite", false},
    {"HTTPRoutePortRedirect", false},
    {"HTTPRouteQueryParamMatching", false},
    {"HTTPRouteRequestMirror", false},
    {"HTTPRouteRequestMultipleMirrors", false},
    {"HTTPRouteRequestPercentageMirror", false},
    {"HTTPRouteRequestTimeout", false},
    {"HTTPRouteResponseHeaderModification", false},
    {"HTTPRouteRetry", false},
    {"HTTPRouteSchemeRedirect", false},
    {"ListenerSet", false},
    {"ReferenceGrant", false},
    {"TCPRoute", false},
    {"TLSRoute", false},
    {"TLSRouteModeMixed", false},
    {"TLSRouteModeTerminate", false},
};

const char *const *verdict_features(struct translation *t, size_t *n)
{
	const char **list = model_alloc(t->m, sizeof(features) / sizeof(*features) * sizeof(*list));

	*n = 0;
	for (size_t i = 0; i < sizeof(features) / sizeof(*features); i++)
		if (!features[i].needs_pool || t->options->pool)
			list[(*n)++] = features[i].name;
	return list;
}
