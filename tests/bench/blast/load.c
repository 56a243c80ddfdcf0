/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and requests of the client: see load.h. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#define STEP_MAX 64 /* things begun in one iteration, of each sort */
#define ROOM 64	    /* frames that a queue must have room for before something is begun */

static void put_slot(const struct blast *b, struct load *l, uint32_t index)
{
	struct free_slots *f = &l->free[end_owner(b, &b->client, index)];

	f->at[f->tail++ & l->free_mask] = index;
}

struct load *load_create(struct blast *b)
{
	struct load *l = calloc(1, sizeof(*l));
	uint32_t size = 1;

	while (size < b->o.n_slots)
		size *= 2;
	if (!l)
		return NULL;
	l->free_mask = l->idle_mask = size - 1;
	l->idle = calloc(size, sizeof(*l->idle));
	l->active = calloc(size, sizeof(*l->active));
	if (!l->idle || !l->active || !due_init(&l->shot_deadline, b->o.n_slots))
		return NULL; /* and the program ends */
	for (unsigned w = 0; w < b->o.n_queues; w++)
		if (!(l->free[w].at = calloc(size, sizeof(uint32_t))))
			return NULL;
	l->owner = OWNER_ANY;
	for (uint32_t i = 0; i < b->o.n_slots; i++)
		put_slot(b, l, i);
	return l;
}

static bool take_slot(struct blast *b, uint32_t *index)
{
	struct load *l = b->load;
	unsigned n_tries = l->owner == OWNER_ANY ? b->o.n_queues : 1;

	for (unsigned i = 0; i < n_tries; i++) {
		struct free_slots *f = &l->free[l->owner == OWNER_ANY ? l->turn++ % b->o.n_queues : l->owner];

		if (f->head != f->tail) {
			*index = f->at[f->head++ & l->free_mask];
			return true;
		}
	}
	return false;
}

static bool has_room(const struct blast *b)
{
	for (unsigned q = 0; q < b->client.port->n_queues; q++)
		if (port_room(b->client.port, q) < ROOM)
			return false;
	return true;
}

/* -- the pool */

static void open_pool(struct blast *b)
{
	struct load *l = b->load;

	for (unsigned i = 0; i < STEP_MAX && l->n_pool + l->n_opening < l->pool_target && l->n_opening < l->opening_max; i++) {
		uint32_t index;

		if (l->opening.interval > 0 && !schedule_is_due(&l->opening, b->tsc))
			return;
		if (!has_room(b) || !take_slot(b, &index))
			return;
		l->opening.k++;
		tiny_connect(b, &b->client, index);
		b->client.conns[index].group = GROUP_POOL;
		l->n_opening++;
	}
}

/* With faults: in the place of those that ended. */
static void reopen(struct blast *b)
{
	struct load *l = b->load;
	uint32_t index;

	for (unsigned i = 0; i < STEP_MAX && l->n_reopen && has_room(b) && take_slot(b, &index); i++) {
		tiny_connect(b, &b->client, index);
		b->client.conns[index].group = GROUP_ACTIVE;
		b->client.conns[index].start = b->tsc;
		l->n_reopen--;
	}
}

bool load_close_some(struct blast *b, uint32_t n, uint32_t max, uint32_t *at)
{
	while (max && b->load->n_pool > n && *at < b->o.n_slots) {
		struct tconn *c = &b->client.conns[*at];

		if (c->state == T_OPEN && c->group == GROUP_POOL && !c->fin_wanted) {
			if (!has_room(b))
				return true;
			tiny_close(b, &b->client, *at);
			b->load->n_pool--;
			c->group = GROUP_NONE;
			max--;
		}
		++*at;
	}
	return b->load->n_pool > n && *at < b->o.n_slots;
}

/* -- requests */

static uint32_t choose_size(struct blast *b)
{
	const struct load *l = b->load;

	return l->n_sizes > 1 ? l->sizes[blast_random(b) % l->n_sizes] : l->sizes[0];
}

static void ask(struct blast *b, uint32_t index, uint64_t start)
{
	if (b->load->n_left != UINT64_MAX && b->load->n_left-- == 0) {
		b->load->n_left = 0;
		b->load->is_on = false;
		return;
	}
	b->load->n_outstanding++;
	client_request(b, index, b->next_id++, choose_size(b), false, start);
}

