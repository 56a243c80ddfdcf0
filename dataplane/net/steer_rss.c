/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Predictable RSS. The key is random but for some bits, chosen by rte_thash
 * so that the low bits of a local port move the low bits of the hash at will:
 * for any tuple and entry of the table there is just one port in each block of
 * 2^bits that leads there. The hash is that of the answers: our port is their destination.
 */
#define ALLOW_EXPERIMENTAL_API /* rte_thash's, in DPDK 22.11 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_thash.h>

#include "base/log.h"
#include "net/steer_pvt.h"

#define TUPLE4_BYTES 12
#define TUPLE6_BYTES 36
#define KEY_BYTES_MIN 40
#define HASHED (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)
#define RETA_MAX 2048

/* The answers' tuple in network order. Returns its length. */
static unsigned make_tuple(const struct ip_flow *flow, uint8_t *t)
{
	unsigned n = ip_is4(&flow->local) ? 4 : 16;

	memcpy(t, flow->remote.b + 16 - n, n);
	memcpy(t + n, flow->local.b + 16 - n, n);
	t[2 * n] = (uint8_t)(flow->remote_port >> 8);
	t[2 * n + 1] = (uint8_t)flow->remote_port;
	t[2 * n + 2] = (uint8_t)(flow->local_port >> 8);
	t[2 * n + 3] = (uint8_t)flow->local_port;
	return 2 * n + 4;
}

/* The hash is linear over XOR: the sum of what each byte contributes by itself. */
static void fill_hash8(struct steer *s)
{
	for (unsigned at = 0; at < STEER_TUPLE_BYTES; at++)
		for (unsigned v = 0; v < 256; v++) {
			uint32_t words[STEER_TUPLE_BYTES / 4] = {0};

			words[at / 4] = v << (24 - at % 4 * 8);
			s->hash8[at][v] = (uint8_t)rte_softrss(words, RTE_DIM(words), s->key);
		}
}

static inline uint8_t part(const struct steer *s, unsigned at, const uint8_t *bytes, unsigned n)
{
	uint8_t h = 0;

	for (unsigned i = 0; i < n; i++)
		h ^= s->hash8[at + i][bytes[i]];
	return h;
}

/* The entry of the table for the answers to flow. For every packet of a connection that we opened: not by make_tuple(). */
static unsigned entry_of(const struct steer *s, const struct ip_flow *flow)
{
	const uint8_t ports[4] = {(uint8_t)(flow->remote_port >> 8), (uint8_t)flow->remote_port, (uint8_t)(flow->local_port >> 8),
				  (uint8_t)flow->local_port};
	uint8_t h;

	if (ip_is4(&flow->local))
		h = part(s, 0, flow->remote.b + 12, 4) ^ part(s, 4, flow->local.b + 12, 4) ^ part(s, 8, ports, 4);
	else
		h = part(s, 0, flow->remote.b, 16) ^ part(s, 16, flow->local.b, 16) ^ part(s, 32, ports, 4);
	return h & ((1u << s->bits) - 1);
}

int steer_use_hash(struct steer *s, unsigned bits, const uint8_t random[STEER_KEY_BYTES])
{
	static unsigned n_made;
	uint32_t block = 1u << bits;
	uint32_t first = (s->port_lo + block - 1) / block * block;
	uint32_t last = ((uint32_t)s->port_hi + 1) / block * block;
	struct rte_thash_ctx *ctx;
	uint8_t key[STEER_KEY_BYTES];
	char name[32];

	if (bits < RTE_THASH_RETA_SZ_MIN || bits > STEER_MAX_BITS || s->n_workers > block || first >= last)
		return -EINVAL;
	snprintf(name, sizeof(name), "weir-steer-%u", n_made++);
	memcpy(key, random, sizeof(key));
	ctx = rte_thash_init_ctx(name, sizeof(key), bits, key, RTE_THASH_MINIMAL_SEQ);
	if (!ctx)
		return -rte_errno;
	/* The low bits of the destination port, which ends the tuple. */
	if (rte_thash_add_helper(ctx, "ip4", bits, TUPLE4_BYTES * 8 - bits) != 0 ||
	    rte_thash_add_helper(ctx, "ip6", bits, TUPLE6_BYTES * 8 - bits) != 0) {
		rte_thash_free_ctx(ctx);
		return -ENOTSUP;
	}
	s->ctx = ctx;
	s->helper4 = rte_thash_get_helper(ctx, "ip4");
	s->helper6 = rte_thash_get_helper(ctx, "ip6");
	memcpy(s->key, rte_thash_get_key(ctx), sizeof(s->key));
	s->bits = bits;
	s->by_hash = true;
	s->first = (uint16_t)first;
	s->last = (uint16_t)(last - 1);
	fill_hash8(s);
	return 0;
}

