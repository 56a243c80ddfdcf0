/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that are known now, by (group, kind, namespace, name), whatever
 * their source. weir-ctrl's one cache: sources write, translate() reads.
 */
#ifndef KUBE_STORE_H
#define KUBE_STORE_H

#include "kube/node.h"

/* X(enumerator, group, kind, namespaced) */
#define KUBE_KINDS(X) \
	X(INGRESS, "networking.k8s.io", "Ingress", true) \
	X(INGRESS_CLASS, "networking.k8s.io", "IngressClass", false) \
	X(GATEWAY_CLASS, "gateway.networking.k8s.io", "GatewayClass", false) \
	X(GATEWAY, "gateway.networking.k8s.io", "Gateway", true) \
	X(HTTP_ROUTE, "gateway.networking.k8s.io", "HTTPRoute", true) \
	X(REFERENCE_GRANT, "gateway.networking.k8s.io", "ReferenceGrant", true) \
	X(SERVICE, "", "Service", true) \
	X(ENDPOINT_SLICE, "discovery.k8s.io", "EndpointSlice", true) \
	X(NAMESPACE, "", "Namespace", false) \
	X(GRPC_ROUTE, "gateway.networking.k8s.io", "GRPCRoute", true) \
	X(TLS_ROUTE, "gateway.networking.k8s.io", "TLSRoute", true) \
	X(TCP_ROUTE, "gateway.networking.k8s.io", "TCPRoute", true) \
	X(UDP_ROUTE, "gateway.networking.k8s.io", "UDPRoute", true) \
	X(BACKEND_TLS_POLICY, "gateway.networking.k8s.io", "BackendTLSPolicy", true) \
	X(LISTENER_SET, "gateway.networking.k8s.io", "ListenerSet", true) \
	X(NODE, "", "Node", false) \
	X(CRD, "apiextensions.k8s.io", "CustomResourceDefinition", false) \
	X(SECRET, "", "Secret", true) \
	X(CONFIG_MAP, "", "ConfigMap", true)

enum kube_kind {
#define X(name, group, kind, namespaced) KUBE_##name,
	KUBE_KINDS(X)
#undef X
		KUBE_N_KINDS
};

#define KUBE_MANAGER "weir-ctrl" /* field manager of all that Weir writes */

struct kube_object {
	enum kube_kind kind;
	const char *ns; /* "" where not namespaced; "default" where the manifest gives none */
	const char *name;
	const char *uid, *resource_version; /* "" where absent */
	int64_t generation;		    /* of metadata, 0 where absent */
	int64_t created_s;		    /* metadata.creationTimestamp, 0 where absent */
	bool has_our_status;		    /* KUBE_MANAGER has applied fields of its status, and has them still (managedFields) */
	const char *file;  /* "" if from the API server */
	unsigned line;
	const struct node *root;
};

/* A problem of the source itself: bad YAML, unknown kind, missing name, the same object in two files. */
struct store_problem {
	const char *file;
	unsigned line, column;
	const char *kind, *ns, *name; /* "" where not known */
	const char *field;
	const char *reason;
	const char *text;
	bool is_fatal; /* the object is not taken */
};

struct store;

struct store *store_create(void);
void store_destroy(struct store *s);

/*
 * Reads a multi-document YAML text as the present content of `file`: replaces
 * what that file gave before. A syntax error keeps the file's earlier objects
 * (at first: those before the error) and is a problem. Returns a mask of
 * 1 << enum kube_kind of the kinds whose objects changed (0: nothing did).
 */
uint64_t store_load_yaml(struct store *s, const char *file, const char *data, size_t n);
/* The file is gone. Same return value. */
uint64_t store_forget_file(struct store *s, const char *file);

/*
 * An object of an API server, as it is now; its kind is known by where it was
 * asked for (the items of a LIST need not name theirs). What is refused is a
 * problem, and what was known of the object before stays. Returns the mask of
 * the kind if something changed that matters (also: which problems there are);
 * 0 if only status, resourceVersion, generation or managedFields did, which
 * are kept all the same, of managedFields only has_our_status. Of a Node few
 * fields are kept (keep.c), and the addresses in its status matter.
 */
uint64_t store_put(struct store *s, enum kube_kind kind, const struct node *object);
/* The same for its JSON. */
uint64_t store_put_json(struct store *s, enum kube_kind kind, const char *data, size_t n);
/*
 * In which version the server gives this kind from now on (a text that lives
 * on): of objects that do not say theirs, as the items of a LIST. At first: the best.
 */
void store_set_version(struct store *s, enum kube_kind kind, const char *version);
/*
 * An object of the kind cannot be read: a problem by name, and what was known
 * of it stays, over a list as well. name "": which one is not known, or none
 * can be read (ns "": of any namespace). Returns the mask.
 */
uint64_t store_put_unreadable(struct store *s, enum kube_kind kind, const char *ns, const char *name, const char *reason,
			      const char *text);
