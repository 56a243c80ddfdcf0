/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls/tls.h without cryptography, for the proxy's tests: what the proxy owes a session, and what a session may do
 * to it, and both ends of it. A record is its type, two bytes of length, and content that is not what was sent, so that nothing gets
 * through by mistake. The handshake has three flights; content is gathered until it is flushed, and shown record by record.
 * Programs that include this link none of the objects of tls/.
 */
#ifndef TESTS_PROXY_FAKE_TLS_H
#define TESTS_PROXY_FAKE_TLS_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "stats/stats.h"
#include "tls/stream.h"

#define FAKE_HEAD 3u
#define FAKE_RECORD 16384u
#define FAKE_KEY 0x5a

enum fake_type { FAKE_HELLO = 1, FAKE_SERVER_HELLO, FAKE_FINISHED, FAKE_DATA, FAKE_CLOSE, FAKE_ALERT, FAKE_NOISE, FAKE_EARLY };

struct tls {
	struct tls_config cfg;
	uint32_t n_sessions, n_handshaking;
	bool waits; /* handshakes wait for something of ours, until the connection is woken */
};

struct tls_session {
	struct tls *t;
	struct tcp_conn *c;
	bool is_client;
	bool has_hello, is_ready, is_eof, is_shut;
	bool has_to_shut;
	bool has_early; /* what lies there came as early data */
	uint64_t since_us; /* of the first */
	enum weir_reason why;
	char name[256];
	uint8_t raw[FAKE_HEAD + FAKE_RECORD], out[FAKE_RECORD];
	size_t n_raw, n_out;
	struct rte_mbuf *in; /* content that nobody has taken yet, single mbufs */
	size_t n_in;
};

static unsigned fake_n_alerts; /* that clients were sent */

static void fake_count(struct tls *t)
{
	stat_set(t->cfg.stats, WEIR_G_TLS_SESSIONS, t->n_sessions);
	stat_set(t->cfg.stats, WEIR_G_TLS_HANDSHAKING, t->n_handshaking);
}

struct tls *tls_create(const struct tls_config *config)
{
	struct tls *t = calloc(1, sizeof(*t));

	t->cfg = *config;
	return t;
}

void tls_destroy(struct tls *t)
{
	assert_int_equal(t->n_sessions, 0);
	assert_int_equal(t->n_handshaking, 0);
	free(t);
}

static struct tls_session *fake_session(struct tls *t, struct tcp_conn *c, bool is_client)
{
	struct tls_session *s = calloc(1, sizeof(*s));

	*s = (struct tls_session){.t = t, .c = c, .is_client = is_client, .why = WEIR_N_REASONS};
	return s;
}

struct tls_session *tls_accept(struct tls *t, struct tcp_conn *c)
{
	if (t->n_sessions == t->cfg.n_sessions) {
		stat_reason(t->cfg.stats, WEIR_R_TLS_SESSIONS_FULL);
		return NULL;
	}
	t->n_sessions++;
	t->n_handshaking++;
	fake_count(t);
	return fake_session(t, c, false);
}

struct tls_session *tls_connect(struct tls *t, struct tcp_conn *c, const struct weir_snapshot *s, const struct weir_backend_tls *b,
				uint64_t settings)
{
	return NULL; /* backends with TLS are tested elsewhere */
}

uint64_t tls_backend_hash(const struct weir_snapshot *s, const struct weir_backend_tls *b)
{
	return 1;
}

bool tls_is_truncated(const struct tls_session *s)
{
	return false;
}

static void fake_let_in_go(struct tls_session *s)
{
	while (s->in) {
		struct rte_mbuf *next = s->in->next;

		s->in->next = NULL;
		rte_pktmbuf_free_seg(s->in);
		s->in = next;
	}
}

void tls_free(struct tls_session *s)
{
	if (!s->is_client) {
		s->t->n_sessions--;
		s->t->n_handshaking -= !s->is_ready;
		fake_count(s->t);
	}
	fake_let_in_go(s);
	memset(s, 0xee, sizeof(*s));
	free(s);
}

/* -- records */

