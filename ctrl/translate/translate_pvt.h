/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within translate/: the state of one translation, cursors that know the path
 * to a field, and what the files of this folder do for each other.
 */
#ifndef TRANSLATE_TRANSLATE_PVT_H
#define TRANSLATE_TRANSLATE_PVT_H

#include "translate/age.h"
#include "translate/base64.h"
#include "translate/certificate.h"
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
/* The i-th value of an object. */
struct cursor cursor_value(const struct cursor *up, size_t i);
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

/* For what a Secret or a ConfigMap is referred to. */
enum secret_use { SECRET_CERTIFICATE, SECRET_CA, N_SECRET_USES };

/* What is wrong with a reference to one. */
struct ref_fault {
	const char *reason; /* in the API's terms; NULL: nothing */
	const char *text;
	bool is_pending; /* no reason, but a text: it is not known yet whether it is right */
};

/* A Gateway of ours, or a ListenerSet of one. */
struct gateway {
	const struct kube_object *o;
	const struct kube_object *class; /* while they are read */
	const struct gateway *parent; /* of a ListenerSet; NULL: it is a Gateway */
	size_t first, count; /* in translation.sections: its own, those of its ListenerSets follow */
	struct weir_timeouts timeouts;
	bool admits_no_sets; /* allowedListeners is wrong */
	/* why it is not accepted, or not programmed, in the API's terms; NULL: it is */
	const char *refusal, *refusal_text;
	const char *lack, *lack_text;
	struct ref_fault client_certificate; /* of spec.tls.backend */
	bool has_client_certificate;
	const struct certificate *client; /* that one, which backends are shown, held by the Gateways' part; NULL: none can be */
	struct frontend *frontends; /* whom it asks for certificates: frontend.c */
	size_t n_frontends;
	bool is_insecure; /* on some port it lets through who has no valid one */
	struct weir_ip addrs[ADDRESSES_MAX]; /* that it listens on, sorted; the zero address: all */
	size_t n_addrs;
	uint64_t given; /* a Gateway: gateway_given() as it was read */
};

/* One listener of a Gateway; served, it is as many listeners of the model as the Gateway has addresses. */
struct section {
	size_t index; /* in spec.listeners */
	const char *name;
	const char *protocol;
	const char *host; /* "" any */
	uint16_t port;
	enum kube_kind routes; /* that can be attached, of the one kind that its protocol takes; KUBE_N_KINDS: none */
	bool is_passthrough;   /* TLS that a backend ends */
	const struct node *namespaces; /* allowedRoutes.namespaces, or NULL: Same */
	bool admits_none;	       /* these are wrong */
	uint32_t first, count;         /* in model.listeners */
	/* why it is not accepted, and what of its references is wrong, in the API's terms; NULL: nothing */
	const char *refusal, *refusal_text;
	const char *unresolved, *unresolved_text;
	const char *pending_text; /* not NULL: not all of its references are known yet */
	/* TLS that Weir ends: those that can be used, in their order, held by the part of the Gateways; none: it is not served */
	const struct certificate **certs;
	size_t n_certs;
	uint8_t profile;    /* enum weir_tls_profile */
	const struct model_client_auth *client_auth; /* likewise; NULL: clients are not asked for certificates, or is_unchecked */
	bool is_unchecked;  /* they are to be asked, but it is not known yet by whom they are judged: it is not served until then */
	bool is_conflicted; /* refusal says with what */
	uint32_t n_routes;  /* attached and accepted */
};

/* Listeners that are served, by address, port and host name, and the first one of each address and port; open addressing. */
struct claims {
	struct claim {
		uint32_t listener_plus1; /* in the listeners of the model; 0: empty */
		bool is_port; /* whatever its host name is */
		bool is_passthrough;
		const struct gateway *owner; /* a Gateway, also of what its ListenerSets have */
	} *slots;
	size_t n, n_slots;
};

struct translator;
struct unit;

#define POLICY_ANCESTORS_MAX 16u

