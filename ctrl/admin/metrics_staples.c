/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of OCSP responses. */
#include "admin/metrics_staples.h"

#include <inttypes.h>

static void write_value(FILE *f, const char *name, const char *type, const char *help, uint64_t v)
{
	fprintf(f, "# HELP weir_ctrl_ocsp_%s %s\n# TYPE weir_ctrl_ocsp_%s %s\n", name, help, name, type);
	fprintf(f, "weir_ctrl_ocsp_%s %" PRIu64 "\n", name, v);
}

/* What is kept over a restart. */
static void write_file(FILE *f, const struct staple_file_status *st)
{
	write_value(f, "saved", "gauge", "OCSP responses kept on disk by the last write", st->n_saved);
	write_value(f, "saved_left_out", "gauge", "OCSP responses that are not kept on disk, since there would be too many", st->n_left_out);
	write_value(f, "saved_writes_total", "counter", "times that the OCSP responses were written to disk", st->n_writes);
	write_value(f, "saved_write_failures_total", "counter", "times that the OCSP responses could not be written to disk", st->n_failures);
	write_value(f, "saved_found", "gauge", "OCSP responses found on disk at the start", st->n_found);
	fputs("# HELP weir_ctrl_ocsp_saved_file what was wrong with the file of OCSP responses at the start: 1 for that\n"
	      "# TYPE weir_ctrl_ocsp_saved_file gauge\n", f);
	for (unsigned i = 0; i < STAPLE_FILE_N_REFUSALS; i++)
		fprintf(f, "weir_ctrl_ocsp_saved_file{reason=\"%s\"} %d\n", staple_file_refusal_name((enum staple_file_refusal)i),
			st->refused == i);
}

static void write_outcomes(FILE *f, const char *name, const char *help, const uint64_t n[OCSP_N_OUTCOMES])
{
	fprintf(f, "# HELP weir_ctrl_ocsp_%s %s\n# TYPE weir_ctrl_ocsp_%s counter\n", name, help, name);
	for (unsigned i = 0; i < OCSP_N_OUTCOMES; i++)
		fprintf(f, "weir_ctrl_ocsp_%s{outcome=\"%s\"} %" PRIu64 "\n", name, ocsp_outcome_name((enum ocsp_outcome)i), n[i]);
}

void metrics_staples(FILE *f, const struct stapling *x)
{
	struct staple_file_status file;
	struct stapler_status st;

	stapling_status(x, &st);
	fputs("# HELP weir_ctrl_ocsp_certificates certificates that TLS clients are shown, by what is known of their OCSP response\n"
	      "# TYPE weir_ctrl_ocsp_certificates gauge\n", f);
	for (unsigned i = 0; i < N_STAPLE_STATES; i++)
		fprintf(f, "weir_ctrl_ocsp_certificates{state=\"%s\"} %zu\n", staple_state_name((enum staple_state)i), st.n_of[i]);
	write_value(f, "stapled", "gauge", "certificates that have an OCSP response with them", st.n_stapled);
	write_value(f, "must_staple_missing", "gauge",
		    "certificates that clients refuse, since they must have an OCSP response (RFC 7633) and there is none",
		    st.n_must_staple_without);
	write_value(f, "in_flight", "gauge", "requests to OCSP responders under way", st.n_in_flight);
	fputs("# HELP weir_ctrl_ocsp_waiting requests to OCSP responders that are due and wait for their turn, by the bound that is reached\n"
	      "# TYPE weir_ctrl_ocsp_waiting gauge\n", f);
	for (unsigned i = STAPLER_WAIT_NONE + 1; i < N_STAPLER_WAITS; i++)
		fprintf(f, "weir_ctrl_ocsp_waiting{bound=\"%s\"} %zu\n", stapler_wait_name((enum stapler_wait)i), st.n_waiting[i]);
	write_value(f, "requests_total", "counter", "requests made to OCSP responders", st.n_asked);
	write_value(f, "expired_total", "counter", "OCSP responses dropped at their end, since no other had come", st.n_expired);
	write_outcomes(f, "answers_total", "requests to OCSP responders that ended so", st.outcomes);
	write_outcomes(f, "restored_total", "OCSP responses found on disk that were judged so", st.recalled);
	if (stapling_file_status(x, &file))
		write_file(f, &file);
}
