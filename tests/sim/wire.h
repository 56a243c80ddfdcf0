/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments as the wire has them: read and written by code of its own, so that
 * the stack under test is not judged by its own parser.
 */
#ifndef SIM_WIRE_H
#define SIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

#define WIRE_FIN 0x01
#define WIRE_SYN 0x02
#define WIRE_RST 0x04
#define WIRE_PSH 0x08
#define WIRE_ACK 0x10
#define WIRE_URG 0x20
#define WIRE_ECE 0x40
#define WIRE_CWR 0x80

#define WIRE_HEADER_MIN 20
#define WIRE_MAX_SACK 4

struct wire_seg {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint8_t reserved;   /* the four bits beside the data offset */
	uint8_t header_len; /* read only: writing computes it */
	uint16_t wnd;	    /* as in the header */
	uint16_t urgent;
	uint32_t len; /* payload bytes */
	bool has_mss, has_wscale, has_sack_ok, has_ts;
	uint16_t mss;
	uint8_t wscale;
	uint8_t n_sack;
	uint32_t ts_val, ts_ecr;
	uint32_t sack[WIRE_MAX_SACK][2];
};

/* Reads the segment that begins m. False if a length in it is wrong, or an option that it knows has a wrong size. */
bool wire_parse(const struct rte_mbuf *m, struct wire_seg *out);

/* Sequence numbers that the segment takes up. */
static inline uint32_t wire_space(const struct wire_seg *s)
{
	return s->len + !!(s->flags & WIRE_SYN) + !!(s->flags & WIRE_FIN);
}

/*
 * A segment with s->len bytes of payload (NULL: zeroes) as an mbuf chain of
 * the pool; NULL if that is empty. Options are written in the order of
 * struct wire_seg, as many as fit into the header.
 */
struct rte_mbuf *wire_build(struct rte_mempool *pool, const struct wire_seg *s, const void *payload);

/* Overwrites the named options of the header in m by NOPs. */
enum { WIRE_STRIP_MSS = 1, WIRE_STRIP_WSCALE = 2, WIRE_STRIP_SACK_OK = 4, WIRE_STRIP_TS = 8 };
void wire_strip(struct rte_mbuf *m, unsigned what);

/* One line about a segment, its numbers relative to the bases; returns what snprintf() would. */
int wire_format(char *text, size_t n, const struct wire_seg *s, uint32_t seq_base, uint32_t ack_base);

#endif
