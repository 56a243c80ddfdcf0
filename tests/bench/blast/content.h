/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent, as pure functions of a request's id and of its response's body
 * size: so a connection keeps no data to send it again, an answer that belongs
 * to another request is noticed, and each byte of a body can be checked where
 * it arrives.
 *
 *   GET /SSSSSSSS/IIIIIIII HTTP/1.1       size and id, in hexadecimal digits
 *   GET /pNN/SSSSSSSS/IIIIIIII HTTP/1.1   the same spread over paths, with Host: hNNNNN.routes.example.com
 */
#ifndef BLAST_CONTENT_H
#define BLAST_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BODY_MAX (1u << 20)
#define CONTENT_HEAD_MAX 512

struct content {
	const char *host;
	uint32_t n_hosts, n_paths; /* that requests are spread over; 0: they are not */
	size_t size_at, host_at;   /* of the digits in a request */
	size_t n_request, n_request_close; /* lengths of the two kinds of request */
	char request[CONTENT_HEAD_MAX], request_close[CONTENT_HEAD_MAX];
	uint8_t *pattern; /* what bodies are cut out of */
	/* the response head for this size, but for its id */
	uint32_t head_size;
	size_t n_head, id_at;
	char head[CONTENT_HEAD_MAX];
};

/* host: of the Host field. 0, or -ENOMEM, or -EINVAL (host too long). */
int content_init(struct content *c, const char *host);
/* Spreads requests over so many hosts and paths by their ids; 0, 0: not any more. -EINVAL: too many. */
int content_spread(struct content *c, uint32_t n_hosts, uint32_t n_paths);
void content_fini(struct content *c);

/* Length of a request; is_last: with "Connection: close". */
size_t content_request_length(const struct content *c, int is_last);
/* Length of a response, head and body. */
size_t content_response_length(struct content *c, uint32_t size);

/* Bytes off .. off + n - 1 of a request or response. */
void content_request(const struct content *c, int is_last, uint32_t id, uint32_t size, size_t off, size_t n, uint8_t *out);
void content_response(struct content *c, uint32_t id, uint32_t size, size_t off, size_t n, uint8_t *out);

/* The bytes of id's body, BODY_MAX of them. */
const uint8_t *content_body(const struct content *c, uint32_t id);
/* True if p[0 .. n - 1] are the bytes of id's body from off on. */
int content_is_body(const struct content *c, uint32_t id, size_t off, const uint8_t *p, size_t n);

/* A request's head, from its first byte. Its length; 0: not all there yet; -1: not what was sent. */
long content_read_request(const uint8_t *p, size_t n, uint32_t *id, uint32_t *size);
struct request_head {
	uint32_t id, size;
	uint64_t length; /* of the body, if it is not chunked */
	bool is_post, is_chunked;
};

/* Likewise of a GET or POST. */
long content_read_any(const uint8_t *p, size_t n, struct request_head *out);
/* True if that head asks for the connection's end. */
int content_is_last_request(const uint8_t *p, size_t n);

struct response_head {
	unsigned status;
	int has_length, has_id, is_close, is_chunked;
	uint64_t length;
	uint32_t id;
};

/* A response's head, likewise. -1: malformed. */
long content_read_response(const uint8_t *p, size_t n, struct response_head *out);

#endif
