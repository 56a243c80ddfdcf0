/* SPDX-License-Identifier: Apache-2.0 */
#include "ocsp/ocsp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ocsp/fetch.h"

struct ocsp {
	struct staples *staples;
	struct stapler *stapler;
	struct fetch *fetch; /* NULL: nobody is asked */
	uint64_t now_ms;     /* of the poll */
	int64_t now_s;
};

static void on_answer(void *ctx, void *question, const struct stapler_answer *a)
{
	const struct ocsp *o = ctx;

	stapler_answered(o->stapler, question, a, o->now_ms, o->now_s);
}

struct ocsp *ocsp_create(enum ocsp_mode mode, uint64_t seed, stapler_recall_fn *recall, void *recall_ctx)
{
	struct ocsp *o = calloc(1, sizeof(*o));

	errno = ENOMEM;
	if (o && mode != OCSP_OFF)
		o->fetch = fetch_create(mode == OCSP_ANY, on_answer, o);
	if (o && (o->fetch || mode == OCSP_OFF))
		o->staples = staples_create();
	if (o && o->staples)
		o->stapler = stapler_create(&(struct stapler_options){
		    .staples = o->staples,
		    .ask = o->fetch ? fetch_ask : NULL,
		    .ctx = o->fetch,
		    .recall = recall,
		    .recall_ctx = recall_ctx,
		    .seed = seed});
	if (o && o->stapler)
		return o;
	log_error("OCSP responders cannot be asked: %s", strerror(errno));
	ocsp_destroy(o);
	return NULL;
}

void ocsp_destroy(struct ocsp *o)
{
	if (!o)
		return;
	fetch_destroy(o->fetch);
	stapler_destroy(o->stapler);
	staples_destroy(o->staples);
	free(o);
}

int ocsp_fd(const struct ocsp *o)
{
	return o->fetch ? fetch_fd(o->fetch) : -1;
}

struct staples *ocsp_staples(const struct ocsp *o)
{
	return o->staples;
}

struct stapler *ocsp_stapler(const struct ocsp *o)
{
	return o->stapler;
}

uint64_t ocsp_poll(struct ocsp *o, uint64_t now_ms, int64_t now_s)
{
	uint64_t next_ms, fetch_ms;

	o->now_ms = now_ms;
	o->now_s = now_s;
	if (o->fetch)
		fetch_poll(o->fetch, now_ms);
	stapler_poll(o->stapler, now_ms, now_s);
	fetch_ms = o->fetch ? fetch_poll(o->fetch, now_ms) : UINT64_MAX; /* what was asked just now has its time, or is answered */
	next_ms = stapler_next_ms(o->stapler);
	return fetch_ms < next_ms ? fetch_ms : next_ms;
}
