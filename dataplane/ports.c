/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports while the dataplane runs, as main sees to them five times a second:
 * their links, the counts of their devices, and devices that go and come back.
 *
 * A device that is gone: the workers are told by is_shut to leave the port
 * alone; when each has begun two more iterations none is in a call to it any more,
 * and it is closed. Then it is looked for, more and more seldom, and opened
 * again as it was. The other ports do not notice.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_lcore.h>

#include "base/log.h"
#include "exception.h"
#include "start.h"
#include "stats/stats.h"

#define RETRY_MS 1000
#define RETRY_MAX_MS 30000
#define MISSED_LOG_MS 10000
#define SAMPLE_MS 1000 /* some devices have to be asked by messages for their counts */

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool has_vlans(const struct config *c, unsigned port)
{
	for (unsigned i = 0; i < c->n_ifaces; i++)
		if (c->ifaces[i].port == port && c->ifaces[i].net.vlan)
			return true;
	return false;
}

struct net_port_config dataplane_port_config(struct dataplane *d, unsigned i)
{
	const struct config_port *cp = &d->config.ports[i];

	return (struct net_port_config){
		.device = cp->device,
		.bond = cp->bond.n_members ? &cp->bond : NULL,
		.n_queues = (uint16_t)d->config.n_workers,
		.n_desc = cp->n_desc,
		.mtu = cp->mtu,
		.promiscuous = cp->promiscuous,
		.has_vlans = has_vlans(&d->config, i),
		.wants_rss = d->config.steering == STEER_WANT_RSS,
		.no_offloads = !d->config.device_offloads,
		.wants_rx_intr = d->config.idle == IDLE_MODE_INTERRUPT,
		.merges = d->config.gro,
		.reopens = cp->reopens,
		.pools = d->pools,
	};
}

/* Workers whose core is on another NUMA node than the device: each packet crosses between them. */
static void find_far_workers(const struct dataplane *d, const struct net_port *p, struct weir_port_details *out)
{
	unsigned n = 0;

	memset(out->far_workers, 0, sizeof(out->far_workers));
	for (unsigned w = 0; w < d->config.n_workers; w++)
		if (port_is_far(p->numa_node, (int)rte_lcore_to_socket_id(w + 1))) {
			out->far_workers[w / 64] |= 1ull << w % 64;
			n++;
		}
	if (n)
		log_warn("port %s is on NUMA node %d, and %u of %u workers are not (workers: cores): each packet of theirs crosses between nodes",
			 p->name, p->numa_node, n, d->config.n_workers);
}

static uint32_t state_of(const struct net_port *p)
{
	return p->is_removed ? WEIR_PORT_REMOVED : port_is_link_up(p) ? WEIR_PORT_UP : WEIR_PORT_DOWN;
}

static void put_basics(struct dataplane *d, unsigned i)
{
	const struct net_port *port = &d->ports[i];
	struct weir_port_info *p = &d->stats->port[i];

	snprintf(p->name, sizeof(p->name), "%s", port->name);
	memcpy(p->mac, port->mac, sizeof(p->mac));
	p->mtu = port->mtu;
	p->n_queues = port->n_queues;
	p->link_up = port_is_link_up(port);
	exception_set_link(d->exception, i, p->link_up);
	__atomic_store_n(&ctl_stats_port(d->stats, i)->state, state_of(port), __ATOMIC_RELAXED);
}

void dataplane_report_ports(struct dataplane *d)
{
	for (unsigned i = 0; i < d->n_ports; i++) {
		struct weir_port_details *out = ctl_stats_port(d->stats, i);

		port_report(&d->ports[i], out);
		find_far_workers(d, &d->ports[i], out);
		port_sample(&d->ports[i], out);
		port_sample_xstats(&d->ports[i], ctl_stats_xstats(d->stats, i));
		put_basics(d, i);
	}
	d->stats->n_ports = d->n_ports;
}

static void count(uint64_t *counter, struct weir_port_details *out)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&out->changed_s, (uint64_t)time(NULL), __ATOMIC_RELAXED);
}

/* What the device could not keep until the workers came is the first sign that they are too few. */
static void tell_losses(struct dataplane *d, unsigned i, uint64_t now_ms)
{
	const struct weir_port_details *out = ctl_stats_port(d->stats, i);
	struct port_watch *w = &d->watches[i];
	uint64_t n = out->rx_missed + out->rx_no_mbuf;

	if (n == w->n_missed || (w->told_ms && now_ms - w->told_ms < MISSED_LOG_MS))
		return;
	log_warn("port %s: the device lost %llu packets that it had received: its queues were full (%llu in all), or no packet buffer was free "
		 "(%llu in all)", d->ports[i].name, (unsigned long long)(n - w->n_missed), (unsigned long long)out->rx_missed,
		 (unsigned long long)out->rx_no_mbuf);
	w->n_missed = n;
	w->told_ms = now_ms;
}

