/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack among hostile peers: whatever they send, it stays within its bounds
 * of memory and of answers, corrupts nothing, keeps to the rules itself, and
 * every connection ends with a reason.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "driver.h"
#include "foe.h"
#include "stats/stats.h"
#include "tcp/seq.h"

#define N_FOES 48
#define PORT 80
#define FIRST_OPENER 40000  /* port of foe 0, if it opens */
#define FIRST_WAITING 10000 /* port of foe 0, if the victim opens */
#define DEADLINE_US 3600000000ull

static struct sim sim;
static struct foe foes[N_FOES];
static struct app nobody = {.aborted = true}; /* what the foes have for an application */
static struct tcp_config config;
static unsigned n_started;
static uint64_t begin_us;

static struct foe *foe_of(uint16_t port)
{
	if (port >= FIRST_OPENER && port < FIRST_OPENER + N_FOES)
		return &foes[port - FIRST_OPENER];
	if (port >= FIRST_WAITING && port < FIRST_WAITING + N_FOES)
		return &foes[port - FIRST_WAITING];
	return NULL;
}

static int victim_side(const struct foe *f)
{
	return f->opens ? 1 : 0;
}

static void trace(const struct foe *f, const struct wire_seg *s, int side, const char *what)
{
	char text[256];

	if (!f->is_traced)
		return;
	wire_format(text, sizeof(text), s, f->wire.side[side].iss, f->wire.side[!side].iss);
	printf("%12.6f #%d %s %s\n", (double)(sim.now_us - begin_us) / 1e6, f->index, what, text);
}

static uint32_t on_sent(struct sim *s, int from, const struct rte_mbuf *m, const struct tcp_packet *packet)
{
	struct wire_seg seg;
	uint8_t bytes[65536];
	struct foe *f;
	bool was_broken;

	if (!wire_parse(m, &seg))
		abort();
	f = foe_of(seg.dport);
	if (!f)
		return 0;
	f->victim_port = seg.sport;
	trace(f, &seg, victim_side(f), "sends");
	if ((seg.flags & WIRE_SYN) && f->wire.side[victim_side(f)].talks)
		f->wire.limits.is_judged[victim_side(f)] = false; /* TIME-WAIT made way for another connection */
	was_broken = f->wire.broken[0];
	wire_check_sent(&f->wire, victim_side(f), &seg, seg.len ? rte_pktmbuf_read(m, seg.header_len, seg.len, bytes) : NULL,
			packet->ecn, s->now_us);
	if (f->is_traced && f->wire.broken[0] && !was_broken)
		printf("%12s    BROKEN: %s\n", "", f->wire.broken);
	foe_hear(f, &seg, s->now_us);
	return 0;
}

/* Nothing goes on to the other stack: the foes have heard it. */
static bool on_filter(struct sim *s, int from, struct rte_mbuf *m)
{
	return false;
}

/* -- while it runs */

/* Mbufs that a connection may hold: its buffers, in segments of one byte each behind gaps, and what it sends. */
static unsigned mbufs_at_most(void)
{
	return 200 + (config.rx_buffer_bytes + config.tx_buffer_bytes) / 256;
}

static void check_memory(struct foe *f)
{
	unsigned held = SIM_N_MBUFS - rte_mempool_avail_count(sim.pool);
	unsigned n = tcp_n_connections(sim.host[0].tcp);

	for (unsigned i = 0; i < N_FOES; i++) /* over, but not all is read */
		n += foes[i].app.c && !tcp_has_flow(sim.host[0].tcp, tcp_flow(foes[i].app.c));
	if (held > 1 + sim.n_packets + n * mbufs_at_most()) /* 1: the one that arrives */
		wire_fail(&f->wire, victim_side(f), "and others hold %u mbufs with %u connections, %u packets being on their way", held,
			  n, sim.n_packets);
}

