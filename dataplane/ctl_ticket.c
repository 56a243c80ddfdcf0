/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of session tickets, the same for all workers: the newest seals, the
 * ones before it still open. Who learns one can read the resumed sessions of TLS 1.2 that were sealed
 * with it (and the early secrets of 1.3): so they change, and no key is kept
 * longer than its tickets live.
 */
#include <errno.h>
#include <string.h>

#include <openssl/rand.h>

#include "base/log.h"
#include "ctl_pvt.h"

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

void ctl_tickets_taken(struct ctl *c)
{
	if (c->tickets.n_untaken > 0)
		c->tickets.n_untaken--;
}

bool ctl_tickets_poll(struct ctl *c)
{
	struct ctl_tickets *t = &c->tickets;
	uint64_t now;

	if (!t->k || t->n_untaken > 0) /* while a worker reads them they stay as they are */
		return t->n_untaken > 0;
	now = ctl_now_us();
	if (now < t->next_us)
		return false;
	if (!rotate(t->k)) {
		log_error("tls: no random numbers for a new ticket key%s", t->k->keys.n ? ": the old one stays" : ": no tickets are given");
		t->next_us = now + RETRY_US;
		return false;
	}
	t->next_us = now + t->rotate_us;
	t->n_untaken = c->n_workers;
	for (unsigned i = 0; i < c->n_workers; i++) {
		const struct worker_msg m = {.type = WORKER_TICKET_KEYS, .worker = i, .ptr = &t->k->keys};

		ctl_worker_send(&c->workers[i], &m);
	}
	return true;
}
