/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The users of both stacks of a simulation: a, which connects, and b, which is
 * accepted. Each sends a pattern of its own and looks at every byte that it gets.
 */
#ifndef TESTS_TCP_PEERS_H
#define TESTS_TCP_PEERS_H

#include <string.h>

#include <rte_mbuf.h>

#include "sim.h"

/* One side of a connection: sends `to_send` bytes of a pattern, checks what it gets. */
struct peer {
	struct sim *sim;
	struct tcp_conn *c;
	uint8_t salt;	   /* of the pattern that this side sends */
	uint8_t peer_salt;
	size_t to_send, sent;
	size_t got;
	size_t chunk;	   /* bytes per call of tcp_send; 0: as many as fit */
	bool by_mbufs;	   /* relay style: tcp_recv, and the data sent back by tcp_send_mbufs */
	bool paused;	   /* does not read */
	bool shuts_down;   /* half-close after sending, else close after both are done */
	bool connected, eof, closed, let_go;
	bool abort_on_read, close_on_connect;
	enum weir_reason why;
	unsigned n_closed;
};

static struct sim sim;

/* The byte at i of what a side with this salt sends. */
static inline uint8_t pattern(uint8_t salt, size_t i)
{
	return (uint8_t)(salt + i * 31 + (i >> 8) * 7 + (i >> 16));
}

/* As much of what is left as there is room for. */
static inline void send_more(struct peer *p)
{
	static uint8_t block[65536];

	while (p->sent < p->to_send) {
		size_t room = tcp_send_room(p->c);
		size_t n = p->to_send - p->sent;

		if (p->chunk && n > p->chunk)
			n = p->chunk;
		if (n > sizeof(block))
			n = sizeof(block);
		if (n > room)
			n = room;
		if (n == 0)
			return;
		for (size_t i = 0; i < n; i++)
			block[i] = pattern(p->salt, p->sent + i);
		if (tcp_send(p->c, block, n) != 0)
			return;
		p->sent += n;
	}
}

static inline void check_bytes(struct peer *p, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((uint8_t)data[i] != pattern(p->peer_salt, p->got + i))
			fail_msg("byte %zu is wrong", p->got + i);
	p->got += n;
}

static inline void read_all(struct peer *p)
{
	while (tcp_readable(p->c)) {
		if (p->by_mbufs) {
			struct rte_mbuf *m = tcp_recv(p->c, 1 + sim_random(p->sim) % 5000);

			if (!m)
				return;
			assert_int_equal(rte_mbuf_check(m, 1, NULL), 0);
			for (struct rte_mbuf *s = m; s; s = s->next)
				check_bytes(p, rte_pktmbuf_mtod(s, char *), s->data_len);
			rte_pktmbuf_free(m);
		} else {
			struct slice s = tcp_peek(p->c);
			size_t n = 1 + sim_random(p->sim) % s.n;

			check_bytes(p, s.p, n);
			tcp_consume(p->c, n);
		}
	}
}

/* What a side does at each event: reads, sends, and closes when all is done. */
static inline void step(struct peer *p, uint64_t now)
{
	if (!p->c || !p->connected)
		return;
	if (!p->paused)
		read_all(p);
	p->eof = tcp_is_eof(p->c);
	send_more(p);
	if (p->sent == p->to_send && p->shuts_down)
		tcp_shutdown(p->c);
	if (p->sent == p->to_send && p->eof) {
		tcp_close(p->c, now);
		p->let_go = true;
		p->c = NULL;
	}
}

static inline void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct peer *p = user;

	assert_ptr_equal(p->c, c);
	if (events & TCP_EV_CLOSED) {
		p->closed = true;
		p->n_closed++;
		p->why = tcp_close_reason(c);
		p->c = NULL;
		return;
	}
	if (events & TCP_EV_CONNECTED) {
		p->connected = true;
		if (p->close_on_connect) {
			p->c = NULL;
			p->let_go = true;
			tcp_close(c, now);
			return;
		}
	}
	if ((events & TCP_EV_READABLE) && p->abort_on_read) {
		p->c = NULL;
		p->let_go = true;
		tcp_abort(c, WEIR_R_CLOSE_ABORTED, now);
		return;
	}
	step(p, now);
}

/* Who is accepted next, and what accept answers instead, if it is not 0. */
static struct peer *next_accept;
static int accept_result;

static inline int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	struct peer *p = next_accept;

	if (accept_result)
		return accept_result;
	p->c = c;
	p->connected = true;
	*user = p;
	if (!p->abort_on_read)
		step(p, now);
	return 0;
}

static inline struct tcp_listener *listen_on(int host, uint16_t port)
{
	const struct tcp_listen args = {.port = port, .accept = on_accept, .event = on_event};
	struct tcp_listener *l;

	assert_int_equal(tcp_listen(sim.host[host].tcp, &args, &l), 0);
	return l;
}

/* From this host to the other one. False: refused at once; p->why says so. */
static inline bool connect_to(struct peer *p, int from, uint16_t port)
{
	struct tcp_connect a = {.local = sim.host[from].ip, .remote = sim.host[!from].ip, .remote_port = port,
				.timeout_ms = 20000, .event = on_event, .user = p};
	enum weir_reason why = 0;

	p->c = tcp_connect(sim.host[from].tcp, &a, sim.now_us, &why);
	if (!p->c) {
		p->why = why;
		return false;
	}
	return true;
}

static struct peer a, b;

/* a will send so many bytes, b so many; each half-closes then, and lets go at the other's end. */
static inline void peers_init(size_t a_bytes, size_t b_bytes)
{
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	a.sim = b.sim = &sim;
	a.salt = b.peer_salt = 1;
	b.salt = a.peer_salt = 99;
	a.to_send = a_bytes;
	b.to_send = b_bytes;
	a.shuts_down = b.shuts_down = true;
	next_accept = &b;
	accept_result = 0;
}

/* For sim_run(): until both have let go, or were told of the end. */
static inline bool both_done(void *ctx)
{
	return (a.let_go || a.closed) && (b.let_go || b.closed);
}

/* Two stacks with the usual configuration; host 1 listens on port 80. */
static inline void start(uint64_t seed)
{
	struct tcp_config c = sim_config();

	sim_init(&sim, seed, &c, &c);
	listen_on(1, 80);
}

static inline void expect_complete(void)
{
	assert_true(a.let_go);
	assert_true(b.let_go);
	assert_int_equal(a.got, b.to_send);
	assert_int_equal(b.got, a.to_send);
}

/* Everything comes to rest: only TIME-WAIT was left, and it ended. */
static inline void expect_empty_tables(void)
{
	sim_run(&sim, 20000000, NULL, NULL);
	assert_int_equal(tcp_n_connections(sim.host[0].tcp), 0);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
}

#endif