static void fake_put(struct tls_session *s, enum fake_type type, const void *content, size_t n)
{
	static uint8_t record[FAKE_HEAD + FAKE_RECORD];

	record[0] = (uint8_t)type;
	record[1] = (uint8_t)(n >> 8);
	record[2] = (uint8_t)n;
	for (size_t i = 0; i < n; i++)
		record[FAKE_HEAD + i] = ((const uint8_t *)content)[i] ^ FAKE_KEY;
	if (tcp_send(s->c, record, FAKE_HEAD + n) != 0 && s->why == WEIR_N_REASONS) {
		s->why = WEIR_R_TLS_NO_MEMORY;
		if (!s->is_client)
			stat_reason(s->t->cfg.stats, s->why);
	}
}

void tls_fail(struct tls_session *s, enum weir_reason why)
{
	if (s->why != WEIR_N_REASONS)
		return;
	s->why = why;
	if (!s->is_client)
		stat_reason(s->t->cfg.stats, why);
	fake_put(s, FAKE_ALERT, "!", 1);
}

static void fake_take_content(struct tls_session *s, size_t n)
{
	struct rte_mbuf **tail = &s->in;

	for (size_t at = 0; at < n;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(s->t->cfg.pool);
		uint16_t k;

		if (!m) {
			tls_fail(s, WEIR_R_TLS_NO_MEMORY);
			return;
		}
		k = (uint16_t)RTE_MIN(n - at, rte_pktmbuf_tailroom(m));
		for (uint16_t i = 0; i < k; i++)
			*(uint8_t *)rte_pktmbuf_append(m, 1) = s->raw[FAKE_HEAD + at + i] ^ FAKE_KEY;
		*tail = m;
		tail = &m->next;
		s->n_in += k;
		at += k;
	}
}

static void fake_take_record(struct tls_session *s, size_t n)
{
	switch (s->raw[0]) {
	case FAKE_HELLO:
	case FAKE_SERVER_HELLO:
		s->has_hello = true;
		for (size_t i = 0; i < n && s->raw[0] == FAKE_HELLO; i++)
			s->name[i] = (char)(s->raw[FAKE_HEAD + i] ^ FAKE_KEY);
		break;
	case FAKE_EARLY:
		s->has_early = true;
		fake_take_content(s, n);
		break;
	case FAKE_FINISHED:
		s->is_ready = true;
		break;
	case FAKE_DATA:
		fake_take_content(s, n);
		break;
	case FAKE_CLOSE:
		s->is_eof = true;
		break;
	case FAKE_ALERT:
		fake_n_alerts += s->is_client;
		s->why = WEIR_R_TLS_PEER_ALERT;
		if (!s->is_client)
			stat_reason(s->t->cfg.stats, s->why);
		break;
	case FAKE_NOISE:
		break;
	default:
		tls_fail(s, s->is_ready ? WEIR_R_TLS_BAD_RECORD : WEIR_R_TLS_NOT_TLS);
	}
}

/* One record, if all of it is there; else what there is of it. */
static bool fake_read(struct tls_session *s)
{
	if (s->is_eof || s->why != WEIR_N_REASONS)
		return false;
	for (;;) {
		size_t n = s->n_raw < FAKE_HEAD ? 0 : (size_t)s->raw[1] << 8 | s->raw[2];
		size_t want = (s->n_raw < FAKE_HEAD ? FAKE_HEAD : FAKE_HEAD + n) - s->n_raw;
		struct slice piece = tcp_peek(s->c);

		if (n > FAKE_RECORD) {
			tls_fail(s, s->is_ready ? WEIR_R_TLS_BAD_RECORD : WEIR_R_TLS_NOT_TLS);
			return true;
		}
		if (s->n_raw >= FAKE_HEAD && want == 0) {
			s->n_raw = 0;
			fake_take_record(s, n);
			return true;
		}
		if (piece.n == 0)
			return false;
		if (piece.n > want)
			piece.n = want;
		memcpy(s->raw + s->n_raw, piece.p, piece.n);
		s->n_raw += piece.n;
		tcp_consume(s->c, piece.n);
	}
}

static void fake_pull(struct tls_session *s)
{
	if (s->since_us && !s->is_ready) /* the handshake reads */
		return;
	if (!s->in)
		s->has_early = false;
	while (!s->in && fake_read(s))
		;
}

/* -- the handshake */

