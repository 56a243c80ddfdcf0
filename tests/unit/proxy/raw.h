/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that say what the test tells them, byte by byte, and keep what they got: a client, and an endpoint at RAW_PORT. */
#ifndef TESTS_PROXY_RAW_H
#define TESTS_PROXY_RAW_H

#pragma GCC diagnostic ignored "-Wunused-function" /* not every test needs all of the rig */

#include "rig.h"

#define RAW_PORT 8090

struct raw {
	struct tcp_conn *c; /* NULL: ended */
	bool is_deaf;	    /* reads nothing */
	bool is_eof, is_reset;
	char in[4096]; /* the first bytes that came */
	size_t n_in, n_all;
	uint64_t sum; /* of all bytes, each by its place */
};

static struct raw raw_endpoints[64];
static unsigned n_raw_endpoints;

static void raw_read(struct raw *r)
{
	while (!r->is_deaf && tcp_readable(r->c)) {
		struct slice s = tcp_peek(r->c);

		for (size_t i = 0; i < s.n; i++) {
			if (r->n_in < sizeof(r->in) - 1)
				r->in[r->n_in++] = s.p[i];
			r->sum += (uint64_t)(uint8_t)s.p[i] * ++r->n_all;
		}
		tcp_consume(r->c, s.n);
	}
	r->is_eof = tcp_is_eof(r->c);
}

static void raw_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct raw *r = user;

	if (events & TCP_EV_CLOSED) {
		r->is_reset = tcp_close_reason(c) == WEIR_R_CLOSE_RESET_BY_PEER;
		r->c = NULL;
		return;
	}
	raw_read(r);
}

static int raw_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	struct raw *r = &raw_endpoints[n_raw_endpoints++ % 64];

	memset(r, 0, sizeof(*r));
	r->c = c;
	*user = r;
	return 0;
}

static void raw_connect(struct raw *r)
{
	struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 80, .timeout_ms = 30000,
				.event = raw_event, .user = r};
	enum weir_reason why;

	memset(r, 0, sizeof(*r));
	r->c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
	assert_non_null(r->c);
	sim_run(&sim, 100000, NULL, NULL);
}

static void raw_say(struct raw *r, const char *text)
{
	assert_non_null(r->c);
	assert_int_equal(tcp_send(r->c, text, strlen(text)), 0);
}

static void raw_close(struct raw *r)
{
	if (r->c)
		tcp_close(r->c, sim.now_us);
	r->c = NULL;
}

/* From now on requests go to the raw endpoint. */
static void raw_listen(void)
{
	const struct tcp_listen args = {.port = RAW_PORT, .accept = raw_accept, .event = raw_event};
	struct weir_endpoint ep = {.addr = sim.host[0].ip, .port = RAW_PORT, .flags = WEIR_EP_READY, .weight = 1};
	const struct model_backend b = {.name = "n/s:80", .n_endpoints = 1, .endpoints = &ep};
	struct tcp_listener *l;
	void *eps;
	size_t n;

	n_raw_endpoints = 0;
	memset(raw_endpoints, 0, sizeof(raw_endpoints));
	assert_int_equal(tcp_listen(sim.host[0].tcp, &args, &l), 0);
	assert_int_equal(compile_endpoints(&b, 1, &eps, &n), 0);
	upstream_take_set(upstream, eps, sim.now_us);
	free(eps);
}

static void run_ms(unsigned ms)
{
	sim_run(&sim, (uint64_t)ms * 1000, NULL, NULL);
}

/* The one record that a test left: of this status, with this reason (WEIR_N_REASONS: none) and these flags and no other. */
static const struct weir_log_record *one_record(unsigned status, enum weir_reason why, uint32_t flags)
{
	const struct weir_log_record *r = &access_log.records[0];

	assert_int_equal(access_log.worker.head, 1);
	assert_int_equal(r->status, status);
	assert_int_equal(r->reason_plus1, why == WEIR_N_REASONS ? 0 : why + 1);
	assert_int_equal(r->flags, flags);
	return r;
}

/* Closes this client and the endpoint's connections, and no tunnel is left. */
static void raw_finish(struct raw *client)
{
	raw_close(client);
	for (unsigned i = 0; i < 64; i++)
		raw_close(&raw_endpoints[i]);
	run_ms(200000);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
}

static bool has_got(const struct raw *r, const char *text)
{
	return memmem(r->in, r->n_in, text, strlen(text)) != NULL;
}

#endif
