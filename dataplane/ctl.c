/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket. One weir-ctrl at a time; whatever it does, the worst
 * that can happen is that its connection ends. Nothing blocks but the wait of
 * ctl_poll().
 */
#include "ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl_pvt.h"

#define POLL_MS 1 /* between two looks at workers that owe an answer: they ring no bell */

uint64_t ctl_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void conn_close(struct ctl *c)
{
	if (c->conn.fd < 0)
		return;
	close(c->conn.fd); /* leaves the epoll set by itself */
	ctl_diag_gone(c);
	ctl_region_destroy(&c->conn);
	c->conn.fd = -1;
	c->conn.n_acks = 0;
}

static void conn_broken(struct ctl *c, const char *what)
{
	if (c->conn.fd < 0)
		return;
	log_warn("control: weir-ctrl disconnected: %s", what);
	c->stats->ctrl_protocol_errors++;
	conn_close(c);
}

/* Discards doorbells. The peer may have gone, which the first read tells. */
static void conn_drain_socket(struct ctl *c)
{
	char bell[64];
	ssize_t n;

	/* Bounded: a peer that rings without end must not hold the main lcore. */
	for (int i = 0; i < 256 && c->conn.fd >= 0; i++) {
		n = recv(c->conn.fd, bell, sizeof(bell), MSG_DONTWAIT);
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		log_info("control: weir-ctrl has gone");
		conn_close(c);
	}
}

void ctl_ack(struct ctl *c, const struct weir_msg *m)
{
	struct ctl_conn *conn = &c->conn;
	const unsigned max = 2 * CTL_MAX_ACKS;

	if (conn->n_acks == max) {
		conn_broken(c, "takes no acknowledgements");
		return;
	}
	conn->acks[(conn->first_ack + conn->n_acks++) % max] = *m;
}

static void conn_flush(struct ctl *c)
{
	struct ctl_conn *conn = &c->conn;
	uint64_t now = ctl_now_us();

	while (conn->fd >= 0 && conn->n_acks > 0) {
		struct weir_msg *m = &conn->acks[conn->first_ack];
		enum spsc_outcome o;

		m->seq = conn->tx_seq + 1;
		o = spsc_put(&conn->tx, m);
		if (o == SPSC_BROKEN) {
			conn_broken(c, "impossible index in the ring to weir-ctrl");
		} else if (o == SPSC_WAIT) {
			if (conn->stalled_us == 0)
				conn->stalled_us = now;
			else if (now - conn->stalled_us > CTL_STALL_US)
				conn_broken(c, "takes no acknowledgements");
			break;
		} else {
			conn->stalled_us = 0;
			conn->tx_seq++;
			conn->first_ack = (conn->first_ack + 1) % (2 * CTL_MAX_ACKS);
			conn->n_acks--;
			conn->ring_bell = true;
		}
	}
	/* A full socket has bells enough in it; a broken one is found by the next read. */
	if (conn->fd >= 0 && conn->ring_bell)
		(void)!send(conn->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	conn->ring_bell = false;
}

static void conn_message(struct ctl *c, const struct weir_msg *m)
{
	const char *breach;

	if (m->seq != c->conn.rx_seq + 1) {
		conn_broken(c, "a message is missing");
		return;
	}
	c->conn.rx_seq++;
	switch (m->type) {
	case WEIR_MSG_SNAPSHOT:
	case WEIR_MSG_ENDPOINTS:
		ctl_blob_take(c, m);
		break;
	case WEIR_MSG_CERTIFICATE:
		ctl_cert_take(c, m);
		break;
	case WEIR_MSG_TICKET_KEYS:
		ctl_tickets_take(c, m);
		break;
	case WEIR_MSG_PATHS:
		ctl_paths_take(c, m);
		break;
	case WEIR_MSG_DRAIN:
		if (!c->is_draining)
			ctl_tell_workers(c, WORKER_DRAIN);
		break;
	case WEIR_MSG_CONNECTIONS:
	case WEIR_MSG_CAPTURE:
	case WEIR_MSG_CAPTURE_TAKEN:
	case WEIR_MSG_CAPTURE_STOP:
		breach = ctl_diag_take(c, m);
		if (breach)
			conn_broken(c, breach);
		break;
	default:
		conn_broken(c, "unknown message");
	}
}

/* At most a ring's worth of messages a call, so that the workers' answers have their turn. */
static void conn_read(struct ctl *c)
{
	uint64_t cert_bytes = 0;
	struct weir_msg m;

	for (unsigned i = 0; i < WEIR_RING_SLOTS && c->conn.fd >= 0; i++) {
		if (c->conn.n_acks >= CTL_MAX_ACKS || c->n_sets >= CTL_MAX_SETS)
			return;
		if (cert_bytes >= CTL_CERT_BYTES_PER_TURN) { /* a worker may wait for one of those that came before */
			c->is_behind = true;
			return;
		}
		switch (spsc_get(&c->conn.rx, &m)) {
		case SPSC_WAIT:
			return;
		case SPSC_BROKEN:
			conn_broken(c, "impossible index in the ring to the dataplane");
			return;
		case SPSC_DONE:
			if (m.type == WEIR_MSG_CERTIFICATE && m.size <= WEIR_CERTIFICATE_MAX_BYTES)
				cert_bytes += m.size;
			conn_message(c, &m);
		}
	}
}

static bool peer_may(const struct ctl *c, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid() || (c->has_uid && peer.uid == c->uid))
		return true;
	log_warn("control: uid %u may not connect", (unsigned)peer.uid);
	return false;
}

