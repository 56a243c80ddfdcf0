/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON value to a node tree (RFC 8259), strict: what two readers could
 * understand in two ways (a key twice, bytes that are not UTF-8) is refused.
 */
#include "kube/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "kube/kube_pvt.h"

#define REPLACEMENT 0xfffdu /* Unicode's, for what cannot be said */

struct reader {
	struct arena *arena;
	const char *data;
	size_t n, at;
	const char *fault;
};

/* Children are collected here, and copied to their final array when their number is known. */
struct children {
	struct node **items;
	const char **keys;
	size_t n, cap;
};

static struct node *read_value(struct reader *r, unsigned depth);

static void *refuse(struct reader *r, const char *why)
{
	if (!r->fault)
		r->fault = why;
	return NULL;
}

static char peek(struct reader *r)
{
	while (r->at < r->n && strchr(" \t\r\n", r->data[r->at]) && r->data[r->at])
		r->at++;
	return r->at < r->n ? r->data[r->at] : 0;
}

static struct node *new_node(struct reader *r, enum node_kind kind)
{
	struct node *n = arena_alloc(r->arena, sizeof(*n));

	n->kind = kind;
	return n;
}

/* ---- strings ---- */

static int hex4(const struct reader *r, size_t at)
{
	int v = 0;

	if (at + 4 > r->n)
		return -1;
	for (size_t i = at; i < at + 4; i++) {
		char c = r->data[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;

		if (digit < 0)
			return -1;
		v = v * 16 + digit;
	}
	return v;
}

static char *put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

/*
 * "\uXXXX" at r->at, or two of them that are one character. NULL: wrong.
 * The API server takes NUL in annotations of anybody, and our texts end with
 * it: another character stands for it, lest one such object stop its kind.
 */
static char *read_unicode(struct reader *r, char *out)
{
	int c = hex4(r, r->at + 2);
	int low;

	if (c < 0)
		return refuse(r, "four hexadecimal digits were expected");
	r->at += 6;
	if (c == 0)
		return put_utf8(out, REPLACEMENT);
	if (c >= 0xdc00 && c <= 0xdfff)
		return refuse(r, "a whole character was expected");
	if (c >= 0xd800 && c <= 0xdbff) {
		low = r->at + 6 <= r->n && memcmp(r->data + r->at, "\\u", 2) == 0 ? hex4(r, r->at + 2) : -1;
		if (low < 0xdc00 || low > 0xdfff)
			return refuse(r, "a whole character was expected");
		r->at += 6;
		return put_utf8(out, 0x10000 + (((unsigned)c - 0xd800) << 10) + ((unsigned)low - 0xdc00));
	}
	return put_utf8(out, (unsigned)c);
}

static char *read_escape(struct reader *r, char *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *p;

	if (r->at + 1 >= r->n)
		return refuse(r, "the end of a string was expected");
	if (r->data[r->at + 1] == 'u')
		return read_unicode(r, out);
	p = r->data[r->at + 1] ? strchr(from, r->data[r->at + 1]) : NULL;
	if (!p)
		return refuse(r, "an escape of JSON was expected");
	*out++ = to[p - from];
	r->at += 2;
	return out;
}

/* The bytes between the quotes are at least as many as those of the text. */
static size_t string_bytes(const struct reader *r)
{
	size_t i = r->at;

	while (i < r->n && r->data[i] != '"')
		i += r->data[i] == '\\' ? 2 : 1;
	return (i < r->n ? i : r->n) - r->at;
}

static const char *read_string(struct reader *r)
{
	char *text;
	char *out;

	r->at++;
	text = out = arena_alloc(r->arena, string_bytes(r) + 1);
	while (r->at < r->n && r->data[r->at] != '"') {
		unsigned char c = (unsigned char)r->data[r->at];
		size_t len;

		if (c == '\\') {
			out = read_escape(r, out);
			if (!out)
				return NULL;
			continue;
		}
		len = c < 0x20 ? 0 : utf8_length((const unsigned char *)r->data + r->at, r->n - r->at);
		if (len == 0)
			return refuse(r, c < 0x20 ? "no control character was expected" : "UTF-8 was expected");
		memcpy(out, r->data + r->at, len);
		out += len;
		r->at += len;
	}
	if (r->at == r->n)
		return refuse(r, "the end of a string was expected");
	r->at++;
	*out = 0;
	return text;
}

/* ---- numbers and words ---- */

static size_t digits(const struct reader *r, size_t at)
{
	size_t i = at;

	while (i < r->n && r->data[i] >= '0' && r->data[i] <= '9')
		i++;
	return i - at;
}

static struct node *read_number(struct reader *r)
{
	size_t i = r->at + (r->data[r->at] == '-');
	size_t whole = digits(r, i);
	struct node *n;
	size_t more;

	if (whole == 0 || (whole > 1 && r->data[i] == '0'))
		return refuse(r, "a value was expected");
	i += whole;
	if (i < r->n && r->data[i] == '.') {
		more = digits(r, i + 1);
		if (more == 0)
			return refuse(r, "a digit was expected");
		i += 1 + more;
	}
	if (i < r->n && (r->data[i] == 'e' || r->data[i] == 'E')) {
		i++;
		i += i < r->n && (r->data[i] == '+' || r->data[i] == '-');
		more = digits(r, i);
		if (more == 0)
			return refuse(r, "a digit was expected");
		i += more;
	}
	n = new_node(r, NODE_NUMBER);
	n->text = arena_strn(r->arena, r->data + r->at, i - r->at);
	r->at = i;
	return n;
}

static struct node *read_word(struct reader *r)
{
	static const struct {
		const char *text;
		enum node_kind kind;
	} words[] = {{"null", NODE_NULL}, {"true", NODE_BOOL}, {"false", NODE_BOOL}};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		size_t n = strlen(words[i].text);
		struct node *node;

		if (r->n - r->at < n || memcmp(r->data + r->at, words[i].text, n) != 0)
			continue;
		r->at += n;
		node = new_node(r, words[i].kind);
		node->text = words[i].text;
		return node;
	}
	return read_number(r);
}

