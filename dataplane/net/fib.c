/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarding table; see fib.h. One block of memory: the head, entries, hops, and two tables of indices. */
#include "net/fib.h"

#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h> /* rte_align32pow2(), since DPDK 24 */
#include <rte_byteorder.h>
#include <rte_common.h>

#include "base/hash.h"

#define MAX_LENS 129

struct fib {
	uint64_t seed;
	size_t n_entries;
	struct fib_entry *entries;
	struct fib_hop *hops;
	uint32_t *slots; /* index of an entry + 1, by the hash of its prefix and length; open addressing */
	uint32_t *ends;	 /* index of a hop + 1, by the hash of its via */
	uint32_t slot_mask, end_mask;
	uint8_t n_lens[2]; /* of IPv4, of IPv6 */
	uint8_t lens[2][MAX_LENS]; /* of 128 bits, longest first */
	unsigned n_vteps;
	struct weir_vtep vteps[FIB_MAX_VTEPS];
};

static unsigned family_of(const struct weir_ip *ip)
{
	return ip_is4(ip) ? 0 : 1;
}

/* The first len of 128 bits. */
static struct weir_ip masked(const struct weir_ip *ip, unsigned len)
{
	uint64_t w[2];
	struct weir_ip out;

	memcpy(w, ip->b, sizeof(w));
	if (len < 64)
		w[0] &= len ? rte_cpu_to_be_64(UINT64_MAX << (64 - len)) : 0;
	if (len < 128)
		w[1] &= len > 64 ? rte_cpu_to_be_64(UINT64_MAX << (128 - len)) : 0;
	memcpy(out.b, w, sizeof(w));
	return out;
}

static uint32_t slot_of(const struct fib *f, const struct weir_ip *prefix, unsigned len)
{
	return (uint32_t)hash64(prefix->b, sizeof(prefix->b), f->seed + len) & f->slot_mask;
}

/* The slot of the prefix, or the free one where it would stand. */
static uint32_t *find_slot(const struct fib *f, const struct weir_ip *prefix, unsigned len)
{
	uint32_t i = slot_of(f, prefix, len);

	for (; f->slots[i]; i = (i + 1) & f->slot_mask) {
		const struct fib_entry *e = &f->entries[f->slots[i] - 1];

		if (e->len == len && ip_eq(&e->prefix, prefix))
			break;
	}
	return &f->slots[i];
}

static uint32_t *find_end(const struct fib *f, const struct weir_ip *ip)
{
	uint32_t i = (uint32_t)hash64(ip->b, sizeof(ip->b), f->seed) & f->end_mask;

	while (f->ends[i] && !ip_eq(&f->hops[f->ends[i] - 1].via, ip))
		i = (i + 1) & f->end_mask;
	return &f->ends[i];
}

static void add_len(struct fib *f, unsigned family, uint8_t len)
{
	unsigned n = f->n_lens[family];
	unsigned at = 0;

	while (at < n && f->lens[family][at] > len)
		at++;
	if (at < n && f->lens[family][at] == len)
		return;
	memmove(&f->lens[family][at + 1], &f->lens[family][at], n - at);
	f->lens[family][at] = len;
	f->n_lens[family]++;
}

static void add(struct fib *f, const struct fib_route *r, uint32_t *n_hops)
{
	unsigned family = family_of(&r->prefix);
	uint8_t len = (uint8_t)(family == 0 ? r->len + 96 : r->len);
	uint32_t *slot = find_slot(f, &r->prefix, len);

	if (*slot)
		return;
	f->entries[f->n_entries] = (struct fib_entry){.prefix = r->prefix, .len = len, .n_hops = r->n_hops, .first_hop = *n_hops};
	*slot = (uint32_t)++f->n_entries;
	add_len(f, family, len);
	for (unsigned i = 0; i < r->n_hops; i++) {
		uint32_t *end = find_end(f, &r->hops[i].via);

		f->hops[(*n_hops)++] = r->hops[i];
		if (!*end)
			*end = *n_hops;
	}
}

/* At most half full, so that searches are short and end. */
static uint32_t table_size(size_t n)
{
	return rte_align32pow2((uint32_t)(2 * n + 1));
}

struct fib *fib_create(const struct fib_route *routes, size_t n, const struct weir_vtep *vteps, unsigned n_vteps)
{
	size_t n_hops = 0;
	uint32_t used = 0;
	uint32_t n_slots, n_ends;
	struct fib *f;

	for (size_t i = 0; i < n; i++)
		n_hops += routes[i].n_hops;
	n_slots = table_size(n);
	n_ends = table_size(n_hops);
	f = calloc(1, sizeof(*f) + n * sizeof(*f->entries) + n_hops * sizeof(*f->hops) + ((size_t)n_slots + n_ends) * sizeof(uint32_t));
	if (!f)
		return NULL;
	f->slots = (uint32_t *)(f + 1);
	f->ends = f->slots + n_slots;
	f->entries = (struct fib_entry *)(f->ends + n_ends);
	f->hops = (struct fib_hop *)(f->entries + n);
	f->slot_mask = n_slots - 1;
	f->end_mask = n_ends - 1;
	f->seed = hash_secret();
	f->n_vteps = n_vteps;
	for (unsigned i = 0; i < n_vteps; i++)
		f->vteps[i] = vteps[i];
	for (size_t i = 0; i < n; i++)
		add(f, &routes[i], &used);
	return f;
}

void fib_destroy(struct fib *f)
{
	free(f);
}

const struct fib_entry *fib_find(const struct fib *f, const struct weir_ip *ip)
{
	unsigned family = family_of(ip);

	for (unsigned i = 0; i < f->n_lens[family]; i++) {
		struct weir_ip prefix = masked(ip, f->lens[family][i]);
		uint32_t slot = *find_slot(f, &prefix, f->lens[family][i]);

		if (slot)
			return &f->entries[slot - 1];
	}
	return NULL;
}

const struct fib_hop *fib_hop_for(const struct fib *f, const struct fib_entry *e, uint64_t hash)
{
	return &f->hops[e->first_hop + (e->n_hops > 1 ? (hash >> 32) * e->n_hops >> 32 : 0)];
}

size_t fib_n_entries(const struct fib *f)
{
	return f->n_entries;
}

unsigned fib_n_vteps(const struct fib *f)
{
	return f->n_vteps;
}

const struct weir_vtep *fib_vtep(const struct fib *f, unsigned i)
{
	return &f->vteps[i];
}

bool fib_is_hop(const struct fib *f, const struct weir_ip *ip)
{
	return *find_end(f, ip) != 0;
}

bool fib_is_source(const struct fib *f, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < f->n_vteps; i++)
		if (ip_eq(&f->vteps[i].source, ip))
			return true;
	return false;
}

bool fib_has_port(const struct fib *f, uint16_t port)
{
	for (unsigned i = 0; i < f->n_vteps; i++)
		if (f->vteps[i].port == port)
			return true;
	return false;
}
