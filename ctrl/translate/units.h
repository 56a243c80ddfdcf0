/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within translate/: what is translated by itself, and what that depends on.
 *
 * A unit is a piece of the translation with memory of its own: an object, all
 * Gateways together, the default backend of an Ingress, a backend. While it is
 * read, each name that it asks the store for is noted (a key), be there an
 * object or not; so is a list, under "*". When something of that name changes,
 * the unit is read again, and nothing else is.
 */
#ifndef TRANSLATE_UNITS_H
#define TRANSLATE_UNITS_H

#include "translate/translate_pvt.h"

/* Kinds of keys beside those of objects. */
enum {
	KEY_GATEWAY = KUBE_N_KINDS, /* what routes see of a Gateway of ours, by its name */
	KEY_LISTENER_SET,	    /* the same of a ListenerSet of one */
	KEY_TARGET,		    /* which BackendTLSPolicies name a Service, or a port of one */
	KEY_POLICY,		    /* which routes have met a BackendTLSPolicy, by its name */
	KEY_SLICES,		    /* which EndpointSlices a Service has, by its name */
	KEY_ROOT,		    /* whether an Ingress has a prefix "/" for a host */
	KEY_GRANT,		    /* whether a ReferenceGrant of a namespace permits something, a text of grants.c */
	KEY_BACKEND,		    /* a backend, by namespace and "service:port", "service:port@namespace/gateway" or "service:port@passthrough" */
	KEY_NAME,		    /* what is known of a name in DNS */
	KEY_OWN,		    /* which addresses Gateways have; of no name */
	KEY_CLIENT,		    /* which client certificate a Gateway of ours has, by its name */
	KEY_SYSTEM,		    /* the CA certificates of the machine; of no name */
};

#define KEY_ALL "*" /* as name: of a namespace; as namespace, too: of all */

/* CHECK: what Ingresses do to each other, all of them. */
enum unit_kind { UNIT_OBJECT, UNIT_GATEWAYS, UNIT_DEFAULT, UNIT_CHECK, UNIT_BACKEND };

struct unit;

/* Whether an Ingress or a route is within the budget of its namespace, and of all: budget.c. */
enum budget_verdict { BUDGET_FITS, BUDGET_NAMESPACE, BUDGET_TOTAL, N_BUDGET_VERDICTS };

/* A namespace with routes. */
struct tenant {
	char *ns;
	size_t n_units;	     /* that cost something */
	uint64_t used;	     /* by all of them, served or not, and by its listeners */
	uint64_t listeners;  /* of that: of its Gateways and ListenerSets, served ones alone */
	uint64_t share;	     /* with which it was judged last */
	bool is_over, is_dirty; /* the latter: one of them was read */
	size_t n_refused[N_BUDGET_VERDICTS];
};

/* One end of a dependency knows where the other one is, so that it goes in one step. */
struct read {
	struct key *key;
	size_t at; /* in key->readers */
};

struct reader {
	struct unit *unit;
	size_t at; /* in unit->reads */
};

struct key {
	unsigned kind; /* enum kube_kind, or one of the above */
	const char *ns, *name;
	uint64_t hash;
	struct key *chain;
	struct unit *unit; /* of this very name, or NULL */
	struct reader *readers;
	size_t n_readers, cap_readers;
	struct reader *referrers; /* POLICY: units, and where in their policies; in any order */
	size_t n_referrers, cap_referrers;
	uint64_t turn;		/* of the unit that has read it last */
	uint64_t met_turn;	/* POLICY, ROOT, GRANT: of the unit that has it, or was noted as to have it, last */
	struct unit **members;	/* SLICES, TARGET: by name */
	size_t n_members, cap_members;
	size_t n_holders;	/* ROOT, GRANT: units that have it */
	size_t named_at;	/* of a kind that is followed by name: in key_table.named */
	size_t n_users, place;	/* NAME: backends of that name; where it is in translator.names */
};

/* What was found of an object's content, if it was looked at. */
struct judgement {
	bool is_made;
	const char *fault; /* a constant; NULL: it is right */
	struct certificate *certificate; /* of what is right; held */
};

/* Places in a list of ports, in two orders; ports.c. */
struct port_table {
	size_t n; /* 0: not made */
	uint32_t *by_number, *by_name; /* in the memory of the unit's part */
};

