/* SPDX-License-Identifier: Apache-2.0 */
/* Whom weir-ctrl asks for OCSP responses, how, and where it stops, against a server in the same process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ocsp/address.h"
#include "ocsp/check.h"
#include "ocsp/fetch.h"

struct rig {
	struct MHD_Daemon *server;
	unsigned port;
	struct fetch *f;
	bool is_answered;
	enum ocsp_outcome outcome;
	size_t n;
	uint32_t max_age_s, retry_after_s;
	char body[64];
	/* of the last request */
	char method[16], url[512], accept[64], type[64];
	char posted[64];
	size_t n_posted;
	unsigned n_requests;
	bool has_more; /* headers that it should not have */
};

static struct MHD_Response *response_of(const char *url)
{
	static char huge[OCSP_RESPONSE_MAX + 1];
	static char whole[OCSP_RESPONSE_MAX];

	if (strncmp(url, "/huge", 5) == 0)
		return MHD_create_response_from_buffer(sizeof(huge), huge, MHD_RESPMEM_PERSISTENT);
	if (strncmp(url, "/whole", 6) == 0)
		return MHD_create_response_from_buffer(sizeof(whole), whole, MHD_RESPMEM_PERSISTENT);
	return MHD_create_response_from_buffer(6, (char *)(uintptr_t)"answer", MHD_RESPMEM_PERSISTENT);
}

static void note_header(char *out, size_t n, struct MHD_Connection *c, const char *name)
{
	const char *value = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);

	snprintf(out, n, "%s", value ? value : "");
}

static enum MHD_Result reply(struct rig *r, struct MHD_Connection *c, const char *url)
{
	struct MHD_Response *resp = response_of(url);
	const char *location = strncmp(url, "/file", 5) == 0   ? "file:///etc/passwd"
			       : strncmp(url, "/tls", 4) == 0  ? "https://127.0.0.1:1/"
			       : strncmp(url, "/loop", 5) == 0 ? "/loop"
							       : "/there";
	unsigned status = strncmp(url, "/file", 5) == 0 || strncmp(url, "/loop", 5) == 0 || strncmp(url, "/moved", 6) == 0 || strncmp(url, "/tls", 4) == 0 ? 302 : 200;
	enum MHD_Result ok;

	if (status == 302) {
		MHD_add_response_header(resp, "Location", location);
		MHD_add_response_header(resp, "Cache-Control", "max-age=1");
	}
	if (strncmp(url, "/busy", 5) == 0) {
		status = 503;
		MHD_add_response_header(resp, "Retry-After", "77");
	}
	if (strncmp(url, "/aged", 5) == 0)
		MHD_add_response_header(resp, "Cache-Control", "public, no-transform, max-age=4711");
	if (strncmp(url, "/uncached", 9) == 0)
		MHD_add_response_header(resp, "cache-control", "no-store");
	ok = MHD_queue_response(c, status, resp);
	MHD_destroy_response(resp);
	return ok;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *c, const char *url, const char *method, const char *version,
			      const char *upload, size_t *n_upload, void **state)
{
	struct rig *r = ctx;

	if (!*state) {
		*state = r;
		r->n_requests++;
		r->n_posted = 0;
		snprintf(r->method, sizeof(r->method), "%s", method);
		snprintf(r->url, sizeof(r->url), "%s", url);
		note_header(r->accept, sizeof(r->accept), c, "Accept");
		note_header(r->type, sizeof(r->type), c, "Content-Type");
		r->has_more = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization") ||
			      MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Cookie");
		return MHD_YES;
	}
	if (*n_upload) {
		assert_true(r->n_posted + *n_upload <= sizeof(r->posted));
		memcpy(r->posted + r->n_posted, upload, *n_upload);
		r->n_posted += *n_upload;
		*n_upload = 0;
		return MHD_YES;
	}
	return reply(r, c, url);
}

static void on_answer(void *ctx, void *question, const struct stapler_answer *a)
{
	struct rig *r = ctx;

	assert_ptr_equal(question, r);
	assert_false(r->is_answered);
	r->is_answered = true;
	r->outcome = a->outcome;
	r->n = a->n;
	r->max_age_s = a->max_age_s;
	r->retry_after_s = a->retry_after_s;
	if (a->n)
		memcpy(r->body, a->der, a->n < sizeof(r->body) ? a->n : sizeof(r->body));
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Each test but one lets private addresses be asked: the server has one. */
static int open_with(void **state, bool any)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->server = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, handle, r, MHD_OPTION_END);
	assert_non_null(r->server);
	r->port = MHD_get_daemon_info(r->server, MHD_DAEMON_INFO_BIND_PORT)->port;
	r->f = fetch_create(any, on_answer, r);
	assert_non_null(r->f);
	fetch_poll(r->f, now_ms());
	*state = r;
	return 0;
}

