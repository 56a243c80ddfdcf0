// SPDX-License-Identifier: Apache-2.0
/*
 * The wire's interfaces: a packet socket on a link (a batch at a time), or a
 * TAP device of its own (a frame at a time, as the kernel gives them).
 */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_BYTES (64 << 20)

static int tap_open(struct iface *i)
{
	struct ifreq req = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	memcpy(req.ifr_name, i->name, sizeof(i->name));
	i->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (i->fd < 0)
		return -errno;
	return ioctl(i->fd, TUNSETIFF, &req) < 0 ? -errno : 0;
}

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int socket_open(struct iface *i)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct packet_mreq mreq = {.mr_type = PACKET_MR_PROMISC};
	int rc;

	addr.sll_ifindex = (int)if_nametoindex(i->name);
	mreq.mr_ifindex = addr.sll_ifindex;
	if (addr.sll_ifindex == 0)
		return -errno;
	/* Protocol 0: nothing arrives before it is bound to the one link. */
	i->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (i->fd < 0)
		return -errno;
	if ((rc = set_int(i->fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BYTES)) != 0 ||
	    (rc = set_int(i->fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BYTES)) != 0 ||
	    (rc = set_int(i->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)) != 0 ||
	    (rc = set_int(i->fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1)) != 0)
		return rc;
	if (bind(i->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    setsockopt(i->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
		return -errno;
	return 0;
}

int iface_open(struct iface *i, const char *spec, bool is_far)
{
	*i = (struct iface){.fd = -1, .is_far = is_far, .is_tap = strncmp(spec, "tap:", 4) == 0};
	spec += i->is_tap ? 4 : 0;

	size_t n = strlen(spec);

	if (n == 0 || n >= sizeof(i->name))
		return -EINVAL;
	memcpy(i->name, spec, n);

	int rc = i->is_tap ? tap_open(i) : socket_open(i);

	if (rc != 0)
		iface_close(i);
	return rc;
}

void iface_close(struct iface *i)
{
	if (i->fd >= 0)
		close(i->fd);
	i->fd = -1;
}

static unsigned tap_receive(struct iface *i, struct frame **frames, unsigned n)
{
	unsigned k = 0;

	while (k < n) {
		ssize_t len = read(i->fd, frames[k]->data, WIRE_FRAME_ROOM);

		if (len <= 0)
			break;
		frames[k++]->len = (uint16_t)len;
	}
	return k;
}

static unsigned socket_receive(struct iface *i, struct frame **frames, unsigned n)
{
	struct mmsghdr msgs[WIRE_BATCH];
	struct iovec iov[WIRE_BATCH];

	for (unsigned k = 0; k < n; k++) {
		iov[k] = (struct iovec){.iov_base = frames[k]->data, .iov_len = WIRE_FRAME_ROOM};
		msgs[k] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[k], .msg_iovlen = 1}};
	}

	int got = recvmmsg(i->fd, msgs, n, MSG_DONTWAIT | MSG_TRUNC, NULL);

	for (int k = 0; k < got; k++) {
		bool is_long = msgs[k].msg_len > WIRE_FRAME_ROOM;

		frames[k]->len = is_long ? 0 : (uint16_t)msgs[k].msg_len; /* 0: the caller leaves it out */
		i->too_long += is_long;
	}
	return got > 0 ? (unsigned)got : 0;
}

unsigned iface_receive(struct iface *i, struct frame_pool *pool, struct frame **frames)
{
	unsigned n = 0, got, kept = 0;

	while (n < WIRE_BATCH && (frames[n] = frame_get(pool)) != NULL)
		n++;
	got = i->is_tap ? tap_receive(i, frames, n) : socket_receive(i, frames, n);
	for (unsigned k = 0; k < n; k++)
		if (k < got && frames[k]->len > 0)
			frames[kept++] = frames[k];
		else
			frame_put(pool, frames[k]);
	return kept;
}

void iface_flush(struct iface *i)
{
	struct mmsghdr msgs[WIRE_BATCH];
	struct iovec iov[WIRE_BATCH];
	unsigned sent = 0;

	if (i->is_tap) {
		for (unsigned k = 0; k < i->n_out; k++)
			i->send_errors += write(i->fd, i->out[k]->data, i->out[k]->len) < 0;
		i->n_out = 0;
		return;
	}
	for (unsigned k = 0; k < i->n_out; k++) {
		iov[k] = (struct iovec){.iov_base = i->out[k]->data, .iov_len = i->out[k]->len};
		msgs[k] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[k], .msg_iovlen = 1}};
	}
	while (sent < i->n_out) {
		int n = sendmmsg(i->fd, msgs + sent, i->n_out - sent, MSG_DONTWAIT);

		if (n > 0) {
			sent += (unsigned)n;
		} else { /* the first of them was refused */
			i->send_errors++;
			sent++;
		}
	}
	i->n_out = 0;
}

uint64_t iface_drops(struct iface *i)
{
	struct tpacket_stats st = {0};
	socklen_t n = sizeof(st);

	if (i->is_tap || getsockopt(i->fd, SOL_PACKET, PACKET_STATISTICS, &st, &n) < 0)
		return 0;
	return st.tp_drops;
}
