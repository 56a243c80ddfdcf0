/* SPDX-License-Identifier: Apache-2.0 */
/* From a seed to a world. See plan.h. */
#include "plan.h"

#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "wire.h"

#define MEMORY_BYTES 6000000 /* of all send and receive buffers of a world, so that mbufs are left */

const char *const plan_end_names[] = {
#define X(name, str) str,
	PLAN_ENDS(X)
#undef X
};

const char *const plan_fate_names[] = {
#define X(name, str) str,
	PLAN_FATES(X)
#undef X
};

struct dice {
	uint64_t state;
};

/* lo .. hi, both included */
static uint32_t between(struct dice *d, uint32_t lo, uint32_t hi)
{
	return lo + (uint32_t)(sim_mix(&d->state) % ((uint64_t)hi - lo + 1));
}

static bool percent(struct dice *d, uint32_t n)
{
	return sim_mix(&d->state) % 100 < n;
}

/* Small far more often than large: uniform in the number of digits. */
static uint32_t sized(struct dice *d, uint32_t most)
{
	uint32_t top = most;

	for (uint32_t i = between(d, 0, 4); i > 0 && top > 16; i--)
		top /= 6;
	return between(d, 0, top);
}

#define PICK(d, list) (list)[sim_mix(&(d)->state) % (sizeof(list) / sizeof((list)[0]))]

/* -- paths */

static void plan_link(struct dice *d, struct sim_link *l, bool is_bad)
{
	static const uint32_t delays[] = {0, 50, 200, 1000, 5000, 10000, 25000, 50000, 100000, 250000};

	memset(l, 0, sizeof(*l));
	l->delay_us = PICK(d, delays);
	if (percent(d, 50))
		l->jitter_us = between(d, 1, 2 + l->delay_us / 2);
	l->keeps_order = percent(d, 40);
	if (percent(d, 40))
		l->loss_ppm = between(d, 1, is_bad ? 200000 : 25000);
	if (percent(d, 15))
		l->duplicate_ppm = between(d, 1, is_bad ? 200000 : 30000);
	if (percent(d, 15))
		l->corrupt_ppm = between(d, 1, is_bad ? 20000 : 5000);
	if (percent(d, 20)) {
		l->reorder_ppm = between(d, 1, 100000);
		l->reorder_us = between(d, 1, 30000);
	}
	if (is_bad && percent(d, 40)) {
		l->burst_begins_ppm = between(d, 1000, 20000);
		l->burst_ends_ppm = between(d, 50000, 500000);
		l->burst_loss_ppm = between(d, 300000, 1000000);
	}
	if (percent(d, 30)) {
		l->rate_Bps = between(d, 20000, 40000);
		l->rate_Bps <<= between(d, 0, 9);
		l->queue_bytes = between(d, 5000, 200000);
		if (percent(d, 50))
			l->mark_bytes = l->queue_bytes / between(d, 2, 6);
	}
	if (percent(d, 5))
		l->mark_ppm = between(d, 1, 50000);
}

static void plan_path(struct dice *d, struct sim_link link[2], bool is_bad)
{
	plan_link(d, &link[0], is_bad);
	if (percent(d, 50)) { /* the other way may be quite another road */
		plan_link(d, &link[1], is_bad);
	} else {
		link[1] = link[0];
	}
	if (percent(d, 8))
		link[0].mtu = link[1].mtu = (uint16_t)between(d, 1280, 1480);
	if (percent(d, 30))
		link[0].hides_mtu = link[1].hides_mtu = true;
}

/* Many share it: wide enough that each of them gets on. */
static void plan_shared_path(struct dice *d, struct sim_link link[2])
{
	plan_path(d, link, false);
	for (int i = 0; i < 2; i++) {
		link[i].rate_Bps = between(d, 2000000, 50000000);
		link[i].queue_bytes = between(d, 50000, 500000);
		link[i].mark_bytes = percent(d, 50) ? link[i].queue_bytes / 4 : 0;
	}
}

/* -- the two ends */

static void plan_side(struct dice *d, struct side_plan *p)
{
	static const uint32_t sizes[] = {0, 1000, 10000, 10000, 60000, 60000, 200000, 1000000};

	p->salt = between(d, 0, 1u << 30);
	p->to_send = sized(d, PICK(d, sizes));
	p->chunk = percent(d, 40) ? 65536 : 1 + sized(d, 20000);
	if (p->to_send / p->chunk > 400)
		p->chunk = p->to_send / 400 + 1;
	if (percent(d, 15))
		p->gap_us = between(d, 1, 4000000 / (p->to_send / p->chunk + 1));
	p->how = percent(d, 60) ? SEND_COPY : SEND_MBUFS;
	if (p->how == SEND_MBUFS && p->chunk < 256) /* each call costs an mbuf: a thousand times of 17 bytes, all of them */
		p->chunk = 256;
	p->reads_mbufs = percent(d, 50);
	p->read_max = percent(d, 50) ? UINT32_MAX : between(d, 1, 10000);
	p->end = END_CLEAN;
	p->lets_go_early = percent(d, 30);
}

