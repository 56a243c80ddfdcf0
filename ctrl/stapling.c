/* SPDX-License-Identifier: Apache-2.0 */
#include "stapling.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

struct stapling {
	struct ocsp *ocsp;
	struct staple_file *file; /* NULL: responses are not kept over a restart */
	enum ocsp_mode mode;
	bool has_due; /* other responses are to be stapled, at due_ms */
	uint64_t due_ms;
	uint64_t took_ms, sent_ms; /* the last time */
};

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct stapling *stapling_create(enum ocsp_mode mode, uint64_t seed, const char *folder, struct sync *s)
{
	struct stapling *x = calloc(1, sizeof(*x));

	if (x && folder && mode != OCSP_OFF)
		x->file = staple_file_create(folder, &(struct staple_file_limits){STAPLE_FILE_MAX, STAPLE_FILE_MAX_BYTES}, clock_ms());
	if (x)
		x->ocsp = ocsp_create(mode, seed, x->file ? staple_file_find : NULL, x->file);
	if (!x || !x->ocsp) {
		stapling_destroy(x);
		return NULL;
	}
	x->mode = mode;
	s->stapling = x;
	s->staples = ocsp_staples(x->ocsp);
	s->options.staples = s->staples;
	return x;
}

void stapling_destroy(struct stapling *x)
{
	if (!x)
		return;
	staple_file_destroy(x->file);
	ocsp_destroy(x->ocsp);
	free(x);
}

int stapling_fd(const struct stapling *x)
{
	return ocsp_fd(x->ocsp);
}

bool stapling_is_on(const struct stapling *x)
{
	return x->mode != OCSP_OFF;
}

void stapling_status(const struct stapling *x, struct stapler_status *out)
{
	stapler_status(ocsp_stapler(x->ocsp), out);
}

/* Those that clients are shown; what Weir shows backends has no responses. */
static void want_certificates(const struct stapling *x, const struct sync *s, uint64_t now_ms)
{
	struct stapler *st = ocsp_stapler(x->ocsp);
	const struct model *m = s->model;

	stapler_want_begin(st);
	for (size_t i = 0; i < m->n_names; i++)
		for (size_t k = 0; k < m->names[i].n_certs; k++)
			stapler_want(st, m->names[i].certs[k], now_ms);
	stapler_want_end(st);
}

void stapling_look(struct stapling *x, const struct sync *s)
{
	const uint64_t now_ms = clock_ms();

	want_certificates(x, s, now_ms);
	stapler_recall(ocsp_stapler(x->ocsp), now_ms, (int64_t)time(NULL));
}

void stapling_finish(struct stapling *x)
{
	if (x->file)
		staple_file_finish(x->file, ocsp_stapler(x->ocsp));
}

bool stapling_file_status(const struct stapling *x, struct staple_file_status *out)
{
	if (x->file)
		staple_file_status(x->file, out);
	return x->file != NULL;
}

/* Returns when there is something to send; UINT64_MAX: not now. */
static uint64_t send_due(struct stapling *x, struct sync *s, uint64_t now_ms)
{
	uint64_t began_ms;

	if (!staples_has_changes(s->staples) && !staples_has_news(s->staples)) {
		x->has_due = false;
		return UINT64_MAX;
	}
	if (!x->has_due) {
		uint64_t rested_ms = x->sent_ms + STAPLING_SHARE * x->took_ms;

		x->has_due = true;
		x->due_ms = now_ms + STAPLING_WAIT_MS;
		if (rested_ms > x->due_ms)
			x->due_ms = rested_ms;
	}
	if (now_ms < x->due_ms)
		return x->due_ms;
	began_ms = clock_ms();
	sync_staple(s);
	x->sent_ms = clock_ms();
	x->took_ms = x->sent_ms - began_ms;
	x->has_due = false;
	return now_ms; /* others have to look at what that gave */
}

int stapling_step(struct stapling *x, struct sync *s, uint64_t now_ms, int64_t now_s)
{
	uint64_t next_ms, send_ms, write_ms;

	next_ms = ocsp_poll(x->ocsp, now_ms, now_s);
	send_ms = send_due(x, s, now_ms);
	next_ms = send_ms < next_ms ? send_ms : next_ms;
	write_ms = x->file ? staple_file_update(x->file, ocsp_stapler(x->ocsp), now_ms) : UINT64_MAX;
	next_ms = write_ms < next_ms ? write_ms : next_ms;
	if (next_ms == UINT64_MAX)
		return -1;
	return next_ms <= now_ms ? 0 : next_ms - now_ms < INT_MAX ? (int)(next_ms - now_ms) : INT_MAX;
}
