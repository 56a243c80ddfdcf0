/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a piece is about that cannot be read: one of which only the beginning
 * was kept, or one that is not JSON somewhere. Only the way to the names is
 * looked at, in the order of the bytes, until they are found or it ends.
 */
#include <string.h>

#include "kube/json.h"

struct scan {
	const char *p, *end;
};

enum place { AT_EVENT, AT_OBJECT, AT_METADATA };

static void skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n'))
		s->p++;
}

static bool take(struct scan *s, char c)
{
	skip_space(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

/* A string into out, "" if it has no room, or escapes, which no name has. False: there is none, or not all of it. */
static bool take_string(struct scan *s, char *out, size_t cap)
{
	const char *from;
	bool is_plain = true;

	out[0] = 0;
	if (!take(s, '"'))
		return false;
	for (from = s->p; s->p < s->end && *s->p != '"'; s->p++) {
		is_plain &= (unsigned char)*s->p >= 0x20 && *s->p != '\\';
		if (*s->p == '\\' && ++s->p == s->end)
			return false;
	}
	if (s->p == s->end)
		return false;
	if (is_plain && (size_t)(s->p - from) < cap) {
		memcpy(out, from, (size_t)(s->p - from));
		out[s->p - from] = 0;
	}
	s->p++;
	return true;
}

static bool skip_value(struct scan *s)
{
	char none[1];
	size_t depth = 0;

	do {
		skip_space(s);
		if (s->p == s->end)
			return false;
		if (*s->p == '"') {
			if (!take_string(s, none, sizeof(none)))
				return false;
		} else if (*s->p == '{' || *s->p == '[') {
			depth++;
			s->p++;
		} else if (*s->p == '}' || *s->p == ']') {
			if (depth-- == 0)
				return false;
			s->p++;
		} else if (depth > 0 && strchr(",:", *s->p)) {
			s->p++;
		} else {
			const char *from = s->p;

			while (s->p < s->end && !strchr(" \t\r\n,:{}[]\"", *s->p))
				s->p++;
			if (s->p == from)
				return false;
		}
	} while (depth > 0);
	return true;
}

/* The members of a map; false: its end was not found, and what follows cannot be told. */
static bool take_map(struct scan *s, enum place place, struct json_names *out)
{
	char key[16];
	bool is_well = take(s, '{');

	while (is_well && !take(s, '}')) {
		is_well = take_string(s, key, sizeof(key)) && take(s, ':');
		if (!is_well)
			break;
		if (place == AT_EVENT && strcmp(key, "type") == 0)
			is_well = take_string(s, out->type, sizeof(out->type));
		else if (place == AT_EVENT && strcmp(key, "object") == 0)
			is_well = take_map(s, AT_OBJECT, out);
		else if (place == AT_OBJECT && strcmp(key, "metadata") == 0)
			is_well = take_map(s, AT_METADATA, out);
		else if (place == AT_METADATA && strcmp(key, "name") == 0)
			is_well = take_string(s, out->name, sizeof(out->name));
		else if (place == AT_METADATA && strcmp(key, "namespace") == 0)
			is_well = take_string(s, out->ns, sizeof(out->ns));
		else
			is_well = skip_value(s);
		take(s, ',');
	}
	return is_well;
}

void json_names(struct json_names *out, const char *piece, size_t n, enum json_mode mode)
{
	struct scan s = {.p = piece, .end = piece + n};

	memset(out, 0, sizeof(*out));
	take_map(&s, mode == JSON_WATCH ? AT_EVENT : AT_OBJECT, out);
}
