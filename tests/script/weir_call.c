/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of a script on Weir's stack: what a user of tcp.h does, and what
 * it then sees. Each says what was not as the script has it.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "backend_weir.h"
#include "stats/stats.h"

struct call {
	struct backend *b;
	struct weir_app *a;
	char *const *words; /* after the call's name */
	unsigned n;
	char *why;
};

static bool __attribute__((format(printf, 2, 3))) differs(struct call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, SEG_TEXT_MAX, fmt, ap);
	va_end(ap);
	return false;
}

static bool is_word(const struct call *c, unsigned i, const char *word)
{
	return i < c->n && strcmp(c->words[i], word) == 0;
}

static uint64_t number(const struct call *c, unsigned i)
{
	return i < c->n ? strtoull(c->words[i], NULL, 0) : 0;
}

/* The word behind a key ("timeout 5"), or NULL. */
static const char *value_of(const struct call *c, const char *key)
{
	for (unsigned i = 0; i + 1 < c->n; i++)
		if (strcmp(c->words[i], key) == 0)
			return c->words[i + 1];
	return NULL;
}

/* WORDS[i] is an operator, WORDS[i + 1] a number. */
static bool check_number(struct call *c, const char *what, uint64_t got, unsigned i)
{
	enum seg_cmp cmp;

	if (i + 1 >= c->n || !seg_parse_cmp(c->words[i], &cmp))
		return differs(c, "%s OP NUMBER", what);
	if (!seg_compare_numbers((int64_t)got, cmp, (int64_t)number(c, i + 1)))
		return differs(c, "%s is %lu, not %s %s", what, got, c->words[i], c->words[i + 1]);
	return true;
}

static bool need_conn(struct call *c)
{
	return c->a->c || differs(c, c->a->closed ? "the connection is closed (%s)" : "there is no connection (%s)",
				  c->a->closed ? stat_reason_names[c->a->why] : "not accepted, not connected, or let go");
}

/* -- listeners and connects */

static bool parse_cc(struct call *c, enum tcp_cc_kind *out)
{
	static const char *const names[] = {
#define X(name, str) str,
		TCP_CC_KINDS(X)
#undef X
	};
	const char *v = value_of(c, "cc");

	*out = TCP_CC_DEFAULT;
	for (unsigned i = 0; v && i < RTE_DIM(names); i++)
		if (strcmp(v, names[i]) == 0)
			*out = (enum tcp_cc_kind)(i + 1);
	return !v || *out != TCP_CC_DEFAULT || differs(c, "unknown congestion control %s", v);
}

static bool call_listen(struct call *c)
{
	struct backend *b = c->b;
	struct weir_listener *l = &b->listeners[b->n_listeners];
	struct tcp_listen args = {.port = (uint16_t)number(c, 0), .accept = weir_on_accept, .event = weir_on_event, .ctx = l};
	int rc;

	if (b->n_listeners == WEIR_MAX_LISTENERS || !parse_cc(c, &args.cc))
		return differs(c, "too many listeners");
	*l = (struct weir_listener){.b = b, .port = args.port, .refuses = is_word(c, 1, "refuse")};
	rc = tcp_listen(b->tcp, &args, &l->l);
	if (rc)
		return differs(c, "listen: %s", strerror(-rc));
	b->n_listeners++;
	return true;
}

static bool call_unlisten(struct call *c)
{
	for (unsigned i = 0; i < c->b->n_listeners; i++) {
		struct weir_listener *l = &c->b->listeners[i];

		if (l->l && l->port == number(c, 0)) {
			tcp_unlisten(l->l, c->b->now_us);
			l->l = NULL;
			return true;
		}
	}
	return differs(c, "no such listener");
}

static bool call_drain(struct call *c)
{
	tcp_set_draining(c->b->tcp, is_word(c, 0, "on"));
	return true;
}

