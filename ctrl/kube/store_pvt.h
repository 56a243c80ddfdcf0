/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within the store: store.c reads manifests, checks objects and keeps the
 * index over all; store_api.c keeps the objects of an API server.
 */
#ifndef KUBE_STORE_PVT_H
#define KUBE_STORE_PVT_H

#include "kube/kube_pvt.h"
#include "kube/store.h"

/* What one reading of a file gave. Objects and problems have memory of their own: the one may outlive the other. */
struct content {
	bool has_secret; /* its memory is overwritten when it is freed */
	struct arena object_memory;
	struct kube_object *objects;
	size_t n_objects, cap_objects;
	struct arena problem_memory;
	struct store_problem *problems;
	size_t n_problems, cap_problems;
};

struct file {
	char *name;
	struct content now;
};

struct index {
	uint64_t stale; /* 1 << kind */
	const struct kube_object **objects[KUBE_N_KINDS];
	size_t n_objects[KUBE_N_KINDS];
	const struct kube_object *
	    *hidden[KUBE_N_KINDS]; /* each twin that another file hides, behind the one that hides it */
	size_t n_hidden[KUBE_N_KINDS];
	bool are_problems_stale;
	uint64_t problems_turn; /* how often they were listed anew */
	struct store_problem *problems;
	size_t n_problems;
	struct arena problem_memory;
	store_read_fn *on_read; /* NULL: nobody */
	void *read_ctx;
};

#define STORE_MAX_JOURNAL 20000u

struct journal {
	bool is_kept, is_full;
	struct store_change *list; /* names: one piece of memory, of ns */
	size_t n, cap;
};

/* An object of the API server, in memory of its own. */
struct api_object {
	struct kube_object o;
	struct node *tree; /* o.root, one piece of memory */
	bool is_seen;	   /* since the last store_mark() */
};

struct api_kind {
	struct api_object **objects; /* by (namespace, name) */
	size_t n, cap;
};

/* Why the newest state of an object of the API server was not taken; one at most for each (kind, namespace, name). */
struct refusal {
	struct content c; /* the first problem is shown */
	enum kube_kind kind;
	char *ns, *name; /* "" where not known */
	bool is_seen;
};

/* Sorted by kind, namespace, name. */
struct absences {
	bool are_expected; /* store_expect_named() */
	struct absence {
		enum kube_kind kind;
		char *ns, *name;
		enum store_absence why;
	} *a;
	size_t n, cap;
};

struct store {
	struct file **files; /* by name */
	size_t n_files, cap_files;
	struct index *index;
	struct api_kind api[KUBE_N_KINDS];
	const char *versions[KUBE_N_KINDS]; /* of the API server's objects, NULL: the best */
	struct refusal **refusals;
	size_t n_refusals, cap_refusals;
	struct store_refused refused;
	struct journal journal;
	struct absences absences;
};

struct kind_info {
	const char *group;
	const char *kind;
	bool is_namespaced;
};

extern const struct kind_info store_kinds[];

/* One document, or one item of a List, as far as it is known. */
struct subject {
	struct content *c;
	const char *file;
	const char *prefix; /* of field: "" or "items[3]." */
	const struct node *root;
	const char *kind, *ns, *name; /* "" where not known */
};

/* Ends the process without memory. */
void *store_must(void *p);
/* Room for one more in an array that doubles. */
void *store_grow(void *p, size_t n, size_t *cap, size_t size);
void store_content_fini(struct content *c);
int store_compare_names(const struct kube_object *a, const struct kube_object *b);

void __attribute__((format(printf, 7, 8)))
store_problem_add(const struct subject *s, unsigned line, unsigned column, bool is_fatal, const char *field,
		  const char *reason, const char *fmt, ...);
/* Who a document says it is, right or wrong: for its problems. */
void store_identify(struct subject *s);
/* Adds the object of s->root to the content, or what is wrong with it. */
void store_add_object(struct subject *s);

/* kube_object.has_our_status, out of the object as it came. */
bool store_has_our_status(const struct node *root);

void store_api_fini(struct store *s);
void absences_fini(struct absences *list);
/* keep.c: the object with what is needed of its kind alone; parts of it are the object's, the rest is in the arena. */
const struct node *keep_needed(struct arena *a, enum kube_kind kind, const struct node *object);
/* journal.c */
void journal_add(struct store *s, const struct kube_object *o, bool matters);

#endif
