/* SPDX-License-Identifier: Apache-2.0 */
/* The way to weir-ctrl's admin API: one GET, for an answer or for a stream. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <curl/curl.h>

#include "cli/cli.h"

#define TIMEOUT_MS 15000L /* more than weir-ctrl waits for the dataplane */

struct body {
	char *p;
	size_t n;
};

static size_t take(char *data, size_t size, size_t n, void *user)
{
	struct body *b = user;
	char *p = realloc(b->p, b->n + size * n + 1);

	if (!p)
		return 0;
	memcpy(p + b->n, data, size * n);
	b->p = p;
	b->n += size * n;
	b->p[b->n] = 0;
	return size * n;
}

char *fetch_escape(const char *text)
{
	CURL *c = curl_easy_init();
	char *escaped = c ? curl_easy_escape(c, text, 0) : NULL;
	char *copy = escaped ? strdup(escaped) : NULL;

	curl_free(escaped);
	curl_easy_cleanup(c);
	return copy;
}

static CURL *open_url(const char *admin, const char *path)
{
	CURL *c = curl_easy_init();
	char *url = NULL;

	if (!c || asprintf(&url, "http://%s%s", admin, path) < 0) {
		fprintf(stderr, "weirctl: no memory\n");
		curl_easy_cleanup(c);
		return NULL;
	}
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	free(url);
	return c;
}

/* What an answer that is not 200 says. */
static void tell_refusal(const char *admin, long status, const char *body)
{
	json_error_t err;
	json_t *o = json_loads(body, 0, &err);
	const char *what = json_string_value(json_object_get(o, "error"));

	if (what)
		fprintf(stderr, "weirctl: %s\n", what);
	else
		fprintf(stderr, "weirctl: weir-ctrl at %s answers with status %ld\n", admin, status);
	json_decref(o);
}

json_t *fetch_json(const char *admin, const char *path)
{
	CURL *c = open_url(admin, path);
	struct body b = {0};
	long status = 0;
	json_error_t err;
	json_t *o = NULL;
	CURLcode rc;

	if (!c)
		return NULL;
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);
	rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if (rc != CURLE_OK)
		fprintf(stderr, "weirctl: weir-ctrl does not answer at %s: %s\n", admin, curl_easy_strerror(rc));
	else if (status != 200)
		tell_refusal(admin, status, b.p ? b.p : "");
	else if (!(o = json_loads(b.p ? b.p : "", 0, &err)))
		fprintf(stderr, "weirctl: what %s answers is no JSON: %s\n", admin, err.text);
	curl_easy_cleanup(c);
	free(b.p);
	return o;
}

/* -- streams */

struct stream {
	CURL *curl;
	int fd; /* of the connection */
	FILE *out;
	struct body refusal; /* the body of an answer that is not 200 */
	const volatile sig_atomic_t *stop;
	bool has_asked; /* the server to end */
	fetch_field_fn *field;
	void *ctx;
};

static size_t take_stream(char *data, size_t size, size_t n, void *user)
{
	struct stream *s = user;
	long status = 0;

	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return take(data, size, n, &s->refusal);
	/* Whoever reads the file along sees a packet when it has come. */
	return fwrite(data, size, n, s->out) == n && fflush(s->out) == 0 ? size * n : 0;
}

static size_t take_field(char *data, size_t size, size_t n, void *user)
{
	const struct stream *s = user;
	size_t len = size * n;
	const char *colon = memchr(data, ':', len);
	char name[64], value[256];
	size_t n_name = colon ? (size_t)(colon - data) : 0;

	if (!colon || n_name >= sizeof(name))
		return len;
	snprintf(name, sizeof(name), "%.*s", (int)n_name, data);
	while (++n_name < len && data[n_name] == ' ')
		;
	len -= n_name;
	while (len > 0 && (data[n_name + len - 1] == '\r' || data[n_name + len - 1] == '\n'))
		len--;
	snprintf(value, sizeof(value), "%.*s", (int)len, data + n_name);
	s->field(s->ctx, name, value);
	return size * n;
}

/* Called about once a second, and when a signal ended a wait: a half-closed connection asks for the end. */
static int look(void *user, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total, curl_off_t ul)
{
	struct stream *s = user;

	if (!*s->stop || s->has_asked)
		return 0;
	s->has_asked = true;
	return shutdown(s->fd, SHUT_WR) != 0;
}

static int keep_socket(void *user, curl_socket_t fd, curlsocktype purpose)
{
	((struct stream *)user)->fd = fd;
	return CURL_SOCKOPT_OK;
}

static struct curl_slist *fields_with(const char *token)
{
	struct curl_slist *list;
	char *line;

	if (asprintf(&line, "Authorization: Bearer %s", token) < 0)
		abort();
	list = curl_slist_append(NULL, line);
	free(line);
	if (!list)
		abort();
	return list;
}

int fetch_stream(const char *admin, const char *path, const char *token, FILE *out, const volatile sig_atomic_t *stop,
		 fetch_field_fn *field, void *ctx)
{
	struct stream s = {.curl = open_url(admin, path), .fd = -1, .out = out, .stop = stop, .field = field, .ctx = ctx};
	struct curl_slist *fields;
	long status = 0;
	CURLcode rc;

	if (!s.curl)
		return -1;
	fields = fields_with(token);
	curl_easy_setopt(s.curl, CURLOPT_HTTPHEADER, fields);
	curl_easy_setopt(s.curl, CURLOPT_CONNECTTIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(s.curl, CURLOPT_WRITEFUNCTION, take_stream);
	curl_easy_setopt(s.curl, CURLOPT_WRITEDATA, &s);
	curl_easy_setopt(s.curl, CURLOPT_HEADERFUNCTION, take_field);
	curl_easy_setopt(s.curl, CURLOPT_HEADERDATA, &s);
	curl_easy_setopt(s.curl, CURLOPT_SOCKOPTFUNCTION, keep_socket);
	curl_easy_setopt(s.curl, CURLOPT_SOCKOPTDATA, &s);
	curl_easy_setopt(s.curl, CURLOPT_XFERINFOFUNCTION, look);
	curl_easy_setopt(s.curl, CURLOPT_XFERINFODATA, &s);
	curl_easy_setopt(s.curl, CURLOPT_NOPROGRESS, 0L);
	rc = curl_easy_perform(s.curl);
	curl_easy_getinfo(s.curl, CURLINFO_RESPONSE_CODE, &status);
	if (rc == CURLE_WRITE_ERROR)
		fprintf(stderr, "weirctl: cannot write: %s\n", strerror(errno));
	else if (rc != CURLE_OK && !*stop)
		fprintf(stderr, "weirctl: weir-ctrl at %s: %s\n", admin, curl_easy_strerror(rc));
	else if (rc == CURLE_OK && status != 200)
		tell_refusal(admin, status, s.refusal.p ? s.refusal.p : "");
	curl_easy_cleanup(s.curl);
	curl_slist_free_all(fields);
	free(s.refusal.p);
	return rc == CURLE_OK && status == 200 ? 0 : -1;
}
