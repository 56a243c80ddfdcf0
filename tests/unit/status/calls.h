/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of status/ that no server sees: each test answers them by hand, in virtual time. */
#ifndef TESTS_STATUS_CALLS_H
#define TESTS_STATUS_CALLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "kube/reflector.h"

#define MAX_CALLS 16

struct call {
	struct kube_request r;
	char method[8], path[256], body[2048];
	bool is_open;
};

/* Zeroed is empty. */
struct calls {
	struct call list[MAX_CALLS];
	unsigned n_sent;
};

static inline struct kube_call *calls_request(void *ctx, const struct kube_request *q)
{
	struct calls *calls = ctx;

	for (unsigned i = 0; i < MAX_CALLS; i++) {
		struct call *c = &calls->list[i];

		if (c->is_open)
			continue;
		c->r = *q;
		c->is_open = true;
		snprintf(c->method, sizeof(c->method), "%s", q->method);
		snprintf(c->path, sizeof(c->path), "%s", q->path);
		snprintf(c->body, sizeof(c->body), "%s", q->body ? (const char *)q->body : "");
		calls->n_sent++;
		return (struct kube_call *)c;
	}
	return NULL;
}

static inline void calls_cancel(void *ctx, struct kube_call *call)
{
	((struct call *)call)->is_open = false;
}

static inline struct reflector_http calls_http(struct calls *calls)
{
	return (struct reflector_http){.ctx = calls, .request = calls_request, .cancel = calls_cancel};
}

static inline unsigned calls_n_open(const struct calls *calls)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MAX_CALLS; i++)
		n += calls->list[i].is_open;
	return n;
}

/* The first under way of this method whose path has this in it; it must be there. */
static inline struct call *calls_expect(struct calls *calls, const char *method, const char *path)
{
	for (unsigned i = 0; i < MAX_CALLS; i++) {
		struct call *c = &calls->list[i];

		if (c->is_open && strcmp(c->method, method) == 0 && strstr(c->path, path))
			return c;
	}
	fail_msg("no %s %s", method, path);
	return NULL;
}

/* status 0: no answer. What follows from it is for the next poll. */
static inline void calls_answer(struct call *c, int status, const char *body, uint32_t retry_after_s)
{
	c->is_open = false;
	if (body)
		c->r.on_data(c->r.ctx, body, strlen(body));
	c->r.on_done(c->r.ctx, status, status ? NULL : "no answer", retry_after_s);
}

#endif
