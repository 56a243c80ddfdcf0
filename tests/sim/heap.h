/* SPDX-License-Identifier: Apache-2.0 */
/* The events of the network in virtual time: a binary heap by time, and by order among those of one time. */
#ifndef SIM_HEAP_H
#define SIM_HEAP_H

#include "sim.h"

enum sim_event_kind { EVENT_SEGMENT, EVENT_TOO_BIG, EVENT_CALL };

struct sim_event {
	uint64_t at_us;
	uint8_t kind; /* enum sim_event_kind */
	uint8_t to;   /* host */
	uint16_t mtu; /* TOO_BIG */
	uint32_t tag; /* SEGMENT */
	uint32_t seq; /* TOO_BIG */
	uint32_t next_free;
	struct rte_mbuf *m; /* SEGMENT */
	union {
		struct tcp_packet packet; /* SEGMENT */
		struct ip_flow flow;	  /* TOO_BIG */
		struct {
			sim_call_fn *fn;
			void *ctx;
		} call;
	};
};

void heap_push(struct sim_heap *h, const struct sim_event *e, uint64_t order);
/* Time of the first event, UINT64_MAX when there is none. */
uint64_t heap_next_us(const struct sim_heap *h);
/* Takes the first event out. */
struct sim_event heap_pop(struct sim_heap *h);
void heap_free(struct sim_heap *h);

#endif
