/* SPDX-License-Identifier: Apache-2.0 */
/* Reading node trees, and the arenas that they live in. See node.h. */
#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/kube_pvt.h"

#define CHUNK_BYTES 65536u

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, cap;
	alignas(max_align_t) char mem[];
};

void arena_fini(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;

		a->chunks = c->next;
		free(c);
	}
}

void arena_wipe(struct arena *a)
{
	for (struct arena_chunk *c = a->chunks; c; c = c->next)
		explicit_bzero(c->mem, c->used);
	arena_fini(a);
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->chunks;
	void *p;

	n = (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	if (!c || c->cap - c->used < n) {
		size_t cap = n > CHUNK_BYTES / 4 ? n : CHUNK_BYTES;

		c = calloc(1, sizeof(*c) + cap);
		if (!c) {
			perror("weir: memory for manifests");
			abort();
		}
		c->cap = cap;
		if (cap == n && a->chunks) { /* a large piece leaves the open chunk in front */
			c->next = a->chunks->next;
			a->chunks->next = c;
		} else {
			c->next = a->chunks;
			a->chunks = c;
		}
	}
	p = c->mem + c->used;
	c->used += n;
	return p;
}

const char *arena_strn(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	memcpy(p, s, n);
	return p;
}

static const struct node *get(const struct node *map, const char *key, size_t n)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++)
		if (strncmp(map->keys[i], key, n) == 0 && map->keys[i][n] == 0)
			return map->items[i];
	return NULL;
}

const struct node *node_get(const struct node *map, const char *key)
{
	return get(map, key, strlen(key));
}

const struct node *node_path(const struct node *root, const char *path)
{
	while (root) {
		size_t n = strcspn(path, ".");

		root = get(root, path, n);
		if (path[n] == 0)
			break;
		path += n + 1;
	}
	return root;
}

const char *node_str(const struct node *n)
{
	return n && n->kind == NODE_STRING ? n->text : NULL;
}

bool node_int(const struct node *n, int64_t lo, int64_t hi, int64_t *out)
{
	const char *s;
	bool negative;
	long long v;
	char *end;
	int base = 0; /* 0x and a leading 0 (octal), as YAML 1.1 has them */

	if (!n || n->kind != NODE_NUMBER)
		return false;
	s = n->text;
	negative = *s == '-';
	if (*s == '-' || *s == '+')
		s++;
	if (*s < '0' || *s > '9')
		return false;
	if (s[0] == '0' && (s[1] == 'o' || s[1] == 'b')) {
		base = s[1] == 'o' ? 8 : 2;
		s += 2;
		if (*s < '0' || *s > '7')
			return false;
	}
	errno = 0;
	v = strtoll(s, &end, base);
	if (errno || end == s || *end)
		return false;
	if (negative)
		v = -v;
	if (v < lo || v > hi)
		return false;
	*out = v;
	return true;
}

bool node_bool(const struct node *n, bool *out)
{
	if (!n || n->kind != NODE_BOOL)
		return false;
	/* y, yes, true, on; n, no, false, off */
	*out = strchr("yYtT", n->text[0]) || n->text[1] == 'n' || n->text[1] == 'N';
	return true;
}

bool node_equal(const struct node *a, const struct node *b)
{
	if (a->kind != b->kind || a->line != b->line || a->n != b->n)
		return false;
	if (a->text && strcmp(a->text, b->text) != 0)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (a->kind == NODE_MAP && strcmp(a->keys[i], b->keys[i]) != 0)
			return false;
		if (!node_equal(a->items[i], b->items[i]))
			return false;
	}
	return true;
}

struct key_ref {
	const char *key;
	size_t index;
};

static int compare_refs(const void *a, const void *b)
{
	const struct key_ref *x = a;
	const struct key_ref *y = b;
	int d = strcmp(x->key, y->key);

	return d ? d : (x->index > y->index) - (x->index < y->index);
}

size_t node_find_duplicate_key(const struct node *map)
{
	struct key_ref *refs;
	size_t found = map->n;

	if (map->n <= 16) {
		for (size_t i = 1; i < map->n; i++)
			for (size_t j = 0; j < i; j++)
				if (strcmp(map->keys[i], map->keys[j]) == 0)
					return i;
		return map->n;
	}
	refs = malloc(map->n * sizeof(*refs));
	if (!refs) {
		perror("weir: memory for manifests");
		abort();
	}
	for (size_t i = 0; i < map->n; i++)
		refs[i] = (struct key_ref){map->keys[i], i};
	qsort(refs, map->n, sizeof(*refs), compare_refs);
	for (size_t i = 1; i < map->n; i++)
		if (strcmp(refs[i - 1].key, refs[i].key) == 0 && refs[i].index < found)
			found = refs[i].index;
	free(refs);
	return found;
}

void node_wipe(struct node *n)
{
	if (n->text)
		explicit_bzero((char *)n->text, strlen(n->text));
	for (size_t i = 0; i < n->n; i++)
		node_wipe(n->items[i]);
}

/* ---- copies ---- */

struct copy {
	size_t n_nodes, n_pointers, n_chars; /* needed, then used */
	struct node *nodes;
	void **pointers;
	char *chars;
};

static void copy_measure(struct copy *c, const struct node *n)
{
	c->n_nodes++;
	c->n_pointers += n->kind == NODE_MAP ? 2 * n->n : n->n;
	c->n_chars += n->text ? strlen(n->text) + 1 : 0;
	for (size_t i = 0; i < n->n; i++) {
		c->n_chars += n->kind == NODE_MAP ? strlen(n->keys[i]) + 1 : 0;
		copy_measure(c, n->items[i]);
	}
}

static const char *copy_text(struct copy *c, const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = memcpy(c->chars + c->n_chars, s, n);

	c->n_chars += n;
	return p;
}

static struct node *copy_node(struct copy *c, const struct node *n)
{
	struct node *to = &c->nodes[c->n_nodes++];

	*to = *n;
	if (n->text)
		to->text = copy_text(c, n->text);
	if (n->n == 0)
		return to;
	to->items = (struct node **)&c->pointers[c->n_pointers];
	c->n_pointers += n->n;
	if (n->kind == NODE_MAP) {
		to->keys = (const char **)&c->pointers[c->n_pointers];
		c->n_pointers += n->n;
	}
	for (size_t i = 0; i < n->n; i++) {
		if (n->kind == NODE_MAP)
			to->keys[i] = copy_text(c, n->keys[i]);
		to->items[i] = copy_node(c, n->items[i]);
	}
	return to;
}

struct node *node_copy(const struct node *n)
{
	struct copy c = {0};
	char *block;

	copy_measure(&c, n);
	block = malloc(c.n_nodes * sizeof(*c.nodes) + c.n_pointers * sizeof(*c.pointers) + c.n_chars);
	if (!block) {
		perror("weir: memory for Kubernetes objects");
		abort();
	}
	c.nodes = (struct node *)(void *)block;
	c.pointers = (void **)(void *)(c.nodes + c.n_nodes);
	c.chars = (char *)(c.pointers + c.n_pointers);
	c.n_nodes = c.n_pointers = c.n_chars = 0;
	return copy_node(&c, n);
}