void steer_fini(struct steer *s)
{
	if (s->ctx)
		rte_thash_free_ctx(s->ctx);
	s->ctx = NULL;
	s->by_hash = false;
}

unsigned steer_n_fits(const struct steer *s, uint16_t worker)
{
	return ((1u << s->bits) - worker + s->n_workers - 1u) / s->n_workers;
}

unsigned steer_fit(const struct steer *s, const struct ip_flow *flow)
{
	return entry_of(s, flow) / s->n_workers;
}

int steer_hash_opener(const struct steer *s, const struct ip_flow *flow)
{
	return (int)(entry_of(s, flow) % s->n_workers);
}

void steer_set_port(const struct steer *s, uint16_t worker, struct ip_flow *flow)
{
	uint32_t mask = (1u << s->bits) - 1;
	uint32_t entry = worker + (flow->local_port & mask) * s->n_workers;
	uint8_t tuple[STEER_TUPLE_BYTES + 4] __attribute__((aligned(4))); /* rte_thash looks at the byte behind, too */
	unsigned n;

	assert(entry <= mask);
	memset(tuple, 0, sizeof(tuple));
	n = make_tuple(flow, tuple);
	rte_thash_adjust_tuple(s->ctx, n == TUPLE4_BYTES ? s->helper4 : s->helper6, tuple, n, entry, 1, NULL, NULL);
	flow->local_port = (uint16_t)(tuple[n - 2] << 8 | tuple[n - 1]);
}

/* -- the device */

static bool is_pow2(unsigned n)
{
	return n && (n & (n - 1)) == 0;
}

unsigned steer_rss_bits(const struct net_port *p)
{
	struct rte_eth_dev_info info;
	unsigned bits = 0;

	if (!p->caps.has_rss || rte_eth_dev_info_get(p->port_id, &info) != 0 || !is_pow2(info.reta_size) ||
	    info.reta_size > RETA_MAX || (info.flow_type_rss_offloads & HASHED) != HASHED ||
	    (info.hash_key_size && (info.hash_key_size < KEY_BYTES_MIN || info.hash_key_size > STEER_KEY_BYTES)))
		return 0;
	while (bits < STEER_MAX_BITS && 2u << bits <= info.reta_size)
		bits++;
	return bits;
}

static bool set_key(const struct steer *s, const struct net_port *p, const struct rte_eth_dev_info *info)
{
	uint8_t key[STEER_KEY_BYTES];
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = info->hash_key_size ? info->hash_key_size : KEY_BYTES_MIN,
					.rss_hf = (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP) & info->flow_type_rss_offloads};
	int rc;

	memcpy(key, s->key, sizeof(key));
	rc = rte_eth_dev_rss_hash_update(p->port_id, &conf);
	memset(key, 0, sizeof(key));
	if (rc == 0)
		rc = rte_eth_dev_rss_hash_conf_get(p->port_id, &conf);
	if (rc == 0 && (memcmp(key, s->key, KEY_BYTES_MIN) != 0 || (conf.rss_hf & HASHED) != HASHED))
		rc = -EINVAL;
	if (rc)
		log_info("port %s does not take our RSS key: %s", p->name, rte_strerror(-rc));
	return rc == 0;
}

static uint16_t queue_of(const struct steer *s, unsigned entry)
{
	return (uint16_t)((entry & ((1u << s->bits) - 1)) % s->n_workers);
}

static bool set_table(const struct steer *s, const struct net_port *p, const struct rte_eth_dev_info *info)
{
	struct rte_eth_rss_reta_entry64 reta[RETA_MAX / RTE_ETH_RETA_GROUP_SIZE];
	bool is_right = true;
	int rc;

	memset(reta, 0, sizeof(reta));
	for (unsigned i = 0; i < info->reta_size; i++) {
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ull << i % RTE_ETH_RETA_GROUP_SIZE;
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = queue_of(s, i);
	}
	rc = rte_eth_dev_rss_reta_update(p->port_id, reta, info->reta_size);
	for (unsigned i = 0; i < RTE_DIM(reta); i++)
		memset(reta[i].reta, 0xff, sizeof(reta[i].reta));
	if (rc == 0)
		rc = rte_eth_dev_rss_reta_query(p->port_id, reta, info->reta_size);
	for (unsigned i = 0; rc == 0 && i < info->reta_size; i++)
		is_right &= reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] == queue_of(s, i);
	if (rc || !is_right)
		log_info("port %s does not take our RSS table: %s", p->name, rc ? rte_strerror(-rc) : "it reads back otherwise");
	return rc == 0 && is_right;
}

bool steer_rss_start(const struct steer *s, const struct net_port *p)
{
	struct rte_eth_dev_info info;

	return rte_eth_dev_info_get(p->port_id, &info) == 0 && set_key(s, p, &info) && set_table(s, p, &info);
}
