/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl ports, for people. */
#include <string.h>
#include <time.h>

#include "cli/render_pvt.h"

static const char *of_link(const json_t *link, char *out, size_t cap)
{
	long long speed = num(link, "speed_mbps");
	const char *state = str(link, "state");

	if (strcmp(state, "up") != 0 || !speed)
		return state;
	snprintf(out, cap, "up, %lld Mb/s %s duplex%s", speed, flag(link, "full_duplex") ? "full" : "half", flag(link, "autoneg") ? ", autoneg" : "");
	return out;
}

static void render_link(FILE *f, const json_t *link)
{
	char text[80];

	fprintf(f, "  link          %s", of_link(link, text, sizeof(text)));
	if (num(link, "changed"))
		fprintf(f, "; went down %lld and came up %lld times, the device was gone %lld and came back %lld times, the last of it %lld s ago",
			num(link, "downs"), num(link, "ups"), num(link, "removals"), num(link, "returns"),
			(long long)time(NULL) - num(link, "changed"));
	fputc('\n', f);
}

/* "2 of 4" */
static void put_used(FILE *f, const char *before, const json_t *o)
{
	fprintf(f, "%s%lld", before, num(o, "used"));
	if (num(o, "max") && num(o, "max") != 65535) /* what devices say that have no bound */
		fprintf(f, " of %lld", num(o, "max"));
}

static void render_sizes(FILE *f, const json_t *p)
{
	put_used(f, "  MTU           ", json_object_get(p, "mtu"));
	put_used(f, "\n  queues        receive ", json_object_get(p, "rx_queues"));
	put_used(f, ", transmit ", json_object_get(p, "tx_queues"));
	put_used(f, "\n  descriptors   receive ", json_object_get(p, "rx_descriptors"));
	put_used(f, ", transmit ", json_object_get(p, "tx_descriptors"));
	fputc('\n', f);
}

static void render_spreading(FILE *f, const json_t *p)
{
	static const char *const ways[][2] = {
		{"one", "there is one worker"},
		{"redirect", "redirected between the workers"},
		{"flow", "by flow rules (rte_flow)"},
		{"rss", "by RSS"},
	};
	const json_t *rss = json_object_get(p, "rss");
	const char *way = str(p, "steering");

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (strcmp(way, ways[i][0]) == 0)
			fprintf(f, "  answers       to the worker that asked: %s\n", ways[i][1]);
	if (num(rss, "key_bytes") || num(rss, "table"))
		fprintf(f, "  RSS           key of %lld bytes, table of %lld entries\n", num(rss, "key_bytes"), num(rss, "table"));
	else
		fprintf(f, "  RSS           no key and no table of its own\n");
}

static const char *mode_is(const json_t *mode)
{
	const json_t *is = json_object_get(mode, "is");

	return json_is_null(is) ? "it does not say" : json_is_true(is) ? "on" : "off";
}

static void render_mode(FILE *f, const char *name, const json_t *mode)
{
	fprintf(f, "  %-13s wanted %s, is %s\n", name, flag(mode, "wanted") ? "on" : "off", mode_is(mode));
}

static void render_features(FILE *f, const json_t *list)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		const char *by = str(o, "by");

		fprintf(f, "  %-15s %-8s %s%s%s\n", str(o, "name"), by, str(o, "what"), *str(o, "why") ? "; " : "", str(o, "why"));
	}
}

static void render_statistics(FILE *f, const json_t *s)
{
	if (!json_is_object(s)) {
		fprintf(f, "  statistics    the device does not count\n");
		return;
	}
	fprintf(f, "  received      %lld packets, %lld bytes; lost in the device %lld, wrong %lld, no packet buffer %lld\n", num(s, "rx_packets"),
		num(s, "rx_bytes"), num(s, "rx_missed"), num(s, "rx_errors"), num(s, "rx_no_mbuf"));
	fprintf(f, "  sent          %lld packets, %lld bytes; not sent by the device %lld\n", num(s, "tx_packets"), num(s, "tx_bytes"),
		num(s, "tx_errors"));
}

static void render_bond(FILE *f, const json_t *bond)
{
	const json_t *m;
	size_t i;

	if (!bond)
		return;
	fprintf(f, "  bond          %s\n", str(bond, "mode"));
	json_array_foreach(json_object_get(bond, "members"), i, m)
		fprintf(f, "    member      %s, link %s, %s\n", str(m, "name"), flag(m, "link") ? "up" : "down", flag(m, "active") ? "active" : "not active");
}

static void render_node(FILE *f, const json_t *p)
{
	const json_t *far = json_object_get(p, "workers_on_other_nodes");
	const json_t *w;
	size_t i;

	if (json_is_null(json_object_get(p, "numa_node"))) {
		fprintf(f, "  NUMA node     any\n");
		return;
	}
	fprintf(f, "  NUMA node     %lld", num(p, "numa_node"));
	json_array_foreach(far, i, w)
		fprintf(f, "%s%lld", i ? ", " : "; on other nodes: workers ", (long long)json_integer_value(w));
	fputc('\n', f);
}

static void render_extended(FILE *f, const json_t *p)
{
	json_t *x = json_object_get(p, "extended_statistics");
	const char *name;
	json_t *value;

	if (!x) {
		fprintf(f, "  the driver    this dataplane does not tell of its counts\n");
		return;
	}
	fprintf(f, "  the driver    %zu counts that are not zero\n", json_object_size(x));
	json_object_foreach(x, name, value)
		fprintf(f, "    %-40s %lld\n", name, (long long)json_integer_value(value));
	if (num(p, "extended_statistics_left_off"))
		fprintf(f, "    and %lld for which there is no room\n", num(p, "extended_statistics_left_off"));
}

static void render_port(FILE *f, const json_t *p, bool with_all)
{
	fprintf(f, "%s\n  device        %s, driver %s, %s\n", str(p, "name"), str(p, "device"), str(p, "driver"), str(p, "mac"));
	render_node(f, p);
	render_link(f, json_object_get(p, "link"));
	render_bond(f, json_object_get(p, "bond"));
	render_sizes(f, p);
	render_spreading(f, p);
	render_mode(f, "promiscuous", json_object_get(p, "promiscuous"));
	render_mode(f, "all multicast", json_object_get(p, "all_multicast"));
	render_statistics(f, json_object_get(p, "statistics"));
	render_features(f, json_object_get(p, "features"));
	if (with_all)
		render_extended(f, p);
}

static void render(FILE *f, const json_t *o, bool with_all)
{
	const json_t *p;
	size_t i;

	if (!flag(o, "connected"))
		fprintf(f, "not connected to the dataplane\n");
	else if (!flag(o, "told"))
		fprintf(f, "this dataplane does not tell of its ports\n");
	json_array_foreach(json_object_get(o, "ports"), i, p)
		render_port(f, p, with_all);
}

void render_ports(FILE *f, const json_t *o)
{
	render(f, o, false);
}

void render_ports_with_all(FILE *f, const json_t *o)
{
	render(f, o, true);
}
