/* SPDX-License-Identifier: Apache-2.0 */
#include "announce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "rtnl.h"

#define REASSERT_UPDATES 25 /* what somebody else took away comes back: 5 s */

struct announce {
	const struct config *config;
	struct weir_stats_region *stats;
	struct mnl_socket *socket;
	unsigned ifindex[CONFIG_MAX_LISTEN];
	unsigned port[CONFIG_MAX_LISTEN];
	bool is_there[CONFIG_MAX_LISTEN];
	bool has_failed[CONFIG_MAX_LISTEN]; /* and that was logged */
	unsigned n_updates;
	uint64_t well_ms; /* from then on all is well, if no worker is still again; 0: it always was */
	enum weir_announce_state state;
};

static const char *const state_help[] = {
#define X(name, str, help) [WEIR_ANNOUNCE_##name] = help,
	WEIR_ANNOUNCE_STATES(X)
#undef X
};

int announce_create(const struct config *config, const struct exception *x, struct weir_stats_region *stats, struct announce **out)
{
	const struct config_bgp *b = &config->bgp;
	struct announce *a;

	*out = NULL;
	if (!b->asn)
		return 0;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->config = config;
	a->stats = stats;
	a->socket = rtnl_open();
	if (!a->socket) {
		int rc = -errno;

		log_error("bgp: no socket of rtnetlink: %s", strerror(-rc));
		free(a);
		return rc;
	}
	for (unsigned i = 0; i < b->n_announce; i++) {
		a->port[i] = (unsigned)config_kernel_port(config, &b->announce[i]);
		a->ifindex[i] = exception_ifindex(x, a->port[i]);
	}
	a->state = WEIR_ANNOUNCE_STARTING;
	stats->announce_state = a->state;
	*out = a;
	return 0;
}

void announce_destroy(struct announce *a)
{
	if (!a)
		return;
	announce_withdraw(a);
	rtnl_close(a->socket);
	free(a);
}

/* What keeps all addresses back; ANNOUNCED: nothing. */
static enum weir_announce_state judge(const struct announce *a, uint64_t now_ms)
{
	if (a->stats->draining)
		return WEIR_ANNOUNCE_DRAINING;
	if (!a->stats->live_generation)
		return WEIR_ANNOUNCE_STARTING;
	return now_ms < a->well_ms ? WEIR_ANNOUNCE_STILL : WEIR_ANNOUNCE_ANNOUNCED;
}

static bool set(struct announce *a, unsigned i, bool is_there)
{
	const struct weir_ip *ip = &a->config->bgp.announce[i];
	int rc = rtnl_set_route(a->socket, a->ifindex[i], ip, is_there);
	char text[IP_TEXT_MAX];

	if (rc == 0 || (!is_there && rc == -ENODEV)) {
		a->has_failed[i] = false;
		return true;
	}
	if (!a->has_failed[i])
		log_error("bgp: the kernel does not %s the route to %s: %s", is_there ? "take" : "give up", ip_format(ip, text), strerror(-rc));
	a->has_failed[i] = true;
	return false;
}

static bool has_link(const struct announce *a, unsigned i)
{
	return a->stats->port[a->port[i]].link_up;
}

/* Announces those that may be, and withdraws the others. The number of changes. */
static unsigned settle(struct announce *a, enum weir_announce_state *state)
{
	bool is_serving = *state == WEIR_ANNOUNCE_ANNOUNCED;
	bool is_again = a->n_updates++ % REASSERT_UPDATES == 0;
	unsigned n_there = 0, n_changes = 0;

	for (unsigned i = 0; i < a->config->bgp.n_announce; i++) {
		bool wants = is_serving && has_link(a, i);

		if (is_serving && !wants)
			*state = WEIR_ANNOUNCE_LINK_DOWN;
		if (wants != a->is_there[i] || (wants && is_again)) {
			/* One that cannot be withdrawn may still be heard of. */
			bool is_there = set(a, i, wants) ? wants : !wants && a->is_there[i];

			n_changes += is_there != a->is_there[i];
			a->is_there[i] = is_there;
		}
		if (wants && !a->is_there[i])
			*state = WEIR_ANNOUNCE_REFUSED;
		n_there += a->is_there[i];
	}
	__atomic_store_n(&a->stats->n_announced, n_there, __ATOMIC_RELAXED);
	return n_changes;
}

static void update(struct announce *a, uint64_t now_ms)
{
	enum weir_announce_state state = judge(a, now_ms);
	unsigned n = settle(a, &state);

	__atomic_store_n(&a->stats->announce_state, state, __ATOMIC_RELAXED);
	__atomic_store_n(&a->stats->announce_changes, a->stats->announce_changes + n, __ATOMIC_RELAXED);
	if (n || state != a->state)
		log_info("bgp: %u of %u addresses announced: %s", a->stats->n_announced, a->config->bgp.n_announce, state_help[state]);
	a->state = state;
}

void announce_update(struct announce *a, bool is_well, uint64_t now_ms)
{
	if (!a)
		return;
	if (!is_well)
		a->well_ms = now_ms + ANNOUNCE_WELL_MS;
	update(a, now_ms);
}

bool announce_withdraw(struct announce *a)
{
	bool had = a && a->stats->n_announced > 0;

	if (!a)
		return false;
	a->stats->draining = 1;
	update(a, 0); /* draining comes before all that has a time */
	return had;
}