/* ---- lists and maps ---- */

static void *grow(void *p, size_t n)
{
	p = realloc(p, n);
	if (!p)
		abort();
	return p;
}

static void children_add(struct children *c, const char *key, struct node *child)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 8;
		c->items = grow(c->items, c->cap * sizeof(*c->items));
		c->keys = grow(c->keys, c->cap * sizeof(*c->keys));
	}
	c->keys[c->n] = key;
	c->items[c->n++] = child;
}

static void children_move(struct reader *r, struct children *c, struct node *to)
{
	if (c->n) {
		to->items = arena_alloc(r->arena, c->n * sizeof(*c->items));
		memcpy(to->items, c->items, c->n * sizeof(*c->items));
		if (to->kind == NODE_MAP) {
			to->keys = arena_alloc(r->arena, c->n * sizeof(*c->keys));
			memcpy(to->keys, c->keys, c->n * sizeof(*c->keys));
		}
	}
	to->n = c->n;
	free(c->items);
	free(c->keys);
}

/* One child, with its key if it is of a map. False: wrong. */
static bool read_child(struct reader *r, struct children *c, bool is_map, unsigned depth)
{
	const char *key = NULL;
	struct node *child;

	if (is_map) {
		if (peek(r) != '"')
			return refuse(r, "a key was expected");
		key = read_string(r);
		if (!key)
			return false;
		if (peek(r) != ':')
			return refuse(r, "':' was expected");
		r->at++;
	}
	child = read_value(r, depth + 1);
	if (!child)
		return false;
	children_add(c, key, child);
	return true;
}

static struct node *read_collection(struct reader *r, unsigned depth)
{
	bool is_map = r->data[r->at] == '{';
	char end = is_map ? '}' : ']';
	struct node *node = new_node(r, is_map ? NODE_MAP : NODE_LIST);
	struct children c = {0};

	if (depth >= JSON_MAX_DEPTH)
		return refuse(r, "at most 64 levels of lists and maps were expected");
	r->at++;
	if (peek(r) != end) {
		while (read_child(r, &c, is_map, depth) && peek(r) == ',')
			r->at++;
		if (peek(r) != end)
			refuse(r, "',' or the end of a list or map was expected");
	}
	r->at++;
	children_move(r, &c, node);
	if (!r->fault && is_map && node_find_duplicate_key(node) < node->n)
		return refuse(r, "each key once was expected");
	return r->fault ? NULL : node;
}

static struct node *read_value(struct reader *r, unsigned depth)
{
	char c = peek(r);
	struct node *n;

	if (c == '{' || c == '[')
		return read_collection(r, depth);
	if (c != '"')
		return c ? read_word(r) : refuse(r, "a value was expected");
	n = new_node(r, NODE_STRING);
	n->text = read_string(r);
	return n->text ? n : NULL;
}

struct node *json_parse(struct arena *a, const char *data, size_t n, struct json_fault *fault)
{
	struct reader r = {.arena = a, .data = data, .n = n};
	struct node *root = read_value(&r, 0);

	if (root && (peek(&r) != 0 || r.at < r.n))
		root = refuse(&r, "nothing more was expected");
	*fault = (struct json_fault){.text = r.fault, .offset = r.at < n ? r.at : n};
	return root;
}
