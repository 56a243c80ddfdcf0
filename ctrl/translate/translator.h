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
	size_t n_backends; /* of which the endpoints differ, as indices of model.backends */
	const uint32_t *backends;
};

/* What both point to must outlive it. */
struct translator *translator_create(const struct store *s, const struct translate_options *options);
void translator_destroy(struct translator *tr);
/*
 * changes: of the store since the last run, as store_journal() has them; NULL: all is read anew, as in the first run.
 * Afterwards they must be cleared: nothing of them is needed again.
 */
void translator_run(struct translator *tr, const struct store_change *changes, size_t n, struct translator_changes *out);
/* Valid until the next run. Who compiles it may add problems; those of the last run of the compiler stay until it runs again. */
struct model *translator_model(struct translator *tr);
/*
 * Objects of which the status is another one than when these were emptied last (which is for the caller to do), or that
 * are others in the store, be it in their status alone: of the rest status_make() would say the same. The translator's.
 */
struct marks *translator_marks(struct translator *tr);

#endif
