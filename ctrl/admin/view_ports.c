/* SPDX-License-Identifier: Apache-2.0 */
/* What each port is, can and does: GET /api/v1/ports. */
#include <stdio.h>
#include <string.h>

#include "admin/view_ports.h"
#include "admin/view_pvt.h"
#include "publish.h"
#include "weir/ports.h"

static const char *const feature_names[] = {
#define X(name, str, help) str,
	WEIR_PORT_FEATURES(X)
#undef X
};

static const char *const feature_help[] = {
#define X(name, str, help) help,
	WEIR_PORT_FEATURES(X)
#undef X
};

static json_int_t load(const uint64_t *p)
{
	return (json_int_t)__atomic_load_n(p, __ATOMIC_RELAXED);
}

/* What the dataplane wrote is bounded, whatever stands there. */
static json_t *words(const char *s, size_t cap)
{
	return json_stringn(s, strnlen(s, cap));
}

#define WORDS(field) words(field, sizeof(field))

const char *view_port_state(const struct weir_port_details *d)
{
	static const char *const names[] = {[WEIR_PORT_DOWN] = "down", [WEIR_PORT_UP] = "up", [WEIR_PORT_REMOVED] = "removed"};
	uint32_t state = __atomic_load_n(&d->state, __ATOMIC_RELAXED);

	return state <= WEIR_PORT_REMOVED ? names[state] : "";
}

/* "is" is null where the device does not say. */
static json_t *yes_no(uint8_t v)
{
	return v == WEIR_PORT_UNKNOWN ? json_null() : json_boolean(v == WEIR_PORT_YES);
}

static json_t *features(const struct weir_port_details *d)
{
	static const char *const doers[] = {[WEIR_BY_NOBODY] = "nobody", [WEIR_BY_DEVICE] = "device", [WEIR_BY_SOFTWARE] = "software"};
	json_t *list = json_array();

	for (unsigned i = 0; i < WEIR_N_PORT_FEATURES; i++) {
		const struct weir_port_feature *f = &d->feature[i];

		if (f->is_known)
			json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", feature_names[i], "what", feature_help[i], "device_can",
							      (int)f->is_capable, "by", f->doer <= WEIR_BY_SOFTWARE ? doers[f->doer] : "", "why", WORDS(f->why)));
	}
	return list;
}

static json_t *members(const struct weir_port_details *d)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < d->n_members && i < WEIR_PORT_MEMBERS; i++)
		json_array_append_new(list, json_pack("{s:o, s:b, s:b}", "name", WORDS(d->member[i].name), "link", (int)(d->member[i].state == WEIR_PORT_UP),
						      "active", (int)(d->member[i].is_active != 0)));
	return list;
}

static json_t *far_workers(const struct weir_port_details *d, const struct weir_stats_region *r)
{
	json_t *list = json_array();

	for (unsigned w = 0; w < r->n_workers && w < WEIR_MAX_WORKERS; w++)
		if (d->far_workers[w / 64] >> w % 64 & 1)
			json_array_append_new(list, json_integer(w));
	return list;
}

static json_t *statistics(const struct weir_port_details *d)
{
	if (!load(&d->has_stats))
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rx_packets", load(&d->rx_packets), "tx_packets", load(&d->tx_packets),
			 "rx_bytes", load(&d->rx_bytes), "tx_bytes", load(&d->tx_bytes), "rx_missed", load(&d->rx_missed), "rx_errors",
			 load(&d->rx_errors), "rx_no_mbuf", load(&d->rx_no_mbuf), "tx_errors", load(&d->tx_errors));
}

