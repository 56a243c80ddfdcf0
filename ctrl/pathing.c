/* SPDX-License-Identifier: Apache-2.0 */
#include "pathing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "paths/prefix.h"

#define MAX_TOLD 20u /* problems of one run that are logged each; weirctl paths has them all */

struct pathing {
	const struct paths_options *options;
	struct sync *sync;
	struct paths now;
	uint64_t version;
	bool has_failed;
	uint64_t *told; /* hashes of what was wrong in the last run, sorted */
	size_t n_told;
};

struct pathing *pathing_create(const struct paths_options *o, struct sync *s)
{
	struct pathing *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->options = o;
	x->sync = s;
	s->paths = x;
	return x;
}

void pathing_destroy(struct pathing *x)
{
	if (!x)
		return;
	paths_fini(&x->now);
	free(x->told);
	free(x);
}

/* ---- problems */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t hash_problem(const char *node, const char *why)
{
	return hash64(why, strlen(why), hash64(node, strlen(node), 0));
}

static void log_row(const struct paths_row *r)
{
	const struct ip_prefix prefix = {r->choice.path.prefix, r->choice.path.prefix_len};
	char text[PREFIX_TEXT_MAX] = "";

	if (r->has_prefix)
		prefix_format(&prefix, text);
	log_warn("Node %s: no way to its pods%s%s: %s", r->node, *text ? " of " : "", text, r->choice.why);
}

/* Each problem is logged when it appears, and not again while it stays. */
static void tell(struct pathing *x)
{
	uint64_t *now = calloc(x->now.n_wrong + 1, sizeof(*now));
	size_t n = 0, n_new = 0;

	if (!now)
		return;
	if (x->now.near.fault[0]) {
		now[n] = hash_problem("", x->now.near.fault);
		if (!x->told || !bsearch(&now[n], x->told, x->n_told, sizeof(*now), by_value))
			log_warn("the near end of tunnels to pods: %s", x->now.near.fault);
		n++;
	}
	for (size_t i = 0; i < x->now.n_rows; i++) {
		const struct paths_row *r = &x->now.rows[i];

		if (!r->choice.is_wrong)
			continue;
		now[n] = hash_problem(r->node, r->choice.why);
		if ((!x->told || !bsearch(&now[n], x->told, x->n_told, sizeof(*now), by_value)) && n_new++ < MAX_TOLD)
			log_row(r);
		n++;
	}
	if (n_new > MAX_TOLD)
		log_warn("the same for %zu more (weirctl paths)", n_new - MAX_TOLD);
	qsort(now, n, sizeof(*now), by_value);
	free(x->told);
	x->told = now;
	x->n_told = n;
}

/* ---- */

static struct weir_paths *copy_of(const struct weir_paths *p, size_t n)
{
	struct weir_paths *copy = malloc(n);

	if (copy)
		memcpy(copy, p, n);
	return copy;
}

/* Whether the dataplane is to be told that there are none, though it was told of none: who runs it has said so. */
static bool is_told_empty(const struct pathing *x)
{
	return x->options->mode == PATHS_OFF || x->options->mode == PATHS_NODE_PORT;
}

void pathing_run(struct pathing *x, uint64_t changed)
{
	struct weir_paths *blob;
	struct paths now;

	if (!(changed & 1ull << KUBE_NODE) && !x->has_failed)
		return;
	x->has_failed = paths_collect(x->sync->store, x->options, &now) != 0;
	if (x->has_failed) {
		log_error("no memory for the ways to pods; the last ones stay");
		return;
	}
	blob = copy_of(now.blob, now.blob_bytes);
	if (!blob) {
		x->has_failed = true;
		paths_fini(&now);
		return;
	}
	paths_fini(&x->now);
	x->now = now;
	tell(x);
	x->version += publish_paths(x->sync->publish, blob, now.blob_bytes, is_told_empty(x));
}

int pathing_restore(struct pathing *x, const struct weir_paths *saved, size_t n)
{
	struct weir_paths *blob = copy_of(saved, n);

	if (!blob)
		return -ENOMEM;
	publish_paths(x->sync->publish, blob, n, false);
	return 0;
}

const struct paths *pathing_now(const struct pathing *x)
{
	return &x->now;
}

const struct paths_options *pathing_options(const struct pathing *x)
{
	return x->options;
}

uint64_t pathing_version(const struct pathing *x)
{
	return x->version;
}
