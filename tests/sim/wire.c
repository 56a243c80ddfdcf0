/* SPDX-License-Identifier: Apache-2.0 */
/* Segments as the wire has them. See wire.h. */
#include "wire.h"

#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

enum { OPT_END = 0, OPT_NOP = 1, OPT_MSS = 2, OPT_WSCALE = 3, OPT_SACK_OK = 4, OPT_SACK = 5, OPT_TS = 8 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint8_t *put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, (uint16_t)(v >> 16)), (uint16_t)v);
}

static bool read_option(const uint8_t *o, unsigned len, struct wire_seg *s)
{
	switch (o[0]) {
	case OPT_MSS:
		s->has_mss = true;
		s->mss = len == 4 ? get16(o + 2) : 0;
		return len == 4;
	case OPT_WSCALE:
		s->has_wscale = true;
		s->wscale = o[2];
		return len == 3;
	case OPT_SACK_OK:
		s->has_sack_ok = true;
		return len == 2;
	case OPT_SACK:
		if (len < 10 || (len - 2) % 8 || (len - 2) / 8 > WIRE_MAX_SACK)
			return false;
		s->n_sack = (uint8_t)((len - 2) / 8);
		for (unsigned i = 0; i < s->n_sack; i++) {
			s->sack[i][0] = get32(o + 2 + 8 * i);
			s->sack[i][1] = get32(o + 6 + 8 * i);
		}
		return true;
	case OPT_TS:
		if (len != 10)
			return false;
		s->has_ts = true;
		s->ts_val = get32(o + 2);
		s->ts_ecr = get32(o + 6);
		return true;
	default:
		return true;
	}
}

bool wire_parse(const struct rte_mbuf *m, struct wire_seg *s)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned end;

	memset(s, 0, sizeof(*s));
	if (m->data_len < WIRE_HEADER_MIN)
		return false;
	s->sport = get16(h);
	s->dport = get16(h + 2);
	s->seq = get32(h + 4);
	s->ack = get32(h + 8);
	end = (unsigned)(h[12] >> 4) * 4;
	s->reserved = h[12] & 15;
	s->flags = h[13];
	s->wnd = get16(h + 14);
	s->urgent = get16(h + 18);
	if (end < WIRE_HEADER_MIN || end > m->data_len)
		return false;
	s->header_len = (uint8_t)end;
	s->len = m->pkt_len - end;
	for (unsigned i = WIRE_HEADER_MIN; i < end && h[i] != OPT_END;) {
		if (h[i] == OPT_NOP) {
			i++;
			continue;
		}
		if (i + 2 > end || h[i + 1] < 2 || i + h[i + 1] > end)
			return false;
		if (!read_option(h + i, h[i + 1], s))
			return false;
		i += h[i + 1];
	}
	return true;
}

static unsigned write_options(uint8_t *o, const struct wire_seg *s)
{
	uint8_t *p = o;

	if (s->has_mss) {
		*p++ = OPT_MSS;
		*p++ = 4;
		p = put16(p, s->mss);
	}
	if (s->has_wscale) {
		*p++ = OPT_NOP;
		*p++ = OPT_WSCALE;
		*p++ = 3;
		*p++ = s->wscale;
	}
	if (s->has_sack_ok) {
		*p++ = OPT_NOP;
		*p++ = OPT_NOP;
		*p++ = OPT_SACK_OK;
		*p++ = 2;
	}
	if (s->has_ts) {
		*p++ = OPT_NOP;
		*p++ = OPT_NOP;
		*p++ = OPT_TS;
		*p++ = 10;
		p = put32(p, s->ts_val);
		p = put32(p, s->ts_ecr);
	}
	if (s->n_sack) {
		unsigned room = (40u - (unsigned)(p - o)) / 4;
		unsigned n = s->n_sack;

		if (room < 1 || n > (room - 1) / 2)
			n = room < 1 ? 0 : (room - 1) / 2;
		if (n) {
			*p++ = OPT_NOP;
			*p++ = OPT_NOP;
			*p++ = OPT_SACK;
			*p++ = (uint8_t)(2 + 8 * n);
		}
		for (unsigned i = 0; i < n; i++)
			p = put32(put32(p, s->sack[i][0]), s->sack[i][1]);
	}
	return (unsigned)(p - o);
}

