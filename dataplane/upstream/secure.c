/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS over connections to endpoints. The handshake is done here, before the user is told of the connection, and within the time
 * that it has for connecting; if it fails, the user is told as of a connection that was refused, since nothing has been sent. What
 * a backend wants of TLS is read again when TCP is there, as the snapshot of that moment has it.
 */
#include "snapshot/snapshot.h"
#include "upstream/upstream_pvt.h"

/* The TLS session ends first, so that close_notify goes out before the FIN. */
void conn_close(struct upstream_conn *uc, bool abort, uint64_t now_us)
{
	struct tls_session *s = uc->tls;

	uc->tls = NULL;
	if (s && uc->tcp && !abort && tls_is_ready(s)) {
		tls_shutdown(s);
		abort = !tls_is_flushed(s) && tls_reason(s) == WEIR_N_REASONS;
	}
	if (s)
		tls_free(s);
	if (uc->tcp && abort)
		tcp_abort(uc->tcp, WEIR_R_CLOSE_ABORTED, now_us);
	else if (uc->tcp)
		tcp_close(uc->tcp, now_us);
	uc->tcp = NULL;
}

/* The user hears of it as of the end of the connection. */
static void fail(struct upstream_conn *uc, enum weir_reason why, bool abort, uint64_t now_us)
{
	wheel_cancel(uc->u->cfg.wheel, &uc->timer);
	uc->close_reason = (uint16_t)why;
	conn_close(uc, abort, now_us);
	uc->event(uc, uc->user, TCP_EV_CLOSED, now_us);
}

void secure_arm(struct upstream *u, struct upstream_conn *uc, uint32_t connect_ms, uint64_t now_us)
{
	uint32_t ms = connect_ms ? connect_ms : u->cfg.connect_timeout_ms;

	wheel_arm(u->cfg.wheel, &uc->timer, u->cfg.wheel_kind, now_us + (uint64_t)ms * 1000);
}

void secure_on_timer(struct upstream_conn *uc, uint64_t now_us)
{
	if (uc->state == UC_CONNECTING) { /* TCP's own timer would come next */
		fail(uc, WEIR_R_CLOSE_CONNECT_TIMEOUT, true, now_us);
		return;
	}
	tls_fail(uc->tls, WEIR_R_TLS_HANDSHAKE_TIMEOUT);
	fail(uc, tls_reason(uc->tls), true, now_us);
}

static void go_on(struct upstream_conn *uc, uint64_t now_us)
{
	switch (tls_handshake(uc->tls, uc->u->snapshot, now_us)) {
	case TLS_MORE:
	case TLS_EARLY: /* of clients alone */
		break;
	case TLS_PASS: /* of those who come to us alone */
		assert(false);
		break;
	case TLS_DONE:
		wheel_cancel(uc->u->cfg.wheel, &uc->timer);
		uc->state = UC_BUSY;
		uc->event(uc, uc->user, TCP_EV_CONNECTED | TCP_EV_READABLE, now_us);
		break;
	case TLS_FAILED:
		fail(uc, tls_reason(uc->tls), false, now_us);
		break;
	}
}

void secure_begin(struct upstream_conn *uc, uint64_t now_us)
{
	struct upstream *u = uc->u;
	struct backend *b = uc->ep->backend ? backend_get(u, uc->ep->backend->id, now_us) : NULL;
	const struct weir_backend_tls *w = b && b->set.is_tls ? backend_tls(u, b->id) : NULL;

	/* It was let go meanwhile, or is spoken to in another way now: another connection will be. */
	if (!w || b->tls_hash != uc->tls_hash) {
		fail(uc, WEIR_R_CLOSE_ABORTED, true, now_us);
		return;
	}
	uc->tls = tls_connect(u->cfg.tls, uc->tcp, u->snapshot, w, uc->tls_hash);
	if (!uc->tls) {
		fail(uc, WEIR_R_TLS_SESSIONS_FULL, true, now_us);
		return;
	}
	uc->state = UC_HANDSHAKE;
	go_on(uc, now_us);
}

void secure_on_event(struct upstream_conn *uc, unsigned events, uint64_t now_us)
{
	if (!(events & TCP_EV_CLOSED)) {
		go_on(uc, now_us);
		return;
	}
	tls_fail(uc->tls, WEIR_R_TLS_CLIENT_GONE);
	fail(uc, tls_reason(uc->tls), false, now_us);
}
