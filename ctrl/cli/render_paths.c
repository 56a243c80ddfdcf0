/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl paths, for people. */
#include "cli/render_pvt.h"

static void render_near_end(FILE *f, const json_t *o)
{
	json_t *end;
	size_t i;

	json_array_foreach(json_object_get(o, "near_end"), i, end) {
		fprintf(f, "near end  %s: %s within the tunnel, %s, VNI %lld%s, port %lld", str(end, "family"), str(end, "source"),
			str(end, "mac"), num(end, "vni"), flag(end, "any_vni") ? " (any is taken)" : "", num(end, "port"));
		if (*str(end, "node"))
			fprintf(f, ", of Node %s", str(end, "node"));
		if (*str(end, "public_ip"))
			fprintf(f, "; nodes send to %s, which has to be an address of the dataplane", str(end, "public_ip"));
		fputc('\n', f);
	}
	if (*str(o, "near_end_problem"))
		fprintf(f, "near end  WRONG: %s\n", str(o, "near_end_problem"));
}

void render_paths(FILE *f, const json_t *o)
{
	struct table t = {.n_columns = 7};
	json_t *row;
	size_t i;

	fprintf(f, "paths     %s: %lld ways of %lld nodes, %lld wrong, %lld beyond the bound; dataplane: %s\n", str(o, "mode"), num(o, "ways"),
		num(o, "nodes"), num(o, "wrong"), num(o, "beyond"), str(o, "state"));
	render_near_end(f, o);
	if (*str(o, "note"))
		fprintf(f, "note      %s\n", str(o, "note"));
	if (json_array_size(json_object_get(o, "paths")) == 0)
		return;
	cell(&t, "NODE");
	cell(&t, "PREFIX");
	cell(&t, "WAY");
	cell(&t, "VIA");
	cell(&t, "MAC");
	cell(&t, "DATAPLANE");
	cell(&t, "WHY");
	json_array_foreach(json_object_get(o, "paths"), i, row) {
		cell(&t, "%s", str(row, "node"));
		cell(&t, "%s", *str(row, "prefix") ? str(row, "prefix") : "-");
		cell(&t, "%s", str(row, "way"));
		cell(&t, "%s", *str(row, "via") ? str(row, "via") : "-");
		cell(&t, "%s", *str(row, "mac") ? str(row, "mac") : "-");
		cell(&t, "%s", *str(row, "state") ? str(row, "state") : "-");
		cell(&t, "%s%s", flag(row, "wrong") ? "WRONG: " : "", str(row, "why"));
	}
	table_print(f, &t);
}
