/* SPDX-License-Identifier: Apache-2.0 */
/* What libcurl is told of one request: where to, as whom, what to check, and whom to call. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kube/http_pvt.h"

#define RECEIVE_BYTES 65536L
#define CA_CACHE_S 60L	  /* so long a renewed CA file may go unnoticed by new connections */
#define IDLE_S 10L	  /* an idle connection that is distrusted is not used after that */
#define DEAD_PEER_MS 30000 /* a connection ends when its peer acknowledges nothing for so long */
#define PROBE_S 15	  /* of silence, before the peer is asked whether it is there */

/* The list owns the text. NULL text: without memory. */
static int add_text(struct curl_slist **list, char *text)
{
	struct curl_slist *item = text ? curl_slist_append(*list, text) : NULL;

	secret_free(text);
	if (!item)
		return -ENOMEM;
	*list = item;
	return 0;
}

__attribute__((format(printf, 2, 3))) static int add(struct curl_slist **list, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return n < 0 ? -ENOMEM : add_text(list, text);
}

static void free_list(struct curl_slist *list)
{
	for (struct curl_slist *i = list; i; i = i->next)
		explicit_bzero(i->data, strlen(i->data));
	curl_slist_free_all(list);
}

/* "HOST[:PORT]" within the server's URL; *n_host is the length of HOST (with the [] of IPv6). */
static const char *authority(const char *server, size_t *n, size_t *n_host)
{
	const char *at = strstr(server, "://") + 3;
	const char *end;

	*n = strcspn(at, "/");
	end = *at == '[' ? memchr(at, ']', *n) : NULL;
	*n_host = end ? (size_t)(end - at) + 1 : strcspn(at, ":/");
	return at;
}

/* The URL; where the certificate has another name than the URL, one with that name, which leads to the same place. */
static int set_url(struct kube_call *c)
{
	const struct kube_config *config = &c->h->config;
	size_t n, n_host;
	const char *at = authority(config->server, &n, &n_host);
	int n_port = (int)(n - n_host), err = 0;
	char *url = NULL;

	if (!config->tls_server_name) {
		if (asprintf(&url, "%s%s", config->server, c->r.path) < 0)
			return -ENOMEM;
	} else {
		if (asprintf(&url, "%.*s%s%s%s", (int)(at - config->server), config->server, config->tls_server_name,
			     at + n_host, c->r.path) < 0)
			return -ENOMEM;
		err = add(&c->headers, "Host: %.*s", (int)n, at);
		if (!err)
			err = add(&c->connect_to, "::%.*s%.*s", (int)n_host, at, n_port ? n_port : 1, n_port ? at + n_host : ":");
		if (!err && curl_easy_setopt(c->easy, CURLOPT_CONNECT_TO, c->connect_to) != CURLE_OK)
			err = -ENOMEM;
	}
	if (!err && curl_easy_setopt(c->easy, CURLOPT_URL, url) != CURLE_OK)
		err = -ENOMEM;
	free(url);
	return err;
}

static CURLcode set_blob(CURL *easy, CURLoption option, const char *pem)
{
	struct curl_blob blob = {.data = (char *)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};

	return curl_easy_setopt(easy, option, &blob);
}

static CURLcode set_identity(const struct kube_call *c)
{
	const struct kube_config *config = &c->h->config;
	const struct credential *given = &c->h->auth.now; /* a plugin's */
	const char *cert = given->cert_pem ? given->cert_pem : config->cert_pem;
	const char *key = given->key_pem ? given->key_pem : config->key_pem;
	CURLcode rc = CURLE_OK;

	if (cert)
		rc = set_blob(c->easy, CURLOPT_SSLCERT_BLOB, cert);
	else if (config->cert_file)
		rc = curl_easy_setopt(c->easy, CURLOPT_SSLCERT, config->cert_file);
	if (rc == CURLE_OK && key)
		rc = set_blob(c->easy, CURLOPT_SSLKEY_BLOB, key);
	else if (rc == CURLE_OK && config->key_file)
		rc = curl_easy_setopt(c->easy, CURLOPT_SSLKEY, config->key_file);
	return rc;
}

