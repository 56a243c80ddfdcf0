/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the pieces of a reply begin and end: see json.h. Only as much of the
 * grammar is looked at as that takes; json_parse() is strict about each piece.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"

void json_split_init(struct json_split *s, enum json_mode mode)
{
	memset(s, 0, sizeof(*s));
	s->mode = mode;
	s->state = mode == JSON_LIST ? JSON_AT_TOP : JSON_AT_ITEM;
	s->is_first = true;
}

static void piece_free(struct json_split *s)
{
	if (s->is_secret && s->piece)
		explicit_bzero(s->piece, s->cap);
	free(s->piece);
	s->piece = NULL;
}

void json_split_fini(struct json_split *s)
{
	piece_free(s);
	memset(s, 0, sizeof(*s));
}

bool json_split_is_whole(const struct json_split *s)
{
	return s->mode == JSON_WATCH ? s->state == JSON_AT_ITEM : s->state == JSON_AT_END && s->has_items;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Memory follows the piece, and is given back after a large one. */
static void piece_clear(struct json_split *s)
{
	s->n = 0;
	if (s->cap > JSON_MAX_PIECE / 16) {
		piece_free(s);
		s->cap = 0;
	}
}

/* As realloc(), which might leave the bytes where they were. */
static void piece_grow(struct json_split *s, size_t cap)
{
	char *p = malloc(cap);

	if (!p) {
		perror("weir: memory for Kubernetes objects");
		abort();
	}
	if (s->n)
		memcpy(p, s->piece, s->n);
	piece_free(s);
	s->piece = p;
	s->cap = cap;
}

static void piece_add(struct json_split *s, const char *p, size_t n)
{
	if (!s->is_kept || s->is_too_large)
		return;
	if (s->n + n > JSON_MAX_PIECE) {
		s->is_too_large = true;
		if (s->n >= JSON_HEAD_BYTES) {
			s->n = JSON_HEAD_BYTES;
			return;
		}
		n = JSON_HEAD_BYTES - s->n;
	}
	if (s->n + n > s->cap) {
		size_t cap = s->cap ? s->cap : 4096;

		while (cap < s->n + n)
			cap *= 2;
		piece_grow(s, cap);
	}
	memcpy(s->piece + s->n, p, n);
	s->n += n;
}

static void begin_value(struct json_split *s, bool is_item)
{
	s->state = JSON_IN_VALUE;
	s->is_item = is_item;
	s->is_kept = is_item || strcmp(s->key, "kind") == 0 || strcmp(s->key, "metadata") == 0;
	s->is_too_large = s->is_in_string = s->is_escaped = s->is_scalar = false;
	s->depth = 0;
	piece_clear(s);
}

/* What of p belongs to the value; *is_end: it ends there. */
static size_t value_span(struct json_split *s, const char *p, size_t n, bool *is_end)
{
	*is_end = false;
	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		if (s->is_in_string) {
			if (s->is_escaped)
				s->is_escaped = false;
			else if (c == '\\')
				s->is_escaped = true;
			else if (c == '"')
				s->is_in_string = false;
			*is_end = !s->is_in_string && s->depth == 0;
		} else if (c == '"' && !s->is_scalar) {
			s->is_in_string = true;
		} else if (c == '{' || c == '[') {
			s->depth++;
		} else if ((c == '}' || c == ']') && s->depth > 0) {
			*is_end = --s->depth == 0;
		} else if (s->depth == 0) {
			if (is_space(c) || strchr(",}]\"", c)) {
				*is_end = true;
				return i; /* a number or a word ends before this */
			}
			s->is_scalar = true;
		}
		if (*is_end)
			return i + 1;
	}
	return n;
}

static enum json_outcome end_value(struct json_split *s)
{
	bool is_null = s->is_scalar && s->n == 4 && memcmp(s->piece, "null", 4) == 0;

	if (s->mode == JSON_LIST)
		s->state = s->is_item ? JSON_AT_ITEM : JSON_AT_KEY;
	else
		s->state = JSON_AT_ITEM;
	s->is_first = s->has_comma = false;
	if (s->is_too_large)
		return JSON_TOO_LARGE;
	if (!s->is_item && strcmp(s->key, "items") == 0) {
		s->has_items |= is_null;
		return is_null ? JSON_MORE : JSON_BAD;
	}
	if (!s->is_kept)
		return JSON_MORE;
	return s->is_item ? JSON_ITEM : JSON_FIELD;
}

