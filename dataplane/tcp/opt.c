/* SPDX-License-Identifier: Apache-2.0 */
/* The TCP header's options: MSS (RFC 9293 3.7.1), window scale and time stamps (RFC 7323), SACK (RFC 2018). */
#include <string.h>

#include <rte_byteorder.h>

#include "tcp/tcp_pvt.h"

enum { OPT_END = 0, OPT_NOP = 1, OPT_MSS = 2, OPT_WSCALE = 3, OPT_SACK_PERMITTED = 4, OPT_SACK = 5, OPT_TS = 8 };

static uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return rte_be_to_cpu_32(v);
}

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint8_t *store32(uint8_t *p, uint32_t v)
{
	v = rte_cpu_to_be_32(v);
	memcpy(p, &v, 4);
	return p + 4;
}

/* An option with the wrong length for its kind is ignored, as others do; one that leaves the header is malformed. */
static void take_option(const uint8_t *o, unsigned len, struct tcp_segment *seg)
{
	switch (o[0]) {
	case OPT_MSS:
		if (len == 4 && (seg->flags & FLAG_SYN)) {
			seg->has_mss = true;
			seg->mss = load16(o + 2);
		}
		break;
	case OPT_WSCALE:
		if (len == 3 && (seg->flags & FLAG_SYN)) {
			seg->has_wscale = true;
			seg->wscale = o[2] > 14 ? 14 : o[2]; /* RFC 7323 2.3 */
		}
		break;
	case OPT_SACK_PERMITTED:
		if (len == 2 && (seg->flags & FLAG_SYN))
			seg->has_sack_permitted = true;
		break;
	case OPT_SACK:
		if (len >= 10 && (len - 2) % 8 == 0 && !(seg->flags & FLAG_SYN))
			for (unsigned i = 2; i < len && seg->n_sack < TCP_MAX_SACK_RX; i += 8) {
				seg->sack[seg->n_sack][0] = load32(o + i);
				seg->sack[seg->n_sack++][1] = load32(o + i + 4);
			}
		break;
	case OPT_TS:
		if (len == 10) {
			seg->has_ts = true;
			seg->ts_val = load32(o + 2);
			seg->ts_ecr = load32(o + 6);
		}
		break;
	default:
		break;
	}
}

bool opt_parse(const uint8_t *h, size_t n, struct tcp_segment *seg)
{
	unsigned end;

	memset(seg, 0, sizeof(*seg));
	if (n < TCP_HEADER_MIN)
		return false;
	end = (unsigned)(h[12] >> 4) * 4;
	if (end < TCP_HEADER_MIN || end > n)
		return false;
	seg->seq = load32(h + 4);
	seg->ack = load32(h + 8);
	seg->flags = h[13];
	seg->wnd = load16(h + 14);
	seg->header_len = (uint8_t)end;
	for (unsigned i = TCP_HEADER_MIN; i < end;) {
		unsigned len;

		if (h[i] == OPT_END)
			break;
		if (h[i] == OPT_NOP) {
			i++;
			continue;
		}
		if (i + 1 >= end)
			return false;
		len = h[i + 1];
		if (len < 2 || i + len > end)
			return false;
		take_option(h + i, len, seg);
		i += len;
	}
	return true;
}

static uint8_t *write_ts(uint8_t *p, uint32_t ts_val, uint32_t ts_ecr)
{
	*p++ = OPT_TS;
	*p++ = 10;
	p = store32(p, ts_val);
	return store32(p, ts_ecr);
}

unsigned opt_write_ts(uint8_t *p, uint32_t ts_val, uint32_t ts_ecr)
{
	*p++ = OPT_NOP;
	*p++ = OPT_NOP;
	write_ts(p, ts_val, ts_ecr);
	return 12;
}

unsigned opt_write_syn(uint8_t *p, const struct opt_syn *o)
{
	uint8_t *q = p;

	*q++ = OPT_MSS;
	*q++ = 4;
	*q++ = (uint8_t)(o->mss >> 8);
	*q++ = (uint8_t)o->mss;
	if (o->has_sack) {
		*q++ = OPT_SACK_PERMITTED;
		*q++ = 2;
	} else {
		*q++ = OPT_NOP;
		*q++ = OPT_NOP;
	}
	if (o->has_ts) {
		q = write_ts(q, o->ts_val, o->ts_ecr);
	} else {
		*q++ = OPT_NOP;
		*q++ = OPT_NOP;
	}
	if (o->has_wscale) {
		*q++ = OPT_NOP;
		*q++ = OPT_WSCALE;
		*q++ = 3;
		*q++ = o->wscale;
	}
	return (unsigned)(q - p);
}

/* The blocks to tell: a duplicate first (RFC 2883 4), then what waits behind gaps. */
static unsigned sack_blocks(const struct tcp_conn *c, uint32_t (*blocks)[2], unsigned max)
{
	unsigned n = 0;

	if (c->dsack[0] != c->dsack[1]) {
		blocks[0][0] = c->dsack[0];
		blocks[n++][1] = c->dsack[1];
	}
	return n + rcvq_sack_blocks(c, blocks + n, max - n);
}

unsigned opt_write(uint8_t *p, const struct tcp_conn *c, uint32_t ts_val, bool with_sack)
{
	uint32_t blocks[TCP_MAX_SACK][2];
	unsigned n = with_sack && c->has_sack ? sack_blocks(c, blocks, c->has_ts ? 3 : 4) : 0;
	uint8_t *q = p;

	if (c->has_ts)
		q += opt_write_ts(q, ts_val, c->ts_recent);
	if (n) {
		*q++ = OPT_NOP;
		*q++ = OPT_NOP;
		*q++ = OPT_SACK;
		*q++ = (uint8_t)(2 + 8 * n);
		for (unsigned i = 0; i < n; i++) {
			q = store32(q, blocks[i][0]);
			q = store32(q, blocks[i][1]);
		}
	}
	return (unsigned)(q - p);
}
