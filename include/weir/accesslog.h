/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: one record for each request, however it ended, in a ring of
 * each worker; of one that became a tunnel, when that has ended. The region is made by the dataplane at its start and mapped
 * read-only by weir-ctrl, the same for all connections; there is none if
 * weir.yaml's memory: access_log_kb is 0.
 *
 *   struct weir_log_region | struct weir_log_worker[n] | struct weir_log_record[n][n_slots]
 *
 * A worker asks nobody: record number i (from 0) overwrites record i - n_slots
 * in slot i % n_slots. It writes
 *
 *   slot.seq = 0 (relaxed), release fence, the record, slot.seq = i + 1 (release), head = i + 1 (release)
 *
 * and a reader that has read everything before number i reads
 *
 *   head (acquire): up to there there are records. head - i > n_slots: those between are lost
 *   slot.seq (acquire) is i + 1, a copy, acquire fence, slot.seq (relaxed) still is: the copy is good
 *   else it was overwritten meanwhile, and record i is lost
 *
 * so that each record is either read whole or known to be lost.
 */
#ifndef WEIR_ACCESSLOG_H
#define WEIR_ACCESSLOG_H

#include "weir/types.h"

#define WEIR_LOG_MAGIC 0x4c43434152494557ull /* "WEIRACCL" */

#define WEIR_LOG_RECORD 1024u /* bytes of a slot */
#define WEIR_LOG_NEVER UINT32_MAX /* a time: this did not happen */
#define WEIR_LOG_TLS_FAILED 1u /* a version: the session had failed before the request ended, and what it had agreed on is not known any more */

/*
 * Texts of a record, one behind another in this order, without NUL. Each has
 * its bound, and all of them the record's: what does not fit is cut, and TRUNCATED set.
 * X(enumerator, name, bytes at most)
 */
#define WEIR_LOG_TEXTS(X) \
	X(METHOD, "method", 24) \
	X(HOST, "host", 255) \
	X(ROUTE_KIND, "route_kind", 16) \
	X(ROUTE_NS, "route_namespace", 63) \
	X(ROUTE_NAME, "route_name", 120) \
	X(BACKEND, "backend", 160) \
	X(REQUEST_ID, "request_id", 128) \
	X(DETAIL, "detail", 64) /* of the reason */ \
	X(TLS_CIPHER, "cipher", 48) /* IANA's name of the suite; with tls_version */ \
	X(TLS_SERVER_NAME, "server_name", 255) /* that the client gave; with tls_version */ \
	X(TARGET, "target", 400) /* path and query */ \
	X(USER_AGENT, "user_agent", 200) \
	X(REFERER, "referer", 200)

/* How the keys of a connection were agreed on, of what Weir offers. X(number, name), both as IANA has them */
#define WEIR_LOG_TLS_GROUPS(X) \
	X(0x0017, "secp256r1") \
	X(0x0018, "secp384r1") \
	X(0x001d, "x25519") \
	X(0x11ec, "X25519MLKEM768")

enum weir_log_text {
#define X(name, str, max) WEIR_LOG_##name,
	WEIR_LOG_TEXTS(X)
#undef X
		WEIR_N_LOG_TEXTS
};

enum weir_log_text_max {
#define X(name, str, max) WEIR_LOG_##name##_MAX = max,
	WEIR_LOG_TEXTS(X)
#undef X
};

