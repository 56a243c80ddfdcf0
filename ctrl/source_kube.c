/* SPDX-License-Identifier: Apache-2.0 */
#include "source_kube.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/log.h"

/* Its bundle-version says which version of the Gateway API the cluster has. */
#define GATEWAY_API_CRD "metadata.name=gatewayclasses.gateway.networking.k8s.io"

struct source_kube {
	struct kube_http *http;
	char node[300]; /* fieldSelector */
	struct named *named;
	bool is_listed, is_wanted, is_synced;
	uint64_t wanted_ms; /* since then the first answers of named objects are waited for */
	uint64_t named_ms;  /* the last one of them came */
	size_t n_pending;   /* so many are still to come */
	unsigned n;
	struct reflector reflectors[];
};

static struct kube_call *request(void *ctx, const struct kube_request *r)
{
	return kube_http_request(ctx, r);
}

static void cancel(void *ctx, struct kube_call *call)
{
	kube_http_cancel(ctx, call);
}

/* What is written to say which requests go where; all else is only what that refers to. */
static bool has_selector(enum kube_kind kind)
{
	return kind == KUBE_INGRESS || kind == KUBE_GATEWAY || kind == KUBE_LISTENER_SET || kind == KUBE_HTTP_ROUTE ||
	       kind == KUBE_GRPC_ROUTE || kind == KUBE_TLS_ROUTE || kind == KUBE_TCP_ROUTE || kind == KUBE_UDP_ROUTE;
}

static uint64_t hash_text(const char *text, uint64_t h)
{
	return text ? hash64(text, strlen(text) + 1, h) : hash64("", 0, h + 1);
}

static uint64_t hash_file(const char *path, uint64_t h)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	char block[4096];
	size_t n;

	while (f && (n = fread(block, 1, sizeof(block), f)) > 0)
		h = hash64(block, n, h);
	if (f)
		fclose(f);
	return h;
}

uint64_t source_kube_identity(const struct kube_config *c, const char *const *namespaces, size_t n_namespaces,
			      const char *selector)
{
	uint64_t h = hash_text(c->server, 0);

	h = hash_text(c->ca_pem, h);
	h = hash_file(c->ca_file, h);
	for (size_t i = 0; i < n_namespaces; i++)
		h = hash_text(namespaces[i], h);
	return hash_text(selector, h);
}

struct source_kube *source_kube_create(struct kube_config *c, const char *const *namespaces, size_t n_namespaces,
				       const char *selector, const char *node, struct store *s)
{
	size_t n_each = n_namespaces ? n_namespaces : 1;
	struct source_kube *k = calloc(1, sizeof(*k) + KUBE_N_KINDS * n_each * sizeof(k->reflectors[0]));
	struct kube_http *http = kube_http_create(c);
	const struct reflector_http table = {.ctx = http, .request = request, .cancel = cancel};
	uint64_t seed = (uint64_t)(uintptr_t)k;

	if (!k || !http) {
		log_error("cannot follow Kubernetes: out of memory");
		kube_http_destroy(http);
		free(k);
		errno = ENOMEM;
		return NULL;
	}
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
		log_debug("no random bytes for jitter");
	k->http = http;
	k->named = named_create(s, &table, seed);
	store_expect_named(s);
	snprintf(k->node, sizeof(k->node), "metadata.name=%s", node ? node : "");
	for (unsigned kind = 0; kind < KUBE_N_KINDS; kind++) {
		if ((kind == KUBE_NODE && !node) || kube_kind_is_named(kind))
			continue;
		for (size_t i = 0; i < (kube_kind_is_namespaced(kind) ? n_each : 1); i++)
			reflector_init(&k->reflectors[k->n++], kind, n_namespaces ? namespaces[i] : NULL,
				       has_selector(kind) ? selector : NULL, s, &table, seed + i);
		if (kind == KUBE_NODE)
			k->reflectors[k->n - 1].fields = k->node;
		else if (kind == KUBE_CRD)
			k->reflectors[k->n - 1].fields = GATEWAY_API_CRD;
	}
	log_info("following Kubernetes at %s", kube_http_server(http));
	return k;
}

void source_kube_allow_unread_policies(struct source_kube *k)
{
	for (unsigned i = 0; i < k->n; i++)
		k->reflectors[i].is_required = false;
}

void source_kube_follow_nodes(struct source_kube *k, struct store *s)
{
	const struct reflector_http table = {.ctx = k->http, .request = request, .cancel = cancel};

	for (unsigned i = 0; i < k->n; i++)
		if (k->reflectors[i].kind == KUBE_NODE) {
			k->reflectors[i].fields = NULL;
			return;
		}
	reflector_init(&k->reflectors[k->n++], KUBE_NODE, NULL, NULL, s, &table, (uint64_t)(uintptr_t)k + KUBE_NODE);
}

void source_kube_destroy(struct source_kube *k)
{
	if (!k)
		return;
	for (unsigned i = 0; i < k->n; i++)
		reflector_fini(&k->reflectors[i]);
	named_destroy(k->named);
	kube_http_destroy(k->http);
	free(k);
}

