/* SPDX-License-Identifier: Apache-2.0 */
/* The tricks of a hostile peer, one by one. See foe.h. */
#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#include "foe.h"
#include "tcp/seq.h"

#define SPAN 40000 /* bytes around the right place in which it plays */

static void bare_ack(struct foe *f, uint32_t ack)
{
	struct wire_seg s = foe_segment(f, WIRE_ACK);

	s.ack = ack;
	foe_send(f, &s);
}

static void divide(struct foe *f)
{
	uint32_t left = f->rcv_nxt - f->acked;
	unsigned n = 2 + foe_draw(f, 40);

	for (unsigned i = 0; i < n && left; i++) {
		uint32_t step = 1 + foe_draw(f, left < 100 ? left : 1 + left / (n - i));

		step = step > left ? left : step;
		f->acked += step;
		left -= step;
		bare_ack(f, f->acked);
	}
}

static void repeat_ack(struct foe *f)
{
	unsigned n = 1 + foe_draw(f, 12);
	uint32_t ack = f->acked - (foe_draw(f, 3) ? 0 : foe_draw(f, 2000));

	while (n--)
		bare_ack(f, ack);
}

/* Up to four blocks: of what is in flight, or anything. */
static void report(struct foe *f, bool is_possible)
{
	struct wire_seg s = foe_segment(f, WIRE_ACK);
	uint32_t span = f->rcv_max - f->acked;

	s.ack = f->acked;
	s.n_sack = (uint8_t)(1 + foe_draw(f, WIRE_MAX_SACK));
	for (unsigned i = 0; i < s.n_sack; i++) {
		uint32_t from = f->acked + (span ? foe_draw(f, span) : 0);
		uint32_t to = from + foe_draw(f, f->rcv_max - from + 1);

		if (!is_possible) {
			from += foe_draw(f, 3) ? foe_draw(f, SPAN) - SPAN / 2 : (uint32_t)sim_mix(&f->prng);
			to = foe_draw(f, 3) ? from + foe_draw(f, SPAN) - SPAN / 4 : (uint32_t)sim_mix(&f->prng);
		}
		s.sack[i][0] = from;
		s.sack[i][1] = to;
	}
	foe_send(f, &s);
}

/* Its own data: len bytes at seq, with the acknowledgement that holds. */
static void data(struct foe *f, uint32_t seq, uint32_t len, uint8_t flags)
{
	struct wire_seg s = foe_segment(f, WIRE_ACK | flags);

	s.seq = seq;
	s.len = len;
	foe_send(f, &s);
}

static void in_order(struct foe *f)
{
	uint32_t len = 1 + foe_draw(f, foe_draw(f, 2) ? 1400 : 20);

	data(f, f->nxt, len, foe_draw(f, 2) ? WIRE_PSH : 0);
	f->nxt += len;
}

static void with_holes(struct foe *f)
{
	unsigned n = 1 + foe_draw(f, 30);
	uint32_t seq = f->nxt + 1 + foe_draw(f, 100);

	while (n--) {
		uint32_t len = 1 + foe_draw(f, foe_draw(f, 2) ? 3 : 1400);

		data(f, seq, len, 0);
		seq += foe_draw(f, 3) ? len + 1 + foe_draw(f, 20) : foe_draw(f, 2000) - 500;
	}
}

static void flood(struct foe *f)
{
	unsigned n = 5 + foe_draw(f, 60);

	while (n--) {
		data(f, f->nxt, 1, 0);
		f->nxt++;
	}
}

static void finish(struct foe *f, bool is_odd)
{
	uint32_t len = foe_draw(f, 2) ? 0 : foe_draw(f, 500);
	uint32_t seq = f->nxt + (is_odd ? foe_draw(f, 3000) - 1000 : 0);

	data(f, seq, len, WIRE_FIN);
	if (!is_odd && foe_draw(f, 2))
		f->nxt = seq + len + 1;
}

