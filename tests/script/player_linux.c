/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's TCP as a player: a network namespace of the process' own with a
 * TUN device in it. A packet that is written to the device is worked through
 * before write() returns, and what the kernel sends can be read then: so a
 * whole script is played in a millisecond and no timer runs.
 *
 * Each run has peer addresses of its own; what comes late for another is
 * thrown away.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ip4.h"
#include "player.h"

#define DEVICE "sctun0"
#define LOCAL 0x0a000001u	  /* 10.0.0.1 */
#define PEERS 0x0a800000u	  /* 10.128.0.0/9 */
#define MAX_SOCKETS 8
#define BUFFER_BYTES (1 << 20)

/* Of tcpi_state, as the kernel numbers them. */
enum { STATE_SYN_SENT = 2, STATE_SYN_RECEIVED = 3, STATE_CLOSE = 7 };

struct user {
	int fd; /* -1: none */
	bool was_there;
	const char *error;
	uint64_t n_read, hash;
	bool is_eof;
	uint32_t n_written;
	uint16_t local_port;
	unsigned spoke;
};

struct linux_run {
	const struct script *script;
	uint32_t base; /* of the peer's addresses */
	struct user users[SCRIPT_MAX_CONNS];
	int listeners[MAX_SOCKETS];
	unsigned n_listeners, n_spoken;
};

static int tun = -1;

/* -- the namespace */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool sysctls(char *why)
{
	static const char *const values[][2] = {
		{"tcp_ecn", "1"},
		{"tcp_syncookies", "0"},
		{"tcp_early_retrans", "0"}, /* no tail loss probes: their timer is of milliseconds */
		{"tcp_invalid_ratelimit", "0"},
		{"tcp_autocorking", "0"},
		{"tcp_congestion_control", "reno"},
		{"tcp_rmem", "4096 131072 131072"},
		{"tcp_comp_sack_nr", "0"}, /* each gap is told of at once */
		{"tcp_rfc1337", "1"},
		{"tcp_fastopen", "0"},
		{"tcp_no_metrics_save", "1"},
		{"conf/all/rp_filter", "0"},
		{"conf/default/rp_filter", "0"},
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		char path[128];

		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", values[i][0]);
		if (!write_file(path, values[i][1])) {
			snprintf(why, SEG_TEXT_MAX, "%s: %s", path, strerror(errno));
			return false;
		}
	}
	return true;
}

bool player_linux_begin(char *why)
{
	struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = DEVICE};

	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0 || unshare(CLONE_NEWNET) != 0) {
		snprintf(why, SEG_TEXT_MAX, "no TUN device or no namespace: %s", strerror(errno));
		return false;
	}
	close(tun); /* a device belongs to the namespace in which its file was opened */
	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &r) != 0) {
		snprintf(why, SEG_TEXT_MAX, "TUNSETIFF: %s", strerror(errno));
		return false;
	}
	if (system("ip address add 10.0.0.1/8 dev " DEVICE " && ip link set " DEVICE " mtu 1500 up &&"
		   " ip link set lo up") != 0) {
		snprintf(why, SEG_TEXT_MAX, "ip does not configure the device");
		return false;
	}
	return sysctls(why);
}

/* -- runs */

static void *open_linux(const struct script *s, unsigned number, char *why)
{
	struct linux_run *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->script = s;
	l->base = PEERS + number * 64;
	for (unsigned i = 0; i < SCRIPT_MAX_CONNS; i++)
		l->users[i] = (struct user){.fd = -1, .error = "", .hash = PLAYER_HASH_BEGIN,
					    .local_port = s->conns[i].to_port};
	return l;
}

