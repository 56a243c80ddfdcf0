/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes objects to the model. A pure function of the store: one wrong
 * object is named among the problems and left out; all else is translated.
 */
#ifndef TRANSLATE_TRANSLATE_H
#define TRANSLATE_TRANSLATE_H

#include "kube/store.h"
#include "translate/addresses.h"
#include "translate/known_names.h"
#include "translate/staples.h"
#include "translate/model.h"

struct held_addresses;

struct translate_options {
	const char *controller_name; /* GatewayClass.spec.controllerName and IngressClass.spec.controller that are ours */
	bool needs_class; /* an Ingress that names no class is nobody's where no IngressClass is the default; false: it is ours */
	const struct address_pool *pool; /* each Gateway gets addresses of its own from here; NULL: it listens on all */
	struct held_addresses *held;	 /* what Gateways have of it, read and noted anew; NULL: nobody keeps it beside their statuses */
	const struct weir_ip *listen;    /* the addresses of the dataplane, as far as they are known: for the status of what listens on all */
	size_t n_listen;
	const char *api_version; /* bundle-version of the Gateway API's CRDs; NULL: that of the CRD among the objects, if any */
	const char *node;	 /* the Node that we run on, for its zone; NULL: not known */
	bool node_ports; /* pods are reached by the nodePort of their Service at nodes, and by nothing else */
	bool takes_external_names;	 /* Services of type ExternalName are backends of Ingresses */
	const struct known_names *names; /* what is known of their names; NULL: nobody looks them up */
	const char *default_ns, *default_name; /* the Secret whose certificate is shown where no other one is for a name; NULL: none */
	/* CA certificates of the machine; NULL: there are none, and system_fault says why, or (NULL) nobody has looked */
	const struct certificate *system_trust;
	const char *system_fault;
	const struct staples *staples; /* what is known of OCSP responses; NULL: nobody asks, and nothing is said of them */
	int64_t now_s; /* Unix seconds, by which certificates are judged; 0: they are not */
	/* what the routes of one namespace, and of all, may take of a snapshot, as budget.c reckons it; 0: no bound */
	uint64_t namespace_bytes, total_bytes;
};

#define TRANSLATE_NAMESPACE_BYTES (32u << 20) /* where nobody says otherwise */
#define TRANSLATE_CONTROLLER "weir.dev/ingress-controller"

/* Fills an initialised, empty model. */
void translate(const struct store *s, const struct translate_options *options, struct model *m);

#define EXTERNAL_NAME_MAX 254u /* with its NUL */
/* Of a Service: whether it is an ExternalName; its name, without a dot behind it, false: that is none. */
bool external_is(const struct kube_object *service);
bool external_name(const struct kube_object *service, char out[EXTERNAL_NAME_MAX]);

#endif