static int open_rig(void **state)
{
	return open_with(state, true);
}

static int open_strict(void **state)
{
	return open_with(state, false);
}

static int close_rig(void **state)
{
	struct rig *r = *state;

	fetch_destroy(r->f);
	MHD_stop_daemon(r->server);
	free(r);
	return 0;
}

static void ask_url(struct rig *r, const char *url, const void *request, size_t n)
{
	const uint64_t end_ms = now_ms() + 30000;

	r->is_answered = false;
	fetch_ask(r->f, url, request, n, r);
	assert_false(r->is_answered); /* never before it has returned */
	while (!r->is_answered) {
		uint64_t now = now_ms(), next_ms = fetch_poll(r->f, now);
		struct pollfd fd = {.fd = fetch_fd(r->f), .events = POLLIN};

		assert_true(now < end_ms);
		if (!r->is_answered)
			poll(&fd, 1, next_ms <= now ? 0 : next_ms - now < 1000 ? (int)(next_ms - now) : 1000);
	}
}

/* path: of the server. */
static enum ocsp_outcome ask(struct rig *r, const char *path, const void *request, size_t n)
{
	char url[600];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", r->port, path);
	ask_url(r, url, request, n);
	return r->outcome;
}

static void expect(struct rig *r, const char *path, enum ocsp_outcome wanted)
{
	assert_string_equal(ocsp_outcome_name(ask(r, path, "request", 7)), ocsp_outcome_name(wanted));
}

/* ---- */

static void short_request_goes_by_get(void **state)
{
	struct rig *r = *state;

	assert_int_equal(ask(r, "/status", "\xfb\xff\xbf\x01", 4), OCSP_GOOD);
	assert_string_equal(r->method, "GET");
	assert_string_equal(r->url, "/status/+/+/AQ=="); /* as the server decodes it: of %2B%2F%2B%2FAQ%3D%3D */
	assert_string_equal(r->accept, "application/ocsp-response");
	assert_false(r->has_more);
	assert_int_equal(r->n, 6);
	assert_memory_equal(r->body, "answer", 6);
	assert_int_equal(ask(r, "/status/", "\x01", 1), OCSP_GOOD);
	assert_string_equal(r->url, "/status/AQ==");
}

static void long_request_goes_by_post(void **state)
{
	struct rig *r = *state;
	char path[300] = "/long/", url[400];
	size_t n = (size_t)snprintf(url, sizeof(url), "http://127.0.0.1:%u/long/", r->port);

	memset(path + 6, 'x', FETCH_GET_MAX - n - 1 - 4); /* as long as it may be, with / and 4 characters of base64 */
	assert_int_equal(ask(r, path, "abc", 3), OCSP_GOOD);
	assert_string_equal(r->method, "GET");
	strcat(path, "x");
	assert_int_equal(ask(r, path, "abc", 3), OCSP_GOOD);
	assert_string_equal(r->method, "POST");
	assert_string_equal(r->url, path);
	assert_string_equal(r->type, "application/ocsp-request");
	assert_false(r->has_more);
	assert_int_equal(r->n_posted, 3);
	assert_memory_equal(r->posted, "abc", 3);
	assert_int_equal(ask(r, "/query?of=a", "abc", 3), OCSP_GOOD);
	assert_string_equal(r->method, "POST");
}

static void what_http_says_of_time_is_told(void **state)
{
	struct rig *r = *state;

	expect(r, "/plain", OCSP_GOOD);
	assert_int_equal(r->max_age_s, UINT32_MAX);
	expect(r, "/aged", OCSP_GOOD);
	assert_int_equal(r->max_age_s, 4711);
	expect(r, "/uncached", OCSP_GOOD);
	assert_int_equal(r->max_age_s, 0);
	expect(r, "/moved", OCSP_GOOD); /* that of the redirect does not count */
	assert_int_equal(r->max_age_s, UINT32_MAX);
	expect(r, "/busy", OCSP_HTTP_ERROR);
	assert_int_equal(r->retry_after_s, 77);
}

static void bytes_are_bounded(void **state)
{
	struct rig *r = *state;

	expect(r, "/whole", OCSP_GOOD);
	assert_int_equal(r->n, OCSP_RESPONSE_MAX);
	expect(r, "/huge", OCSP_TOO_LARGE);
}

