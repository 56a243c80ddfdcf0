/* SPDX-License-Identifier: Apache-2.0 */
/* What is fixed for each kind: how the API server names it, in which versions it is read, and whether Weir can do without. */
#include <string.h>

#include "kube/store.h"

#define MAX_VERSIONS 3u

static const struct {
	const char *plural;
	const char *versions[MAX_VERSIONS]; /* the best first; all have one schema, as far as it is read */
	bool is_optional;
	const char *part; /* kube_kind_part() */
} kinds[KUBE_N_KINDS] = {
    [KUBE_INGRESS] = {"ingresses", {"v1"}},
    [KUBE_INGRESS_CLASS] = {"ingressclasses", {"v1"}},
    [KUBE_GATEWAY_CLASS] = {"gatewayclasses", {"v1", "v1beta1"}},
    [KUBE_GATEWAY] = {"gateways", {"v1", "v1beta1"}},
    [KUBE_HTTP_ROUTE] = {"httproutes", {"v1", "v1beta1"}},
    [KUBE_REFERENCE_GRANT] = {"referencegrants", {"v1", "v1beta1"}},
    [KUBE_SERVICE] = {"services", {"v1"}},
    [KUBE_ENDPOINT_SLICE] = {"endpointslices", {"v1"}},
    [KUBE_NAMESPACE] = {"namespaces", {"v1"}},
    [KUBE_GRPC_ROUTE] = {"grpcroutes", {"v1", "v1alpha2"}, true},
    [KUBE_TLS_ROUTE] = {"tlsroutes", {"v1", "v1alpha3", "v1alpha2"}, true},
    [KUBE_TCP_ROUTE] = {"tcproutes", {"v1", "v1alpha2"}, true},
    [KUBE_UDP_ROUTE] = {"udproutes", {"v1", "v1alpha2"}, true},
    [KUBE_BACKEND_TLS_POLICY] = {"backendtlspolicies", {"v1", "v1alpha3"}, true},
    [KUBE_LISTENER_SET] = {"listenersets", {"v1"}, true},
    [KUBE_NODE] = {"nodes", {"v1"}, true, "labels"},
    [KUBE_CRD] = {"customresourcedefinitions", {"v1"}, true, "annotations"},
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

bool kube_kind_is_optional(enum kube_kind k)
{
	return kinds[k].is_optional;
}
