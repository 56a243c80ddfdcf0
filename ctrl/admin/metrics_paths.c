/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of the ways to pods. */
#include "admin/metrics_paths.h"

#include <inttypes.h>

static void write_value(FILE *f, const char *name, const char *type, const char *help, uint64_t v)
{
	fprintf(f, "# HELP weir_ctrl_%s %s\n# TYPE weir_ctrl_%s %s\n", name, help, name, type);
	fprintf(f, "weir_ctrl_%s %" PRIu64 "\n", name, v);
}

void metrics_paths(FILE *f, const struct pathing *x, const struct publish_status *st)
{
	const struct paths *p = pathing_now(x);

	fputs("# HELP weir_ctrl_paths prefixes of Nodes, and Nodes without one, by the way that leads to their pods\n"
	      "# TYPE weir_ctrl_paths gauge\n", f);
	for (unsigned i = 0; i < PATHS_N_WAYS; i++)
		fprintf(f, "weir_ctrl_paths{kind=\"%s\"} %zu\n", paths_way_name((enum paths_way)i), p->n_of[i]);
	write_value(f, "path_errors", "gauge", "what is wrong with Nodes, so that no way leads to pods of theirs, and with the near end of tunnels",
		    p->n_wrong);
	write_value(f, "paths_beyond", "gauge", "ways that are not served, since there are too many", p->n_beyond);
	write_value(f, "paths_taken", "gauge", "1: the dataplane has taken the newest ways to pods", st->paths_state == PUBLISH_PATHS_TAKEN);
	write_value(f, "paths_sent_total", "counter", "sets of ways to pods sent to the dataplane", st->paths_sent);
	write_value(f, "paths_refused_total", "counter", "sets of ways to pods that the dataplane did not take", st->n_paths_refused);
}