/* Before a key or an item. False: c cannot stand here. */
static bool take_comma(struct json_split *s, char c, bool *is_comma)
{
	*is_comma = c == ',' && s->mode == JSON_LIST;
	if (*is_comma) {
		if (s->is_first || s->has_comma)
			return false;
		s->has_comma = true;
		return true;
	}
	if (c == '}' || c == ']')
		return !s->has_comma;
	return s->mode == JSON_WATCH || s->is_first || s->has_comma;
}

static bool take_key_start(struct json_split *s, char c)
{
	bool is_comma;

	if (!take_comma(s, c, &is_comma))
		return false;
	if (is_comma)
		return true;
	if (c == '}') {
		s->state = JSON_AT_END;
		return true;
	}
	s->state = JSON_IN_KEY;
	s->n_key = 0;
	return c == '"';
}

static bool take_value_start(struct json_split *s, char c)
{
	if (c == '[' && strcmp(s->key, "items") == 0) {
		if (s->has_items)
			return false;
		s->has_items = s->is_first = true;
		s->has_comma = false;
		s->state = JSON_AT_ITEM;
		return true;
	}
	begin_value(s, false);
	s->is_kept |= strcmp(s->key, "items") == 0; /* null, or it is wrong */
	return true;
}

static void take_key_char(struct json_split *s, char c)
{
	if (s->is_escaped)
		s->is_escaped = false;
	else if (c == '\\')
		s->is_escaped = true;
	else if (c == '"') {
		s->key[s->n_key] = 0;
		s->state = JSON_AT_COLON;
		return;
	}
	if (s->n_key < sizeof(s->key) - 1) /* a longer one is none that we know */
		s->key[s->n_key++] = c;
}

/* One byte outside of values. False: it cannot stand there. *is_value: a value begins with it. */
static bool take_char(struct json_split *s, char c, bool *is_value)
{
	bool is_comma;

	*is_value = false;
	if (s->state == JSON_IN_KEY) {
		take_key_char(s, c);
		return true;
	}
	if (is_space(c))
		return true;
	switch (s->state) {
	case JSON_AT_TOP:
		s->state = JSON_AT_KEY;
		return c == '{';
	case JSON_AT_KEY:
		return take_key_start(s, c);
	case JSON_AT_COLON:
		s->state = JSON_AT_VALUE;
		return c == ':';
	case JSON_AT_VALUE:
		*is_value = !(c == '[' && strcmp(s->key, "items") == 0);
		return !strchr(",:}]", c) && take_value_start(s, c);
	case JSON_AT_ITEM:
		if (!take_comma(s, c, &is_comma))
			return false;
		if (is_comma)
			return true;
		if (c == ']' && s->mode == JSON_LIST) {
			s->state = JSON_AT_KEY;
			s->is_first = false;
			return true;
		}
		*is_value = c == '{';
		begin_value(s, true);
		return c == '{';
	default:
		return false;
	}
}

enum json_outcome json_split_take(struct json_split *s, const char **data, size_t *n)
{
	while (*n > 0 && s->state != JSON_IS_BAD) {
		enum json_outcome outcome = JSON_MORE;
		bool is_value = true;
		bool is_end;
		size_t span;

		if (s->state != JSON_IN_VALUE && !take_char(s, **data, &is_value)) {
			s->state = JSON_IS_BAD;
			return JSON_BAD;
		}
		if (!is_value || s->state != JSON_IN_VALUE) {
			(*data)++;
			(*n)--;
			continue;
		}
		span = value_span(s, *data, *n, &is_end);
		piece_add(s, *data, span);
		*data += span;
		*n -= span;
		if (is_end)
			outcome = end_value(s);
		if (outcome == JSON_BAD)
			s->state = JSON_IS_BAD;
		if (outcome != JSON_MORE)
			return outcome;
	}
	return s->state == JSON_IS_BAD ? JSON_BAD : JSON_MORE;
}
