/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to pods on their way to the dataplane. See publish.h. */
#include "publish_pvt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define PATHS_ABI_MINOR 2u /* the first that has PATHS */

bool publish_paths(struct publish *p, struct weir_paths *blob, size_t n, bool is_told_empty)
{
	bool is_same = p->paths && p->paths_size == n && memcmp(p->paths, blob, n) == 0;

	if (is_same || (!p->paths && blob->n_paths == 0 && !is_told_empty)) {
		free(blob);
		return false;
	}
	free(p->paths);
	p->paths = blob;
	p->paths_size = n;
	p->paths_id++;
	p->are_paths_due = true;
	publish_pump(p);
	return true;
}

bool publish_paths_send(struct publish *p)
{
	const struct weir_msg m = {.type = WEIR_MSG_PATHS, .size = p->paths_size, .id = p->paths_id};

	if (!p->has_hello || !p->are_paths_due)
		return true;
	if (p->region->abi_minor < PATHS_ABI_MINOR) {
		log_warn("the dataplane is older than ways to pods: it is told none, and reaches pods by link or gateway");
		p->are_paths_due = false;
		p->st.paths_state = PUBLISH_PATHS_TOO_OLD;
	} else if (publish_is_too_big(p, m.size, m.id, "a set of ways to pods")) {
		p->are_paths_due = false;
		p->st.paths_state = PUBLISH_PATHS_REFUSED;
		p->st.paths_refused = WEIR_REFUSED_TOO_BIG;
		p->st.n_paths_refused++;
	} else if (p->are_paths_away || !publish_send_blob(p, m, p->paths)) {
		return false;
	} else {
		p->are_paths_due = false;
		p->are_paths_away = true;
		p->st.paths_state = PUBLISH_PATHS_SENT;
		p->st.paths_sent++;
	}
	return true;
}

void publish_paths_done(struct publish *p, const struct weir_msg *m)
{
	p->are_paths_away = false;
	p->st.paths_refused = m->status < WEIR_N_REFUSALS ? (enum weir_refusal)m->status : WEIR_REFUSED_BAD_VALUE;
	p->st.paths_state = m->status == WEIR_REFUSED_OK ? PUBLISH_PATHS_TAKEN : PUBLISH_PATHS_REFUSED;
	if (m->status == WEIR_REFUSED_OK) {
		if (!p->are_paths_due)
			log_info("the dataplane has %" PRIu32 " ways to pods", p->paths->n_paths);
		return;
	}
	p->st.n_paths_refused++;
	log_warn("dataplane refused the ways to pods: %s; those that it had stay", publish_refusal_name(m->status));
	if (m->status != WEIR_REFUSED_NO_MEMORY && m->status != WEIR_REFUSED_BUSY)
		return;
	p->are_paths_due = true;
	publish_set_timer(p, PUBLISH_RETRY_MS);
}

void publish_paths_reset(struct publish *p)
{
	p->are_paths_away = false;
	p->are_paths_due = p->paths != NULL;
	p->st.paths_state = PUBLISH_PATHS_NOT_SENT;
	p->st.paths_refused = WEIR_REFUSED_OK;
}

const char *publish_paths_state_name(enum publish_paths_state s)
{
	static const char *const names[] = {
#define X(name, str) str,
		PUBLISH_PATHS_STATES(X)
#undef X
	};
	return names[s];
}
