/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of ports: links, and what their devices count. */
#include <inttypes.h>
#include <stddef.h>

#include "admin/view_ports.h"
#include "publish.h"
#include "weir/ports.h"

static const struct {
	const char *name, *type, *help;
	size_t offset;
	bool is_device; /* of the device's own counts */
} series[] = {
#define S(field) offsetof(struct weir_port_details, field)
	{"port_link_downs_total", "counter", "times that the port's link went down", S(link_downs), false},
	{"port_link_ups_total", "counter", "times that it came up again", S(link_ups), false},
	{"port_removals_total", "counter", "times that the port's device was gone", S(removals), false},
	{"port_returns_total", "counter", "times that it came back and was opened again", S(returns), false},
	{"port_link_changed_timestamp_seconds", "gauge", "Unix time of the last of these; 0: none", S(changed_s), false},
	{"port_rx_packets_total", "counter", "packets received, as the device counts", S(rx_packets), true},
	{"port_tx_packets_total", "counter", "packets sent, as the device counts", S(tx_packets), true},
	{"port_rx_bytes_total", "counter", "bytes received, as the device counts", S(rx_bytes), true},
	{"port_tx_bytes_total", "counter", "bytes sent, as the device counts", S(tx_bytes), true},
	{"port_rx_missed_total", "counter", "packets lost in the device: its receive queues were full", S(rx_missed), true},
	{"port_rx_errors_total", "counter", "packets received that were wrong, as the device counts", S(rx_errors), true},
	{"port_rx_no_mbuf_total", "counter", "packets lost because no packet buffer was free to receive into", S(rx_no_mbuf), true},
	{"port_tx_errors_total", "counter", "packets that the device did not send", S(tx_errors), true},
#undef S
};

static uint64_t load(const struct weir_port_details *d, size_t offset)
{
	return __atomic_load_n((const uint64_t *)(const void *)((const char *)d + offset), __ATOMIC_RELAXED);
}

static unsigned n_ports(const struct weir_stats_region *r)
{
	return r->n_ports < WEIR_MAX_PORTS ? r->n_ports : WEIR_MAX_PORTS;
}

static void write_head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", name, help, name, type);
}

static void write_label(FILE *f, const char *name, const struct weir_port_info *p)
{
	fprintf(f, "weir_%s{port=\"%.*s\"", name, (int)sizeof(p->name) - 1, p->name);
}

static void write_members(FILE *f, const struct weir_stats_region *r)
{
	write_head(f, "port_member_active", "gauge", "1 while the member of the bond carries traffic");
	for (unsigned i = 0; i < n_ports(r); i++) {
		const struct weir_port_details *d = publish_port_details(r, i);

		for (unsigned m = 0; m < d->n_members && m < WEIR_PORT_MEMBERS; m++) {
			write_label(f, "port_member_active", &r->port[i]);
			fprintf(f, ",member=\"%.*s\"} %u\n", (int)sizeof(d->member[m].name) - 1, d->member[m].name, d->member[m].is_active != 0);
		}
	}
}

void metrics_ports(FILE *f, const struct weir_stats_region *r)
{
	write_head(f, "port_up", "gauge", "1 while the port's link is up");
	for (unsigned i = 0; i < n_ports(r); i++) {
		write_label(f, "port_up", &r->port[i]);
		fprintf(f, "} %u\n", r->port[i].link_up != 0);
	}
	if (!r->ports_off)
		return;
	for (unsigned k = 0; k < sizeof(series) / sizeof(*series); k++) {
		write_head(f, series[k].name, series[k].type, series[k].help);
		for (unsigned i = 0; i < n_ports(r); i++) {
			const struct weir_port_details *d = publish_port_details(r, i);

			if (series[k].is_device && !load(d, offsetof(struct weir_port_details, has_stats)))
				continue; /* it does not count: 0 would be a lie */
			write_label(f, series[k].name, &r->port[i]);
			fprintf(f, "} %" PRIu64 "\n", load(d, series[k].offset));
		}
	}
	write_members(f, r);
}
