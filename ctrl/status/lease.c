/* SPDX-License-Identifier: Apache-2.0 */
#include "status/lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "status/status_pvt.h"

#define MAX_DURATION_S 3600

void lease_init(struct lease *l, const char *ns, const char *name, const char *identity, const struct reflector_http *http,
		uint64_t seed)
{
	*l = (struct lease){
	    .ns = ns, .name = name, .identity = identity, .http = *http, .random = seed * 2 + 1, .step = LEASE_READ};
}

void lease_fini(struct lease *l)
{
	exchange_end(&l->exchange, &l->http);
	json_decref(l->seen);
}

static uint64_t jitter(struct lease *l, uint64_t ms)
{
	l->random = l->random * 6364136223846793005ull + 1442695040888963407ull;
	return ms - (l->random >> 33) % (ms / 5 + 1);
}

bool lease_is_held(const struct lease *l, uint64_t now_ms)
{
	return l->is_held && now_ms < l->held_until_ms && !l->is_ending;
}

void lease_end(struct lease *l)
{
	l->is_ending = true;
}

/* metav1.MicroTime wants six digits. */
static void time_text(char *out, size_t cap, int64_t now_s)
{
	time_t t = (time_t)now_s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, cap, "%Y-%m-%dT%H:%M:%S.000000Z", &tm);
}

/* The map of this name, made if there is none. */
static json_t *map_of(json_t *root, const char *key)
{
	if (!json_is_object(json_object_get(root, key)))
		json_put(root, key, json_must(json_object()));
	return json_object_get(root, key);
}

/*
 * The Lease as we want it; to be freed. A PUT is the whole object: what others
 * have put on it (labels, annotations, owners, other fields) goes back as it was seen.
 */
