/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within status/: one request with a small answer. Its callbacks only take
 * note; who polls looks at is_done, and what follows is his.
 */
#ifndef STATUS_EXCHANGE_H
#define STATUS_EXCHANGE_H

#include <jansson.h>
#include <stdbool.h>

#include "kube/reflector.h"

#define EXCHANGE_TIMEOUT_MS 10000u

struct exchange {
	struct kube_call *call; /* NULL: none under way */
	bool is_done;		/* and nobody has ended it yet */
	int status;
	char error[160]; /* "" if the answer is complete */
	uint32_t retry_after_s;
	char *body; /* of the answer, its beginning */
	size_t body_bytes;
};

/* Begins it; e is zeroed or ended, and does not move until it is ended. content_type NULL: JSON. body NULL: none. */
void exchange_begin(struct exchange *e, const struct reflector_http *http, const char *method, const char *path,
		    const char *content_type, const char *body);
/* Cancels what is under way, and frees the answer. */
void exchange_end(struct exchange *e, const struct reflector_http *http);
bool exchange_is_busy(const struct exchange *e);
/* As kube_http_wait_ms() of the answer. */
uint64_t exchange_wait_ms(const struct exchange *e);
/* The answer; NULL if it is no JSON. To be given back with json_decref(). */
json_t *exchange_json(const struct exchange *e);
/* What went wrong, in words; out has room for 256 bytes, and is returned. */
const char *exchange_problem(const struct exchange *e, char *out);

#endif