static void reset(struct foe *f, bool is_near)
{
	struct wire_seg s = foe_segment(f, WIRE_RST | (foe_draw(f, 2) ? WIRE_ACK : 0));

	if (is_near)
		s.seq += foe_draw(f, 2) ? 1 + foe_draw(f, 2000) : foe_draw(f, 2000) - 2000;
	foe_send(f, &s);
}

static void odd_flags(struct foe *f)
{
	struct wire_seg s = foe_segment(f, (uint8_t)foe_draw(f, 256));

	s.flags &= (uint8_t)~WIRE_RST; /* that is a trick of its own */
	if (app_is_done(&f->app)) /* it would be a new connection */
		s.flags &= (uint8_t)~WIRE_SYN;
	s.reserved = (uint8_t)foe_draw(f, 16);
	s.urgent = (uint16_t)foe_draw(f, 65536);
	s.len = foe_draw(f, 3) ? 0 : foe_draw(f, 1000);
	s.ack = f->rcv_nxt;
	foe_send(f, &s);
}

/* A header whose lengths do not fit. */
static void malformed(struct foe *f)
{
	struct wire_seg s = foe_segment(f, WIRE_ACK);
	struct tcp_packet packet = {.src = f->ip, .dst = f->victim_ip};
	struct rte_mbuf *m;
	uint8_t *h;

	s.has_ts = s.has_mss = s.has_sack_ok = s.has_wscale = true;
	s.n_sack = 1;
	m = wire_build(f->sim->pool, &s, NULL);
	if (!m)
		return;
	h = rte_pktmbuf_mtod(m, uint8_t *);
	for (unsigned n = 1 + foe_draw(f, 4); n > 0; n--)
		h[12 + foe_draw(f, (uint32_t)m->data_len - 12)] = (uint8_t)foe_draw(f, 256);
	h[13] &= (uint8_t)~(WIRE_RST | WIRE_SYN | WIRE_FIN);
	if (foe_draw(f, 2))
		rte_pktmbuf_trim(m, (uint16_t)foe_draw(f, m->data_len));
	if (m->data_len < WIRE_HEADER_MIN) { /* the layer below drops these */
		rte_pktmbuf_free(m);
		return;
	}
	f->n_injected++;
	sim_inject_at(f->sim, f->sim->now_us + 10, 0, m, &packet);
}

static void icmp(struct foe *f, uint64_t now_us)
{
	static const uint16_t mtus[] = {0, 1, 67, 68, 296, 575, 576, 1279, 1280, 1400, 1500, 9000, 65535};
	struct ip_flow flow = {.local = f->victim_ip, .remote = f->ip, .local_port = f->victim_port, .remote_port = f->port};
	uint32_t seq = foe_draw(f, 2) ? f->rcv_nxt : foe_draw(f, 2) ? f->rcv_max : (uint32_t)sim_mix(&f->prng);

	tcp_icmp_error(f->sim->host[0].tcp, &flow, seq, foe_draw(f, 3) ? TCP_ICMP_TOO_BIG : TCP_ICMP_UNREACHABLE,
		       mtus[foe_draw(f, sizeof(mtus) / sizeof(mtus[0]))], now_us);
}

static void jump(struct foe *f)
{
	static const uint32_t by[] = {1, 1000, 0x3fffffff, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffff000};

	f->ts_now += by[foe_draw(f, sizeof(by) / sizeof(by[0]))];
	if (foe_draw(f, 2))
		f->ts_echo = (uint32_t)sim_mix(&f->prng);
	in_order(f);
}

static void no_time(struct foe *f)
{
	bool had = f->uses_ts;

	f->uses_ts = !had;
	in_order(f);
	f->uses_ts = had;
}

/* What lies about of an older connection, or from before a wrap: to be dropped (RFC 7323 5). */
static void old(struct foe *f)
{
	struct wire_seg s = foe_segment(f, WIRE_ACK);
	struct tcp_packet packet = {.src = f->ip, .dst = f->victim_ip};
	struct rte_mbuf *m;

	if (!f->uses_ts || (f->tricks & 1u << FOE_TIME_JUMPS)) /* nobody knows then what is old */
		return;
	s.len = 1 + foe_draw(f, 1000);
	s.ts_val -= 100000 + foe_draw(f, 1u << 30);
	m = wire_build(f->sim->pool, &s, NULL);
	if (m)
		sim_inject_at(f->sim, f->sim->now_us + 10, 0, m, &packet);
}

