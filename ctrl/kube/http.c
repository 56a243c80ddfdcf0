/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests under way, and the descriptor on which libcurl's sockets and
 * timer, the credential plugin and new requests are waited for.
 *
 * libcurl must not be called back into from its callbacks. So within
 * kube_http_poll() requests are only put into the list, and calls that are
 * cancelled are only marked; both are looked after outside of libcurl.
 */
#include "kube/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "kube/http_pvt.h"

#define EVENTS_AT_ONCE 32
#define NEVER UINT64_MAX
/*
 * Of a connection, if the server lets us have so many (kube-apiserver: 100 and more); beyond them there is another one.
 * A probe (lines.c) may have one more: it is to go where the others are.
 */
#define MAX_STREAMS 90L
#define MAX_STREAMS_PROBE 250L

uint64_t kube_http_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int take_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct kube_http *h = ctx;

	/* Not a part of a millisecond too early: libcurl would find that it is not yet time. */
	h->timer_ms = timeout_ms < 0 ? NEVER : kube_http_now_ms() + (uint64_t)timeout_ms + (timeout_ms > 0);
	return 0;
}

static int take_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct epoll_event ev = {.data.fd = fd};
	struct kube_http *h = ctx;

	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	ev.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	/* libcurl may have closed the descriptor without a word, and got the same number again. */
	if (epoll_ctl(h->epoll_fd, EPOLL_CTL_MOD, fd, &ev) != 0 && errno == ENOENT &&
	    epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		return -1;
	return 0;
}

