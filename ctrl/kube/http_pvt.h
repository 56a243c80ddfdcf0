/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within kube/: http.c has the requests and the waiting, transfer.c what
 * libcurl is told of one, lines.c the connections that they share.
 */
#ifndef KUBE_HTTP_PVT_H
#define KUBE_HTTP_PVT_H

#include <curl/curl.h>
#include <stdbool.h>

#include "kube/auth_pvt.h"
#include "kube/http.h"

enum call_state {
	CALL_WAITS, /* for credentials, or for the next kube_http_poll() */
	CALL_SENT,  /* it is libcurl's */
};

struct kube_call {
	struct kube_call *prev, *next; /* in the order of the requests */
	struct kube_http *h;
	struct kube_request r; /* its strings are ours */
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	enum call_state state;
	int status;
	bool is_cancelled; /* within kube_http_poll(): it goes at its end */
	bool has_headers;
	bool will_retry, was_retried; /* after a 401 */
	bool is_probe;		      /* ours: see lines.c */
	uint64_t auth_generation;
	uint64_t begun_ms, sent_ms, byte_ms; /* the request; when libcurl had it; its last byte */
	char error[CURL_ERROR_SIZE];
};

#define HTTP_MAX_LINES 64u

/* A connection. */
struct line {
	int fd;
	long port;	  /* ours; 0: not known yet */
	uint64_t heard_ms; /* the last byte of an answer */
	uint64_t asked_ms; /* the last probe; 0: none */
	bool is_shared;	  /* HTTP/2 */
	bool is_suspect;  /* a request over it had no answer in time */
};

struct kube_http {
	struct kube_config config;
	struct auth auth;
	struct kube_http_counters counters;
	CURLM *multi;
	int epoll_fd, wake_fd;
	uint64_t timer_ms; /* when libcurl wants to be called; UINT64_MAX: not */
	struct kube_call *first, *last;
	bool uses_tls, is_polling, has_cancelled;
	/* A request got no answer in time: until one has, connections that are open are not used for others. */
	bool distrusts_connections;
	uint64_t distrust_ms; /* since then */
	struct line lines[HTTP_MAX_LINES];
	unsigned n_lines;
	/*
	 * Over TLS the handshake says whether requests can share a connection. The first request opens one, the others
	 * wait until that is known, and open their own if they cannot. libcurl's way (CURLOPT_PIPEWAIT) is not taken:
	 * those that it lets wait it wakes, since 8, by the end of another request only, which among watches is never.
	 */
	struct kube_call *opener; /* NULL: nobody is at it; also while connections are distrusted */
	bool knows_sharing;	  /* while there is a connection */
	struct kube_call *probe; /* under way, NULL: none */
	uint32_t quiet_ms, probe_ms;
};

uint64_t kube_http_now_ms(void);
/* kube_http_poll() is due. */
void http_wake(const struct kube_http *h);

/* The easy handle of a call, with the credentials that there are now. 0 or -ENOMEM, -EINVAL (libcurl cannot do it). */
int transfer_create(struct kube_call *c);
void lines_init(struct kube_http *h);
/* A socket was opened, is to be closed. */
void line_add(struct kube_http *h, int fd);
void line_remove(struct kube_http *h, int fd);
/* A byte has come for the request, at its byte_ms. */
void line_heard(const struct kube_call *c);
/* It was not answered in time. */
void line_suspect(const struct kube_call *c);
/* A probe had no answer in time: its connection is cut, unless something else came over it meanwhile. */
void line_judge(const struct kube_call *probe);
/* Asks quiet and suspect connections whether they lead somewhere. */
void lines_probe(struct kube_http *h, uint64_t now_ms);
/* When lines_probe() has something to do; UINT64_MAX: not now. */
uint64_t lines_due_ms(const struct kube_http *h);

/* Frees it and wipes what it had of credentials; it is in no multi handle. */
void transfer_destroy(struct kube_call *c);

#endif
