/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile peer: what it is, its handshake, what it hears. See foe.h. */
#include "foe.h"

#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#include "tcp/seq.h"
#include "text.h"

#define MOST_ACTS 120

const char *const foe_trick_names[] = {
#define X(name, str) str,
	FOE_TRICKS(X)
#undef X
};

uint32_t foe_draw(struct foe *f, uint32_t n)
{
	return (uint32_t)(sim_mix(&f->prng) % n);
}

struct wire_seg foe_segment(struct foe *f, uint8_t flags)
{
	return (struct wire_seg){.sport = f->port, .dport = f->victim_port, .flags = flags, .seq = f->nxt,
				 .ack = (flags & WIRE_ACK) ? f->rcv_nxt : 0, .wnd = f->wnd, .has_ts = f->uses_ts,
				 .ts_val = f->ts_now, .ts_ecr = f->ts_echo};
}

void foe_send(struct foe *f, const struct wire_seg *s)
{
	struct tcp_packet packet = {.src = f->ip, .dst = f->victim_ip};
	int64_t off = (int64_t)(int32_t)(s->seq - f->iss - 1) + (f->is_liar ? foe_draw(f, 3) : 0);
	struct rte_mbuf *m = wire_build(f->sim->pool, s, s->len ? text_at(f->plan[1].salt, off) : NULL);
	uint32_t delay = 10 + (foe_draw(f, 20) ? 0 : foe_draw(f, 3000));

	if (!m)
		return;
	if (s->len && (f->tricks & 1u << FOE_MARKS) && foe_draw(f, 3) == 0)
		packet.ecn = 3;
	f->n_injected++;
	f->ts_now += 1 + foe_draw(f, 3);
	sim_inject_at(f->sim, f->sim->now_us + delay, 0, m, &packet);
}

/* -- its seed */

static uint16_t draw_mss(struct foe *f)
{
	static const uint16_t values[] = {1460, 1460, 1460, 1440, 536, 500, 128, 64, 40, 1, 0, 65535, 8960};

	return values[foe_draw(f, sizeof(values) / sizeof(values[0]))];
}

static void draw_syn(struct foe *f)
{
	struct wire_seg *s = &f->syn;

	s->flags = WIRE_SYN;
	s->has_mss = foe_draw(f, 10) != 0;
	s->mss = draw_mss(f);
	s->has_wscale = foe_draw(f, 3) != 0;
	s->wscale = (uint8_t)(foe_draw(f, 10) ? foe_draw(f, 15) : foe_draw(f, 256));
	s->has_sack_ok = foe_draw(f, 5) != 0;
	s->has_ts = foe_draw(f, 3) != 0;
	if (foe_draw(f, 3) == 0)
		s->flags |= WIRE_ECE | WIRE_CWR;
	f->wnd = foe_draw(f, 4) ? 65535 : (uint16_t)foe_draw(f, 65536);
	f->ts_now = (uint32_t)sim_mix(&f->prng);
}

static void draw_plans(struct foe *f)
{
	struct side_plan *p = &f->plan[0];
	static const uint32_t sizes[] = {0, 100, 5000, 50000, 500000};

	p->salt = foe_draw(f, 1u << 30);
	p->to_send = foe_draw(f, sizes[foe_draw(f, 5)] + 1);
	p->chunk = foe_draw(f, 3) ? 65536 : 1 + p->to_send / 50;
	p->how = foe_draw(f, 2) ? SEND_COPY : SEND_MBUFS;
	p->reads_mbufs = foe_draw(f, 2);
	p->read_max = foe_draw(f, 2) ? UINT32_MAX : 1 + foe_draw(f, 3000);
	p->pause_us = foe_draw(f, 4) ? 0 : foe_draw(f, 3000000);
	p->pause_at = foe_draw(f, 3000);
	p->awaits_eof = foe_draw(f, 3) == 0;
	f->plan[1].salt = foe_draw(f, 1u << 30);
	f->plan[1].to_send = UINT32_MAX;
}

void foe_init(struct foe *f, struct sim *sim, int index, uint64_t seed)
{
	unsigned n_tricks;

	memset(f, 0, sizeof(*f));
	f->sim = sim;
	f->index = index;
	f->prng = seed;
	n_tricks = 1 + foe_draw(f, 6);
	for (unsigned i = 0; i < n_tricks; i++)
		f->tricks |= 1u << foe_draw(f, FOE_N_TRICKS);
	if (foe_draw(f, 2))
		f->tricks |= 1u << FOE_ACKS | 1u << FOE_SENDS;
	f->n_acts = 1 + foe_draw(f, MOST_ACTS);
	f->opens = foe_draw(f, 3) != 0;
	f->is_odd = foe_draw(f, 8) == 0 || (f->tricks & 1u << FOE_MALFORMED);
	f->is_liar = foe_draw(f, 15) == 0;
	f->iss = f->nxt = (uint32_t)sim_mix(&f->prng);
	draw_syn(f);
	draw_plans(f);
}

