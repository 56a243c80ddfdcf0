/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from an API server (RFC 8259). json_split cuts the bytes of a LIST
 * reply or a watch stream, as they come, into pieces: one item, one event.
 * What it holds is at most one piece. json_parse makes a piece a node tree.
 */
#ifndef KUBE_JSON_H
#define KUBE_JSON_H

#include "kube/node.h"

#define JSON_MAX_PIECE (3u << 20) /* bytes: as much as the API server takes in one request */
#define JSON_HEAD_BYTES 65536u	  /* of a piece that is too large: so much of its beginning is kept */
#define JSON_MAX_DEPTH 64u	  /* of lists and maps in one piece */
#define JSON_MAX_KEY 64u	  /* bytes of a key of the list itself that are looked at */

struct arena;

enum json_mode {
	JSON_LIST,  /* {"kind":..., "metadata":..., "items":[ITEM, ...]} */
	JSON_WATCH, /* EVENT EVENT ... */
};

enum json_outcome {
	JSON_MORE,	/* all bytes are taken */
	JSON_ITEM,	/* the piece is an item of "items", or an event */
	JSON_FIELD,	/* the piece is the value of the list's own field `key` ("kind", "metadata"; others are passed over) */
	JSON_TOO_LARGE, /* a piece was passed over, of which the beginning is there; the next ones can be had */
	JSON_BAD,	/* no JSON, or no list: nothing can be had any more */
};

enum json_state {
	JSON_AT_TOP, /* before the list */
	JSON_AT_KEY,
	JSON_IN_KEY,
	JSON_AT_COLON,
	JSON_AT_VALUE,
	JSON_AT_ITEM, /* in "items" or the stream, before an item */
	JSON_IN_VALUE,
	JSON_AT_END, /* behind the list */
	JSON_IS_BAD,
};

struct json_split {
	enum json_mode mode;
	enum json_state state;
	bool is_item;	    /* IN_VALUE: of "items" or the stream */
	bool is_kept;	    /* IN_VALUE: not passed over */
	bool is_too_large;  /* IN_VALUE */
	bool is_in_string, is_escaped, is_scalar;
	bool has_comma, is_first; /* what may stand here */
	bool has_items;	    /* "items" was there: null or a list */
	bool is_secret;	    /* set by who wants it, after json_split_init(): memory of pieces is overwritten before it is given back */
	uint32_t depth;
	char key[JSON_MAX_KEY];
	size_t n_key;
	char *piece;
	size_t n, cap;
};

void json_split_init(struct json_split *s, enum json_mode mode);
void json_split_fini(struct json_split *s);
/*
 * Takes bytes from *data until a piece is whole, and moves *data and *n behind
 * them. The piece (s->piece, s->n bytes, no NUL) is valid until the next call.
 */
enum json_outcome json_split_take(struct json_split *s, const char **data, size_t *n);
/* The list is complete, with "items", or the stream is between two events. */
bool json_split_is_whole(const struct json_split *s);

/* "" where not found. */
struct json_names {
	char type[16]; /* of an event */
	char ns[64], name[254];
};

/*
 * The names in the metadata of a piece that json_parse() does not take, or of
 * the beginning of one, as far as they stand before what is wrong with it.
 */
void json_names(struct json_names *out, const char *piece, size_t n, enum json_mode mode);

struct json_fault {
	const char *text; /* NULL: none */
	size_t offset;	  /* byte of the piece */
};

/*
 * One JSON value, and nothing behind it. Lines and columns of its nodes are 0.
 * NULL and *fault if it is no JSON, not UTF-8, has NUL in a string or a key
 * twice in a map, or is deeper than JSON_MAX_DEPTH.
 */
struct node *json_parse(struct arena *a, const char *data, size_t n, struct json_fault *fault);

#endif
