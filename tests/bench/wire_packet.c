// SPDX-License-Identifier: Apache-2.0
/* What of a frame matters to the wire: ports, sequence numbers, SACK blocks, ECN. */
#include "wire.h"

#define ETH_LEN 14
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

static void parse_sack(const uint8_t *opt, unsigned len, struct packet *out)
{
	for (unsigned at = 2; at + 8 <= len && out->n_sack < WIRE_MAX_SACK; at += 8) {
		out->sack[out->n_sack][0] = be32(opt + at);
		out->sack[out->n_sack][1] = be32(opt + at + 4);
		out->n_sack++;
	}
}

static void parse_options(const uint8_t *p, size_t n, struct packet *out)
{
	size_t at = 0;

	while (at < n && p[at] != 0) {
		if (p[at] == 1) {
			at++;
			continue;
		}
		if (n - at < 2 || p[at + 1] < 2 || p[at + 1] > n - at)
			return;
		if (p[at] == 5)
			parse_sack(p + at, p[at + 1], out);
		at += p[at + 1];
	}
}

/* n: bytes of the segment by the IP header; there: those that are in the frame. */
static void parse_transport(const uint8_t *p, size_t n, size_t there, uint8_t proto, struct packet *out)
{
	if ((proto == PROTO_TCP || proto == PROTO_UDP) && there >= 4) {
		out->src_port = (uint16_t)be16(p);
		out->dst_port = (uint16_t)be16(p + 2);
	}
	if (proto == PROTO_ICMP6 && there >= 1)
		out->is_exempt = p[0] >= 133 && p[0] <= 137; /* RFC 4861 */
	if (proto != PROTO_TCP || there < 20)
		return;

	size_t header = (p[12] >> 4) * 4u;

	if (header < 20 || header > there || header > n)
		return;
	out->is_tcp = true;
	out->seq = be32(p + 4);
	out->ack = be32(p + 8);
	out->flags = p[13];
	out->wnd = be16(p + 14);
	out->len = (uint32_t)(n - header);
	parse_options(p + 20, header - 20, out);
}

void packet_parse(const uint8_t *frame, size_t n, struct packet *out)
{
	*out = (struct packet){0};
	if (n < ETH_LEN)
		return;

	const uint8_t *ip = frame + ETH_LEN;
	size_t there = n - ETH_LEN;
	uint32_t type = be16(frame + 12);

	if (type == 0x0800 && there >= 20) {
		size_t header = (ip[0] & 15) * 4u, total = be16(ip + 2);

		if (header < 20 || header > there || total < header)
			return;
		out->is_ip = true;
		if ((be16(ip + 6) & 0x1fff) == 0) /* a first fragment, or no fragment */
			parse_transport(ip + header, total - header, there - header, ip[9], out);
	} else if (type == 0x86dd && there >= 40) {
		out->is_ip = true;
		parse_transport(ip + 40, be16(ip + 4), there - 40, ip[6], out);
	} else {
		out->is_exempt = true; /* ARP, and what else is not IP */
	}
}

bool packet_mark_ce(uint8_t *frame, size_t n)
{
	uint8_t *ip = frame + ETH_LEN;

	if (n >= ETH_LEN + 20 && be16(frame + 12) == 0x0800 && (ip[1] & 3)) {
		uint32_t old = be16(ip), sum = be16(ip + 10) ^ 0xffff;

		ip[1] |= 3;
		/* RFC 1624 3 */
		sum += (old ^ 0xffff) + be16(ip);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = ((sum & 0xffff) + (sum >> 16)) ^ 0xffff;
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
		return true;
	}
	if (n >= ETH_LEN + 40 && be16(frame + 12) == 0x86dd && (ip[1] & 0x30)) {
		ip[1] |= 0x30;
		return true;
	}
	return false;
}
