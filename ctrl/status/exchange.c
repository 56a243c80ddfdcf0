/* SPDX-License-Identifier: Apache-2.0 */
#include "status/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define MAX_ANSWER_BYTES (256u << 10)
#define PROBLEM_BYTES 256

static void on_data(void *ctx, const void *bytes, size_t n)
{
	struct exchange *e = ctx;
	char *body;

	if (e->body_bytes + n > MAX_ANSWER_BYTES)
		return;
	body = realloc(e->body, e->body_bytes + n + 1);
	if (!body)
		return;
	memcpy(body + e->body_bytes, bytes, n);
	e->body = body;
	e->body_bytes += n;
}

static void on_done(void *ctx, int status, const char *error, uint32_t retry_after_s)
{
	struct exchange *e = ctx;

	e->call = NULL;
	e->is_done = true;
	e->status = status;
	e->retry_after_s = retry_after_s;
	if (error)
		snprintf(e->error, sizeof(e->error), "%s", error[0] ? error : "failed");
}

void exchange_begin(struct exchange *e, const struct reflector_http *http, const char *method, const char *path,
		    const char *content_type, const char *body)
{
	const struct kube_request r = {.method = method,
				       .path = path,
				       .content_type = content_type,
				       .body = body,
				       .body_bytes = body ? strlen(body) : 0,
				       .timeout_ms = EXCHANGE_TIMEOUT_MS,
				       .on_data = on_data,
				       .on_done = on_done,
				       .ctx = e};

	memset(e, 0, sizeof(*e));
	e->call = http->request(http->ctx, &r);
	if (!e->call)
		on_done(e, 0, "no memory for a request", 0);
}

void exchange_end(struct exchange *e, const struct reflector_http *http)
{
	if (e->call)
		http->cancel(http->ctx, e->call);
	free(e->body);
	memset(e, 0, sizeof(*e));
}

bool exchange_is_busy(const struct exchange *e)
{
	return e->call || e->is_done;
}

uint64_t exchange_wait_ms(const struct exchange *e)
{
	return kube_http_wait_ms(e->status, e->retry_after_s);
}

json_t *exchange_json(const struct exchange *e)
{
	return e->body ? json_loadb(e->body, e->body_bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

/* It goes into a line of the log, and its text is the server's, or of a webhook, which may quote an object. */
static const char *clean(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return text;
}

const char *exchange_problem(const struct exchange *e, char *out)
{
	const char *message;
	json_t *root;

	if (e->error[0]) {
		snprintf(out, PROBLEM_BYTES, "%s", e->error);
		return clean(out);
	}
	root = exchange_json(e);
	message = json_string_value(json_object_get(root, "message")); /* of a metav1.Status */
	snprintf(out, PROBLEM_BYTES, "the API server answers %d%s%s", e->status, message ? ": " : "", message ? message : "");
	json_decref(root);
	return clean(out);
}
