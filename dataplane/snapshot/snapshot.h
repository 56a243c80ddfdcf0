/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one reader and checker of weir/snapshot.h. No DPDK: weir-ctrl links it
 * to check what it compiled, and for weirctl explain.
 *
 * A checked snapshot can be read without any further test: every offset,
 * index, range, string, enumeration and look-up table has been verified.
 * Readers take only checked blobs.
 */
#ifndef SNAPSHOT_SNAPSHOT_H
#define SNAPSHOT_SNAPSHOT_H

#include <assert.h>

#include "base/slice.h"
#include "weir/msg.h"
#include "weir/paths.h"
#include "weir/snapshot.h"

/* Where and why a check failed, for the log. */
struct snapshot_error {
	enum weir_refusal refusal;
	char text[160]; /* "rule 17: splits reach 40 of 39" */
};

/*
 * Checks a blob of n bytes at an address that is a multiple of 8. The caller
 * owns the bytes privately: nobody else can change them during or after.
 * Returns WEIR_REFUSED_OK or the reason; err may be NULL. Time and memory are
 * bounded by n.
 */
enum weir_refusal snapshot_check(const void *blob, size_t n, struct snapshot_error *err);
enum weir_refusal endpoint_set_check(const void *blob, size_t n, struct snapshot_error *err);
/* The frame alone: its parts are not looked into, and the id is not compared to them. */
enum weir_refusal certificate_check(const void *blob, size_t n, struct snapshot_error *err);
/* Keys of session tickets. What is said of wrong ones tells nothing of their bytes. */
enum weir_refusal ticket_keys_check(const void *blob, size_t n, struct snapshot_error *err);
/* Ways to pods. */
enum weir_refusal paths_check(const void *blob, size_t n, struct snapshot_error *err);
/* The same for one end, or one path, of which the family has an end (vtep), or none (NULL). NULL, or what is wrong; weir.yaml asks, too. */
const char *paths_vtep_fault(const struct weir_vtep *v, bool is4);
const char *paths_fault(const struct weir_pod_path *p, const struct weir_vtep *vtep);
/* An end of zeros is none. */
bool paths_has_vtep(const struct weir_vtep *v);

/*
 * What filters may hold. weir-ctrl asks the same before it compiles them.
 * Protected fields, names in any case: those that frame a message or belong to one connection
 * alone (RFC 9110 7.6.1), and Host, of which there is exactly one.
 */
bool snapshot_is_protected_field(struct slice name);
bool snapshot_is_field_name(struct slice name);
/* RFC 9110 5.5: visible bytes, and blanks and tabs between them. */
bool snapshot_is_field_value(struct slice value);
/* A host name or address in lower case, perhaps with a port. */
bool snapshot_is_host(struct slice host);
/* Can stand as the host of a server name of TLS, or behind its "*.": labels, unlike the host of a request without a port. */
bool snapshot_is_server_name(struct slice host);
/* Can stand as a request's path: begins with a slash; visible ASCII but '?' and '#'. */
bool snapshot_is_target_path(struct slice path);
/* Can stand as the Path of a cookie (RFC 6265 4.1.1): begins with a slash; visible ASCII but ';'. */
bool snapshot_is_cookie_path(struct slice path);

/* Of a checked backend's fields, as annotations have them: "least-request", "source-address". */
const char *snapshot_balance_name(uint8_t balance);
const char *snapshot_hash_on_name(uint8_t hash_on);

/* The smaller of two limits, of which 0 is none set. */
static inline uint32_t snapshot_least_limit(uint32_t a, uint32_t b)
{
	return a == 0 || (b && b < a) ? b : a;
}

/*
 * The limits that count for a request: each the rule's, else the listener's,
 * else what is in *t already. backend_ms of a rule is a limit of the first byte too, if it sets no other.
 */
void snapshot_timeouts(struct weir_timeouts *t, const struct weir_timeouts *listener, const struct weir_timeouts *rule);

/* Entry i of a section: snapshot_at(s, RULES, struct weir_rule, i). */
#define snapshot_at(s, section, type, i) \
	((const type *)(const void *)((const char *)(s) + (s)->sect[WEIR_SECT_##section].off) + (i))
#define snapshot_count(s, section) ((s)->sect[WEIR_SECT_##section].count)

static inline const struct weir_bind *snapshot_bind(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, BINDS, struct weir_bind, i);
}

static inline const struct weir_listener *snapshot_listener(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, LISTENERS, struct weir_listener, i);
}

static inline const struct weir_vhost *snapshot_vhost(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, VHOSTS, struct weir_vhost, i);
}

static inline const struct weir_path *snapshot_path(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, PATHS, struct weir_path, i);
}

static inline const struct weir_rule *snapshot_rule(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, RULES, struct weir_rule, i);
}

static inline const struct weir_cond *snapshot_cond(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, CONDS, struct weir_cond, i);
}

static inline const struct weir_split *snapshot_split(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, SPLITS, struct weir_split, i);
}

static inline const struct weir_filter *snapshot_filter(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, FILTERS, struct weir_filter, i);
}

static inline const struct weir_header_op *snapshot_header_op(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, HEADER_OPS, struct weir_header_op, i);
}

static inline const struct weir_backend *snapshot_backend(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, BACKENDS, struct weir_backend, i);
}

static inline const struct weir_route *snapshot_route(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, ROUTES, struct weir_route, i);
}

static inline const struct weir_server_name *snapshot_name(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, NAMES, struct weir_server_name, i);
}

static inline const struct weir_cert_id *snapshot_cert(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, CERTS, struct weir_cert_id, i);
}

static inline const struct weir_client_auth *snapshot_client_auth(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, CLIENT_AUTHS, struct weir_client_auth, i);
}

static inline const struct weir_backend_tls *snapshot_backend_tls(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, BACKEND_TLS, struct weir_backend_tls, i);
}

static inline const struct weir_san *snapshot_san(const struct weir_snapshot *s, uint32_t i)
{
	return snapshot_at(s, SANS, struct weir_san, i);
}

static inline uint32_t snapshot_length(const struct weir_snapshot *s, uint32_t i)
{
	return *snapshot_at(s, LENGTHS, uint32_t, i);
}

static inline struct slice snapshot_str(const struct weir_snapshot *s, struct weir_str str)
{
	return slice_of((const char *)s + s->sect[WEIR_SECT_STRINGS].off + str.off, str.len);
}

/* Index of the entry with this key in the table, relative to its range, or WEIR_NONE; calls is_key(ctx, i) to compare. */
typedef bool snapshot_key_fn(const void *ctx, uint32_t index);
uint32_t snapshot_slot_find(const struct weir_snapshot *s, struct weir_range slots, uint64_t hash, snapshot_key_fn *is_key,
			    const void *ctx);

#endif
