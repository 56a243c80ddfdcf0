/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing of the bytes, side by side. See saved.h. */
#include "saved.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "paths/blob.h"
#include "snapshot/snapshot.h"

/* Numbers go on from those of the file: so far from their end that they never get there. */
#define MAX_NUMBER (UINT64_MAX / 2)

const char *saved_refusal_name(enum saved_refusal r)
{
	static const char *const names[] = {
#define X(name, str, help) str,
		SAVED_REFUSALS(X)
#undef X
	};
	return r < SAVED_N_REFUSALS ? names[r] : "unknown";
}

const char *saved_refusal_help(enum saved_refusal r)
{
	static const char *const texts[] = {
#define X(name, str, help) help,
		SAVED_REFUSALS(X)
#undef X
	};
	return r < SAVED_N_REFUSALS ? texts[r] : "";
}

static size_t aligned(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static uint64_t checksum(const void *bytes, size_t n)
{
	return hash64_zeroed(bytes, n, offsetof(struct saved_head, checksum), sizeof(uint64_t), 0);
}

static bool is_number(uint64_t v)
{
	return v > 0 && v < MAX_NUMBER;
}

static enum saved_refusal check_head(const struct saved_head *h, size_t n, uint64_t source, bool takes_any)
{
	if (n < sizeof(*h))
		return SAVED_TRUNCATED;
	if (h->magic != SAVED_MAGIC)
		return SAVED_FOREIGN;
	if (h->version != SAVED_VERSION)
		return SAVED_OTHER_VERSION;
	if (h->abi_major != WEIR_ABI_MAJOR || h->abi_minor > WEIR_ABI_MINOR)
		return SAVED_ABI;
	if (h->size != n)
		return SAVED_TRUNCATED;
	if (h->checksum != checksum(h, n))
		return SAVED_CHECKSUM;
	if (h->reserved0 || h->reserved1)
		return SAVED_OTHER_VERSION;
	return h->source == source || takes_any ? SAVED_OK : SAVED_SOURCE;
}

/* A part that begins at *at, whose head has its size at this offset; *at moves behind it. NULL: it is not all there. */
static const void *take_part(const char *bytes, size_t n, size_t *at, size_t head_bytes, size_t size_off, size_t *size)
{
	const char *part = bytes + *at;
	uint32_t v;

	if (*at > n || n - *at < head_bytes)
		return NULL;
	memcpy(&v, part + size_off, sizeof(v));
	if (v < head_bytes || v > n - *at)
		return NULL;
	*size = v;
	*at += aligned(v);
	return part;
}

/* Both are in the order of the ids: whether the snapshot has the backend, from *i on. */
static bool has_backend(const struct weir_snapshot *s, uint64_t id, uint32_t *i)
{
	while (*i < snapshot_count(s, BACKENDS) && snapshot_backend(s, *i)->id < id)
		++*i;
	return *i < snapshot_count(s, BACKENDS) && snapshot_backend(s, (*i)++)->id == id;
}

static enum saved_refusal check_sets(const char *bytes, size_t n, size_t *at, uint32_t n_sets, const struct weir_snapshot *s)
{
	uint32_t backend = 0;
	size_t size;

	for (uint32_t i = 0; i < n_sets; i++) {
		const struct weir_endpoint_set *e = take_part(bytes, n, at, sizeof(*e), offsetof(struct weir_endpoint_set, size), &size);

		if (!e || endpoint_set_check(e, size, NULL) != WEIR_REFUSED_OK || !is_number(e->version) ||
		    !has_backend(s, e->backend_id, &backend))
			return SAVED_SET;
	}
	return SAVED_OK;
}

/* The rest of the bytes, from at on. */
static enum saved_refusal check_paths(const char *bytes, size_t n, size_t at, struct saved *out)
{
	const uint64_t size = ((const struct saved_head *)(const void *)bytes)->paths_bytes;

	if (at > n || size > n || n - at != aligned(size))
		return SAVED_TRUNCATED;
	if (size == 0)
		return SAVED_OK;
	if (paths_blob_check(bytes + at, size) != WEIR_REFUSED_OK)
		return SAVED_PATHS;
	out->paths = (const struct weir_paths *)(const void *)(bytes + at);
	out->paths_bytes = size;
	return SAVED_OK;
}

enum saved_refusal saved_check(const void *bytes, size_t n, uint64_t source, bool takes_any, struct saved *out)
{
	const struct saved_head *h = bytes;
	enum saved_refusal r = check_head(h, n, source, takes_any);
	const struct weir_snapshot *s;
	size_t at = sizeof(*h), size;

	if (r != SAVED_OK)
		return r;
	s = take_part(bytes, n, &at, sizeof(*s), offsetof(struct weir_snapshot, size), &size);
	if (!s || snapshot_check(s, size, NULL) != WEIR_REFUSED_OK || !is_number(s->generation))
		return SAVED_SNAPSHOT;
	*out = (struct saved){.snapshot = s, .n_sets = h->n_sets, .sets = (const char *)bytes + at};
	r = check_sets(bytes, n, &at, h->n_sets, s);
	return r == SAVED_OK ? check_paths(bytes, n, at, out) : r;
}

const struct weir_endpoint_set *saved_next(const struct saved *s, const struct weir_endpoint_set *set)
{
	return (const struct weir_endpoint_set *)(const void *)(set ? (const char *)set + aligned(set->size) : s->sets);
}

/* ---- writing ---- */

static void add_part(char *bytes, size_t *at, const void *part, size_t n)
{
	memcpy(bytes + *at, part, n);
	memset(bytes + *at + n, 0, aligned(n) - n);
	*at += aligned(n);
}

#define entry(s, section, type, i) ((type *)(uintptr_t)snapshot_at(s, section, type, i))

/*
 * Neither private keys nor CA certificates are kept on disk, so a snapshot is kept without the ids of certificates. Its server
 * names stay: those that are passed through need none, and the handshakes of the others are refused until certificates come from
 * the API server; without their names their clients would be sent on to whom a wildcard's TLS is passed through. Nobody is
 * trusted, so nothing is sent to a backend over TLS, and never in the clear. The checksum is left to saved_seal().
 */
static void strip_certificates(struct weir_snapshot *s)
{
	if (snapshot_count(s, CERTS) == 0)
		return;
	for (uint32_t i = 0; i < snapshot_count(s, NAMES); i++)
		entry(s, NAMES, struct weir_server_name, i)->certs = (struct weir_range){0, 0};
	for (uint32_t i = 0; i < snapshot_count(s, CLIENT_AUTHS); i++)
		entry(s, CLIENT_AUTHS, struct weir_client_auth, i)->trust = (struct weir_range){0, 0};
	for (uint32_t i = 0; i < snapshot_count(s, BACKEND_TLS); i++)
		entry(s, BACKEND_TLS, struct weir_backend_tls, i)->certs = (struct weir_range){0, 0};
	s->sect[WEIR_SECT_CERTS].count = 0;
	s->checksum = 0;
}

int saved_make(const struct saved_parts *parts, uint64_t source, void **bytes, size_t *n)
{
	const struct weir_snapshot *s = parts->snapshot;
	struct saved_head h = {.magic = SAVED_MAGIC,
			       .version = SAVED_VERSION,
			       .abi_major = WEIR_ABI_MAJOR,
			       .abi_minor = WEIR_ABI_MINOR,
			       .size = sizeof(h) + aligned(s->size) + aligned(parts->paths_bytes),
			       .source = source,
			       .paths_bytes = parts->paths_bytes};
	size_t at = sizeof(h);
	char *out;

	for (uint32_t i = 0; i < snapshot_count(s, BACKENDS); i++) {
		const struct weir_endpoint_set *e = parts->find(parts->ctx, snapshot_backend(s, i)->id);

		h.n_sets += e != NULL;
		h.size += e ? aligned(e->size) : 0;
	}
	if (h.size > SAVED_MAX_BYTES)
		return -EFBIG;
	out = malloc(h.size);
	if (!out)
		return -ENOMEM;
	memcpy(out, &h, sizeof(h));
	add_part(out, &at, s, s->size);
	strip_certificates((struct weir_snapshot *)(void *)(out + sizeof(h)));
	for (uint32_t i = 0; i < snapshot_count(s, BACKENDS); i++) {
		const struct weir_endpoint_set *e = parts->find(parts->ctx, snapshot_backend(s, i)->id);

		if (e)
			add_part(out, &at, e, e->size);
	}
	if (parts->paths_bytes)
		add_part(out, &at, parts->paths, parts->paths_bytes);
	*bytes = out;
	*n = at;
	return 0;
}

void saved_seal(void *bytes, size_t n)
{
	struct saved_head *h = bytes;
	struct weir_snapshot *s = (struct weir_snapshot *)(void *)(h + 1);

	if (n >= sizeof(*h) + sizeof(*s) && s->size <= n - sizeof(*h) && s->checksum == 0) /* a test seals what is cut */
		s->checksum = hash64_zeroed(s, s->size, offsetof(struct weir_snapshot, checksum), sizeof(s->checksum), 0);
	h->checksum = checksum(bytes, n);
}
