/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on the wire: strict to RFC 9110 and 9112. What is ambiguous is
 * refused under a name, never guessed. Incremental: however the bytes are
 * split over calls, the outcome and the head are the same. Pure functions of
 * bytes: no clock, no connection.
 */
#ifndef HTTP1_HTTP1_H
#define HTTP1_HTTP1_H

#include "base/buf.h"
#include "http/http.h"

/* X(enumerator, status for the client, name, what is wrong). Extend freely; order is not ABI. */
#define HTTP1_BADS(X) \
	X(METHOD, 400, "bad_method", "method is not a token") \
	X(TARGET, 400, "bad_target", "request target has a byte or a form that it may not have") \
	X(VERSION, 400, "bad_version", "not HTTP/1.0 or HTTP/1.1") \
	X(VERSION_UNSUPPORTED, 505, "bad_version_unsupported", "an HTTP version that is not spoken here") \
	X(BARE_CR, 400, "bad_bare_cr", "CR without LF") \
	X(BARE_LF, 400, "bad_bare_lf", "LF without CR") \
	X(FIELD_NAME, 400, "bad_field_name", "header name is not a token, or has white space before the colon") \
	X(FIELD_VALUE, 400, "bad_field_value", "header value has a control byte") \
	X(OBS_FOLD, 400, "bad_obs_fold", "header line begins with white space") \
	X(HOST_MISSING, 400, "bad_host_missing", "HTTP/1.1 request without Host") \
	X(HOST_MANY, 400, "bad_host_many", "more than one Host") \
	X(HOST, 400, "bad_host", "Host is not a host name, address, or port") \
	X(HOST_MISMATCH, 400, "bad_host_mismatch", "Host differs from the authority of the request target") \
	X(LENGTH, 400, "bad_length", "Content-Length is not a number, or there are several that differ") \
	X(LENGTH_AND_CHUNKED, 400, "bad_length_and_chunked", "both Content-Length and Transfer-Encoding") \
	X(TRANSFER_ENCODING, 400, "bad_transfer_encoding", "the last transfer coding is not chunked, or chunked is not there just once") \
	X(TRANSFER_CODING, 501, "bad_transfer_coding", "a transfer coding other than chunked") \
	X(TRANSFER_ENCODING_1_0, 400, "bad_transfer_encoding_1_0", "Transfer-Encoding in HTTP/1.0") \
	X(CONNECTION, 400, "bad_connection", "Connection is not a list of tokens") \
	X(MAX_FORWARDS, 400, "bad_max_forwards", "Max-Forwards of OPTIONS or TRACE is not a number, or is there twice") \
	X(EXPECT, 417, "bad_expect", "an expectation other than 100-continue") \
	X(STATUS_LINE, 502, "bad_status_line", "response status line is malformed") \
	X(CHUNK_SIZE, 400, "bad_chunk_size", "chunk size is not a hexadecimal number, or overflows") \
	X(CHUNK_EXTENSION, 400, "bad_chunk_extension", "chunk extension is malformed or too long") \
	X(CHUNK_END, 400, "bad_chunk_end", "chunk data are not followed by CRLF") \
	X(TRAILER, 400, "bad_trailer", "malformed trailer section, or too long") \
	X(LINE_TOO_LONG, 414, "bad_line_too_long", "request line over the limit") \
	X(HEADERS_TOO_LARGE, 431, "bad_headers_too_large", "header section over the limit") \
	X(TOO_MANY_FIELDS, 431, "bad_too_many_fields", "more header fields than the limit")

enum http1_outcome {
	HTTP1_DONE,
	HTTP1_MORE, /* all bytes were taken; more are needed */
#define X(name, status, str, help) HTTP1_BAD_##name,
	HTTP1_BADS(X)
#undef X
		HTTP1_N_OUTCOMES
};

static inline bool http1_is_bad(enum http1_outcome o)
{
	return o > HTTP1_MORE;
}

const char *http1_outcome_name(enum http1_outcome o); /* "done", "more", "bad_method", ... */
const char *http1_outcome_help(enum http1_outcome o);
unsigned http1_outcome_status(enum http1_outcome o); /* for a client's request; 0 unless bad */

struct http1_limits {
	uint32_t line_bytes;	/* request or status line */
	uint32_t headers_bytes; /* the whole head: lines and fields */
	uint16_t n_fields;	/* at most HTTP_MAX_FIELDS */
};

/*
 * Parses one head. The bytes are copied into buf (the caller's, at least
 * limits.headers_bytes), and head's slices point there: both live as long as
 * the request. A head that is parsed in place stays where it is instead.
 * Fields from state on are http1's own.
 */
