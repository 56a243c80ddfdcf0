/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what an API server answers to those who write to it: the Lease,
 * statuses and Events. An answer is a status (an index), a time that passes
 * before it (in 100 ms), the length of its body in two bytes, and the body; the
 * oldest request gets it. Nothing is written without the Lease, and never more
 * at a time than is allowed.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "base/log.h"
#include "status/writer.h"

#define MAX_CALLS (STATUS_WRITER_IN_FLIGHT + EVENTS_IN_FLIGHT + 1)
#define N_OBJECTS 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct call {
	struct kube_request r;
	bool is_open, is_lease;
	uint64_t age;
};

struct fuzz {
	struct store *store;
	struct model model;
	struct status_writer *w;
	struct call calls[MAX_CALLS];
	uint64_t age, now_ms;
	bool was_granted; /* a Lease in our name was answered once */
	const uint8_t *data;
	size_t n;
};

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static struct kube_call *take_request(void *ctx, const struct kube_request *q)
{
	struct fuzz *f = ctx;
	bool is_lease = strstr(q->path, "/leases") != NULL;

	must(is_lease || f->was_granted);
	if (q->body) {
		json_t *body = json_loadb(q->body, q->body_bytes, JSON_REJECT_DUPLICATES, NULL);

		must(json_is_object(body));
		json_decref(body);
	}
	for (unsigned i = 0; i < MAX_CALLS; i++) {
		struct call *c = &f->calls[i];

		if (c->is_open)
			continue;
		*c = (struct call){.r = *q, .is_open = true, .is_lease = is_lease, .age = ++f->age};
		return (struct kube_call *)c;
	}
	must(false); /* more than are allowed */
	return NULL;
}

static void take_cancel(void *ctx, struct kube_call *call)
{
	must(((struct call *)call)->is_open);
	((struct call *)call)->is_open = false;
}

static unsigned take_byte(struct fuzz *f)
{
	unsigned b = f->n ? *f->data : 0;

	f->data += f->n > 0;
	f->n -= f->n > 0;
	return b;
}

static bool names_us(const uint8_t *body, size_t n)
{
	json_t *root = json_loadb((const char *)body, n, JSON_REJECT_DUPLICATES, NULL);
	const char *holder = json_string_value(json_object_get(json_object_get(root, "spec"), "holderIdentity"));
	bool is_us = holder && strcmp(holder, "me") == 0;

	json_decref(root);
	return is_us;
}

static void answer(struct fuzz *f, struct call *c)
{
	static const int statuses[] = {200, 201, 409, 404, 403, 401, 422, 429, 500, 503, 0, 302, 410, 200, 200, 400};
	unsigned kind = take_byte(f);
	int status = statuses[kind % 16];
	size_t n;
	uint8_t *copy;

	f->now_ms += take_byte(f) * 100u;
	n = take_byte(f);
	n |= (size_t)take_byte(f) << 8;
	n = n < f->n ? n : f->n;
	copy = malloc(n ? n : 1); /* exact size: a sanitizer sees one byte too far */
	must(copy != NULL);
	memcpy(copy, f->data, n);
	f->data += n;
	f->n -= n;
	c->is_open = false;
	if (c->is_lease && status / 100 == 2 && names_us(copy, n))
		f->was_granted = true;
	for (size_t at = 0, step = kind / 16 + 1; at < n; at += step)
		c->r.on_data(c->r.ctx, copy + at, n - at < step ? n - at : step);
	c->r.on_done(c->r.ctx, status, status ? NULL : "no answer", kind >= 128 ? kind : 0);
	free(copy);
}

static void put(struct fuzz *f, unsigned i)
{
	struct weir_ip *addr = model_alloc(&f->model, sizeof(*addr));
	struct model_status *v = model_add_status(&f->model);
	struct model_problem *p = model_add_problem(&f->model);
	const char *name = model_printf(&f->model, "i%u", i);
	char json[256];
	int n = snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"i%u\",\"namespace\":\"a\",\"resourceVersion\":\"7\",\"uid\":\"u%u\"}}",
			 i, i);

	store_put_json(f->store, KUBE_INGRESS, json, (size_t)n);
	must(ip_parse("192.0.2.1", strlen("192.0.2.1"), addr) == 0);
	*v = (struct model_status){.kind = KUBE_INGRESS, .ns = "a", .name = name, .n_addrs = 1, .addrs = addr};
	*p = (struct model_problem){.file = "", .kind = "Ingress", .ns = "a", .name = name, .field = "spec", .reason = "Wrong", .text = "why"};
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz f = {.now_ms = 1000000, .data = data, .n = n};
	const struct status_writer_options options = {"weir.dev/ingress-controller", STATUS_WRITE_BY_LEASE, "s", "l", "me", true, 1};

	f.store = store_create();
	model_init(&f.model);
	for (unsigned i = 0; i < N_OBJECTS; i++)
		put(&f, i);
	f.w = status_writer_create(&options, &(struct reflector_http){.ctx = &f, .request = take_request, .cancel = take_cancel});
	status_writer_update(f.w, f.store, &f.model, NULL);
	while (f.n) {
		uint64_t next_ms = status_writer_poll(f.w, f.now_ms, (int64_t)(f.now_ms / 1000));
		struct call *oldest = NULL;

		must(!status_writer_is_writing(f.w, f.now_ms) || f.was_granted);
		must(status_writer_n_queued(f.w) <= N_OBJECTS);
		for (unsigned i = 0; i < MAX_CALLS; i++)
			if (f.calls[i].is_open && (!oldest || f.calls[i].age < oldest->age))
				oldest = &f.calls[i];
		if (oldest)
			answer(&f, oldest);
		else if (next_ms > f.now_ms && next_ms != UINT64_MAX)
			f.now_ms = next_ms;
		else
			take_byte(&f);
	}
	status_writer_destroy(f.w);
	for (unsigned i = 0; i < MAX_CALLS; i++)
		must(!f.calls[i].is_open);
	model_fini(&f.model);
	store_destroy(f.store);
	return 0;
}