void load_choose(struct blast *b, uint32_t n)
{
	struct load *l = b->load;
	uint32_t all = 0;

	for (uint32_t i = 0; i < b->o.n_slots; i++) {
		const struct tconn *c = &b->client.conns[i];

		if (c->state == T_OPEN && c->group == GROUP_POOL && !c->fin_received && !c->closes)
			l->active[all++] = i;
	}
	l->n_active = n && n < all ? n : all;
	for (uint32_t i = 0; i < l->n_active; i++) { /* Fisher and Yates, of the first n */
		uint32_t j = i + (uint32_t)(blast_random(b) % (all - i));
		uint32_t t = l->active[i];

		l->active[i] = l->active[j];
		l->active[j] = t;
		b->client.conns[l->active[i]].group = GROUP_ACTIVE;
	}
}

void load_start(struct blast *b, double rate, uint32_t burst)
{
	struct load *l = b->load;

	l->is_on = true;
	l->is_open_loop = rate > 0;
	l->n_outstanding = l->n_reopen = 0;
	l->idle_head = l->idle_tail = 0;
	l->requests = (struct schedule){.start = b->tsc, .burst = burst, .interval = rate > 0 ? (double)b->tsc_hz / rate : 0};
	for (uint32_t i = 0; i < l->n_active; i++) {
		if (l->is_open_loop)
			l->idle[l->idle_tail++ & l->idle_mask] = l->active[i];
		else
			ask(b, l->active[i], b->tsc);
	}
}

/* The connection has nothing in hand. */
static void next_request(struct blast *b, uint32_t index)
{
	struct load *l = b->load;

	if (!l->is_on || b->client.conns[index].closes)
		return;
	if (!l->is_open_loop) {
		ask(b, index, b->tsc);
	} else if (schedule_is_due(&l->requests, b->tsc)) { /* it waited for a connection: the wait counts */
		ask(b, index, schedule_time(&l->requests));
		l->requests.k++;
	} else {
		l->idle[l->idle_tail++ & l->idle_mask] = index;
	}
}

static void ask_due(struct blast *b)
{
	struct load *l = b->load;

	for (unsigned i = 0; i < STEP_MAX && l->idle_head != l->idle_tail && schedule_is_due(&l->requests, b->tsc); i++) {
		uint32_t index = l->idle[l->idle_head++ & l->idle_mask];

		if (b->client.conns[index].state != T_OPEN || b->client.conns[index].group != GROUP_ACTIVE)
			continue;
		ask(b, index, schedule_time(&l->requests));
		l->requests.k++;
	}
}

/* -- shots */

static void begin_shots(struct blast *b)
{
	struct load *l = b->load;
	bool is_timed = l->shots.interval > 0;

	for (unsigned i = 0; i < STEP_MAX; i++) {
		struct tconn *c;
		uint32_t index;

		if (is_timed ? !schedule_is_due(&l->shots, b->tsc) : l->n_shots >= l->shots_max)
			return;
		if (!has_room(b) || !take_slot(b, &index))
			return;
		tiny_connect(b, &b->client, index);
		c = &b->client.conns[index];
		c->group = GROUP_SHOT;
		c->id = b->next_id++;
		c->start = is_timed ? schedule_time(&l->shots) : b->tsc;
		l->shots.k++;
		l->n_shots++;
		l->shots_begun++;
		due_push(&l->shot_deadline, index, c->id, b->now_ms + l->shot_timeout_ms);
	}
}

static void shot_failed(struct blast *b, enum blast_error why)
{
	b->load->n_shots--;
	b->load->shots_failed++;
	b->load->shot_error[why]++;
}

static bool is_unanswered(const struct tconn *c)
{
	return c->group == GROUP_SHOT && (c->state == T_SYN_SENT || (c->state == T_OPEN && c->awaits));
}

static void free_slot(struct blast *b, uint32_t index)
{
	b->client.conns[index].group = GROUP_NONE;
	put_slot(b, b->load, index);
}

static void give_up_shot(struct blast *b, uint32_t index)
{
	count_error(b, E_NO_ANSWER);
	shot_failed(b, E_NO_ANSWER);
	tiny_abort(b, &b->client, index);
	free_slot(b, index);
}

