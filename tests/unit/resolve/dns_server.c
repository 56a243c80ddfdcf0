/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first label of a name says what is answered, its other part what that is
 * of. An answer has one address, 192.0.2.1 or 2001:db8::1, and a TTL of 60 s, if
 * the label is none of these:
 *
 *   ttl0, ttl7     another TTL          many     40 addresses, over TCP: UDP is truncated
 *   alias          by two CNAMEs, with TTLs of 30 and 20 s      dangling   a CNAME to nothing
 *   nothing        NOERROR without an answer                    absent     NXDOMAIN
 *   servfail, refused, notimp            their codes            silent     never answered
 *   second         answered only when asked again
 *   wrongid, wrongname   another id or question, and never a right one
 *   garbage        bytes                 cut      the answer ends within its record
 *   mapped         AAAA ::ffff:127.0.0.1 loop     a name that points to itself, in compression
 */
#include "dns_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TYPE_A 1u
#define TYPE_CNAME 5u
#define TYPE_AAAA 28u
#define UDP_MAX 512u

struct dns_server {
	int udp, tcp, stop[2];
	uint16_t port;
	pthread_t thread;
	atomic_uint counts[2];
	unsigned n_second;
};

struct message {
	uint8_t b[16384];
	size_t n;
};

static void put16(struct message *m, unsigned v)
{
	m->b[m->n++] = (uint8_t)(v >> 8);
	m->b[m->n++] = (uint8_t)v;
}

/* The head of a record for the name at an offset. */
static void put_record(struct message *m, unsigned name_at, unsigned type, unsigned ttl, unsigned n)
{
	put16(m, 0xc000 | name_at);
	put16(m, type);
	put16(m, 1);
	put16(m, ttl >> 16);
	put16(m, ttl & 0xffff);
	put16(m, n);
	m->b[7]++; /* ANCOUNT */
}

static void put_address(struct message *m, unsigned name_at, unsigned type, unsigned ttl, uint8_t last)
{
	static const uint8_t v4[] = {192, 0, 2, 0}, v6[16] = {0x20, 0x01, 0x0d, 0xb8};
	size_t n = type == TYPE_A ? sizeof(v4) : sizeof(v6);

	put_record(m, name_at, type, ttl, (unsigned)n);
	memcpy(m->b + m->n, type == TYPE_A ? v4 : v6, n);
	m->n += n;
	m->b[m->n - 1] = last;
}

/* Returns where its target stands. */
static unsigned put_cname(struct message *m, unsigned name_at, unsigned ttl, const char *label)
{
	size_t n = strlen(label);

	put_record(m, name_at, TYPE_CNAME, ttl, (unsigned)n + 2);
	m->b[m->n++] = (uint8_t)n;
	memcpy(m->b + m->n, label, n);
	m->n += n;
	m->b[m->n++] = 0;
	return (unsigned)(m->n - n - 2);
}

static bool is(const uint8_t *label, const char *text)
{
	return label[0] == strlen(text) && memcmp(label + 1, text, label[0]) == 0;
}

static void answer_alias(struct message *m, unsigned type)
{
	unsigned first = put_cname(m, 12, 30, "first");
	unsigned second = put_cname(m, first, 20, "second");

	put_address(m, second, type, 60, 1);
}

static void answer_odd(struct message *m, const uint8_t *label, unsigned type)
{
	static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};

	if (is(label, "mapped")) {
		put_record(m, 12, TYPE_AAAA, 60, 16);
		memcpy(m->b + m->n, mapped, 16);
		m->n += 16;
	} else if (is(label, "garbage")) {
		memset(m->b + 12, 0xff, 100);
		m->n = 112;
	} else if (is(label, "cut")) {
		put_address(m, 12, type, 60, 1);
		m->n -= 2;
	} else if (is(label, "loop")) {
		put_record(m, (unsigned)m->n, type, 60, 4);
		m->n += 4;
	} else {
		unsigned ttl = is(label, "ttl0") ? 0 : is(label, "ttl7") ? 7 : 60;

		put_address(m, 12, type, ttl, 1);
	}
}