static void urgent(struct foe *f)
{
	struct wire_seg s = foe_segment(f, WIRE_ACK | WIRE_URG);

	s.len = 1 + foe_draw(f, 100);
	s.urgent = (uint16_t)foe_draw(f, 65536);
	foe_send(f, &s);
	f->nxt += s.len;
}

static void set_window(struct foe *f, uint32_t wnd)
{
	f->wnd = (uint16_t)wnd;
	bare_ack(f, f->acked);
}

static void syn_again(struct foe *f)
{
	struct wire_seg s = f->syn;

	if (app_is_done(&f->app)) /* it would be a new connection */
		return;
	s.sport = f->port;
	s.dport = f->victim_port;
	s.seq = foe_draw(f, 2) ? f->nxt + foe_draw(f, 1000) : (uint32_t)sim_mix(&f->prng);
	s.flags = WIRE_SYN | (foe_draw(f, 2) ? WIRE_ACK : 0);
	s.ack = f->rcv_nxt;
	foe_send(f, &s);
}

static void play(struct foe *f, enum foe_trick trick, uint64_t now_us)
{
	switch (trick) {
	case FOE_ACKS: f->acked = f->rcv_nxt; bare_ack(f, f->acked); break;
	case FOE_DIVIDES: divide(f); break;
	case FOE_OPTIMIST: f->acked = f->rcv_nxt = f->rcv_max; bare_ack(f, f->acked); break;
	case FOE_IMPOSSIBLE: bare_ack(f, f->rcv_max + 1 + foe_draw(f, foe_draw(f, 2) ? 3000 : 1u << 31)); break;
	case FOE_STALE: repeat_ack(f); break;
	case FOE_SACKS: report(f, true); break;
	case FOE_LIES_IN_SACK: report(f, false); break;
	case FOE_RENEGES: report(f, true); repeat_ack(f); break;
	case FOE_SENDS: in_order(f); break;
	case FOE_HOLES: with_holes(f); break;
	case FOE_OVERLAPS: data(f, f->nxt - foe_draw(f, 3000), foe_draw(f, 1400), 0); break;
	case FOE_FLOODS: flood(f); break;
	case FOE_BEYOND: data(f, f->nxt + foe_draw(f, 2000000), foe_draw(f, 1400), 0); break;
	case FOE_SHUTS: set_window(f, 0); break;
	case FOE_SHRINKS: set_window(f, f->wnd / (2 + foe_draw(f, 20))); break;
	case FOE_OPENS: set_window(f, 1 + foe_draw(f, foe_draw(f, 2) ? 65535 : 100)); break;
	case FOE_FINISHES: finish(f, false); break;
	case FOE_ODD_FIN: finish(f, true); break;
	case FOE_RESETS: reset(f, false); break;
	case FOE_NEAR_RESET: reset(f, true); break;
	case FOE_SYNS: syn_again(f); break;
	case FOE_TIME_JUMPS: jump(f); break;
	case FOE_NO_TIME: no_time(f); break;
	case FOE_OLD: old(f); break;
	case FOE_URGENT: urgent(f); break;
	case FOE_FLAGS: odd_flags(f); break;
	case FOE_MALFORMED: malformed(f); break;
	case FOE_MARKS: in_order(f); break;
	case FOE_ICMP: icmp(f, now_us); break;
	case FOE_PAUSES: break;
	case FOE_N_TRICKS: break;
	}
}

void foe_act(struct foe *f, uint64_t now_us)
{
	unsigned i = foe_draw(f, FOE_N_TRICKS);

	if (!f->is_up)
		return;
	while (!(f->tricks & 1u << i))
		i = (i + 1) % FOE_N_TRICKS;
	if (f->is_traced)
		printf("%12s #%d %s\n", "", f->index, foe_trick_names[i]);
	play(f, (enum foe_trick)i, now_us);
}
