/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message model that the HTTP versions share: a parsed head is slices
 * into memory that the request owns. RFC 9110.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define HTTP_MAX_FIELDS 128 /* compiled bound; limits may be lower */

/* Methods that Weir treats in a way of their own; all others are OTHER, by name. X(enumerator, text) */
#define HTTP_METHODS(X) \
	X(GET, "GET") X(HEAD, "HEAD") X(POST, "POST") X(PUT, "PUT") X(DELETE, "DELETE") X(CONNECT, "CONNECT") \
	X(OPTIONS, "OPTIONS") X(TRACE, "TRACE") X(PATCH, "PATCH")

enum http_method {
	HTTP_METHOD_OTHER,
#define X(name, str) HTTP_METHOD_##name,
	HTTP_METHODS(X)
#undef X
};

/* Fields that the parser or the proxy looks at; all others are OTHER. X(enumerator, name in lower case) */
#define HTTP_FIELDS(X) \
	X(HOST, "host") \
	X(CONTENT_LENGTH, "content-length") \
	X(TRANSFER_ENCODING, "transfer-encoding") \
	X(CONNECTION, "connection") \
	X(KEEP_ALIVE, "keep-alive") \
	X(PROXY_CONNECTION, "proxy-connection") \
	X(TE, "te") \
	X(TRAILER, "trailer") \
	X(UPGRADE, "upgrade") \
	X(EXPECT, "expect") \
	X(DATE, "date") \
	X(SERVER, "server") \
	X(VIA, "via") \
	X(MAX_FORWARDS, "max-forwards") \
	X(FORWARDED, "forwarded") \
	X(X_FORWARDED_FOR, "x-forwarded-for") \
	X(X_FORWARDED_PROTO, "x-forwarded-proto") \
	X(X_FORWARDED_HOST, "x-forwarded-host") \
	X(X_FORWARDED_PORT, "x-forwarded-port") \
	X(X_FORWARDED_CLIENT_CERT, "x-forwarded-client-cert") \
	X(CLIENT_CERT, "client-cert") \
	X(CLIENT_CERT_CHAIN, "client-cert-chain") \
	X(X_REQUEST_ID, "x-request-id") \
	X(EARLY_DATA, "early-data") \
	X(PROXY_AUTHENTICATE, "proxy-authenticate") \
	X(PROXY_AUTHORIZATION, "proxy-authorization") \
	X(PROXY_AUTHENTICATION_INFO, "proxy-authentication-info") \
	X(COOKIE, "cookie") \
	X(USER_AGENT, "user-agent") \
	X(REFERER, "referer")

enum http_field_id {
	HTTP_FIELD_OTHER,
#define X(name, str) HTTP_FIELD_##name,
	HTTP_FIELDS(X)
#undef X
		HTTP_N_FIELD_IDS
};

static_assert(HTTP_N_FIELD_IDS <= 32, "a bit for each in struct http_head's seen");

static inline uint32_t http_field_bit(enum http_field_id id)
{
	return (uint32_t)1 << id;
}

struct http_field {
	struct slice name;  /* as received */
	struct slice value; /* without surrounding white space */
	uint8_t id;	    /* enum http_field_id */
	bool hop_by_hop;    /* RFC 9110 7.6.1: by its kind, or named in Connection: not forwarded */
};

enum http_body_kind {
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CHUNKED,
	HTTP_BODY_UNTIL_CLOSE, /* responses only */
};

/* A request or response head. Slices point into the parser's buffer. */
struct http_head {
	/* requests */
	uint8_t method; /* enum http_method */
	struct slice method_name;
	struct slice target; /* as received, for "OPTIONS *" and logs */
	struct slice path;   /* begins with '/', or "*"; without query; percent-encoding as received */
	struct slice query;  /* without '?'; p NULL: there was none */
	struct slice host;   /* lower case, without port and trailing dot; IPv6 literals with brackets */
	struct slice authority; /* Host (or the absolute-form's authority) with port, lower case */
	bool expect_continue;
	bool is_https; /* absolute-form of an https URI */
	bool takes_trailers; /* TE: trailers (RFC 9110 10.1.4) */
	bool has_max_forwards; /* OPTIONS and TRACE only (RFC 9110 7.6.2); its field counts as hop_by_hop then */
	uint32_t max_forwards;
	/* responses */
	uint16_t status;
	struct slice reason;
	/* both */
	uint8_t minor; /* HTTP/1.minor */
	bool keep_alive; /* what the message says of its connection (version and Connection) */
	bool has_upgrade; /* Upgrade, named in Connection */
	bool names_fields; /* Connection may name fields: their like is not passed on as a trailer either (RFC 9110 7.6.1) */
	uint8_t body;	 /* enum http_body_kind, by RFC 9112 6.3 */
	uint64_t content_length; /* body LENGTH; also of HEAD and 304 answers where has_length */
	bool has_length;
	uint16_t n_fields;
	uint32_t seen, seen_again; /* kinds of fields that occur, and those that do more than once: http_field_bit() */
	struct http_field fields[HTTP_MAX_FIELDS];
};

/* The method's name, or NULL for OTHER. */
const char *http_method_name(enum http_method m);
enum http_method http_method_find(struct slice name);
/*
 * By name in any case; HTTP_FIELD_OTHER if not listed. Names about client certificates may have '_' for '-': applications
 * that are given fields as variables (RFC 3875 4.1.18) cannot tell them apart.
 */
enum http_field_id http_field_find(struct slice name);
/* The first field of this kind, or NULL. */
const struct http_field *http_head_get(const struct http_head *h, enum http_field_id id);
/* RFC 9110 9.2.2. */
bool http_method_is_idempotent(enum http_method m);
/* "Sun, 06 Nov 1994 08:49:37 GMT", without NUL, of seconds since 1970-01-01; years up to 9999 (RFC 9110 5.6.7, IMF-fixdate). */
#define HTTP_DATE_LEN 29
void http_date_format(char out[HTTP_DATE_LEN], uint64_t unix_s);
/* The registered reason phrase, or "". */
const char *http_status_reason(unsigned status);

#endif
