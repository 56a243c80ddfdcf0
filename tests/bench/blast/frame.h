/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as bytes: Ethernet, ARP, IPv4 and TCP, read and written. Addresses and ports in host order. */
#ifndef BLAST_FRAME_H
#define BLAST_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

#define FRAME_ARP_LEN 42
#define FRAME_HEAD_MAX (14 + 20 + 60)

struct tuple {
	uint32_t local, remote;
	uint16_t local_port, remote_port;
};

/* A TCP segment. In: from frame_read(), options included. Out: for frame_write_tcp(). */
struct segment {
	uint32_t src, dst;
	uint16_t src_port, dst_port;
	uint32_t seq, ack;
	uint16_t wnd; /* not scaled */
	uint8_t flags;
	bool has_ts, has_wscale;
	uint32_t ts_val, ts_ecr;
	uint8_t wscale;
	uint16_t mss; /* of a SYN; 0: none */
	uint32_t len; /* of the payload */
	const uint8_t *data;
};

struct arp {
	bool is_request;
	uint8_t mac[6]; /* of the sender */
	uint32_t sender, target;
};

enum frame_kind { FRAME_TCP, FRAME_ARP, FRAME_OTHER, FRAME_BAD };

/* verify: check the checksums too. BAD: truncated, malformed, or a wrong checksum. */
enum frame_kind frame_read(const uint8_t *p, size_t n, bool verify, struct segment *seg, struct arp *arp);

/* Length of all headers of this segment. */
unsigned frame_head_length(const struct segment *s);
/* Writes the headers in front of s->len bytes of payload, which are there already, checksums included. */
void frame_write_tcp(uint8_t *p, const struct segment *s, const uint8_t src_mac[6], const uint8_t dst_mac[6], uint16_t id);
/* An ARP packet of FRAME_ARP_LEN bytes. dst_mac NULL: to all. */
void frame_write_arp(uint8_t *p, bool is_request, const uint8_t src_mac[6], const uint8_t *dst_mac, uint32_t sender,
		     uint32_t target);

/* Sum of 16-bit words as they lie in memory, to be folded; for checksums of pieces of even length. */
uint64_t frame_sum(const void *p, size_t n, uint64_t sum);

#endif
