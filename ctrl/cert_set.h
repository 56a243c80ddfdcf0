/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within publish.c's duty: the certificates that the newest snapshot names, and
 * how far each is on its way to the dataplane of this connection. By msg.h it
 * has those that were taken and that its last snapshot names; a snapshot is
 * sent only when all of its are there.
 */
#ifndef CTRL_CERT_SET_H
#define CTRL_CERT_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "translate/certificate.h"

enum cert_state {
	CERT_DUE,     /* to be sent */
	CERT_AWAY,    /* lies in the arena */
	CERT_THERE,   /* was taken */
	CERT_REFUSED, /* and it will not be otherwise: whoever handed it in is to leave it out */
};

struct cert {
	struct certificate *c; /* held */
	enum cert_state state;
	unsigned n_tries;
	bool may_pass; /* refused for want of room */
};

struct cert_set {
	struct cert *list; /* by id */
	size_t n;
	size_t n_of[CERT_REFUSED + 1]; /* in each state */
};

void cert_set_fini(struct cert_set *s);
/* These alone, in any order, each as often as one likes. Those that were there stay as they were. 0 or -ENOMEM: nothing has changed. */
int cert_set_replace(struct cert_set *s, const struct certificate *const *list, size_t n);
struct cert *cert_set_find(const struct cert_set *s, const struct weir_cert_id *id);
void cert_set_state(struct cert_set *s, struct cert *c, enum cert_state state);
/* Nothing is there any more; with those that were refused, another try is made if is_anew. */
void cert_set_reset(struct cert_set *s, bool is_anew);
/* The first one in this state from *at on, which then is behind it; NULL: there is none. */
struct cert *cert_set_next(const struct cert_set *s, size_t *at, enum cert_state state);

#endif
