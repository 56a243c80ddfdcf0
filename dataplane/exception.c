/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TAPs and the thread between them and the workers' rings. Frames carry a
 * struct virtio_net_hdr (IFF_VNET_HDR), by which the kernel finishes
 * checksums and long segments of Weir's own as a device would.
 *
 * The thread sleeps in epoll_wait() until a TAP has a frame, or a worker calls it
 * (base/wake.h); the first worker, which may sleep too, is called for what the kernel sends.
 */
#include "exception.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "base/log.h"
#include "base/wake.h"
#include "rtnl.h"

#define RING_SIZE 1024u
#define BURST 32u
#define MAX_SEGS 64
#define WAKE_EVENT WEIR_MAX_PORTS /* of epoll: not a TAP's, which are the ports */
#define BLOCKED_US 200 /* until the worker has taken frames of the kernel, or given buffers back */

struct tap {
	int fd; /* -1: none beside this port */
	unsigned ifindex;
	bool is_up;   /* as the kernel was told */
	bool is_gone; /* somebody deleted the interface; thread: w, main: r */
};

struct exception {
	const struct config *config;
	struct weir_stats_region *stats;
	struct tap taps[WEIR_MAX_PORTS];
	struct rte_ring *up[WEIR_MAX_WORKERS];
	struct rte_ring *down;
	struct rte_mempool *pool;
	struct weir_ip routers[CONFIG_MAX_NEIGHBORS]; /* neighbors of BGP */
	int epoll_fd;
	struct wake wake;	    /* the thread's */
	struct wake *first_worker;  /* NULL: it never sleeps so */
	pthread_t thread;
	bool has_thread;
	bool is_stopping; /* main: w, thread: r */
};

/* -- to the kernel */

static void lose(struct exception *x)
{
	__atomic_fetch_add(&x->stats->kernel_lost, 1, __ATOMIC_RELAXED);
}

/* What a device would have done with a frame of our own. The pseudo-header's sum is there, for long segments without their length. */
static void ask_kernel(struct rte_mbuf *m, struct virtio_net_hdr *h)
{
	uint8_t *l3 = rte_pktmbuf_mtod_offset(m, uint8_t *, m->l2_len);
	uint8_t *l4 = l3 + m->l3_len;
	bool is_long = m->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
	uint16_t sum;

	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) {
		sum = (uint16_t)~rte_raw_cksum(l3, m->l3_len);
		memcpy(l3 + 10, &sum, 2);
	}
	if ((m->ol_flags & RTE_MBUF_F_TX_L4_MASK) != RTE_MBUF_F_TX_TCP_CKSUM && !is_long)
		return;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = (uint16_t)(m->l2_len + m->l3_len);
	h->csum_offset = 16;
	if (!is_long)
		return;
	memcpy(&sum, l4 + 16, 2);
	sum = __rte_raw_cksum_reduce(sum + rte_cpu_to_be_16((uint16_t)(m->pkt_len - h->csum_start)));
	memcpy(l4 + 16, &sum, 2);
	h->gso_type = m->ol_flags & RTE_MBUF_F_TX_IPV4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	h->hdr_len = (uint16_t)(h->csum_start + m->l4_len);
	h->gso_size = m->tso_segsz;
}

/* Where a device has cut off the tag of a VLAN it is put back. */
static void write_frame(struct exception *x, struct rte_mbuf *m)
{
	struct virtio_net_hdr h = {0};
	struct iovec iov[1 + MAX_SEGS] = {{&h, sizeof(h)}};
	int n = 1;
	int fd = m->port < WEIR_MAX_PORTS ? x->taps[m->port].fd : -1;

	if (fd < 0 || m->nb_segs > MAX_SEGS || ((m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) && rte_vlan_insert(&m) != 0)) {
		lose(x);
		return;
	}
	ask_kernel(m, &h);
	for (const struct rte_mbuf *s = m; s; s = s->next)
		iov[n++] = (struct iovec){rte_pktmbuf_mtod(s, void *), s->data_len};
	if (writev(fd, iov, n) < 0)
		lose(x);
}

