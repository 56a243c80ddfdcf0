/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports of a Service or an EndpointSlice by number and by name. Each port
 * of a Service may be a backend that asks for itself, of each slice; so lists
 * that are longer than most are sorted once, as long as their object is as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "translate/units.h"

#define N_SHORT 16u /* up to here one after the other is as fast */

static const char *text_of(const struct node *map, const char *key, const char *fallback)
{
	const char *s = node_str(node_get(map, key));

	return s ? s : fallback;
}

static const char *protocol_of(const struct node *p)
{
	return text_of(p, "protocol", "TCP");
}

static int64_t number_of(const struct node *p)
{
	int64_t v = 0;

	node_int(node_get(p, "port"), 1, 65535, &v);
	return v;
}

/* A port while the list is sorted. */
struct entry {
	const char *protocol, *name;
	int64_t number;
	uint32_t at; /* in the list */
};

static int by_number(const void *pa, const void *pb)
{
	const struct entry *a = pa;
	const struct entry *b = pb;
	int d = strcmp(a->protocol, b->protocol);

	if (d == 0)
		d = (a->number > b->number) - (a->number < b->number);
	return d ? d : (a->at > b->at) - (a->at < b->at);
}

static int by_name(const void *pa, const void *pb)
{
	const struct entry *a = pa;
	const struct entry *b = pb;
	int d = strcmp(a->protocol, b->protocol);

	if (d == 0)
		d = strcmp(a->name, b->name);
	return d ? d : (a->at > b->at) - (a->at < b->at);
}

static uint32_t *sorted(struct unit *u, struct entry *list, size_t n, int (*compare)(const void *, const void *))
{
	uint32_t *order = model_alloc(&u->part, n * sizeof(*order));

	qsort(list, n, sizeof(*list), compare);
	for (size_t i = 0; i < n; i++)
		order[i] = list[i].at;
	return order;
}

static void make_table(struct unit *u, const struct node *ports)
{
	struct entry *list = translate_must(malloc(ports->n * sizeof(*list)));

	for (uint32_t i = 0; i < ports->n; i++)
		list[i] = (struct entry){protocol_of(ports->items[i]), text_of(ports->items[i], "name", ""),
					 number_of(ports->items[i]), i};
	u->ports.by_number = sorted(u, list, ports->n, by_number);
	u->ports.by_name = sorted(u, list, ports->n, by_name);
	u->ports.n = ports->n;
	free(list);
}

/* As the sort has it, but for its place: below 0 if the port is before what is wanted. */
static int compare(const struct node *p, const char *protocol, int64_t number, const char *name)
{
	int d = strcmp(protocol_of(p), protocol);

	if (d)
		return d;
	return number ? (number_of(p) > number) - (number_of(p) < number) : strcmp(text_of(p, "name", ""), name);
}

static struct port_range find_sorted(const struct node *ports, const uint32_t *order, const char *protocol, int64_t number,
				     const char *name)
{
	struct port_range r = {.ports = ports, .order = order};
	size_t lo = 0;
	size_t hi = ports->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(ports->items[order[mid]], protocol, number, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	r.at = lo;
	return r;
}

struct port_range ports_find(struct unit *u, const struct node *ports, const char *protocol, int64_t number,
			     const char *name)
{
	struct port_range r = {.ports = ports};

	if (!ports || ports->kind != NODE_LIST)
		r.ports = NULL;
	else if (ports->n > N_SHORT) {
		if (u->ports.n != ports->n)
			make_table(u, ports);
		r = find_sorted(ports, number ? u->ports.by_number : u->ports.by_name, protocol, number, name);
	}
	r.protocol = protocol;
	r.number = number;
	r.name = name;
	return r;
}

const struct node *ports_next(struct port_range *r)
{
	while (r->ports && r->at < r->ports->n) {
		const struct node *p = r->ports->items[r->order ? r->order[r->at] : r->at];

		r->at++;
		if (compare(p, r->protocol, r->number, r->name) == 0)
			return p;
		if (r->order) /* sorted: there are no more */
			return NULL;
	}
	return NULL;
}