/* What a unit (units.h) is read with. */
struct translation {
	const struct store *store;
	const struct translate_options *options;
	struct translator *translator;
	struct unit *unit;	   /* that is read now */
	struct model *m;	   /* what it gives goes there; listeners are counted among those of the Gateways */
	struct findings *findings; /* of what is read now; NULL: nobody asks */
	bool is_trial;		   /* what is read is served nowhere: it is looked at for its status alone */
	bool is_passthrough;	   /* backends that are read now get bytes of which nobody knows more: no policy of TLS counts for them */
	/* the Gateway whose client certificate backends that are read now are shown; NULL: none is. And how many there will be */
	const struct gateway *via;
	size_t n_vias;
	struct gateway *gateways; /* by (namespace, name) */
	size_t n_gateways, cap_gateways;
	struct gateway *sets; /* ListenerSets of these, by (namespace, name) */
	size_t n_sets, cap_sets;
	struct section *sections;
	size_t n_sections, cap_sections;
	struct claims claims; /* while Gateways are read */
	const struct kube_object *reported; /* the object of the last problem, and how many it has */
	size_t n_reported;
};

/* Room for one more in an array that doubles. Ends the process when there is no memory. */
void *translate_grow(void *p, size_t n, size_t *cap, size_t size);
/* The same for what malloc() and the like have given. */
void *translate_must(void *p);

