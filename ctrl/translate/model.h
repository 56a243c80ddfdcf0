/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Kubernetes objects mean, before it is compiled: a flat list of
 * matches, each with its listener, host, path, conditions and backends, plus
 * the backends with their endpoints, plus what was wrong with which object.
 *
 * translate() makes it from the store, compile_snapshot() and
 * compile_endpoints() make the contract's blobs from it. Pure functions:
 * same objects in, same model and same bytes out, in whatever order they came.
 *
 * A model owns all its memory; strings are NUL terminated and from
 * model_str(), freed with the model.
 */
#ifndef TRANSLATE_MODEL_H
#define TRANSLATE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kube/store.h"
#include "translate/certificate.h"
#include "weir/snapshot.h"

/* Host names as they stand in the objects: "" (any), "a.example.com", "*.example.com". Lower case. */
struct model_listener {
	struct weir_ip addr; /* zero: every listen address */
	uint16_t port;
	uint8_t proto;	  /* enum weir_proto */
	uint8_t kind;	  /* enum weir_listener_kind; of one address, port and host, those of another kind than the first are left out */
	const char *host; /* of the Gateway's listener; "" for Ingress */
	const char *name; /* for people: "Gateway ns/name listener", "Ingress" */
	struct weir_timeouts timeouts; /* of several listeners of one address, port and host, those of the first by name count */
};

/*
 * What the TLS clients of an address and port are shown who ask for a name. Of several of one address, port and name the
 * first counts, those that a listener has by its host name before all others. Those of no listener of HTTPS are left out.
 */
struct model_server_name {
	struct weir_ip addr;
	uint16_t port;
	uint8_t profile;      /* enum weir_tls_profile */
	bool host_one_label;  /* a wildcard covers exactly one label */
	bool is_derived;      /* of what a certificate covers, not of a host name in an object */
	const char *host;     /* as those of listeners */
	int32_t listener;     /* index in listeners, for which alone requests may come; -1: any */
	uint8_t mode;	      /* enum weir_tls_mode */
	size_t n_certs;	      /* up to WEIR_MAX_CERTS_OF_NAME, each of another kind of key; PASSTHROUGH: 0, and a listener of kind STREAM */
	const struct certificate *const *certs; /* held by the model */
	const struct model_client_auth *client_auth; /* NULL: clients are not asked for certificates */
	const char *owner;    /* for people: "Gateway ns/name listener", "Ingress ns/name" */
};

/* As struct weir_client_auth. Names may share one. */
struct model_client_auth {
	const struct certificate *trust; /* held by the model; NULL: nobody's certificate is valid */
	uint8_t mode, depth, fields;
};

/* TLS to a backend, as struct weir_backend_tls. */
struct model_backend_tls {
	const char *host; /* lower case */
	size_t n_sans;
	const struct model_san *sans;
	const struct certificate *trust;  /* held by the model; NULL: nobody is trusted */
	const struct certificate *client; /* our own, held by the model; NULL: none */
	uint8_t profile;		  /* enum weir_tls_profile */
};

struct model_san {
	uint8_t kind; /* enum weir_san_kind */
	const char *value;
};

struct model_cond {
	uint8_t kind; /* enum weir_cond_kind */
	const char *name; /* header names in lower case */
	const char *value;
};

struct model_header_op {
	uint8_t kind; /* enum weir_header_op_kind; of a CORS filter, enum weir_cors_kind */
	const char *name; /* CORS: "" */
	const char *value; /* REMOVE: NULL */
};

/* As struct weir_filter. */
struct model_filter {
	uint8_t kind;	     /* enum weir_filter_kind */
	uint8_t path_change; /* enum weir_path_change */
	uint8_t scheme;	     /* enum weir_proto; 0: the one of the listener */
	uint16_t status, port;
	const char *host; /* NULL: as it is */
	const char *path; /* NULL where path_change is KEEP; of a prefix: no slash at its end */
	size_t n_ops;
	const struct model_header_op *ops;
	int32_t backend; /* MIRROR: index in backends */
	uint32_t numerator, denominator;
};

struct model_filters {
	size_t n;
	const struct model_filter *f;
};

struct model_split {
	int32_t backend; /* index in backends; -1: bad reference, answered 500 for its share */
	uint32_t weight;
	struct model_filters filters; /* none where backend is -1 */
};

/* One way in: several of them may come from one rule (a match, a host name and a listener each). */
struct model_match {
	uint32_t listener; /* index in listeners */
	const char *host;
	bool host_one_label; /* a wildcard covers exactly one label (Ingress) */
	uint8_t path_kind;   /* enum weir_path_kind */
	const char *path;    /* begins with '/' */
	const char *method;  /* "": any */
	size_t n_conds;
	struct model_cond *conds;
	uint8_t action; /* enum weir_action */
	uint16_t status; /* action STATUS */
	size_t n_splits;
	struct model_split *splits;
	struct weir_timeouts timeouts;
	struct weir_retry retry; /* action FORWARD */
	struct model_filters filters; /* action STATUS: none; REDIRECT: one of them is */
	const struct model_client_auth *client_auth; /* an Ingress: only clients that were asked so are served; NULL: all */
	/* where it comes from, which also is the order among equals */
	const char *kind, *ns, *name;
	int64_t created_s; /* creationTimestamp; 0 where absent */
	uint32_t rule_index, match_index;
};