static void check_info(struct foe *f)
{
	const struct wire_side *e = &f->wire.side[victim_side(f)];
	struct tcp_info i;

	if (!f->app.c)
		return;
	tcp_get_info(f->app.c, &i);
	if (i.readable_bytes + i.ooo_bytes > 2 * config.rx_buffer_bytes)
		wire_fail(&f->wire, victim_side(f), "holds %u readable bytes and %u behind gaps in a buffer of %u", i.readable_bytes,
			  i.ooo_bytes, config.rx_buffer_bytes);
	if (i.unacked_bytes + i.unsent_bytes > config.tx_buffer_bytes)
		wire_fail(&f->wire, victim_side(f), "holds %u bytes to send in a buffer of %u", i.unacked_bytes + i.unsent_bytes,
			  config.tx_buffer_bytes);
	/* Bytes acknowledged count, not acknowledgements (RFC 3465); BBR has a window of its own making. */
	if (i.cc && strcmp(i.cc, "bbr") != 0 && i.cwnd > 40000u + 20u * i.mss + 3 * (e->acked - e->iss))
		wire_fail(&f->wire, victim_side(f), "has a congestion window of %u, with %u bytes acknowledged", i.cwnd,
			  e->acked - e->iss);
}

static void on_arrives(struct sim *s, int to, const struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag)
{
	struct wire_seg seg;
	struct foe *f;

	if (!wire_parse(m, &seg)) {
		if (m->data_len >= WIRE_HEADER_MIN && (f = foe_of(seg.sport)) != NULL)
			wire_check_noise(&f->wire, victim_side(f), s->now_us);
		return;
	}
	f = foe_of(seg.sport);
	if (!f)
		return;
	trace(f, &seg, !victim_side(f), "hears");
	wire_check_arrived(&f->wire, victim_side(f), &seg, packet->ecn, s->now_us);
	check_memory(f);
	check_info(f);
}

/* -- connections */

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	struct foe *f = foe_of(tcp_flow(c)->remote_port);

	if (!f || f->app.connected)
		return -ECONNREFUSED;
	*user = &f->app;
	f->app.connected = true;
	app_begin(&f->app, c, now_us);
	app_step(&f->app, now_us);
	return 0;
}

static void on_start(void *ctx, uint64_t now_us)
{
	struct foe *f = ctx;
	struct tcp_connect args = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = f->port, .timeout_ms = 20000,
				   .event = app_event, .user = &f->app};
	enum weir_reason why;
	struct tcp_conn *c;

	n_started++;
	if (!f->opens) {
		c = tcp_connect(sim.host[0].tcp, &args, now_us, &why);
		if (!c)
			abort();
		app_begin(&f->app, c, now_us);
	}
	foe_start(f, now_us);
}

static void prepare(struct foe *f, int i, uint64_t seed, int traced)
{
	struct wire_limits limits = {.mtu = {config.mtu, config.mtu}, .rx_buffer = {config.rx_buffer_bytes, config.rx_buffer_bytes},
				     .is_text = true, .is_attacked = true};

	foe_init(f, &sim, i, seed * 1000003 + (unsigned)i);
	f->is_traced = traced == i || traced == -2;
	f->port = (uint16_t)((f->opens ? FIRST_OPENER : FIRST_WAITING) + i);
	f->victim_port = PORT;
	f->ip = sim.host[1].ip;
	f->victim_ip = sim.host[0].ip;
	f->app = (struct app){.sim = &sim, .plan = &f->plan[0], .peer = &f->plan[1], .other = &nobody, .name = "victim",
			      .prng = seed, .patience_ms = 100000, .is_lied_to = f->is_liar || f->is_odd};
	limits.salt[victim_side(f)] = f->plan[0].salt;
	limits.is_judged[victim_side(f)] = !f->is_odd;
	wire_check_init(&f->wire, &limits);
	f->wire.side[!victim_side(f)].iss = f->iss; /* for the trace */
	sim_at(&sim, sim.now_us + foe_draw(f, 2000000), on_start, f);
}

static void draw_config(uint64_t seed)
{
	static const uint32_t buffers[] = {2048, 8192, 30000, 65536, 65536, 131072, 262144};
	uint64_t prng = seed ^ 0xf0e;

	config = sim_config();
	config.rx_buffer_bytes = buffers[sim_mix(&prng) % 7];
	config.tx_buffer_bytes = buffers[sim_mix(&prng) % 6];
	config.mtu = sim_mix(&prng) % 4 ? 1500 : (uint16_t)(576 + sim_mix(&prng) % 8000);
	config.keepalive_ms = sim_mix(&prng) % 2 ? 0 : 5000;
	config.tso_max_bytes = sim_mix(&prng) % 2 ? 0 : 20000;
	config.ecn = sim_mix(&prng) % 2;
	config.cc = (enum tcp_cc_kind)(sim_mix(&prng) % (TCP_CC_BBR + 1));
	config.n_connections = 16 * N_FOES; /* the pools of what is in flight follow it */
	config.n_held_max = sim_mix(&prng) % 3 ? 0 : 100 + (uint32_t)(sim_mix(&prng) % 2000);
	config.n_syn = sim_mix(&prng) % 3 ? N_FOES : 4;
}

