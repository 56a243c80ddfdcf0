/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of session tickets on their way to the dataplane. See publish.h. */
#include <string.h>

#include "base/log.h"
#include "publish_pvt.h"

void publish_ticket_keys(struct publish *p, const struct weir_ticket_keys *keys)
{
	p->tickets = *keys;
	p->tickets_id++;
	p->are_tickets_due = true;
	publish_pump(p);
}

/* One that makes its own has nothing to be told, and an older one would not understand it. */
static bool has_shared(const struct publish *p)
{
	return p->were_tickets_sent || __atomic_load_n(&p->stats->ticket_source, __ATOMIC_RELAXED) == WEIR_TICKETS_SHARED;
}

void publish_tickets_send(struct publish *p)
{
	const struct weir_msg m = {.type = WEIR_MSG_TICKET_KEYS, .size = sizeof(p->tickets), .id = p->tickets_id};

	if (!p->has_hello || !p->are_tickets_due || p->are_tickets_away)
		return;
	if (!p->tickets.n && !has_shared(p)) {
		p->are_tickets_due = false;
	} else if (publish_send_blob(p, m, &p->tickets)) {
		p->are_tickets_due = false;
		p->are_tickets_away = true;
		p->were_tickets_sent = p->tickets.n > 0;
		p->st.tickets_sent++;
	}
}

void publish_tickets_done(struct publish *p, const struct weir_msg *m)
{
	p->are_tickets_away = false;
	p->st.tickets_refused = m->status < WEIR_N_REFUSALS ? (enum weir_refusal)m->status : WEIR_REFUSED_BAD_VALUE;
	if (m->status == WEIR_REFUSED_OK)
		return;
	p->st.n_tickets_refused++;
	log_warn("dataplane refused the ticket keys: %s", publish_refusal_name(m->status));
	if (m->status != WEIR_REFUSED_NO_MEMORY)
		return;
	p->are_tickets_due = true;
	publish_set_timer(p, PUBLISH_RETRY_MS);
}

void publish_tickets_reset(struct publish *p)
{
	p->are_tickets_away = p->were_tickets_sent = false;
	p->are_tickets_due = p->tickets_id > 0;
	p->st.tickets_refused = WEIR_REFUSED_OK;
}
