/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts on one link; see lan.h. */
#include "lan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/hash.h"

#define STEP_US 100
#define REST_US 10000

struct lan lan = {.now = 10000000};

const uint8_t *lan_mac(unsigned host)
{
	static const uint8_t macs[LAN_HOSTS][6] = {{2, 0, 0, 0, 1, 1}, {2, 0, 0, 0, 1, 2}, {2, 0, 0, 0, 1, 3}};

	return macs[host];
}

void lan_put(unsigned from, const uint8_t *data, unsigned len)
{
	struct lan_frame *f = &lan.frames[(lan.head + lan.n) % LAN_FRAMES];

	if (lan.n == LAN_FRAMES || len > LAN_BYTES || len < 14)
		return;
	f->from = from;
	f->len = len;
	memcpy(f->data, data, len);
	lan.n++;
}

static uint16_t on_sent(uint16_t id, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, void *ctx)
{
	const struct lan_host *h = ctx;
	uint8_t copy[LAN_BYTES];

	for (uint16_t i = 0; i < n; i++)
		if (pkts[i]->pkt_len <= sizeof(copy))
			lan_put((unsigned)(h - lan.hosts), rte_pktmbuf_read(pkts[i], 0, pkts[i]->pkt_len, copy), pkts[i]->pkt_len);
	return n;
}

