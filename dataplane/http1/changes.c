/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of header fields, done while a head is written: a field goes out if
 * no change sets or removes its name, and what a change writes goes out if none
 * behind it does. So nothing is stored, whatever their number.
 */
#include <assert.h>

#include "http1/http1_pvt.h"

struct packed {
	uint8_t kind; /* enum http1_change_kind */
	uint8_t reserved;
	uint16_t n_name;
	uint32_t n_value;
};

static_assert(sizeof(struct packed) == HTTP1_CHANGE_BYTES, "what the bound on filters counts for it");

struct change {
	enum http1_change_kind kind;
	struct slice name, value;
};

void http1_change_add(struct buf *list, enum http1_change_kind kind, struct slice name, struct slice value)
{
	const struct packed p = {.kind = (uint8_t)kind, .n_name = (uint16_t)name.n, .n_value = (uint32_t)value.n};

	buf_add(list, &p, sizeof(p));
	buf_slice(list, name);
	buf_slice(list, value);
}

/* Takes the first change off the list. False: there is none. */
static bool next(struct slice *list, struct change *c)
{
	struct packed p;

	if (list->n < sizeof(p))
		return false;
	memcpy(&p, list->p, sizeof(p));
	c->kind = (enum http1_change_kind)p.kind;
	c->name = slice_of(list->p + sizeof(p), p.n_name);
	c->value = slice_of(c->name.p + p.n_name, p.n_value);
	*list = slice_of(c->value.p + p.n_value, list->n - sizeof(p) - p.n_name - p.n_value);
	return true;
}

bool changes_take_place_of(struct slice changes, struct slice name)
{
	struct change c;

	while (next(&changes, &c))
		if (c.kind != HTTP1_CHANGE_ADD && slice_eq_nocase(c.name, name))
			return true;
	return false;
}

void changes_write_field(struct buf *out, struct slice changes, struct slice name, struct slice value)
{
	if (!changes_take_place_of(changes, name))
		http1_write_field(out, name, value);
}

void changes_write(struct buf *out, struct slice changes)
{
	struct change c;

	while (next(&changes, &c)) /* what is left of the list now stands behind c */
		if (c.kind != HTTP1_CHANGE_REMOVE)
			changes_write_field(out, changes, c.name, c.value);
}
