/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of OCSP responses. */
#include "admin/metrics_staples.h"

#include <inttypes.h>

static void write_value(FILE *f, const char *name, const char *type, const char *help, uint64_t v)
{
	fprintf(f, "# HELP weir_ctrl_ocsp_%s %s\n# TYPE weir_ctrl_ocsp_%s %s\n", name, help, name, type);
	fprintf(f, "weir_ctrl_ocsp_%s %" PRIu64 "\n", name, v);
}

void metrics_staples(FILE *f, const struct stapling *x)
{
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
	write_value(f, "requests_total", "counter", "requests made to OCSP responders", st.n_asked);
	write_value(f, "expired_total", "counter", "OCSP responses dropped at their end, since no other had come", st.n_expired);
	fputs("# HELP weir_ctrl_ocsp_answers_total requests to OCSP responders that ended so\n"
	      "# TYPE weir_ctrl_ocsp_answers_total counter\n", f);
	for (unsigned i = 0; i < OCSP_N_OUTCOMES; i++)
		fprintf(f, "weir_ctrl_ocsp_answers_total{outcome=\"%s\"} %" PRIu64 "\n", ocsp_outcome_name((enum ocsp_outcome)i),
			st.outcomes[i]);
}