/* A reader that is slow, or stops for a while: the window closes. */
static void plan_reader(struct dice *d, struct side_plan *p, const struct side_plan *peer)
{
	if (percent(d, 15) && peer->to_send) {
		p->pause_at = between(d, 0, peer->to_send - 1);
		p->pause_us = percent(d, 70) ? between(d, 1000, 2000000) : between(d, 2000000, 20000000);
	}
	if (percent(d, 10)) {
		p->read_max = 1 + peer->to_send / between(d, 5, 60);
		p->read_gap_us = between(d, 100, 300000);
	}
}

static void plan_unclean(struct dice *d, struct conn_plan *c)
{
	struct side_plan *p = &c->side[between(d, 0, 1)];
	const struct side_plan *peer = p == &c->side[0] ? &c->side[1] : &c->side[0];
	bool must = c->must_complete;

	c->must_complete = false;
	p->end = percent(d, 40) ? END_ABORT : percent(d, 50) ? END_AT_ONCE : END_UNREAD;
	if (p->end == END_UNREAD && peer->to_send == 0)
		p->end = END_ABORT;
	p->end_bytes = p->end == END_UNREAD ? between(d, 1, peer->to_send) : sized(d, p->to_send + 1);
	p->end_us = between(d, 0, 5000000);
	if (p->end == END_AT_ONCE && peer->to_send == 0 && !percent(d, 20)) {
		p->awaits_eof = false;
		c->must_complete = must; /* nothing can arrive after it has closed */
	}
}

static void plan_conn(struct dice *d, const struct world_plan *w, struct conn_plan *c)
{
	bool is_bad = percent(d, 15);
	const struct sim_link *l = w->is_shared ? w->link : c->link;

	c->seed = d->state;
	c->start_us = between(d, 0, w->spread_us);
	c->client = percent(d, 80) ? 0 : 1;
	plan_path(d, c->link, is_bad);
	/* To find that large segments vanish takes timeouts: in both directions at once there may be too few. */
	c->must_complete = !is_bad && !w->is_scarce && !(l->mtu && l->hides_mtu);
	plan_side(d, &c->side[0]);
	plan_side(d, &c->side[1]);
	if (percent(d, 15)) {
		c->side[1].how = SEND_RELAY;
		c->side[1].salt = c->side[0].salt;
		c->side[1].to_send = c->side[0].to_send;
		c->side[1].awaits_eof = percent(d, 50);
	} else if (percent(d, 60)) {
		c->side[between(d, 0, 1)].awaits_eof = true;
	}
	plan_reader(d, &c->side[0], &c->side[1]);
	plan_reader(d, &c->side[1], &c->side[0]);
	c->connect_timeout_ms = 70000;
	c->patience_ms = 200000;
	c->cc = (enum tcp_cc_kind)between(d, 0, TCP_CC_BBR);
	if (percent(d, 20))
		c->strip[0] = c->strip[1] = between(d, 1, 15);
	if (percent(d, 5))
		c->strip[between(d, 0, 1)] |= WIRE_STRIP_SACK_OK;
	if (percent(d, 10)) {
		c->fate = PICK(d, ((const enum plan_fate[]){FATE_VANISH, FATE_VANISH, FATE_RESET, FATE_NO_LISTENER, FATE_REFUSED}));
		c->fate_us = between(d, 0, 1000000);
		c->must_complete = false;
		return;
	}
	if (percent(d, 12))
		plan_unclean(d, c);
}

/* -- the world */

static struct tcp_config plan_config(struct dice *d)
{
	static const uint32_t buffers[] = {2048, 4000, 16384, 30000, 65536, 65536, 65536, 131072, 262144, 1048576};
	static const uint16_t mtus[] = {576, 1000, 1280, 1500, 1500, 1500, 1500, 1500, 4000, 9000};
	struct tcp_config c = sim_config();

	c.n_connections = WORLD_MAX_CONNS * 2;
	c.n_syn = WORLD_MAX_CONNS;
	c.rx_buffer_bytes = PICK(d, buffers);
	c.tx_buffer_bytes = PICK(d, buffers);
	c.mtu = PICK(d, mtus);
	c.time_wait_ms = percent(d, 50) ? 5000 : 30000;
	c.fin_timeout_ms = 30000;
	c.keepalive_ms = percent(d, 30) ? between(d, 1000, 60000) : 0;
	c.ecn = percent(d, 50);
	c.tso_max_bytes = percent(d, 50) ? 0 : between(d, 2000, 65000);
	c.cc = (enum tcp_cc_kind)between(d, 0, TCP_CC_BBR);
	c.n_held_max = percent(d, 75) ? SIM_N_MBUFS / 3 : between(d, 200, 3000); /* of the other host's, and of the wire's, the rest */
	for (unsigned i = 0; i < sizeof(c.secret); i++)
		c.secret[i] = (uint8_t)sim_mix(&d->state);
	return c;
}

