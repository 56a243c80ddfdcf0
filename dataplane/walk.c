/* SPDX-License-Identifier: Apache-2.0 */
/* See walk.h. */
#include "walk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "stats/stats.h"
#include "tcp/tcp.h"

#define X(name, str) _Static_assert((int)WEIR_CONN_##name == (int)TCP_##name, "a state has the same number in both lists");
TCP_STATES(X)
#undef X

int walk_create(uint64_t id, const struct weir_conn_query *query, struct weir_diag_worker *out, struct weir_conn_row *rows,
		struct walk_job **job)
{
	struct walk_job *j = calloc(1, sizeof(*j) + query->limit * sizeof(j->kept[0]));

	if (!j)
		return -ENOMEM;
	j->id = id;
	j->query = *query;
	j->out = out;
	j->rows = rows;
	/* Written here, so that the worker meets no page that is not there. */
	memset(rows, 0, query->limit * sizeof(*rows));
	out->walk_id = 0;
	out->n_walked = out->n_matched = out->n_rows = 0;
	*job = j;
	return 0;
}

void walk_destroy(struct walk_job *job)
{
	free(job);
}

static enum weir_conn_protocol protocol_of(const struct tcp_info *i)
{
	if (i->is_tunnel)
		return WEIR_CONN_PROTOCOL_TUNNEL;
	return i->state == TCP_SYN_RECEIVED || i->state == TCP_TIME_WAIT ? WEIR_CONN_PROTOCOL_NONE : WEIR_CONN_PROTOCOL_HTTP;
}

static bool is_wanted(const struct weir_conn_query *q, const struct tcp_info *i)
{
	if (!(q->states & 1u << i->state) || (q->protocols && !(q->protocols & 1u << protocol_of(i))))
		return false;
	if (q->port && q->port != i->flow.local_port && q->port != i->flow.remote_port)
		return false;
	return q->peer_len == 0 || ip_in_prefix(&i->flow.remote, &q->peer, q->peer_len);
}

static uint64_t key_of(enum weir_conn_sort sort, const struct tcp_info *i)
{
	switch (sort) {
	case WEIR_SORT_RTT:
		return i->srtt_us;
	case WEIR_SORT_CWND:
		return i->cwnd;
	case WEIR_SORT_RETRANSMITS:
		return i->retransmits;
	case WEIR_SORT_QUEUE:
		return (uint64_t)i->unacked_bytes + i->unsent_bytes + i->readable_bytes;
	case WEIR_SORT_IDLE:
		return i->idle_us;
	default:
		return 0; /* the first ones stay */
	}
}

static void copy_name(char *out, size_t cap, const char *name)
{
	size_t n = name ? strnlen(name, cap - 1) : 0;

	memcpy(out, name ? name : "", n);
	memset(out + n, 0, cap - n);
}

static void write_row(struct weir_conn_row *r, const struct tcp_info *i)
{
	*r = (struct weir_conn_row){
		.local = i->flow.local,
		.remote = i->flow.remote,
		.local_port = i->flow.local_port,
		.remote_port = i->flow.remote_port,
		.state = (uint8_t)i->state,
		.flags = (uint8_t)((i->has_timestamps ? WEIR_CONN_TIMESTAMPS : 0) | (i->has_sack ? WEIR_CONN_SACK : 0) |
				   (i->has_ecn ? WEIR_CONN_ECN : 0)),
		.snd_wscale = i->snd_wscale,
		.rcv_wscale = i->rcv_wscale,
		.backoff = i->backoff,
		.protocol = (uint8_t)protocol_of(i),
		.mss = i->mss,
		.retransmits = i->retransmits,
		.srtt_us = i->srtt_us,
		.rttvar_us = i->rttvar_us,
		.min_rtt_us = i->min_rtt_us,
		.rto_us = i->rto_us,
		.cwnd = i->cwnd,
		.ssthresh = i->ssthresh,
		.snd_wnd = i->snd_wnd,
		.rcv_wnd = i->rcv_wnd,
		.unacked = i->unacked_bytes,
		.unsent = i->unsent_bytes,
		.flying = i->flying_bytes,
		.lost = i->lost_bytes,
		.sacked = i->sacked_bytes,
		.readable = i->readable_bytes,
		.out_of_order = i->ooo_bytes,
		.pacing_Bps = i->pacing_Bps,
		.idle_us = i->idle_us,
	};
	copy_name(r->cc, sizeof(r->cc), i->cc);
	copy_name(r->recovery, sizeof(r->recovery), i->recovery);
}

/* kept[at] may be less than the ones above it. */
static void sift_up(struct walk_kept *kept, uint32_t at)
{
	struct walk_kept k = kept[at];

	while (at > 0 && kept[(at - 1) / 2].key > k.key) {
		kept[at] = kept[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	kept[at] = k;
}

/* kept[0] may be more than the ones below it. */
static void sift_down(struct walk_kept *kept, uint32_t n)
{
	struct walk_kept k = kept[0];
	uint32_t at = 0;

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child + 1 < n && kept[child + 1].key < kept[child].key)
			child++;
		if (child >= n || kept[child].key >= k.key)
			break;
		kept[at] = kept[child];
		at = child;
	}
	kept[at] = k;
}

static void look(void *ctx, const struct tcp_info *info)
{
	struct walk_job *j = ctx;
	uint64_t key;

	j->out->n_walked++;
	if (!is_wanted(&j->query, info))
		return;
	j->out->n_matched++;
	key = key_of((enum weir_conn_sort)j->query.sort, info);
	if (j->n_kept < j->query.limit) {
		j->kept[j->n_kept] = (struct walk_kept){.key = key, .row = j->n_kept};
		write_row(&j->rows[j->n_kept], info);
		sift_up(j->kept, j->n_kept++);
	} else if (key > j->kept[0].key) {
		j->kept[0].key = key;
		write_row(&j->rows[j->kept[0].row], info);
		sift_down(j->kept, j->n_kept);
	}
}

bool walk_step(struct walk_job *j, struct tcp_stack *tcp, struct weir_worker_stats *stats)
{
	uint64_t before = j->out->n_walked;

	j->next = tcp_each_from(tcp, j->next, WALK_STEP, look, j);
	stat_add(stats, WEIR_C_WALKED, j->out->n_walked - before);
	if (j->next != TCP_EACH_END)
		return false;
	j->out->n_rows = j->n_kept;
	j->out->walk_id = j->id;
	return true;
}
