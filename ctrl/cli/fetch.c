/* SPDX-License-Identifier: Apache-2.0 */
/* The way to weir-ctrl's admin API: one GET. */
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "cli/cli.h"

#define TIMEOUT_MS 5000L

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

json_t *fetch_json(const char *admin, const char *path)
{
	CURL *c = curl_easy_init();
	struct body b = {0};
	json_error_t err;
	json_t *o = NULL;
	char *url = NULL;
	CURLcode rc;

	if (!c || asprintf(&url, "http://%s%s", admin, path) < 0) {
		fprintf(stderr, "weirctl: no memory\n");
		curl_easy_cleanup(c);
		return NULL;
	}
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);
	rc = curl_easy_perform(c);
	if (rc != CURLE_OK)
		fprintf(stderr, "weirctl: weir-ctrl does not answer at %s: %s\n", admin, curl_easy_strerror(rc));
	else if (!(o = json_loads(b.p ? b.p : "", 0, &err)))
		fprintf(stderr, "weirctl: what %s answers is no JSON: %s\n", admin, err.text);
	curl_easy_cleanup(c);
	free(b.p);
	free(url);
	return o;
}