/* By the driver's names, those that are not zero. */
static json_t *extended(const struct weir_port_xstats *x)
{
	uint32_t n = x ? __atomic_load_n(&x->n, __ATOMIC_ACQUIRE) : 0;
	json_t *o = json_object();

	for (uint32_t i = 0; i < n && i < WEIR_PORT_XSTATS; i++) {
		char name[sizeof(x->entry[i].name) + 1];
		uint64_t value = load(&x->entry[i].value);

		snprintf(name, sizeof(name), "%.*s", (int)sizeof(x->entry[i].name), x->entry[i].name);
		if (value)
			json_object_set_new(o, name, json_integer((json_int_t)value));
	}
	return o;
}

static json_t *link_of(const struct weir_port_details *d)
{
	return json_pack("{s:s, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "state", view_port_state(d), "speed_mbps", (json_int_t)d->speed_mbps,
			 "full_duplex", yes_no(d->is_full_duplex), "autoneg", yes_no(d->is_autoneg), "downs", load(&d->link_downs), "ups",
			 load(&d->link_ups), "removals", load(&d->removals), "returns", load(&d->returns), "changed", load(&d->changed_s));
}

static json_t *used(uint32_t n, uint32_t max)
{
	return json_pack("{s:I, s:I}", "used", (json_int_t)n, "max", (json_int_t)max);
}

static json_t *view_port(const struct weir_stats_region *r, unsigned i)
{
	const struct weir_port_details *d = publish_port_details(r, i);
	const struct weir_port_info *p = &r->port[i];
	char mac[18];
	json_t *o;

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1], p->mac[2], p->mac[3], p->mac[4], p->mac[5]);
	o = json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:{s:I, s:I}, s:o, s:o, s:o, s:o}", "name", WORDS(p->name), "device", WORDS(d->device),
		      "driver", WORDS(d->driver), "mac", mac, "numa_node", d->numa_node < 0 ? json_null() : json_integer(d->numa_node),
		      "workers_on_other_nodes", far_workers(d, r), "link", link_of(d), "mtu", "used", (json_int_t)d->mtu, "max", (json_int_t)d->max_mtu,
		      "rx_queues", used(d->n_rx_queues, d->max_rx_queues), "tx_queues", used(d->n_tx_queues, d->max_tx_queues), "rx_descriptors",
		      used(d->n_rx_desc, d->max_rx_desc), "tx_descriptors", used(d->n_tx_desc, d->max_tx_desc));
	if (!o)
		return NULL;
	json_object_set_new(o, "rss", json_pack("{s:I, s:I, s:I}", "key_bytes", (json_int_t)d->rss_key_bytes, "table", (json_int_t)d->rss_table,
						"hash_types", (json_int_t)d->rss_types));
	json_object_set_new(o, "steering", WORDS(d->steering));
	json_object_set_new(o, "promiscuous", json_pack("{s:b, s:o}", "wanted", (int)d->wants_promiscuous, "is", yes_no(d->is_promiscuous)));
	json_object_set_new(o, "all_multicast", json_pack("{s:b, s:o}", "wanted", 1, "is", yes_no(d->is_allmulticast)));
	json_object_set_new(o, "features", features(d));
	json_object_set_new(o, "statistics", statistics(d));
	if (publish_port_xstats(r, i)) {
		const struct weir_port_xstats *x = publish_port_xstats(r, i);

		json_object_set_new(o, "extended_statistics", extended(x));
		json_object_set_new(o, "extended_statistics_left_off", json_integer(__atomic_load_n(&x->n_left_off, __ATOMIC_RELAXED)));
	}
	if (d->bond_mode[0])
		json_object_set_new(o, "bond", json_pack("{s:o, s:o}", "mode", WORDS(d->bond_mode), "members", members(d)));
	return o;
}

json_t *view_ports(const struct sync *s)
{
	const struct weir_stats_region *r = publish_stats(s->publish);
	json_t *list = json_array();

	for (unsigned i = 0; r && r->ports_off && i < r->n_ports && i < WEIR_MAX_PORTS; i++)
		json_array_append_new(list, view_port(r, i));
	return json_pack("{s:b, s:b, s:o}", "connected", r != NULL, "told", r && r->ports_off, "ports", list);
}
