/* SPDX-License-Identifier: Apache-2.0 */
/* Within kube/: http.c has the requests and the waiting, transfer.c what libcurl is told of one. */
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
	uint64_t auth_generation;
	uint64_t begun_ms, byte_ms; /* the request; its last byte */
	char error[CURL_ERROR_SIZE];
};

struct kube_http {
	struct kube_config config;
	struct auth auth;
	struct kube_http_counters counters;
	CURLM *multi;
	int epoll_fd, wake_fd;
	uint64_t timer_ms; /* when libcurl wants to be called; UINT64_MAX: not */
	struct kube_call *first, *last;
	bool is_polling, has_cancelled;
	/* A request got no answer in time: until one has, connections that are open are not used for others. */
	bool distrusts_connections;
	uint64_t distrust_ms; /* since then */
};

uint64_t kube_http_now_ms(void);

/* The easy handle of a call, with the credentials that there are now. 0 or -ENOMEM, -EINVAL (libcurl cannot do it). */
int transfer_create(struct kube_call *c);
/* Frees it and wipes what it had of credentials; it is in no multi handle. */
void transfer_destroy(struct kube_call *c);

#endif
