/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within translate/: the state of one translation, cursors that know the path
 * to a field, and what the files of this folder do for each other.
 */
#ifndef TRANSLATE_TRANSLATE_PVT_H
#define TRANSLATE_TRANSLATE_PVT_H

#include "translate/translate.h"

/* A field and how one got there. A cursor points to the one above it, which must live as long. */
struct cursor {
	const struct node *n; /* NULL: absent, or null */
	const struct cursor *up;
	const char *key; /* NULL: element index of a list */
	size_t index;
};

struct cursor cursor_root(const struct kube_object *o);
struct cursor cursor_get(const struct cursor *up, const char *key);
struct cursor cursor_at(const struct cursor *up, size_t i);
/* Elements of a list, 0 where there is none. */
size_t cursor_count(const struct cursor *c);
/* Text of a string, or fallback. */
const char *cursor_str(const struct cursor *c, const char *fallback);

/*
 * What has come to light about the part of an object that is read now: the
 * first problem of each sort, for its conditions. report() adds to it.
 */
struct findings {
	bool is_reference; /* a reference to a backend is read */
	const char *ref_reason, *ref_text;     /* NULL: all references are right */
	const char *value_reason, *value_text; /* NULL: all else is */
};

/* A Gateway of ours. */
struct gateway {
	const struct kube_object *o;
	const struct kube_object *class;
	size_t first, count; /* in translation.sections */
	/* why it is not accepted, or not programmed, in the API's terms; NULL: it is */
	const char *refusal, *refusal_text;
	const char *lack, *lack_text;
	struct weir_ip addrs[ADDRESSES_MAX]; /* that it listens on, sorted; the zero address: all */
	size_t n_addrs;
};

/* One listener of a Gateway; served, it is as many listeners of the model as the Gateway has addresses. */
struct section {
	size_t index; /* in spec.listeners */
	const char *name;
	const char *protocol;
	const char *host; /* "" any */
	uint16_t port;
	bool takes_http_routes;
	const struct node *namespaces; /* allowedRoutes.namespaces, or NULL: Same */
	bool admits_none;	       /* these are wrong */
	uint32_t first, count;         /* in model.listeners */
	/* why it is not accepted, and what of its references is wrong, in the API's terms; NULL: nothing */
	const char *refusal, *refusal_text;
	const char *unresolved, *unresolved_text;
	bool is_conflicted; /* refusal says with what */
	uint32_t n_routes;  /* attached and accepted */
	const struct kube_object *counted; /* the last of them */
};

/* An object that the schema refused. */
struct bad_object {
	const struct kube_object *o;
	size_t problem; /* the first of its problems in the model */
};

struct translation {
	const struct store *store;
	const struct translate_options *options;
	struct model *m;
	struct bad_object *bad; /* sorted by the object's address */
	size_t n_bad, cap_bad;
	struct findings *findings; /* of what is read now; NULL: nobody asks */
	bool is_trial;		   /* what is read is served nowhere: it is looked at for its status alone */
	struct gateway *gateways; /* by (namespace, name) */
	size_t n_gateways, cap_gateways;
	struct section *sections;
	size_t n_sections, cap_sections;
	uint32_t *backend_slots; /* open addressing by name: index + 1 */
	size_t n_backend_slots;
	const struct kube_object *reported; /* the object of the last problem, and how many it has */
	size_t n_reported;
};

/* Room for one more in an array that doubles. Ends the process when there is no memory. */
void *translate_grow(void *p, size_t n, size_t *cap, size_t size);

