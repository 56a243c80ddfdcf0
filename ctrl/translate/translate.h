/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes objects to the model. A pure function of the store: one wrong
 * object is named among the problems and left out; all else is translated.
 */
#ifndef TRANSLATE_TRANSLATE_H
#define TRANSLATE_TRANSLATE_H

#include "kube/store.h"
#include "translate/addresses.h"
#include "translate/model.h"

struct translate_options {
	const char *controller_name; /* GatewayClass.spec.controllerName and IngressClass.spec.controller that are ours */
	const char *ingress_class;   /* class taken when an Ingress names none and no IngressClass is the default; NULL: such are taken */
	const struct address_pool *pool; /* each Gateway gets addresses of its own from here; NULL: it listens on all */
	const struct weir_ip *listen;    /* the addresses of the dataplane, as far as they are known: for the status of what listens on all */
	size_t n_listen;
	const char *api_version; /* bundle-version of the Gateway API's CRDs; NULL: that of the CRD among the objects, if any */
	const char *node;	 /* the Node that we run on, for its zone; NULL: not known */
	/* what the routes of one namespace, and of all, may take of a snapshot, as budget.c reckons it; 0: no bound */
	uint64_t namespace_bytes, total_bytes;
};

#define TRANSLATE_NAMESPACE_BYTES (32u << 20) /* where nobody says otherwise */
#define TRANSLATE_CONTROLLER "weir.dev/ingress-controller"

/* Fills an initialised, empty model. */
void translate(const struct store *s, const struct translate_options *options, struct model *m);

#endif