static unsigned empty_ring(struct exception *x, struct rte_ring *up)
{
	struct rte_mbuf *pkts[BURST];
	unsigned n = rte_ring_sc_dequeue_burst(up, (void **)pkts, BURST, NULL);

	for (unsigned i = 0; i < n; i++) {
		write_frame(x, pkts[i]);
		rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

/* -- from the kernel */

/* One frame. 0: there is none; -1: no room for one now. */
static int read_frame(struct exception *x, unsigned port)
{
	struct rte_mbuf *m = rte_ring_full(x->down) ? NULL : rte_pktmbuf_alloc(x->pool);
	struct virtio_net_hdr h;
	struct iovec iov[2] = {{&h, sizeof(h)}};
	ssize_t n;

	if (!m)
		return -1;
	iov[1] = (struct iovec){rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m)};
	n = readv(x->taps[port].fd, iov, 2);
	if (n <= (ssize_t)sizeof(h)) {
		rte_pktmbuf_free(m);
		return 0;
	}
	m->data_len = (uint16_t)((size_t)n - sizeof(h));
	m->pkt_len = m->data_len;
	m->port = (uint16_t)port;
	rte_ring_sp_enqueue(x->down, m); /* is not full */
	return 1;
}

/* The number of frames; *is_blocked: more may be there, for which there is no room. */
static unsigned read_taps(struct exception *x, bool *is_blocked)
{
	unsigned total = 0;

	for (unsigned i = 0; i < x->config->n_ports; i++) {
		int rc = 1;

		for (unsigned k = 0; x->taps[i].fd >= 0 && !x->taps[i].is_gone && k < BURST && rc > 0; k++) {
			rc = read_frame(x, i);
			total += rc > 0;
		}
		*is_blocked |= rc < 0;
	}
	if (total)
		wake_up(x->first_worker);
	return total;
}

/* -- the thread */

static bool has_frames(const struct exception *x)
{
	for (unsigned i = 0; i < x->config->n_workers; i++)
		if (!rte_ring_empty(x->up[i]))
			return true;
	return false;
}

/* A TAP whose interface was deleted says so for ever, and has nothing to give any more. */
static void give_up(struct exception *x, unsigned port)
{
	struct tap *t = &x->taps[port];

	epoll_ctl(x->epoll_fd, EPOLL_CTL_DEL, t->fd, NULL);
	__atomic_store_n(&t->is_gone, true, __ATOMIC_RELAXED);
	log_error("%s: somebody deleted this interface; what is for the kernel beside the port is lost until the dataplane starts anew",
		  x->config->ports[port].kernel.interface);
}

static void sleep_until_work(struct exception *x)
{
	struct epoll_event events[4];
	int n = 0;

	wake_arm(&x->wake);
	if (!has_frames(x) && !__atomic_load_n(&x->is_stopping, __ATOMIC_RELAXED))
		n = epoll_wait(x->epoll_fd, events, 4, -1);
	wake_disarm(&x->wake);
	wake_take(&x->wake);
	for (int i = 0; i < n; i++)
		if (events[i].data.u32 != WAKE_EVENT && (events[i].events & EPOLLERR))
			give_up(x, events[i].data.u32);
}

static void *run(void *arg)
{
	const struct timespec pause = {.tv_nsec = BLOCKED_US * 1000};
	struct exception *x = arg;

	while (!__atomic_load_n(&x->is_stopping, __ATOMIC_RELAXED)) {
		bool is_blocked = false;
		unsigned n = 0;

		for (unsigned i = 0; i < x->config->n_workers; i++)
			n += empty_ring(x, x->up[i]);
		n += read_taps(x, &is_blocked);
		if (n)
			continue;
		if (is_blocked)
			nanosleep(&pause, NULL);
		else
			sleep_until_work(x);
	}
	return NULL;
}

/* -- making it */

static int set_up_interface(const struct config_kernel *k, const struct net_port *port, unsigned *ifindex)
{
	struct ifreq r = {0};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = s < 0 ? -errno : 0;

	memcpy(r.ifr_name, k->interface, sizeof(r.ifr_name));
	r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(r.ifr_hwaddr.sa_data, port->mac, 6);
	if (rc == 0 && ioctl(s, SIOCSIFHWADDR, &r) < 0)
		rc = -errno;
	r.ifr_mtu = port->mtu;
	if (rc == 0 && ioctl(s, SIOCSIFMTU, &r) < 0)
		rc = -errno;
	if (rc == 0 && ioctl(s, SIOCGIFFLAGS, &r) < 0)
		rc = -errno;
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP);
	if (rc == 0 && ioctl(s, SIOCSIFFLAGS, &r) < 0)
		rc = -errno;
	if (s >= 0)
		close(s);
	*ifindex = if_nametoindex(k->interface);
	return rc;
}

static int add_addresses(const struct config *c, unsigned port, unsigned ifindex)
{
	const struct config_kernel *k = &c->ports[port].kernel;
	struct mnl_socket *s = k->n_addrs ? rtnl_open() : NULL;
	int rc = k->n_addrs && !s ? -errno : 0;

	for (unsigned i = 0; i < k->n_addrs && rc == 0; i++) {
		/* Of one that it shares with Weir the kernel would hear that it is taken. */
		bool is_sure = config_kernel_port(c, &k->addrs[i].ip) == (int)port;

		rc = rtnl_add_address(s, ifindex, &k->addrs[i], is_sure);
	}
	rtnl_close(s);
	return rc;
}

