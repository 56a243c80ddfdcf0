/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-tlsload: clients of TLS (OpenSSL) and an origin in the clear, over the kernel's sockets, in one thread: the ends between
 * which a proxy that terminates TLS is measured. To reach a proxy at a memif, the same thread can carry frames between
 * that and a TAP device.
 *
 *   main.c    options, the loop, phases: one line says what is done, one JSON object what came of it
 *   client.c  connections of clients: handshakes, requests
 *   plain.c   requests in the clear beside them, at a rate, and how long each took
 *   origin.c  answers GET /N with N bytes
 *   bridge.c  frames between a TAP device and a memif
 */
#ifndef TLSLOAD_H
#define TLSLOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "../blast/hist.h"

#define MAX_CLIENTS 512u
#define MAX_PLAIN 64u
#define IO_BYTES 65536u

/* Who is called when a descriptor is ready; the first member of whatever has one. */
struct watched {
	void (*ready)(struct watched *w, uint32_t events);
	int fd;
};

/* What a phase does. */
struct work {
	double seconds, warmup;
	unsigned connections; /* at one time; 0: none of TLS */
	unsigned requests;    /* of a connection; 0: a handshake, its ticket, and the end */
	bool is_kept;	      /* connections stay, whatever requests says */
	bool is_resumed;      /* with a ticket of the same phase's first connection */
	int version;	      /* TLS1_2_VERSION, TLS1_3_VERSION */
	uint32_t size;	      /* of a body */
	uint16_t port;
	double rate;	      /* connections begun in a second at most; 0: as many as can be */
	double plain_rate;    /* requests in the clear in a second; 0: none */
	uint16_t plain_port;
};

struct counts {
	uint64_t handshakes, resumed, responses, body_bytes, errors;
	uint64_t reads; /* records of answers, or parts of such that are larger than a buffer */
};

struct load {
	int epoll;
	struct in_addr target;
	const char *host;    /* server name, and Host */
	int window;	     /* SO_RCVBUF of clients; 0: the kernel's choice */
	const char *ciphers; /* of TLS 1.3, in the order of preference */
	struct work work;
	struct counts counts;
	bool is_running; /* connections that end are made anew */
	double plain_next; /* when the next request in the clear is due */
	double next_at;	 /* of a phase with a rate: when the next connection may begin */
	char error[256]; /* the first one */
	SSL_CTX *tls[2]; /* of TLS 1.2, 1.3 */
	SSL_SESSION *session;
	struct hist plain; /* nanoseconds, from when a request was due */
	uint64_t plain_late; /* requests for which no connection was free when they were due */
};

double now_s(void);
/* Watches w->fd; -1 and a message if that fails. */
int watch(struct load *l, struct watched *w, uint32_t events);
void rewatch(struct load *l, struct watched *w, uint32_t events);
/* A socket that connects to the target, not blocking; -1 with a message. */
int connect_to(struct load *l, uint16_t port);
void note_error(struct load *l, const char *what);

/* client.c */
int client_init(struct load *l);
/* Begins what l->work says; with each iteration, client_step(). */
void client_begin(struct load *l);
void client_step(struct load *l);
/* No connection is begun any more; all that are open are closed. */
void client_end(struct load *l);

/* plain.c: as those. */
void plain_begin(struct load *l);
void plain_step(struct load *l);
void plain_end(struct load *l);

/* Reads an HTTP/1.1 response with Content-Length as it comes. */
struct response {
	char head[1024];
	uint32_t n_head;
	bool has_head;
	uint64_t left; /* of the body */
};
/* Takes n bytes. 1: it is whole (and nothing came behind it), 0: more is to come, -1: it is none that was wanted. */
int response_take(struct response *r, const char *data, size_t n, uint64_t *n_body);

/* origin.c: listens on addr ("A.B.C.D:PORT"); -1 with a message. */
int origin_init(struct load *l, const char *addr);

/* bridge.c */
struct bridge;
/* Makes a TAP device of this name, and a memif (arguments of DPDK's vdev). NULL with a message. */
struct bridge *bridge_create(const char *tap, const char *vdev);
/* Frames that were carried. */
unsigned bridge_poll(struct bridge *b);
void bridge_destroy(struct bridge *b);

#endif