static void start_host(unsigned host)
{
	static struct rte_mempool *pools[LAN_WORKERS];
	char device[32], name[32];
	struct net_port_config pc = {.device = device, .n_queues = LAN_WORKERS, .mtu = 1500, .pools = pools};
	struct lan_host *h = &lan.hosts[host];

	pools[0] = pools[1] = lan.pool;
	snprintf(device, sizeof(device), "net_null%u,no-rx=1", host);
	if (port_start(&pc, &h->port) != 0)
		abort();
	for (uint16_t i = 0; i < LAN_WORKERS; i++)
		rte_eth_add_tx_callback(h->port.port_id, i, on_sent, h);
	for (unsigned i = 0; i < LAN_WORKERS * LAN_WORKERS; i++) {
		snprintf(name, sizeof(name), "lan%u-%u", host, i);
		h->in[i] = h->out[i % LAN_WORKERS * LAN_WORKERS + i / LAN_WORKERS] =
			rte_ring_create(name, 256, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	}
}

void lan_start(void)
{
	lan.frames = calloc(LAN_FRAMES, sizeof(*lan.frames));
	lan.pool = rte_pktmbuf_pool_create("lan", LAN_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	lan.clones = rte_pktmbuf_pool_create("lan-clones", LAN_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	if (!lan.frames || !lan.pool || !lan.clones)
		abort();
	for (unsigned i = 0; i < LAN_HOSTS; i++)
		start_host(i);
}

static void start_worker(struct lan_host *h, uint16_t i)
{
	uint16_t n = h->cfg.n_workers;
	struct net_config nc = {.worker = i, .n_workers = n, .n_ifaces = 1, .ifaces = &h->iface, .n_ports = 1, .ports = &h->port,
				.pool = lan.pool, .clones = lan.clones, .wheel = &h->wheels[i], .stats = &h->stats[i],
				.redirect_in = &h->in[i * LAN_WORKERS], .redirect_out = &h->out[i * LAN_WORKERS], .n_neighbours = 16,
				.neighbour_queue = 3, .steer = &h->steer, .gro = true, .hands_over = h->cfg.hands_over};
	struct tcp_config tc = {.n_connections = 200, .n_syn = 16, .n_time_wait = 16, .cookies = h->cfg.cookies, .rx_buffer_bytes = 65536,
				.tx_buffer_bytes = 65536, .mtu = 1500, .time_wait_ms = 1000, .fin_timeout_ms = 1000,
				.max_retransmit_ms = 100000, .secret = {(uint8_t)(h - lan.hosts), (uint8_t)i}};
	struct tcp_env env = {.output = net_output_tcp, .path_mtu = net_mtu_for, .pool = lan.pool, .clones = lan.clones,
			      .wheel = &h->wheels[i], .wheel_kind = 1, .stats = &h->stats[i]};

	memset(&h->stats[i], 0, sizeof(h->stats[i]));
	wheel_init(&h->wheels[i], 1000, lan.now);
	h->net[i] = net_create(&nc);
	steer_ports(&h->steer, i, &tc.port_lo, &tc.port_hi);
	env.ctx = h->net[i];
	h->tcp[i] = tcp_create(&tc, &env);
	if (!h->net[i] || !h->tcp[i])
		abort();
	net_set_tcp(h->net[i], h->tcp[i]);
}

void lan_up(unsigned host, const struct lan_config *cfg)
{
	struct lan_host *h = &lan.hosts[host];

	h->cfg = *cfg;
	h->port.n_queues = cfg->n_workers;
	h->port.caps.stable_rss = cfg->stable_rss;
	h->iface = (struct net_iface){.port_id = h->port.port_id, .mtu = 1500, .n_addrs = cfg->n_addrs};
	memcpy(h->iface.mac, lan_mac(host), 6);
	memcpy(h->iface.addrs, cfg->addrs, sizeof(cfg->addrs));
	steer_init(&h->steer, cfg->n_workers, 20000, 21999);
	for (uint16_t i = 0; i < cfg->n_workers; i++)
		start_worker(h, i);
	h->is_up = true;
}

void lan_down(unsigned host)
{
	struct lan_host *h = &lan.hosts[host];
	void *m;

	if (!h->is_up)
		return;
	for (unsigned i = 0; i < h->cfg.n_workers; i++) {
		tcp_destroy(h->tcp[i], lan.now);
		net_flush(h->net[i]);
		net_destroy(h->net[i]);
		if (h->wheels[i].n_armed)
			abort();
	}
	for (unsigned i = 0; i < LAN_WORKERS * LAN_WORKERS; i++)
		while (rte_ring_sc_dequeue(h->in[i], &m) == 0)
			rte_pktmbuf_free(m);
	steer_fini(&h->steer);
	h->is_up = false;
}

bool lan_end(void)
{
	for (unsigned i = 0; i < LAN_HOSTS; i++)
		lan_down(i);
	lan.n = 0;
	lan.judge = NULL;
	return rte_mempool_avail_count(lan.pool) == LAN_MBUFS && rte_mempool_avail_count(lan.clones) == LAN_MBUFS;
}

/* As a device would: by addresses and ports, or what stands where they do. */
static unsigned queue_of(const struct lan_host *h, const struct lan_frame *f)
{
	bool is4 = f->data[12] == 8;
	unsigned at = is4 ? 26 : 22, n = is4 ? 12 : 36;

	return f->len < at + n ? 0 : (unsigned)(hash64(f->data + at, n, 1) >> 32) % h->cfg.n_workers;
}

static void give(struct lan_host *h, const struct lan_frame *f)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(lan.pool);

	if (!m)
		return;
	memcpy(rte_pktmbuf_append(m, (uint16_t)f->len), f->data, f->len);
	net_input(h->net[queue_of(h, f)], 0, &m, 1, lan.now);
}

void lan_step(uint64_t us)
{
	for (unsigned n = lan.n; n > 0; n--) {
		struct lan_frame f = lan.frames[lan.head];

		lan.head = (lan.head + 1) % LAN_FRAMES;
		lan.n--;
		if (lan.judge && !lan.judge(&f))
			continue;
		for (unsigned i = 0; i < LAN_HOSTS; i++)
			if (i != f.from && lan.hosts[i].is_up && ((f.data[0] & 1) || memcmp(f.data, lan_mac(i), 6) == 0))
				give(&lan.hosts[i], &f);
	}
	for (unsigned i = 0; i < LAN_HOSTS; i++)
		for (unsigned w = 0; lan.hosts[i].is_up && w < lan.hosts[i].cfg.n_workers; w++) {
			net_poll(lan.hosts[i].net[w], lan.now);
			wheel_run(&lan.hosts[i].wheels[w], lan.now, 1000);
			tcp_run(lan.hosts[i].tcp[w], lan.now);
			net_flush(lan.hosts[i].net[w]);
		}
	lan.now += us;
}

void lan_run(uint64_t us)
{
	for (uint64_t end = lan.now + us; lan.now < end;)
		lan_step(lan.n ? STEP_US : REST_US);
}

uint64_t lan_counter(unsigned host, enum weir_counter c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < lan.hosts[host].cfg.n_workers; i++)
		n += lan.hosts[host].stats[i].counter[c];
	return n;
}

uint32_t lan_n_open(unsigned host)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < lan.hosts[host].cfg.n_workers; i++)
		n += tcp_n_open(lan.hosts[host].tcp[i]);
	return n;
}