struct http1_parser {
	struct http_head *head;
	char *buf;
	struct http1_limits limits;
	bool is_response;
	uint8_t request_method; /* responses: enum http_method of the request that is answered (HEAD has no body) */
	/* private */
	uint8_t state;
	bool is_in_place;    /* head's slices point into base */
	const char *base;    /* where the head lies, if it is parsed in place */
	uint32_t authority_at; /* there, of an authority that was put in lower case elsewhere */
	uint8_t n_empty;     /* empty lines skipped before the first line */
	uint32_t n;	     /* bytes in buf */
	uint32_t line_start; /* of the line in work */
};

/* Empty lines before a request line are skipped (RFC 9112 2.2), a bounded number of them. */
void http1_request_init(struct http1_parser *p, struct http_head *head, char *buf, const struct http1_limits *limits);
void http1_response_init(struct http1_parser *p, struct http_head *head, char *buf, const struct http1_limits *limits,
			 enum http_method request_method);

/* Takes bytes; *used says how many (all but when DONE: the body follows at data + *used). DONE and BAD_* are final. */
enum http1_outcome http1_parse(struct http1_parser *p, const char *data, size_t n, size_t *used);

/*
 * The same, as the first call for a head, for bytes in which it may be whole.
 * If it is, nothing of it is copied (but a host name with capitals):
 * http1_is_in_place() is true then, head's slices point into data, and the
 * caller keeps those *used bytes for as long as it needs them, or calls
 * http1_keep(). If it is not whole, all is as with http1_parse(), which goes on.
 */
enum http1_outcome http1_parse_in_place(struct http1_parser *p, const char *data, size_t n, size_t *used);
bool http1_is_in_place(const struct http1_parser *p);
/* Copies a head that was parsed in place into buf: the bytes may go. */
void http1_keep(struct http1_parser *p);

/* What a whole head left of buf: *n bytes, of any content. */
char *http1_rest(const struct http1_parser *p, size_t *n);

/* True if at least one byte of a message has been taken: an end of the connection now is not an orderly one. */
bool http1_has_begun(const struct http1_parser *p);

/* A message body as it arrives. */
struct http1_body {
	uint8_t kind; /* enum http_body_kind */
	uint8_t state;
	bool is_response;
	uint32_t line_bytes; /* of a chunk line or of the trailers, against the limit */
	uint64_t remaining;  /* of the body, or of the chunk in work */
	/* trailer fields */
	uint16_t n_trailers, n_trailers_dropped;
	uint32_t trailer_at; /* in trailers: the line in work */
	struct buf trailers; /* as http1_body_keep_trailers() has it; no memory: none is kept */
};

/* One step of a body: skip framing bytes, then data payload bytes, in the bytes that were given. */
struct http1_run {
	size_t skip;
	size_t data;
};

void http1_body_init(struct http1_body *b, const struct http_head *head, bool is_response);

/*
 * Trailer fields are to be kept, in n bytes at mem: more is BAD_TRAILER. Those
 * that no trailer may have are dropped (RFC 9110 6.5.1). Once the body is DONE,
 * http1_body_trailers() are the lines that are left, each with its CRLF.
 */
void http1_body_keep_trailers(struct http1_body *b, char *mem, size_t n);

static inline struct slice http1_body_trailers(const struct http1_body *b)
{
	return buf_get(&b->trailers);
}

/*
 * Looks at n bytes and takes run->skip + run->data of them. MORE: go on with
 * the bytes behind them (or with the next ones). DONE: the body ended behind
 * them. UNTIL_CLOSE is never DONE: the connection's end is. NONE is DONE at
 * once with n = 0. Trailers are read and checked, and dropped if they are not to be kept.
 */
enum http1_outcome http1_body_scan(struct http1_body *b, const char *data, size_t n, struct http1_run *run);

/* True if the body has ended (DONE was, or would be at once, returned). */
bool http1_body_is_done(const struct http1_body *b);

/* "<hex>\r\n" before a chunk of n bytes; "\r\n" follows the data, "0\r\n\r\n" the last chunk. */
void http1_write_chunk_size(struct buf *out, size_t n);

/* "name: value\r\n". */
void http1_write_field(struct buf *out, struct slice name, struct slice value);

/* A change of the fields of a message. The values are those of enum weir_header_op_kind. */
enum http1_change_kind {
	HTTP1_CHANGE_SET = 1, /* in the place of all fields of that name */
	HTTP1_CHANGE_ADD = 2, /* beside them */
	HTTP1_CHANGE_REMOVE = 3,
};

#define HTTP1_CHANGE_BYTES 8 /* what a change takes in a list besides its name and value */

/*
 * Appends a change to a list of them, for struct http1_forward: one behind
 * another, in the order in which they are done, in memory of any alignment.
 * Names, values and that they may be changed at all were checked before.
 */
void http1_change_add(struct buf *list, enum http1_change_kind kind, struct slice name, struct slice value);

