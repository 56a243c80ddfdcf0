/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/connections: the query in, rows as JSON out. */
#include <stdio.h>
#include <string.h>

#include "admin/admin_pvt.h"
#include "base/ip.h"

static const char *const state_names[] = {
#define X(name, str) str,
	WEIR_CONN_STATES(X)
#undef X
};

static const char *const sort_names[] = {
#define X(name, str) str,
	WEIR_CONN_SORTS(X)
#undef X
};

static const char *const protocol_names[] = {
#define X(name, str) str,
	WEIR_CONN_PROTOCOLS(X)
#undef X
};

/* -- the query */

struct args {
	struct weir_conn_query q;
	char wrong[200]; /* empty: nothing */
};

static bool find_name(const char *const *names, size_t n, const char *text, size_t len, uint32_t *out)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0) {
			*out = (uint32_t)i;
			return true;
		}
	return false;
}

/* "established,close-wait": bits by the names' places. */
static bool parse_set(const char *const *names, size_t n_names, const char *text, uint32_t *out)
{
	uint32_t i;

	for (*out = 0;; text += strcspn(text, ",") + 1) {
		size_t n = strcspn(text, ",");

		if (!find_name(names, n_names, text, n, &i))
			return false;
		*out |= 1u << i;
		if (!text[n])
			return true;
	}
}

/* "10.0.0.0/8", "fd00::1" */
static bool parse_peer(const char *text, struct weir_conn_query *q)
{
	size_t n = strcspn(text, "/");
	uint64_t len;

	if (ip_parse(text, n, &q->peer) != 0)
		return false;
	len = ip_is4(&q->peer) ? 32 : 128;
	if (text[n] && !admin_number(text + n + 1, len, &len))
		return false;
	q->peer_len = (uint32_t)len;
	return true;
}

/* False: there is no such argument, or its value is none. */
static bool take(struct weir_conn_query *q, const char *key, const char *value)
{
	uint64_t v;
	uint32_t bits;

	if (strcmp(key, "state") == 0)
		return parse_set(state_names, WEIR_N_CONN_STATES, value, &q->states);
	if (strcmp(key, "protocol") == 0) {
		if (!parse_set(protocol_names, WEIR_N_CONN_PROTOCOLS, value, &bits))
			return false;
		q->protocols = (uint16_t)bits;
		return true;
	}
	if (strcmp(key, "peer") == 0)
		return parse_peer(value, q);
	if (strcmp(key, "sort") == 0)
		return find_name(sort_names, WEIR_N_CONN_SORTS, value, strlen(value), &q->sort);
	if (!admin_number(value, UINT32_MAX - 1, &v))
		return false;
	if (strcmp(key, "worker") == 0)
		q->worker = (uint32_t)v;
	else if (strcmp(key, "limit") == 0 && v >= 1 && v <= WEIR_CONN_ROWS)
		q->limit = (uint32_t)v;
	else if (strcmp(key, "port") == 0 && v >= 1 && v <= UINT16_MAX)
		q->port = (uint16_t)v;
	else
		return false;
	return true;
}

static enum MHD_Result take_argument(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct args *a = cls;

	(void)kind;
	if (!take(&a->q, key, value ? value : "") && !a->wrong[0])
		admin_not_understood(a->wrong, sizeof(a->wrong), key, value);
	return MHD_YES;
}

/* -- the answer */

static json_t *flags_of(const struct weir_conn_row *r)
{
	json_t *list = json_array();

	if (r->flags & WEIR_CONN_TIMESTAMPS)
		json_array_append_new(list, json_string("ts"));
	if (r->flags & WEIR_CONN_SACK)
		json_array_append_new(list, json_string("sack"));
	if (r->flags & WEIR_CONN_ECN)
		json_array_append_new(list, json_string("ecn"));
	if (r->snd_wscale || r->rcv_wscale)
		json_array_append_new(list, json_string("wscale"));
	return list;
}

