// SPDX-License-Identifier: Apache-2.0
/*
 * One direction of the wire. A frame first waits for the rate (or is dropped,
 * where too much waits), then it may be lost (so a lost frame has used the
 * rate), then it is on its way for a delay. Time is a parameter.
 */
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NS 1000000000ull
#define N_PORTS 65536ull
#define NO_ROOM UINT64_MAX

enum { CHANCE_LOSS = 1, CHANCE_REORDER, CHANCE_DUPLICATE, CHANCE_JITTER };

int frame_pool_init(struct frame_pool *p, size_t n_frames)
{
	*p = (struct frame_pool){.n = n_frames};
	p->frames = mmap(NULL, n_frames * sizeof(*p->frames), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			 0);
	return p->frames == MAP_FAILED ? -ENOMEM : 0;
}

void frame_pool_fini(struct frame_pool *p)
{
	munmap(p->frames, p->n * sizeof(*p->frames));
}

struct frame *frame_get(struct frame_pool *p)
{
	struct frame *f = p->free;

	if (f)
		p->free = f->next;
	else if (p->n_used < p->n)
		f = &p->frames[p->n_used++];
	return f;
}

void frame_put(struct frame_pool *p, struct frame *f)
{
	f->next = p->free;
	p->free = f;
}

/* -- the heap of frames on their way */

static bool is_before(const struct frame *a, const struct frame *b)
{
	return a->release_ns != b->release_ns ? a->release_ns < b->release_ns : a->order < b->order;
}

static void heap_add(struct lane *l, struct frame *f)
{
	size_t i = l->n++;

	f->order = l->order++;
	while (i > 0 && is_before(f, l->heap[(i - 1) / 2])) {
		l->heap[i] = l->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	l->heap[i] = f;
}

static struct frame *heap_take(struct lane *l)
{
	struct frame *first = l->heap[0], *f = l->heap[--l->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < l->n) {
		if (child + 1 < l->n && is_before(l->heap[child + 1], l->heap[child]))
			child++;
		if (!is_before(l->heap[child], f))
			break;
		l->heap[i] = l->heap[child];
		i = child;
	}
	l->heap[i] = f;
	return first;
}

/* -- chance */

/* The finaliser of splitmix64: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t chance(const struct lane *l, unsigned what, uint16_t port, uint32_t count)
{
	return mix(mix(mix(l->cfg.seed) ^ ((uint64_t)what << 16 | port)) ^ count);
}

static bool is_hit(const struct lane *l, unsigned what, uint16_t port, uint32_t count, uint32_t ppm)
{
	return ppm > 0 && chance(l, what, port, count) % 1000000 < ppm;
}

/* -- the lane */

int lane_init(struct lane *l, const struct lane_config *cfg, struct frame_pool *pool)
{
	*l = (struct lane){.cfg = *cfg, .pool = pool};
	l->heap = calloc(pool->n, sizeof(*l->heap));
	l->counts = calloc(WIRE_MAX_IFS * N_PORTS, sizeof(*l->counts));
	if (l->heap && l->counts)
		return 0;
	lane_fini(l);
	return -ENOMEM;
}

void lane_fini(struct lane *l)
{
	while (l->n > 0)
		frame_put(l->pool, l->heap[--l->n]);
	free(l->heap);
	free(l->counts);
	l->heap = NULL;
	l->counts = NULL;
}

/* When f has passed the rate; NO_ROOM: the queue has none for it. */
static uint64_t lane_serialize(struct lane *l, struct frame *f, uint64_t now_ns)
{
	const struct lane_config *cfg = &l->cfg;

	if (cfg->rate_Bps == 0)
		return now_ns;

	uint64_t from = l->idle_ns > now_ns ? l->idle_ns : now_ns;
	uint64_t waiting = (uint64_t)((unsigned __int128)(from - now_ns) * cfg->rate_Bps / NS) + f->len;

	if (cfg->queue_bytes && waiting > cfg->queue_bytes)
		return NO_ROOM;
	if (waiting > l->stats.queue_max_bytes)
		l->stats.queue_max_bytes = waiting;
	if (cfg->mark_bytes && waiting > cfg->mark_bytes)
		l->stats.marked += packet_mark_ce(f->data, f->len);
	l->idle_ns = from + f->len * NS / cfg->rate_Bps;
	return l->idle_ns;
}

static void lane_duplicate(struct lane *l, const struct frame *f)
{
	struct frame *copy = frame_get(l->pool);

	if (!copy) {
		l->stats.no_frame++;
		return;
	}
	memcpy(copy, f, offsetof(struct frame, data) + f->len);
	heap_add(l, copy);
	l->stats.duplicated++;
}

enum fate lane_put(struct lane *l, struct frame *f, unsigned far, uint16_t port, uint64_t now_ns)
{
	const struct lane_config *cfg = &l->cfg;
	uint64_t at = lane_serialize(l, f, now_ns);
	bool is_exempt = f->packet.is_exempt;
	uint32_t count = is_exempt ? 0 : l->counts[far * N_PORTS + port]++;

	l->stats.packets++;
	l->stats.bytes += f->len;
	if (at == NO_ROOM) {
		l->stats.dropped++;
		frame_put(l->pool, f);
		return FATE_DROPPED;
	}
	if (!is_exempt && is_hit(l, CHANCE_LOSS, port, count, cfg->loss_ppm)) {
		l->stats.lost++;
		frame_put(l->pool, f);
		return FATE_LOST;
	}
	at += cfg->delay_ns;
	if (cfg->jitter_ns)
		at += chance(l, CHANCE_JITTER, port, count) % (cfg->jitter_ns + 1);
	if (at < l->last_ns)
		at = l->last_ns;
	f->release_ns = at;
	if (!is_exempt && is_hit(l, CHANCE_REORDER, port, count, cfg->reorder_ppm)) {
		f->release_ns += cfg->reorder_ns;
		l->stats.reordered++;
	} else {
		l->last_ns = at;
	}
	heap_add(l, f);
	if (!is_exempt && is_hit(l, CHANCE_DUPLICATE, port, count, cfg->duplicate_ppm))
		lane_duplicate(l, f);
	return FATE_PASSED;
}

struct frame *lane_get(struct lane *l, uint64_t now_ns)
{
	if (l->n == 0 || l->heap[0]->release_ns > now_ns)
		return NULL;

	struct frame *f = heap_take(l);
	uint64_t late_ns = now_ns - f->release_ns;

	l->stats.out_packets++;
	l->stats.out_bytes += f->len;
	l->stats.late_sum_ns += late_ns;
	l->stats.late_1ms += late_ns > 1000000;
	if (late_ns > l->stats.late_max_ns)
		l->stats.late_max_ns = late_ns;
	return f;
}

uint64_t lane_next_ns(const struct lane *l)
{
	return l->n ? l->heap[0]->release_ns : UINT64_MAX;
}
