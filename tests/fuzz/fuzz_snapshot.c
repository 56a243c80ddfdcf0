/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a snapshot, an endpoint set, a certificate, ticket keys or ways to pods: refused, or safe
 * to read. The first byte says whether the frame (magic, sizes, checksum) is
 * made right first, so that what lies behind it is reached.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/ip.h"
#include "route/route.h"
#include "translate/compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct slice header(const void *ctx, struct slice name)
{
	return slice_str("v");
}

static void use(const struct weir_snapshot *s)
{
	static const char *const hosts[] = {"a.example", "y.x.a.example", "", "q"};
	char *text = NULL;

	for (unsigned i = 0; i < 16; i++) {
		struct route_request rq = {.port = i & 8 ? 81 : 80, .method = slice_str("GET"), .host = slice_str(hosts[i % 4]),
					   .path = slice_str(i & 4 ? "/a/b/c" : "/"), .query = slice_str("k=v&j=w"), .header = header};
		struct route_result r = route_match(s, &rq);

		if (r.miss == ROUTE_HIT)
			route_pick_split(s, snapshot_rule(s, r.rule), i << 28);
	}
	for (uint32_t i = 0; i < snapshot_count(s, FILTERS); i++)
		if (snapshot_filter(s, i)->kind == WEIR_FILTER_CORS)
			route_cors(s, snapshot_filter(s, i), slice_str(i & 1 ? "https://b.example:8443" : "http://a.example:80"));
	if (compile_dump(s, &text) == 0)
		free(text);
}

static void use_names(const struct weir_snapshot *s)
{
	static const char *const names[] = {"a.example", "y.x.a.example", "", "b"};
	uint64_t sum = 0;

	for (unsigned i = 0; i < 16; i++) {
		struct weir_ip local = {.b[15] = i & 1};
		const struct weir_bind *bind;
		enum route_miss miss;
		uint16_t port = i & 2 ? 443 : 80;
		const struct weir_server_name *n = route_find_name(s, &local, port, slice_str(names[i / 4]), &bind, &miss);

		if (!n)
			continue;
		if (miss != ROUTE_HIT || bind->proto != WEIR_PROTO_HTTPS)
			abort();
		if (n->listener != WEIR_NONE)
			sum += snapshot_listener(s, bind->listeners.first + n->listener)->host_kind;
		for (uint32_t k = n->certs.first; k < n->certs.first + n->certs.count; k++)
			if (!snapshot_cert(s, k)->v[0] || !snapshot_cert(s, k)->v[1])
				abort();
	}
	if (sum > 1000)
		abort();
}

static void use_certificate(const struct weir_certificate *s)
{
	uint64_t h = hash64((const char *)s + s->key.off, s->key.size, 0);

	for (uint32_t i = 0; i < s->n_chain; i++)
		h ^= hash64((const char *)s + s->chain[i].off, s->chain[i].size, h);
	if (s->ocsp.size)
		h ^= hash64((const char *)s + s->ocsp.off, s->ocsp.size, h);
	if (s->chain[0].off != sizeof(*s) || (!s->ocsp.size && s->key.off + s->key.size != s->size))
		abort();
}

static void mend_snapshot(struct weir_snapshot *s, size_t n)
{
	s->magic = WEIR_SNAPSHOT_MAGIC;
	s->abi_major = WEIR_ABI_MAJOR;
	s->size = (uint32_t)n;
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_snapshot, checksum), 8, 0);
}

static void mend_set(struct weir_endpoint_set *s, size_t n)
{
	s->magic = WEIR_ENDPOINTS_MAGIC;
	s->abi_major = WEIR_ABI_MAJOR;
	s->size = (uint32_t)n;
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_endpoint_set, checksum), 8, 0);
}

static void mend_certificate(struct weir_certificate *s, size_t n)
{
	s->magic = WEIR_CERTIFICATE_MAGIC;
	s->abi_major = WEIR_ABI_MAJOR;
	s->size = (uint32_t)n;
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_certificate, checksum), 8, 0);
}

static void use_tickets(const struct weir_ticket_keys *s)
{
	for (uint32_t i = 0; i < WEIR_MAX_TICKET_KEYS; i++)
		if ((hash64(s->key[i].mac, sizeof(s->key[i].mac), 0) == hash64((uint8_t[32]){0}, 32, 0)) != (i >= s->n))
			abort();
}

static void try_tickets(uint8_t *blob, size_t n, bool mends)
{
	struct weir_ticket_keys *s = (struct weir_ticket_keys *)(void *)blob;
	struct snapshot_error err;

	if (mends && n >= sizeof(*s)) {
		n = sizeof(*s);
		s->magic = WEIR_TICKET_KEYS_MAGIC;
		s->abi_major = WEIR_ABI_MAJOR;
		s->n %= WEIR_MAX_TICKET_KEYS + 2;
	}
	if (ticket_keys_check(s, n, &err) == WEIR_REFUSED_OK)
		use_tickets(s);
	else if (!err.text[0])
		abort();
}

/* Each path has what a table is made of. */
static void use_paths(const struct weir_paths *s)
{
	const struct weir_pod_path *path = (const struct weir_pod_path *)(s + 1);

	for (uint32_t i = 0; i < s->n_paths; i++) {
		const struct weir_vtep *v = &s->vtep[ip_is4(&path[i].prefix) ? 0 : 1];

		if (!ip_in_prefix(&path[i].prefix, &path[i].prefix, path[i].prefix_len) || ip_is_any(&path[i].via))
			abort();
		if (path[i].kind == WEIR_PATH_VXLAN && (!v->port || v->vni >> 24 || ip_is4(&v->source) != ip_is4(&path[i].prefix)))
			abort();
	}
}

static void try_paths(uint8_t *blob, size_t n, bool mends)
{
	struct weir_paths *s = (struct weir_paths *)(void *)blob;
	struct snapshot_error err;

	if (mends && n >= sizeof(*s)) {
		s->magic = WEIR_PATHS_MAGIC;
		s->abi_major = WEIR_ABI_MAJOR;
		s->n_paths = (uint32_t)((n - sizeof(*s)) / sizeof(struct weir_pod_path));
		n = sizeof(*s) + s->n_paths * sizeof(struct weir_pod_path);
		s->checksum = hash64_zeroed(s, n, offsetof(struct weir_paths, checksum), 8, 0);
	}
	if (paths_check(s, n, &err) == WEIR_REFUSED_OK)
		use_paths(s);
	else if (!err.text[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct snapshot_error err;
	void *blob;

	if (n < 1)
		return 0;
	blob = malloc(n); /* aligned, and one byte too far is seen */
	n--;
	memcpy(blob, data + 1, n);
	if ((data[0] & 1) && n >= sizeof(struct weir_snapshot))
		mend_snapshot(blob, n);
	if (snapshot_check(blob, n, &err) == WEIR_REFUSED_OK) {
		use(blob);
		use_names(blob);
	} else if (!err.text[0]) {
		abort(); /* a refusal says why */
	}
	if ((data[0] & 1) && n >= sizeof(struct weir_endpoint_set))
		mend_set(blob, n);
	endpoint_set_check(blob, n, &err);
	if ((data[0] & 1) && n >= sizeof(struct weir_certificate))
		mend_certificate(blob, n);
	if (certificate_check(blob, n, &err) == WEIR_REFUSED_OK)
		use_certificate(blob);
	else if (!err.text[0])
		abort();
	try_tickets(blob, n, data[0] & 1);
	memcpy(blob, data + 1, n);
	try_paths(blob, n, data[0] & 1);
	free(blob);
	return 0;
}
