/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translation that is kept, and follows the store: of what has changed,
 * only that is translated again which depends on it. What comes out is what
 * translate() makes of the same store, but for the order of listeners and
 * backends, and for holes among these: so compile_snapshot() gives the same bytes.
 */
#ifndef TRANSLATE_TRANSLATOR_H
#define TRANSLATE_TRANSLATOR_H

#include "translate/marks.h"
#include "translate/translate.h"

struct translator;

/* What may be another one than before; valid until the next run. */
struct translator_changes {
	bool routes;   /* what compile_snapshot() sees */
	bool statuses; /* or the generation of an object that has one */
	bool problems;
	bool references; /* translator_references() */
	size_t n_backends; /* of which the endpoints differ, as indices of model.backends */
	const uint32_t *backends;
	bool names; /* others are to be looked up than before: translator_names() */
};

/* What both point to must outlive it. */
struct translator *translator_create(const struct store *s, const struct translate_options *options);
void translator_destroy(struct translator *tr);
/* Before a run: something else is known of this name (translate_options.names) than in the last one. */
void translator_name_changed(struct translator *tr, const char *name);
/* Before a run: what is said of this certificate, which has a name, is to be judged again by the time that it is now. */
void translator_certificate_aged(struct translator *tr, const struct certificate *c);
/* Before a run: translate_options.system_trust is another one. */
void translator_system_changed(struct translator *tr);
/* The names of Services in use that are ExternalNames, each once, in any order. Valid until the next run. */
const char *const *translator_names(struct translator *tr, size_t *n);
/*
 * changes: of the store since the last run, as store_journal() has them; NULL: all is read anew, as in the first run.
 * Of the options, total_bytes may be another one each time; the machine's CA certificates, too, if that was told.
 * Afterwards they must be cleared: nothing of them is needed again.
 */
void translator_run(struct translator *tr, const struct store_change *changes, size_t n, struct translator_changes *out);
/*
 * The Secrets and ConfigMaps that something refers to, be they there or not:
 * sorted by kind, namespace and name, each once. Valid until the next run.
 */
const struct named_ref *translator_references(const struct translator *tr, size_t *n);
/* Routes that are not served since there are too many, as of the last run. */
struct translator_budget {
	size_t n_namespaces; /* with routes */
	uint64_t wanted_bytes; /* by all together, each within its share */
	size_t n_over_share, n_over_total; /* routes that are refused for that of their namespace, or for that of all */
};

void translator_budget(const struct translator *tr, struct translator_budget *out);
/* Valid until the next run. Who compiles it may add problems; those of the last run of the compiler stay until it runs again. */
struct model *translator_model(struct translator *tr);
/*
 * Objects of which the status is another one than when these were emptied last (which is for the caller to do), or that
 * are others in the store, be it in their status alone: of the rest status_make() would say the same. The translator's.
 */
struct marks *translator_marks(struct translator *tr);

#endif