static char *lease_json(struct lease *l, int64_t now_s)
{
	bool is_new = l->step == LEASE_CREATE || !l->seen;
	json_t *root = json_must(is_new ? json_object() : json_deep_copy(l->seen));
	json_t *meta = map_of(root, "metadata"), *spec = map_of(root, "spec");
	bool gives_back = l->step == LEASE_GIVE_BACK;
	char now[40];
	char *text;

	time_text(now, sizeof(now), now_s);
	if (!l->is_held)
		memcpy(l->acquired, now, sizeof(now));
	json_put(root, "apiVersion", json_string("coordination.k8s.io/v1"));
	json_put(root, "kind", json_string("Lease"));
	json_put(meta, "name", json_string(l->name));
	json_put(meta, "namespace", json_string(l->ns));
	if (l->step != LEASE_CREATE) /* or another one's may be overwritten */
		json_put(meta, "resourceVersion", json_string(l->version));
	json_put(spec, "holderIdentity", json_string(gives_back ? "" : l->identity));
	json_put(spec, "leaseDurationSeconds", json_integer(gives_back ? 1 : LEASE_DURATION_S));
	json_put(spec, "leaseTransitions", json_integer(l->transitions + (strcmp(l->holder, l->identity) != 0 && l->holder[0])));
	json_put(spec, "renewTime", json_string(now));
	json_put(spec, "acquireTime", json_string(l->acquired));
	json_object_del(meta, "managedFields");
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static void begin(struct lease *l, uint64_t now_ms, int64_t now_s)
{
	char *body = l->step == LEASE_READ ? NULL : lease_json(l, now_s);
	char path[600];
	int n = snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/%s/leases", l->ns);

	if (l->step != LEASE_CREATE)
		snprintf(path + n, sizeof(path) - (size_t)n, "/%s", l->name);
	l->sent_ms = now_ms;
	exchange_begin(&l->exchange, &l->http, l->step == LEASE_READ ? "GET" : l->step == LEASE_CREATE ? "POST" : "PUT", path,
		       NULL, body);
	free(body);
}

static void next(struct lease *l, enum lease_step step, uint64_t at_ms)
{
	l->step = step;
	l->next_ms = at_ms;
}

/* What the answer says; false if it is no Lease. *duration_ms: for how long it holds without a change. */
static bool read_lease(struct lease *l, uint64_t now_ms, uint64_t *duration_ms)
{
	json_t *root = exchange_json(&l->exchange);
	const json_t *spec = json_object_get(root, "spec");
	const char *version = json_text(json_object_get(root, "metadata"), "resourceVersion", "");
	json_int_t s = json_integer_value(json_object_get(spec, "leaseDurationSeconds"));
	json_int_t transitions = json_integer_value(json_object_get(spec, "leaseTransitions"));
	bool is_lease = version[0] && strlen(version) < sizeof(l->version);

	if (is_lease && strcmp(version, l->version) != 0) {
		snprintf(l->version, sizeof(l->version), "%s", version);
		l->seen_ms = now_ms;
	}
	if (is_lease)
		snprintf(l->holder, sizeof(l->holder), "%s", json_text(spec, "holderIdentity", ""));
	if (is_lease)
		l->transitions = transitions > 0 && transitions < INT32_MAX ? transitions : 0;
	if (is_lease) {
		json_decref(l->seen);
		l->seen = json_incref(root);
	}
	*duration_ms = (uint64_t)(s > 0 && s <= MAX_DURATION_S ? s : LEASE_DURATION_S) * 1000;
	json_decref(root);
	return is_lease;
}

static void fail(struct lease *l, uint64_t now_ms)
{
	int status = l->exchange.status;
	char why[256];

	exchange_problem(&l->exchange, why);
	if (status == 401 || status == 403 || (status == 404 && l->step == LEASE_CREATE)) { /* 404: no such namespace */
		l->counters.refused++;
		if (!l->is_told)
			log_warn("no status is written: the Lease %s/%s is refused to us: %s", l->ns, l->name, why);
		l->is_told = true;
		next(l, LEASE_READ, now_ms + jitter(l, LEASE_FORBIDDEN_MS));
		return;
	}
	l->counters.failed++;
	log_debug("Lease %s/%s: %s", l->ns, l->name, why);
	next(l, LEASE_READ, now_ms + exchange_wait_ms(&l->exchange) + jitter(l, LEASE_RETRY_MS));
}

static void end_read(struct lease *l, uint64_t now_ms)
{
	uint64_t duration_ms;

	if (l->exchange.status == 404) {
		next(l, LEASE_CREATE, now_ms);
		return;
	}
	if (l->exchange.status != 200 || !read_lease(l, now_ms, &duration_ms)) {
		fail(l, now_ms);
		return;
	}
	if (!l->holder[0] || strcmp(l->holder, l->identity) == 0 || now_ms - l->seen_ms >= duration_ms) {
		next(l, LEASE_RENEW, now_ms);
		return;
	}
	l->held_until_ms = 0; /* another one's, whatever we believe */
	next(l, LEASE_READ, now_ms + jitter(l, LEASE_RENEW_MS));
}

static void end_write(struct lease *l, uint64_t now_ms)
{
	uint64_t duration_ms;
	int status = l->exchange.status;

	if (status == 409 || (status == 404 && l->step != LEASE_CREATE)) {
		next(l, LEASE_READ, now_ms + jitter(l, LEASE_RETRY_MS));
	} else if ((status != 200 && status != 201) || !read_lease(l, now_ms, &duration_ms) ||
		   strcmp(l->holder, l->identity) != 0) {
		fail(l, now_ms);
	} else {
		if (!l->is_held) {
			l->counters.acquired++;
			log_info("Lease %s/%s is ours: status is written here", l->ns, l->name);
		} else {
			l->counters.renewed++;
		}
		l->is_held = true;
		l->is_told = false;
		l->held_until_ms = l->sent_ms + LEASE_DEADLINE_MS;
		next(l, LEASE_RENEW, l->sent_ms + jitter(l, LEASE_RENEW_MS));
	}
}

static void end(struct lease *l, uint64_t now_ms)
{
	if (l->exchange.error[0])
		fail(l, now_ms);
	else if (l->step == LEASE_READ)
		end_read(l, now_ms);
	else if (l->step != LEASE_GIVE_BACK)
		end_write(l, now_ms);
	exchange_end(&l->exchange, &l->http);
}

static uint64_t poll_ending(struct lease *l, uint64_t now_ms, int64_t now_s)
{
	if (exchange_is_busy(&l->exchange))
		return UINT64_MAX;
	if (!l->is_held || l->step == LEASE_GIVE_BACK) {
		l->is_ended = true;
		return UINT64_MAX;
	}
	l->step = LEASE_GIVE_BACK;
	begin(l, now_ms, now_s);
	return now_ms + EXCHANGE_TIMEOUT_MS;
}

uint64_t lease_poll(struct lease *l, uint64_t now_ms, int64_t now_s)
{
	bool is_giving_back = l->step == LEASE_GIVE_BACK;

	if (l->exchange.is_done)
		end(l, now_ms);
	if (l->is_held && now_ms >= l->held_until_ms) {
		l->is_held = false;
		l->counters.lost++;
		log_warn("Lease %s/%s is lost: status is not written here any more", l->ns, l->name);
	}
	if (is_giving_back && !exchange_is_busy(&l->exchange))
		l->step = LEASE_GIVE_BACK; /* well or not: it is tried once */
	if (l->is_ending)
		return poll_ending(l, now_ms, now_s);
	if (!exchange_is_busy(&l->exchange) && now_ms >= l->next_ms)
		begin(l, now_ms, now_s);
	if (!exchange_is_busy(&l->exchange))
		return l->is_held && l->held_until_ms < l->next_ms ? l->held_until_ms : l->next_ms;
	return l->exchange.is_done ? now_ms : l->is_held ? l->held_until_ms : now_ms + EXCHANGE_TIMEOUT_MS;
}
