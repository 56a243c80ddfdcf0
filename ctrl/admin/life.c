/* SPDX-License-Identifier: Apache-2.0 */
/* How the dataplanes before this one ended: for /metrics and weirctl status. */
#include "admin/life.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "publish.h"

static const char *const names[WEIR_N_ENDS] = {
#define X(id, name, help) [WEIR_END_##id] = name,
	WEIR_ENDS(X)
#undef X
};

void life_write_metrics(FILE *f, const struct weir_stats_region *r)
{
	const struct weir_life_info *life = publish_life_info(r);

	if (!life)
		return;
	fprintf(f, "# HELP weir_dataplane_ends_total dataplanes that ended so, since the machine or Pod started; each was followed by another start\n"
		   "# TYPE weir_dataplane_ends_total counter\n");
	for (unsigned i = 0; i < WEIR_N_ENDS; i++)
		fprintf(f, "weir_dataplane_ends_total{reason=\"%s\"} %" PRIu64 "\n", names[i], life->ends[i]);
	fprintf(f, "# HELP weir_dataplane_last_end_timestamp_seconds Unix time at which the dataplane before this one ended; 0: this is the first one\n"
		   "# TYPE weir_dataplane_last_end_timestamp_seconds gauge\nweir_dataplane_last_end_timestamp_seconds %" PRIu64 "\n", life->last_s);
}

json_t *life_view(const struct weir_stats_region *r)
{
	const struct weir_life_info *life = publish_life_info(r);
	json_t *ends, *o;
	uint64_t n = 0;

	if (!life)
		return json_null();
	ends = json_object();
	for (unsigned i = 0; i < WEIR_N_ENDS; i++) {
		json_object_set_new(ends, names[i], json_integer((json_int_t)life->ends[i]));
		n += life->ends[i];
	}
	o = json_pack("{s:I, s:o}", "restarts", (json_int_t)n, "ends", ends);
	if (!o || !life->last_s || life->last >= WEIR_N_ENDS)
		return o;
	json_object_set_new(o, "last", json_string(names[life->last]));
	json_object_set_new(o, "last_s", json_integer((json_int_t)life->last_s));
	if (life->last == WEIR_END_CRASHED)
		json_object_set_new(o, "signal", json_string(sigabbrev_np(life->signal) ? sigabbrev_np(life->signal) : "?"));
	if (life->worker >= 0)
		json_object_set_new(o, "worker", json_integer(life->worker));
	return o;
}