static void redirects_are_few_and_stay_on_the_web(void **state)
{
	struct rig *r = *state;

	expect(r, "/moved", OCSP_GOOD);
	assert_string_equal(r->url, "/there");
	r->n_requests = 0;
	expect(r, "/loop", OCSP_HTTP_ERROR);
	assert_int_equal(r->n_requests, 1 + FETCH_REDIRECTS);
	expect(r, "/file", OCSP_BAD_URL);
	expect(r, "/tls", OCSP_HTTPS);
}

static void url_that_no_responder_has_is_not_asked(void **state)
{
	static const char *const urls[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "http://user:secret@127.0.0.1/", "http://user@127.0.0.1/", "http://",
					   "unix:/run/weir/dataplane.sock", "http://127.0.0.1:99999/"};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
		ask_url(r, urls[i], "request", 7);
		assert_string_equal(ocsp_outcome_name(r->outcome), "bad_url");
	}
	ask_url(r, "HTTPS://127.0.0.1/", "request", 7);
	assert_string_equal(ocsp_outcome_name(r->outcome), "https");
	assert_int_equal(r->n_requests, 0);
	ask_url(r, "http://127.0.0.1:1/", "request", 7);
	assert_int_equal(r->outcome, OCSP_UNREACHABLE);
}

static void proxy_of_the_environment_is_not_asked(void **state)
{
	struct rig *r = *state;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	expect(r, "/plain", OCSP_GOOD);
	unsetenv("http_proxy");
}

/* By the URL, by the name, and where a redirect leads: at the moment of connecting. */
static void private_server_is_not_asked(void **state)
{
	struct rig *r = *state;
	char url[64];

	expect(r, "/plain", OCSP_FORBIDDEN);
	snprintf(url, sizeof(url), "http://localhost:%u/", r->port);
	ask_url(r, url, "request", 7);
	assert_int_equal(r->outcome, OCSP_FORBIDDEN);
	ask_url(r, "http://localhost/", "request", 7); /* the port would do */
	assert_int_equal(r->outcome, OCSP_FORBIDDEN);
	ask_url(r, "http://[::1]/", "request", 7);
	assert_int_equal(r->outcome, OCSP_FORBIDDEN);
	assert_int_equal(r->n_requests, 0);
}

static bool is_allowed(const char *text, unsigned port, bool any)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
		return ocsp_address_is_allowed((const struct sockaddr *)&in4, any);
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return ocsp_address_is_allowed((const struct sockaddr *)&in6, any);
}

static void addresses_are_told_apart(void **state)
{
	static const char *const global[] = {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1",
					     "192.167.1.1", "192.169.1.1", "223.255.255.255", "2001:4860::1", "::ffff:1.1.1.1", "64:ff9b::101:101"};
	static const char *const own[] = {"10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.1.1", "127.0.0.1", "127.9.9.9", "172.16.0.1",
					  "172.31.255.1", "192.168.0.1", "198.18.0.1", "198.19.1.1", "::1", "fc00::1", "fdff::1", "::ffff:10.0.0.1",
					  "64:ff9b::a00:1", "2002:a00:1::1", "fec0::1", "::ffff:127.0.0.1"};
	static const char *const never[] = {"0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "fe80::1",
					    "febf::1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"};
	const struct sockaddr other = {.sa_family = AF_UNIX};

	for (size_t i = 0; i < sizeof(global) / sizeof(*global); i++) {
		if (!is_allowed(global[i], 80, false) || is_allowed(global[i], 443, false) || !is_allowed(global[i], 443, true) || !is_allowed(global[i], 8080, true) ||
		    is_allowed(global[i], 8080, false))
			fail_msg("%s", global[i]);
	}
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (is_allowed(own[i], 80, false) || !is_allowed(own[i], 80, true))
			fail_msg("%s", own[i]);
	for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
		if (is_allowed(never[i], 80, true))
			fail_msg("%s", never[i]);
	assert_false(ocsp_address_is_allowed(&other, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
	    T(short_request_goes_by_get),
	    T(long_request_goes_by_post),
	    T(what_http_says_of_time_is_told),
	    T(bytes_are_bounded),
	    T(redirects_are_few_and_stay_on_the_web),
	    T(url_that_no_responder_has_is_not_asked),
	    T(proxy_of_the_environment_is_not_asked),
#undef T
	    cmocka_unit_test_setup_teardown(private_server_is_not_asked, open_strict, close_rig),
	    cmocka_unit_test(addresses_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
