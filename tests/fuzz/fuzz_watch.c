/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what an API server answers: a list (first byte even) or a watch
 * (odd), in pieces of the size that the next six bits say, or at once; with
 * the highest bit the list comes as a watch. Both ways give the same objects, sorted, and the same place.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kube/reflector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct fuzz {
	struct store *store;
	struct reflector r;
	struct kube_request call;
	bool is_open;
};

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static struct kube_call *take_request(void *ctx, const struct kube_request *q)
{
	struct fuzz *f = ctx;

	must(!f->is_open);
	f->call = *q;
	f->is_open = true;
	return (struct kube_call *)f;
}

static void take_cancel(void *ctx, struct kube_call *call)
{
	struct fuzz *f = ctx;

	must(f->is_open && call == (struct kube_call *)f);
	f->is_open = false;
}

static void answer_open(struct fuzz *f, const char *body)
{
	f->call.on_headers(f->call.ctx, 200);
	f->call.on_data(f->call.ctx, body, strlen(body));
	reflector_poll(&f->r, 1000);
}

static void answer(struct fuzz *f, const char *body)
{
	f->call.on_headers(f->call.ctx, 200);
	f->call.on_data(f->call.ctx, body, strlen(body));
	f->is_open = false;
	f->call.on_done(f->call.ctx, 200, NULL, 0);
	reflector_poll(&f->r, 1000);
}

/* Feeds the bytes, from memory of their exact size. */
static void feed(struct fuzz *f, bool is_watch, bool is_streamed, size_t step, const uint8_t *data, size_t n)
{
	const struct reflector_http http = {.ctx = f, .request = take_request, .cancel = take_cancel};

	memset(f, 0, sizeof(*f));
	f->store = store_create();
	reflector_init(&f->r, KUBE_INGRESS, NULL, NULL, f->store, &http, 1);
	reflector_poll(&f->r, 1000);
	answer(f, "{\"resources\":[{\"name\":\"ingresses\"}]}");
	if (!is_streamed) { /* it is refused */
		f->call.on_headers(f->call.ctx, 422);
		f->is_open = false;
		f->call.on_done(f->call.ctx, 422, NULL, 0);
		reflector_poll(&f->r, 1000);
	} else if (is_watch) {
		answer_open(f, "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Ingress\",\"metadata\":{\"resourceVersion\":\"1\","
			  "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n");
	}
	if (is_watch && !is_streamed)
		answer(f, "{\"kind\":\"IngressList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":["
			  "{\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\"}}]}");
	f->call.on_headers(f->call.ctx, 200);
	for (size_t at = 0; at < n && f->is_open; at += step) {
		size_t part = n - at < step ? n - at : step;
		uint8_t *copy = malloc(part);

		must(copy != NULL);
		memcpy(copy, data + at, part);
		f->call.on_data(f->call.ctx, copy, part);
		free(copy);
	}
	f->is_open = false;
	f->call.on_done(f->call.ctx, 200, NULL, 0);
	reflector_poll(&f->r, 2000);
}

static void finish(struct fuzz *f)
{
	reflector_fini(&f->r);
	store_destroy(f->store);
}

static void check_same(const struct fuzz *a, const struct fuzz *b)
{
	const struct kube_object *const *x, *const *y;
	size_t n_x, n_y;

	x = store_list(a->store, KUBE_INGRESS, &n_x);
	y = store_list(b->store, KUBE_INGRESS, &n_y);
	must(n_x == n_y);
	for (size_t i = 0; i < n_x; i++) {
		must(strcmp(x[i]->ns, y[i]->ns) == 0 && strcmp(x[i]->name, y[i]->name) == 0);
		must(strcmp(x[i]->resource_version, y[i]->resource_version) == 0);
		must(i == 0 || strcmp(x[i - 1]->ns, x[i]->ns) < 0 ||
		     (strcmp(x[i - 1]->ns, x[i]->ns) == 0 && strcmp(x[i - 1]->name, x[i]->name) < 0));
	}
	store_problems(a->store, &n_x);
	store_problems(b->store, &n_y);
	must(n_x == n_y);
	must(a->r.step == b->r.step && strcmp(a->r.resource_version, b->r.resource_version) == 0);
	must(a->r.is_synced == b->r.is_synced && a->r.counters.events == b->r.counters.events);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz whole, parts;

	if (n < 1)
		return 0;
	feed(&whole, data[0] & 1, data[0] & 128, n, data + 1, n - 1);
	feed(&parts, data[0] & 1, data[0] & 128, (data[0] >> 1) % 64 + 1, data + 1, n - 1);
	check_same(&whole, &parts);
	finish(&whole);
	finish(&parts);
	return 0;
}
