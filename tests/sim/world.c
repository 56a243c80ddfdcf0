/* SPDX-License-Identifier: Apache-2.0 */
/* Two stacks and all connections of a plan between them. See world.h. */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#define PORT_OPEN 80
#define PORT_SHUT 81
#define PORT_REFUSES 82
#define N_PORTS 10000
#define TAG_STALE UINT32_MAX
#define DEADLINE_US 3600000000ull
#define SAMPLE_EVERY 16

static uint16_t by_port[2][N_PORTS][4]; /* index + 1 of the latest connection of [client's host][its port][server's port] */

static uint16_t *slot_of(int client, uint16_t port, uint16_t server_port)
{
	if (port < 20000 || port >= 20000 + N_PORTS || server_port < PORT_OPEN || server_port >= PORT_OPEN + 4)
		return NULL;
	return &by_port[client][port - 20000][server_port - PORT_OPEN];
}

struct conn_run *world_find(struct world *w, int from, uint16_t sport, uint16_t dport, int *side)
{
	uint16_t *slot;

	*side = dport >= 20000;
	slot = *side == 0 ? slot_of(from, sport, dport) : slot_of(!from, dport, sport);
	return slot && *slot ? &w->run[*slot - 1] : NULL;
}

/* From now on segments between these ports are of connection r. */
static void bind_port(struct world *w, struct conn_run *r, uint16_t port)
{
	if (r->is_bound)
		return;
	r->port = port;
	r->is_bound = true;
	*slot_of(r->plan->client, port, r->server_port) = (uint16_t)(r - w->run + 1);
}

/* -- what people see of a traced connection */

static bool is_traced(const struct world *w, const struct conn_run *r)
{
	return w->traced == -2 || (r && w->traced == (int)(r - w->run));
}

static void trace(struct world *w, const struct conn_run *r, int side, const struct wire_seg *s, const char *what)
{
	char text[256];

	if (!is_traced(w, r))
		return;
	wire_format(text, sizeof(text), s, r->wire.side[side].iss, r->wire.side[!side].iss);
	printf("%12.6f #%d %s %-9s %s\n", (double)(w->sim.now_us - w->start_us) / 1e6, (int)(r - w->run),
	       side ? "server" : "client", what, text);
}

/* -- the hooks of the network */

/*
 * Not of connection r, but the server's answer to an older one of the same
 * ports, to a forged SYN, or to a SYN that came twice, after all was over.
 */
static bool is_of_another(struct world *w, struct conn_run *r, int side, const struct wire_seg *s)
{
	const struct wire_side *e = &r->wire.side[1];
	bool is_over = e->talks && (app_is_done(&r->app[1]) || (e->fin_sent && e->fin_arrived) || e->rst_arrived);
	bool may_be = r->n_forged[1] || w->plan.is_scarce;

	if (side == 0)
		return false;
	if (s->flags & WIRE_SYN)
		return is_over || (may_be && (!e->syn_arrived || s->ack != e->irs + 1));
	if (!e->syn_sent)
		return true;
	if ((s->flags & (WIRE_RST | WIRE_ACK)) == WIRE_RST)
		return is_over;
	if (is_over && (r->n_forged[1] || r->has_heir)) /* as half open as that is, it answers what it cannot use */
		return s->seq - e->iss > e->snd_max - e->iss || s->ack - e->irs > wire_arrived_end(e) - e->irs;
	return w->plan.is_scarce && !e->talks && e->n_others == 0 && s->seq != e->iss + 1;
}

static uint32_t on_sent(struct sim *sim, int from, const struct rte_mbuf *m, const struct tcp_packet *packet)
{
	struct world *w = sim->ctx;
	struct conn_run *r;
	struct wire_seg s;
	uint8_t bytes[65536];
	const uint8_t *payload = NULL;
	bool was_broken;
	int side;

	if (!wire_parse(m, &s)) {
		r = w->connecting ? w->connecting : &w->run[0];
		snprintf(r->wire.broken, sizeof(r->wire.broken), "a segment with a malformed header was sent");
		return TAG_STALE;
	}
	if (w->connecting && (s.flags & (WIRE_SYN | WIRE_ACK)) == WIRE_SYN && s.dport == w->connecting->server_port)
		bind_port(w, w->connecting, s.sport);
	r = world_find(w, from, s.sport, s.dport, &side);
	w->current = r;
	if (!r)
		return TAG_STALE;
	if (is_of_another(w, r, side, &s)) {
		trace(w, r, side, &s, "sends(old)");
		r->has_heir |= (s.flags & WIRE_SYN) != 0;
		return (s.flags & WIRE_RST) ? (uint32_t)(r - w->run) + 1 : TAG_STALE;
	}
	trace(w, r, side, &s, "sends");
	if (s.len)
		payload = rte_pktmbuf_read(m, s.header_len, s.len, bytes);
	was_broken = r->wire.broken[0];
	wire_check_sent(&r->wire, side, &s, payload, packet->ecn, sim->now_us);
	if (r->wire.broken[0] && !was_broken && is_traced(w, r))
		printf("%12s    BROKEN: %s\n", "", r->wire.broken);
	return (uint32_t)(r - w->run) + 1;
}

