/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of the admin API: GET and HEAD of a few fixed paths. What
 * the dataplane must be asked for waits as a suspended connection.
 */
#include "admin/admin.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <time.h>

#include "admin/admin_pvt.h"
#include "admin/view.h"
#include "admin/view_ports.h"
#include "base/log.h"
#include "saver.h"
#include "source_kube.h"

struct admin {
	struct MHD_Daemon *daemon;
	const struct sync *sync;
	struct diag *diag;
	struct connections connections;
	struct capturing capturing;
	const struct access_log *access_log;
};

uint64_t admin_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool is_serving_from_disk(const struct sync *sync, uint64_t *age_s)
{
	struct saver_status st = {.is_serving = false};

	if (sync->saver)
		saver_status(sync->saver, &st);
	*age_s = st.age_s;
	return st.is_serving;
}

/* NULL when all is well, or what is not. */
static const char *health(const struct sync *sync)
{
	struct publish_status st;
	uint64_t age_s;

	publish_status(sync->publish, &st);
	if (sync->kube && !source_kube_is_synced(sync->kube) && !is_serving_from_disk(sync, &age_s))
		return "not all of Kubernetes is listed yet\n";
	if (!st.is_connected)
		return "not connected to the dataplane\n";
	if (st.live_generation == 0)
		return "no routes are live yet\n";
	return st.live_generation < st.generation ? "the newest routes are not live yet\n" : NULL;
}

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type, char *text,
			     enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), text, mode);
	enum MHD_Result result;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (status == MHD_HTTP_UNAUTHORIZED) /* RFC 9110, 15.5.2 */
		MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"weir-ctrl captures\"");
	result = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result reply_const(struct MHD_Connection *c, unsigned status, const char *text)
{
	return reply(c, status, "text/plain; charset=utf-8", (char *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
}

enum MHD_Result admin_reply_json(struct MHD_Connection *c, unsigned status, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

	json_decref(o);
	if (!text)
		return reply_const(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "no memory\n");
	return reply(c, status, "application/json", text, MHD_RESPMEM_MUST_FREE);
}

enum MHD_Result admin_reply_error(struct MHD_Connection *c, unsigned status, const char *what)
{
	return admin_reply_json(c, status, json_pack("{s:s}", "error", what));
}

enum MHD_Result admin_reply_result(struct MHD_Connection *c, int result)
{
	unsigned status = MHD_HTTP_SERVICE_UNAVAILABLE;
	char text[200];

	if (result == -EOPNOTSUPP)
		status = MHD_HTTP_NOT_IMPLEMENTED;
	else if (result == -ETIMEDOUT)
		status = MHD_HTTP_GATEWAY_TIMEOUT;
	else if (result == WEIR_REFUSED_SWITCHED_OFF)
		status = MHD_HTTP_FORBIDDEN;
	else if (result > 0 && result != WEIR_REFUSED_IN_USE && result != WEIR_REFUSED_NO_MEMORY)
		status = MHD_HTTP_BAD_REQUEST;
	snprintf(text, sizeof(text), "%s%s", status == MHD_HTTP_BAD_REQUEST ? "the dataplane refuses it: " : "",
		 diag_result_text(result));
	return admin_reply_error(c, status, text);
}

bool admin_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && !*end && *out <= max;
}

void admin_not_understood(char *out, size_t size, const char *key, const char *value)
{
	snprintf(out, size, "%.30s=%.100s is not understood", key, value ? value : "");
	for (char *p = out; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

#define MAX_HEADERS 32

struct explain_args {
	struct view_request rq;
	const char *headers[MAX_HEADERS];
};

static enum MHD_Result take_argument(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct explain_args *e = cls;

	(void)kind;
	if (!value)
		return MHD_YES;
	if (strcmp(key, "method") == 0)
		e->rq.method = value;
	else if (strcmp(key, "url") == 0)
		e->rq.url = value;
	else if (strcmp(key, "header") == 0 && e->rq.n_headers < MAX_HEADERS)
		e->headers[e->rq.n_headers++] = value;
	return MHD_YES;
}

static json_t *explain(const struct admin *a, struct MHD_Connection *c)
{
	struct explain_args e = {0};

	e.rq.headers = e.headers;
	MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, take_argument, &e);
	return view_explain(a->sync, &e.rq);
}

static const struct {
	const char *url;
	json_t *(*view)(const struct sync *s);
} views[] = {
	{"/api/v1/status", view_status}, {"/api/v1/routes", view_routes}, {"/api/v1/backends", view_backends},
	{"/api/v1/certificates", view_certificates}, {"/api/v1/tls", view_tls},
	{"/api/v1/paths", view_paths}, {"/api/v1/ports", view_ports},
	{"/api/v1/stats", view_stats},	 {"/api/v1/drops", view_drops},	  {"/api/v1/stages", view_stages},
};

/* The page as text; false: there is none of this name. */
static bool render(const struct admin *a, struct MHD_Connection *c, const char *url, char **text)
{
	json_t *o = NULL;
	size_t i = 0;

	*text = NULL;
	if (strcmp(url, "/metrics") == 0) {
		*text = admin_metrics(a->sync, &a->capturing.permit, a->access_log);
		return true;
	}
	while (i < sizeof(views) / sizeof(*views) && strcmp(url, views[i].url) != 0)
		i++;
	if (i < sizeof(views) / sizeof(*views))
		o = views[i].view(a->sync);
	else if (strcmp(url, "/api/v1/explain") == 0)
		o = explain(a, c);
	else
		return false;
	*text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	json_decref(o);
	return true;
}

static enum MHD_Result reply_health(const struct sync *sync, struct MHD_Connection *c)
{
	const char *ill = health(sync);
	char text[96];
	uint64_t age_s;

	if (ill)
		return reply_const(c, MHD_HTTP_SERVICE_UNAVAILABLE, ill);
	if (!is_serving_from_disk(sync, &age_s))
		return reply_const(c, MHD_HTTP_OK, "ok\n");
	snprintf(text, sizeof(text), "ok: serving from disk, of age %llu s\n", (unsigned long long)age_s);
	return reply_const(c, MHD_HTTP_OK, text);
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url, const char *method,
			      const char *version, const char *data, size_t *data_size, void **con_cls)
{
	struct admin *a = cls;
	char *text;

	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return reply_const(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (strcmp(url, "/healthz") == 0 || strcmp(url, "/readyz") == 0)
		return reply_health(a->sync, c);
	if (strcmp(url, "/api/v1/connections") == 0)
		return connections_handle(&a->connections, c);
	if (strcmp(url, "/api/v1/capture") == 0 && method[0] == 'G')
		return capturing_handle(&a->capturing, c);
	if (!render(a, c, url, &text))
		return reply_const(c, MHD_HTTP_NOT_FOUND, "no such page\n");
	if (!text)
		return reply_const(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "no memory\n");
	return reply(c, MHD_HTTP_OK, url[1] == 'm' ? "text/plain; version=0.0.4" : "application/json", text,
		     MHD_RESPMEM_MUST_FREE);
}

/* A request has ended, whatever way. */
static void completed(void *cls, struct MHD_Connection *c, void **con_cls, enum MHD_RequestTerminationCode how)
{
	struct admin *a = cls;

	(void)con_cls;
	(void)how;
	connections_gone(&a->connections, c);
	capturing_gone(&a->capturing, c);
}

static int resolve(const char *listen, struct addrinfo **out)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(listen, ':');
	size_t n = colon ? (size_t)(colon - listen) : 0;
	char host[64] = "";

	if (n >= 2 && listen[0] == '[' && listen[n - 1] == ']') {
		listen++;
		n -= 2;
	}
	if (!colon || n == 0 || n >= sizeof(host))
		return -EINVAL;
	memcpy(host, listen, n);
	return getaddrinfo(host, colon + 1, &hints, out) == 0 ? 0 : -EINVAL;
}

struct admin *admin_create(const char *listen, const struct token *token, bool remote_capture, const struct sync *sync,
			   const struct access_log *access_log)
{
	struct addrinfo *addr;
	struct admin *a;

	if (resolve(listen, &addr) != 0) {
		log_error("admin address %s: expected ADDR:PORT or [ADDR6]:PORT", listen);
		return NULL;
	}
	a = calloc(1, sizeof(*a));
	if (a)
		a->diag = diag_create(sync->publish);
	if (a && a->diag) {
		a->sync = sync;
		a->access_log = access_log;
		a->connections.diag = a->capturing.diag = a->diag;
		a->capturing.permit = (struct permit){.token = token, .is_remote_allowed = remote_capture};
		a->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (addr->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0), 0, NULL,
					     NULL, handle, a, MHD_OPTION_SOCK_ADDR, addr->ai_addr,
					     MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT, 30u,
					     MHD_OPTION_NOTIFY_COMPLETED, completed, a,
					     MHD_OPTION_END);
	}
	freeaddrinfo(addr);
	if (!a || !a->daemon) {
		log_error("admin address %s: cannot listen: %s", listen, strerror(errno));
		if (a)
			diag_destroy(a->diag);
		free(a);
		return NULL;
	}
	return a;
}

void admin_destroy(struct admin *a)
{
	if (!a)
		return;
	connections_resume(&a->connections); /* the server does not stop while there is a suspended one */
	capturing_resume(&a->capturing);
	MHD_stop_daemon(a->daemon);
	diag_destroy(a->diag);
	free(a);
}

int admin_fd(const struct admin *a)
{
	return MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int admin_poll(struct admin *a)
{
	MHD_UNSIGNED_LONG_LONG ms;
	int diag_ms;

	diag_poll(a->diag, admin_now_ms());
	connections_poll(&a->connections);
	capturing_poll(&a->capturing);
	MHD_run(a->daemon);
	diag_ms = diag_timeout(a->diag);
	if (MHD_get_timeout(a->daemon, &ms) != MHD_YES)
		return diag_ms;
	if (ms > 60000)
		ms = 60000;
	return diag_ms >= 0 && (MHD_UNSIGNED_LONG_LONG)diag_ms < ms ? diag_ms : (int)ms;
}
