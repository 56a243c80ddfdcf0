/* SPDX-License-Identifier: Apache-2.0 */
/* Within translate/: the state of a translator, for the files that it consists of. */
#ifndef TRANSLATE_TRANSLATOR_PVT_H
#define TRANSLATE_TRANSLATOR_PVT_H

#include "translate/translator.h"
#include "translate/units.h"

/* In this order units are read: each stage only makes units of later ones dirty. */
enum stage {
	STAGE_INGRESS,
	STAGE_DEFAULT,
	STAGE_CHECK,
	STAGE_GATEWAYS,
	STAGE_ROUTE,
	STAGE_POLICY,
	STAGE_OTHER,
	STAGE_BACKEND,
	N_STAGES
};

/* Of routes that attach to Gateways, in the order in which they stand in the whole. Those that are not carried have no matches. */
#define N_ROUTE_KINDS 5u
extern const enum kube_kind route_kinds[N_ROUTE_KINDS];

struct unit_list {
	struct unit **units;
	size_t n, cap;
};

/* Slots are those of model.backends of the whole; NULL: free */
struct backend_table {
	struct unit **slots;
	size_t n, cap;
	uint32_t *free;
	size_t n_free, cap_free;
};

/* What came of a Gateway of ours, or of a ListenerSet, when they were read last. Texts are of the Gateways' part. */
struct seen_gateway {
	unsigned key_kind; /* GATEWAY, or LISTENER_SET */
	const char *ns, *name;
	const char *bytes; /* all that others see of it */
	size_t n_bytes;
	struct weir_cert_id client; /* its client certificate; 0: it has none */
	size_t first, count; /* in translation.sections */
};

struct tenants {
	struct tenant **list; /* by name */
	size_t n, cap;
	bool is_dirty;
	uint64_t total, demand; /* as of the last judgement */
	size_t n_refused[N_BUDGET_VERDICTS];
};

struct translator {
	struct translation t;
	struct model all; /* arrays only: their texts are of the units */
	struct key_table keys;
	struct unit_list objects[KUBE_N_KINDS]; /* by name */
	struct unit_list dirty[N_STAGES];	/* NULL: gone meanwhile */
	struct unit *gateways;
	struct unit *check;
	struct seen_gateway *seen; /* Gateways, then ListenerSets, each by name */
	size_t n_seen;
	struct model *conclusions; /* of each of translation.gateways, then of translation.sets */
	struct backend_table backends;
	struct tenants tenants;
	uint32_t *idle; /* slots that have lost a user */
	size_t n_idle, cap_idle;
	struct key **names; /* of NAME, with a user */
	const char **name_list; /* the same as texts, for who asks */
	size_t n_names, cap_names, cap_name_list;
	bool has_other_names; /* than before this run */
	uint64_t own_addresses; /* a hash of those that Gateways have */
	uint32_t *changed; /* slots with other endpoints, of this run */
	size_t n_changed, cap_changed;
	struct named_ref *references; /* each with its texts in one piece of memory, of ns */
	size_t n_references;
	struct marks marks; /* see translator_marks() */
	size_t n_own_problems; /* those behind them in all.problems are of the compiler */
	uint64_t turn;
};

/* ---- translator.c */

void unit_mark(struct translator *tr, struct unit *u);
/* Of an object that is in the store. */
struct unit *unit_of(const struct translation *t, const struct kube_object *o);
/* Gives back all that it has; what remains is its name. */
void unit_clear(struct translator *tr, struct unit *u);
void unit_destroy(struct translator *tr, struct unit *u);
/* What is read between them, and what that gives and depends on, is of the unit. */
void unit_begin(struct translator *tr, struct unit *u);
void unit_end(struct translator *tr);
/* The unit that is read now depends on this, too. */
void depend_on(struct translation *t, unsigned kind, const char *ns, const char *name);
/* Whoever depends on it is to be read again. */
void touch(struct translator *tr, unsigned kind, const char *ns, const char *name);

/* What was found of a Secret or a ConfigMap for this use, to be filled in by who looks. It is forgotten when the object changes. */
struct judgement *unit_judgement(const struct translation *t, const struct kube_object *o, enum secret_use use);

/* ---- holds.c */

/* The unit holds, or has met, none of these any more. */
void holds_drop(struct translator *tr, struct unit *u);
void policies_drop(struct translator *tr, struct unit *u);
void targets_drop(struct translator *tr, struct unit *u);
/* A slice belongs to a Service from now on, or to none (NULL). */
void slices_join(struct translator *tr, struct unit *u, struct key *to);

/* ---- references.c */

/* Looks what is referred to now. True if it is not the same as before. */
bool references_update(struct translator *tr);
void references_fini(struct translator *tr);

/* ---- backends.c */

/* The unit has none any more; those without a user remain until backends_free_idle(). */
void backends_drop(struct translation *t, struct unit *u);
/* True if some were freed. */
bool backends_free_idle(struct translator *tr);
/* The backend's addresses come of this name from now on; NULL: of none. */
void backend_use_name(struct translator *tr, struct unit *u, const char *name);
/* Settings and endpoints of a backend, anew. Its part of before must live until this returns. */
void backend_read(struct translation *t, struct unit *u, bool *has_other_settings, bool *has_other_endpoints);

/* ---- budget.c */

/* The unit was read: what it costs is charged to its namespace. */
void budget_note(struct translator *tr, struct unit *u);
/* It is going. */
void budget_forget(struct translator *tr, struct unit *u);
/* All listeners are read again: between these two. */
void budget_begin_listeners(struct translator *tr);
void budget_end_listeners(struct translator *tr);
/* Marks the units that are to be served no more, or again. False: nothing could have changed. */
bool budget_judge(struct translator *tr);
/* All that was marked has been read: its costs are what they were. */
void budget_settle(struct translator *tr);
void budget_fini(struct translator *tr);

/* ---- gateways.c */

/* Reads all Gateways, and makes the routes dirty that see another one than before. True if anything differs. */
bool gateways_read(struct translator *tr);
/*
 * Only the status of a GatewayClass, Gateway or ListenerSet is another one: what points into its object is made to point
 * into the new one. False if all are to be read again, since a Gateway has other addresses.
 */
bool gateways_rebind(struct translator *tr, enum kube_kind kind, const char *ns, const char *name);
/* Counts routes, and appends what the Gateways are told. */
void gateways_conclude(struct translator *tr);
void gateways_fini(struct translator *tr);

/* ---- compose.c: the whole out of its units */

void compose(struct translator *tr);
void compose_problems(struct translator *tr);
/* Gives the whole away, with all memory that it needs; after that the translator can only be destroyed. */
void compose_give(struct translator *tr, struct model *m);

#endif
