/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver's extended statistics, by its names, for the statistics region. Drivers have up to thousands, most of which stay zero: an entry is
 * made for each that once did not. Main alone calls this.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>

#include "net/net.h"
#include "weir/ports.h"

#define N_MAX 16384 /* more than any driver has */

struct port_xstats {
	unsigned n;
	struct rte_eth_xstat *values;	  /* [n] */
	struct rte_eth_xstat_name *names; /* [n] */
	uint16_t *entry;		  /* [n], by id: the entry's index + 1; 0: none yet */
};

void port_forget_xstats(struct net_port *p)
{
	if (!p->xstats)
		return;
	free(p->xstats->values);
	free(p->xstats->names);
	free(p->xstats->entry);
	free(p->xstats);
	p->xstats = NULL;
}

static bool learn(struct net_port *p)
{
	int n = rte_eth_xstats_get_names(p->port_id, NULL, 0);
	struct port_xstats *own;

	if (n <= 0 || n > N_MAX)
		return false;
	p->xstats = own = calloc(1, sizeof(*own));
	if (!own)
		return false;
	own->n = (unsigned)n;
	own->values = calloc(own->n, sizeof(*own->values));
	own->names = calloc(own->n, sizeof(*own->names));
	own->entry = calloc(own->n, sizeof(*own->entry));
	if (own->values && own->names && own->entry && rte_eth_xstats_get_names(p->port_id, own->names, own->n) == n)
		return true;
	port_forget_xstats(p);
	return false;
}

/* The entry of this name, made if there is room; index + 1, or 0. */
static uint16_t entry_of(struct weir_port_xstats *x, const char *name)
{
	unsigned i = 0;

	while (i < x->n && strcmp(x->entry[i].name, name) != 0)
		i++;
	if (i == WEIR_PORT_XSTATS)
		return 0;
	if (i == x->n) {
		snprintf(x->entry[i].name, sizeof(x->entry[i].name), "%s", name);
		__atomic_store_n(&x->n, i + 1, __ATOMIC_RELEASE);
	}
	return (uint16_t)(i + 1);
}

void port_sample_xstats(struct net_port *p, struct weir_port_xstats *x)
{
	uint32_t n_left_off = 0;
	struct port_xstats *own;
	int n;

	if (p->is_removed || (!p->xstats && !learn(p)))
		return;
	own = p->xstats;
	n = rte_eth_xstats_get(p->port_id, own->values, own->n);
	if (n < 0 || (unsigned)n > own->n) { /* a bond's members, or queues, have become others */
		port_forget_xstats(p);
		return;
	}
	for (int i = 0; i < n; i++) {
		uint64_t id = own->values[i].id;

		if (id >= own->n || (own->values[i].value == 0 && !own->entry[id]))
			continue;
		if (!own->entry[id])
			own->entry[id] = entry_of(x, own->names[id].name);
		if (own->entry[id])
			__atomic_store_n(&x->entry[own->entry[id] - 1].value, own->values[i].value, __ATOMIC_RELAXED);
		else
			n_left_off++;
	}
	__atomic_store_n(&x->n_left_off, n_left_off, __ATOMIC_RELAXED);
}
