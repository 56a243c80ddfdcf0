// SPDX-License-Identifier: Apache-2.0
/*
 * TCP connections as the wire sees them. Every sender is measured in the same
 * way, whatever it says of itself: what it sent again, and whether that had
 * been lost; how long it was silent with data in flight.
 */
#include "wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int flow_table_init(struct flow_table *t, uint64_t stall_ns, FILE *trace)
{
	*t = (struct flow_table){.stall_ns = stall_ns, .trace = trace};
	t->flows = calloc(WIRE_MAX_FLOWS, sizeof(*t->flows));
	return t->flows ? 0 : -ENOMEM;
}

void flow_table_fini(struct flow_table *t)
{
	for (unsigned i = 0; i < WIRE_MAX_FLOWS; i++)
		free(t->flows[i].gone);
	free(t->flows);
}

static struct flow *flow_find(struct flow_table *t, unsigned far, uint16_t near_port, uint16_t far_port)
{
	uint32_t h = (near_port * 0x9e3779b1u) ^ (far_port * 0x85ebca6bu) ^ far;

	for (unsigned k = 0; k < WIRE_MAX_FLOWS; k++) {
		struct flow *f = &t->flows[((h >> 8) + k) % WIRE_MAX_FLOWS];

		if (!f->is_used) {
			*f = (struct flow){.is_used = true, .far = (uint8_t)far, .near_port = near_port, .far_port = far_port};
			return f;
		}
		if (f->far == far && f->near_port == near_port && f->far_port == far_port)
			return f;
	}
	t->no_room++;
	return NULL;
}

static void gone_add(struct flow *f, uint32_t seq, uint32_t end)
{
	if (!f->gone)
		f->gone = calloc(WIRE_MAX_GONE, sizeof(*f->gone));
	if (!f->gone || f->n_gone == WIRE_MAX_GONE)
		return; /* its retransmission will count as spurious */
	f->gone[f->n_gone][0] = seq;
	f->gone[f->n_gone][1] = end;
	f->n_gone++;
}

/* Takes seq .. end out of what is gone. False if nothing of it was. */
static bool gone_take(struct flow *f, uint32_t seq, uint32_t end)
{
	bool found = false;

	for (uint32_t i = 0; i < f->n_gone;) {
		uint32_t a = f->gone[i][0], b = f->gone[i][1];

		if ((int32_t)(end - a) <= 0 || (int32_t)(b - seq) <= 0) {
			i++;
			continue;
		}
		found = true;
		f->n_gone--;
		f->gone[i][0] = f->gone[f->n_gone][0];
		f->gone[i][1] = f->gone[f->n_gone][1];
		if ((int32_t)(seq - a) > 0)
			gone_add(f, a, seq);
		if ((int32_t)(b - end) > 0)
			gone_add(f, end, b);
	}
	return found;
}

/*
 * One line: time in us, D (data, from the far side) or A (from the near side),
 * far interface, near port, far port, p(assed) l(ost) d(ropped), flags in hex,
 * seq, len, ack, window as in the header, SACK blocks.
 */
static void flow_trace(FILE *out, const struct packet *p, const struct flow *f, char dir, enum fate fate, uint64_t now_ns)
{
	fprintf(out, "%" PRIu64 " %c %u %u %u %c %x %u %u %u %u", now_ns / 1000, dir, f->far, f->near_port, f->far_port, "pld"[fate],
		p->flags, p->seq, p->len, p->ack, p->wnd);
	for (unsigned i = 0; i < p->n_sack; i++)
		fprintf(out, " %u-%u", p->sack[i][0], p->sack[i][1]);
	fputc('\n', out);
}

static void flow_data(struct flow_table *t, struct flow *f, const struct packet *p, enum fate fate, uint64_t now_ns)
{
	uint32_t end = p->seq + p->len;

	f->data_packets++;
	f->data_bytes += p->len;
	if (f->last_data_ns && f->has_ack && f->max_ack != f->max_seq && now_ns - f->last_data_ns >= t->stall_ns) {
		f->n_stalls++;
		f->stall_ns += now_ns - f->last_data_ns;
	}
	f->last_data_ns = now_ns;
	if ((int32_t)(p->seq - f->max_seq) < 0) {
		f->retransmits++;
		f->retransmit_bytes += p->len;
		f->spurious += !gone_take(f, p->seq, end);
	}
	if (fate != FATE_PASSED) {
		f->lost += fate == FATE_LOST;
		f->dropped += fate == FATE_DROPPED;
		gone_add(f, p->seq, end);
	}
	if ((int32_t)(end - f->max_seq) > 0)
		f->max_seq = end;
}

void flow_from_far(struct flow_table *t, const struct packet *p, unsigned far, enum fate fate, uint64_t now_ns)
{
	struct flow *f = p->is_tcp ? flow_find(t, far, p->dst_port, p->src_port) : NULL;

	if (!f)
		return;
	if ((p->flags & TCP_SYN) || !f->has_seq) {
		f->max_seq = p->seq + !!(p->flags & TCP_SYN);
		f->has_seq = true;
		f->has_ack = false;
		f->n_gone = 0;
	}
	if (p->len > 0)
		flow_data(t, f, p, fate, now_ns);
	if (t->trace)
		flow_trace(t->trace, p, f, 'D', fate, now_ns);
}

void flow_from_near(struct flow_table *t, const struct packet *p, unsigned far, enum fate fate, uint64_t now_ns)
{
	struct flow *f = p->is_tcp ? flow_find(t, far, p->src_port, p->dst_port) : NULL;

	if (!f)
		return;
	f->acks++;
	if (fate != FATE_PASSED) {
		f->acks_lost++;
	} else if ((p->flags & TCP_ACK) && (!f->has_ack || (int32_t)(p->ack - f->max_ack) > 0)) {
		f->max_ack = p->ack;
		f->has_ack = true;
	}
	if (t->trace)
		flow_trace(t->trace, p, f, 'A', fate, now_ns);
}
