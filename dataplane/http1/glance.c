/* SPDX-License-Identifier: Apache-2.0 */
/* A look at a request's first bytes before it is parsed: see http1.h. */
#include <string.h>

#include "http1/http1.h"

#define METHOD_MAX 8	/* bytes before the path, the space included */
#define PATH_MAX_SEEN 256 /* a longer path is not looked for */

/* Where one of two bytes is, or n. */
static size_t find_either(const char *p, size_t n, char a, char b)
{
	size_t i = 0;

	while (i < n && p[i] != a && p[i] != b)
		i++;
	return i;
}

bool http1_glance(struct slice in, struct slice *path, struct slice *host)
{
	static const char name[] = "\r\nHost: ";
	const size_t n_name = sizeof(name) - 1;
	const char *space = memchr(in.p, ' ', in.n < METHOD_MAX ? in.n : METHOD_MAX);
	const char *end = in.p + in.n;
	const char *p;
	size_t n;

	if (!space || end - space < 2 || space[1] != '/')
		return false;
	p = space + 1;
	n = (size_t)(end - p) < PATH_MAX_SEEN ? (size_t)(end - p) : PATH_MAX_SEEN;
	*path = slice_of(p, find_either(p, n, ' ', '?'));
	p = memchr(p + path->n, '\r', (size_t)(end - p) - path->n);
	if (!p || (size_t)(end - p) < n_name || strncasecmp(p, name, n_name) != 0)
		return false;
	p += n_name;
	*host = slice_of(p, find_either(p, (size_t)(end - p), '\r', ':'));
	return host->n > 0;
}
