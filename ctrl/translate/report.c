/* SPDX-License-Identifier: Apache-2.0 */
/* Problems: which field of which object, on which line, and what was expected. And the cursors that know it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "translate/translate_pvt.h"

#define MAX_PER_OBJECT 100u

static const struct node *present(const struct node *n)
{
	return n && n->kind != NODE_NULL ? n : NULL; /* "field: null" says the same as no field */
}

struct cursor cursor_root(const struct kube_object *o)
{
	return (struct cursor){.n = o->root};
}

struct cursor cursor_get(const struct cursor *up, const char *key)
{
	return (struct cursor){.n = present(node_get(up->n, key)), .up = up, .key = key};
}

struct cursor cursor_value(const struct cursor *up, size_t i)
{
	return (struct cursor){.n = present(up->n->items[i]), .up = up, .key = up->n->keys[i]};
}

struct cursor cursor_at(const struct cursor *up, size_t i)
{
	return (struct cursor){.n = present(up->n->items[i]), .up = up, .index = i};
}

size_t cursor_count(const struct cursor *c)
{
	return c->n && c->n->kind == NODE_LIST ? c->n->n : 0;
}

const char *cursor_str(const struct cursor *c, const char *fallback)
{
	const char *s = node_str(c->n);

	return s ? s : fallback;
}

static size_t path_text(const struct cursor *c, char *buf, size_t cap)
{
	size_t n;

	if (!c || !c->up) {
		buf[0] = 0;
		return 0;
	}
	n = path_text(c->up, buf, cap);
	if (n >= cap)
		return n;
	if (c->key)
		return n + (size_t)snprintf(buf + n, cap - n, "%s%.64s", n ? "." : "", c->key);
	return n + (size_t)snprintf(buf + n, cap - n, "[%zu]", c->index);
}

/* Problems end up in logs and terminals: no control characters. */
static const char *clean(struct model *m, const char *s)
{
	char *p = (char *)model_str(m, s);

	for (char *q = p; *q; q++)
		if ((unsigned char)*q < 0x20 || *q == 0x7f)
			*q = '?';
	return p;
}

void report(struct translation *t, const struct kube_object *o, const struct cursor *at, bool is_fatal,
	    const char *reason, const char *fmt, ...)
{
	const struct cursor *place = at;
	struct model_problem *p;
	char field[320];
	char text[512];
	va_list ap;

	if (t->reported != o) {
		t->reported = o;
		t->n_reported = 0;
	}
	if (t->n_reported > MAX_PER_OBJECT && !t->findings)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	path_text(at, field, sizeof(field));
	findings_add(t, is_fatal, reason, field, text);
	if (t->n_reported > MAX_PER_OBJECT)
		return;
	if (t->n_reported++ == MAX_PER_OBJECT) {
		reason = "TooManyProblems";
		snprintf(text, sizeof(text), "further problems of this object are not listed");
		is_fatal = false;
	}
	while (place && !place->n)
		place = place->up;
	p = model_add_problem(t->m);
	p->file = model_str(t->m, o->file);
	p->line = place ? place->n->line : o->line;
	p->column = place ? place->n->column : 1;
	p->kind = kube_kind_name(o->kind);
	p->ns = model_str(t->m, o->ns);
	p->name = model_str(t->m, o->name);
	p->field = clean(t->m, field);
	p->reason = reason;
	p->text = clean(t->m, text);
	p->is_fatal = is_fatal;
}
