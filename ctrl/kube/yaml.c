/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml's events to node trees, one document at a time, with the meaning
 * that Kubernetes gives to YAML: JSON in other clothes, plain scalars by the
 * rules of YAML 1.1. What JSON cannot say is refused: aliases (which also
 * would let a small file unfold to a huge one), merge keys, foreign tags,
 * keys that stand twice. A refused document does not hide the next one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/kube_pvt.h"

/* Where the reader is within a document: for the field of a fault. */
struct place {
	const struct place *up;
	const char *key; /* NULL: an index */
	size_t index;
	unsigned depth;
};

void yaml_reader_init(struct yaml_reader *r, struct arena *arena, const char *data, size_t n)
{
	memset(r, 0, sizeof(*r));
	r->arena = arena;
	r->data = data;
	if (!yaml_parser_initialize(&r->parser)) {
		perror("weir: memory for manifests");
		abort();
	}
	yaml_parser_set_input_string(&r->parser, (const unsigned char *)data, n);
}

void yaml_reader_fini(struct yaml_reader *r)
{
	yaml_parser_delete(&r->parser);
}

static size_t place_text(const struct place *p, char *buf, size_t cap)
{
	size_t n;

	if (!p->up)
		return 0;
	n = place_text(p->up, buf, cap);
	if (n >= cap)
		return n;
	if (p->key)
		return n + (size_t)snprintf(buf + n, cap - n, "%s%.64s", n ? "." : "", p->key);
	return n + (size_t)snprintf(buf + n, cap - n, "[%zu]", p->index);
}

/* Keeps the first fault of a document. */
static void fault(struct yaml_reader *r, const struct place *p, yaml_mark_t mark, const char *reason, const char *text)
{
	char field[256] = "";

	if (r->fault.reason)
		return;
	if (p)
		place_text(p, field, sizeof(field));
	r->fault = (struct yaml_fault){
	    .reason = reason,
	    .field = arena_strn(r->arena, field, strlen(field)),
	    .text = text,
	    .line = (unsigned)mark.line + 1,
	    .column = (unsigned)mark.column + 1,
	};
}

/* libyaml's own error. The reader's (bad UTF-8) knows only an offset. */
static void syntax_fault(struct yaml_reader *r)
{
	const yaml_parser_t *p = &r->parser;
	yaml_mark_t mark = p->problem_mark;
	char text[256];
	int n;

	if (p->error == YAML_MEMORY_ERROR) {
		perror("weir: memory for manifests");
		abort();
	}
	if (p->error == YAML_READER_ERROR) {
		memset(&mark, 0, sizeof(mark));
		for (size_t i = 0; i < p->problem_offset; i++) {
			mark.column = r->data[i] == '\n' ? 0 : mark.column + 1;
			mark.line += r->data[i] == '\n';
		}
	}
	n = snprintf(text, sizeof(text), "not YAML: %s%s%s", p->problem ? p->problem : "unreadable",
		     p->context ? ", " : "", p->context ? p->context : "");
	memset(&r->fault, 0, sizeof(r->fault)); /* the syntax error is the graver one */
	fault(r, NULL, mark, "InvalidYAML",
	      arena_strn(r->arena, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));
}

