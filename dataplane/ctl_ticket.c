/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of session tickets, the same for all workers: the first seals, the
 * others only open. They are made here, the newest first, or come from weir-ctrl, which has them
 * from all nodes' one place; those stay when it goes, until it says otherwise. Who learns one can read the resumed sessions of TLS 1.2 that were sealed
 * with it (and the early secrets of 1.3): so they change, and no key is kept
 * longer than its tickets live.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "base/log.h"
#include "base/wipe.h"
#include "ctl_pvt.h"
#include "snapshot/snapshot.h"

_Static_assert(TLS_TICKET_KEYS == WEIR_MAX_TICKET_KEYS && sizeof(struct tls_ticket_key) == sizeof(struct weir_ticket_key),
	       "keys of weir-ctrl are copied as they are");

#define RETRY_US 1000000u /* without random numbers */

int ctl_tickets_init(struct ctl *c, const struct ctl_config *config)
{
	if (!config->tickets)
		return 0;
	c->tickets.rotate_us = (uint64_t)config->ticket_rotate_s * 1000000;
	c->tickets.k = ctl_secret_create(sizeof(*c->tickets.k));
	return c->tickets.k ? 0 : -ENOMEM;
}

void ctl_tickets_fini(struct ctl *c)
{
	ctl_secret_destroy(c->tickets.k, sizeof(*c->tickets.k));
}

/* What is the oldest is overwritten. */
static bool rotate(struct ctl_ticket_keys *k)
{
	struct tls_ticket_keys *keys = &k->keys;

	if (RAND_priv_bytes((unsigned char *)&k->fresh, sizeof(k->fresh)) != 1)
		return false;
	memmove(&keys->key[1], &keys->key[0], (TLS_TICKET_KEYS - 1) * sizeof(*keys->key));
	keys->key[0] = k->fresh;
	explicit_bzero(&k->fresh, sizeof(k->fresh));
	if (keys->n < TLS_TICKET_KEYS)
		keys->n++;
	return true;
}

static bool same_key(const struct tls_ticket_key *a, const struct tls_ticket_key *b)
{
	return memcmp(a->name, b->name, sizeof(a->name)) == 0;
}

/* What the statistics say of the keys; is_other: another one seals. */
static void tell_stats(struct ctl *c, bool is_other)
{
	const struct tls_ticket_keys *keys = &c->tickets.k->keys;
	uint32_t source = !keys->n ? WEIR_TICKETS_NONE : c->tickets.are_shared ? WEIR_TICKETS_SHARED : WEIR_TICKETS_OWN;

	__atomic_store_n(&c->stats->ticket_source, source, __ATOMIC_RELAXED);
	__atomic_store_n(&c->stats->n_ticket_keys, keys->n, __ATOMIC_RELAXED);
	if (is_other)
		__atomic_store_n(&c->stats->ticket_sealing_s, keys->n ? (uint64_t)time(NULL) : 0, __ATOMIC_RELAXED);
}

void ctl_tickets_taken(struct ctl *c)
{
	if (c->tickets.n_untaken > 0)
		c->tickets.n_untaken--;
}

static void give_out(struct ctl *c)
{
	struct ctl_tickets *t = &c->tickets;

	t->n_untaken = c->n_workers;
	for (unsigned i = 0; i < c->n_workers; i++) {
		const struct worker_msg m = {.type = WORKER_TICKET_KEYS, .worker = i, .ptr = &t->k->keys};

		ctl_worker_send(&c->workers[i], &m);
	}
}

/*
 * What weir-ctrl sent takes the place of all that was. Where it has none any more, neither do its old ones open
 * here: it may have taken them back because they are known to others. True: there is something to be given out.
 */
static bool take_due(struct ctl *c)
{
	struct ctl_tickets *t = &c->tickets;
	struct ctl_ticket_keys *k = t->k;
	bool were_shared = t->are_shared, is_other;

	t->is_due = false;
	if (!k->due.n && !t->are_shared)
		return false;
	t->are_shared = k->due.n > 0;
	if (t->are_shared != were_shared)
		log_info("tls: session tickets are sealed by %s", t->are_shared ? "keys that weir-ctrl gives" : "keys of our own");
	is_other = !same_key(&k->due.key[0], &k->keys.key[0]);
	k->keys = k->due;
	k->due = (struct tls_ticket_keys){0}; /* others can see this memory, so no compiler leaves that out */
	if (!t->are_shared && !rotate(k))
		log_error("tls: no random numbers for a new ticket key: no tickets are given");
	t->next_us = ctl_now_us() + (k->keys.n ? t->rotate_us : RETRY_US);
	tell_stats(c, is_other);
	wipe_registers();
	return true;
}

static bool make_own(struct ctl *c)
{
	struct ctl_tickets *t = &c->tickets;
	uint64_t now = ctl_now_us();

	if (t->are_shared || now < t->next_us)
		return false;
	if (!rotate(t->k)) {
		log_error("tls: no random numbers for a new ticket key%s", t->k->keys.n ? ": the old one stays" : ": no tickets are given");
		t->next_us = now + RETRY_US;
		return false;
	}
	t->next_us = now + t->rotate_us;
	tell_stats(c, true);
	return true;
}

bool ctl_tickets_poll(struct ctl *c)
{
	struct ctl_tickets *t = &c->tickets;

	if (!t->k || t->n_untaken > 0) /* while a worker reads them they stay as they are */
		return t->n_untaken > 0;
	if (!(t->is_due ? take_due(c) : make_own(c)))
		return false;
	give_out(c);
	return true;
}

/* -- from weir-ctrl */

static void keep(struct ctl *c, const struct weir_ticket_keys *in)
{
	struct tls_ticket_keys *due = &c->tickets.k->due;

	explicit_bzero(due, sizeof(*due));
	due->n = in->n;
	memcpy(due->key, in->key, sizeof(due->key));
	c->tickets.is_due = true;
}

static enum weir_refusal read_blob(struct ctl *c, const struct weir_msg *m, struct snapshot_error *err)
{
	struct weir_ticket_keys *in;
	enum weir_refusal r;

	if (m->size > sizeof(*in))
		return WEIR_REFUSED_TOO_BIG;
	if (!ctl_is_in_arena(c, m))
		return WEIR_REFUSED_BAD_PLACE;
	if (m->size < sizeof(*in))
		return WEIR_REFUSED_TRUNCATED;
	if (!c->tickets.k)
		return WEIR_REFUSED_SWITCHED_OFF;
	in = ctl_secret_create(sizeof(*in));
	if (!in)
		return WEIR_REFUSED_NO_MEMORY;
	memcpy(in, c->conn.arena + m->off, sizeof(*in));
	r = ticket_keys_check(in, sizeof(*in), err);
	if (r == WEIR_REFUSED_OK)
		keep(c, in);
	ctl_secret_destroy(in, sizeof(*in));
	return r;
}

void ctl_tickets_take(struct ctl *c, const struct weir_msg *m)
{
	struct snapshot_error err = {.text = ""};
	enum weir_refusal r = read_blob(c, m, &err);

	*(r ? &c->stats->ticket_keys_refused : &c->stats->ticket_keys_taken) += 1;
	ctl_blob_answer(c, m, r, "set of ticket keys", err.text);
}