static bool append_payload(struct rte_mempool *pool, struct rte_mbuf *head, const uint8_t *payload, uint32_t n)
{
	struct rte_mbuf *last = head;

	while (n) {
		uint16_t k = rte_pktmbuf_tailroom(last);

		if (k == 0) {
			last->next = rte_pktmbuf_alloc(pool);
			if (!last->next)
				return false;
			last = last->next;
			head->nb_segs++;
			continue;
		}
		if (k > n)
			k = (uint16_t)n;
		if (payload)
			memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), payload, k);
		else
			memset(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), 0, k);
		last->data_len = (uint16_t)(last->data_len + k);
		head->pkt_len += k;
		payload = payload ? payload + k : NULL;
		n -= k;
	}
	return true;
}

struct rte_mbuf *wire_build(struct rte_mempool *pool, const struct wire_seg *s, const void *payload)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t options[64] = {0}; /* 40 at most are used; the compiler cannot know */
	unsigned header = WIRE_HEADER_MIN + (write_options(options, s) + 3) / 4 * 4;
	uint8_t *h;

	if (!m)
		return NULL;
	h = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)header);
	put16(h, s->sport);
	put16(h + 2, s->dport);
	put32(h + 4, s->seq);
	put32(h + 8, s->ack);
	h[12] = (uint8_t)(header / 4 << 4 | s->reserved);
	h[13] = s->flags;
	put16(h + 14, s->wnd);
	put16(h + 16, 0);
	put16(h + 18, s->urgent);
	memcpy(h + WIRE_HEADER_MIN, options, header - WIRE_HEADER_MIN);
	if (!append_payload(pool, m, payload, s->len)) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	return m;
}

void wire_strip(struct rte_mbuf *m, unsigned what)
{
	static const uint8_t kinds[4] = {OPT_MSS, OPT_WSCALE, OPT_SACK_OK, OPT_TS};
	uint8_t *h = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned end = (unsigned)(h[12] >> 4) * 4;

	for (unsigned i = WIRE_HEADER_MIN; i < end && h[i] != OPT_END;) {
		unsigned len = h[i] == OPT_NOP ? 1 : h[i + 1];

		for (unsigned k = 0; k < 4; k++)
			if ((what & 1u << k) && h[i] == kinds[k]) {
				memset(h + i, OPT_NOP, len);
				break;
			}
		i += len;
	}
}

int wire_format(char *text, size_t n, const struct wire_seg *s, uint32_t seq_base, uint32_t ack_base)
{
	static const char letters[8] = {'F', 'S', 'R', 'P', '.', 'U', 'E', 'C'};
	char flags[9];
	unsigned k = 0;
	int at;

	for (unsigned i = 0; i < 8; i++)
		if (s->flags & 1u << i)
			flags[k++] = letters[i];
	flags[k] = 0;
	at = snprintf(text, n, "%5u > %-5u [%s] seq %d:%d ack %d wnd %u", s->sport, s->dport, flags, (int)(s->seq - seq_base),
		      (int)(s->seq + s->len - seq_base), (s->flags & WIRE_ACK) ? (int)(s->ack - ack_base) : 0, s->wnd);
#define ADD(...) \
	do { \
		if (at > 0 && (size_t)at < n) \
			at += snprintf(text + at, n - (size_t)at, __VA_ARGS__); \
	} while (0)
	if (s->has_mss)
		ADD(" mss %u", s->mss);
	if (s->has_wscale)
		ADD(" wscale %u", s->wscale);
	if (s->has_sack_ok)
		ADD(" sackOK");
	if (s->has_ts)
		ADD(" ts %u:%u", s->ts_val, s->ts_ecr);
	for (unsigned i = 0; i < s->n_sack; i++)
		ADD("%s%d:%d", i ? "," : " sack ", (int)(s->sack[i][0] - ack_base), (int)(s->sack[i][1] - ack_base));
	if (s->flags & WIRE_URG)
		ADD(" urg %u", s->urgent);
#undef ADD
	return at;
}