/* What runs out in it: ports, places in the table, places for SYNs. */
static void plan_scarcity(struct dice *d, struct world_plan *p)
{
	struct tcp_config *c = &p->config[0];
	struct tcp_config *s = &p->config[1];

	p->is_scarce = true;
	if (percent(d, 50)) /* few ports: tuples are used again, over TIME-WAIT */
		c->port_hi = (uint16_t)(c->port_lo + between(d, 1, 20));
	if (percent(d, 30))
		s->n_connections = between(d, 8, 64);
	if (percent(d, 50)) {
		s->n_syn = between(d, 1, 16);
		p->has_cookies = true;
	}
}

void plan_world(struct world_plan *p, uint64_t seed)
{
	struct dice dice = {.state = seed * 0x2545f4914f6cdd1dull + 0x5851f42d4c957f2dull};
	struct dice *d = &dice;
	uint32_t most = 0;

	memset(p, 0, sizeof(*p));
	p->seed = seed;
	for (int i = 0; i < 2; i++) {
		p->config[i] = plan_config(d);
		most += p->config[i].rx_buffer_bytes + p->config[i].tx_buffer_bytes;
	}
	p->is_ip6 = percent(d, 30);
	if (p->is_ip6)
		for (int i = 0; i < 2; i++)
			if (p->config[i].mtu < 1280)
				p->config[i].mtu = 1280;
	p->n_conns = MEMORY_BYTES / most;
	p->n_conns = p->n_conns > 120 ? 120 : p->n_conns < 3 ? 3 : p->n_conns;
	p->spread_us = between(d, 0, 60000 * p->n_conns);
	if (percent(d, 15))
		plan_scarcity(d, p);
	if (percent(d, 25))
		p->n_attacks = p->n_conns * between(d, 1, 30);
	if (percent(d, 15))
		p->n_famines = between(d, 1, 12);
	if (percent(d, 15)) {
		p->is_shared = true;
		plan_shared_path(d, p->link);
	}
	for (unsigned i = 0; i < p->n_conns; i++)
		plan_conn(d, p, &p->conn[i]);
}

/* -- for people */

static void print_link(const char *name, const struct sim_link *l)
{
	printf("  %s: delay %u us, jitter %u us%s, loss %u, duplicates %u, corrupts %u, holds back %u by %u us (ppm)\n", name,
	       l->delay_us, l->jitter_us, l->keeps_order ? " in order" : "", l->loss_ppm, l->duplicate_ppm, l->corrupt_ppm,
	       l->reorder_ppm, l->reorder_us);
	if (l->burst_begins_ppm)
		printf("    bursts begin %u, end %u, lose %u ppm\n", l->burst_begins_ppm, l->burst_ends_ppm, l->burst_loss_ppm);
	if (l->rate_Bps)
		printf("    %lu bytes/s, queue %u, marks from %u\n", (unsigned long)l->rate_Bps, l->queue_bytes, l->mark_bytes);
	if (l->mtu || l->mark_ppm)
		printf("    MTU %u%s, marks %u ppm\n", l->mtu, l->hides_mtu ? " and silent about it" : "", l->mark_ppm);
}

static void print_side(const char *name, const struct side_plan *p)
{
	static const char *const how[] = {"copied", "as mbufs", "relayed"};

	printf("  %s sends %u bytes %s in calls of %u every %u us, reads %u every %u us, pauses at %u for %u us; %s", name,
	       p->to_send, how[p->how], p->chunk, p->gap_us, p->read_max, p->read_gap_us, p->pause_at, p->pause_us,
	       plan_end_names[p->end]);
	if (p->end != END_CLEAN)
		printf(" (%u bytes, %u us)", p->end_bytes, p->end_us);
	printf("%s%s\n", p->awaits_eof ? ", but not first" : "", p->lets_go_early ? ", lets go early" : "");
}

void plan_print(const struct world_plan *p, unsigned i)
{
	const struct conn_plan *c = &p->conn[i];

	printf("world %lu: %u connections%s%s%s, %u attacks, %u famines\n", (unsigned long)p->seed, p->n_conns,
	       p->is_ip6 ? ", IPv6" : "", p->is_shared ? ", one path" : "", p->is_scarce ? ", scarce" : "", p->n_attacks,
	       p->n_famines);
	for (int h = 0; h < 2; h++)
		printf("  host %d: mtu %u, rx %u, tx %u, n_syn %u, table %u, time-wait %u ms, keep-alive %u ms, ecn %d, tso %u, %u mbufs\n", h,
		       p->config[h].mtu, p->config[h].rx_buffer_bytes, p->config[h].tx_buffer_bytes, p->config[h].n_syn,
		       p->config[h].n_connections, p->config[h].time_wait_ms, p->config[h].keepalive_ms, p->config[h].ecn,
		       p->config[h].tso_max_bytes, p->config[h].n_held_max);
	printf("connection %u: host %u opens, at %u us; strips %x of SYN, %x of SYN-ACK; %s after %u us%s\n", i, c->client,
	       c->start_us, c->strip[0], c->strip[1], plan_fate_names[c->fate], c->fate_us,
	       c->must_complete ? "; must complete" : "");
	print_side("client", &c->side[0]);
	print_side("server", &c->side[1]);
	print_link("to the server", p->is_shared ? &p->link[0] : &c->link[0]);
	print_link("to the client", p->is_shared ? &p->link[1] : &c->link[1]);
}