/* connect [timeout SECONDS] [cc NAME] [= REASON] */
static bool call_connect(struct call *c)
{
	struct weir_app *a = c->a;
	struct tcp_connect args = {.local = a->flow.local, .remote = a->flow.remote, .remote_port = a->flow.remote_port,
				   .timeout_ms = 120000, .event = weir_on_event, .user = a};
	const char *timeout = value_of(c, "timeout");
	const char *refusal = value_of(c, "=");
	enum weir_reason reason = WEIR_N_REASONS;
	uint64_t us;

	if (timeout && script_parse_seconds(timeout, &us))
		args.timeout_ms = (uint32_t)(us / 1000);
	if (!parse_cc(c, &args.cc))
		return false;
	a->c = tcp_connect(c->b->tcp, &args, c->b->now_us, &reason);
	if (!a->c)
		return (refusal && strcmp(refusal, stat_reason_names[reason]) == 0) ||
		       differs(c, "refused: %s", stat_reason_names[reason]);
	a->flow = *tcp_flow(a->c);
	a->spoke = ++c->b->n_spoken;
	return !refusal || differs(c, "not refused");
}

static bool call_accept(struct call *c)
{
	return c->a->accepted || differs(c, "the listener was not offered the connection");
}

/* -- data */

/* read N [fill B] [mbufs] */
static bool check_read(struct call *c, const uint8_t *p, size_t n, int fill)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t want = fill >= 0 ? (uint8_t)fill : seg_pattern(true, c->a->rx_off);

		if (p[i] != want)
			return differs(c, "byte %u of the stream is %#x, not %#x", c->a->rx_off, p[i], want);
		c->a->rx_off++;
	}
	return true;
}

static bool read_mbufs(struct call *c, size_t n, int fill)
{
	bool ok = true;

	while (ok && n) {
		struct rte_mbuf *m = tcp_recv(c->a->c, n);

		if (!m)
			return differs(c, "tcp_recv() gives nothing");
		n -= m->pkt_len;
		for (struct rte_mbuf *s = m; ok && s; s = s->next)
			ok = check_read(c, rte_pktmbuf_mtod(s, const uint8_t *), s->data_len, fill);
		rte_pktmbuf_free(m);
	}
	return ok;
}

static bool call_read(struct call *c)
{
	size_t n = number(c, 0);
	const char *fill_text = value_of(c, "fill");
	int fill = fill_text ? atoi(fill_text) : -1;

	if (!need_conn(c))
		return false;
	if (tcp_readable(c->a->c) < n)
		return differs(c, "only %zu bytes are readable", tcp_readable(c->a->c));
	if (is_word(c, c->n - 1, "mbufs"))
		return read_mbufs(c, n, fill);
	while (n) {
		struct slice s = tcp_peek(c->a->c);
		size_t k = s.n < n ? s.n : n;

		if (!check_read(c, (const uint8_t *)s.p, k, fill))
			return false;
		tcp_consume(c->a->c, k);
		n -= k;
	}
	return true;
}

static struct rte_mbuf *make_chain(const uint8_t *p, size_t n)
{
	struct rte_mbuf *head = NULL;

	while (n) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(weir_pool());
		size_t k = n < 1500 ? n : 1500;

		memcpy(rte_pktmbuf_append(m, (uint16_t)k), p, k);
		if (head)
			rte_pktmbuf_chain(head, m);
		else
			head = m;
		p += k;
		n -= k;
	}
	return head;
}

/* write N [mbufs] [= ERROR]: in calls of at most 64 kB, all of which must be taken. */
static bool call_write(struct call *c)
{
	static uint8_t bytes[65536];
	const char *error = value_of(c, "=");
	int rc = 0;

	if (!need_conn(c))
		return false;
	for (size_t left = number(c, 0), n; left && !rc; left -= n) {
		n = left < sizeof(bytes) ? left : sizeof(bytes);
		for (size_t i = 0; i < n; i++)
			bytes[i] = seg_pattern(false, c->a->tx_off + (uint32_t)i);
		if (is_word(c, 1, "mbufs"))
			rc = tcp_send_mbufs(c->a->c, make_chain(bytes, n));
		else
			rc = tcp_send(c->a->c, bytes, n);
		if (rc == 0)
			c->a->tx_off += (uint32_t)n;
	}
	if (rc && (!error || strcmp(error, strerrorname_np(-rc)) != 0))
		return differs(c, "write: %s", strerrorname_np(-rc));
	return rc || !error || differs(c, "write was taken, not %s", error);
}

void backend_feed(struct backend *b, unsigned conn)
{
	struct weir_app *a = &b->apps[conn];
	char room[16], why[SEG_TEXT_MAX];
	char *words[] = {room};
	struct call c = {.b = b, .a = a, .words = words, .n = 1, .why = why};
	size_t n = a->c ? tcp_send_room(a->c) : 0;

	if (n < 16384) /* in chunks, as a user would */
		return;
	snprintf(room, sizeof(room), "%zu", n);
	call_write(&c);
	backend_run(b, backend_now(b), false);
}

