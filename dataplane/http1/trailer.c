/* SPDX-License-Identifier: Apache-2.0 */
/* Which fields may stand behind a body (RFC 9110 6.5.1, RFC 9112 7.1.2). */
#include "http1/http1_pvt.h"

/*
 * Fields that mean something for how a message is framed, routed, granted,
 * answered or cached: who merges trailers into the head would be led by them.
 * Those that have an id of their own (http.h) and all Content-* are not listed.
 */
static const struct slice forbidden[] = {
	{"age", 3},	       {"authorization", 13}, {"cache-control", 13}, {"expires", 7},	  {"if-match", 8},
	{"if-modified-since", 17}, {"if-none-match", 13}, {"if-range", 8},	     {"if-unmodified-since", 19}, {"location", 8},
	{"pragma", 6},	       {"range", 5},	      {"retry-after", 11},   {"set-cookie", 10}, {"vary", 4},
	{"warning", 7},	       {"www-authenticate", 16}, {"x-real-ip", 9},
};

static bool has_prefix_nocase(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && slice_eq_nocase(slice_of(s.p, prefix.n), prefix);
}

bool trailer_is_forbidden(struct slice name)
{
	if (http_field_find(name) != HTTP_FIELD_OTHER || has_prefix_nocase(name, SLICE("x-forwarded-")))
		return true;
	if (has_prefix_nocase(name, SLICE("content-")))
		return !slice_eq_nocase(name, SLICE("content-digest")); /* RFC 9530 2 is about trailers, too */
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++)
		if (slice_eq_nocase(name, forbidden[i]))
			return true;
	return false;
}