static int open_tap(const char *name)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd;
	int rc;

	if (if_nametoindex(name) != 0) /* TUNSETIFF would take over one that is there and persists */
		return -EEXIST;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	strncpy(r.ifr_name, name, sizeof(r.ifr_name) - 1);
	if (ioctl(fd, TUNSETIFF, &r) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static int watch(struct exception *x, int fd, uint32_t id)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = id};

	return epoll_ctl(x->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static int make_tap(struct exception *x, unsigned i, struct net_port *port)
{
	const struct config_kernel *k = &x->config->ports[i].kernel;
	struct tap *t = &x->taps[i];
	int rc;

	t->fd = open_tap(k->interface);
	rc = t->fd < 0 ? t->fd : set_up_interface(k, port, &t->ifindex);
	if (rc == 0)
		rc = add_addresses(x->config, i, t->ifindex);
	if (rc == 0)
		rc = watch(x, t->fd, i);
	if (rc) {
		log_error("port %s: the kernel's interface %s cannot be made: %s%s", port->name, k->interface, strerror(-rc),
			  rc == -EPERM ? " (it takes CAP_NET_ADMIN)" : "");
		return rc;
	}
	port->has_kernel = true;
	t->is_up = true;
	log_info("port %s: what is not Weir's goes to the kernel by %s", port->name, k->interface);
	return 0;
}

static bool make_rings(struct exception *x)
{
	unsigned flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
	char name[RTE_RING_NAMESIZE];

	for (unsigned i = 0; i < x->config->n_workers; i++) {
		snprintf(name, sizeof(name), "punt-%u", i);
		x->up[i] = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, flags);
		if (!x->up[i])
			return false;
	}
	x->down = rte_ring_create("punt-down", RING_SIZE, SOCKET_ID_ANY, flags);
	return x->down != NULL;
}

static int make_descriptors(struct exception *x)
{
	int rc = wake_init(&x->wake);

	x->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (rc == 0 && x->epoll_fd < 0)
		rc = -errno;
	return rc ? rc : watch(x, x->wake.fd, WAKE_EVENT);
}

bool exception_is_wanted(const struct config *c)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (c->ports[i].kernel.interface[0])
			return true;
	return false;
}

int exception_create(const struct config *config, struct net_port *ports, struct rte_mempool *pool, struct wake *first_worker,
		     struct weir_stats_region *stats, struct exception **out)
{
	struct exception *x;
	int rc;

	*out = NULL;
	if (!exception_is_wanted(config))
		return 0;
	x = aligned_alloc(128, sizeof(*x)); /* as struct wake asks for */
	if (!x)
		return -ENOMEM;
	memset(x, 0, sizeof(*x));
	x->config = config;
	x->pool = pool;
	for (unsigned i = 0; i < config->bgp.n_neighbors; i++)
		x->routers[i] = config->bgp.neighbors[i].address;
	x->stats = stats;
	x->first_worker = first_worker;
	x->epoll_fd = -1;
	for (unsigned i = 0; i < WEIR_MAX_PORTS; i++)
		x->taps[i].fd = -1;
	rc = make_rings(x) ? make_descriptors(x) : -ENOMEM;
	if (rc)
		log_error("exception path: no memory, or no descriptors: %s", strerror(-rc));
	for (unsigned i = 0; i < config->n_ports && rc == 0; i++)
		if (config->ports[i].kernel.interface[0])
			rc = make_tap(x, i, &ports[i]);
	if (rc == 0) { /* it inherits where main runs */
		rc = -pthread_create(&x->thread, NULL, run, x);
		x->has_thread = rc == 0;
	}
	if (rc) {
		exception_destroy(x);
		return rc;
	}
	pthread_setname_np(x->thread, "weir-exception");
	*out = x;
	return 0;
}

static void free_ring(struct rte_ring *r)
{
	void *m;

	while (r && rte_ring_sc_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(r);
}

void exception_destroy(struct exception *x)
{
	if (!x)
		return;
	if (x->has_thread) {
		__atomic_store_n(&x->is_stopping, true, __ATOMIC_SEQ_CST);
		wake_up(&x->wake);
		pthread_join(x->thread, NULL);
	}
	for (unsigned i = 0; i < WEIR_MAX_PORTS; i++)
		if (x->taps[i].fd >= 0)
			close(x->taps[i].fd);
	for (unsigned i = 0; i < WEIR_MAX_WORKERS; i++)
		free_ring(x->up[i]);
	free_ring(x->down);
	if (x->epoll_fd >= 0)
		close(x->epoll_fd);
	wake_fini(&x->wake);
	free(x);
}

struct net_punt_config exception_punt(struct exception *x, unsigned worker)
{
	struct net_punt_config pc = {0};

	if (!x)
		return pc;
	memcpy(pc.per_s, x->config->kernel_per_s, sizeof(pc.per_s));
	pc.up = x->up[worker];
	pc.down = worker == 0 ? x->down : NULL;
	pc.wake = &x->wake;
	pc.routers = x->routers;
	pc.n_routers = x->config->bgp.n_neighbors;
	return pc;
}

unsigned exception_ifindex(const struct exception *x, unsigned port)
{
	return x && x->taps[port].fd >= 0 ? x->taps[port].ifindex : 0;
}

void exception_set_link(struct exception *x, unsigned port, bool is_up)
{
	int carrier = is_up;

	if (!x || x->taps[port].fd < 0 || x->taps[port].is_up == is_up || __atomic_load_n(&x->taps[port].is_gone, __ATOMIC_RELAXED))
		return;
	x->taps[port].is_up = is_up;
	if (ioctl(x->taps[port].fd, TUNSETCARRIER, &carrier) < 0)
		log_warn("%s: the kernel does not take that the port's link is %s: %s", x->config->ports[port].kernel.interface,
			 is_up ? "up" : "down", strerror(errno));
}
