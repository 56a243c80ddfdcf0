/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local ports of connections that we open: the double-hash choice of RFC 6056
 * 3.3.4, from a place that depends on the destination, one after the other.
 *
 * While few ports of a destination are in use, the next one is nearly always
 * free and the connection table alone says so. A crowded destination (an
 * eighth of its ports in use) gets a bit map of what is busy, so that the last
 * free port is found as fast as the first, and that there is none is known
 * without a search. A map learns what was open before it a few ports at each
 * choice, and has done so long before the rest is used up. There are so few
 * crowded destinations, since the table bounds connections, that their
 * maps cost about a byte for each connection of the table.
 *
 * Every choice looks at a bounded number of ports. Ports are numbered here by
 * "choices", from 0 on: what steering leaves to this worker, without gaps.
 */
#include <string.h>

#include <rte_malloc.h>

#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define N_COUNTERS 256
#define PLAIN_TRIES 16	/* without a map; then there should be one */
#define MAX_TRIES 128	/* of one choice, in all; and as many more for what looks busy */
#define LEARN_STEP 4
#define CROWDED(n_choices) ((n_choices) / 8)
#define MAX_MAPS 256
#define MAX_WORDS (65536 / 64)

/* What is known of one destination's ports. */
struct port_map {
	struct ip_flow to;  /* local_port 0 */
	uint32_t n_busy;
	uint32_t n_learned; /* choices below this one that are not in the map are free */
	uint32_t hand;	    /* where the search among the busy ones goes on */
	uint64_t *busy;	    /* [n_words] */
	uint64_t full[MAX_WORDS / 64]; /* words of busy without a zero */
};

struct tcp_ports {
	uint32_t n_choices, n_words;
	uint32_t counter[N_COUNTERS]; /* RFC 6056 3.3.4 */
	uint32_t n_open[N_COUNTERS];  /* connections, by the same hash of their destination */
	uint32_t n_maps;
	uint32_t tags[MAX_MAPS]; /* of the destination; 0: unused */
	struct port_map *maps;	 /* [n_maps] */
	uint64_t *words;	 /* [n_maps][n_words] */
};

bool ports_create(struct tcp_stack *s)
{
	struct tcp_ports *p = rte_zmalloc("tcp-ports", sizeof(*p), RTE_CACHE_LINE_SIZE);
	uint32_t range = (uint32_t)s->cfg.port_hi - s->cfg.port_lo + 1;

	s->ports = p;
	if (!p)
		return false;
	p->n_choices = s->env.steer_port ? (range >> s->env.steer_bits) * s->env.steer_fits : range;
	if (p->n_choices == 0)
		return false;
	p->n_words = (p->n_choices + 63) / 64;
	p->n_maps = s->cfg.n_connections / (CROWDED(p->n_choices) + 1) + 2;
	if (p->n_maps > MAX_MAPS)
		p->n_maps = MAX_MAPS;
	p->maps = rte_calloc("tcp-port-maps", p->n_maps, sizeof(*p->maps), RTE_CACHE_LINE_SIZE);
	p->words = rte_calloc("tcp-port-words", (size_t)p->n_maps * p->n_words, sizeof(*p->words), RTE_CACHE_LINE_SIZE);
	return p->maps && p->words;
}

void ports_destroy(struct tcp_stack *s)
{
	if (s->ports) {
		rte_free(s->ports->maps);
		rte_free(s->ports->words);
	}
	rte_free(s->ports);
	s->ports = NULL;
}

/* -- choices and ports */

static void set_choice(const struct tcp_stack *s, struct ip_flow *flow, uint32_t choice)
{
	const struct tcp_env *e = &s->env;

	if (!e->steer_port) {
		flow->local_port = (uint16_t)(s->cfg.port_lo + choice);
		return;
	}
	flow->local_port = (uint16_t)(s->cfg.port_lo + (choice / e->steer_fits << e->steer_bits) + choice % e->steer_fits);
	e->steer_port(e->ctx, flow);
}