static int send_hello(int fd, const struct weir_hello *hello, const int *fds, size_t n_fds)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)hello, .iov_len = sizeof(*hello)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(WEIR_HELLO_FDS * sizeof(int))];
	} control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds > 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, n_fds * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void conn_refuse(struct ctl *c, int fd, uint32_t why)
{
	const struct weir_hello hello = {
	    .magic = WEIR_REGION_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR, .refused = why};

	c->stats->ctrl_refused++;
	(void)send_hello(fd, &hello, NULL, 0);
	close(fd);
}

static void conn_open(struct ctl *c, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	uint64_t epoch = c->conn.epoch + 1;
	struct weir_hello hello;
	int fds[WEIR_HELLO_FDS], err;
	size_t n_fds = 2;

	memset(&c->conn, 0, offsetof(struct ctl_conn, acks));
	c->conn.fd = -1;
	c->conn.epoch = epoch;
	err = ctl_region_create(&c->conn, c->arena_size, c->n_workers, &fds[0]);
	if (err) {
		log_error("control: no memory to share with weir-ctrl: %s", strerror(-err));
		close(fd);
		return;
	}
	fds[1] = c->stats_fd;
	if (c->diag.region)
		fds[n_fds++] = c->diag.fd;
	if (c->log)
		fds[n_fds++] = c->log_fd;
	hello = (struct weir_hello){.magic = WEIR_REGION_MAGIC,
				    .abi_major = WEIR_ABI_MAJOR,
				    .abi_minor = WEIR_ABI_MINOR,
				    .region_size = c->conn.region_size,
				    .stats_size = c->stats->size,
				    .diag_size = c->diag.region ? c->diag.region->size : 0,
				    .log_size = c->log ? c->log->size : 0};
	err = send_hello(fd, &hello, fds, n_fds);
	close(fds[0]);
	if (err || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
		ctl_region_destroy(&c->conn);
		close(fd);
		return;
	}
	c->conn.fd = fd;
	c->stats->ctrl_connects++;
	log_info("control: weir-ctrl connected");
}

static void accept_all(struct ctl *c)
{
	int fd;

	for (int i = 0; i < 16; i++) {
		fd = accept4(c->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		conn_drain_socket(c); /* the one before may just have died */
		if (!peer_may(c, fd))
			conn_refuse(c, fd, 1);
		else if (c->conn.fd >= 0)
			conn_refuse(c, fd, 2);
		else
			conn_open(c, fd);
	}
}

/*
 * Workers ring for a certificate that a handshake waits for, and for nothing
 * else: their other answers are looked for when some are owed. The write costs
 * the worker a system call, about a microsecond, once for a certificate that it has not had yet. Shorter waits of main
 * would cost a thousand wake-ups a second for as long as there is TLS, to be half as quick.
 */
static void take_bell(struct ctl *c)
{
	uint64_t n;

	(void)!read(c->bell_fd, &n, sizeof(n)); /* what it is for stands in the rings */
}

int ctl_bell_fd(const struct ctl *c)
{
	return c->bell_fd;
}

void ctl_poll(struct ctl *c, int timeout_ms)
{
	struct epoll_event ev[3];
	int n;

	c->is_behind = false;
	conn_read(c);
	if (ctl_workers_poll(c) || c->conn.n_acks > 0)
		timeout_ms = timeout_ms > POLL_MS || timeout_ms < 0 ? POLL_MS : timeout_ms;
	conn_flush(c);
	timeout_ms = ctl_diag_timeout(c, timeout_ms);
	n = epoll_wait(c->epoll_fd, ev, 3, c->is_behind ? 0 : timeout_ms);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.fd == c->listen_fd)
			accept_all(c);
		else if (ev[i].data.fd == c->bell_fd)
			take_bell(c);
		else if (ev[i].data.fd == c->conn.fd)
			conn_drain_socket(c);
	}
	conn_read(c);
	ctl_workers_poll(c);
	conn_flush(c);
}

