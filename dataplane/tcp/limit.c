/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What peers may open: connections at one time and in a second, of a listener
 * and of a source prefix. A prefix is charged when a handshake is complete,
 * never for a SYN: so nobody is denied by SYNs with a forged source. What is
 * refused is dropped without an answer: a RST would go to whom the SYN names,
 * and make an honest client fail where its next SYN may succeed.
 *
 * Prefixes are counted in a sketch of fixed size (Cormode and Muthukrishnan's
 * count-min, 2005): four rows of cells, in each of which a keyed hash gives a
 * prefix one cell, and the row in which the prefix looks best decides. It
 * never fills up. Others can only make a prefix look worse by sharing its
 * cell in all four rows, each cell being worn out by one who has used up a
 * bound of its own: with k such prefixes over rows of w cells that befalls
 * (1 - exp(-k / w))^4 of the others: 0.000013 at k = w / 16, 0.024 at k = w / 2.
 * As those k hold k times the bound of connections, w (the configuration's)
 * can be chosen so that the connection table is full before it matters.
 */
#include <rte_malloc.h>

#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define SECOND_NS 1000000000ull

bool rate_has(const struct rate *r, uint32_t per_s, uint64_t now_us)
{
	return per_s == 0 || r->next_ns + SECOND_NS / per_s <= now_us * 1000 + SECOND_NS;
}

void rate_take(struct rate *r, uint32_t per_s, uint64_t now_us)
{
	uint64_t now_ns = now_us * 1000;

	if (per_s == 0)
		return;
	if (r->next_ns < now_ns)
		r->next_ns = now_ns;
	r->next_ns += SECOND_NS / per_s;
	if (r->next_ns > now_ns + SECOND_NS) /* who is charged beyond the rate pays no more than that */
		r->next_ns = now_ns + SECOND_NS;
}

bool limit_create(struct tcp_stack *s)
{
	uint32_t n = rte_align32pow2(s->cfg.n_prefixes);

	if (!s->cfg.prefix_connections && !s->cfg.prefix_accepts_per_s)
		return true;
	siphash_derive(s->cfg.secret, "source prefixes", s->listen.limit_key);
	s->listen.cell_mask = n - 1;
	s->listen.cells = rte_calloc("tcp-limits", (size_t)LIMIT_ROWS * n, sizeof(*s->listen.cells), RTE_CACHE_LINE_SIZE);
	return s->listen.cells != NULL;
}

void limit_destroy(struct tcp_stack *s)
{
	rte_free(s->listen.cells);
}

/* The cells of an address's prefix, one in each row. */
static void find_cells(const struct tcp_stack *s, const struct weir_ip *remote, struct limit_cell *cells[LIMIT_ROWS])
{
	const struct listen_side *l = &s->listen;
	unsigned len = ip_is4(remote) ? 96u + s->cfg.prefix_len4 : s->cfg.prefix_len6;
	struct weir_ip prefix = {{0}};
	uint64_t h;

	for (unsigned i = 0; i < len; i += 8)
		prefix.b[i / 8] = len - i >= 8 ? remote->b[i / 8] : (uint8_t)(remote->b[i / 8] & (0xff00 >> (len - i)));
	h = siphash(&prefix, sizeof(prefix), l->limit_key);
	for (unsigned row = 0; row < LIMIT_ROWS; row++)
		cells[row] = &l->cells[row * (l->cell_mask + 1) + ((uint32_t)(h >> (16 * row)) & l->cell_mask)];
}

static bool prefix_allows(const struct tcp_stack *s, const struct weir_ip *remote, enum weir_reason *why)
{
	const struct tcp_config *cfg = &s->cfg;
	struct limit_cell *cells[LIMIT_ROWS];
	bool has_room = false;
	bool has_rate = false;

	find_cells(s, remote, cells);
	for (unsigned row = 0; row < LIMIT_ROWS; row++) {
		has_room |= !cfg->prefix_connections || cells[row]->n_connections < cfg->prefix_connections;
		has_rate |= rate_has(&cells[row]->accepts, cfg->prefix_accepts_per_s, s->now_us);
	}
	*why = has_room ? WEIR_R_TCP_PREFIX_RATE : WEIR_R_TCP_PREFIX_FULL;
	return has_room && has_rate;
}

bool limit_allows(const struct tcp_stack *s, const struct tcp_listener *l, const struct weir_ip *remote, enum weir_reason *why)
{
	if (l->max_connections && l->n_connections >= l->max_connections) {
		*why = WEIR_R_TCP_LISTENER_FULL;
		return false;
	}
	if (!rate_has(&l->accepts, l->accepts_per_s, s->now_us)) {
		*why = WEIR_R_TCP_LISTENER_RATE;
		return false;
	}
	return !s->listen.cells || prefix_allows(s, remote, why);
}

void limit_take(struct tcp_stack *s, struct tcp_listener *l, const struct weir_ip *remote)
{
	struct limit_cell *cells[LIMIT_ROWS];

	l->n_connections++;
	rate_take(&l->accepts, l->accepts_per_s, s->now_us);
	if (!s->listen.cells)
		return;
	find_cells(s, remote, cells);
	for (unsigned row = 0; row < LIMIT_ROWS; row++) {
		cells[row]->n_connections++;
		rate_take(&cells[row]->accepts, s->cfg.prefix_accepts_per_s, s->now_us);
	}
}

void limit_give(struct tcp_stack *s, struct tcp_listener *l, const struct weir_ip *remote)
{
	struct limit_cell *cells[LIMIT_ROWS];

	if (l) {
		assert(l->n_connections > 0);
		l->n_connections--;
	}
	if (!s->listen.cells)
		return;
	find_cells(s, remote, cells);
	for (unsigned row = 0; row < LIMIT_ROWS; row++) {
		assert(cells[row]->n_connections > 0);
		cells[row]->n_connections--;
	}
}
