/* SPDX-License-Identifier: Apache-2.0 */
/* What a CORS filter says to an origin (Fetch 3.3, Gateway API HTTPCORSFilter). See route.h. */
#include <string.h>

#include "route/route.h"

static struct slice without(struct slice s, size_t n_front, size_t n_back)
{
	return slice_of(s.p + n_front, s.n - n_front - n_back);
}

static bool ends_with(struct slice s, struct slice end)
{
	return s.n >= end.n && slice_eq_nocase(slice_of(s.p + s.n - end.n, end.n), end);
}

static bool begins_with(struct slice s, struct slice begin)
{
	return s.n >= begin.n && slice_eq_nocase(slice_of(s.p, begin.n), begin);
}

/* The port of the scheme itself is as good as none. */
static struct slice without_usual_port(struct slice origin)
{
	struct slice port = begins_with(origin, SLICE("https:")) ? SLICE(":443") : SLICE(":80");

	return ends_with(origin, port) ? without(origin, 0, port.n) : origin;
}

/* The star of a pattern covers labels of a host, at least one, and no port. */
static bool is_covered(struct slice pattern, struct slice origin)
{
	const char *star = memchr(pattern.p, '*', pattern.n);
	struct slice front;
	struct slice back;
	struct slice labels;

	if (!star)
		return slice_eq_nocase(pattern, origin);
	if (pattern.n == 1)
		return true;
	front = slice_of(pattern.p, (size_t)(star - pattern.p));
	back = without(pattern, front.n + 1, 0);
	if (origin.n <= front.n + back.n || !begins_with(origin, front) || !ends_with(origin, back))
		return false;
	labels = without(origin, front.n, back.n);
	return !memchr(labels.p, ':', labels.n) && !memchr(labels.p, '/', labels.n);
}

const struct weir_filter *route_find_cors(const struct weir_snapshot *s, struct weir_range filters)
{
	for (uint32_t i = filters.first; i < filters.first + filters.count; i++)
		if (snapshot_filter(s, i)->kind == WEIR_FILTER_CORS)
			return snapshot_filter(s, i);
	return NULL;
}

struct route_cors route_cors(const struct weir_snapshot *s, const struct weir_filter *f, struct slice origin)
{
	struct slice bare = without_usual_port(origin);
	struct slice any = slice_of(NULL, 0);
	struct route_cors c = {0};

	for (uint32_t i = f->ops.first; i < f->ops.first + f->ops.count; i++) {
		const struct weir_header_op *o = snapshot_header_op(s, i);
		struct slice value = snapshot_str(s, o->value);

		switch ((enum weir_cors_kind)o->kind) {
		case WEIR_CORS_ORIGIN:
			if (slice_eq(value, SLICE("*")))
				any = value;
			c.is_allowed |= origin.n && is_covered(value, bare);
			break;
		case WEIR_CORS_METHODS:
			c.methods = value;
			break;
		case WEIR_CORS_HEADERS:
			c.headers = value;
			break;
		case WEIR_CORS_EXPOSED:
			c.exposed = value;
			break;
		case WEIR_CORS_MAX_AGE:
			c.max_age = value;
			break;
		case WEIR_CORS_CREDENTIALS:
			c.credentials = value;
			break;
		}
	}
	c.varies = !any.n || c.credentials.n;
	c.origin = c.varies ? origin : any;
	return c;
}