static void check_deadlines(struct blast *b)
{
	struct due_entry d;

	while (due_pop(&b->load->shot_deadline, b->now_ms, &d)) {
		const struct tconn *c = &b->client.conns[d.index];

		if (is_unanswered(c) && c->id == d.tag)
			give_up_shot(b, d.index);
	}
}

/* -- from below */

static bool is_measured(const struct load *l, uint64_t start, uint64_t now)
{
	return start >= l->measure_from && now < l->measure_to;
}

static uint64_t to_ns(const struct blast *b, uint64_t cycles)
{
	return (uint64_t)((double)cycles * 1e9 / (double)b->tsc_hz);
}

void load_on_open(struct blast *b, uint32_t index)
{
	struct tconn *c = &b->client.conns[index];

	if (c->group == GROUP_POOL) {
		b->load->n_opening--;
		b->load->n_pool++;
	} else if (c->group == GROUP_SHOT) {
		client_request(b, index, c->id, choose_size(b), true, c->start);
	} else if (c->group == GROUP_ACTIVE) {
		b->load->n_pool++;
		next_request(b, index);
	}
}

void load_on_response(struct blast *b, uint32_t index)
{
	struct load *l = b->load;
	const struct tconn *c = &b->client.conns[index];

	if (c->group == GROUP_SHOT) {
		l->n_shots--;
		l->shots_good++;
		if (is_measured(l, c->start, b->tsc)) {
			l->shots_measured++;
			hist_add(&l->shot_latency, to_ns(b, b->tsc - c->start));
		}
		return;
	}
	l->n_outstanding--;
	if (b->tsc >= l->measure_from && b->tsc < l->measure_to) {
		l->n_measured++;
		l->measured_bytes += c->size;
	}
	if (is_measured(l, c->start, b->tsc))
		hist_add(&l->latency, to_ns(b, b->tsc - c->start));
	next_request(b, index);
}

void load_on_closed(struct blast *b, uint32_t index, enum blast_error why)
{
	struct load *l = b->load;
	struct tconn *c = &b->client.conns[index];
	bool was_opening = why == E_CONNECT_TIMEOUT || why == E_CONNECT_REFUSED;

	if (c->group == GROUP_POOL && was_opening)
		l->n_opening--;
	else if (c->group == GROUP_POOL || (c->group == GROUP_ACTIVE && !was_opening))
		l->n_pool--;
	else if (c->group == GROUP_SHOT && (c->awaits || was_opening))
		shot_failed(b, why == N_ERRORS ? E_EARLY_CLOSE : why);
	if (c->group == GROUP_ACTIVE && c->awaits)
		l->n_outstanding--;
	if (c->group == GROUP_ACTIVE && b->chaos && l->is_on)
		l->n_reopen++;
	c->awaits = 0;
	free_slot(b, index);
}

/* -- the whole */

void load_step(struct blast *b)
{
	struct load *l = b->load;

	if (l->n_pool + l->n_opening < l->pool_target)
		open_pool(b);
	if (l->is_on && l->n_reopen)
		reopen(b);
	if (l->is_on && l->is_open_loop)
		ask_due(b);
	if (l->shots.interval > 0 || l->shots_max)
		begin_shots(b);
	check_deadlines(b);
}

void load_stop(struct blast *b)
{
	b->load->is_on = false;
	b->load->shots = (struct schedule){0};
	b->load->shots_max = 0;
}

void load_finish(struct blast *b)
{
	struct load *l = b->load;

	for (uint32_t i = 0; i < b->o.n_slots; i++) {
		struct tconn *c = &b->client.conns[i];

		if (is_unanswered(c)) {
			give_up_shot(b, i);
		} else if (c->group == GROUP_ACTIVE && c->awaits) {
			count_error(b, E_NO_ANSWER);
			tiny_abort(b, &b->client, i);
			load_on_closed(b, i, E_NO_ANSWER);
		} else if (c->group == GROUP_ACTIVE) {
			c->group = GROUP_POOL;
		}
	}
	l->n_active = 0;
}

void load_clear_results(struct blast *b)
{
	struct load *l = b->load;

	l->n_measured = l->measured_bytes = 0;
	l->shots_begun = l->shots_good = l->shots_failed = l->shots_measured = 0;
	memset(l->shot_error, 0, sizeof(l->shot_error));
	hist_clear(&l->latency);
	hist_clear(&l->shot_latency);
}