/* report.c: adds a problem. at says field, line and column; where it is absent, those of what should hold it. */
void report(struct translation *t, const struct kube_object *o, const struct cursor *at, bool is_fatal,
	    const char *reason, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* schema.c: types and required fields of an object. False, with problems, if it must not be used. */
bool schema_check(struct translation *t, const struct kube_object *o);

/* translate.c */
bool is_usable(const struct translation *t, const struct kube_object *o);
/* What the schema had against an object that is not usable. */
const char *refusal_text(const struct translation *t, const struct kube_object *o);
/* For age_compare(); it points into the object. */
struct age object_age(const struct kube_object *o);
/* An absolute path without dot segments, empty segments or escapes of '/'. */
bool is_path(const char *path);
/* Can stand as the path of a request or of Location; others than is_path() may be wanted there. */
bool is_target_path(const char *path);
/* The path, for a prefix without its trailing slash. */
const char *model_path(struct translation *t, uint8_t kind, const char *path);

/* endpoints.c. A port of 0 means the one named port_name. The backend's index, or -1 after a problem at `at`. */
int32_t translate_backend(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *ns,
		     const char *service, uint16_t port, const char *port_name);
void endpoints_check_slice(struct translation *t, const struct kube_object *slice);
/* The Service whose endpoints a slice has, NULL if they cannot be used. */
const char *endpoints_service(const struct kube_object *slice);
/* Those of a port of a Service out of its slices, sorted, in the memory of t->m. */
struct weir_endpoint *endpoints_collect(struct translation *t, const struct kube_object *service, uint16_t port,
					const struct kube_object *const *slices, size_t n_slices, size_t *n);

/*
 * node_ports.c. False after a problem at `at`: pods are reached by nodePorts alone, and this port of the Service has none. The
 * endpoints that it has then, unsorted, for free().
 */
bool node_ports_check(struct translation *t, const struct kube_object *o, const struct cursor *at, const struct kube_object *s,
		      const struct node *port);
struct weir_endpoint *node_ports_collect(const struct translation *t, const struct kube_object *service, const struct node *port,
					 const struct kube_object *const *slices, size_t n_slices, size_t *n);

/*
 * external.c: Services of type ExternalName. external_check(): o may refer to one,
 * and its name is right; else, after a problem, false. external_check_port(): the
 * same of a port that it declares (NULL: it has none at all).
 */
bool external_has_ports(const struct kube_object *service);
bool external_check(struct translation *t, const struct kube_object *o, const struct cursor *at,
		    const struct kube_object *s);
bool external_check_port(struct translation *t, const struct kube_object *o, const struct cursor *at,
			 const struct kube_object *s, const struct node *declared);
/* Endpoints of a port, be it declared or, where none is, any; in the memory of t->m. And what is wrong with the name. */
void external_read(struct translation *t, const struct kube_object *service, const struct node *declared, uint16_t port,
		   struct model_backend *b);
/* backends.c: what is read now is a backend whose addresses are those of a name. */
void external_depend(struct translation *t, const char *name);
/* endpoints.c: the port of a Service for a protocol by number, or by name where number is 0; NULL: it has none such. */
const struct node *backend_port(const struct translation *t, const struct kube_object *service, const char *protocol,
				int64_t number, const char *name);

/*
 * zones.c: of the endpoints of one port, each with the hints of its slice (NULL:
 * none), leaves those that this node is to use. Returns how many; order stays.
 */
size_t zones_filter(const struct translation *t, struct weir_endpoint *ep, const struct node **hints, size_t n);

/*
 * backends.c: the unit that is read now has this backend, over TLS as the policy has it that counts for it, or in the clear:
 * so it is, too, for what is passed through, of which it is another backend then. Returns its index in the backends of the whole.
 */
uint32_t backend_use(struct translation *t, const char *ns, const char *service, uint16_t port, bool is_tls);
/* The same Service as that of a backend which is used already, as t->via has it now. */
uint32_t backend_use_via(struct translation *t, uint32_t slot);

/* balance.c: what the annotations of a Service say, without problems; and the problems that they have. */
void balance_read(struct translation *t, const struct kube_object *service, struct model_balance *out);
void balance_check(struct translation *t, const struct kube_object *service);

/* verdict.c: what objects are told of themselves */
void findings_add(struct translation *t, bool is_fatal, const char *reason, const char *field, const char *text);
/* The status of an object; valid until the next one. */
struct model_status *verdict_add(struct translation *t, const struct kube_object *o);
/* Of is_true, reason stands for itself; else it is why not. message is kept, not copied. */
void verdict_condition(struct model_conditions *c, const char *type, bool is_true, const char *reason,
		       const char *message);
/* ResolvedRefs, out of what was found. */
void verdict_references(struct model_conditions *c, const struct findings *found);
/* The features of the dataplane by their names in the conformance tests, sorted. */
const char *const *verdict_features(struct translation *t, size_t *n);

/* grants.c: whether a ReferenceGrant lets objects of a kind (Gateway API) and namespace refer to one of another (core). */
bool is_granted(struct translation *t, const char *from_kind, const char *from_ns, const char *to_kind,
		const char *ns, const char *name);
/* All that a grant permits: grant_add() for each. */
void grants_read(struct translation *t, const struct kube_object *grant);
/* translator.c: the grant that is read now permits this in its namespace, a text of grants.c; some grant does. */
void grant_add(struct translation *t, const char *ns, const char *what);
bool grant_is_there(struct translation *t, const char *ns, const char *what);

/*
 * certificates.c. A reference of o to a certificate with its key: invalid is the reason for what is not right with it.
 * The texts are of t->m.
 */
struct ref_fault certificate_fault(struct translation *t, const struct kube_object *o, const struct cursor *ref, const char *invalid);
/* The same to a CA bundle; wrong_kind: the reason where it is no ConfigMap. ns: where it is looked for if it does not say. */
struct ref_fault ca_fault(struct translation *t, const struct kube_object *o, const struct cursor *ref, const char *wrong_kind);
/* What the TLS of a listener refers to: notes what is wrong in s, and reports it, but for what the Gateway says for all its listeners. */
void certificates_check(struct translation *t, const struct gateway *g, const struct cursor *tls, struct section *s);
/* What spec.tls of a Gateway refers to: reports what is wrong, and notes the client certificate. */
void certificates_check_gateway(struct translation *t, struct gateway *g);
/*
 * frontend.c: what spec.tls.frontend of a Gateway says, before its listeners are read; reports what is wrong with it. What
 * that is for a listener of g where Weir ends TLS, a ListenerSet too, with its tls.options, of which some are known here:
 * noted in s.
 */
void frontends_read(struct translation *t, struct gateway *g);
void frontend_apply(struct translation *t, const struct gateway *g, const struct cursor *options, struct section *s);
bool frontend_knows_option(const char *key);
#define CLIENT_CERTIFICATE "weir.dev/client-certificate"
#define CLIENT_CERTIFICATE_CA "weir.dev/client-certificate-ca" /* of an Ingress */
#define CLIENT_CERTIFICATE_DEPTH "weir.dev/client-certificate-depth"
#define CLIENT_CERTIFICATE_FIELDS "weir.dev/client-certificate-fields"
/* What of a client's certificate backends are told: "none", or names of several, by commas. False: it is none of these. */
bool client_fields_parse(const char *text, uint8_t *out);
#define CLIENT_FIELDS_EXPECTED "xfcc, rfc9440 or both, chain with rfc9440 only, by commas, or none was expected"
/* Of a Secret by its name alone. */
struct ref_fault certificate_fault_of(struct translation *t, const char *ns, const char *name);
/*
 * tls.options of a listener, options of a policy: the profile (enum weir_tls_profile). What is of no effect is a problem.
 * are_frontend: those of frontend.c are for somebody else to read.
 */
uint8_t tls_options_read(struct translation *t, const struct kube_object *o, const struct cursor *options, bool are_frontend);

/*
 * server_names.c: what TLS clients are shown. Of certificates, for each kind of key the first that covers a host; where none
 * does, the first of each kind. Returns how many.
 */
size_t server_certs(const struct certificate *const *certs, size_t n, const char *host,
		    const struct certificate *out[WEIR_MAX_CERTS_OF_NAME]);
/* The names of a listener of HTTPS or TLS that is served as this one of the model. */
void server_names_of_listener(struct translation *t, const struct section *s, uint32_t listener);
/* Those of spec.tls of an Ingress; reports what is wrong. */
void server_names_of_ingress(struct translation *t, const struct kube_object *o, const struct cursor *spec,
			     const struct model_client_auth *auth);
/* The one of the default certificate, if there is one, or what is wrong with it. */
void server_names_default(struct translation *t);
/* At most, in bytes of a snapshot. */
uint64_t server_names_cost(const struct section *s);
uint64_t server_names_ingress_cost(const struct cursor *spec);
/* Says what people should know of a certificate to which o refers. */
void certificate_warn(struct translation *t, const struct kube_object *o, const struct cursor *at, const struct certificate *c);

/* The same of CA certificates and CRLs. */
void trust_warn(struct translation *t, const struct kube_object *o, const struct cursor *at, const struct certificate *c);

/* secrets.c: why an object cannot be used for this, by its name; NULL: it can. *is_pending: it may be, nobody knows yet. */
const char *secret_fault(struct translation *t, enum kube_kind kind, const char *ns, const char *name, enum secret_use use,
			 bool *is_pending);

/* The certificate of a Secret without a fault, held by t->m: valid as long as that. */
const struct certificate *secret_certificate(struct translation *t, const char *ns, const char *name);

/* The CA certificates of a ConfigMap or a Secret without a fault, likewise. */
const struct certificate *secret_trust(struct translation *t, enum kube_kind kind, const char *ns, const char *name);

/*
 * trust.c: what is wrong with a bundle of CA certificates in PEM, and with CRLs (NULL: there are none); a constant, or NULL.
 * *out: what can be trusted, each certificate once, for the caller to put; NULL after a fault.
 */
const char *trust_read(const char *crt, size_t n_crt, const char *crl, size_t n_crl, struct certificate **out);
/* All of those, at least one, together, for the caller to put. NULL: they would be too large. */
struct certificate *trust_merge(const struct certificate *const *list, size_t n);
/*
 * The CA certificates of a list of references, of those that ca_fault() has nothing against, as one that t->m holds. NULL:
 * there are none, or, after a problem, they are too large together: then nobody is to be trusted.
 */
const struct certificate *trust_of_refs(struct translation *t, const struct kube_object *o, const struct cursor *refs,
					const char *wrong_kind);

/*
 * pem.c: what is wrong with a certificate (a chain, its own first) and its key in PEM; NULL: nothing. Constants. *out: what
 * can be served, for the caller to put; NULL after a fault.
 */
const char *pem_read_pair(const char *crt, size_t n_crt, const char *key, size_t n_key, struct certificate **out);

/* facts.c: what the leaf of b says, whose chain this is, each as x509.h reads it; *out begins as zeros. */
struct x509_st;
void facts_find(const struct weir_certificate *b, struct x509_st *const *chain, struct ocsp_facts *out);

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
/* retry.c: the retry of a rule (NULL within the cursor: none); what is wrong is a problem, and left out. */
void retry_read(struct translation *t, const struct kube_object *o, const struct cursor *retry, struct weir_retry *out);
/* The limits that the annotations of a Gateway, an HTTPRoute or an Ingress set. What is wrong is a problem, and not set. */
void timeouts_read(struct translation *t, const struct kube_object *o, struct weir_timeouts *out);

/*
 * budget.c: what a match takes of a snapshot at most; the unit that is read now costs what its matches do, and more; if
 * it is refused, they are dropped. What it is told then; NULL: it is served.
 */
uint64_t budget_cost(const struct model_match *m);
void budget_charge(struct translation *t, uint64_t more);
const char *budget_refusal(struct translation *t);
/*
 * A listener on n addresses, of this name for people, is charged to the namespace of g. False, if that has too many: a
 * quarter of its share at most is for listeners, those of older Gateways first.
 */
bool budget_takes_listener(struct translation *t, const struct gateway *g, const struct section *s);
#define BUDGET_REASON "BudgetExceeded"

/* ingress.c */
void ingress_read(struct translation *t, const struct kube_object *o);
/* What its default backend takes, of which ingress_read() made this. */
void ingress_read_default(struct translation *t, const struct kube_object *o, const struct model_match *action);
#define INGRESS_DEFAULT_CLASS "ingressclass.kubernetes.io/is-default-class"
/* The class that an Ingress without one gets: of several defaults the youngest, then by name, as at admission. NULL: none. */
const struct kube_object *ingress_default_class(const struct translation *t);
bool ingress_is_default_class(const struct translation *t, const struct kube_object *class);
bool ingress_is_our_class(const struct translation *t, const struct kube_object *class);
/*
 * ingress_auth.c: how its annotations want clients asked for certificates, NULL: they do not; reports what is wrong with
 * them. ingress_auth_check(): reports which of its hosts are refused then.
 */
const struct model_client_auth *ingress_auth_read(struct translation *t, const struct kube_object *o);
void ingress_auth_check(struct translation *t, const struct kube_object *o, const struct cursor *spec);
bool ingress_auth_knows(const char *key);
/* Of all matches, of Ingresses alone yet: those that are not to be served in the clear, or to who is asked otherwise, are not. */
void ingress_auth_guard(struct model *all, uint32_t https);
/* ingress_check.c: what is wrong with IngressClasses, and what Ingresses do to each other, whose matches these are, in their order. */
void ingress_check(struct translation *t, const struct model_match *const *matches, size_t n);
/* translator.c: the Ingress that is read now has a prefix "/" for a host, or a default backend; some Ingress has such a prefix. */
void ingress_add_root(struct translation *t, const char *host);
void ingress_add_default(struct translation *t, const struct model_match *action);
bool ingress_has_root(struct translation *t, const char *host);

/* gateway.c: all of them */
void gateway_translate(struct translation *t);
/* The addresses that its status has, as a number: all that is read of a status. */
uint64_t gateway_given(const struct kube_object *o);
/* Once the routes are attached: what a Gateway is told. */
void gateway_conclude(struct translation *t, const struct gateway *g);
/* listener.c: what a protocol of listeners is to Weir. */
struct carriage {
	const char *protocol;
	uint8_t proto, kind; /* enum weir_proto, enum weir_listener_kind */
	enum kube_kind routes; /* that can be attached */
};
/* NULL: it is not carried. */
const struct carriage *section_carriage(const struct section *s);
/* Weir ends TLS there: it needs certificates. */
bool section_ends_tls(const struct section *s);
/* Reads the listeners of a Gateway: appends to t->sections those that have a name of their own. */
void listeners_read(struct translation *t, const struct gateway *g, const struct cursor *list);
/* What points into its Gateway or ListenerSet points into this one, of the same spec, from now on. */
void section_bind(struct section *s, const struct kube_object *o);
/*
 * The listeners of one Gateway that are not refused, by port and protocol, and by host name too: there may be many thousands
 * in its sets, and nobody is to wait until each is compared with each. free() its slots.
 */
struct taken {
	struct taken_slot {
		uint32_t section_plus1; /* in translation.sections; 0: empty */
		bool has_host;
	} *slots;
	size_t n, n_slots;
};
void taken_add(const struct translation *t, struct taken *k, size_t section);
/* As listeners_read() for a ListenerSet, whose listeners give way to those of its Gateway that were read before. */
void listeners_add(struct translation *t, const struct gateway *set, const struct cursor *list, struct taken *taken);
/* allowedRoutes.namespaces or allowedListeners.namespaces; false after a problem. */
bool namespaces_are_right(struct translation *t, const struct kube_object *o, const struct cursor *namespaces);
/* Nothing can be served of it, and waiting does not help: it is refused, or none of the certificates that it needs can be used. */
bool section_is_invalid(const struct section *s);
/* What a listener of g is told. */
void listener_conclude(struct translation *t, const struct gateway *g, const struct section *s,
		       struct model_section *out);

/* translator.c: the route that is read now is attached to a listener. */
void section_attach(struct translation *t, size_t section);
const struct gateway *gateway_find(struct translation *t, const char *ns, const char *name);
/* Of a list by (namespace, name). */
const struct gateway *gateway_search(const struct gateway *list, size_t n, const char *ns, const char *name);
/* One listener of the model for each address of g, of a listener that is served. */
void section_serve(struct translation *t, const struct gateway *g, struct section *s, const struct weir_timeouts *timeouts);
/* claims.c: the Gateway of another namespace that has an address, port and host name of this listener; NULL: none has. */
const struct gateway *claim_of_other(const struct translation *t, const struct gateway *g, const struct section *s);
/*
 * Of the Gateway, be it of this namespace, whose listeners on an address and port of this one are of another protocol on the
 * wire (is_port), or whose listener for this very host name is carried in another way; NULL: there is none.
 */
const struct claim *claim_of_protocol(const struct translation *t, const struct gateway *g, const struct section *s);
/* A listener of the model is that of g, or of its Gateway. */
void claim_add(struct translation *t, const struct gateway *g, const struct section *s, size_t listener);
void claims_fini(struct translation *t);
/* Whether such a field (NULL: absent) of an object in own_ns admits another namespace; fallback: where it says nothing. */
bool namespaces_admit(const struct translation *t, const struct node *namespaces, const char *fallback, const char *own_ns,
		      const char *ns);

/*
 * listenerset.c: finds the sets of our Gateways; reads those of one, right after
 * its own listeners; what one is told.
 */
void listenersets_collect(struct translation *t);
void listenersets_read(struct translation *t, const struct gateway *g);
void listenerset_conclude(struct translation *t, const struct gateway *set);
bool listenerset_is_accepted(const struct translation *t, const struct gateway *set);
const struct gateway *listenerset_find(struct translation *t, const char *ns, const char *name);
/* Whether a listener admits a route. */
bool section_admits(const struct translation *t, const struct gateway *g, const struct section *s, const struct kube_object *o);
/* What both host names cover, or NULL. "" is any. */
const char *host_intersection(const char *listener, const char *route);
/*
 * via.c: what a rule does, which was read for t->via, for another Gateway (NULL: one without a client certificate): backends over
 * TLS are shown that of their Gateway, or none, so they are others.
 */
struct model_match via_read(struct translation *t, const struct model_match *first, const struct gateway *via);
/* httproute.c */
void httproute_read(struct translation *t, const struct kube_object *o);
/* streamroute.c: TLSRoute and TCPRoute */
void streamroute_read(struct translation *t, const struct kube_object *o);

/* ---- attach.c: where a route is served, and what it is told of that */

#define ROUTE_PARENTS_MAX 32u	    /* as many as the schema lets through */
#define ROUTE_MATCHES_MAX 16384u /* of one object, in the model */

/* A listener of the model and a host name: one place where the route is served. */
struct attachment {
	uint32_t listener;
	const char *host;
	const struct gateway *via; /* which has a client certificate for backends; NULL: it has none, or is_passthrough */
	bool is_passthrough;
};

/* A parentRef that names a Gateway of ours or a ListenerSet of one, and why the route is not attached there (in the API's terms; NULL: it is). */
struct route_parent {
	const struct gateway *g;
	size_t index; /* in spec.parentRefs */
	const char *refusal, *refusal_text;
};

/* A listener that the route is attached to. */
struct attached {
	size_t section; /* in translation.sections */
	size_t parent;
};

struct attachments {
	struct translation *t;
	const struct kube_object *o;
	const struct cursor *spec;
	struct attachment *at;
	size_t n_at, cap_at;
	const char **hosts; /* that are right */
	size_t n_hosts, cap_hosts;
	bool has_hosts; /* the object names some, be they right or wrong */
	const struct gateway *vias[ROUTE_PARENTS_MAX]; /* of these places, but for passthrough, each once, in their order */
	size_t n_vias;
	struct route_parent parents[ROUTE_PARENTS_MAX];
	size_t n_parents;
	struct attached *attached;
	size_t n_attached, cap_attached;
};

/* Finds the places of a route (t, o and spec are set): sorted, each once, host names in the memory of t->m. */
void attachments_read(struct attachments *a);
/* The same for a route that the schema refused: nothing in it has the type that it should have. It has no places. */
void attachments_read_malformed(struct attachments *a);
void attachments_fini(struct attachments *a);
/* Nowhere is it attached, for this reason, but where there is another one already. Both texts are kept. */
void attachments_refuse(struct attachments *a, const char *reason, const char *text);
/* The listeners hear of it, and what the route is told of its parents. found NULL: of its references nothing is known. */
struct model_status *attachments_conclude(struct attachments *a, const struct findings *found);
/* What a rule does, as it was read for a->vias[0], once for each of a->vias. */
const struct model_match *attachments_vias(const struct attachments *a, const struct model_match *first);
/* Of these, the one for a place. */
const struct model_match *attachments_via(const struct attachments *a, const struct model_match *all, const struct attachment *at);

/* parents.c: the Gateway of ours, or the ListenerSet of one, that a parentRef names; NULL: none. ref need not be right. */
const struct gateway *parent_find(struct translation *t, const struct kube_object *o, const struct cursor *ref);
/* Says of a parentRef for which there is none, if it should be said, why not. */
void parent_report(struct translation *t, const struct kube_object *o, const struct cursor *ref);
/* The parentRef as it is written, for a status. */
void parent_fill(struct translation *t, const struct cursor *ref, struct model_parent *out);
/* Whether a parentRef means this listener of what it names. */
bool parent_names(const struct cursor *ref, const struct section *s);

/* policy.c: what a policy is told, once all that refers to backends is read: referrers, in their order, have met it */
void policy_read(struct translation *t, const struct kube_object *policy, const struct kube_object *const *referrers, size_t n);
/* The policy that counts for a port (by name) of a Service; NULL: it is spoken to in the clear. o: who refers to it, or NULL. */
const struct kube_object *policy_find(struct translation *t, const struct kube_object *o, const char *ns, const char *service,
				      const char *port);
/* policy.c: target_add() for each target that a policy has, be it right or not. */
void policy_targets(struct translation *t, const struct kube_object *policy);
/* translator.c: policies by what they name, a text of policy.c. */
void target_add(struct translation *t, const struct kube_object *policy, const char *target);
/* Those that name it, the first POLICIES_MAX by name: one is enough to protect it, and more are of a nuisance. */
size_t target_policies(struct translation *t, const char *ns, const char *target, const struct kube_object **list);
#define POLICIES_MAX 64u
/*
 * backend_tls.c: why no TLS can be spoken as a policy has it, in the API's terms (Accepted), or that it is not known yet.
 * tells: it is a problem of the policy, too, and so is what of its references cannot be used.
 */
struct ref_fault backend_tls_fault(struct translation *t, const struct kube_object *policy, bool tells);
/* The first fault of its references to CA certificates, in the API's terms (ResolvedRefs). */
struct ref_fault backend_tls_references(struct translation *t, const struct kube_object *policy);
/* What a policy without a fault says, in the memory of t->m. It names no client certificate. */
struct model_backend_tls *backend_tls_read(struct translation *t, const struct kube_object *policy);
bool backend_tls_differs(const struct model_backend_tls *a, const struct model_backend_tls *b);
/* At most, in bytes of a snapshot, of one backend. */
uint64_t backend_tls_cost(const struct kube_object *policy);
/* translator.c: what is read now has met a policy. */
void policy_meet(struct translation *t, const struct kube_object *policy);

/* other_routes.c: GRPCRoute and UDPRoute, which are not carried, are told so */
void other_route_read(struct translation *t, const struct kube_object *o);

#endif
