/* SPDX-License-Identifier: Apache-2.0 */
/* The model's memory and lists. See model.h. */
#include "translate/model.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Most models are of one object, and small. */
#define CHUNK_BYTES 512u
#define CHUNK_BYTES_MAX 65536u

struct model_chunk {
	struct model_chunk *next;
	size_t used, cap;
	alignas(max_align_t) char mem[];
};

static void *must(void *p)
{
	if (!p) {
		perror("weir: memory for the model");
		abort();
	}
	return p;
}

void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
}

void model_fini(struct model *m)
{
	while (m->chunks) {
		struct model_chunk *c = m->chunks;

		m->chunks = c->next;
		free(c);
	}
	for (size_t i = 0; i < m->n_held; i++)
		certificate_put(m->held[i]);
	free(m->held);
	free(m->names);
	free(m->listeners);
	free(m->matches);
	free(m->backends);
	free(m->problems);
	free(m->statuses);
	memset(m, 0, sizeof(*m));
}

void *model_alloc(struct model *m, size_t n)
{
	struct model_chunk *c = m->chunks;
	void *p;

	n = (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	if (!c || c->cap - c->used < n) {
		size_t cap = c ? c->cap * 2 : CHUNK_BYTES - sizeof(*c);

		if (cap > CHUNK_BYTES_MAX)
			cap = CHUNK_BYTES_MAX;
		if (cap < n)
			cap = n;

		c = must(calloc(1, sizeof(*c) + cap));
		c->cap = cap;
		c->next = m->chunks;
		m->chunks = c;
	}
	p = c->mem + c->used;
	c->used += n;
	return p;
}

static void *add(void **list, size_t *n, size_t *cap, size_t size)
{
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 1;
		*list = must(realloc(*list, *cap * size));
	}
	return memset((char *)*list + (*n)++ * size, 0, size);
}

static struct certificate **add_held(struct model *m)
{
	return add((void **)&m->held, &m->n_held, &m->cap_held, sizeof(struct certificate *));
}

void model_adopt(struct model *m, struct model *from)
{
	struct model_chunk **last = &from->chunks;

	while (*last)
		last = &(*last)->next;
	*last = m->chunks;
	m->chunks = from->chunks;
	from->chunks = NULL;
	for (size_t i = 0; i < from->n_held; i++)
		*add_held(m) = from->held[i];
	from->n_held = 0;
}

void model_each_certificate(const struct model *m, void (*fn)(void *ctx, const struct certificate *c), void *ctx)
{
	for (size_t i = 0; i < m->n_names; i++) {
		const struct model_server_name *n = &m->names[i];

		for (size_t k = 0; k < n->n_certs; k++)
			fn(ctx, n->certs[k]);
		if (n->client_auth && n->client_auth->trust)
			fn(ctx, n->client_auth->trust);
	}
	for (size_t i = 0; i < m->n_backends; i++) {
		const struct model_backend_tls *tls = m->backends[i].name ? m->backends[i].tls : NULL;

		if (tls && tls->trust)
			fn(ctx, tls->trust);
		if (tls && tls->client)
			fn(ctx, tls->client);
	}
}

void model_hold(struct model *m, const struct certificate *c)
{
	if (m->n_held && m->held[m->n_held - 1] == c)
		return;
	*add_held(m) = certificate_get(c);
}

const char *model_strn(struct model *m, const char *s, size_t n)
{
	char *p = model_alloc(m, n + 1);

	memcpy(p, s, n);
	return p;
}

const char *model_str(struct model *m, const char *s)
{
	return model_strn(m, s, strlen(s));
}

const char *model_printf(struct model *m, const char *fmt, ...)
{
	va_list ap;
	char *text;
	const char *p;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	p = model_strn(m, must(n < 0 ? NULL : text), (size_t)n);
	free(text);
	return p;
}

struct model_listener *model_add_listener(struct model *m)
{
	return add((void **)&m->listeners, &m->n_listeners, &m->cap_listeners, sizeof(*m->listeners));
}

struct model_server_name *model_add_name(struct model *m)
{
	return add((void **)&m->names, &m->n_names, &m->cap_names, sizeof(*m->names));
}

struct model_match *model_add_match(struct model *m)
{
	return add((void **)&m->matches, &m->n_matches, &m->cap_matches, sizeof(*m->matches));
}

struct model_backend *model_add_backend(struct model *m)
{
	return add((void **)&m->backends, &m->n_backends, &m->cap_backends, sizeof(*m->backends));
}

struct model_problem *model_add_problem(struct model *m)
{
	return add((void **)&m->problems, &m->n_problems, &m->cap_problems, sizeof(*m->problems));
}

struct model_status *model_add_status(struct model *m)
{
	return add((void **)&m->statuses, &m->n_statuses, &m->cap_statuses, sizeof(*m->statuses));
}
