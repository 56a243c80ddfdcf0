/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking into the workers while they run: lists of connections and captured
 * packets.
 *
 * weir-ctrl asks by a message (msg.h) that names a struct weir_conn_query or
 * weir_capture_spec in the arena; the dataplane copies it and checks the copy.
 * What the workers find lies in the diagnostics region: made by the dataplane
 * at its start, mapped read-only by weir-ctrl, the same for all connections.
 *
 *   struct weir_diag_region | struct weir_diag_worker[n] | rows[n] | rings[n]
 *
 * Rows belong to the last walk; they may be read from CONNECTIONS_DONE until
 * the next CONNECTIONS is sent. A ring is a sequence of struct weir_capture_record,
 * each followed by its bytes; the worker writes at head, and weir-ctrl, which
 * cannot write here, says by CAPTURE_TAKEN how far it has read. A ring that is
 * full costs captured packets, which are counted, and nothing else.
 */
#ifndef WEIR_DIAG_H
#define WEIR_DIAG_H

#include "weir/types.h"

#define WEIR_DIAG_MAGIC 0x4741494452494557ull /* "WEIRDIAG" */
#define WEIR_ALL_WORKERS UINT32_MAX

#define WEIR_CONN_ROWS 4096u /* of each worker */

/* RFC 9293 3.3.2, X(enumerator, name) */
#define WEIR_CONN_STATES(X) \
	X(CLOSED, "closed") \
	X(SYN_SENT, "syn-sent") \
	X(SYN_RECEIVED, "syn-received") \
	X(ESTABLISHED, "established") \
	X(FIN_WAIT_1, "fin-wait-1") \
	X(FIN_WAIT_2, "fin-wait-2") \
	X(CLOSE_WAIT, "close-wait") \
	X(CLOSING, "closing") \
	X(LAST_ACK, "last-ack") \
	X(TIME_WAIT, "time-wait")

enum weir_conn_state {
#define X(name, str) WEIR_CONN_##name,
	WEIR_CONN_STATES(X)
#undef X
		WEIR_N_CONN_STATES
};

/* What a connection carries, X(enumerator, name). NONE: nothing yet, or no more: SYN-RECEIVED, TIME-WAIT. */
#define WEIR_CONN_PROTOCOLS(X) \
	X(NONE, "none") \
	X(HTTP, "http") \
	X(TUNNEL, "tunnel") /* bytes of another protocol, after an Upgrade; of the client's connection and of the endpoint's */

enum weir_conn_protocol {
#define X(name, str) WEIR_CONN_PROTOCOL_##name,
	WEIR_CONN_PROTOCOLS(X)
#undef X
		WEIR_N_CONN_PROTOCOLS
};

/* What the first rows are the largest of, X(enumerator, name). NONE: rows come as the table has them. */
#define WEIR_CONN_SORTS(X) \
	X(NONE, "none") \
	X(RTT, "rtt") \
	X(CWND, "cwnd") \
	X(RETRANSMITS, "retransmits") \
	X(QUEUE, "queue") /* bytes unacknowledged, unsent and unread */ \
	X(IDLE, "idle")

enum weir_conn_sort {
#define X(name, str) WEIR_SORT_##name,
	WEIR_CONN_SORTS(X)
#undef X
		WEIR_N_CONN_SORTS
};

/* Which connections, and how many rows at most. ctrl: w, dataplane: r, a copy */
struct weir_conn_query {
	uint32_t worker; /* or WEIR_ALL_WORKERS */
	uint32_t states; /* bits 1 << enum weir_conn_state; not 0 */
	uint32_t sort;	 /* enum weir_conn_sort */
	uint32_t limit;	 /* rows of each worker: 1 to WEIR_CONN_ROWS */
	struct weir_ip peer;
	uint32_t peer_len; /* of the prefix, in the address's own family; 0: any peer of any family */
	uint16_t port;	   /* local or remote; 0: any */
	uint16_t protocols; /* bits 1 << enum weir_conn_protocol; 0: any */
	uint64_t reserved[4]; /* 0 */
};

#define WEIR_CONN_TIMESTAMPS 0x01u
#define WEIR_CONN_SACK 0x02u
#define WEIR_CONN_ECN 0x04u