static void on_arrives(struct sim *sim, int to, const struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag)
{
	struct world *w = sim->ctx;
	struct conn_run *r;
	struct wire_seg s;
	int side;

	w->old_arrives = false;
	if (!wire_parse(m, &s))
		return;
	r = world_find(w, !to, s.sport, s.dport, &side);
	if (!r)
		return;
	w->old_arrives = tag && tag != (uint32_t)(r - w->run) + 1;
	if (tag != (uint32_t)(r - w->run) + 1) {
		trace(w, r, side, &s, tag ? "old comes" : "is forged");
		wire_check_noise(&r->wire, !side, sim->now_us);
		return;
	}
	trace(w, r, side, &s, packet->ecn == 3 ? "comes(CE)" : "comes");
	wire_check_arrived(&r->wire, !side, &s, packet->ecn, sim->now_us);
	if (w->n_samples++ % SAMPLE_EVERY == 0)
		world_sample(w, r);
}

static bool on_filter(struct sim *sim, int from, struct rte_mbuf *m)
{
	struct world *w = sim->ctx;
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);

	if (w->current && (h[13] & WIRE_SYN))
		wire_strip(m, w->current->plan->strip[(h[13] & WIRE_ACK) != 0]);
	return true;
}

static struct sim_link *on_route(struct sim *sim, int from, const struct rte_mbuf *m)
{
	struct world *w = sim->ctx;
	struct conn_run *r = w->current;
	int side;

	if (!r)
		return &w->hole;
	if (r->vanished)
		return &w->hole;
	side = from == r->plan->client ? 0 : 1;
	return w->plan.is_shared ? &w->plan.link[side] : &r->link[side];
}

static void on_fate(struct sim *sim, int from, const struct rte_mbuf *m, uint32_t tag, enum sim_fate what, uint64_t at_us)
{
	struct world *w = sim->ctx;
	struct conn_run *r = w->current;
	struct wire_seg s;
	int side;

	if (!r || what == SIM_PASSES)
		return;
	side = from == r->plan->client ? 0 : 1;
	if (what == SIM_DUPLICATED)
		r->n_twins[side]++;
	else
		r->n_lost[side]++;
	if (is_traced(w, r) && wire_parse(m, &s))
		printf("%12s    ... which %s\n", "", sim_fate_names[what]);
}

static void on_icmp(struct sim *sim, int to, const struct ip_flow *flow)
{
	struct world *w = sim->ctx;
	int side;
	struct conn_run *r = world_find(w, to, flow->local_port, flow->remote_port, &side);

	if (r)
		wire_check_noise(&r->wire, side, sim->now_us);
}

/* -- connections */

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	struct world *w = ctx;
	const struct ip_flow *flow = tcp_flow(c);
	int host = memcmp(&flow->local, &w->sim.host[0].ip, sizeof(flow->local)) == 0 ? 0 : 1;
	int side;
	struct conn_run *r = world_find(w, host, flow->local_port, flow->remote_port, &side);

	/* With a SYN cookie the server takes what is left under way of a connection that its client has forgotten: not r's bytes. */
	if (!r || side != 1 || r->app[1].connected || w->old_arrives) {
		w->n_strays++;
		if (r && is_traced(w, r))
			printf("%12s    ... by which the server %s\n", "", w->old_arrives ? "accepts an older one, by its cookie" : "accepts one more");
		return -ECONNREFUSED;
	}
	if (flow->local_port == PORT_REFUSES)
		return -EBUSY;
	*user = &r->app[1];
	r->app[1].connected = true;
	app_begin(&r->app[1], c, now_us);
	app_step(&r->app[1], now_us);
	return 0;
}