static bool next_event(struct yaml_reader *r, yaml_event_t *e)
{
	if (!yaml_parser_parse(&r->parser, e)) {
		syntax_fault(r);
		return false;
	}
	if (!r->is_skipping && e->end_mark.index - r->doc_start > KUBE_MAX_DOC_BYTES &&
	    e->type != YAML_STREAM_END_EVENT && e->type != YAML_DOCUMENT_START_EVENT) {
		fault(r, NULL, e->start_mark, "TooLarge", "a document of at most 3 MiB was expected");
		r->is_skipping = true;
	}
	return true;
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static bool is_number(const char *s)
{
	size_t digits;

	if (*s == '-' || *s == '+')
		s++;
	if (is_one_of(s, (const char *const[]){".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL}))
		return true;
	if (s[0] == '0' && strchr("xob", s[1]) && s[1]) {
		const char *set = s[1] == 'x' ? "0123456789abcdefABCDEF" : s[1] == 'o' ? "01234567" : "01";

		return s[2] && s[2 + strspn(s + 2, set)] == 0;
	}
	digits = strspn(s, "0123456789");
	s += digits;
	if (*s == '.') {
		size_t more = strspn(++s, "0123456789");

		s += more;
		digits += more;
	}
	if (digits == 0)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		if (*s == '-' || *s == '+')
			s++;
		digits = strspn(s, "0123456789");
		if (digits == 0)
			return false;
		s += digits;
	}
	return *s == 0;
}

/* YAML 1.1 as sigs.k8s.io/yaml reads it: "no" is false, and a country code needs its quotes. */
static enum node_kind plain_kind(const char *s)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const bools[] = {"y",     "Y",     "yes",   "Yes", "YES", "true", "True", "TRUE",
					    "on",    "On",    "ON",    "n",   "N",   "no",   "No",   "NO",
					    "false", "False", "FALSE", "off", "Off", "OFF",  NULL};

	if (is_one_of(s, nulls))
		return NODE_NULL;
	if (is_one_of(s, bools))
		return NODE_BOOL;
	return is_number(s) ? NODE_NUMBER : NODE_STRING;
}

/* The kind that a core tag asks for; -1 if the tag is not one for this sort of node, or the text does not fit. */
static int tagged_kind(const char *tag, const char *text)
{
	static const struct {
		const char *tag;
		enum node_kind kind;
	} core[] = {{YAML_NULL_TAG, NODE_NULL},
		    {YAML_BOOL_TAG, NODE_BOOL},
		    {YAML_INT_TAG, NODE_NUMBER},
		    {YAML_FLOAT_TAG, NODE_NUMBER}};

	if (strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, "!") == 0)
		return NODE_STRING;
	for (size_t i = 0; i < sizeof(core) / sizeof(*core); i++)
		if (strcmp(tag, core[i].tag) == 0 && plain_kind(text) == core[i].kind)
			return core[i].kind;
	return -1;
}

static struct node *new_node(struct yaml_reader *r, enum node_kind kind, yaml_mark_t mark)
{
	struct node *n = arena_alloc(r->arena, sizeof(*n));

	n->kind = kind;
	n->line = (unsigned)mark.line + 1;
	n->column = (unsigned)mark.column + 1;
	return n;
}

static struct node *read_scalar(struct yaml_reader *r, const yaml_event_t *e, const struct place *p)
{
	const char *text = (const char *)e->data.scalar.value;
	size_t n = e->data.scalar.length;
	struct node *node = new_node(r, NODE_STRING, e->start_mark);
	int kind = NODE_STRING;

	if (memchr(text, 0, n)) {
		fault(r, p, e->start_mark, "InvalidCharacter", "text without NUL was expected");
		n = strlen(text);
	}
	node->text = arena_strn(r->arena, text, n);
	if (e->data.scalar.tag)
		kind = tagged_kind((const char *)e->data.scalar.tag, node->text);
	else if (e->data.scalar.plain_implicit)
		kind = (int)plain_kind(node->text);
	if (kind < 0) {
		fault(r, p, e->start_mark, "UnsupportedTag", "no tag, or a core tag that fits the value, was expected");
		kind = NODE_STRING;
	}
	node->kind = (enum node_kind)kind;
	return node;
}

/* Children are collected in a list that doubles; what is left behind goes with the arena. */
struct builder {
	size_t cap;
	struct node *node;
};

static void add_child(struct yaml_reader *r, struct builder *b, const char *key, struct node *child)
{
	struct node *n = b->node;

	if (n->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 4;
		struct node **items = arena_alloc(r->arena, cap * sizeof(*items));
		const char **keys = n->kind == NODE_MAP ? arena_alloc(r->arena, cap * sizeof(*keys)) : NULL;

		if (n->n) {
			memcpy(items, n->items, n->n * sizeof(*items));
			if (keys)
				memcpy(keys, n->keys, n->n * sizeof(*keys));
		}
		n->items = items;
		n->keys = keys;
		b->cap = cap;
	}
	if (n->kind == NODE_MAP)
		n->keys[n->n] = key;
	n->items[n->n++] = child;
}

static struct node *read_node(struct yaml_reader *r, yaml_event_t *e, const struct place *p);

/* Skips the rest of a collection whose start event has been read. */
static bool skip_collection(struct yaml_reader *r)
{
	size_t depth = 1;

	while (depth > 0) {
		yaml_event_t e;

		if (!next_event(r, &e))
			return false;
		if (e.type == YAML_SEQUENCE_START_EVENT || e.type == YAML_MAPPING_START_EVENT)
			depth++;
		else if (e.type == YAML_SEQUENCE_END_EVENT || e.type == YAML_MAPPING_END_EVENT)
			depth--;
		yaml_event_delete(&e);
		if (depth > KUBE_MAX_DEPTH)
			return false;
	}
	return true;
}

static struct node *read_list(struct yaml_reader *r, struct node *list, const struct place *p)
{
	struct builder b = {.node = list};

	for (;;) {
		struct place here = {.up = p, .index = list->n, .depth = p->depth + 1};
		struct node *child;
		yaml_event_t e;

		if (!next_event(r, &e))
			return NULL;
		if (e.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&e);
			return list;
		}
		child = read_node(r, &e, &here);
		if (!child)
			return NULL;
		if (!r->is_skipping)
			add_child(r, &b, NULL, child);
	}
}

static void check_duplicate_keys(struct yaml_reader *r, const struct node *map, const struct place *p)
{
	size_t i = node_find_duplicate_key(map);

	if (i < map->n) {
		struct place here = {.up = p, .key = map->keys[i]};
		yaml_mark_t mark = {.line = map->items[i]->line - 1, .column = map->items[i]->column - 1};

		fault(r, &here, mark, "DuplicateKey", "each key once was expected");
	}
}

