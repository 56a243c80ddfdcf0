/* SPDX-License-Identifier: Apache-2.0 */
/* What is fixed for each kind: how the API server names it, in which versions it is read, and whether Weir can do without. */
#include <string.h>

#include "kube/store.h"

#define MAX_VERSIONS 3u
#define NOT_TOLD "who has such a route is not told that it is not served"
#define NOT_SERVED "no such route is served"

static const struct {
	const char *plural;
	const char *versions[MAX_VERSIONS]; /* the best first; all have one schema, as far as it is read */
	const char *without; /* what it means that it cannot be read; NULL: Weir cannot do without */
	const char *part; /* kube_kind_part() */
	bool is_policy;	  /* kube_kind_is_policy() */
	bool is_named;
} kinds[KUBE_N_KINDS] = {
    [KUBE_INGRESS] = {.plural = "ingresses", .versions = {"v1"}},
    [KUBE_INGRESS_CLASS] = {.plural = "ingressclasses", .versions = {"v1"}},
    [KUBE_GATEWAY_CLASS] = {.plural = "gatewayclasses", .versions = {"v1", "v1beta1"}},
    [KUBE_GATEWAY] = {.plural = "gateways", .versions = {"v1", "v1beta1"}},
    [KUBE_HTTP_ROUTE] = {.plural = "httproutes", .versions = {"v1", "v1beta1"}},
    [KUBE_REFERENCE_GRANT] = {.plural = "referencegrants", .versions = {"v1", "v1beta1"}},
    [KUBE_SERVICE] = {.plural = "services", .versions = {"v1"}},
    [KUBE_ENDPOINT_SLICE] = {.plural = "endpointslices", .versions = {"v1"}},
    [KUBE_NAMESPACE] = {.plural = "namespaces", .versions = {"v1"}},
    [KUBE_GRPC_ROUTE] = {.plural = "grpcroutes", .versions = {"v1", "v1alpha2"}, .without = NOT_TOLD},
    [KUBE_TLS_ROUTE] = {.plural = "tlsroutes", .versions = {"v1", "v1alpha3", "v1alpha2"}, .without = NOT_SERVED},
    [KUBE_TCP_ROUTE] = {.plural = "tcproutes", .versions = {"v1", "v1alpha2"}, .without = NOT_SERVED},
    [KUBE_UDP_ROUTE] = {.plural = "udproutes", .versions = {"v1", "v1alpha2"}, .without = NOT_TOLD},
    [KUBE_BACKEND_TLS_POLICY] = {.plural = "backendtlspolicies", .versions = {"v1", "v1alpha3"},
				 .without = "Services for which one asks for TLS are spoken to in plain text", .is_policy = true},
    [KUBE_LISTENER_SET] = {.plural = "listenersets", .versions = {"v1"}, .without = "none of its listeners is served"},
    [KUBE_NODE] = {.plural = "nodes", .versions = {"v1"},
		  .without = "neither its zone nor ways to pods are known: endpoints of all zones are used, by link or gateway"},
    [KUBE_CRD] = {.plural = "customresourcedefinitions", .versions = {"v1"},
		  .without = "the version of the Gateway API is not known", .part = "annotations"},
    [KUBE_SECRET] = {.plural = "secrets", .versions = {"v1"}, .is_named = true},
    [KUBE_CONFIG_MAP] = {.plural = "configmaps", .versions = {"v1"}, .is_named = true},
};

const char *kube_kind_plural(enum kube_kind k)
{
	return kinds[k].plural;
}

const char *kube_kind_version(enum kube_kind k, unsigned i)
{
	return i < MAX_VERSIONS ? kinds[k].versions[i] : NULL;
}

bool kube_kind_has_version(enum kube_kind k, const char *version)
{
	for (unsigned i = 0; kube_kind_version(k, i); i++)
		if (strcmp(version, kube_kind_version(k, i)) == 0)
			return true;
	return false;
}

const char *kube_kind_part(enum kube_kind k)
{
	return kinds[k].part;
}

const char *kube_kind_without(enum kube_kind k)
{
	return kinds[k].without;
}

bool kube_kind_is_policy(enum kube_kind k)
{
	return kinds[k].is_policy;
}

bool kube_kind_is_named(enum kube_kind k)
{
	return kinds[k].is_named;
}

bool kube_kind_is_secret(enum kube_kind k)
{
	return k == KUBE_SECRET;
}
