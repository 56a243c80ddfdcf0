/* SPDX-License-Identifier: Apache-2.0 */
/* See held.h. */
#include "translate/held.h"

#include <stdlib.h>
#include <string.h>

#include "translate/translate_pvt.h"

struct held {
	char *ns, *name, *uid;
	struct weir_ip addrs[ADDRESSES_MAX];
	size_t n;
};

struct list {
	struct held *held; /* by (namespace, name) */
	size_t n, cap;
};

struct held_addresses {
	struct list now, next;
};

static void forget(struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->held[i].ns);
		free(l->held[i].name);
		free(l->held[i].uid);
	}
	free(l->held);
	*l = (struct list){0};
}

struct held_addresses *held_create(void)
{
	return translate_must(calloc(1, sizeof(struct held_addresses)));
}

void held_destroy(struct held_addresses *h)
{
	if (!h)
		return;
	forget(&h->now);
	forget(&h->next);
	free(h);
}

static int compare(const struct held *held, const struct kube_object *o)
{
	int d = strcmp(held->ns, o->ns);

	return d ? d : strcmp(held->name, o->name);
}

size_t held_get(const struct held_addresses *h, const struct kube_object *gateway, struct weir_ip out[ADDRESSES_MAX])
{
	size_t lo = 0;
	size_t hi = h->now.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct held *held = &h->now.held[mid];
		int d = compare(held, gateway);

		if (d == 0) {
			if (strcmp(held->uid, gateway->uid) != 0) /* another one of the same name */
				return 0;
			memcpy(out, held->addrs, held->n * sizeof(*out));
			return held->n;
		}
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

void held_begin(struct held_addresses *h)
{
	forget(&h->next);
}

void held_note(struct held_addresses *h, const struct kube_object *gateway, const struct weir_ip *addrs, size_t n)
{
	struct list *l = &h->next;
	struct held *held;

	if (n == 0)
		return;
	l->held = translate_grow(l->held, l->n, &l->cap, sizeof(*l->held));
	held = &l->held[l->n++];
	*held = (struct held){.ns = translate_must(strdup(gateway->ns)),
			      .name = translate_must(strdup(gateway->name)),
			      .uid = translate_must(strdup(gateway->uid)),
			      .n = n};
	memcpy(held->addrs, addrs, n * sizeof(*addrs));
}

void held_end(struct held_addresses *h)
{
	forget(&h->now);
	h->now = h->next;
	h->next = (struct list){0};
}
