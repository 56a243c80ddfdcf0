/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections (lines) that requests share, and whether they still lead
 * somewhere. The kernel finds a peer that acknowledges nothing (transfer.c);
 * one that acknowledges and does not answer, as a load balancer whose server
 * has gone, would hold each idle watch until its own patience ends. libcurl
 * 7.88 sends no HTTP/2 PING for transfers of a multi handle, so a small
 * request stands for it, on lines that are quiet, or on which a request had no
 * answer. libcurl gives it the oldest line that has room: that of the watches.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "kube/http_pvt.h"

#define PROBE_PATH "/version" /* everybody may ask for it, and any answer will do */

void lines_init(struct kube_http *h)
{
	h->quiet_ms = KUBE_HTTP_QUIET_MS;
	h->probe_ms = KUBE_HTTP_PROBE_MS;
}

void kube_http_set_probes(struct kube_http *h, uint32_t quiet_ms, uint32_t answer_ms)
{
	h->quiet_ms = quiet_ms;
	h->probe_ms = answer_ms;
}

void line_remove(struct kube_http *h, int fd)
{
	for (unsigned i = 0; i < h->n_lines; i++)
		if (h->lines[i].fd == fd)
			h->lines[i--] = h->lines[--h->n_lines];
	if (h->n_lines == 0)
		h->knows_sharing = false;
}

void line_add(struct kube_http *h, int fd)
{
	line_remove(h, fd); /* should its end not have been told */
	if (h->n_lines < HTTP_MAX_LINES) /* others are only seen by the kernel, and by their requests */
		h->lines[h->n_lines++] = (struct line){.fd = fd, .heard_ms = kube_http_now_ms()};
}

/* Its own port, by which libcurl names the connection of a request; 0: it has none yet. */
static long port_of(struct line *l)
{
	struct sockaddr_storage a = {0};
	socklen_t n = sizeof(a);

	if (l->port == 0 && getsockname(l->fd, (struct sockaddr *)&a, &n) == 0)
		l->port = a.ss_family == AF_INET    ? ntohs(((struct sockaddr_in *)&a)->sin_port)
			  : a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port)
						    : 0;
	return l->port;
}

/* Where the request is under way; NULL: nowhere yet. */
static struct line *line_of(const struct kube_call *c)
{
	struct kube_http *h = c->h;
	long port = 0;

	if (c->state != CALL_SENT || curl_easy_getinfo(c->easy, CURLINFO_LOCAL_PORT, &port) != CURLE_OK || port <= 0)
		return NULL;
	for (unsigned i = 0; i < h->n_lines; i++)
		if (port_of(&h->lines[i]) == port)
			return &h->lines[i];
	return NULL;
}

void line_heard(const struct kube_call *c)
{
	struct line *l = line_of(c);
	long version = 0;

	if (!l)
		return;
	l->heard_ms = c->byte_ms;
	l->is_suspect = false;
	if (!l->is_shared && curl_easy_getinfo(c->easy, CURLINFO_HTTP_VERSION, &version) == CURLE_OK)
		l->is_shared = version == CURL_HTTP_VERSION_2_0;
}

void line_suspect(const struct kube_call *c)
{
	struct line *l = line_of(c);

	if (l)
		l->is_suspect = true;
}

/* All that is under way over it ends now, and libcurl closes it. */
static void line_cut(struct kube_http *h, struct line *l)
{
	h->counters.cut++;
	log_warn("Kubernetes: a connection to %s answers nothing any more: closed", h->config.server);
	shutdown(l->fd, SHUT_RDWR);
	l->is_suspect = l->is_shared = false;
}

void line_judge(const struct kube_call *probe)
{
	struct line *l = line_of(probe);

	if (l && !probe->has_headers && l->heard_ms <= probe->sent_ms)
		line_cut(probe->h, l);
}

static void end_probe(void *ctx, int status, const char *error, uint32_t retry_after_s)
{
	struct kube_http *h = ctx;

	h->probe = NULL;
}

/* When it is to be asked; UINT64_MAX: not. Only what is shared can be asked without opening another one. */
static uint64_t due_ms(const struct kube_http *h, const struct line *l)
{
	uint64_t since_ms = l->asked_ms > l->heard_ms ? l->asked_ms : l->heard_ms;

	if (!l->is_shared)
		return UINT64_MAX;
	return l->is_suspect ? l->asked_ms + h->probe_ms : since_ms + h->quiet_ms;
}

uint64_t lines_due_ms(const struct kube_http *h)
{
	uint64_t at_ms = UINT64_MAX;

	for (unsigned i = 0; i < h->n_lines && !h->probe; i++) {
		uint64_t t = due_ms(h, &h->lines[i]);

		at_ms = t < at_ms ? t : at_ms;
	}
	return at_ms;
}

void lines_probe(struct kube_http *h, uint64_t now_ms)
{
	if (lines_due_ms(h) > now_ms)
		return;
	for (unsigned i = 0; i < h->n_lines; i++)
		if (due_ms(h, &h->lines[i]) <= now_ms)
			h->lines[i].asked_ms = now_ms;
	h->probe = kube_http_request(h, &(struct kube_request){.method = "GET",
							       .path = PROBE_PATH,
							       .timeout_ms = h->probe_ms,
							       .on_done = end_probe,
							       .ctx = h});
	if (!h->probe)
		return;
	h->probe->is_probe = true;
	h->counters.probes++;
}
