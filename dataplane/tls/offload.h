/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private-key operations of handshakes, done by a device that the process has once: an ENGINE of OpenSSL or a provider, or none.
 * Only those are given away: ECDHE, the key schedule and records are cheaper here. What a worker does with the device is in
 * offload.c; whatever the device does, or does not do, each operation given to it ends in exactly one of the counters
 * tls_offload_completed and tls_offload_failed, or is counted by the gauge tls_offload_in_flight.
 */
#ifndef TLS_OFFLOAD_H
#define TLS_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OFFLOAD_MAX_COMMANDS 16
#define OFFLOAD_JOB_BYTES 40960u /* a job of OpenSSL with its stack (32 KiB) and what it keeps, about */

/* X(enumerator, name in weir.yaml) */
#define OFFLOAD_KINDS(X) \
	X(SOFTWARE, "software") \
	X(ENGINE, "engine") \
	X(PROVIDER, "provider")

enum offload_kind {
#define X(name, str) OFFLOAD_##name,
	OFFLOAD_KINDS(X)
#undef X
};

struct offload_command {
	char name[48];
	char value[128]; /* "": it takes none */
};

struct offload_config {
	enum offload_kind kind;
	bool required; /* the dataplane does not start without it */
	char engine_id[64];
	char engine_path[256]; /* of the shared object; "": OpenSSL finds the engine by its id */
	unsigned n_commands;
	struct offload_command commands[OFFLOAD_MAX_COMMANDS]; /* in this order, before the engine is initialised */
	char provider[64];
	char properties[128]; /* by which its algorithms are chosen, such as "?provider=qatprovider" */
	uint32_t n_jobs;      /* of a worker: operations under way at one time */
	uint32_t timeout_ms;  /* of an operation */
	uint32_t retry_ms;    /* until a device that is down is tried again */
};

struct offload_device;

/* Of main, once, before workers are made. NULL: why (of n bytes) says so. Not for kind SOFTWARE. */
struct offload_device *offload_open(const struct offload_config *config, char *why, size_t n);
/* No worker uses it any more. NULL is allowed. */
void offload_close(struct offload_device *d);
const char *offload_kind_name(enum offload_kind kind);
/*
 * What this process's OpenSSL has: its version, and the groups that servers here offer; why there is none that resists
 * quantum computers, or "".
 */
void offload_describe_openssl(char *version, size_t n_version, char *groups, size_t n_groups, char *why, size_t n_why);

#endif