struct unit {
	enum unit_kind what;
	struct key *key; /* its own name; GATEWAYS, DEFAULT, CHECK: NULL */
	struct model part;
	size_t n_checked; /* problems of the part that the schema check found; they come first */
	bool is_usable, is_checked; /* the latter: in this run, by the schema */
	struct judgement judgements[N_SECRET_USES]; /* a Secret or a ConfigMap */
	bool is_dirty;
	size_t dirty_at;
	struct read *reads;
	size_t n_reads, cap_reads;
	uint32_t *backends; /* slots that it refers to, each counted once */
	size_t n_backends, cap_backends;
	uint32_t *sections; /* a route: in translation.sections, to which it is attached */
	size_t n_sections, cap_sections;
	struct read *policies; /* that it has met */
	size_t n_policies, cap_policies;
	/* an Ingress: prefixes "/"; a ReferenceGrant: what it permits */
	struct key **held;
	size_t n_held, cap_held;
	struct unit *fallback; /* an Ingress: its default backend */
	/* DEFAULT */
	const struct unit *owner;
	struct model_match *action;
	/* a Service, an EndpointSlice */
	struct port_table ports;
	/* an EndpointSlice */
	struct key *slices; /* of its Service, or NULL */
	/* a BackendTLSPolicy: what it names */
	struct key **targets;
	size_t n_targets, cap_targets;
	/* BACKEND */
	char *text; /* its name in the model */
	char *service, *via_ns, *via_name; /* the latter two: the Gateway whose client certificate it is shown; NULL: none is */
	bool is_tls; /* as whoever read it last has it */
	bool is_through; /* what it gets is TLS already, and is not its policy's business */
	uint32_t slot, port;
	bool is_read; /* once */
	size_t n_users;
	uint64_t used_turn; /* of the unit that uses it, last */
	struct key *external; /* the name that its addresses come from, or NULL */
	/* an Ingress or a route: what it takes of a snapshot, be it served or not */
	uint64_t cost, charged; /* the latter: of it to its tenant */
	uint64_t tls_cost;	/* of what was read so far: of TLS to its backends */
	struct tenant *tenant;	/* NULL: it costs nothing */
	enum budget_verdict verdict;
};

struct key_table {
	struct key **buckets;
	size_t n, n_buckets;
	struct key **named; /* of kinds that are followed by name, in any order */
	size_t n_named, cap_named;
	bool has_other_named; /* one of these has got its first reader, or lost its last one; cleared by who looks */
};

/* ---- keys.c */

void key_table_fini(struct key_table *t);
/* NULL: nobody knows it. */
struct key *key_find(const struct key_table *t, unsigned kind, const char *ns, const char *name);
struct key *key_get(struct key_table *t, unsigned kind, const char *ns, const char *name);
/* Frees the key if nothing refers to it. */
void key_release(struct key_table *t, struct key *k);
/* The unit depends on the key. Once for each turn, a number of the unit's reading. */
void key_read(struct key_table *t, struct key *k, struct unit *u, uint64_t turn);
/* It depends on nothing any more. */
void key_forget_reads(struct key_table *t, struct unit *u);
/* The unit, which is not yet, is among the referrers of a policy. */
void key_refer(struct key *k, struct unit *u);
/* Who stands at this place is so no more. */
void key_unrefer(struct key *k, size_t at);
int key_compare(const struct key *k, const char *ns, const char *name);
/* Units sorted by name: where one is, or would be. */
size_t unit_position(struct unit *const *list, size_t n, const char *ns, const char *name);

/* ---- ports.c */

/* Ports of a list with this protocol, and this number or, where that is 0, this name. */
struct port_range {
	const struct node *ports; /* NULL: none */
	const uint32_t *order;	  /* of them; NULL: as they stand */
	size_t at;
	const char *protocol, *name;
	int64_t number;
};

/* u: of the object whose list it is. The texts must outlive the range. */
struct port_range ports_find(struct unit *u, const struct node *ports, const char *protocol, int64_t number,
			     const char *name);
/* The next one, in the order of the list; NULL: there is none any more. */
const struct node *ports_next(struct port_range *r);

#endif
