/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions with backends that can be resumed, of this worker: few for each endpoint and what TLS to it is to be. One is good for
 * that and for nothing else, since what stands in it was judged by these settings; and for one connection only (RFC 8446 C.4), but
 * one of TLS 1.2 comes back with that. The table has sets of places; what comes to a full one takes the place of the oldest.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "tls/tls_pvt.h"

#define N_SETS 256u
#define N_WAYS 4u
#define LIFETIME_US (3600ull * 1000000) /* from the handshake in which certificates were judged, or the resumption of that */

struct kept {
	SSL_SESSION *session; /* NULL: free */
	uint64_t hash;	      /* of who it is with: see is_of() */
	uint64_t settings;
	struct weir_cert_id cert[2];
	struct weir_ip addr;
	uint16_t port;
	uint64_t start_us;
};

struct resume_table {
	struct kept kept[N_SETS][N_WAYS];
};

int resume_init(struct tls *t)
{
	t->resume = calloc(1, sizeof(*t->resume));
	return t->resume ? 0 : -1;
}

static void drop(struct tls *t, struct kept *k)
{
	if (!k->session)
		return;
	SSL_SESSION_free(k->session);
	k->session = NULL;
	stat_set(t->cfg.stats, WEIR_G_BACKEND_TLS_TICKETS, --t->n_kept);
}

void resume_fini(struct tls *t)
{
	for (unsigned i = 0; t->resume && i < N_SETS; i++)
		for (unsigned k = 0; k < N_WAYS; k++)
			drop(t, &t->resume->kept[i][k]);
	free(t->resume);
}

static uint64_t hash_of(const struct peer *p)
{
	return hash_keyed(&p->addr, sizeof(p->addr), p->settings + p->port);
}

/* The certificates are compared as they are: whatever else two settings have alike, nobody goes by another one's identity. */
static bool is_of(const struct kept *k, const struct peer *p)
{
	return k->session && k->settings == p->settings && k->port == p->port &&
	       memcmp(&k->addr, &p->addr, sizeof(k->addr)) == 0 && memcmp(k->cert, p->cert, sizeof(k->cert)) == 0;
}

void resume_take(struct tls_session *s, uint64_t now_us)
{
	struct kept *set = s->t->resume->kept[hash_of(s->peer) % N_SETS];
	struct kept *best = NULL;

	for (unsigned i = 0; i < N_WAYS; i++) {
		if (!is_of(&set[i], s->peer))
			continue;
		if (now_us - set[i].start_us > LIFETIME_US || !SSL_SESSION_is_resumable(set[i].session))
			drop(s->t, &set[i]);
		else if (!best || set[i].start_us > best->start_us)
			best = &set[i];
	}
	if (!best)
		return;
	SSL_set_session(s->ssl, best->session);
	s->peer->start_us = best->start_us; /* the certificate was judged then */
	drop(s->t, best);
}

/* A reference of its own. */
static void put(struct tls_session *s, SSL_SESSION *session)
{
	const struct peer *p = s->peer;
	struct kept *set = s->t->resume->kept[hash_of(p) % N_SETS];
	struct kept *to = &set[0];

	for (unsigned i = 1; i < N_WAYS && to->session; i++)
		if (!set[i].session || set[i].start_us < to->start_us)
			to = &set[i];
	drop(s->t, to);
	*to = (struct kept){.session = session, .settings = p->settings, .cert = {p->cert[0], p->cert[1]}, .addr = p->addr,
			    .port = p->port, .start_us = p->start_us};
	stat_set(s->t->cfg.stats, WEIR_G_BACKEND_TLS_TICKETS, ++s->t->n_kept);
}

int resume_on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_session *s = tls_bio_session(ssl);

	if (s->peer->n_tickets >= N_WAYS) /* of one connection: a peer that sends more has no use of it */
		return 0;
	s->peer->n_tickets++;
	put(s, session);
	return 1;
}

void resume_complete(struct tls_session *s, uint64_t now_us)
{
	if (!SSL_session_reused(s->ssl))
		s->peer->start_us = now_us;
	else if (SSL_version(s->ssl) == TLS1_2_VERSION && s->peer->n_tickets == 0)
		put(s, SSL_get1_session(s->ssl));
}