static uint64_t loops_of(const struct dataplane *d, unsigned worker)
{
	return __atomic_load_n(&ctl_stats_worker(d->stats, worker)->counter[WEIR_C_LOOPS], __ATOMIC_RELAXED);
}

static void leave(struct dataplane *d, unsigned i)
{
	struct port_watch *w = &d->watches[i];

	log_error("port %s: its device is gone; the other ports go on%s", d->ports[i].name,
		  port_may_return(&d->ports[i]) ? ", and it is opened again when it is back" : "; it takes a restart of the dataplane to use it again");
	count(&ctl_stats_port(d->stats, i)->removals, ctl_stats_port(d->stats, i));
	for (unsigned k = 0; k < d->config.n_workers; k++)
		w->n_loops[k] = loops_of(d, k);
	w->phase = PORT_IS_LEFT;
}

static bool have_all_left(const struct dataplane *d, const struct port_watch *w)
{
	for (unsigned k = 0; k < d->n_launched; k++)
		if (loops_of(d, k) - w->n_loops[k] < 2)
			return false;
	return true;
}

static void close_left(struct dataplane *d, unsigned i, uint64_t now_ms)
{
	struct port_watch *w = &d->watches[i];

	if (!have_all_left(d, w))
		return;
	port_keep_counts(&d->ports[i], ctl_stats_port(d->stats, i));
	port_forget_xstats(&d->ports[i]);
	port_close_removed(&d->ports[i]);
	w->phase = PORT_IS_CLOSED;
	w->wait_ms = RETRY_MS;
	w->retry_ms = port_may_return(&d->ports[i]) ? now_ms + RETRY_MS : 0;
}

/* Interfaces get the link address of the device that came: no worker sends or receives by it before port_look(). */
static void take_address(struct dataplane *d, unsigned i)
{
	for (unsigned k = 0; k < d->config.n_ifaces; k++)
		if (d->config.ifaces[k].port == i) {
			memcpy(d->ifaces[k].mac, d->ports[i].mac, 6);
			d->ifaces[k].port_id = d->ports[i].port_id;
		}
}

static void look_for(struct dataplane *d, unsigned i, uint64_t now_ms)
{
	const struct net_port_config pc = dataplane_port_config(d, i);
	struct port_watch *w = &d->watches[i];
	int rc;

	if (!w->retry_ms || now_ms < w->retry_ms)
		return;
	rc = port_return(&pc, &d->ports[i]);
	if (rc == 0) {
		log_info("port %s: its device is back", d->ports[i].name);
		count(&ctl_stats_port(d->stats, i)->returns, ctl_stats_port(d->stats, i));
		take_address(d, i);
		w->phase = PORT_SERVES;
		return;
	}
	if (rc != -ENODEV && w->wait_ms < RETRY_MAX_MS)
		w->wait_ms *= 2;
	w->retry_ms = rc == -EINVAL ? 0 : now_ms + w->wait_ms;
}

static void look(struct dataplane *d, unsigned i)
{
	struct weir_port_details *out = ctl_stats_port(d->stats, i);
	const char *name = d->ports[i].name;

	switch (port_look(&d->ports[i])) {
	case PORT_WENT_DOWN:
		count(&out->link_downs, out);
		log_warn("port %s: link down", name);
		break;
	case PORT_CAME_UP:
		count(&out->link_ups, out);
		log_info("port %s: link up", name);
		break;
	case PORT_GONE:
		leave(d, i);
		break;
	case PORT_AS_BEFORE:
		break;
	}
}

void dataplane_update_ports(struct dataplane *d)
{
	static uint64_t sampled_ms;
	uint64_t now_ms = clock_ms();
	bool is_time = now_ms - sampled_ms >= SAMPLE_MS;

	for (unsigned i = 0; i < d->n_ports; i++) {
		if (d->watches[i].phase == PORT_IS_LEFT)
			close_left(d, i, now_ms);
		else if (d->watches[i].phase == PORT_IS_CLOSED)
			look_for(d, i, now_ms);
		if (d->watches[i].phase == PORT_SERVES)
			look(d, i);
		if (is_time) {
			port_sample(&d->ports[i], ctl_stats_port(d->stats, i));
			port_sample_xstats(&d->ports[i], ctl_stats_xstats(d->stats, i));
			tell_losses(d, i, now_ms);
		}
		put_basics(d, i);
	}
	if (is_time)
		sampled_ms = now_ms;
}
