/* SPDX-License-Identifier: Apache-2.0 */
#include "ocsp/fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include <curl/curl.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "ocsp/address.h"
#include "ocsp/check.h"

#define NEVER UINT64_MAX
#define EVENTS_AT_ONCE 32

struct call {
	struct fetch *f;
	void *question;
	CURL *easy; /* NULL: it was never libcurl's */
	struct curl_slist *headers;
	unsigned char *der; /* the request, of POST */
	unsigned char *body;
	size_t n;
	uint32_t max_age_s;
	bool is_forbidden, is_too_large;
	bool is_https; /* the last answer sends on to https */
	enum ocsp_outcome refused; /* without a request; GOOD: it was made */
	TAILQ_ENTRY(call) link;
};

struct fetch {
	CURLM *multi;
	int epoll_fd;
	bool any;
	uint64_t now_ms, timer_ms; /* timer_ms: when libcurl wants to be called */
	fetch_answer_fn *answered;
	void *ctx;
	TAILQ_HEAD(, call) calls;
};

/* ---- libcurl's sockets and timer */

static int take_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct fetch *f = ctx;

	/* Not a part of a millisecond too early: libcurl would find that it is not yet time. */
	f->timer_ms = timeout_ms < 0 ? NEVER : f->now_ms + (uint64_t)timeout_ms + (timeout_ms > 0);
	return 0;
}

static int take_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct epoll_event ev = {.data.fd = fd};
	const struct fetch *f = ctx;

	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	ev.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (epoll_ctl(f->epoll_fd, EPOLL_CTL_MOD, fd, &ev) != 0 && errno == ENOENT && epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		return -1;
	return 0;
}

struct fetch *fetch_create(bool any, fetch_answer_fn *answered, void *ctx)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(f);
		errno = ENOMEM;
		return NULL;
	}
	*f = (struct fetch){.any = any, .timer_ms = NEVER, .answered = answered, .ctx = ctx, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	TAILQ_INIT(&f->calls);
	f->multi = f->epoll_fd >= 0 ? curl_multi_init() : NULL;
	if (!f->multi) {
		fetch_destroy(f);
		return NULL;
	}
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, take_socket);
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, take_timer);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)STAPLER_IN_FLIGHT_MAX);
	curl_multi_setopt(f->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)STAPLER_IN_FLIGHT_MAX);
	return f;
}

static void call_free(struct call *c)
{
	TAILQ_REMOVE(&c->f->calls, c, link);
	if (c->easy) {
		curl_multi_remove_handle(c->f->multi, c->easy);
		curl_easy_cleanup(c->easy);
	}
	curl_slist_free_all(c->headers);
	free(c->der);
	free(c->body);
	free(c);
}

void fetch_destroy(struct fetch *f)
{
	if (!f)
		return;
	while (!TAILQ_EMPTY(&f->calls))
		call_free(TAILQ_FIRST(&f->calls));
	curl_multi_cleanup(f->multi);
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	free(f);
	curl_global_cleanup();
}

int fetch_fd(const struct fetch *f)
{
	return f->epoll_fd;
}

/* ---- a request */

/* Here, and nowhere else, is it known where a name or a redirect leads. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct call *c = ctx;
	int fd;

	if (!ocsp_address_is_allowed(&a->addr, c->f->any)) {
		c->is_forbidden = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
	struct call *c = ctx;
	unsigned char *grown;

	n *= size;
	c->is_too_large = c->n + n > OCSP_RESPONSE_MAX;
	grown = c->is_too_large ? NULL : realloc(c->body, c->n + n + 1);
	if (!grown)
		return n ? 0 : 1; /* anything but n ends the transfer */
	memcpy(grown + c->n, bytes, n);
	c->body = grown;
	c->n += n;
	return n;
}

