/* SPDX-License-Identifier: Apache-2.0 */
/* What backend_weir.c (time, segments) and weir_call.c (the calls of a script) share. */
#ifndef SCRIPT_BACKEND_WEIR_H
#define SCRIPT_BACKEND_WEIR_H

#include "backend.h"
#include "base/wheel.h"
#include "tcp/tcp.h"

#define WEIR_MAX_LISTENERS 8

/* The user of one connection: it does what the script says and remembers what it was told. */
struct weir_app {
	struct backend *b;
	struct tcp_conn *c; /* NULL: none, or let go, or gone */
	struct ip_flow flow;
	unsigned spoke; /* backend.n_spoken when it was last sent or opened something */
	bool accepted, connected, closed, let_go;
	unsigned events; /* told since a script last asked */
	enum weir_reason why;
	uint32_t rx_off, tx_off; /* bytes read and written */
};

struct weir_listener {
	struct backend *b;
	uint16_t port;
	bool refuses;
	struct tcp_listener *l;
};

struct backend {
	const struct script *script;
	const struct backend_pass *pass;
	uint64_t start_us, now_us; /* of the stack's clock */
	uint64_t input_us;	   /* of the last iteration that had input */
	struct tcp_config cfg;
	struct wheel wheel;
	struct tcp_stack *tcp;
	struct weir_worker_stats stats;
	struct weir_app apps[SCRIPT_MAX_CONNS];
	unsigned n_spoken;
	struct weir_listener listeners[WEIR_MAX_LISTENERS];
	unsigned n_listeners;
	struct weir_output *head, **tail; /* what came out */
};

/* Pools of the process; the first call makes them. */
struct rte_mempool *weir_pool(void);
struct rte_mempool *weir_clones(void);

struct weir_ip weir_local_addr(const struct backend *b);
struct weir_ip weir_peer_addr(const struct backend *b, unsigned addr);

/* Callbacks of the stack, for listeners and connections of the calls. */
tcp_accept_fn weir_on_accept;
tcp_event_fn weir_on_event;

#endif
