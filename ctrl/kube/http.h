/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to one API server, any number at a time, without a thread and
 * without waiting: libcurl's multi interface on an epoll descriptor of its
 * own. HTTP/2 where the server offers it, so that all requests and watches
 * share a connection; HTTP/1.1 with kept-alive connections where not.
 *
 * Credentials are added here: tokens are read again as they rotate, plugins
 * are run as they expire. A request that is answered 401 is sent once more if
 * other credentials can be had. Redirects are not followed: a 3xx is a result.
 */
#ifndef KUBE_HTTP_H
#define KUBE_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "kube/config.h"

#define KUBE_HTTP_CONNECT_MS 10000u /* for DNS, TCP and TLS together */
#define KUBE_HTTP_SILENCE_MS 5000u /* a call that is cancelled and has waited so long for its answer: others do not take its connection */

/*
 * An HTTP/2 connection without a byte for so long is asked whether it still leads somewhere (GET /version), one over
 * which a request had no answer in time at once; without an answer in the second time it is closed, with all on it.
 */
#define KUBE_HTTP_QUIET_MS 30000u
#define KUBE_HTTP_PROBE_MS 10000u

#define KUBE_HTTP_RETRY_AFTER_MAX_S 120u /* so long a server that asks us to wait is given at most */

struct kube_http;
struct kube_call; /* a request under way */

struct kube_request {
	const char *method;	  /* "GET" */
	const char *path;	  /* from '/', with the query, encoded: "/api/v1/pods?limit=500" */
	const char *accept;	  /* NULL: application/json */
	const char *content_type; /* of the body; NULL: application/json */
	const void *body;	  /* copied; NULL: none */
	size_t body_bytes;
	uint32_t timeout_ms; /* for the whole of it; 0: no limit (a watch) */
	uint32_t stall_ms;   /* at most so long without a byte, connecting included; 0: no limit */

	/* Each may be NULL, and is only called from kube_http_poll(). In them requests may be made and cancelled. */
	void (*on_headers)(void *ctx, int status); /* once, before the first on_data: the status of what follows */
	void (*on_data)(void *ctx, const void *bytes, size_t n); /* as they come, without transfer and content coding */
	/*
	 * Once, at the end. error NULL: the response was complete, whatever its
	 * status. Else why not, in words; status is what came until then, 0 if
	 * nothing did. retry_after_s: of the header Retry-After, 0 without. The
	 * call's handle is void before this is called.
	 */
	void (*on_done)(void *ctx, int status, const char *error, uint32_t retry_after_s);
	void *ctx;
};

/* X(name, help) */
#define KUBE_HTTP_COUNTERS(X) \
	X(requests, "Requests made to the API server") \
	X(connections, "Connections begun to the API server") \
	X(received_bytes, "Bytes of bodies received") \
	X(failed, "Requests without a complete response, for any reason but credentials, time and being cancelled") \
	X(refused_credentials, "Requests not sent: there were no credentials") \
	X(timed_out, "Requests ended by their time limit") \
	X(stalled, "Requests ended because no byte came for too long") \
	X(probes, "Requests made only to see whether a connection leads somewhere") \
	X(cut, "Connections closed since nothing came back over them") \
	X(cancelled, "Requests ended by who made them") \
	X(unauthorized, "Responses 401") \
	X(plugin_runs, "Runs of the credential plugin") \
	X(plugin_failures, "Runs of the credential plugin that gave no credentials")

struct kube_http_counters {
#define X(name, help) uint64_t name;
	KUBE_HTTP_COUNTERS(X)
#undef X
};

/* The configuration becomes part of it (*c is empty afterwards, whatever the result). NULL and errno. */
struct kube_http *kube_http_create(struct kube_config *c);
/* Cancels what is under way: no callback is called. */
void kube_http_destroy(struct kube_http *h);

/* For epoll (level-triggered, EPOLLIN): readable when kube_http_poll() has something to do. */
int kube_http_fd(const struct kube_http *h);
/* Does what there is to do now. Returns the milliseconds after which it wants to be called at the latest; -1: none. */
int kube_http_poll(struct kube_http *h);

/*
 * Begins a request; the strings of r are copied. NULL only without memory.
 * Nothing is called back before the next kube_http_poll(), for which the
 * descriptor becomes readable.
 */
struct kube_call *kube_http_request(struct kube_http *h, const struct kube_request *r);
/* Ends it without on_done. The handle is void afterwards; not to be called after on_done. NULL: nothing. */
void kube_http_cancel(struct kube_http *h, struct kube_call *call);

/* The milliseconds that an answer asks us to wait, within our bound; 0: none. Of 429 and 503 (RFC 9110 10.2.3). */
uint64_t kube_http_wait_ms(int status, uint32_t retry_after_s);

/* Other times than KUBE_HTTP_QUIET_MS and KUBE_HTTP_PROBE_MS: for tests. */
void kube_http_set_probes(struct kube_http *h, uint32_t quiet_ms, uint32_t answer_ms);

const struct kube_http_counters *kube_http_counters(const struct kube_http *h);
/* Namespace of the configuration. */
const char *kube_http_namespace(const struct kube_http *h);
/* "https://host:port": for logs. */
const char *kube_http_server(const struct kube_http *h);

#endif
