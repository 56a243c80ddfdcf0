/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments that no struct tcp_conn sends: the answers of SYN-RECEIVED and
 * TIME-WAIT, and RST for what belongs to nobody. Without data, and without a
 * second try: without an mbuf they are lost, as on a wire.
 */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "tcp/tcp_pvt.h"

struct rte_mbuf *segment_alloc(struct tcp_stack *s, unsigned header_len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->env.pool);

	if (!m) {
		stat_reason(s->stats, WEIR_R_NO_MBUF);
		return NULL;
	}
	m->data_off = TCP_OUT_HEADROOM;
	rte_pktmbuf_append(m, (uint16_t)header_len);
	return m;
}

void segment_write_header(uint8_t *h, const struct ip_flow *flow, const struct reply *r)
{
	uint16_t ports[2] = {rte_cpu_to_be_16(flow->local_port), rte_cpu_to_be_16(flow->remote_port)};
	uint32_t numbers[2] = {rte_cpu_to_be_32(r->seq), rte_cpu_to_be_32(r->ack)};

	memcpy(h, ports, 4);
	memcpy(h + 4, numbers, 8);
	h[12] = (uint8_t)((TCP_HEADER_MIN + r->n_options) / 4 << 4);
	h[13] = r->flags;
	h[14] = (uint8_t)(r->wnd >> 8);
	h[15] = (uint8_t)r->wnd;
	memset(h + 16, 0, 4); /* checksum, urgent pointer */
	if (r->n_options)
		memcpy(h + TCP_HEADER_MIN, r->options, r->n_options);
}

void reply_send(struct tcp_stack *s, const struct ip_flow *flow, const struct reply *r)
{
	struct rte_mbuf *m = segment_alloc(s, TCP_HEADER_MIN + r->n_options);

	if (!m)
		return;
	segment_write_header(rte_pktmbuf_mtod(m, uint8_t *), flow, r);
	stat_inc(s->stats, WEIR_C_TCP_TX_SEGMENTS);
	if (r->flags & FLAG_RST)
		stat_inc(s->stats, WEIR_C_TCP_RST_TX);
	s->env.output(s->env.ctx, m, flow, 0, s->now_us);
}

void send_reset(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg)
{
	struct reply r = {.flags = FLAG_RST};

	if (seg->flags & FLAG_RST)
		return;
	if (seg->flags & FLAG_ACK) {
		r.seq = seg->ack;
	} else {
		r.flags |= FLAG_ACK;
		r.ack = seg->seq + seg->len + !!(seg->flags & FLAG_SYN) + !!(seg->flags & FLAG_FIN);
	}
	reply_send(s, flow, &r);
}

bool send_reset_to_stranger(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg)
{
	if (!rate_has(&s->listen.resets, s->cfg.rst_per_s, s->now_us)) {
		stat_inc(s->stats, WEIR_C_TCP_RST_WITHHELD);
		return false;
	}
	rate_take(&s->listen.resets, s->cfg.rst_per_s, s->now_us);
	send_reset(s, flow, seg);
	return true;
}