static void on_start(void *ctx, uint64_t now_us)
{
	struct conn_run *r = ctx;
	struct sim *sim = r->app[0].sim;
	struct world *w = sim->ctx;
	int host = r->plan->client;
	struct tcp_connect args = {.local = sim->host[host].ip, .remote = sim->host[!host].ip, .remote_port = r->server_port,
				   .timeout_ms = r->plan->connect_timeout_ms, .cc = r->plan->cc, .event = app_event,
				   .user = &r->app[0]};
	struct tcp_conn *c;

	w->connecting = r;
	c = tcp_connect(sim->host[host].tcp, &args, now_us, &r->app[0].why);
	w->connecting = NULL;
	w->n_started++;
	if (!c) {
		r->app[0].closed = true;
		return;
	}
	bind_port(w, r, tcp_flow(c)->local_port); /* already done, unless its SYN could not be sent */
	app_begin(&r->app[0], c, now_us);
	world_plan_fate(w, r);
}

static void prepare_wire(struct world *w, struct conn_run *r)
{
	struct wire_limits limits = {.is_judged = {true, true}, .is_ip6 = w->plan.is_ip6, .is_untimely = w->plan.n_famines > 0,
				     .is_text = true, .is_attacked = w->plan.n_attacks > 0};

	for (int side = 0; side < 2; side++) {
		limits.mtu[side] = w->plan.config[run_host(r, side)].mtu;
		limits.rx_buffer[side] = w->plan.config[run_host(r, side)].rx_buffer_bytes;
		limits.salt[side] = r->plan->side[side].salt;
	}
	wire_check_init(&r->wire, &limits);
}

static void prepare_conn(struct world *w, struct conn_run *r, const struct conn_plan *p)
{
	memset(r, 0, sizeof(*r));
	r->plan = p;
	r->server_port = p->fate == FATE_NO_LISTENER ? PORT_SHUT : p->fate == FATE_REFUSED ? PORT_REFUSES : PORT_OPEN;
	memcpy(r->link, p->link, sizeof(r->link));
	for (int side = 0; side < 2; side++)
		r->app[side] = (struct app){.sim = &w->sim, .plan = &p->side[side], .peer = &p->side[!side],
					    .other = &r->app[!side], .name = side ? "server" : "client",
					    .prng = p->seed + (unsigned)side, .patience_ms = p->patience_ms};
	prepare_wire(w, r);
	sim_at(&w->sim, w->start_us + p->start_us, on_start, r);
}

static void prepare_host(struct world *w, int host)
{
	static const uint16_t ports[] = {PORT_OPEN, PORT_REFUSES};
	char text[16];

	for (unsigned i = 0; i < 2; i++) {
		struct tcp_listen args = {.port = ports[i], .accept = on_accept, .event = app_event, .ctx = w};
		struct tcp_listener *l;

		if (tcp_listen(w->sim.host[host].tcp, &args, &l) != 0)
			abort();
	}
	if (w->plan.is_ip6) {
		snprintf(text, sizeof(text), "fd00::%d", host + 1);
		ip_parse(text, strlen(text), &w->sim.host[host].ip);
	}
}

static bool is_over(void *ctx)
{
	struct world *w = ctx;

	if (w->n_started < w->plan.n_conns || tcp_n_connections(w->sim.host[0].tcp) || tcp_n_connections(w->sim.host[1].tcp))
		return false;
	for (unsigned i = 0; i < w->plan.n_conns; i++) /* data may be left to read of what is over */
		if (w->run[i].app[0].c || w->run[i].app[1].c)
			return false;
	return true;
}

void world_run(struct world *w, uint64_t seed, int traced, struct run_result *out)
{
	memset(w, 0, offsetof(struct world, held));
	memset(by_port, 0, sizeof(by_port));
	plan_world(&w->plan, seed);
	sim_init(&w->sim, seed, &w->plan.config[0], &w->plan.config[1]);
	w->sim.ctx = w;
	w->sim.sent = on_sent;
	w->sim.arrives = on_arrives;
	w->sim.filter = on_filter;
	w->sim.route = on_route;
	w->sim.fate = on_fate;
	w->sim.icmp = on_icmp;
	w->hole.loss_ppm = 1000000;
	w->traced = traced;
	w->prng = seed ^ 0xa77ac4;
	w->start_us = w->sim.now_us;
	for (int host = 0; host < 2; host++)
		prepare_host(w, host);
	for (unsigned i = 0; i < w->plan.n_conns; i++)
		prepare_conn(w, &w->run[i], &w->plan.conn[i]);
	world_plan_harm(w);
	sim_run(&w->sim, DEADLINE_US, is_over, w);
	world_end_famine(w);
	world_judge(w, out);
	sim_fini(&w->sim);
}
