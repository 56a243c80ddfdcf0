/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to the dataplane, and in which order. See publish.h. */
#include "publish_pvt.h"

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"

/* False: no room, or no connection any more. */
bool publish_send_message(struct publish *p, struct weir_msg *m)
{
	enum spsc_outcome o;

	m->seq = p->tx_seq + 1;
	o = spsc_put(&p->tx, m);
	if (o == SPSC_DONE) {
		p->tx_seq++;
		p->ring_bell = true;
		return true;
	}
	if (o == SPSC_BROKEN)
		publish_disconnect(p, "impossible index in its ring");
	else
		publish_set_timer(p, PUBLISH_RETRY_MS);
	return false;
}

/* Lays a blob in the arena and its message in the ring. False: no room, or no connection any more. */
bool publish_send_blob(struct publish *p, struct weir_msg m, const void *bytes)
{
	m.off = region_alloc(&p->arena, m.size);
	if (m.off == ARENA_FULL) {
		publish_set_timer(p, PUBLISH_RETRY_MS);
		return false;
	}
	memcpy(p->arena_base + m.off, bytes, m.size);
	if (publish_send_message(p, &m))
		return true;
	if (p->has_hello && (m.type == WEIR_MSG_CERTIFICATE || m.type == WEIR_MSG_TICKET_KEYS)) /* else all of it was wiped */
		explicit_bzero(p->arena_base + m.off, m.size);
	region_free(&p->arena, m.off);
	return false;
}

bool publish_is_too_big(struct publish *p, uint64_t size, uint64_t id, const char *what)
{
	if (size <= p->arena.size)
		return false;
	log_error("%s of %" PRIu64 " bytes does not fit the dataplane's arena of %" PRIu64 " (memory: arena_mb in weir.yaml)", what,
		  size, p->arena.size);
	p->st.n_refused++;
	p->st.refused = WEIR_REFUSED_TOO_BIG;
	p->st.refused_id = id;
	return true;
}

/* False: some are still to be sent, so that what is behind them has to wait. */
static bool send_sets(struct publish *p)
{
	struct set *s, *next;
	bool is_done = true;

	for (s = TAILQ_FIRST(&p->due); s && p->has_hello; s = next) {
		struct weir_msg m = {.type = WEIR_MSG_ENDPOINTS, .size = s->blob->size, .id = s->id, .version = s->blob->version};

		next = TAILQ_NEXT(s, due);
		if (s->is_away) {
			is_done = false;
			continue;
		}
		if (!publish_is_too_big(p, m.size, m.id, "an endpoint set")) {
			if (!publish_send_blob(p, m, s->blob))
				return false;
			s->is_away = true;
			p->st.sets_sent++;
		}
		TAILQ_REMOVE(&p->due, s, due);
		s->is_due = false;
	}
	return is_done;
}

/*
 * Not while a snapshot is on its way: it may be one that does not name them, and they would be forgotten with it. False:
 * not all of them are there.
 */
static bool send_certificates(struct publish *p)
{
	struct cert *c;
	size_t at = 0;

	while (p->has_hello && !p->is_away && !p->are_certs_held && p->certs.n_of[CERT_DUE] && (c = cert_set_next(&p->certs, &at, CERT_DUE))) {
		const struct weir_certificate *blob = c->c->blob;
		const struct weir_msg m = {.type = WEIR_MSG_CERTIFICATE, .size = blob->size, .id = blob->id.v[0], .version = blob->id.v[1]};

		if (publish_is_too_big(p, m.size, m.id, "a certificate")) {
			cert_set_state(&p->certs, c, CERT_REFUSED);
			p->st.n_certificates_refused++;
			continue;
		}
		if (!publish_send_blob(p, m, blob))
			return false;
		cert_set_state(&p->certs, c, CERT_AWAY);
		p->st.certificates_sent++;
	}
	return p->certs.n_of[CERT_THERE] == p->certs.n;
}

static void send_snapshot(struct publish *p)
{
	const struct weir_msg m = {.type = WEIR_MSG_SNAPSHOT, .size = p->snapshot_size, .id = p->st.generation};

	if (publish_is_too_big(p, m.size, m.id, "a snapshot")) {
		p->is_due = false;
	} else if (publish_send_blob(p, m, p->snapshot)) {
		p->is_due = false;
		p->is_away = true;
		p->st.sent_generation = p->st.generation;
		p->st.snapshots_sent++;
	}
}

/*
 * Sets and certificates go first: a snapshot never names a backend whose endpoints the workers do not have, nor a
 * certificate that is not there.
 */
void publish_pump(struct publish *p)
{
	bool are_sets_there, are_certs_there, are_paths_there;

	publish_tickets_send(p); /* before there are handshakes */
	are_paths_there = publish_paths_send(p) || p->st.sent_generation > 0; /* before there are requests to pods */
	are_sets_there = send_sets(p);
	are_certs_there = send_certificates(p);

	if (p->has_hello && p->is_due && !p->is_away && are_sets_there && are_certs_there && are_paths_there)
		send_snapshot(p);
	if (p->has_hello && p->ring_bell)
		(void)!send(p->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	p->ring_bell = false;
}