/* The value of max-age (RFC 9111 5.2.2.1) in a list of directives; UINT32_MAX: it is not there. 0 for those who forbid to keep it. */
static uint32_t read_max_age(const char *at, const char *end)
{
	while (at < end) {
		size_t n_gap = strspn(at, " \t,");
		size_t n = strcspn(at + n_gap, ",\r\n");

		at += n_gap;
		if (strncasecmp(at, "max-age=", 8) == 0)
			return (uint32_t)strtoul(at + 8, NULL, 10);
		if (n == 8 && (strncasecmp(at, "no-cache", 8) == 0 || strncasecmp(at, "no-store", 8) == 0))
			return 0;
		at += n + (n == 0);
	}
	return UINT32_MAX;
}

static size_t take_header(char *line, size_t size, size_t n, void *ctx)
{
	static const char name[] = "Cache-Control:", to[] = "Location:";
	struct call *c = ctx;
	char text[256];
	size_t n_text;

	n *= size;
	n_text = n < sizeof(text) - 1 ? n : sizeof(text) - 1;
	memcpy(text, line, n_text);
	text[n_text] = 0;
	if (strncmp(text, "HTTP/", 5) == 0) { /* of another response, behind a redirect */
		c->max_age_s = UINT32_MAX;
		c->is_https = false;
	} else if (strncasecmp(text, to, sizeof(to) - 1) == 0) {
		c->is_https = ocsp_url_is_https(text + sizeof(to) - 1 + strspn(text + sizeof(to) - 1, " \t"));
	}
	if (strncasecmp(text, name, sizeof(name) - 1) == 0)
		c->max_age_s = read_max_age(text + sizeof(name) - 1, text + n_text);
	return n;
}

/* Whose URL it is does not know our network: only what a URL of a responder has. */
static enum ocsp_outcome judge_url(const char *text, bool any)
{
	enum ocsp_outcome o = OCSP_BAD_URL;
	CURLU *u = curl_url();
	char *user = NULL, *port = NULL, *host = NULL;

	if (u && curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
		o = ocsp_url_is_https(text) ? OCSP_HTTPS : any || strcmp(port, "80") == 0 ? OCSP_GOOD : OCSP_FORBIDDEN;
	curl_free(user);
	curl_free(port);
	curl_free(host);
	curl_url_cleanup(u);
	return o;
}

/* The URL with the request in it, in base64 (RFC 6960 A.1), for the caller to free(); NULL: it would be too long. */
static char *make_get(const char *url, const unsigned char *der, size_t n)
{
	unsigned char base64[2 * FETCH_GET_MAX];
	const size_t n_url = strlen(url);
	char out[FETCH_GET_MAX + 4], *to = out;

	if (n > FETCH_GET_MAX || n * 4 / 3 + n_url >= FETCH_GET_MAX || strpbrk(url, "?#"))
		return NULL;
	EVP_EncodeBlock(base64, der, (int)n);
	to += sprintf(to, "%s%s", url, n_url && url[n_url - 1] == '/' ? "" : "/");
	for (const unsigned char *p = base64; *p; p++) {
		bool is_plain = *p != '+' && *p != '/' && *p != '=';

		if (to + (is_plain ? 1 : 3) > out + FETCH_GET_MAX)
			return NULL;
		to += sprintf(to, is_plain ? "%c" : "%%%02X", *p);
	}
	return strdup(out);
}

static bool set_post(struct call *c, const unsigned char *der, size_t n)
{
	c->der = malloc(n);
	c->headers = curl_slist_append(NULL, "Content-Type: application/ocsp-request");
	if (!c->der || !c->headers)
		return false;
	memcpy(c->der, der, n);
	curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
	curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->der);
	return true;
}

static bool set_limits(const struct call *c)
{
	CURLcode rc = curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http");

	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http");
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c->easy, CURLOPT_PROXY, ""); /* it would ask whom we may not */
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
	curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c->easy, CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS);
	curl_easy_setopt(c->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)FETCH_TIMEOUT_MS);
	curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_CONNECT_MS);
	curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c->easy, CURLOPT_QUICK_EXIT, 1L); /* or its end would wait for a name that is looked up */
	curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	return rc == CURLE_OK;
}