static void end_socket(int fd)
{
	const struct linger now = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void close_linux(void *p)
{
	struct linux_run *l = p;
	static uint8_t rest[65536];

	for (unsigned i = 0; i < l->n_listeners; i++)
		if (l->listeners[i] >= 0)
			close(l->listeners[i]);
	for (unsigned i = 0; i < SCRIPT_MAX_CONNS; i++)
		if (l->users[i].fd >= 0)
			end_socket(l->users[i].fd);
	while (read(tun, rest, sizeof(rest)) > 0)
		;
	free(l);
}

static void send_packet(const uint8_t *p, size_t n)
{
	if (write(tun, p, n) != (ssize_t)n) {
		perror("diff: " DEVICE);
		exit(1);
	}
}

/* Accepts whatever is there: Weir's listeners are told at once. */
static void accept_all(struct linux_run *l)
{
	const int off = 0;

	for (unsigned i = 0; i < l->n_listeners; i++) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		int fd;

		while (l->listeners[i] >= 0 &&
		       (fd = accept4(l->listeners[i], (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
			struct user *u = NULL;

			for (unsigned k = 0; k < l->script->n_conns; k++)
				if (l->base + l->script->conns[k].addr == ntohl(from.sin_addr.s_addr) &&
				    l->script->conns[k].port == ntohs(from.sin_port) &&
				    (!u || l->users[k].spoke > u->spoke))
					u = &l->users[k];
			if (!u || u->fd >= 0) {
				end_socket(fd);
				continue;
			}
			u->fd = fd;
			setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off)); /* delays ACKs from the start */
			u->was_there = true;
		}
	}
}

/* Of a connection that was opened: there at last? */
static void note_established(struct user *u)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	if (u->fd >= 0 && !u->was_there && getsockopt(u->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
		u->was_there = info.tcpi_state != STATE_SYN_SENT && info.tcpi_state != STATE_SYN_RECEIVED &&
			       info.tcpi_state != STATE_CLOSE;
}

static void inject(void *p, unsigned conn, const uint8_t *bytes, size_t n, uint8_t ecn)
{
	struct linux_run *l = p;
	static uint8_t packet[IP4_HEADER + SEG_MAX_BYTES];

	l->users[conn].spoke = ++l->n_spoken;
	memcpy(packet + IP4_HEADER, bytes, n);
	send_packet(packet, ip4_finish(packet, n, IPPROTO_TCP, l->base + l->script->conns[conn].addr, LOCAL, ecn));
	accept_all(l);
	note_established(&l->users[conn]);
}

/* Quotes the header of a segment of the kernel's. */
static void icmp(void *p, unsigned conn, const char *what, uint32_t seq, uint32_t mtu)
{
	struct linux_run *l = p;
	const struct script_conn *c = &l->script->conns[conn];
	uint8_t packet[IP4_HEADER + 8 + IP4_HEADER + 8] = {0};
	uint32_t peer = l->base + c->addr;
	uint8_t *t = packet + IP4_HEADER + 8;

	ip4_finish(t, 8, IPPROTO_TCP, LOCAL, peer, 0); /* too short for a checksum */
	ip4_put16(t + IP4_HEADER, l->users[conn].local_port);
	ip4_put16(t + IP4_HEADER + 2, c->port);
	ip4_put32(t + IP4_HEADER + 4, seq);
	packet[IP4_HEADER] = 3;
	packet[IP4_HEADER + 1] = strcmp(what, "too_big") == 0 ? 4 : 1;
	ip4_put16(packet + IP4_HEADER + 6, strcmp(what, "too_big") == 0 ? (uint16_t)mtu : 0);
	send_packet(packet, ip4_finish(packet, sizeof(packet) - IP4_HEADER, IPPROTO_ICMP, peer, LOCAL, 0));
}

static bool next(void *p, struct backend_packet *out)
{
	struct linux_run *l = p;
	static uint8_t packet[65536];
	ssize_t n;

	while ((n = read(tun, packet, sizeof(packet))) > 0) {
		struct ip4_got g;

		if (!ip4_read(packet, (size_t)n, &g) || g.proto != IPPROTO_TCP || g.dst < l->base || g.dst >= l->base + 64)
			continue;
		*out = (struct backend_packet){.addr = g.dst - l->base, .ecn = g.ecn, .n = g.n};
		memcpy(out->bytes, g.payload, g.n);
		return true;
	}
	return false;
}

/* -- the user */

static void prepare(int fd)
{
	const int on = 1, bytes = BUFFER_BYTES;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static struct sockaddr_in name_of(uint32_t ip, uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip), .sin_port = htons(port)};
}

static void open_listener(struct linux_run *l, uint16_t port)
{
	struct sockaddr_in name = name_of(LOCAL, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	prepare(fd);
	if (l->n_listeners == MAX_SOCKETS || bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, 64) != 0) {
		perror("diff: listen");
		exit(1);
	}
	l->listeners[l->n_listeners++] = fd;
}

static void open_connection(struct linux_run *l, unsigned conn)
{
	struct sockaddr_in local = name_of(LOCAL, 0);
	struct sockaddr_in peer = name_of(l->base + l->script->conns[conn].addr, l->script->conns[conn].port);
	struct user *u = &l->users[conn];
	socklen_t size = sizeof(local);

	if (u->fd >= 0)
		return;
	u->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	prepare(u->fd);
	u->spoke = ++l->n_spoken;
	if (bind(u->fd, (struct sockaddr *)&local, sizeof(local)) != 0 ||
	    (connect(u->fd, (struct sockaddr *)&peer, sizeof(peer)) != 0 && errno != EINPROGRESS) ||
	    getsockname(u->fd, (struct sockaddr *)&local, &size) != 0) {
		perror("diff: connect");
		exit(1);
	}
	u->local_port = ntohs(local.sin_port);
}

static void take_error(struct user *u, int error)
{
	u->error = error == ECONNRESET || error == EPIPE ? "reset" : error == ECONNREFUSED ? "refused" : "other";
	close(u->fd);
	u->fd = -1;
}

static bool is_ended(const struct user *u)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	return getsockopt(u->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == STATE_CLOSE;
}

/* Has the connection ended by an error? A soft one (ICMP) is none. */
static void check_error(struct user *u)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (u->fd >= 0 && getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error && is_ended(u))
		take_error(u, error);
}