/* report.c: adds a problem. at says field, line and column; where it is absent, those of what should hold it. */
void report(struct translation *t, const struct kube_object *o, const struct cursor *at, bool is_fatal,
	    const char *reason, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* schema.c: types and required fields of an object. False, with problems, if it must not be used. */
bool schema_check(struct translation *t, const struct kube_object *o);

/* translate.c */
bool is_usable(const struct translation *t, const struct kube_object *o);
/* What the schema had against an object that is not usable. */
const char *refusal_text(const struct translation *t, const struct kube_object *o);
/* An absolute path without dot segments, empty segments or escapes of '/'. */
bool is_path(const char *path);
/* Can stand as the path of a request or of Location; others than is_path() may be wanted there. */
bool is_target_path(const char *path);
/* The path, for a prefix without its trailing slash. */
const char *model_path(struct translation *t, uint8_t kind, const char *path);

/* endpoints.c. A port of 0 means the one named port_name. The backend's index, or -1 after a problem at `at`. */
int32_t backend_find(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *ns,
		     const char *service, uint16_t port, const char *port_name);
void endpoints_check_slices(struct translation *t);
/* Sets the endpoints of the backends that m names. Returns how many changed. */
size_t endpoints_fill(struct translation *t, struct model *m);

/* balance.c: what the annotations of a Service say, without problems; and the problems that those of all Services have. */
void balance_read(struct translation *t, const struct kube_object *service, struct model_balance *out);
void balance_check_services(struct translation *t);

/* verdict.c: what objects are told of themselves */
void findings_add(struct translation *t, bool is_fatal, const char *reason, const char *field, const char *text);
/* The status of an object; valid until the next one. */
struct model_status *verdict_add(struct translation *t, const struct kube_object *o);
/* Of is_true, reason stands for itself; else it is why not. message is kept, not copied. */
void verdict_condition(struct model_conditions *c, const char *type, bool is_true, const char *reason,
		       const char *message);
/* The features of the dataplane by their names in the conformance tests, sorted. */
const char *const *verdict_features(struct translation *t, size_t *n);

/* grants.c: whether a ReferenceGrant lets objects of a kind (Gateway API) and namespace refer to one of another (core). */
bool is_granted(const struct translation *t, const char *from_kind, const char *from_ns, const char *to_kind,
		const char *ns, const char *name);

/* httproute.c: the backend that a reference names, or -1 after a problem. */
int32_t route_backend(struct translation *t, const struct kube_object *o, const struct cursor *ref);
/*
 * filters.c: the filters of a rule or of a backendRef. has_prefix: the rule has
 * exactly one match, of type PathPrefix. False, after a problem: whatever has
 * these filters must answer 500.
 */
bool filters_read(struct translation *t, const struct kube_object *o, const struct cursor *list, bool has_prefix,
		  struct model_filters *out);
bool filters_have(const struct model_filters *list, uint8_t kind);
/* cors.c: the CORS filter. False, after a problem, if it is wrong. */
bool cors_read(struct translation *t, const struct kube_object *o, const struct cursor *at, struct model_filter *f);

/* timeouts.c: a duration in ms, WEIR_NO_LIMIT for 0s; 0 where it is absent or, after a problem with this reason, wrong. */
uint32_t timeout_read(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *reason);
/* The limits that the annotations of a Gateway, an HTTPRoute or an Ingress set. What is wrong is a problem, and not set. */
void timeouts_read(struct translation *t, const struct kube_object *o, struct weir_timeouts *out);

/* ingress.c, gateway.c, httproute.c */
void ingress_translate(struct translation *t);
void gateway_translate(struct translation *t);
/* Once the routes are attached: what the Gateways are told. */
void gateway_conclude(struct translation *t);
/* listener.c: reads the listeners of a Gateway: appends to t->sections those that have a name of their own. */
void listeners_read(struct translation *t, const struct gateway *g, const struct cursor *list);
/* What a listener of g is told. */
void listener_conclude(struct translation *t, const struct gateway *g, const struct section *s,
		       struct model_section *out);

const struct gateway *gateway_find(const struct translation *t, const char *ns, const char *name);
/* Whether a listener admits routes of a namespace. */
bool section_admits(const struct translation *t, const struct gateway *g, const struct section *s, const char *ns);
/* What both host names cover, or NULL. "" is any. */
const char *host_intersection(const char *listener, const char *route);
void httproute_translate(struct translation *t);

#endif
