/* SPDX-License-Identifier: Apache-2.0 */
/* A reflector in virtual time, and answers that a test writes by hand. */
#ifndef TESTS_REFLECTOR_RIG_H
#define TESTS_REFLECTOR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kube/reflector.h"

#define BIT(k) (1ull << KUBE_##k)
#define LIST(version, cont, items) \
	"{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" cont "\"},\"items\":[" items "]}"
#define OBJECT(name, version) \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"demo\",\"resourceVersion\":\"" version "\"},\"spec\":{}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define RESOURCES "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"services\"},{\"name\":\"httproutes\"}]}"

struct rig {
	struct store *store;
	struct reflector r;
	struct kube_request call; /* under way */
	char path[2048];
	bool is_open;
	bool streams; /* a list can come as a watch; else that is refused, as by an older server */
	unsigned n_requests, n_cancelled;
	uint64_t now_ms;
};

static inline struct kube_call *take_request(void *ctx, const struct kube_request *q)
{
	struct rig *rig = ctx;

	assert_false(rig->is_open); /* one at a time */
	assert_string_equal(q->method, "GET");
	rig->call = *q;
	snprintf(rig->path, sizeof(rig->path), "%s", q->path);
	rig->is_open = true;
	rig->n_requests++;
	return (struct kube_call *)rig;
}

static inline void take_cancel(void *ctx, struct kube_call *call)
{
	struct rig *rig = ctx;

	assert_true(rig->is_open);
	rig->is_open = false;
	rig->n_cancelled++;
}

static inline bool asks_for_stream(const struct rig *rig)
{
	return strstr(rig->path, "&sendInitialEvents=true") != NULL;
}

static inline struct rig *rig_create(enum kube_kind kind)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->store = store_create();
	rig->now_ms = 1000000;
	reflector_init(&rig->r, kind, NULL, NULL, rig->store,
		       &(struct reflector_http){.ctx = rig, .request = take_request, .cancel = take_cancel}, 1);
	return rig;
}

static inline void rig_destroy(struct rig *rig)
{
	reflector_fini(&rig->r);
	assert_false(rig->is_open);
	store_destroy(rig->store);
	free(rig);
}

/* Lets time pass until there is a request; returns how long that took. */
static inline uint64_t until_request(struct rig *rig)
{
	uint64_t began_ms = rig->now_ms;

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t next_ms = reflector_poll(&rig->r, rig->now_ms);

		if (rig->is_open && asks_for_stream(rig) && !rig->streams) {
			rig->is_open = false;
			rig->call.on_headers(rig->call.ctx, 422);
			rig->call.on_done(rig->call.ctx, 422, NULL, 0);
			continue;
		}
		if (rig->is_open)
			return rig->now_ms - began_ms;
		assert_true(next_ms < began_ms + 10 * 60 * 1000);
		rig->now_ms = next_ms > rig->now_ms ? next_ms : rig->now_ms;
	}
	fail_msg("no request");
	return 0;
}

/* The path of the next request begins with this. Returns the time until it came. */
static inline uint64_t expect_request(struct rig *rig, const char *path)
{
	uint64_t took_ms = until_request(rig);

	if (strncmp(rig->path, path, strlen(path)) != 0)
		fail_msg("%s was expected, not %s", path, rig->path);
	return took_ms;
}

static inline void give(struct rig *rig, const char *bytes)
{
	assert_true(rig->is_open);
	rig->call.on_data(rig->call.ctx, bytes, strlen(bytes));
}

static inline void done(struct rig *rig, int status, const char *error, uint32_t retry_after_s)
{
	assert_true(rig->is_open);
	rig->is_open = false;
	rig->call.on_done(rig->call.ctx, status, error, retry_after_s);
}

static inline void answer(struct rig *rig, int status, const char *body)
{
	rig->call.on_headers(rig->call.ctx, status);
	give(rig, body);
	done(rig, status, NULL, 0);
}

static inline size_t count(const struct rig *rig)
{
	size_t n;

	store_list(rig->store, rig->r.kind, &n);
	return n;
}

/* Up to an open watch from version 10, of a store with the object a. */
static inline struct rig *rig_watching(void)
{
	struct rig *rig = rig_create(KUBE_SERVICE);

	expect_request(rig, "/api/v1");
	answer(rig, 200, RESOURCES);
	expect_request(rig, "/api/v1/services?limit=500");
	answer(rig, 200, LIST("10", "", OBJECT("a", "5")));
	assert_int_equal(expect_request(rig, "/api/v1/services?watch=1&allowWatchBookmarks=true&timeoutSeconds="), 0);
	assert_non_null(strstr(rig->path, "&resourceVersion=10"));
	rig->call.on_headers(rig->call.ctx, 200);
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(reflector_take(&rig->r), BIT(SERVICE));
	return rig;
}

#endif
