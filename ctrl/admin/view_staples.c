/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a certificate's OCSP response: for weirctl certificates. */
#include "admin/view_staples.h"

#include <time.h>

static json_t *time_json(int64_t s)
{
	const time_t when = (time_t)s;
	char text[32] = "";
	struct tm tm;

	if (s && gmtime_r(&when, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

json_t *view_staple(const struct sync *s, const struct certificate *c)
{
	const struct staple *x = staples_get(s->staples, &c->blob->id);

	if (!x)
		return json_null();
	return json_pack("{s:s, s:b, s:b, s:o, s:o, s:s, s:s, s:s, s:o}", "state", staple_state_name(x->state), "stapled", x->stapled != NULL,
			 "must_staple", (int)x->must_staple, "since", time_json(x->this_s), "until", time_json(x->until_s), "why",
			 x->why ? x->why : "", "waits", x->waits ? x->waits : "", "reason", x->reason ? x->reason : "", "revoked", time_json(x->revoked_s));
}