static uint32_t choice_of(const struct tcp_stack *s, const struct ip_flow *flow)
{
	const struct tcp_env *e = &s->env;
	uint32_t off = (uint32_t)flow->local_port - s->cfg.port_lo;

	return e->steer_port ? (off >> e->steer_bits) * e->steer_fits + e->steer_fit(e->ctx, flow) : off;
}

/* The one place that asks whether a tuple is in use. *old: the first TIME-WAIT seen that may be taken again. */
static bool is_free(const struct tcp_stack *s, const struct ip_flow *flow, struct tw **old)
{
	struct flow_hit hit;

	table_lookup(s, flow, &hit);
	stat_inc(s->stats, WEIR_C_TCP_PORT_PROBES);
	if (hit.tw && !*old && timewait_may_reuse(s, hit.tw))
		*old = hit.tw;
	return !hit.conn && !hit.syn && !hit.tw;
}

/* -- maps */

static uint32_t tag_of(uint64_t h)
{
	return (uint32_t)h | 1;
}

static struct port_map *find_map(const struct tcp_ports *p, const struct ip_flow *to, uint64_t h)
{
	for (uint32_t i = 0; i < p->n_maps; i++)
		if (p->tags[i] == tag_of(h) && memcmp(&p->maps[i].to, to, sizeof(*to)) == 0)
			return &p->maps[i];
	return NULL;
}

static void set_busy(struct port_map *m, uint32_t choice)
{
	uint64_t *w = &m->busy[choice / 64];
	uint64_t bit = 1ull << choice % 64;

	if (*w & bit)
		return;
	*w |= bit;
	m->n_busy++;
	if (*w == UINT64_MAX)
		m->full[choice / 4096] |= 1ull << choice / 64 % 64;
}

static void set_free(struct port_map *m, uint32_t choice)
{
	uint64_t *w = &m->busy[choice / 64];
	uint64_t bit = 1ull << choice % 64;

	if (!(*w & bit))
		return;
	*w &= ~bit;
	m->n_busy--;
	m->full[choice / 4096] &= ~(1ull << choice / 64 % 64);
}

/* Bits behind the last choice count as busy for good. */
static void reset_map(const struct tcp_ports *p, struct port_map *m, const struct ip_flow *to)
{
	uint64_t *words = p->words + (size_t)(m - p->maps) * p->n_words;

	memset(m, 0, sizeof(*m));
	memset(words, 0, p->n_words * sizeof(*words));
	m->busy = words;
	m->to = *to;
	if (p->n_choices % 64)
		words[p->n_words - 1] = UINT64_MAX << p->n_choices % 64;
	for (uint32_t w = p->n_words; w < MAX_WORDS; w++)
		m->full[w / 64] |= 1ull << w % 64;
}

/* A map for a destination that has none; the least busy one makes way. NULL: all are of crowded ones. */
static struct port_map *claim_map(struct tcp_ports *p, const struct ip_flow *to, uint64_t h)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < p->n_maps; i++) {
		if (!p->tags[i]) {
			best = i;
			break;
		}
		if (p->maps[i].n_busy < p->maps[best].n_busy)
			best = i;
	}
	if (p->tags[best] && p->maps[best].n_busy > CROWDED(p->n_choices))
		return NULL;
	p->tags[best] = tag_of(h);
	reset_map(p, &p->maps[best], to);
	return &p->maps[best];
}

/* The first choice from `from` on, and around, that the map does not know to be busy; n_choices if there is none. */
static uint32_t next_free(const struct tcp_ports *p, const struct port_map *m, uint32_t from)
{
	uint64_t bits = ~m->busy[from / 64] & UINT64_MAX << from % 64;
	uint32_t w = from / 64;

	for (uint32_t i = 0; !bits && i <= MAX_WORDS / 64; i++) {
		/* words behind w first; after the last one all, w among them */
		uint32_t group = (w / 64 + i) % (MAX_WORDS / 64);
		uint64_t open = ~m->full[group];

		if (i == 0)
			open &= w % 64 == 63 ? 0 : UINT64_MAX << (w % 64 + 1);
		if (open) {
			w = group * 64 + (uint32_t)__builtin_ctzll(open);
			bits = ~m->busy[w];
			break;
		}
	}
	return bits ? w * 64 + (uint32_t)__builtin_ctzll(bits) : p->n_choices;
}

