/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Harm: attackers who know addresses and ports but no sequence numbers, or
 * numbers that RFC 5961 tells to doubt; somebody on the path who knows all;
 * networks that go away; times in which there are no mbufs.
 */
#include <rte_mbuf.h>

#include "tcp/seq.h"
#include "world.h"

#define ATTACK_BYTES 1000

static uint32_t draw(struct world *w, uint32_t n)
{
	return (uint32_t)(sim_mix(&w->prng) % n);
}

/* -- forged segments */

static void forge(struct world *w, struct conn_run *r, int victim, struct wire_seg *s)
{
	struct sim_host *to = &w->sim.host[run_host(r, victim)];
	struct tcp_packet packet = {.src = w->sim.host[!to->id].ip, .dst = to->ip};
	struct rte_mbuf *m;

	s->sport = victim ? r->port : r->server_port;
	s->dport = victim ? r->server_port : r->port;
	m = wire_build(w->sim.pool, s, NULL);
	if (!m)
		return;
	r->n_forged[victim]++;
	sim_inject_at(&w->sim, w->sim.now_us, to->id, m, &packet);
}

static void attack_blindly(struct world *w, struct conn_run *r, int victim)
{
	static const uint8_t flags[] = {WIRE_RST, WIRE_RST | WIRE_ACK, WIRE_SYN, WIRE_SYN | WIRE_ACK, WIRE_ACK, WIRE_FIN | WIRE_ACK,
					WIRE_ACK | WIRE_PSH | WIRE_URG, 0, 0xff};
	struct wire_seg s = {.flags = flags[draw(w, sizeof(flags))], .seq = (uint32_t)sim_mix(&w->prng),
			     .ack = (uint32_t)sim_mix(&w->prng), .wnd = (uint16_t)sim_mix(&w->prng)};

	if (draw(w, 2))
		s.len = draw(w, ATTACK_BYTES);
	if (draw(w, 2)) {
		s.has_ts = true;
		s.ts_val = (uint32_t)sim_mix(&w->prng);
		s.ts_ecr = (uint32_t)sim_mix(&w->prng);
	}
	forge(w, r, victim, &s);
}

/* Numbers near the right ones, which must be challenged or ignored. */
static void attack_nearby(struct world *w, struct conn_run *r, int victim)
{
	const struct wire_side *e = &r->wire.side[victim];
	uint32_t next = wire_arrived_end(e);
	struct wire_seg s = {.seq = next, .ack = e->snd_max, .wnd = (uint16_t)sim_mix(&w->prng)};

	if (e->offer.has_ts && e->heard.has_ts) {
		s.has_ts = true;
		s.ts_val = e->ts_heard;
		s.ts_ecr = e->ts_val;
	}
	switch (draw(w, s.has_ts ? 5 : 4)) {
	case 0: /* in the window, not at its edge (RFC 5961 3.2) */
		s.flags = WIRE_RST;
		s.seq = next + 1 + draw(w, 1000);
		break;
	case 1: /* RFC 5961 4.2 */
		s.flags = WIRE_SYN;
		s.seq = next + draw(w, 1000);
		break;
	case 2: /* data whose acknowledgement is of something never sent (RFC 5961 5.2) */
		s.flags = WIRE_ACK;
		s.ack = e->snd_max + 1 + draw(w, 1u << 30);
		s.len = 1 + draw(w, ATTACK_BYTES);
		break;
	case 3: /* the same without data */
		s.flags = WIRE_ACK;
		s.ack = e->snd_max + 1 + draw(w, 1u << 30);
		break;
	default: /* in the right place, but of another time (RFC 7323 5) */
		s.flags = WIRE_ACK;
		s.len = 1 + draw(w, ATTACK_BYTES);
		s.ts_val -= 1000000 + draw(w, 1u << 30);
		break;
	}
	forge(w, r, victim, &s);
}

/* Established (what is half open a SYN may end, RFC 9293 3.10.7.4), and no later connection has taken its ports. */
static bool has_ports(struct world *w, struct conn_run *r)
{
	int side;

	return r->is_bound && r->wire.side[0].talks && r->wire.side[1].talks && r->app[1].connected &&
	       world_find(w, r->plan->client, r->port, r->server_port, &side) == r;
}

static void on_attack(void *ctx, uint64_t now_us)
{
	struct world *w = ctx;
	struct conn_run *r = &w->run[draw(w, w->plan.n_conns)];
	int victim = (int)draw(w, 2);

	if (!has_ports(w, r) || app_is_done(&r->app[victim]))
		return;
	if (draw(w, 3))
		attack_blindly(w, r, victim);
	else
		attack_nearby(w, r, victim);
}

/* -- somebody on the path */

static void on_fate_time(void *ctx, uint64_t now_us)
{
	struct conn_run *r = ctx;
	struct world *w = r->app[0].sim->ctx;
	int victim = (int)draw(w, 2);
	struct wire_seg s = {.flags = WIRE_RST};

	if (r->plan->fate == FATE_VANISH) {
		r->vanished = true;
		return;
	}
	if (!has_ports(w, r))
		return;
	s.seq = wire_arrived_end(&r->wire.side[victim]);
	r->was_reset = true;
	forge(w, r, victim, &s);
}

void world_plan_fate(struct world *w, struct conn_run *r)
{
	if (r->plan->fate == FATE_VANISH || r->plan->fate == FATE_RESET)
		sim_at(&w->sim, w->sim.now_us + r->plan->fate_us, on_fate_time, r);
}

/* -- times without mbufs */

void world_end_famine(struct world *w)
{
	for (int i = 0; i < 2; i++)
		while (w->n_held[i])
			rte_pktmbuf_free(w->held[i][--w->n_held[i]]);
}

static void on_famine_end(void *ctx, uint64_t now_us)
{
	world_end_famine(ctx);
}

static void on_famine(void *ctx, uint64_t now_us)
{
	struct world *w = ctx;
	struct rte_mempool *pools[2] = {w->sim.pool, w->sim.clones};
	uint32_t which = 1 + draw(w, 3);

	if (w->n_held[0] || w->n_held[1])
		return;
	for (int i = 0; i < 2; i++) {
		uint32_t left = draw(w, 2) ? 0 : draw(w, 30);

		if (!(which & 1u << i))
			continue;
		while (rte_mempool_avail_count(pools[i]) > left &&
		       (w->held[i][w->n_held[i]] = rte_pktmbuf_alloc(pools[i])) != NULL)
			w->n_held[i]++;
	}
	sim_at(&w->sim, now_us + 1 + draw(w, draw(w, 2) ? 20000 : 2000000), on_famine_end, w);
}

void world_plan_harm(struct world *w)
{
	uint32_t span = w->plan.spread_us + 3000000;

	for (unsigned i = 0; i < w->plan.n_attacks; i++)
		sim_at(&w->sim, w->start_us + draw(w, span), on_attack, w);
	for (unsigned i = 0; i < w->plan.n_famines; i++)
		sim_at(&w->sim, w->start_us + draw(w, span), on_famine, w);
}