/* What was refused so far by any of these; of how many the names are not known, so that the objects may be swept. */
struct store_refused {
	uint64_t n, n_unnamed;
};
const struct store_refused *store_refused(const struct store *s);
/* Whether the API server has given it, read by nobody. */
bool store_has(const struct store *s, enum kube_kind kind, const char *ns, const char *name);
/* The object was deleted. Returns the mask of its kind, 0 if there was none. */
uint64_t store_remove(struct store *s, enum kube_kind kind, const char *ns, const char *name);
/*
 * For a list: between store_mark() and store_sweep() everything that there is
 * is put; what was not put is gone then. ns NULL: of all namespaces.
 */
void store_mark(struct store *s, enum kube_kind kind, const char *ns);
uint64_t store_sweep(struct store *s, enum kube_kind kind, const char *ns);
/* The same for one object. */
void store_mark_one(struct store *s, enum kube_kind kind, const char *ns, const char *name);
uint64_t store_sweep_one(struct store *s, enum kube_kind kind, const char *ns, const char *name);

/* Objects of a kind, sorted by (namespace, name). The array is the store's, valid until it changes. */
const struct kube_object *const *store_list(const struct store *s, enum kube_kind kind, size_t *n);
const struct kube_object *store_get(const struct store *s, enum kube_kind kind, const char *ns, const char *name);
/* Those of one namespace. */
const struct kube_object *const *store_list_of(const struct store *s, enum kube_kind kind, const char *ns, size_t *n);
const struct store_problem *store_problems(const struct store *s, size_t *n);
/* A number that is another one when store_problems() gives others than before. */
uint64_t store_problems_turn(const struct store *s);

/*
 * Who wants to know what is read: fn is called with the name that store_get() is asked for, be it there or not, with
 * name NULL by store_list_of(), and with ns NULL, too, by store_list(). One at a time; fn NULL: nobody.
 */
typedef void store_read_fn(void *ctx, enum kube_kind kind, const char *ns, const char *name);
void store_observe(const struct store *s, store_read_fn *fn, void *ctx);

/* The name of an object of a kind that is followed by name. */
struct named_ref {
	enum kube_kind kind;
	const char *ns, *name;
};

/* Why such an object is not there. */
enum store_absence {
	STORE_ABSENT,	 /* there is none */
	STORE_PENDING,	 /* nobody knows yet */
	STORE_FORBIDDEN, /* it may not be read */
	STORE_BEYOND,	 /* too many are referred to */
};

/* From now on objects of these kinds are STORE_PENDING until store_set_absence() says more. At first they are STORE_ABSENT. */
void store_expect_named(struct store *s);
/* Returns the mask of the kind if that is another reason than before, which is a change of that name in the journal. */
uint64_t store_set_absence(struct store *s, enum kube_kind kind, const char *ns, const char *name, enum store_absence why);
/* Of what store_get() does not have. */
enum store_absence store_absence(const struct store *s, enum kube_kind kind, const char *ns, const char *name);

/* An object that came, went, or was put again, or is not there for another reason. */
struct store_change {
	enum kube_kind kind;
	bool matters; /* as store_put() has it, or of another generation; else only status and the like are others than before */
	const char *ns, *name;
};

/* From now on changes are noted. */
void store_keep_journal(struct store *s);
/* Since the last store_clear_journal(), in the order in which they came. NULL: so many that they are not all known. */
const struct store_change *store_journal(const struct store *s, size_t *n);
void store_clear_journal(struct store *s);
const char *kube_kind_name(enum kube_kind k);
const char *kube_kind_group(enum kube_kind k); /* "" for the core */
bool kube_kind_is_namespaced(enum kube_kind k);
/* kinds.c: "gateways" */
const char *kube_kind_plural(enum kube_kind k);
/* The i-th version that can be read, the best first; NULL after the last one. */
const char *kube_kind_version(enum kube_kind k, unsigned i);
bool kube_kind_has_version(enum kube_kind k, const char *version);
/* Weir serves the rest if the API server forbids to read this kind: what that means; NULL: it does not. */
const char *kube_kind_without(enum kube_kind k);
/* Its objects take something away from what others allow: not to know them leaves open what they close. */
bool kube_kind_is_policy(enum kube_kind k);
/* Secret and ConfigMap: of an API server only objects that something refers to are read, each by its name. */
bool kube_kind_is_named(enum kube_kind k);
/* What its objects say must not be told, and is overwritten when it is freed. */
bool kube_kind_is_secret(enum kube_kind k);
/* Of its objects of an API server only this part of the metadata is kept, beside names and versions; NULL: everything. */
const char *kube_kind_part(enum kube_kind k);
/* "gateway.networking.k8s.io/v1": as the object says of itself. */
const char *kube_object_api_version(const struct kube_object *o);

#endif
