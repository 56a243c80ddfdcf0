/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CORS (Fetch 3.3; the filter of that name): tells browsers which origins'
 * scripts may have an answer, and answers preflights in the backend's place.
 * Who is not allowed is told nothing: it is the browser that refuses. What is
 * echoed of a request is bounded, so that it fits into CORS_ROOM.
 */
#include "proxy/proxy_pvt.h"

#define MAX_ORIGIN 512u
#define MAX_METHOD 64u
#define MAX_HEADERS 1024u

static_assert(MAX_ORIGIN + MAX_METHOD + MAX_HEADERS + 400 <= CORS_ROOM, "what is echoed, and names of fields");

static struct slice field(const struct request *rq, struct slice name, size_t max)
{
	struct slice v = request_field(&rq->head, name);

	return v.n > max ? slice_of(NULL, 0) : v;
}

bool cors_find(const struct request *rq, const struct filter_source *from, struct route_cors *out)
{
	const struct weir_filter *f = route_find_cors(from->s, from->rule->filters);

	if (!f && from->split)
		f = route_find_cors(from->s, from->split->filters);
	if (!f)
		return false;
	*out = route_cors(from->s, f, field(rq, SLICE("Origin"), MAX_ORIGIN));
	return true;
}

void cors_change(struct buf *list, const struct route_cors *c)
{
	if (c->varies)
		http1_change_add(list, HTTP1_CHANGE_ADD, SLICE("Vary"), SLICE("Origin"));
	if (!c->is_allowed)
		return;
	http1_change_add(list, HTTP1_CHANGE_SET, SLICE("Access-Control-Allow-Origin"), c->origin);
	if (c->credentials.n)
		http1_change_add(list, HTTP1_CHANGE_SET, SLICE("Access-Control-Allow-Credentials"), c->credentials);
	if (c->exposed.n)
		http1_change_add(list, HTTP1_CHANGE_SET, SLICE("Access-Control-Expose-Headers"), c->exposed);
}

bool cors_is_preflight(const struct request *rq)
{
	return rq->head.method == HTTP_METHOD_OPTIONS && request_field(&rq->head, SLICE("Origin")).n &&
	       request_field(&rq->head, SLICE("Access-Control-Request-Method")).n;
}

/* To requests with credentials "*" is a name like others: there it is what was asked for. */
static void put(struct buf *b, struct slice name, const struct route_cors *c, struct slice value, struct slice asked)
{
	if (c->credentials.n && slice_eq(value, SLICE("*")))
		value = asked;
	if (value.n)
		http1_write_field(b, name, value);
}

void cors_answer(struct request *rq, const struct route_cors *c, uint64_t now_us)
{
	struct slice none = slice_of(NULL, 0);
	struct buf b;

	buf_init(&b, rq->filter_mem, FILTER_ROOM);
	if (c->varies)
		buf_str(&b, "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n");
	if (c->is_allowed) {
		put(&b, SLICE("Access-Control-Allow-Origin"), c, c->origin, none);
		put(&b, SLICE("Access-Control-Allow-Methods"), c, c->methods,
		    field(rq, SLICE("Access-Control-Request-Method"), MAX_METHOD));
		put(&b, SLICE("Access-Control-Allow-Headers"), c, c->headers,
		    field(rq, SLICE("Access-Control-Request-Headers"), MAX_HEADERS));
		put(&b, SLICE("Access-Control-Expose-Headers"), c, c->exposed, none);
		put(&b, SLICE("Access-Control-Max-Age"), c, c->max_age, none);
		put(&b, SLICE("Access-Control-Allow-Credentials"), c, c->credentials, none);
	}
	assert(!b.overflow); /* the snapshot's checker has seen to the rest */
	stat_inc(rq->client->p->stats, WEIR_C_PREFLIGHTS);
	reply_no_content(rq, buf_get(&b), now_us);
}
