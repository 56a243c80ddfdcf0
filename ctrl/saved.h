/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled routes, all their endpoint sets and the ways to pods as one run of
 * bytes: what weir-ctrl keeps on disk, to be served when it starts while the
 * API server is away. saver.h reads and writes the file.
 *
 *   struct saved_head | snapshot | endpoint set | endpoint set | ... | ways
 *
 * Each part begins at a multiple of 8, zeros between. There is a set for each
 * backend of the snapshot that has one, in the order of their ids. The checksum
 * finds what disks and crashes do; it is no proof of who wrote the file.
 */
#ifndef CTRL_SAVED_H
#define CTRL_SAVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/paths.h"
#include "weir/snapshot.h"

#define SAVED_MAGIC 0x4556415352494557ull /* "WEIRSAVE" */
#define SAVED_VERSION 1u
#define SAVED_MAX_BYTES (2ull << 30)

struct saved_head {
	uint64_t magic;
	uint32_t version; /* of this head, and of what follows it */
	uint16_t abi_major, abi_minor;
	uint64_t size;	   /* of the whole, this head included */
	uint64_t checksum; /* hash64() of the whole with this field zero */
	uint64_t source;   /* of where the objects came from */
	uint32_t n_sets;
	uint32_t reserved0;
	uint64_t paths_bytes; /* 0: there are no ways, as in a file of before them */
	uint64_t reserved1; /* zero */
};

/* X(enumerator, name, help) */
#define SAVED_REFUSALS(X) \
	X(OK, "ok", "nothing is wrong with it") \
	X(TRUNCATED, "truncated", "shorter or longer than its head says") \
	X(FOREIGN, "no-saved-routes", "it does not begin as one of Weir's does") \
	X(OTHER_VERSION, "other-version", "it was written by a Weir with another form of this file") \
	X(ABI, "other-abi", "its routes are of another version of the contract with the dataplane") \
	X(CHECKSUM, "wrong-checksum", "it is not as it was written") \
	X(SOURCE, "other-source", "it was saved from another API server, or from other namespaces or labels") \
	X(SNAPSHOT, "wrong-routes", "its routes are malformed") \
	X(SET, "wrong-endpoints", "one of its endpoint sets is malformed, or is nobody's") \
	X(PATHS, "wrong-paths", "its ways to pods are malformed") \
	X(OWNER, "other-owner", "it is another user's, or everybody may write it: its routes could be anybody's")

enum saved_refusal {
#define X(name, str, help) SAVED_##name,
	SAVED_REFUSALS(X)
#undef X
		SAVED_N_REFUSALS
};

/* Names of enum saved_refusal, and what they mean. */
const char *saved_refusal_name(enum saved_refusal r);
const char *saved_refusal_help(enum saved_refusal r);

/* Bytes that were checked. */
struct saved {
	const struct weir_snapshot *snapshot;
	uint32_t n_sets;
	const char *sets; /* the first one */
	const struct weir_paths *paths; /* NULL: there are none */
	size_t paths_bytes;
};

/*
 * Checks n bytes at an address that is a multiple of 8: all that is wrong with
 * them is found here, and what is right can be published. source: what they
 * have to be of, unless takes_any. Time and memory are bounded by n.
 */
enum saved_refusal saved_check(const void *bytes, size_t n, uint64_t source, bool takes_any, struct saved *out);
/* The set behind this one (NULL: the first one) of n_sets. */
const struct weir_endpoint_set *saved_next(const struct saved *s, const struct weir_endpoint_set *set);

/* The set of a backend, or NULL. */
typedef const struct weir_endpoint_set *saved_find_fn(const void *ctx, uint64_t backend_id);

struct saved_parts {
	const struct weir_snapshot *snapshot; /* checked */
	saved_find_fn *find;
	const void *ctx; /* of find */
	const struct weir_paths *paths; /* NULL: none */
	size_t paths_bytes;
};

/*
 * The snapshot, without its server names (private keys are not kept), and its sets and the ways as bytes, malloc'd, for the caller to free;
 * without a checksum, since that takes its time: saved_seal() adds it. 0,
 * -ENOMEM, or -EFBIG.
 */
int saved_make(const struct saved_parts *parts, uint64_t source, void **bytes, size_t *n);
void saved_seal(void *bytes, size_t n);

#endif