static void learn(const struct tcp_stack *s, struct port_map *m, struct tw **old)
{
	struct ip_flow flow = m->to;

	for (unsigned i = 0; i < LEARN_STEP && m->n_learned < s->ports->n_choices; i++, m->n_learned++) {
		set_choice(s, &flow, m->n_learned);
		if (!is_free(s, &flow, old))
			set_busy(m, m->n_learned);
	}
}

/* -- the choice */

static bool choose_plain(struct tcp_stack *s, struct ip_flow *flow, uint32_t start, uint32_t *counter, unsigned tries,
			 struct tw **old)
{
	uint32_t n = s->ports->n_choices;

	for (unsigned i = 0; i < tries && i < n; i++) {
		set_choice(s, flow, (start + (*counter)++) % n);
		if (is_free(s, flow, old))
			return true;
	}
	return false;
}

/* Everything looks busy. Is it? A bounded number of looks, which go on where the last ones ended. */
static bool sweep(struct tcp_stack *s, struct port_map *m, struct ip_flow *flow, struct tw **old)
{
	uint32_t n = s->ports->n_choices;

	for (unsigned i = 0; i < MAX_TRIES && i < n; i++) {
		set_choice(s, flow, m->hand++ % n);
		if (is_free(s, flow, old))
			return true;
		if (*old)
			return false;
	}
	return false;
}

static bool choose_mapped(struct tcp_stack *s, struct port_map *m, struct ip_flow *flow, uint32_t start, uint32_t *counter,
			  struct tw **old)
{
	uint32_t n = s->ports->n_choices;

	learn(s, m, old);
	for (unsigned i = 0; i < MAX_TRIES; i++) {
		uint32_t from = (start + *counter) % n;
		uint32_t choice = next_free(s->ports, m, from);

		if (choice == n)
			return sweep(s, m, flow, old);
		*counter += (choice + n - from) % n + 1;
		set_choice(s, flow, choice);
		if (is_free(s, flow, old))
			return true;
		set_busy(m, choice);
	}
	return false;
}

bool port_choose(struct tcp_stack *s, struct ip_flow *flow, uint32_t *min_iss)
{
	struct tcp_ports *p = s->ports;
	struct tw *old = NULL;
	struct port_map *m;
	struct ip_flow to;
	uint64_t h;
	unsigned k;
	bool ok;

	*min_iss = 0;
	flow->local_port = 0;
	to = *flow;
	h = siphash(&to, sizeof(to), s->cfg.secret);
	k = (h >> 32) % N_COUNTERS;
	m = find_map(p, &to, h);
	if (!m && p->n_open[k] > CROWDED(p->n_choices))
		m = claim_map(p, &to, h);
	ok = !m && choose_plain(s, flow, (uint32_t)h, &p->counter[k], PLAIN_TRIES, &old);
	if (!ok && !m)
		m = claim_map(p, &to, h);
	if (!ok && m)
		ok = choose_mapped(s, m, flow, (uint32_t)h, &p->counter[k], &old);
	else if (!ok)
		ok = choose_plain(s, flow, (uint32_t)h, &p->counter[k], MAX_TRIES, &old);
	if (!ok && !old)
		return false;
	if (!ok) {
		*flow = old->flow;
		timewait_reuse(s, old, min_iss);
	}
	p->n_open[k]++;
	if (m)
		set_busy(m, choice_of(s, flow));
	return true;
}

void port_release(struct tcp_stack *s, const struct ip_flow *flow)
{
	struct tcp_ports *p = s->ports;
	struct ip_flow to = *flow;
	struct port_map *m;
	unsigned k;
	uint64_t h;

	to.local_port = 0;
	h = siphash(&to, sizeof(to), s->cfg.secret);
	k = (h >> 32) % N_COUNTERS;
	assert(p->n_open[k] > 0);
	if (p->n_open[k])
		p->n_open[k]--;
	m = find_map(p, &to, h);
	if (!m)
		return;
	set_free(m, choice_of(s, flow));
	if (m->n_busy == 0)
		p->tags[m - p->maps] = 0;
}