static void set(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

static json_t *row_of(const struct diag_row *d)
{
	const struct weir_conn_row *r = &d->row;
	char local[IP_TEXT_MAX], remote[IP_TEXT_MAX], cc[sizeof(r->cc) + 1], recovery[sizeof(r->recovery) + 1];
	json_t *o;

	snprintf(cc, sizeof(cc), "%.*s", (int)sizeof(r->cc), r->cc);
	snprintf(recovery, sizeof(recovery), "%.*s", (int)sizeof(r->recovery), r->recovery);
	o = json_pack("{s:i, s:s, s:i, s:s, s:i, s:s, s:s, s:s, s:o}", "worker", (int)d->worker, "local_address",
		      ip_format(&r->local, local), "local_port", (int)r->local_port, "remote_address",
		      ip_format(&r->remote, remote), "remote_port", (int)r->remote_port, "state",
		      r->state < WEIR_N_CONN_STATES ? state_names[r->state] : "unknown", "cc", cc, "recovery", recovery, "flags",
		      flags_of(r));
	json_object_set_new(o, "protocol", json_string(r->protocol < WEIR_N_CONN_PROTOCOLS ? protocol_names[r->protocol] : "unknown"));
	set(o, "rtt_us", r->srtt_us);
	set(o, "rttvar_us", r->rttvar_us);
	set(o, "min_rtt_us", r->min_rtt_us);
	set(o, "rto_us", r->rto_us);
	set(o, "cwnd", r->cwnd);
	set(o, "ssthresh", r->ssthresh);
	set(o, "mss", r->mss);
	set(o, "retransmits", r->retransmits);
	set(o, "backoff", r->backoff);
	set(o, "unacked", r->unacked);
	set(o, "unsent", r->unsent);
	set(o, "flying", r->flying);
	set(o, "lost", r->lost);
	set(o, "sacked", r->sacked);
	set(o, "readable", r->readable);
	set(o, "out_of_order", r->out_of_order);
	set(o, "send_window", r->snd_wnd);
	set(o, "receive_window", r->rcv_wnd);
	set(o, "send_wscale", r->snd_wscale);
	set(o, "receive_wscale", r->rcv_wscale);
	set(o, "pacing_bytes_per_s", r->pacing_Bps);
	set(o, "idle_us", r->idle_us);
	return o;
}

static json_t *list_of(const struct diag_list *list)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < list->n_rows; i++)
		json_array_append_new(rows, row_of(&list->rows[i]));
	return json_pack("{s:I, s:I, s:o}", "total", (json_int_t)list->n_walked, "matched", (json_int_t)list->n_matched,
			 "connections", rows);
}

/* -- the request, which waits in between */

static enum MHD_Result suspend(struct connections *x, struct MHD_Connection *c)
{
	MHD_suspend_connection(c);
	x->is_suspended = true;
	return MHD_YES;
}

static enum MHD_Result begin(struct connections *x, struct MHD_Connection *c)
{
	struct args a = {.q = {.worker = WEIR_ALL_WORKERS, .states = (1u << WEIR_N_CONN_STATES) - 1, .limit = 100}};
	int rc;

	MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, take_argument, &a);
	if (a.wrong[0])
		return admin_reply_error(c, MHD_HTTP_BAD_REQUEST, a.wrong);
	rc = diag_walk(x->diag, &a.q, admin_now_ms());
	if (rc)
		return admin_reply_result(c, rc);
	x->asker = c;
	return suspend(x, c);
}

enum MHD_Result connections_handle(struct connections *x, struct MHD_Connection *c)
{
	enum MHD_Result result;
	enum diag_state state;
	int rc;

	if (x->asker != c)
		return begin(x, c);
	state = diag_walk_state(x->diag, &rc);
	if (state == DIAG_WAITING)
		return suspend(x, c);
	if (state == DIAG_READY)
		result = admin_reply_json(c, MHD_HTTP_OK, list_of(diag_walk_list(x->diag)));
	else
		result = admin_reply_result(c, rc);
	diag_walk_end(x->diag);
	x->asker = NULL;
	return result;
}

void connections_resume(struct connections *x)
{
	if (x->is_suspended)
		MHD_resume_connection(x->asker);
	x->is_suspended = false;
}

void connections_poll(struct connections *x)
{
	int rc;

	if (x->asker && diag_walk_state(x->diag, &rc) != DIAG_WAITING)
		connections_resume(x);
}

void connections_gone(struct connections *x, const struct MHD_Connection *c)
{
	if (x->asker != c)
		return;
	x->asker = NULL;
	diag_walk_end(x->diag);
}