/* A hello for a name that begins with "pass": it is looked at where it lies. */
static bool fake_is_passed(struct tls_session *s)
{
	size_t n = tcp_readable(s->c);
	uint8_t hello[FAKE_HEAD + 64];

	if (s->is_client || s->has_hello || s->n_raw || n < FAKE_HEAD + 4 || n > sizeof(hello))
		return false;
	tcp_copy(s->c, 0, hello, n);
	if (hello[0] != FAKE_HELLO || FAKE_HEAD + ((size_t)hello[1] << 8 | hello[2]) > n)
		return false;
	for (size_t i = 0; i < n - FAKE_HEAD; i++)
		s->name[i] = (char)(hello[FAKE_HEAD + i] ^ FAKE_KEY);
	s->name[n - FAKE_HEAD] = 0;
	return strncmp(s->name, "pass", 4) == 0;
}

enum tls_outcome tls_handshake(struct tls_session *s, const struct weir_snapshot *snapshot, uint64_t now_us)
{
	assert_true(snapshot != NULL || s->is_client);
	if (fake_is_passed(s))
		return TLS_PASS;
	while (!s->is_ready && s->why == WEIR_N_REASONS) {
		bool had_hello = s->has_hello;

		if (s->t->waits && had_hello && !s->is_client)
			return TLS_MORE;
		if (!fake_read(s))
			return s->since_us ? TLS_EARLY : TLS_MORE;
		if (s->has_early && !s->since_us)
			s->since_us = now_us;
		if (s->why != WEIR_N_REASONS || had_hello || !s->has_hello)
			continue;
		if (s->is_client) {
			fake_put(s, FAKE_FINISHED, NULL, 0);
			s->is_ready = true;
		} else if (strcmp(s->name, "unknown") == 0) {
			tls_fail(s, WEIR_R_TLS_UNRECOGNIZED_NAME);
		} else {
			fake_put(s, FAKE_SERVER_HELLO, NULL, 0);
		}
	}
	if (s->why != WEIR_N_REASONS)
		return TLS_FAILED;
	if (!s->is_client) {
		s->t->n_handshaking--;
		fake_count(s->t);
		stat_inc(s->t->cfg.stats, WEIR_C_TLS_HANDSHAKES);
	}
	return TLS_DONE;
}

bool tls_is_ready(const struct tls_session *s) { return s->is_ready; }
bool tls_is_early(const struct tls_session *s) { return s->has_early && s->in; }
uint64_t tls_early_since(const struct tls_session *s) { return s->is_ready || s->why != WEIR_N_REASONS ? 0 : s->since_us; }
bool tls_is_stream(const struct tls_session *s) { return strncmp(s->name, "bytes", 5) == 0; }
enum weir_reason tls_reason(const struct tls_session *s) { return s->why; }
struct slice tls_server_name(const struct tls_session *s) { return slice_str(s->name); }
struct tcp_conn *tls_tcp(const struct tls_session *s) { return s->c; }

void tls_get_info(const struct tls_session *s, struct tls_info *out)
{
	*out = (struct tls_info){.server_name = slice_str(s->name), .version = 0x0304, .cipher = "TLS_NULL", .group = 0x11ec, .alpn = "",
				 .is_resumed = true};
}

static struct tls_client_auth fake_auth;	 /* that clients were asked for when they came */
static const struct tls_client_cert *fake_cert; /* NULL: clients have none */

const struct tls_client_auth *tls_get_client_auth(const struct tls_session *s) { return &fake_auth; }
const struct tls_client_cert *tls_get_client_cert(const struct tls_session *s) { return fake_cert; }

/* -- content */

size_t tls_readable(struct tls_session *s)
{
	fake_pull(s);
	return s->n_in;
}

bool tls_is_eof(struct tls_session *s)
{
	fake_pull(s);
	return !s->in && (s->is_eof || s->why != WEIR_N_REASONS || tcp_is_eof(s->c));
}

struct slice tls_peek(struct tls_session *s)
{
	fake_pull(s);
	return s->in ? slice_of(rte_pktmbuf_mtod(s->in, const char *), s->in->data_len) : slice_of(NULL, 0);
}

static struct rte_mbuf *fake_pop(struct tls_session *s)
{
	struct rte_mbuf *m = s->in;

	s->in = m->next;
	m->next = NULL;
	s->n_in -= m->data_len;
	return m;
}