/* X(enumerator, value, name) */
#define WEIR_LOG_FLAGS(X) \
	X(KEEP_ALIVE, 0x001, "keep_alive") /* the client's connection goes on */ \
	X(UPGRADED, 0x002, "upgraded")	   /* the connection became a tunnel; bytes and end are the tunnel's */ \
	X(MIRRORED, 0x004, "mirrored")	   /* a copy was sent elsewhere */ \
	X(REDIRECTED, 0x008, "redirected") /* a filter answered */ \
	X(OWN, 0x010, "own")		   /* the answer is Weir's own */ \
	X(RETRIED, 0x020, "retried")	   /* more than one try at endpoints */ \
	X(REUSED, 0x040, "reused")	   /* the last try took an idle connection */ \
	X(CUT, 0x080, "cut")		   /* the client did not get a whole answer */ \
	X(TRUNCATED, 0x100, "truncated")   /* a text of this record is cut */ \
	X(HEAD, 0x200, "head")		   /* the request's head was complete */ \
	X(EARLY_DATA, 0x1000, "early_data") /* served as early data, before the client's TLS handshake was complete */ \
	X(STREAM, 0x800, "stream")	   /* a connection of bytes, no request; bytes and end are the tunnel's, host is the server name */ \
	X(LONG, 0x400, "long")		   /* of a tunnel that was open for more than an hour: its end is long_end_us */

enum weir_log_flag {
#define X(name, value, str) WEIR_LOG_##name##_FLAG = value,
	WEIR_LOG_FLAGS(X)
#undef X
};

/* worker: w, all others: r */
struct weir_log_record {
	uint64_t seq;	     /* number of the record + 1; 0: it is being written */
	uint64_t start_us;   /* Unix time of the request's first byte */
	uint64_t generation; /* of the snapshot that routed it; 0: none did */
	uint64_t backend_id; /* 0: none */
	uint64_t request_bytes, response_bytes; /* of bodies, relayed; without framing. Of a tunnel: what it carried to the endpoint, and to the client */
	uint32_t request_head_bytes, response_head_bytes;
	/* microseconds since start, or WEIR_LOG_NEVER; a worker reads its clock once an iteration */
	uint32_t head_us;      /* the head was complete, and a route was looked up */
	uint32_t connected_us; /* the connection of the last try was there */
	uint32_t sent_us;      /* the whole request was given to it */
	uint32_t first_us;     /* the first byte of its answer came */
	uint32_t end_us;
	uint32_t flags;	       /* enum weir_log_flag */
	uint32_t rule;	       /* of the route, from 0 */
	uint16_t status;       /* that the client was sent; 0: none */
	uint16_t reason_plus1; /* enum weir_reason + 1; 0: it ended well */
	struct weir_ip client, local, endpoint; /* endpoint: of the last try; zero: none */
	uint16_t client_port, local_port, endpoint_port;
	uint8_t minor; /* HTTP/1.minor, with flag HEAD */
	uint8_t n_tries;
	uint16_t len[WEIR_N_LOG_TEXTS]; /* of each text */
	uint16_t tls_version; /* of the client's connection, as RFC 8446 has it: 0x0303, 0x0304, or TLS_FAILED; 0: it has no TLS, its scheme is http */
	uint8_t tls_is_resumed;
	uint8_t reserved0;
	uint16_t tls_group; /* a number of WEIR_LOG_TLS_GROUPS; 0: not known */
	struct weir_ip forwarded_client; /* who the client is as trusted hops tell; else the same as client, or zero */
	union {
		char text[WEIR_LOG_RECORD - 192];
		struct {
			char text_if_long[WEIR_LOG_RECORD - 200];
			uint64_t long_end_us; /* with flag LONG, in the place of end_us */
		};
	};
};

/* worker: w but where it says otherwise, all others: r */
struct weir_log_worker {
	uint64_t head; /* records written */
	uint64_t pad0[15];
	uint64_t unix_offset_us; /* main: w, worker: r. Unix time of the worker's clock at 0 */
	uint64_t pad1[15];
} __attribute__((aligned(128)));

/* main: w, at the dataplane's start */
struct weir_log_region {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t n_workers;
	uint64_t size;
	uint64_t workers_off;
	uint64_t records_off;
	uint32_t n_slots; /* of each worker */
	uint32_t record_size;
	uint64_t instance; /* of this dataplane: another one has another number */
	uint64_t reserved[8];
};

#endif