static bool is_over(void *ctx)
{
	if (n_started < N_FOES || tcp_n_connections(sim.host[0].tcp) > 0)
		return false;
	for (unsigned i = 0; i < N_FOES; i++)
		if (foes[i].app.c || (foes[i].n_acts && !foes[i].is_silent))
			return false;
	return true;
}

/* -- the end */

static void judge(struct foe *f, struct run_result *out)
{
	const struct wire_side *e = &f->wire.side[victim_side(f)];
	const struct app *a = &f->app;

	if (f->wire.broken[0])
		result_fail(out, f->index, "%s", f->wire.broken);
	if (a->broken[0])
		result_fail(out, f->index, "%s", a->broken);
	if ((a->connected || !f->opens) && !app_is_done(a))
		result_fail(out, f->index, "the connection never ended: sent %u, got %u", a->sent, a->got);
	if (a->n_closed > 1)
		result_fail(out, f->index, "the connection ended %u times", a->n_closed);
	if (a->closed && stat_reason_kind(a->why) != WEIR_KIND_CONNECTION)
		result_fail(out, f->index, "the connection ended without a reason");
	if (e->n_pure_acks > e->n_arrived + e->n_ackable + a->got / 1024 + 60)
		result_fail(out, f->index, "%u pure ACKs answered %u segments", e->n_pure_acks, e->n_arrived);
	if (e->n_retransmits > 200 + 20 * e->n_arrived)
		result_fail(out, f->index, "%u segments were sent again for %u that came", e->n_retransmits, e->n_arrived);
	out->n_segments += e->n_sent + f->n_injected;
	out->n_retransmits += e->n_retransmits;
	out->n_bytes += a->got;
	out->n_complete += a->let_go && !a->lost_patience;
}

static void print_left(void *ctx, struct tcp_conn *c)
{
	struct tcp_info i;

	tcp_get_info(c, &i);
	fprintf(stderr, "  left: port %u, state %d, unacked %u, unsent %u\n", i.flow.remote_port, (int)i.state, i.unacked_bytes,
		i.unsent_bytes);
}

static void run(uint64_t seed, int traced, struct run_result *out)
{
	struct tcp_config other = sim_config();
	struct tcp_listen args = {.port = PORT, .accept = on_accept, .event = app_event};
	struct tcp_listener *l;

	memset(out, 0, sizeof(*out));
	out->failed = -1;
	out->n_conns = N_FOES;
	draw_config(seed);
	other.n_connections = 1;
	sim_init(&sim, seed, &config, &other);
	begin_us = sim.now_us;
	sim.sent = on_sent;
	sim.filter = on_filter;
	sim.arrives = on_arrives;
	n_started = 0;
	if (tcp_listen(sim.host[0].tcp, &args, &l) != 0)
		abort();
	for (int i = 0; i < N_FOES; i++)
		prepare(&foes[i], i, seed, traced);
	sim_run(&sim, DEADLINE_US, is_over, NULL);
	for (int i = 0; i < N_FOES; i++)
		judge(&foes[i], out);
	if (tcp_n_connections(sim.host[0].tcp) > 0) {
		result_fail(out, -1, "%u connections are left after an hour", tcp_n_connections(sim.host[0].tcp));
		tcp_each(sim.host[0].tcp, print_left, NULL);
	}
	out->stats = sim.host[0].stats;
	sim_fini(&sim);
}

static void print(unsigned conn)
{
	const struct foe *f;

	if (conn >= N_FOES)
		return;
	f = &foes[conn];
	printf("foe %u %s%s%s; it is fond of:", conn, f->opens ? "opens" : "is called", f->is_odd ? ", oddly" : "",
	       f->is_liar ? ", lies" : "");
	for (unsigned i = 0; i < FOE_N_TRICKS; i++)
		if (f->tricks & 1u << i)
			printf(" %s;", foe_trick_names[i]);
	printf("\n  mtu %u, rx %u, tx %u, tso %u, ecn %d, cc %d; the victim sends %u bytes\n", config.mtu, config.rx_buffer_bytes,
	       config.tx_buffer_bytes, config.tso_max_bytes, config.ecn, (int)config.cc, f->plan[0].to_send);
}

int main(int argc, char **argv)
{
	return driver_main(argc, argv, run, print);
}