/* False: libcurl does not take it. */
static bool call_begin(struct call *c, const char *url, const unsigned char *der, size_t n)
{
	char *get = make_get(url, der, n);
	bool ok;

	c->easy = curl_easy_init();
	ok = c->easy && curl_easy_setopt(c->easy, CURLOPT_URL, get ? get : url) == CURLE_OK && set_limits(c);
	free(get);
	if (ok && !get)
		ok = set_post(c, der, n);
	if (ok) {
		struct curl_slist *more = curl_slist_append(c->headers, "Accept: application/ocsp-response");

		ok = more != NULL;
		c->headers = more ? more : c->headers;
	}
	if (!ok)
		return false;
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "weir-ctrl/" WEIR_VERSION);
	curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
	curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
	return curl_multi_add_handle(c->f->multi, c->easy) == CURLM_OK;
}

void fetch_ask(void *ctx, const char *url, const unsigned char *der, size_t n, void *question)
{
	struct fetch *f = ctx;
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		abort(); /* a question that is never answered would never be asked again */
	c->f = f;
	c->question = question;
	c->max_age_s = UINT32_MAX;
	c->refused = judge_url(url, f->any);
	TAILQ_INSERT_TAIL(&f->calls, c, link);
	if (c->refused == OCSP_GOOD && !call_begin(c, url, der, n))
		c->refused = OCSP_FAILED;
	if (c->refused != OCSP_GOOD)
		f->timer_ms = f->now_ms; /* answered by the next poll */
}

/* ---- answers */

static enum ocsp_outcome outcome_of(const struct call *c, CURLcode rc)
{
	long status = 0;

	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	if (c->is_too_large)
		return OCSP_TOO_LARGE;
	if (rc == CURLE_OK)
		return status == 200 ? OCSP_GOOD : OCSP_HTTP_ERROR;
	if (c->is_forbidden)
		return OCSP_FORBIDDEN;
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return OCSP_TIMEOUT;
	if (rc == CURLE_UNSUPPORTED_PROTOCOL || rc == CURLE_URL_MALFORMAT)
		return c->is_https ? OCSP_HTTPS : OCSP_BAD_URL;
	if (rc == CURLE_TOO_MANY_REDIRECTS)
		return OCSP_HTTP_ERROR;
	return rc == CURLE_OUT_OF_MEMORY ? OCSP_FAILED : OCSP_UNREACHABLE;
}

static void call_done(struct call *c, CURLcode rc)
{
	struct fetch *f = c->f;
	struct stapler_answer a = {.outcome = outcome_of(c, rc), .der = c->body, .n = c->n, .max_age_s = c->max_age_s};
	curl_off_t retry_after_s = 0;

	curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	a.retry_after_s = retry_after_s > UINT32_MAX ? UINT32_MAX : (uint32_t)retry_after_s;
	if (rc != CURLE_OK)
		log_debug("an OCSP responder: %s", curl_easy_strerror(rc));
	f->answered(f->ctx, c->question, &a);
	call_free(c);
}

static void take_results(struct fetch *f)
{
	struct call *c, *next;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(f->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
		call_done(c, m->data.result);
	}
	for (c = TAILQ_FIRST(&f->calls); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->refused == OCSP_GOOD)
			continue;
		f->answered(f->ctx, c->question, &(struct stapler_answer){.outcome = c->refused, .max_age_s = UINT32_MAX});
		call_free(c);
	}
}

/* libcurl does not tell the same time twice, even if that was not the time yet: it is asked. */
static void take_timeout(struct fetch *f)
{
	long timeout_ms = -1;
	int running;

	f->timer_ms = NEVER;
	curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	if (f->timer_ms == NEVER && curl_multi_timeout(f->multi, &timeout_ms) == CURLM_OK)
		take_timer(f->multi, timeout_ms, f);
}

uint64_t fetch_poll(struct fetch *f, uint64_t now_ms)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	int n = epoll_wait(f->epoll_fd, ev, EVENTS_AT_ONCE, 0), running;

	f->now_ms = now_ms;
	for (int i = 0; i < n; i++) {
		int what = (ev[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) | (ev[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0);

		if (ev[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(f->multi, ev[i].data.fd, what, &running);
	}
	if (f->timer_ms <= now_ms)
		take_timeout(f);
	take_results(f);
	return f->timer_ms;
}
