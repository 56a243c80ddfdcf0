/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of several Gateways, of which each has a client certificate of its own to show to backends. */
#include <string.h>

#include "translate/translate_pvt.h"

/* The same filters, but for the backends of mirrors. */
static void read_filters_via(struct translation *t, struct model_filters *list)
{
	struct model_filter *copy;

	if (!filters_have(list, WEIR_FILTER_MIRROR))
		return;
	copy = model_alloc(t->m, list->n * sizeof(*copy));
	memcpy(copy, list->f, list->n * sizeof(*copy));
	list->f = copy;
	for (size_t i = 0; i < list->n; i++)
		if (copy[i].kind == WEIR_FILTER_MIRROR)
			copy[i].backend = (int32_t)backend_use_via(t, (uint32_t)copy[i].backend);
}

struct model_match via_read(struct translation *t, const struct model_match *first, const struct gateway *via)
{
	const struct gateway *before = t->via;
	struct model_match out = *first;

	if (t->is_trial) /* of which nothing is kept */
		return out;
	t->via = via;
	out.splits = model_alloc(t->m, (out.n_splits + 1) * sizeof(*out.splits));
	for (size_t i = 0; i < out.n_splits; i++) {
		out.splits[i] = first->splits[i];
		if (out.splits[i].backend < 0)
			continue;
		out.splits[i].backend = (int32_t)backend_use_via(t, (uint32_t)out.splits[i].backend);
		read_filters_via(t, &out.splits[i].filters);
	}
	read_filters_via(t, &out.filters);
	t->via = before;
	return out;
}