static void read_some(struct user *u, size_t n)
{
	uint8_t bytes[4096];

	while (n && u->fd >= 0 && !u->is_eof) {
		ssize_t k = recv(u->fd, bytes, n < sizeof(bytes) ? n : sizeof(bytes), 0);

		if (k < 0 && errno != EAGAIN && errno != ENOTCONN)
			take_error(u, errno);
		if (k == 0)
			u->is_eof = true;
		if (k <= 0)
			return;
		u->hash = player_hash(u->hash, bytes, (size_t)k);
		u->n_read += (uint64_t)k;
		n -= (size_t)k;
	}
}

static void write_some(struct user *u, size_t n)
{
	static uint8_t bytes[65536];

	if (n > sizeof(bytes))
		n = sizeof(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = seg_pattern(false, u->n_written + (uint32_t)i);
	check_error(u);
	if (u->fd >= 0 && send(u->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n)
		u->n_written += (uint32_t)n;
}

static void shut(struct user *u)
{
	check_error(u);
	if (u->fd >= 0)
		shutdown(u->fd, SHUT_WR);
}

static void unlisten(struct linux_run *l)
{
	for (unsigned i = 0; i < l->n_listeners; i++)
		if (l->listeners[i] >= 0) {
			close(l->listeners[i]);
			l->listeners[i] = -1;
		}
}

static void let_go(struct user *u, bool aborts)
{
	check_error(u);
	if (u->fd < 0)
		return;
	if (aborts)
		end_socket(u->fd);
	else
		close(u->fd);
	u->fd = -1;
}

static void call(void *p, const struct script_step *st)
{
	struct linux_run *l = p;
	struct user *u = &l->users[st->conn];
	const char *w = st->words[0];
	size_t n = st->n_words > 1 ? strtoul(st->words[1], NULL, 0) : 0;

	accept_all(l);
	if (strcmp(w, "listen") == 0)
		open_listener(l, (uint16_t)n);
	else if (strcmp(w, "unlisten") == 0)
		unlisten(l);
	else if (strcmp(w, "connect") == 0)
		open_connection(l, st->conn);
	else if (strcmp(w, "read") == 0)
		read_some(u, n);
	else if (strcmp(w, "write") == 0)
		write_some(u, n);
	else if (strcmp(w, "shutdown") == 0)
		shut(u);
	else if (strcmp(w, "close") == 0 || strcmp(w, "abort") == 0)
		let_go(u, w[0] == 'a');
}

static uint16_t local_port(void *p, unsigned conn)
{
	struct linux_run *l = p;

	return l->users[conn].local_port;
}

static void look(void *p, unsigned conn, struct player_view *out)
{
	struct linux_run *l = p;
	struct user *u = &l->users[conn];
	int readable = 0;

	accept_all(l);
	note_established(u);
	if (u->fd >= 0 && ioctl(u->fd, FIONREAD, &readable) != 0)
		readable = 0;
	check_error(u);
	if (u->fd >= 0 && readable == 0) {
		uint8_t byte;
		ssize_t k = recv(u->fd, &byte, 1, MSG_PEEK);

		u->is_eof |= k == 0;
		if (k < 0 && errno != EAGAIN && errno != ENOTCONN)
			take_error(u, errno);
	}
	*out = (struct player_view){.is_there = u->was_there, .n_read = u->n_read, .hash = u->hash, .error = u->error};
	if (u->fd >= 0) {
		out->readable = (uint64_t)readable;
		out->is_eof = u->is_eof;
	}
}

const struct player player_linux = {
	.name = "linux",
	.open = open_linux,
	.close = close_linux,
	.inject = inject,
	.icmp = icmp,
	.call = call,
	.next = next,
	.local_port = local_port,
	.look = look,
};