/* The query, its question alone, becomes its answer; false: there is none. */
static bool answer(struct dns_server *s, struct message *m, unsigned type, bool is_tcp)
{
	const uint8_t *label = m->b + 12;

	m->b[2] = 0x85; /* an answer, authoritative, recursion desired */
	m->b[3] = 0x80;
	if (is(label, "silent") || (is(label, "second") && s->n_second++ < 2))
		return false;
	if (is(label, "absent"))
		m->b[3] |= 3;
	else if (is(label, "servfail"))
		m->b[3] |= 2;
	else if (is(label, "notimp"))
		m->b[3] |= 4;
	else if (is(label, "refused"))
		m->b[3] |= 5;
	else if (is(label, "alias"))
		answer_alias(m, type);
	else if (is(label, "dangling"))
		put_cname(m, 12, 60, "first");
	else if (is(label, "many"))
		for (unsigned i = 0; i < 40; i++)
			put_address(m, 12, type, 60, (uint8_t)(200 - i));
	else if (!is(label, "nothing"))
		answer_odd(m, label, type);
	if (is(label, "wrongid"))
		m->b[1] ^= 1;
	if (is(label, "wrongname"))
		m->b[13] ^= 1;
	if (!is_tcp && m->n > UDP_MAX) { /* truncated: nothing is left of it */
		m->b[2] |= 2;
		m->b[7] = 0;
		m->n = (size_t)(strlen((const char *)m->b + 12) + 1 + 4 + 12);
	}
	return true;
}

/* Cut after its question, whatever follows there. False: it is no query. */
static bool take_query(struct message *m, unsigned *type)
{
	size_t at = 12;

	while (at < m->n && m->b[at])
		at += m->b[at] + 1u;
	if (at + 5 > m->n)
		return false;
	*type = (unsigned)m->b[at + 1] << 8 | m->b[at + 2];
	m->n = at + 5;
	memset(m->b + 6, 0, 6);
	return true;
}

static void serve_udp(struct dns_server *s)
{
	struct sockaddr_in from;
	socklen_t n_from = sizeof(from);
	struct message m;
	ssize_t n = recvfrom(s->udp, m.b, sizeof(m.b), 0, (struct sockaddr *)&from, &n_from);
	unsigned type;

	m.n = n > 0 ? (size_t)n : 0;
	if (!take_query(&m, &type))
		return;
	s->counts[0]++;
	if (answer(s, &m, type, false))
		sendto(s->udp, m.b, m.n, 0, (struct sockaddr *)&from, n_from);
}

/* Queries and answers with their lengths before them, until the client has enough. */
static void serve_tcp(struct dns_server *s)
{
	int fd = accept(s->tcp, NULL, NULL);
	struct message m;
	uint8_t head[2];
	unsigned type;

	while (recv(fd, head, 2, MSG_WAITALL) == 2) {
		m.n = (size_t)(head[0] << 8 | head[1]);
		if (m.n > sizeof(m.b) || recv(fd, m.b, m.n, MSG_WAITALL) != (ssize_t)m.n || !take_query(&m, &type))
			break;
		s->counts[1]++;
		if (!answer(s, &m, type, true))
			continue;
		head[0] = (uint8_t)(m.n >> 8);
		head[1] = (uint8_t)m.n;
		if (send(fd, head, 2, MSG_NOSIGNAL) != 2 || send(fd, m.b, m.n, MSG_NOSIGNAL) != (ssize_t)m.n)
			break;
	}
	close(fd);
}

static void *run(void *ctx)
{
	struct dns_server *s = ctx;
	struct pollfd fds[] = {{.fd = s->stop[0]}, {.fd = s->udp}, {.fd = s->tcp}};

	for (unsigned i = 0; i < 3; i++)
		fds[i].events = POLLIN;
	while (poll(fds, 3, -1) > 0 && !fds[0].revents) {
		if (fds[1].revents)
			serve_udp(s);
		if (fds[2].revents)
			serve_tcp(s);
	}
	return NULL;
}

struct dns_server *dns_server_start(void)
{
	struct dns_server *s = calloc(1, sizeof(*s));
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);

	s->tcp = socket(AF_INET, SOCK_STREAM, 0);
	s->udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(s->tcp, (struct sockaddr *)&at, n) != 0 || listen(s->tcp, 8) != 0 ||
	    getsockname(s->tcp, (struct sockaddr *)&at, &n) != 0 || bind(s->udp, (struct sockaddr *)&at, n) != 0 ||
	    pipe(s->stop) != 0 || pthread_create(&s->thread, NULL, run, s) != 0)
		abort();
	s->port = ntohs(at.sin_port);
	return s;
}

void dns_server_stop(struct dns_server *s)
{
	close(s->stop[1]);
	pthread_join(s->thread, NULL);
	close(s->stop[0]);
	close(s->udp);
	close(s->tcp);
	free(s);
}

uint16_t dns_server_port(const struct dns_server *s)
{
	return s->port;
}

unsigned dns_server_count(const struct dns_server *s, bool is_tcp)
{
	return s->counts[is_tcp];
}
