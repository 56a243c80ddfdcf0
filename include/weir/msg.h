/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How weir-ctrl and weir-dataplane talk.
 *
 * weir-ctrl connects to the dataplane's Unix socket (SOCK_SEQPACKET). The
 * dataplane checks the peer's uid (SO_PEERCRED) and answers with one struct
 * weir_hello that carries descriptors (SCM_RIGHTS): the region of this
 * connection (read-write, sealed against resizing), the statistics (stats.h,
 * read-only), and those that the sizes in the hello tell to be there, in this order: the
 * diagnostics (diag.h, read-only), the access log (accesslog.h, read-only).
 * Each connection gets a region of its own, and it is gone when the socket
 * closes, so neither side ever resumes half a state.
 *
 *   struct weir_region | to_dataplane ring | to_ctrl ring | arena
 *
 * A ring is single-producer single-consumer: the producer alone writes head,
 * the consumer alone writes tail, both free-running; slot i is
 * slots[i % n_slots]. Neither side trusts the other's index: a distance over
 * n_slots ends the connection. After putting something into a ring that may
 * be asleep, a side writes one byte to the socket (a doorbell; its content
 * means nothing).
 *
 * The arena is weir-ctrl's to divide. It writes a blob, sends its place, and
 * may use the place again once the dataplane has answered BLOB_DONE: by then
 * the dataplane has its own copy. The dataplane copies first and checks the
 * copy, so a blob that changes under it does no harm. The same goes for what
 * CONNECTIONS and CAPTURE name, until CONNECTIONS_DONE and CAPTURE_ON.
 *
 * A certificate that was taken stays with the dataplane while a snapshot that
 * names it is served, or until a snapshot is taken that does not. Then it is
 * forgotten: a later snapshot may name it only after it was sent again. A
 * snapshot that names one that is not there is refused (NO_CERTIFICATE).
 *
 * Minor version 1 had no PATHS: weir-ctrl does not send it to such a dataplane.
 * Minor version 0 had no diagnostics: two descriptors, a hello that ends before
 * diag_size, no messages 4 to 7 and 104 to 106. Each side speaks to it as before.
 */
#ifndef WEIR_MSG_H
#define WEIR_MSG_H

#include "weir/types.h"

#define WEIR_REGION_MAGIC 0x4e4f474552494557ull /* "WEIREGON" */
#define WEIR_RING_SLOTS 4096u

/* X(enumerator, value, name). To the dataplane below 100, to weir-ctrl from 100. */
#define WEIR_MSGS(X) \
	X(SNAPSHOT, 1, "snapshot")   /* off, size, id = generation */ \
	X(ENDPOINTS, 2, "endpoints") /* off, size, id = backend id, version */ \
	X(DRAIN, 3, "drain")	     /* stop accepting; no arguments */ \
	X(CONNECTIONS, 4, "connections") /* off, size: of a weir_conn_query; id: to be answered */ \
	X(CAPTURE, 5, "capture") /* off, size: of a weir_capture_spec; id: of the capture */ \
	X(CAPTURE_TAKEN, 6, "capture-taken") /* id = of the capture, off = worker, version = bytes of its ring read since the capture began */ \
	X(CAPTURE_STOP, 7, "capture-stop") /* id = of the capture; nothing if it is over */ \
	X(CERTIFICATE, 8, "certificate") /* off, size, id and version = the certificate's id */ \
	X(TICKET_KEYS, 9, "ticket-keys") /* off, size: of a weir_ticket_keys; id: of this set, to be answered */ \
	X(PATHS, 10, "paths") /* off, size: of a weir_paths; id: of this set, to be answered */ \
	X(BLOB_DONE, 100, "blob-done") /* off, size, id, version as sent; about: the type that it was sent as; status: enum weir_refusal */ \
	X(LIVE, 101, "live")	       /* id = generation that every worker now serves; t_us: from receipt to the last worker's swap */ \
	X(RETIRED, 102, "retired")     /* id = generation of which no worker holds anything any more */ \
	X(ENDPOINTS_LIVE, 103, "endpoints-live") /* id = backend id, version: every worker uses it */ \
	X(CONNECTIONS_DONE, 104, "connections-done") /* off, size, id as sent; status: if 0, the rows are there */ \
	X(CAPTURE_ON, 105, "capture-on") /* off, size, id as sent; status: if 0, it runs, and CAPTURE_OFF follows */ \
	X(CAPTURE_OFF, 106, "capture-off") /* id = of the capture: no worker writes any more */