/* How a backend's endpoints are chosen and judged. */
struct model_balance {
	struct weir_backend fixed; /* without id, proto, tls and the strings */
	const char *hash_name, *cookie_name, *cookie_path; /* NULL: empty */
};

struct model_backend {
	/*
	 * "ns/service:port", with "@ns/gateway" where it is shown the client certificate of a Gateway, of which each has its own:
	 * its identity; NULL: no backend, nothing refers to it
	 */
	const char *name;
	uint64_t id;	  /* hash_backend() of it; 0: not computed */
	const struct model_backend_tls *tls; /* NULL: it is spoken to in the clear */
	struct model_balance balance;
	const char *external; /* the name in DNS whose addresses its endpoints are; NULL: they come of EndpointSlices */
	bool is_pending;      /* that was not answered yet: whatever its endpoints were stays */
	size_t n_endpoints;
	struct weir_endpoint *endpoints; /* sorted by address, port; no two alike */
};

/* Something that is wrong with an object, or a fact that its owner should know. */
struct model_problem {
	const char *file; /* "" where the object has no file */
	unsigned line;	  /* of the field, from 1; 0 if not known */
	unsigned column;
	const char *kind, *ns, *name;
	const char *field;  /* "spec.rules[0].backendRefs[1].port" */
	const char *reason; /* one CamelCase word: "InvalidPath", "BackendNotFound", ... */
	const char *text;
	bool is_fatal; /* the object (or its named part) is not served */
};

/*
 * What the owners of objects are to be told in their status, as the Gateway
 * API has it; status/ makes the documents. All texts live as long as the model.
 */
struct model_condition {
	const char *type;
	const char *status; /* "True", "False" or "Unknown" */
	const char *reason;
	const char *message;
};

struct model_conditions {
	size_t n;
	struct model_condition c[4];
};

/* A listener of a Gateway, served or not. */
struct model_section {
	const char *name;
	enum kube_kind routes; /* its one supported kind; KUBE_N_KINDS: none */
	uint32_t n_routes;	/* attached */
	struct model_conditions conditions;
};

/* A parentRef of a route that names a Gateway of ours; the fields as they are written, NULL or 0 where absent. */
struct model_parent {
	const char *group, *kind, *ns, *name, *section;
	uint16_t port;
	struct model_conditions conditions;
};

/* One object of ours. */
struct model_status {
	enum kube_kind kind;
	const char *ns, *name;
	struct model_conditions conditions; /* GatewayClass, Gateway */
	size_t n_features;		    /* GatewayClass */
	const char *const *features;
	size_t n_addrs; /* Gateway, Ingress */
	const struct weir_ip *addrs;
	size_t n_sections; /* Gateway, ListenerSet */
	struct model_section *sections;
	uint32_t n_attached_sets; /* Gateway */
	size_t n_parents; /* routes; of a BackendTLSPolicy the ancestors */
	struct model_parent *parents;
};

struct model_chunk;

struct model {
	size_t n_listeners, cap_listeners;
	struct model_listener *listeners;
	size_t n_names, cap_names;
	struct model_server_name *names;
	size_t n_held, cap_held;
	struct certificate **held;
	size_t n_matches, cap_matches;
	struct model_match *matches;
	size_t n_backends, cap_backends;
	struct model_backend *backends;
	size_t n_problems, cap_problems;
	struct model_problem *problems;
	size_t n_statuses, cap_statuses;
	struct model_status *statuses;
	struct model_chunk *chunks; /* memory */
	size_t n_refused; /* certificates that the dataplane does not take, sorted; whoever compiles it for one sets them */
	const struct weir_cert_id *refused;
	const struct staples *staples; /* likewise: certificates go out with these responses; NULL: with none */
	uint64_t hash_seed; /* of the snapshot's tables; whoever compiles it for a dataplane sets a secret one */
};

void model_init(struct model *m);
void model_fini(struct model *m);
/* Memory that lives as long as the model; zeroed. Ends the process when there is none. */
void *model_alloc(struct model *m, size_t n);
/* Takes over what model_alloc() gave of another one, and what it holds. */
void model_adopt(struct model *m, struct model *from);
/* The certificate stays as long as the model. */
void model_hold(struct model *m, const struct certificate *c);
/* Calls fn for each certificate that names, client authentications and backends refer to; some more than once. */
void model_each_certificate(const struct model *m, void (*fn)(void *ctx, const struct certificate *c), void *ctx);
/* A copy of n bytes with NUL. */
const char *model_strn(struct model *m, const char *s, size_t n);
const char *model_str(struct model *m, const char *s);
const char *model_printf(struct model *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Append a zeroed entry and return it; valid until the next append to the same list. */
struct model_listener *model_add_listener(struct model *m);
struct model_server_name *model_add_name(struct model *m);
struct model_match *model_add_match(struct model *m);
struct model_backend *model_add_backend(struct model *m);
struct model_problem *model_add_problem(struct model *m);
struct model_status *model_add_status(struct model *m);

#endif