static bool call_shutdown(struct call *c)
{
	if (!need_conn(c))
		return false;
	tcp_shutdown(c->a->c);
	return true;
}

static bool call_close(struct call *c)
{
	if (!need_conn(c))
		return false;
	c->a->let_go = true;
	tcp_close(c->a->c, c->b->now_us);
	c->a->c = NULL;
	return true;
}

static bool call_abort(struct call *c)
{
	if (!need_conn(c))
		return false;
	c->a->let_go = true;
	tcp_abort(c->a->c, WEIR_R_CLOSE_ABORTED, c->b->now_us);
	c->a->c = NULL;
	return true;
}

/* -- looking */

struct lookup {
	const struct ip_flow *flow;
	struct tcp_info info;
	bool is_there;
};

static void on_each(void *ctx, const struct tcp_info *info)
{
	struct lookup *l = ctx;

	if (memcmp(&info->flow, l->flow, sizeof(*l->flow)) != 0)
		return;
	l->info = *info;
	l->is_there = true;
}

/* The stack's own view, whether the user has let go or not. */
static bool get_info(struct call *c, struct tcp_info *out)
{
	struct lookup l = {.flow = &c->a->flow};

	tcp_each_from(c->b->tcp, 0, UINT32_MAX, on_each, &l);
	*out = l.info;
	return l.is_there;
}

static void upper(char *out, size_t size, const char *text)
{
	size_t i;

	for (i = 0; text[i] && i + 1 < size; i++)
		out[i] = text[i] == '-' ? '_' : (char)toupper((unsigned char)text[i]);
	out[i] = '\0';
}

const char *backend_state(struct backend *b, unsigned conn)
{
	static const char *const names[] = {
#define X(name, str) #name,
		TCP_STATES(X)
#undef X
	};
	struct call c = {.b = b, .a = &b->apps[conn]};
	struct tcp_info info;

	if (get_info(&c, &info))
		return names[info.state];
	return tcp_has_flow(b->tcp, &b->apps[conn].flow) ? "NO_CONNECTION_YET" : "CLOSED";
}

static bool expect_state(struct call *c, const char *want)
{
	const char *got = backend_state(c->b, (unsigned)(c->a - c->b->apps));
	char text[32];

	upper(text, sizeof(text), want);
	return strcmp(got, text) == 0 || differs(c, "the state is %s", got);
}

static bool expect_closed(struct call *c)
{
	if (!c->a->closed)
		return differs(c, "the user was not told that it is closed");
	return c->n < 2 || strcmp(c->words[1], stat_reason_names[c->a->why]) == 0 ||
	       differs(c, "it was closed for %s", stat_reason_names[c->a->why]);
}

static bool expect_event(struct call *c, bool wanted, const char *name)
{
	unsigned bit = strcmp(name, "readable") == 0   ? TCP_EV_READABLE
		       : strcmp(name, "writable") == 0 ? TCP_EV_WRITABLE
		       : strcmp(name, "connected") == 0 ? TCP_EV_CONNECTED
							: 0;
	bool got = (c->a->events & bit) != 0;

	if (!bit)
		return differs(c, "unknown event %s", name);
	c->a->events &= ~bit;
	return got == wanted || differs(c, wanted ? "no such event" : "there was such an event");
}

/* expect state S, closed [REASON], open, readable N, eof, no eof, room OP N, [no] event NAME, [not] accepted, connected */
static bool call_expect(struct call *c)
{
	const char *what = c->n ? c->words[0] : "";
	bool no = strcmp(what, "no") == 0 || strcmp(what, "not") == 0;

	if (no && c->n > 1)
		what = c->words[1];
	if (strcmp(what, "state") == 0 && c->n == 2)
		return expect_state(c, c->words[1]);
	if (strcmp(what, "closed") == 0)
		return expect_closed(c);
	if (strcmp(what, "event") == 0 && c->n == 2u + no)
		return expect_event(c, !no, c->words[1 + no]);
	if (strcmp(what, "accepted") == 0)
		return c->a->accepted != no || differs(c, no ? "it was accepted" : "it was not accepted");
	if (strcmp(what, "connected") == 0)
		return c->a->connected != no || differs(c, no ? "it was connected" : "it was not connected");
	if (!need_conn(c))
		return false;
	if (strcmp(what, "open") == 0)
		return true;
	if (strcmp(what, "readable") == 0)
		return tcp_readable(c->a->c) == number(c, 1) ||
		       differs(c, "%zu bytes are readable", tcp_readable(c->a->c));
	if (strcmp(what, "eof") == 0)
		return tcp_is_eof(c->a->c) != no || differs(c, no ? "it is at its end" : "it is not at its end");
	if (strcmp(what, "room") == 0)
		return check_number(c, "room", tcp_send_room(c->a->c), 1);
	return differs(c, "expect what?");
}

