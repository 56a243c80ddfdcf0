/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPRouteRule.retry (GEP-1731): for which answers a request is sent again.
 * Without codes there is nothing to do here: another try where a connection
 * fails needs no wish of a route (dataplane/proxy/request.c).
 */
#include "translate/translate_pvt.h"

/* What the API leaves to implementations. */
#define DEFAULT_ATTEMPTS 1
#define DEFAULT_BACKOFF_MS 25u

static bool has_code(const struct weir_retry *r, int64_t code)
{
	for (size_t i = 0; i < r->n_codes; i++)
		if (r->codes[i] == code)
			return true;
	return false;
}

static void read_codes(struct translation *t, const struct kube_object *o, const struct cursor *list, struct weir_retry *out)
{
	if (list->n && list->n->kind != NODE_LIST)
		report(t, o, list, true, "InvalidValue", "a list of statuses was expected");
	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor c = cursor_at(list, i);
		int64_t code;

		if (!node_int(c.n, 400, 599, &code)) {
			report(t, o, &c, true, "InvalidValue", "a status from 400 to 599 was expected; it is left out");
		} else if (!has_code(out, code)) {
			if (out->n_codes == WEIR_MAX_RETRY_CODES) {
				report(t, o, &c, true, "UnsupportedValue", "at most %u statuses were expected; the rest is left out",
				       WEIR_MAX_RETRY_CODES);
				return;
			}
			out->codes[out->n_codes++] = (uint16_t)code;
		}
	}
}

void retry_read(struct translation *t, const struct kube_object *o, const struct cursor *retry, struct weir_retry *out)
{
	struct cursor codes = cursor_get(retry, "codes");
	struct cursor attempts = cursor_get(retry, "attempts");
	struct cursor backoff = cursor_get(retry, "backoff");
	uint32_t backoff_ms = timeout_read(t, o, &backoff, "InvalidValue");
	int64_t n = DEFAULT_ATTEMPTS;

	*out = (struct weir_retry){0};
	read_codes(t, o, &codes, out);
	if (attempts.n && !node_int(attempts.n, 1, UINT8_MAX, &n))
		report(t, o, &attempts, true, "InvalidValue", "a number from 1 to 255 was expected; 1 is used");
	if (!out->n_codes)
		return;
	out->attempts = (uint8_t)n;
	out->backoff_ms = !backoff_ms ? DEFAULT_BACKOFF_MS : backoff_ms == WEIR_NO_LIMIT ? 0 : backoff_ms;
}
