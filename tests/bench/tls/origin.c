/* SPDX-License-Identifier: Apache-2.0 */
/* The origin: GET /N, answered by N bytes, on connections that stay. */
#include "tlsload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_BODY (4u << 20)

struct listener {
	struct watched w;
	struct load *l;
};

struct served {
	struct watched w;
	struct load *l;
	char in[2048], head[128];
	size_t n_in, n_head, at, end; /* of the answer: head and body, from at to end; at == end: none */
};

static char body[MAX_BODY];

static void drop(struct served *s)
{
	close(s->w.fd);
	free(s);
}

/* True: all of the answer is gone. */
static bool send_answer(struct served *s)
{
	while (s->at < s->end) {
		struct iovec v[2] = {{s->head + s->at, s->at < s->n_head ? s->n_head - s->at : 0}, {body, 0}};
		size_t from = s->at > s->n_head ? s->at - s->n_head : 0;
		ssize_t n;

		v[1].iov_base = body + from;
		v[1].iov_len = s->end - s->n_head - from;
		n = s->at < s->n_head ? writev(s->w.fd, v, 2) : write(s->w.fd, v[1].iov_base, v[1].iov_len);
		if (n <= 0)
			return false;
		s->at += (size_t)n;
	}
	return true;
}

static void answer(struct served *s)
{
	const char *slash = memchr(s->in, '/', s->n_in);
	unsigned long n = slash ? strtoul(slash + 1, NULL, 10) : 0;

	n = n < MAX_BODY ? n : MAX_BODY;
	s->n_head = (size_t)snprintf(s->head, sizeof(s->head), "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\n\r\n", n);
	s->at = 0;
	s->end = s->n_head + n;
}

/* One request at a time: whoever asks waits for the answer. */
static bool is_whole(const struct served *s)
{
	return s->n_in >= 4 && memcmp(s->in + s->n_in - 4, "\r\n\r\n", 4) == 0;
}

static void served_ready(struct watched *w, uint32_t events)
{
	struct served *s = (struct served *)w;

	if (s->at == s->end) {
		ssize_t n = read(w->fd, s->in + s->n_in, sizeof(s->in) - s->n_in);

		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			drop(s);
			return;
		}
		s->n_in += n > 0 ? (size_t)n : 0;
		if (!is_whole(s))
			return;
		answer(s);
		s->n_in = 0;
	}
	rewatch(s->l, w, send_answer(s) ? EPOLLIN : EPOLLOUT);
}

static void listener_ready(struct watched *w, uint32_t events)
{
	struct listener *o = (struct listener *)w;
	int fd;

	while ((fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct served *s = calloc(1, sizeof(*s));

		if (!s)
			exit(1);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		s->w = (struct watched){served_ready, fd};
		s->l = o->l;
		if (watch(o->l, &s->w, EPOLLIN))
			drop(s);
	}
}

int origin_init(struct load *l, const char *addr)
{
	static struct listener o;
	struct sockaddr_in sin = {.sin_family = AF_INET};
	char ip[32] = "";
	unsigned port;

	memset(body, 'w', sizeof(body));
	if (sscanf(addr, "%31[0-9.]:%u", ip, &port) != 2 || inet_pton(AF_INET, ip, &sin.sin_addr) != 1) {
		fprintf(stderr, "weir-tlsload: origin %s: not an address and port\n", addr);
		return -1;
	}
	sin.sin_port = htons((uint16_t)port);
	o = (struct listener){{listener_ready, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)}, l};
	setsockopt(o.w.fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	setsockopt(o.w.fd, IPPROTO_IP, IP_FREEBIND, &(int){1}, sizeof(int)); /* its interface gets the address later */
	if (bind(o.w.fd, (struct sockaddr *)&sin, sizeof(sin)) || listen(o.w.fd, 4096)) {
		fprintf(stderr, "weir-tlsload: origin %s: %s\n", addr, strerror(errno));
		return -1;
	}
	return watch(l, &o.w, EPOLLIN);
}
