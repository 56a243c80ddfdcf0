/* SPDX-License-Identifier: Apache-2.0 */
/* DPDK: memory, ports, frames in and out, ARP. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "blast.h"

#define N_MBUFS 65535u
#define ARP_EVERY_MS 200

static int start_eal(const struct options *o)
{
	static char core[16], mb[16], prefix[64];
	static char *argv[] = {(char *)"weir-blast", (char *)"--no-pci", (char *)"--no-telemetry", (char *)"--log-level=lib.*:error",
			       (char *)"--log-level=pmd.*:error", (char *)"-l", core, (char *)"--file-prefix", prefix,
			       (char *)"--no-huge", (char *)"--no-shconf", (char *)"-m", mb, NULL, NULL};
	int argc = 13;

	snprintf(core, sizeof(core), "%u", o->core);
	snprintf(mb, sizeof(mb), "%u", o->memory_mb);
	if (o->file_prefix)
		snprintf(prefix, sizeof(prefix), "%s", o->file_prefix);
	else
		snprintf(prefix, sizeof(prefix), "blast-%d", (int)getpid());
	if (o->hugepages) {
		argv[9] = (char *)"--in-memory"; /* no file is left behind */
		argv[10] = NULL;
		argc = 10;
	}
	return rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
}

static int setup_queues(struct blast *b, uint16_t id)
{
	uint16_t n_rx = (uint16_t)b->o.n_desc;
	uint16_t n_tx = n_rx;
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(id, &n_rx, &n_tx);

	for (uint16_t q = 0; rc == 0 && q < b->o.n_queues; q++) {
		rc = rte_eth_rx_queue_setup(id, q, n_rx, SOCKET_ID_ANY, NULL, b->pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(id, q, n_tx, SOCKET_ID_ANY, NULL);
	}
	return rc;
}

static int open_port(struct blast *b, const char *device, struct port *p)
{
	struct rte_eth_conf conf = {0};
	struct rte_ether_addr mac;
	char name[64];
	int rc;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
	rc = rte_dev_probe(device);
	if (rc == 0)
		rc = rte_eth_dev_get_port_by_name(name, &p->id);
	if (rc == 0)
		rc = rte_eth_dev_configure(p->id, (uint16_t)b->o.n_queues, (uint16_t)b->o.n_queues, &conf);
	if (rc == 0)
		rc = setup_queues(b, p->id);
	if (rc == 0)
		rc = rte_eth_macaddr_get(p->id, &mac);
	if (rc == 0)
		rc = rte_eth_dev_start(p->id);
	if (rc) {
		fprintf(stderr, "weir-blast: port %s: %s\n", device, strerror(-rc));
		return rc;
	}
	memcpy(p->mac, mac.addr_bytes, 6);
	p->n_queues = (uint16_t)b->o.n_queues;
	rte_eth_promiscuous_enable(p->id);
	return 0;
}

/* A frame lies in one packet buffer. */
static uint16_t buffer_bytes(const struct options *o)
{
	uint32_t n = RTE_PKTMBUF_HEADROOM + RTE_ALIGN_CEIL(o->mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN, 128);

	return (uint16_t)(n > RTE_MBUF_DEFAULT_BUF_SIZE ? n : RTE_MBUF_DEFAULT_BUF_SIZE);
}

/* As rte_pktmbuf_pool_create(), without gaps up to the next page: net_af_xdp would take them for the pool's end. */
static struct rte_mempool *create_pool(const struct options *o)
{
	struct rte_pktmbuf_pool_private priv = {.mbuf_data_room_size = buffer_bytes(o)};
	struct rte_mempool *pool = rte_mempool_create_empty("blast", o->mtu > 1500 ? N_MBUFS / 4 : N_MBUFS,
							    sizeof(struct rte_mbuf) + priv.mbuf_data_room_size, 512, sizeof(priv),
							    SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);

	if (!pool)
		return NULL;
	rte_pktmbuf_pool_init(pool, &priv);
	if (rte_mempool_populate_default(pool) < 0)
		return NULL; /* and the program ends */
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

int port_open_all(struct blast *b)
{
	int rc = start_eal(&b->o);

	if (rc) {
		fprintf(stderr, "weir-blast: DPDK does not start: %s\n", strerror(-rc));
		return rc;
	}
	b->pool = create_pool(&b->o);
	if (!b->pool) {
		fprintf(stderr, "weir-blast: no memory for packet buffers: %s\n", rte_strerror(rte_errno));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < 2 && b->o.ports[i]; i++) {
		rc = open_port(b, b->o.ports[i], &b->ports[i]);
		if (rc)
			return rc;
		b->n_ports++;
	}
	return 0;
}

/*
 * Two memif ports that face each other are left to the end of the process: as
 * one closes, DPDK's interrupt thread tears down the other, at the same time as we would.
 */
void port_close_all(struct blast *b)
{
	if (b->n_ports > 1 && b->is_loop)
		return;
	for (unsigned i = 0; i < b->n_ports; i++)
		if (rte_eth_dev_stop(b->ports[i].id) == 0)
			rte_eth_dev_close(b->ports[i].id);
	rte_eal_cleanup();
}

static void queue_frame(struct blast *b, struct port *p, unsigned queue, struct rte_mbuf *m)
{
	p->tx[queue].frames[p->tx[queue].n++] = m;
	b->counts.tx++;
}

static struct rte_mbuf *new_frame(struct blast *b, const struct port *p, unsigned queue, unsigned n)
{
	struct rte_mbuf *m = p->tx[queue].n < TX_QUEUE ? rte_pktmbuf_alloc(b->pool) : NULL;

	if (!m) {
		b->counts.tx_full++;
		return NULL;
	}
	m->data_len = (uint16_t)n;
	m->pkt_len = n;
	return m;
}

bool port_send(struct blast *b, struct port *p, unsigned queue, const struct segment *s, fill_fn *fill, void *ctx)
{
	unsigned n_head = frame_head_length(s);
	struct rte_mbuf *m = new_frame(b, p, queue, n_head + s->len);
	uint8_t *at;

	if (!m)
		return false;
	at = rte_pktmbuf_mtod(m, uint8_t *);
	if (s->len)
		fill(ctx, at + n_head);
	frame_write_tcp(at, s, p->mac, p->peer_mac, b->ip_id++);
	queue_frame(b, p, queue, m);
	return true;
}

static void send_arp(struct blast *b, struct port *p, bool is_request, const uint8_t *dst, uint32_t sender, uint32_t target)
{
	struct rte_mbuf *m = new_frame(b, p, 0, FRAME_ARP_LEN);

	if (!m)
		return;
	frame_write_arp(rte_pktmbuf_mtod(m, uint8_t *), is_request, p->mac, dst, sender, target);
	queue_frame(b, p, 0, m);
}

/* We are the gateway and the origins, and all that is behind. */
static bool is_ours(const struct blast *b, uint32_t ip)
{
	return ip == b->o.gateway || ip - b->o.origin_base < b->o.n_origins;
}

static void take_arp(struct blast *b, struct port *p, const struct arp *a)
{
	if (!a->is_request || a->sender == b->o.target || a->sender == b->o.source || b->is_loop) {
		memcpy(p->peer_mac, a->mac, 6);
		p->has_peer = true;
	}
	if (a->is_request && a->sender != a->target && is_ours(b, a->target))
		send_arp(b, p, false, a->mac, a->target, a->sender);
}

/* Who has the address that frames of this port go to? */
static void ask(struct blast *b, struct port *p)
{
	const struct options *o = &b->o;

	if (b->n_ports == 1 || p != b->origin.port)
		send_arp(b, p, true, NULL, o->gateway, o->target);
	else if (b->is_loop) /* two ports that face each other */
		send_arp(b, p, true, NULL, o->target, o->gateway);
	else
		send_arp(b, p, true, NULL, o->origin_base, o->source);
}

bool port_resolve(struct blast *b)
{
	bool is_due = !b->asked_ms || b->now_ms - b->asked_ms >= ARP_EVERY_MS;
	bool has_all = true;

	for (unsigned i = 0; i < b->n_ports; i++) {
		struct port *p = &b->ports[i];

		if (p->has_peer)
			continue;
		has_all = false;
		if (is_due)
			ask(b, p);
	}
	if (is_due)
		b->asked_ms = b->now_ms;
	return has_all;
}

/* Which end a segment is for; NULL: none. */
static struct end *end_of(struct blast *b, const struct segment *s, int64_t *index)
{
	struct end *e = s->dst - b->o.origin_base < b->o.n_origins ? &b->origin : &b->client;

	*index = end_find(b, e, s);
	return *index >= 0 ? e : NULL;
}

static bool is_dropped(struct blast *b)
{
	if (!b->o.drop_ppm || blast_random(b) % 1000000 >= b->o.drop_ppm)
		return false;
	b->counts.dropped_on_purpose++;
	return true;
}

struct parsed {
	struct segment seg;
	struct end *end;
	int64_t index;
};

/* Reads one frame; true if it is a segment for an end. */
static bool read_frame(struct blast *b, struct port *p, struct rte_mbuf *m, struct parsed *out)
{
	struct arp arp;

	if (is_dropped(b) || (m->nb_segs > 1 && rte_pktmbuf_linearize(m) != 0))
		return false;
	switch (frame_read(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, b->o.verify, &out->seg, &arp)) {
	case FRAME_ARP:
		take_arp(b, p, &arp);
		return false;
	case FRAME_TCP:
		break;
	case FRAME_OTHER:
		b->counts.other++;
		return false;
	case FRAME_BAD:
		count_error(b, E_BAD_FRAME);
		return false;
	}
	out->end = end_of(b, &out->seg, &out->index);
	if (!out->end) {
		b->counts.flood_answers++; /* to an address that nobody has: only a flood's source */
		return false;
	}
	__builtin_prefetch(&out->end->conns[out->index], 1);
	return true;
}

static unsigned poll_queue(struct blast *b, struct port *p, uint16_t queue)
{
	struct rte_mbuf *frames[BURST];
	struct parsed parsed[BURST];
	unsigned n = rte_eth_rx_burst(p->id, queue, frames, BURST);
	unsigned n_parsed = 0;

	if (!n)
		return 0;
	b->counts.rx += n;
	for (unsigned i = 0; i < n; i++) {
		if (i + 4 < n)
			__builtin_prefetch(rte_pktmbuf_mtod(frames[i + 4], void *));
		if (read_frame(b, p, frames[i], &parsed[n_parsed]))
			n_parsed++;
	}
	for (unsigned i = 0; i < n_parsed; i++)
		tiny_input(b, parsed[i].end, (uint32_t)parsed[i].index, &parsed[i].seg, queue);
	rte_pktmbuf_free_bulk(frames, n);
	tiny_flush(b, &b->client);
	tiny_flush(b, &b->origin);
	return n;
}

unsigned port_poll(struct blast *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n_ports; i++)
		for (uint16_t q = 0; q < b->ports[i].n_queues; q++)
			n += poll_queue(b, &b->ports[i], q);
	return n;
}

void port_flush(struct blast *b)
{
	for (unsigned i = 0; i < b->n_ports; i++)
		for (uint16_t q = 0; q < b->ports[i].n_queues; q++) {
			struct tx_queue *t = &b->ports[i].tx[q];
			unsigned sent;

			if (!t->n)
				continue;
			sent = rte_eth_tx_burst(b->ports[i].id, q, t->frames, (uint16_t)t->n);
			t->n -= sent; /* the rest waits */
			if (t->n)
				memmove(t->frames, t->frames + sent, t->n * sizeof(*t->frames));
		}
}
