/* SPDX-License-Identifier: Apache-2.0 */
#include "translate/age.h"

#include <string.h>

/* "ns/name" is not put together: of the two that differ first, one may be the '/'. */
static int compare_names(const struct age *a, const struct age *b)
{
	size_t i = 0;
	unsigned char x, y;

	while (a->ns[i] && a->ns[i] == b->ns[i])
		i++;
	if (a->ns[i] == b->ns[i])
		return strcmp(a->name, b->name);
	x = a->ns[i] ? (unsigned char)a->ns[i] : '/';
	y = b->ns[i] ? (unsigned char)b->ns[i] : '/';
	return x < y ? -1 : 1; /* no namespace has a '/' */
}

int age_compare(const struct age *a, const struct age *b)
{
	int64_t x = a->created_s ? a->created_s : INT64_MAX;
	int64_t y = b->created_s ? b->created_s : INT64_MAX;

	return x != y ? (x < y ? -1 : 1) : compare_names(a, b);
}
