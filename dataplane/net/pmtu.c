/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What routers said of paths: the largest packet towards a remote address, so
 * that a new connection does not have to learn it again. A table of fixed size;
 * what is in it was confirmed by TCP (the quoted segment was in flight), is
 * forgotten after ten minutes (RFC 1191 6.3, RFC 8201 5.3), and never grows before that.
 */
#include <string.h>

#include <rte_malloc.h>

#include "base/hash.h"
#include "net/net_pvt.h"

#define N_SETS 256
#define N_WAYS 4
#define LIFE_US (600 * 1000000ull)

struct pmtu {
	struct weir_ip remote;
	uint16_t mtu; /* 0: unused */
	uint64_t until_us;
};

bool pmtu_create(struct net *n)
{
	n->pmtu = rte_calloc("pmtu", N_SETS * N_WAYS, sizeof(*n->pmtu), RTE_CACHE_LINE_SIZE);
	return n->pmtu != NULL;
}

void pmtu_destroy(struct net *n)
{
	rte_free(n->pmtu);
}

static struct pmtu *set_of(const struct net *n, const struct weir_ip *remote)
{
	return &n->pmtu[hash64(remote->b, sizeof(remote->b), 0) % N_SETS * N_WAYS];
}

uint16_t pmtu_find(const struct net *n, const struct weir_ip *remote)
{
	const struct pmtu *set = set_of(n, remote);

	for (unsigned i = 0; i < N_WAYS; i++)
		if (set[i].mtu && n->now_us < set[i].until_us && ip_eq(&set[i].remote, remote))
			return set[i].mtu;
	return 0;
}

void pmtu_learn(struct net *n, const struct weir_ip *remote, uint16_t mtu)
{
	struct pmtu *set = set_of(n, remote);
	struct pmtu *best = &set[0];
	uint16_t known = pmtu_find(n, remote);

	if (known && known <= mtu)
		return;
	for (unsigned i = 0; i < N_WAYS; i++) {
		if (set[i].mtu && ip_eq(&set[i].remote, remote)) {
			best = &set[i];
			break;
		}
		if (set[i].until_us < best->until_us) /* unused: 0 */
			best = &set[i];
	}
	*best = (struct pmtu){.remote = *remote, .mtu = mtu, .until_us = n->now_us + LIFE_US};
	stat_inc(n->stats, WEIR_C_PMTU_LEARNED);
}

uint16_t net_mtu_for(void *ctx, const struct weir_ip *remote, bool is_path)
{
	const struct net *n = ctx;
	unsigned n_headers = ip_mss_overhead(remote);
	const struct net_iface *f;
	struct ip_way w;
	uint16_t known, outer = 0;
	uint32_t mtu;

	if (!way_find(n, NULL, remote, 0, &w))
		return UINT16_MAX;
	f = iface_of(n, w.iface);
	mtu = way_mtu(n, &w);
	if (f->mss_clamp && f->mss_clamp + n_headers < mtu)
		mtu = f->mss_clamp + n_headers;
	known = is_path ? pmtu_find(n, remote) : 0;
	if (known && known < mtu)
		mtu = known;
	if (w.tunnel && is_path)
		outer = pmtu_find(n, &w.tunnel->via);
	if (outer && outer - way_overhead(&w.tunnel->via) < (int)mtu)
		mtu = (uint32_t)outer - way_overhead(&w.tunnel->via);
	return (uint16_t)mtu;
}