#define INFO(member) {#member, offsetof(struct tcp_info, member), sizeof(((struct tcp_info *)0)->member)}

static const struct {
	const char *name;
	size_t off, size;
} infos[] = {
	INFO(srtt_us), INFO(rttvar_us), INFO(rto_us), INFO(min_rtt_us), INFO(cwnd), INFO(ssthresh), INFO(flying_bytes),
	INFO(lost_bytes), INFO(sacked_bytes), INFO(ooo_bytes), INFO(pacing_Bps), INFO(idle_us), INFO(backoff), INFO(snd_wnd),
	INFO(rcv_wnd), INFO(unacked_bytes), INFO(unsent_bytes), INFO(readable_bytes), INFO(retransmits), INFO(mss),
	INFO(has_sack), INFO(has_timestamps), INFO(has_ecn), INFO(snd_wscale), INFO(rcv_wscale),
};

/* info FIELD OP NUMBER, info cc == NAME */
static bool call_info(struct call *c)
{
	struct tcp_info info;
	const char *text;

	if (!get_info(c, &info))
		return differs(c, "there is no connection");
	for (unsigned i = 0; c->n && i < RTE_DIM(infos); i++)
		if (strcmp(c->words[0], infos[i].name) == 0) {
			uint64_t v = 0;

			memcpy(&v, (const char *)&info + infos[i].off, infos[i].size);
			return check_number(c, infos[i].name, v, 1);
		}
	text = is_word(c, 0, "cc") ? info.cc : is_word(c, 0, "recovery") ? info.recovery : NULL;
	if (!text || c->n != 3)
		return differs(c, "unknown field of info");
	return strcmp(text, c->words[2]) == 0 || differs(c, "%s is %s", c->words[0], text);
}

/* counter NAME OP NUMBER: a counter or a reason, from the script's beginning */
static bool call_counter(struct call *c)
{
	const char *name = c->n ? c->words[0] : "";

	for (unsigned i = 0; i < WEIR_N_COUNTERS; i++)
		if (strcmp(name, stat_counter_names[i]) == 0)
			return check_number(c, name, c->b->stats.counter[i], 1);
	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		if (strcmp(name, stat_reason_names[i]) == 0)
			return check_number(c, name, c->b->stats.reason[i], 1);
	return differs(c, "unknown counter %s", name);
}

/* stack connections OP NUMBER */
static bool call_stack(struct call *c)
{
	if (is_word(c, 0, "connections"))
		return check_number(c, "connections", tcp_n_connections(c->b->tcp), 1);
	return differs(c, "stack what?");
}

static const struct {
	const char *name;
	bool (*fn)(struct call *c);
} calls[] = {
	{"listen", call_listen},     {"unlisten", call_unlisten}, {"drain", call_drain}, {"connect", call_connect},
	{"accept", call_accept},     {"read", call_read},	  {"write", call_write}, {"shutdown", call_shutdown},
	{"close", call_close},	     {"abort", call_abort},	  {"expect", call_expect}, {"info", call_info},
	{"counter", call_counter},   {"stack", call_stack},
};

bool backend_call(struct backend *b, const struct script_step *st, char *why)
{
	struct call c = {.b = b, .a = &b->apps[st->conn], .words = st->words + 1, .n = st->n_words - 1, .why = why};

	for (unsigned i = 0; i < RTE_DIM(calls); i++)
		if (strcmp(st->words[0], calls[i].name) == 0) {
			bool ok = calls[i].fn(&c);

			backend_run(b, backend_now(b), false);
			return ok;
		}
	return differs(&c, "unknown step '%s'", st->words[0]);
}