static int wait_for(const struct kube_http *h, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

void http_wake(const struct kube_http *h)
{
	const uint64_t one = 1;

	if (write(h->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("cannot wake the connection to the API server: %s", strerror(errno));
}

static int open_multi(struct kube_http *h)
{
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->epoll_fd < 0 || h->wake_fd < 0 || wait_for(h, h->wake_fd) != 0)
		return -errno;
	h->multi = curl_multi_init();
	if (!h->multi)
		return -ENOMEM;
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, take_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, take_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(h->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, MAX_STREAMS);
	return 0;
}

struct kube_http *kube_http_create(struct kube_config *c)
{
	struct kube_http *h = calloc(1, sizeof(*h));
	int err;

	if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(h);
		kube_config_fini(c);
		errno = ENOMEM;
		return NULL;
	}
	h->config = *c;
	*c = (struct kube_config){0};
	h->epoll_fd = h->wake_fd = -1;
	h->timer_ms = NEVER;
	lines_init(h);
	h->uses_tls = strncmp(h->config.server, "https:", 6) == 0;
	auth_init(&h->auth, &h->config);
	err = open_multi(h);
	if (err) {
		kube_http_destroy(h);
		errno = -err;
		return NULL;
	}
	return h;
}

/* It may be a Secret. */
static void body_free(const void *body, size_t n)
{
	if (body)
		explicit_bzero((void *)(uintptr_t)body, n);
	free((void *)(uintptr_t)body);
}

static void call_free(struct kube_call *c)
{
	struct kube_http *h = c->h;

	*(c->prev ? &c->prev->next : &h->first) = c->next;
	*(c->next ? &c->next->prev : &h->last) = c->prev;
	if (c->is_probe)
		curl_multi_setopt(h->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, MAX_STREAMS);
	if (h->opener == c) {
		h->opener = NULL;
		http_wake(h);
	}
	if (c->state == CALL_SENT)
		curl_multi_remove_handle(h->multi, c->easy);
	transfer_destroy(c);
	free((char *)c->r.method);
	free((char *)c->r.path);
	free((char *)c->r.accept);
	free((char *)c->r.content_type);
	body_free(c->r.body, c->r.body_bytes);
	free(c);
}

void kube_http_destroy(struct kube_http *h)
{
	if (!h)
		return;
	while (h->first)
		call_free(h->first);
	curl_multi_cleanup(h->multi);
	auth_fini(&h->auth);
	kube_config_fini(&h->config);
	if (h->wake_fd >= 0)
		close(h->wake_fd);
	if (h->epoll_fd >= 0)
		close(h->epoll_fd);
	free(h);
	curl_global_cleanup();
}

int kube_http_fd(const struct kube_http *h)
{
	return h->epoll_fd;
}

/* The strings of a request become the call's own; false without memory. */
static bool copy_request(struct kube_request *to, const struct kube_request *r)
{
	static const char json[] = "application/json";

	*to = *r;
	to->method = strdup(r->method);
	to->path = strdup(r->path);
	to->accept = strdup(r->accept ? r->accept : json);
	to->content_type = strdup(r->content_type ? r->content_type : json);
	to->body = r->body ? malloc(r->body_bytes + 1) : NULL;
	if (to->body)
		memcpy((void *)to->body, r->body, r->body_bytes);
	return to->method && to->path && to->accept && to->content_type && (to->body || !r->body);
}

struct kube_call *kube_http_request(struct kube_http *h, const struct kube_request *r)
{
	struct kube_call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->h = h;
	c->begun_ms = c->byte_ms = kube_http_now_ms();
	c->prev = h->last;
	*(h->last ? &h->last->next : &h->first) = c;
	h->last = c;
	if (!copy_request(&c->r, r)) {
		call_free(c);
		return NULL;
	}
	h->counters.requests++;
	http_wake(h);
	return c;
}

/* Others do not take its connection, until one is answered; and what is on it already does not wait for long. */
static void distrust_connection(const struct kube_call *c, uint64_t now_ms)
{
	c->h->distrusts_connections = true;
	c->h->distrust_ms = now_ms;
	line_suspect(c);
}

void kube_http_cancel(struct kube_http *h, struct kube_call *c)
{
	uint64_t now_ms = kube_http_now_ms();

	if (!c)
		return;
	/* Who waits no longer for an answer: with HTTP/2 the next request would go where this one went. */
	if (c->state == CALL_SENT && !c->has_headers && now_ms - c->byte_ms >= KUBE_HTTP_SILENCE_MS)
		distrust_connection(c, now_ms);
	h->counters.cancelled++;
	if (!h->is_polling) {
		call_free(c);
		return;
	}
	c->is_cancelled = true;
	h->has_cancelled = true;
}

/* The end of a call, outside of libcurl: the last callback. error NULL: complete. */
static void call_end(struct kube_call *c, const char *error, uint32_t retry_after_s)
{
	struct kube_request r = c->r;
	int status = c->status;

	if (c->is_cancelled) /* it goes with the others */
		return;
	c->r = (struct kube_request){0};
	call_free(c);
	if (r.on_done)
		r.on_done(r.ctx, status, error, retry_after_s);
	free((char *)r.method);
	free((char *)r.path);
	free((char *)r.accept);
	free((char *)r.content_type);
	body_free(r.body, r.body_bytes);
}

static bool must_wait_for_opener(const struct kube_http *h)
{
	return h->opener && h->uses_tls && (!h->knows_sharing || h->distrusts_connections);
}

/* Hands a call to libcurl as soon as there are credentials. */
static void call_start(struct kube_call *c, uint64_t now_ms)
{
	struct kube_http *h = c->h;
	enum auth_outcome outcome = auth_get(&h->auth, now_ms);
	int err;

	if (outcome == AUTH_WAITS || (must_wait_for_opener(h) && !c->is_probe))
		return;
	if (outcome == AUTH_FAILED) {
		h->counters.refused_credentials++;
		call_end(c, h->auth.error, 0);
		return;
	}
	c->sent_ms = c->byte_ms = now_ms;
	err = transfer_create(c);
	if (c->is_probe)
		curl_multi_setopt(h->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, MAX_STREAMS_PROBE);
	if (!err && curl_multi_add_handle(h->multi, c->easy) != CURLM_OK)
		err = -ENOMEM;
	if (err) {
		h->counters.failed++;
		call_end(c, err == -ENOMEM ? "out of memory" : "libcurl lacks what this configuration needs", 0);
		return;
	}
	c->state = CALL_SENT;
	if ((!h->knows_sharing || h->distrusts_connections) && !c->is_probe && !h->opener)
		h->opener = c;
}

/* Back into the list, to be sent with other credentials. */
static void call_again(struct kube_call *c)
{
	curl_multi_remove_handle(c->h->multi, c->easy);
	transfer_destroy(c);
	c->state = CALL_WAITS;
	c->was_retried = true;
	c->will_retry = c->has_headers = false;
	c->status = 0;
	http_wake(c->h);
}

static void call_done(struct kube_call *c, CURLcode rc)
{
	struct kube_http *h = c->h;
	curl_off_t retry_after_s = 0;
	char error[CURL_ERROR_SIZE];

	if (c->is_cancelled)
		return;
	if (c->will_retry) {
		call_again(c);
		return;
	}
	if (rc == CURLE_OK) {
		curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
		call_end(c, NULL, retry_after_s > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_after_s);
		return;
	}
	h->counters.failed++;
	snprintf(error, sizeof(error), "%s", c->error[0] ? c->error : curl_easy_strerror(rc));
	call_end(c, error, 0);
}

/* When the call has had its time; NEVER without a limit. */
static uint64_t deadline_ms(const struct kube_call *c, bool *is_stall)
{
	uint64_t whole_ms = c->r.timeout_ms ? c->begun_ms + c->r.timeout_ms : NEVER;
	uint64_t stall_ms = c->r.stall_ms && c->state == CALL_SENT ? c->byte_ms + c->r.stall_ms : NEVER;

	*is_stall = stall_ms < whole_ms;
	return *is_stall ? stall_ms : whole_ms;
}

static void call_expire(struct kube_call *c, bool is_stall, uint64_t now_ms)
{
	struct kube_http *h = c->h;
	char error[64];

	if (c->is_probe)
		line_judge(c);
	if (is_stall) {
		h->counters.stalled++;
		snprintf(error, sizeof(error), "no byte came for %u ms", c->r.stall_ms);
	} else {
		h->counters.timed_out += !c->is_probe;
		snprintf(error, sizeof(error), "not complete within %u ms", c->r.timeout_ms);
	}
	if (c->state == CALL_SENT && !c->has_headers)
		distrust_connection(c, now_ms);
	call_end(c, error, 0);
}

/* libcurl does not tell the same time twice, even if that was not the time yet: it is asked. */
static void take_timeout(struct kube_http *h)
{
	long timeout_ms = -1;
	int running;

	h->timer_ms = NEVER;
	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	if (h->timer_ms == NEVER && curl_multi_timeout(h->multi, &timeout_ms) == CURLM_OK)
		take_timer(h->multi, timeout_ms, h);
}

static void take_events(struct kube_http *h)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	int n = epoll_wait(h->epoll_fd, ev, EVENTS_AT_ONCE, 0), running;
	uint64_t count;

	for (int i = 0; i < n; i++) {
		int what = (ev[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) | (ev[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0);

		if (ev[i].data.fd == h->wake_fd) {
			while (read(h->wake_fd, &count, sizeof(count)) > 0)
				;
			continue;
		}
		if (ev[i].data.fd == h->auth.plugin.fd)
			continue; /* auth_poll() looks by itself */
		if (ev[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(h->multi, ev[i].data.fd, what, &running);
	}
	if (h->timer_ms <= kube_http_now_ms())
		take_timeout(h);
}

static void take_results(struct kube_http *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		struct kube_call *c;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
		call_done(c, m->data.result);
	}
}

/* Credentials first, then what waits for them; and who had his time. */
static void look_after_calls(struct kube_http *h, uint64_t now_ms)
{
	struct kube_call *next;
	bool is_stall;

	auth_poll(&h->auth, now_ms);
	lines_probe(h, now_ms);
	for (struct kube_call *c = h->first; c; c = next) {
		next = c->next;
		if (c->is_cancelled)
			continue;
		if (deadline_ms(c, &is_stall) <= now_ms)
			call_expire(c, is_stall, now_ms);
		else if (c->state == CALL_WAITS)
			call_start(c, now_ms);
	}
	if (h->auth.plugin.fd >= 0 && wait_for(h, h->auth.plugin.fd) != 0 && errno != EEXIST)
		log_error("cannot wait for the credential plugin: %s", strerror(errno));
}

static int wait_ms(const struct kube_http *h)
{
	uint64_t at_ms = h->timer_ms, now_ms = kube_http_now_ms(), probe_ms = lines_due_ms(h);
	bool is_stall;

	at_ms = probe_ms < at_ms ? probe_ms : at_ms;
	for (const struct kube_call *c = h->first; c; c = c->next) {
		uint64_t t = deadline_ms(c, &is_stall);

		at_ms = t < at_ms ? t : at_ms;
	}
	if (h->auth.plugin.pid) {
		uint64_t t = now_ms + plugin_wait_ms(&h->auth.plugin, now_ms);

		at_ms = t < at_ms ? t : at_ms;
	}
	if (at_ms == NEVER)
		return -1;
	at_ms = at_ms > now_ms ? at_ms - now_ms : 0;
	return at_ms > INT32_MAX ? INT32_MAX : (int)at_ms;
}

int kube_http_poll(struct kube_http *h)
{
	struct kube_call *next;

	h->is_polling = true;
	take_events(h);
	take_results(h);
	look_after_calls(h, kube_http_now_ms());
	h->is_polling = false;
	h->counters.plugin_runs = h->auth.n_runs;
	h->counters.plugin_failures = h->auth.n_failures;
	if (h->has_cancelled) {
		h->has_cancelled = false;
		for (struct kube_call *c = h->first; c; c = next) {
			next = c->next;
			if (c->is_cancelled)
				call_free(c);
		}
	}
	return wait_ms(h);
}

uint64_t kube_http_wait_ms(int status, uint32_t retry_after_s)
{
	uint64_t s = retry_after_s < KUBE_HTTP_RETRY_AFTER_MAX_S ? retry_after_s : KUBE_HTTP_RETRY_AFTER_MAX_S;

	return status == 429 || status == 503 ? s * 1000 : 0;
}

const struct kube_http_counters *kube_http_counters(const struct kube_http *h)
{
	return &h->counters;
}

const char *kube_http_namespace(const struct kube_http *h)
{
	return h->config.ns ? h->config.ns : "default";
}

const char *kube_http_server(const struct kube_http *h)
{
	return h->config.server;
}