enum weir_msg_type {
#define X(name, value, str) WEIR_MSG_##name = value,
	WEIR_MSGS(X)
#undef X
};

/* Why a blob or a message was refused; 0 is "taken". X(enumerator, name, help) */
#define WEIR_REFUSALS(X) \
	X(OK, "ok", "taken") \
	X(BAD_PLACE, "bad-place", "the place in the arena is out of bounds or misaligned") \
	X(TOO_BIG, "too-big", "larger than the dataplane accepts") \
	X(TRUNCATED, "truncated", "shorter than its own head says") \
	X(BAD_MAGIC, "bad-magic", "not a blob of this kind") \
	X(BAD_ABI, "bad-abi", "another major version of the contract") \
	X(BAD_CHECKSUM, "bad-checksum", "the checksum does not fit the bytes") \
	X(BAD_SECTION, "bad-section", "a section is out of bounds, misaligned or overlaps") \
	X(BAD_STRING, "bad-string", "a string is out of bounds or has bytes that it may not have") \
	X(BAD_RANGE, "bad-range", "a range or an index points outside its section") \
	X(BAD_VALUE, "bad-value", "an enumeration, weight, status or port is out of its values") \
	X(BAD_ORDER, "bad-order", "entries that must be sorted or unique are not") \
	X(BAD_SLOTS, "bad-slots", "a look-up table does not lead to its entries") \
	X(STALE, "stale", "not newer than what is served") \
	X(NO_MEMORY, "no-memory", "no memory for the workers' copies") \
	X(BUSY, "busy", "workers still hold too many old generations") \
	X(IN_USE, "in-use", "there is one of this kind already") \
	X(SWITCHED_OFF, "switched-off", "the dataplane's configuration does not allow it") \
	X(BAD_FILTER, "bad-filter", "the filter is not a program that always ends") \
	X(NO_CERTIFICATE, "no-certificate", "names a certificate that was not sent before")

enum weir_refusal {
#define X(name, str, help) WEIR_REFUSED_##name,
	WEIR_REFUSALS(X)
#undef X
		WEIR_N_REFUSALS
};

/* A ring message. Fields that a type does not use are 0. */
struct weir_msg {
	uint32_t type;	 /* enum weir_msg_type */
	uint32_t status; /* enum weir_refusal */
	uint64_t seq;	 /* grows by one with each message of this direction */
	uint64_t off;	 /* of the blob in the arena */
	uint64_t size;
	uint64_t id;
	uint64_t version;
	uint64_t t_us;
	uint64_t about; /* enum weir_msg_type */
};

struct weir_ring {
	uint64_t head; /* producer: w, consumer: r */
	uint64_t pad0[7];
	uint64_t tail; /* consumer: w, producer: r */
	uint64_t pad1[7];
	struct weir_msg slots[WEIR_RING_SLOTS];
};

/* The head of the region. Written once by the dataplane, before it is handed over. */
struct weir_region {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t n_workers;
	uint64_t size; /* of the whole region */
	uint64_t to_dataplane_off;
	uint64_t to_ctrl_off;
	uint64_t arena_off;
	uint64_t arena_size;
	uint64_t reserved[8];
};

/* What the dataplane sends on the socket at once after the connection. */
struct weir_hello {
	uint64_t magic; /* WEIR_REGION_MAGIC */
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t refused; /* 0; 1: this uid may not; 2: another weir-ctrl is connected. Then no descriptors follow */
	uint64_t region_size;
	uint64_t stats_size;
	uint64_t diag_size; /* from minor version 1 on */
	uint64_t log_size;  /* 0: no access log */
};

#define WEIR_HELLO_FDS 4 /* at most */

#define WEIR_HELLO_MIN 32u /* bytes: what minor version 0 sent */

#endif