/* How a request or response goes on from here. */
struct http1_forward {
	struct slice changes;	 /* of fields, X-Forwarded-* and X-Request-Id included; framing is not among them */
	struct slice host;	 /* requests: Host, if not empty */
	bool has_path;		 /* requests: the path becomes path_head and path_tail; both empty: "/" */
	struct slice path_head, path_tail;
	/* requests: where they came from; what is empty is not written */
	struct slice client_ip;	 /* appended to X-Forwarded-For */
	struct slice forwarded_proto, forwarded_host, forwarded_port; /* X-Forwarded-* */
	struct slice scheme;	 /* of this connection, for Forwarded */
	bool keep_forwarded_for; /* X-Forwarded-For as received stays, before client_ip */
	bool keep_forwarded;	 /* Forwarded as received stays; http1_is_forwarded() */
	bool add_forwarded;	 /* and an element is appended: client_ip, scheme, the authority (RFC 7239) */
	struct slice xfcc;	 /* requests: appended to X-Forwarded-Client-Cert, if not empty */
	bool keep_xfcc;		 /* that as received stays, before it */
	struct slice client_cert, client_cert_chain; /* requests: Client-Cert, Client-Cert-Chain, likewise */
	struct slice via;	 /* requests: appended to Via, if not empty */
	struct slice request_id; /* X-Request-Id: replaces (requests), or is added where absent (responses) */
	struct slice date;	 /* final responses: Date, where absent and if not empty (RFC 9110 6.6.1) */
	struct slice set_cookie; /* responses: the value of one more Set-Cookie, which changes do not touch; empty: none */
	bool early_data;	 /* requests: Early-Data: 1 (RFC 8470 5.1); as received it stays in any case */
	bool chunked;		 /* responses: the body will be sent chunked */
	bool upgrade;		 /* Connection: upgrade, and Upgrade: what the head asks for, or answers, of what may be asked for */
	bool close;		 /* Connection: close */
	bool keep_alive;	 /* responses to HTTP/1.0: Connection: keep-alive */
};

/*
 * The request for a backend, rebuilt from what was parsed: hop-by-hop fields,
 * Expect, Host, Content-Length, Transfer-Encoding, X-Forwarded-* and
 * Forwarded and those about client certificates as received are left out, but for what is to be kept; Host, framing
 * and forwarding fields are written anew. Max-Forwards is one less, where it is counted.
 */
void http1_write_request_head(struct buf *out, const struct http_head *h, const struct http1_forward *f);

/* The response for a client, likewise. 1xx heads are written without framing fields. */
void http1_write_response_head(struct buf *out, const struct http_head *h, const struct http1_forward *f);

/* True for a value of Forwarded that is one (RFC 7239 4). Its nodes are not looked at. */
bool http1_is_forwarded(struct slice value);
/* True for a host, with a port or without, as Host may have it. */
bool http1_is_authority(struct slice value);
/*
 * RFC 9110 7.8. True if the request asks for another protocol in a way that is
 * carried: HTTP/1.1, no body, Upgrade named in Connection and well-formed, a
 * WebSocket by GET. Versions of HTTP are left out of what it asks for, as if
 * they were not there: by them a request would get past whoever reads HTTP/1.1.
 */
bool http1_asks_upgrade(const struct http_head *request);
/* True if a 101 names in its Upgrade only what the request asks for, and at least one of it. */
bool http1_is_upgrade_of(const struct http_head *response, const struct http_head *request);
/*
 * A guess at a request's path and host from its first bytes, for who wants to
 * fetch what they will need: nothing is checked, and a request whose first
 * field is not Host is not understood (false). Both are parts of in.
 */
bool http1_glance(struct slice in, struct slice *path, struct slice *host);

/* True for a request id that a client may bring along: 1 to 128 visible ASCII characters. */
bool http1_is_request_id(struct slice id);

/*
 * A response of Weir's own, complete: status line, minimal headers (Date,
 * Content-Type: text/plain, Content-Length, X-Request-Id, Connection as
 * given; 405: Allow) and a one-line body "status reason: detail\n" (no body for HEAD).
 */
struct http1_error {
	unsigned status;
	struct slice detail;
	struct slice request_id, date; /* empty: none */
	bool keep_alive;
	bool is_old; /* to HTTP/1.0 */
	bool is_head;
};

void http1_write_error(struct buf *out, const struct http1_error *e);

/* A redirect of Weir's own (RFC 9110 15.4), without a body. */
struct http1_redirect {
	unsigned status;
	struct slice scheme, host;
	uint16_t port; /* 0: none in Location */
	struct slice path_head, path_tail; /* both empty: "/" */
	struct slice query;		   /* without '?'; p NULL: none */
	struct slice changes;		   /* of the answer's fields */
	struct slice request_id, date; /* here and below as of http1_write_error() */
	bool keep_alive, is_old;
};

void http1_write_redirect(struct buf *out, const struct http1_redirect *r);

#endif
