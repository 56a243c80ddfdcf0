/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between a TAP device and a memif, each way in bursts, as they are. */
#include "tlsload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define BURST 64
#define DESCRIPTORS 2048

struct bridge {
	int tap;
	uint16_t port;
	struct rte_mempool *pool;
	unsigned n_out; /* frames that wait for room in the memif */
	struct rte_mbuf *out[BURST];
};

static int tap_open(const char *name)
{
	struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &req) < 0) {
		fprintf(stderr, "weir-tlsload: %s: %s\n", name, strerror(errno));
		return -1;
	}
	return fd;
}

static int start_eal(void)
{
	static char prefix[64];
	static char *argv[] = {(char *)"weir-tlsload", (char *)"--no-pci", (char *)"--no-telemetry", (char *)"--log-level=lib.*:error",
			       (char *)"--log-level=pmd.*:error", (char *)"-l", (char *)"0", (char *)"--file-prefix", prefix,
			       (char *)"--no-huge", (char *)"--no-shconf", (char *)"-m", (char *)"256", NULL};

	snprintf(prefix, sizeof(prefix), "tlsload-%d", (int)getpid());
	return rte_eal_init(13, argv) < 0 ? -1 : 0;
}

static int port_open(struct bridge *b, const char *vdev)
{
	struct rte_eth_conf conf = {0};
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(vdev, ","), vdev);
	b->pool = rte_pktmbuf_pool_create("bridge", 16383, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return b->pool && rte_dev_probe(vdev) == 0 && rte_eth_dev_get_port_by_name(name, &b->port) == 0 &&
			       rte_eth_dev_configure(b->port, 1, 1, &conf) == 0 &&
			       rte_eth_rx_queue_setup(b->port, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL, b->pool) == 0 &&
			       rte_eth_tx_queue_setup(b->port, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL) == 0 && rte_eth_dev_start(b->port) == 0
		       ? 0
		       : -1;
}

struct bridge *bridge_create(const char *tap, const char *vdev)
{
	struct bridge *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->tap = tap_open(tap);
	if (b->tap < 0 || start_eal() || port_open(b, vdev)) {
		fprintf(stderr, "weir-tlsload: no bridge from %s to %s\n", tap, vdev);
		free(b);
		return NULL;
	}
	return b;
}

/* What the TAP device does not take (it is down, or has no memory) is lost, as on a wire. */
static unsigned to_tap(struct bridge *b)
{
	struct rte_mbuf *frames[BURST];
	unsigned n = rte_eth_rx_burst(b->port, 0, frames, BURST);

	for (unsigned i = 0; i < n; i++) {
		ssize_t rc = rte_pktmbuf_linearize(frames[i]) == 0 ? write(b->tap, rte_pktmbuf_mtod(frames[i], void *), frames[i]->data_len) : 0;

		(void)rc;
	}
	rte_pktmbuf_free_bulk(frames, n);
	return n;
}

static void send_out(struct bridge *b)
{
	unsigned n = rte_eth_tx_burst(b->port, 0, b->out, (uint16_t)b->n_out);

	b->n_out -= n;
	memmove(b->out, b->out + n, b->n_out * sizeof(*b->out));
}

static unsigned from_tap(struct bridge *b)
{
	unsigned n = 0;

	while (b->n_out < BURST) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool);
		ssize_t len = m ? read(b->tap, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m)) : 0;

		if (len <= 0) {
			rte_pktmbuf_free(m);
			break;
		}
		m->data_len = (uint16_t)len;
		m->pkt_len = (uint32_t)len;
		b->out[b->n_out++] = m;
		n++;
	}
	if (b->n_out)
		send_out(b);
	return n;
}

unsigned bridge_poll(struct bridge *b)
{
	return to_tap(b) + from_tap(b);
}

void bridge_destroy(struct bridge *b)
{
	if (!b)
		return;
	close(b->tap);
	if (rte_eth_dev_stop(b->port) == 0)
		rte_eth_dev_close(b->port);
	rte_eal_cleanup();
	free(b);
}