int source_kube_fd(const struct source_kube *k)
{
	return kube_http_fd(k->http);
}

static bool are_all_synced(const struct source_kube *k)
{
	for (unsigned i = 0; i < k->n; i++)
		if (!k->reflectors[i].is_synced)
			return false;
	return true;
}

/* One that has been reached, or is up to date again, shows the others that their waiting is over. */
static void hurry_all(struct source_kube *k, uint64_t now_ms)
{
	bool is_reached = false, is_well = false;

	for (unsigned i = 0; i < k->n; i++) {
		is_reached |= k->reflectors[i].is_reached;
		is_well |= k->reflectors[i].has_recovered;
		k->reflectors[i].is_reached = k->reflectors[i].has_recovered = false;
	}
	for (unsigned i = 0; (is_reached || is_well) && i < k->n; i++)
		reflector_hurry(&k->reflectors[i], is_well, now_ms);
	if (is_reached || is_well)
		named_hurry(k->named, is_well, now_ms);
}

static uint64_t waits_until(const struct source_kube *k)
{
	uint64_t next_ms = k->named_ms + SOURCE_KUBE_NAMED_MS, all_ms = k->wanted_ms + SOURCE_KUBE_ALL_NAMED_MS;

	return next_ms < all_ms ? next_ms : all_ms;
}

static void note_progress(struct source_kube *k, uint64_t now_ms)
{
	size_t n_pending;

	if (!k->is_listed && are_all_synced(k)) {
		k->is_listed = true;
		log_info("Kubernetes: everything is listed");
	}
	if (k->is_synced || !k->is_wanted)
		return;
	n_pending = named_n_pending(k->named);
	if (n_pending < k->n_pending)
		k->named_ms = now_ms;
	k->n_pending = n_pending;
	k->is_synced = n_pending == 0;
	if (!k->is_synced && now_ms >= waits_until(k)) {
		k->is_synced = true;
		log_warn("Kubernetes: some of the Secrets and ConfigMaps that are referred to are not known yet: what can be served is");
	}
}

uint64_t source_kube_want(struct source_kube *k, const struct named_ref *refs, size_t n_refs, uint64_t now_ms)
{
	uint64_t mask = named_want(k->named, refs, n_refs);

	if (!k->is_wanted)
		k->wanted_ms = k->named_ms = now_ms;
	k->is_wanted = true;
	return mask;
}

uint64_t source_kube_poll(struct source_kube *k, uint64_t now_ms, int *timeout_ms)
{
	int http_ms = kube_http_poll(k->http);
	uint64_t next_ms = http_ms < 0 ? UINT64_MAX : now_ms + (uint64_t)http_ms;
	uint64_t mask = 0;

	hurry_all(k, now_ms);
	for (unsigned i = 0; i < k->n; i++) {
		uint64_t t = reflector_poll(&k->reflectors[i], now_ms);

		next_ms = t < next_ms ? t : next_ms;
		mask |= reflector_take(&k->reflectors[i]);
	}
	mask |= named_poll(k->named, now_ms, &next_ms);
	note_progress(k, now_ms);
	if (k->is_wanted && !k->is_synced && waits_until(k) < next_ms)
		next_ms = waits_until(k);
	*timeout_ms = next_ms <= now_ms ? 0 : next_ms - now_ms < INT_MAX ? (int)(next_ms - now_ms) : INT_MAX;
	return mask;
}

bool source_kube_is_listed(const struct source_kube *k)
{
	return k->is_listed;
}

bool source_kube_is_synced(const struct source_kube *k)
{
	return k->is_synced;
}

void source_kube_status(const struct source_kube *k, uint64_t now_ms, struct source_kube_status *out)
{
	*out = (struct source_kube_status){
	    .server = kube_http_server(k->http), .is_synced = k->is_synced, .n_reflectors = k->n};
	for (unsigned i = 0; i < k->n; i++) {
		const struct reflector *r = &k->reflectors[i];
		bool is_new = r->is_healthy || r->is_forbidden; /* of what may not be read nothing is known that could be old */
		uint64_t age_ms = is_new || now_ms < r->synced_ms ? 0 : now_ms - r->synced_ms;

		out->n_healthy += r->is_healthy;
		out->n_synced += r->is_synced;
		out->age_ms = age_ms > out->age_ms ? age_ms : out->age_ms;
#define X(name, help) out->counters.name += r->counters.name;
		REFLECTOR_COUNTERS(X)
#undef X
	}
}

const char *source_kube_problem(const struct source_kube *k, unsigned *i)
{
	while (*i < k->n) {
		const struct reflector *r = &k->reflectors[(*i)++];

		if (!r->is_healthy && r->problem[0])
			return r->problem;
	}
	return NULL;
}

void source_kube_named(const struct source_kube *k, struct named_status *out)
{
	named_status(k->named, out);
}

const struct kube_http_counters *source_kube_http(const struct source_kube *k)
{
	return kube_http_counters(k->http);
}

struct kube_http *source_kube_connection(struct source_kube *k)
{
	return k->http;
}