/* A file that nobody listens behind is removed. */
static int remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(addr->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno != ECONNREFUSED)
		err = -EADDRINUSE;
	close(fd);
	if (!err && unlink(addr->sun_path) != 0)
		err = -errno;
	return err;
}

static int make_bell(struct ctl *c)
{
	struct epoll_event ev = {.events = EPOLLIN};

	c->bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ev.data.fd = c->bell_fd;
	return c->bell_fd < 0 || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->bell_fd, &ev) != 0 ? -errno : 0;
}

static int listen_at(struct ctl *c)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct epoll_event ev = {.events = EPOLLIN};
	int err;

	memcpy(addr.sun_path, c->path, sizeof(addr.sun_path));
	err = remove_stale(&addr);
	if (err)
		return err;
	c->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->listen_fd < 0 || c->epoll_fd < 0)
		return -errno;
	if (bind(c->listen_fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		err = -errno;
		close(c->listen_fd); /* so that ctl_destroy() leaves the file alone */
		c->listen_fd = -1;
		return err;
	}
	ev.data.fd = c->listen_fd;
	/* Everyone may knock: the uid decides. */
	if (chmod(c->path, 0666) != 0 || listen(c->listen_fd, 16) != 0 ||
	    epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->listen_fd, &ev) != 0)
		return -errno;
	return make_bell(c);
}

struct ctl *ctl_create(const struct ctl_config *config, struct weir_stats_region *stats, int stats_fd)
{
	struct ctl *c = calloc(1, sizeof(*c));
	int err = 0;

	if (!c)
		return NULL;
	c->listen_fd = c->epoll_fd = c->bell_fd = c->conn.fd = -1;
	c->has_uid = config->has_uid;
	c->uid = config->uid;
	c->arena_size = (uint64_t)config->arena_mb << 20;
	c->stats = stats;
	c->stats_fd = stats_fd;
	c->log = config->log;
	c->log_fd = config->log_fd;
	c->n_workers = config->n_workers;
	TAILQ_INIT(&c->snapshots);
	TAILQ_INIT(&c->sets);
	LIST_INIT(&c->copies);
	c->workers = calloc(config->n_workers, sizeof(*c->workers));
	if (!c->workers)
		err = -ENOMEM;
	else if (strlen(config->socket_path) >= sizeof(c->path))
		err = -ENAMETOOLONG;
	if (!err)
		err = ctl_diag_init(c, config);
	if (!err)
		err = ctl_certs_init(c, config);
	if (!err)
		err = ctl_tickets_init(c, config);
	for (unsigned i = 0; !err && i < c->n_workers; i++)
		c->workers[i].link = config->links[i];
	if (!err)
		err = ctl_paths_init(c, config);
	if (!err) {
		strcpy(c->path, config->socket_path);
		err = listen_at(c);
	}
	if (err) {
		log_error("control socket %s: %s", config->socket_path, strerror(-err));
		ctl_destroy(c);
		return NULL;
	}
	return c;
}

void ctl_destroy(struct ctl *c)
{
	if (!c)
		return;
	conn_close(c);
	if (c->listen_fd >= 0) {
		unlink(c->path);
		close(c->listen_fd);
	}
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	if (c->bell_fd >= 0)
		close(c->bell_fd);
	ctl_blobs_destroy(c);
	ctl_paths_fini(c);
	ctl_tickets_fini(c);
	ctl_certs_fini(c);
	ctl_diag_fini(c);
	free(c->workers);
	free(c);
}

void ctl_tell_workers(struct ctl *c, enum worker_msg_type type)
{
	for (unsigned i = 0; i < c->n_workers; i++) {
		const struct worker_msg m = {.type = type, .worker = i};

		ctl_worker_send(&c->workers[i], &m);
	}
	if (type == WORKER_DRAIN) {
		c->is_draining = true;
		c->stats->draining = 1;
	}
}

unsigned ctl_n_drained(const struct ctl *c)
{
	return c->n_drained;
}

unsigned ctl_n_stopped(const struct ctl *c)
{
	return c->n_stopped;
}
