/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl connections, for people. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/render_pvt.h"

/* "12.3k": short enough for a column. */
static const char *amount(char *out, size_t cap, long long v)
{
	static const char units[] = " kMGT";
	double x = (double)v;
	unsigned u = 0;

	while (x >= 10000 && units[u + 1]) {
		x /= 1000;
		u++;
	}
	if (u == 0)
		snprintf(out, cap, "%lld", v);
	else
		snprintf(out, cap, "%.1f%c", x, units[u]);
	return out;
}

/* "0.21/0.05/0.18": milliseconds, smoothed, variance and least; "-": not measured */
static const char *round_trip(char *out, size_t cap, const json_t *c)
{
	char least[32] = "-";

	if (!num(c, "rtt_us"))
		return "-";
	if (num(c, "min_rtt_us"))
		snprintf(least, sizeof(least), "%.2f", (double)num(c, "min_rtt_us") / 1000);
	snprintf(out, cap, "%.2f/%.2f/%s", (double)num(c, "rtt_us") / 1000, (double)num(c, "rttvar_us") / 1000, least);
	return out;
}

/* "ts,sack,wscale 7/9" */
static const char *flag_list(char *out, size_t cap, const json_t *c)
{
	const json_t *v;
	size_t n = 0;
	size_t i;

	snprintf(out, cap, "-");
	json_array_foreach(json_object_get(c, "flags"), i, v)
		if (n < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? "," : "", json_string_value(v));
	if (n < cap && (num(c, "send_wscale") || num(c, "receive_wscale")))
		snprintf(out + n, cap - n, " %lld/%lld", num(c, "send_wscale"), num(c, "receive_wscale"));
	return out;
}

static void cell_address(struct table *t, const json_t *c, const char *address, const char *port)
{
	bool is_v6 = strchr(str(c, address), ':') != NULL;

	cell(t, "%s%s%s:%lld", is_v6 ? "[" : "", str(c, address), is_v6 ? "]" : "", num(c, port));
}

static void cells_of_connection(struct table *t, const json_t *c)
{
	char a[64], b[64];

	cell(t, "%lld", num(c, "worker"));
	cell_address(t, c, "local_address", "local_port");
	cell_address(t, c, "remote_address", "remote_port");
	cell(t, "%s", str(c, "state"));
	cell(t, "%s", *str(c, "protocol") && strcmp(str(c, "protocol"), "none") != 0 ? str(c, "protocol") : "-");
	cell(t, "%s", round_trip(a, sizeof(a), c));
	cell(t, "%s", amount(a, sizeof(a), num(c, "cwnd")));
	cell(t, "%s", num(c, "ssthresh") >= INT32_MAX ? "-" : amount(a, sizeof(a), num(c, "ssthresh")));
	cell(t, "%s", *str(c, "cc") ? str(c, "cc") : "-");
	cell(t, "%s", *str(c, "recovery") ? str(c, "recovery") : "-");
	cell(t, "%lld", num(c, "retransmits"));
	cell(t, "%s/%s", amount(a, sizeof(a), num(c, "unacked")), amount(b, sizeof(b), num(c, "unsent")));
	cell(t, "%s", amount(a, sizeof(a), num(c, "readable") + num(c, "out_of_order")));
	cell(t, "%s", flag_list(a, sizeof(a), c));
	cell(t, "%.1fs", (double)num(c, "idle_us") / 1e6);
}

void render_connections(FILE *f, const json_t *o)
{
	static const char *const heads[] = {"WORKER", "LOCAL",	  "REMOTE", "STATE", "PROTOCOL", "RTT/VAR/MIN ms", "CWND",  "SSTHRESH",
					    "CC",     "RECOVERY", "RETR",   "UNACKED/UNSENT", "UNREAD",	 "FLAGS", "IDLE"};
	const json_t *list = json_object_get(o, "connections");
	struct table t = {.n_columns = sizeof(heads) / sizeof(*heads)};
	const json_t *c;
	size_t i;

	for (i = 0; i < t.n_columns; i++)
		cell(&t, "%s", heads[i]);
	json_array_foreach(list, i, c)
		cells_of_connection(&t, c);
	table_print(f, &t);
	fprintf(f, "%zu shown, %lld match, of %lld\n", json_array_size(list), num(o, "matched"), num(o, "total"));
}