/* -- the handshake */

static void send_syn(struct foe *f)
{
	struct wire_seg s = f->syn;

	s.sport = f->port;
	s.dport = f->victim_port;
	s.seq = f->iss;
	s.wnd = f->wnd;
	s.ts_val = f->ts_now;
	if (f->is_odd && foe_draw(f, 3) == 0)
		s.len = foe_draw(f, 100); /* data with a SYN */
	if (f->is_odd && foe_draw(f, 4) == 0)
		s.flags |= (uint8_t)(1u << foe_draw(f, 8));
	foe_send(f, &s);
}

/* Answers the victim's SYN; an odd one with a SYN of its own, a wrong number, or a reset. */
static void answer_syn(struct foe *f)
{
	struct wire_seg s = f->syn;

	s.sport = f->port;
	s.dport = f->victim_port;
	s.seq = f->iss;
	s.ack = f->irs + 1;
	s.wnd = f->wnd;
	s.ts_val = f->ts_now;
	s.ts_ecr = f->ts_echo;
	s.flags = WIRE_SYN | WIRE_ACK | ((f->syn.flags & WIRE_ECE) ? WIRE_ECE : 0);
	if (f->is_odd)
		switch (foe_draw(f, 5)) {
		case 0: s.ack += foe_draw(f, 3) - 1; break;
		case 1: s.flags = WIRE_SYN; break;
		case 2: s.flags |= WIRE_FIN; break;
		case 3: s.len = foe_draw(f, 200); break;
		default: s.flags = WIRE_RST | WIRE_ACK; break;
		}
	foe_send(f, &s);
}

static void on_act(void *ctx, uint64_t now_us)
{
	struct foe *f = ctx;

	if (f->n_acts == 0 || f->is_silent)
		return;
	f->n_acts--;
	foe_act(f, now_us);
	sim_at(f->sim, now_us + 1 + foe_draw(f, foe_draw(f, 4) ? 20000 : 2000000), on_act, f);
}

/* What it hears may make it act, but not from within the victim's call. */
static void on_reply(void *ctx, uint64_t now_us)
{
	struct foe *f = ctx;

	if (!f->is_silent)
		foe_act(f, now_us);
}

void foe_start(struct foe *f, uint64_t now_us)
{
	if (f->opens)
		send_syn(f);
	sim_at(f->sim, now_us + 1000 + foe_draw(f, 200000), on_act, f);
}

static void hear_syn(struct foe *f, const struct wire_seg *s)
{
	struct wire_seg ack;

	f->irs = s->seq;
	f->has_irs = true;
	f->rcv_nxt = f->rcv_max = f->acked = s->seq + 1;
	f->ts_echo = s->ts_val;
	f->nxt = f->iss + 1;
	f->uses_ts = f->syn.has_ts && s->has_ts;
	if (!f->opens) {
		answer_syn(f);
		f->is_up = true;
		return;
	}
	f->is_up = true;
	ack = foe_segment(f, WIRE_ACK);
	if (f->is_odd)
		ack.ack += foe_draw(f, 3) - 1;
	foe_send(f, &ack);
}

void foe_hear(struct foe *f, const struct wire_seg *s, uint64_t now_us)
{
	uint32_t end = s->seq + wire_space(s);

	if (s->flags & WIRE_RST) {
		f->is_silent = foe_draw(f, 4) != 0;
		return;
	}
	if (s->flags & WIRE_SYN) {
		if (!f->has_irs || foe_draw(f, 2))
			hear_syn(f, s);
		return;
	}
	if (!f->has_irs)
		return;
	if (s->has_ts)
		f->ts_echo = s->ts_val;
	if (seq_gt(end, f->rcv_max))
		f->rcv_max = end;
	if (seq_le(s->seq, f->rcv_nxt) && seq_gt(end, f->rcv_nxt))
		f->rcv_nxt = end;
	if (wire_space(s) && f->n_acts && foe_draw(f, 2)) {
		f->n_acts--;
		sim_at(f->sim, now_us + foe_draw(f, 50), on_reply, f);
	}
}