/* The text of the key that begins with e, which is consumed; NULL: syntax error. */
static const char *read_key(struct yaml_reader *r, yaml_event_t *e, const struct place *p)
{
	const char *key = "";

	if (e->type == YAML_SCALAR_EVENT) {
		const char *text = (const char *)e->data.scalar.value;

		if (e->data.scalar.plain_implicit && strcmp(text, "<<") == 0)
			fault(r, p, e->start_mark, "MergeKey",
			      "a key of its own was expected: merge keys are not taken");
		if (memchr(text, 0, e->data.scalar.length))
			fault(r, p, e->start_mark, "InvalidCharacter", "a key without NUL was expected");
		key = arena_strn(r->arena, text, strlen(text));
		yaml_event_delete(e);
		return key;
	}
	fault(r, p, e->start_mark, "InvalidKey", "a scalar as key was expected");
	return read_node(r, e, p) ? key : NULL;
}

static struct node *read_map(struct yaml_reader *r, struct node *map, const struct place *p)
{
	struct builder b = {.node = map};

	for (;;) {
		struct place here = {.up = p, .depth = p->depth + 1};
		struct node *child;
		yaml_event_t e;

		if (!next_event(r, &e))
			return NULL;
		if (e.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&e);
			check_duplicate_keys(r, map, p);
			return map;
		}
		here.key = read_key(r, &e, p);
		if (!here.key || !next_event(r, &e))
			return NULL;
		child = read_node(r, &e, &here);
		if (!child)
			return NULL;
		if (!r->is_skipping)
			add_child(r, &b, here.key, child);
	}
}

/* The node that begins with e, which is consumed. NULL: syntax error, or too deep to read on. */
static struct node *read_node(struct yaml_reader *r, yaml_event_t *e, const struct place *p)
{
	yaml_event_type_t type = e->type;
	const char *tag = "";
	struct node *n;

	if (type == YAML_SCALAR_EVENT) {
		n = r->is_skipping ? new_node(r, NODE_NULL, e->start_mark) : read_scalar(r, e, p);
		yaml_event_delete(e);
		return n;
	}
	if (type == YAML_ALIAS_EVENT) {
		fault(r, p, e->start_mark, "AliasNotAllowed", "the value itself was expected: aliases are not taken");
		n = new_node(r, NODE_NULL, e->start_mark);
		yaml_event_delete(e);
		return n;
	}
	if (type == YAML_MAPPING_START_EVENT)
		tag = e->data.mapping_start.tag ? (const char *)e->data.mapping_start.tag : YAML_MAP_TAG;
	else
		tag = e->data.sequence_start.tag ? (const char *)e->data.sequence_start.tag : YAML_SEQ_TAG;
	if (strcmp(tag, type == YAML_MAPPING_START_EVENT ? YAML_MAP_TAG : YAML_SEQ_TAG) != 0)
		fault(r, p, e->start_mark, "UnsupportedTag", "no tag, or a core tag that fits the value, was expected");
	n = new_node(r, type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST, e->start_mark);
	if (p->depth >= KUBE_MAX_DEPTH) {
		fault(r, p, e->start_mark, "TooDeep", "at most 64 levels of lists and maps were expected");
		yaml_event_delete(e);
		return NULL; /* libyaml's time goes with the square of the depth: reading on could take for ever */
	}
	yaml_event_delete(e);
	if (r->is_skipping)
		return skip_collection(r) ? n : NULL;
	return type == YAML_MAPPING_START_EVENT ? read_map(r, n, p) : read_list(r, n, p);
}

enum yaml_outcome yaml_reader_next(struct yaml_reader *r, struct node **root)
{
	static const struct place top;

	*root = NULL;
	memset(&r->fault, 0, sizeof(r->fault));
	for (;;) {
		yaml_event_type_t type;
		yaml_event_t e;

		if (!next_event(r, &e))
			return YAML_SYNTAX;
		type = e.type;
		if (type == YAML_DOCUMENT_START_EVENT) {
			r->doc_start = e.end_mark.index;
			r->is_skipping = false;
		}
		if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT ||
		    type == YAML_STREAM_END_EVENT || type == YAML_DOCUMENT_END_EVENT || type == YAML_NO_EVENT) {
			yaml_event_delete(&e);
			if (type == YAML_STREAM_END_EVENT || type == YAML_NO_EVENT)
				return YAML_END;
			if (type == YAML_DOCUMENT_END_EVENT)
				return YAML_DOC;
			continue;
		}
		*root = read_node(r, &e, &top);
		if (!*root)
			return YAML_SYNTAX;
		if ((*root)->kind == NODE_NULL && !r->fault.reason)
			*root = NULL;
	}
}
