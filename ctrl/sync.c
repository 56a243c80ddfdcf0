/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"
#include "translate/translate.h"

void sync_init(struct sync *s, struct store *store, struct publish *publish)
{
	memset(s, 0, sizeof(*s));
	s->store = store;
	s->publish = publish;
	model_init(&s->model);
}

void sync_fini(struct sync *s)
{
	model_fini(&s->model);
	free(s->snapshot);
}

static bool endpoints_differ(const struct weir_endpoint_set *old, const struct model_backend *b)
{
	return !old || old->n_endpoints != b->n_endpoints ||
	       (b->n_endpoints > 0 && memcmp(old->ep, b->endpoints, b->n_endpoints * sizeof(old->ep[0])) != 0);
}

static void send_endpoints(struct sync *s)
{
	for (size_t i = 0; i < s->model.n_backends; i++) {
		const struct model_backend *b = &s->model.backends[i];
		size_t n;
		void *blob;
		int err;

		if (!endpoints_differ(publish_find(s->publish, compile_backend_id(b->name)), b))
			continue;
		err = compile_endpoints(b, ++s->version, &blob, &n);
		if (!err)
			err = publish_endpoints(s->publish, blob);
		if (err)
			log_error("endpoints of %s: %s", b->name, strerror(-err));
	}
}

static bool is_in_snapshot(const void *ctx, uint64_t id)
{
	const struct weir_snapshot *s = ctx;

	for (uint32_t i = 0; i < snapshot_count(s, BACKENDS); i++) {
		if (snapshot_backend(s, i)->id == id)
			return true;
	}
	return false;
}

/* Apart from the generation, and the checksum over it. */
static bool snapshots_differ(const struct weir_snapshot *a, size_t n_a, const struct weir_snapshot *b, size_t n_b)
{
	const size_t from = offsetof(struct weir_snapshot, reserved);

	return !a || n_a != n_b || memcmp((const char *)a + from, (const char *)b + from, n_a - from) != 0;
}

static void send_snapshot(struct sync *s)
{
	struct snapshot_error why;
	void *blob, *copy;
	size_t n;
	int err = compile_snapshot(&s->model, s->generation + 1, &blob, &n);

	if (err) {
		log_error("routes cannot be compiled: %s; the last ones stay", strerror(-err));
		return;
	}
	if (!snapshots_differ(s->snapshot, s->snapshot_size, blob, n)) {
		free(blob);
		return;
	}
	if (snapshot_check(blob, n, &why) != WEIR_REFUSED_OK) {
		log_error("compiled routes are wrong: %s; the last ones stay", why.text);
		free(blob);
		return;
	}
	copy = malloc(n);
	if (!copy) {
		free(blob);
		log_error("no memory for the routes; the last ones stay");
		return;
	}
	memcpy(copy, blob, n);
	free(s->snapshot);
	s->snapshot = blob;
	s->snapshot_size = n;
	publish_snapshot(s->publish, copy, n, ++s->generation);
	publish_prune(s->publish, is_in_snapshot, s->snapshot);
}

static void log_problems(const struct model *m)
{
	for (size_t i = 0; i < m->n_problems; i++) {
		const struct model_problem *p = &m->problems[i];

		log_warn("%s:%u: %s %s/%s %s: %s: %s", p->file, p->line, p->kind, p->ns, p->name, p->field, p->reason,
			 p->text);
	}
}

void sync_run(struct sync *s, uint64_t changed)
{
	const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};

	if (changed == 0)
		return;
	if (changed == 1ull << KUBE_ENDPOINT_SLICE) {
		if (translate_endpoints(s->store, &s->model) > 0)
			send_endpoints(s);
		return;
	}
	model_fini(&s->model);
	model_init(&s->model);
	translate(s->store, &options, &s->model);
	log_problems(&s->model);
	send_endpoints(s);
	send_snapshot(s);
}