/* Whose word counts is the configuration's CA alone: libcurl's default folder of CAs would be asked as well. */
static CURLcode set_trust(const struct kube_call *c)
{
	const struct kube_config *config = &c->h->config;
	CURLcode rc = CURLE_OK;

	curl_easy_setopt(c->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c->easy, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
	if (config->insecure_skip_tls_verify) {
		curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	} else if (config->ca_pem || config->ca_file) {
		curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
		rc = config->ca_pem ? set_blob(c->easy, CURLOPT_CAINFO_BLOB, config->ca_pem)
				    : curl_easy_setopt(c->easy, CURLOPT_CAINFO, config->ca_file);
	}
	return rc;
}

static int set_headers(struct kube_call *c)
{
	const struct kube_config *config = &c->h->config;
	int err = add(&c->headers, "Accept: %s", c->r.accept);

	if (!err && c->r.body)
		err = add(&c->headers, "Content-Type: %s", c->r.content_type);
	if (!err)
		err = add(&c->headers, "Expect:"); /* libcurl's own for larger bodies costs a round trip */
	if (!err && c->h->auth.now.token)
		err = add(&c->headers, "Authorization: Bearer %s", c->h->auth.now.token);
	if (!err && !c->h->auth.now.token && config->username) {
		curl_easy_setopt(c->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		if (curl_easy_setopt(c->easy, CURLOPT_USERNAME, config->username) != CURLE_OK ||
		    curl_easy_setopt(c->easy, CURLOPT_PASSWORD, config->password ? config->password : "") != CURLE_OK)
			err = -ENOMEM;
	}
	if (!err && curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers) != CURLE_OK)
		err = -ENOMEM;
	return err;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct kube_http *h = ctx;
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

	if (fd >= 0) {
		h->counters.connections++;
		line_add(h, fd);
	}
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int close_socket(void *ctx, curl_socket_t fd)
{
	line_remove(ctx, fd);
	return close(fd);
}

/*
 * A peer that vanished says nothing, and an idle watch asks nothing: probes
 * find it, and TCP_USER_TIMEOUT (RFC 5482) also what is sent and never
 * acknowledged, for which the kernel would try for a quarter of an hour.
 */
static int set_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
	const int on = 1, probe_s = PROBE_S, interval_s = 5, n_probes = 3, dead_ms = DEAD_PEER_MS;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe_s, sizeof(probe_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &n_probes, sizeof(n_probes));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
	return CURL_SOCKOPT_OK;
}

/*
 * It has a connection, and libcurl knows what that can do: who waited for the
 * first one need not any longer. After one that led nowhere they wait for an answer over the new one: each would open its own.
 */
static int take_connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct kube_http *h = ((struct kube_call *)ctx)->h;

	h->knows_sharing = true;
	if (h->opener && !h->distrusts_connections) {
		h->opener = NULL;
		http_wake(h);
	}
	return CURL_PREREQFUNC_OK;
}

static size_t take_header(char *line, size_t size, size_t n, void *ctx)
{
	struct kube_call *c = ctx;
	long status = 0;

	n *= size;
	if (c->is_cancelled)
		return 0;
	c->byte_ms = kube_http_now_ms();
	line_heard(c);
	if (c->has_headers || n > 2 || line[0] == ' ') /* a line that is not the empty one; a trailer */
		return n;
	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200) /* 1xx: the response is yet to come */
		return n;
	c->has_headers = true;
	c->status = (int)status;
	if (c->h->distrusts_connections && c->sent_ms >= c->h->distrust_ms) { /* a watch is answered, too, long before its end */
		c->h->distrusts_connections = false;
		c->h->opener = NULL;
		http_wake(c->h);
	}
	if (status == 401) {
		c->h->counters.unauthorized++;
		c->will_retry = !c->is_probe && !c->was_retried && auth_refused(&c->h->auth, c->auth_generation, c->byte_ms);
	}
	if (!c->will_retry && c->r.on_headers)
		c->r.on_headers(c->r.ctx, c->status);
	return n;
}

static size_t take_data(char *bytes, size_t size, size_t n, void *ctx)
{
	struct kube_call *c = ctx;

	n *= size;
	if (c->is_cancelled)
		return n ? 0 : 1; /* anything but n ends the transfer */
	c->byte_ms = kube_http_now_ms();
	line_heard(c);
	c->h->counters.received_bytes += n;
	if (!c->will_retry && c->r.on_data)
		c->r.on_data(c->r.ctx, bytes, n);
	return n;
}

static void set_body(const struct kube_call *c)
{
	if (c->r.body) {
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->r.body_bytes);
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->r.body); /* not copied */
	}
	if (c->r.body || strcmp(c->r.method, "GET") != 0)
		curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, c->r.method);
}

static void set_connection(const struct kube_call *c)
{
	struct kube_http *h = c->h;

	curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
	/* Or the end of a call whose name is still looked up would wait for that, and all of us with it; its thread ends by itself. */
	curl_easy_setopt(c->easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(c->easy, CURLOPT_PREREQFUNCTION, take_connected);
	curl_easy_setopt(c->easy, CURLOPT_PREREQDATA, c);
	curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)KUBE_HTTP_CONNECT_MS);
	curl_easy_setopt(c->easy, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
	curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, h);
	curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETDATA, h);
	curl_easy_setopt(c->easy, CURLOPT_SOCKOPTFUNCTION, set_socket);
	if (h->distrusts_connections && !c->is_probe) {
		curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(c->easy, CURLOPT_MAXAGE_CONN, IDLE_S);
	}
}

static CURLcode set_rest(struct kube_call *c)
{
	const struct kube_config *config = &c->h->config;
	CURLcode rc = curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");

	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "weir-ctrl/" WEIR_VERSION);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, "gzip");
	if (rc == CURLE_OK && config->proxy_url)
		rc = curl_easy_setopt(c->easy, CURLOPT_PROXY, config->proxy_url);
	curl_easy_setopt(c->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error);
	curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
	curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take_data);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
	return rc;
}

int transfer_create(struct kube_call *c)
{
	CURLcode rc;
	int err;

	c->easy = curl_easy_init();
	if (!c->easy)
		return -ENOMEM;
	c->auth_generation = c->h->auth.generation;
	err = set_url(c);
	if (!err)
		err = set_headers(c);
	if (err)
		return err;
	set_body(c);
	set_connection(c);
	rc = set_trust(c);
	if (rc == CURLE_OK)
		rc = set_identity(c);
	if (rc == CURLE_OK)
		rc = set_rest(c);
	return rc == CURLE_OK ? 0 : rc == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

void transfer_destroy(struct kube_call *c)
{
	curl_easy_cleanup(c->easy);
	free_list(c->headers);
	free_list(c->connect_to);
	c->easy = NULL;
	c->headers = c->connect_to = NULL;
}