void tls_consume(struct tls_session *s, size_t n)
{
	assert_true(n <= s->n_in);
	while (n) {
		uint16_t k = (uint16_t)RTE_MIN(n, s->in->data_len);

		if (k == s->in->data_len) {
			rte_pktmbuf_free_seg(fake_pop(s));
		} else {
			rte_pktmbuf_adj(s->in, k);
			s->n_in -= k;
		}
		n -= k;
	}
}

struct rte_mbuf *tls_hold(struct tls_session *s, size_t n)
{
	struct rte_mbuf *m = s->in;

	assert_true(n <= m->data_len);
	rte_mbuf_refcnt_update(m, 1);
	tcp_note_held(s->t->cfg.tcp, 1);
	tls_consume(s, n);
	return m;
}

struct rte_mbuf *tls_recv(struct tls_session *s, size_t max_bytes)
{
	struct rte_mbuf *m;
	uint16_t k;

	if (!s->in)
		return NULL;
	if (s->in->data_len <= max_bytes && rte_mbuf_refcnt_read(s->in) == 1) {
		m = fake_pop(s);
		m->pkt_len = m->data_len;
		m->nb_segs = 1;
		return m;
	}
	m = rte_pktmbuf_alloc(s->t->cfg.pool);
	if (!m)
		return NULL;
	k = (uint16_t)RTE_MIN(max_bytes, s->in->data_len);
	memcpy(rte_pktmbuf_append(m, k), rte_pktmbuf_mtod(s->in, const char *), k);
	tls_consume(s, k);
	return m;
}

void tls_flush(struct tls_session *s)
{
	if (s->n_out && s->why == WEIR_N_REASONS)
		fake_put(s, FAKE_DATA, s->out, s->n_out);
	s->n_out = 0;
}

size_t tls_send_room(struct tls_session *s)
{
	size_t room = tcp_send_room(s->c);
	size_t taken = s->n_out + FAKE_HEAD * (room / FAKE_RECORD + 3);

	return s->why != WEIR_N_REASONS || s->is_shut || room < taken ? 0 : room - taken;
}

int tls_send(struct tls_session *s, const void *data, size_t n)
{
	const char *p = data;

	if (s->why != WEIR_N_REASONS || s->is_shut)
		return -EPIPE;
	if (n > tls_send_room(s) && !(tcp_unacked(s->c) == 0 && s->n_out == 0 && n < 60000))
		return -EAGAIN;
	while (n && s->why == WEIR_N_REASONS) {
		size_t k = RTE_MIN(n, FAKE_RECORD - s->n_out);

		memcpy(s->out + s->n_out, p, k);
		s->n_out += k;
		p += k;
		n -= k;
		if (s->n_out == FAKE_RECORD)
			tls_flush(s);
	}
	return s->why == WEIR_N_REASONS ? 0 : -ENOBUFS;
}

int tls_send_mbufs(struct tls_session *s, struct rte_mbuf *chain)
{
	int rc = chain->pkt_len > tls_send_room(s) ? -EAGAIN : 0;

	for (struct rte_mbuf *m = chain; m && rc == 0; m = m->next)
		rc = tls_send(s, rte_pktmbuf_mtod(m, const char *), m->data_len);
	rte_pktmbuf_free(chain);
	return rc;
}

size_t tls_unacked(const struct tls_session *s)
{
	return tcp_unacked(s->c) + s->n_out;
}

/* close_notify and FIN, which wait for the end of a handshake with early data. */
static void fake_shut(struct tls_session *s)
{
	if (tls_early_since(s))
		return;
	if (s->why == WEIR_N_REASONS)
		fake_put(s, FAKE_CLOSE, NULL, 0);
	s->has_to_shut = false;
	tcp_shutdown(s->c);
}

bool tls_is_flushed(struct tls_session *s)
{
	if (s->has_to_shut)
		fake_shut(s);
	return !s->has_to_shut;
}

void tls_shutdown(struct tls_session *s)
{
	if (s->is_shut)
		return;
	tls_flush(s);
	s->is_shut = s->has_to_shut = true;
	fake_shut(s);
}

/* -- the client's end */

static struct tls_session *fake_connect(struct tls *t, struct tcp_conn *c, const char *name)
{
	struct tls_session *s = fake_session(t, c, true);

	snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

#endif