/* A connection as it was when the walk passed. Sizes in bytes. */
struct weir_conn_row {
	struct weir_ip local, remote;
	uint16_t local_port, remote_port;
	uint8_t state; /* enum weir_conn_state */
	uint8_t flags;
	uint8_t snd_wscale, rcv_wscale;
	uint8_t backoff; /* timeouts in a row */
	uint8_t protocol; /* enum weir_conn_protocol */
	uint16_t mss;
	uint32_t retransmits;
	char cc[12];	   /* names, NUL terminated; empty: not known */
	char recovery[12];
	uint32_t srtt_us, rttvar_us, min_rtt_us, rto_us; /* 0: not measured */
	uint32_t cwnd, ssthresh;
	uint32_t snd_wnd, rcv_wnd;
	uint32_t unacked, unsent;	/* send queue */
	uint32_t flying, lost, sacked;	/* of what is not acknowledged */
	uint32_t readable, out_of_order; /* receive queue */
	uint32_t reserved1;
	uint64_t pacing_Bps; /* bytes a second; 0: not paced */
	uint64_t idle_us;    /* since the peer's last segment */
	uint64_t reserved[2];
};

/* -- captures */

#define WEIR_FILTER_MAX 256u	   /* instructions */
#define WEIR_CAPTURE_BYTES_MAX 65535u
#define WEIR_CAPTURE_MAX_US 3600000000ull
#define WEIR_CAPTURE_ALIGN 32u	   /* of records */
#define WEIR_CAPTURE_SKIP UINT32_MAX /* record.caplen: nothing more up to the ring's end */

/* An instruction of the classic packet filter, as bpf(4), struct bpf_insn and tcpdump -ddd have it. */
struct weir_bpf_insn {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

/* ctrl: w, dataplane: r, a copy */
struct weir_capture_spec {
	uint32_t worker;      /* or WEIR_ALL_WORKERS */
	uint32_t snaplen;     /* bytes of a packet at most: 1 to WEIR_CAPTURE_BYTES_MAX */
	uint64_t count;	      /* packets of each worker, then it stops; 0: no limit */
	uint64_t duration_us; /* then all stop: 1 to WEIR_CAPTURE_MAX_US */
	uint32_t n_insns;     /* 0: every packet; else the frame with its Ethernet header is the program's input */
	uint32_t reserved0;
	uint64_t reserved[4]; /* 0 */
	struct weir_bpf_insn insns[WEIR_FILTER_MAX];
};

enum weir_capture_direction {
	WEIR_CAPTURE_IN = 1, /* received, before anything looked at it */
	WEIR_CAPTURE_OUT,    /* given to the port; checksums and segments that are the device's work are not yet there */
};

/* Stands at a multiple of WEIR_CAPTURE_ALIGN, its bytes behind it; together they never pass the ring's end. */
struct weir_capture_record {
	uint64_t time_us; /* Unix time */
	uint32_t len;	  /* of the packet */
	uint32_t caplen;  /* bytes that follow, or WEIR_CAPTURE_SKIP */
	uint8_t direction;
	uint8_t port; /* index in weir_stats_region.port */
	uint16_t reserved0;
	uint32_t reserved1;
	uint64_t reserved2;
};

/* What one worker tells. worker: w, all others: r */
struct weir_diag_worker {
	uint64_t walk_id; /* of the CONNECTIONS that the rows answer */
	uint64_t n_walked; /* connections looked at */
	uint64_t n_matched;
	uint32_t n_rows;
	uint32_t reserved0;
	uint64_t pad0[4];
	uint64_t head; /* bytes written to the ring since the capture began; the next record is at head % ring_size */
	uint64_t n_captured, n_dropped; /* of this capture: in the ring; not, as it was full */
	uint64_t pad1[5];
} __attribute__((aligned(128)));

/* main: w, at the dataplane's start */
struct weir_diag_region {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t n_workers;
	uint64_t size;
	uint64_t workers_off;
	uint64_t rows_off; /* of struct weir_conn_row[n_workers][n_rows] */
	uint32_t n_rows;
	uint32_t row_size;
	uint64_t rings_off;
	uint64_t ring_size; /* of each worker's; 0: captures are switched off */
	uint64_t reserved[8];
};

#endif
