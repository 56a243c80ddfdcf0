/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow rules: TCP segments to a worker's part of the local ports go to its
 * queue. One rule for each worker and family, and one more each for tagged
 * frames where the port has VLANs. All or none: a port that refuses one is redirected.
 */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_flow.h>

#include "base/log.h"
#include "net/steer_pvt.h"

struct rule {
	struct rte_flow_attr attr;
	struct rte_flow_item_tcp value, mask;
	struct rte_flow_item items[5];
	struct rte_flow_action_queue queue;
	struct rte_flow_action actions[2];
};

static void build(struct rule *r, const struct steer *s, uint16_t worker, bool is4, bool is_tagged)
{
	uint16_t value, mask;
	unsigned n = 0;

	steer_rule(s, worker, &value, &mask);
	memset(r, 0, sizeof(*r));
	r->attr.ingress = 1;
	r->value.hdr.dst_port = rte_cpu_to_be_16(value);
	r->mask.hdr.dst_port = rte_cpu_to_be_16(mask);
	r->items[n++].type = RTE_FLOW_ITEM_TYPE_ETH;
	if (is_tagged)
		r->items[n++].type = RTE_FLOW_ITEM_TYPE_VLAN;
	r->items[n++].type = is4 ? RTE_FLOW_ITEM_TYPE_IPV4 : RTE_FLOW_ITEM_TYPE_IPV6;
	r->items[n].type = RTE_FLOW_ITEM_TYPE_TCP;
	r->items[n].spec = &r->value;
	r->items[n++].mask = &r->mask;
	r->items[n].type = RTE_FLOW_ITEM_TYPE_END;
	r->queue.index = worker;
	r->actions[0].type = RTE_FLOW_ACTION_TYPE_QUEUE;
	r->actions[0].conf = &r->queue;
	r->actions[1].type = RTE_FLOW_ACTION_TYPE_END;
}

static bool do_rule(const struct net_port *p, const struct rule *r, bool creates)
{
	struct rte_flow_error e = {0};

	if (creates ? rte_flow_create(p->port_id, &r->attr, r->items, r->actions, &e) != NULL
		    : rte_flow_validate(p->port_id, &r->attr, r->items, r->actions, &e) == 0)
		return true;
	log_info("port %s takes no flow rule for a part of the local ports: %s", p->name,
		 e.message ? e.message : rte_strerror(rte_errno));
	return false;
}

static bool do_all(const struct steer *s, const struct net_port *p, bool creates)
{
	struct rule r;

	for (uint16_t w = 0; w < s->n_workers; w++)
		for (int is_tagged = 0; is_tagged <= p->has_vlans; is_tagged++)
			for (int is4 = 0; is4 < 2; is4++) {
				build(&r, s, w, is4, is_tagged);
				if (!do_rule(p, &r, creates))
					return false;
			}
	return true;
}

bool steer_flow_start(const struct steer *s, const struct net_port *p)
{
	if (!do_all(s, p, false))
		return false;
	if (do_all(s, p, true))
		return true;
	steer_flow_stop(p);
	return false;
}

void steer_flow_stop(const struct net_port *p)
{
	struct rte_flow_error e;

	rte_flow_flush(p->port_id, &e); /* the port's only rules are ours */
}
