/* SPDX-License-Identifier: Apache-2.0 */
/* The copying side of a capture; see capture.h. */
#include "net/capture.h"

#include <string.h>

#include <rte_mbuf.h>

#include "base/filter.h"
#include "net/net_pvt.h"

void net_capture_start(struct net *n, struct net_capture *c)
{
	n->capture = c;
}

void net_capture_stop(struct net *n)
{
	n->capture = NULL;
}

static void read_chain(const void *ctx, uint32_t off, uint32_t n, uint8_t *out)
{
	const void *p = rte_pktmbuf_read(ctx, off, n, out);

	if (p != out)
		memcpy(out, p, n);
}

/* Bytes of the packet that are wanted, 0: it is not. */
static uint32_t wanted(const struct weir_capture_spec *spec, const struct rte_mbuf *m)
{
	const struct filter_packet p = {
		.head = rte_pktmbuf_mtod(m, const uint8_t *),
		.n_head = m->data_len < m->pkt_len ? m->data_len : m->pkt_len,
		.len = m->pkt_len,
		.read = read_chain,
		.ctx = m,
	};
	uint32_t n = spec->n_insns ? filter_run(spec->insns, &p) : UINT32_MAX;

	if (n > spec->snaplen)
		n = spec->snaplen;
	return n < m->pkt_len ? n : m->pkt_len;
}

static void copy_chain(uint8_t *out, const struct rte_mbuf *m, uint32_t n)
{
	for (; n > 0; m = m->next) {
		uint32_t k = m->data_len < n ? m->data_len : n;

		memcpy(out, rte_pktmbuf_mtod(m, const void *), k);
		out += k;
		n -= k;
	}
}

/* Room for a record of n bytes in one piece; the end of the ring is skipped if it is too short. NULL: full. */
static struct weir_capture_record *ring_room(struct net_capture *c, uint64_t *head, uint32_t n)
{
	uint64_t left = c->ring_size - *head % c->ring_size;
	uint64_t skip = left < n ? left : 0;

	if (*head + skip + n - __atomic_load_n(&c->tail, __ATOMIC_ACQUIRE) > c->ring_size)
		return NULL;
	if (skip) {
		((struct weir_capture_record *)(void *)(c->ring + *head % c->ring_size))->caplen = WEIR_CAPTURE_SKIP;
		*head += skip;
	}
	return (struct weir_capture_record *)(void *)(c->ring + *head % c->ring_size);
}

/* False: the ring is full. */
static bool put(struct net_capture *c, const struct rte_mbuf *m, uint32_t caplen, const struct weir_capture_record *head_of)
{
	uint32_t n = (uint32_t)(sizeof(*head_of) + caplen + WEIR_CAPTURE_ALIGN - 1) / WEIR_CAPTURE_ALIGN * WEIR_CAPTURE_ALIGN;
	uint64_t head = c->out->head;
	struct weir_capture_record *r = ring_room(c, &head, n);

	if (!r)
		return false;
	*r = *head_of;
	r->len = m->pkt_len;
	r->caplen = caplen;
	copy_chain((uint8_t *)(r + 1), m, caplen);
	__atomic_store_n(&c->out->head, head + n, __ATOMIC_RELEASE);
	return true;
}

void capture_burst(struct net *n, struct rte_mbuf *const *pkts, unsigned n_pkts, unsigned port,
		   enum weir_capture_direction direction, uint64_t now_us)
{
	struct net_capture *c = n->capture;
	const struct weir_capture_record head = {
		.time_us = now_us + (uint64_t)c->unix_offset_us, .direction = (uint8_t)direction, .port = (uint8_t)port};

	for (unsigned i = 0; i < n_pkts; i++) {
		uint32_t caplen = wanted(c->spec, pkts[i]);

		if (caplen == 0)
			continue;
		if (!put(c, pkts[i], caplen, &head)) {
			c->out->n_dropped++;
			stat_inc(n->stats, WEIR_C_CAPTURE_DROPS);
			continue;
		}
		stat_inc(n->stats, WEIR_C_CAPTURED);
		if (++c->out->n_captured == c->spec->count) {
			n->capture = NULL;
			return;
		}
	}
}
