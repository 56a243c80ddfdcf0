/* SPDX-License-Identifier: Apache-2.0 */
/* Requests against a real HTTPS server, api_server.py: argv[1] is its path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kube/http.h"

static char folder[] = "/tmp/weir-test-http-XXXXXX";
static unsigned port, plain_port; /* with TLS and without */
static unsigned dead_ports[3], alive_port; /* HTTP/2: see api_server.py */
static pid_t server_pid;
static int server_stdin;

/* libcurl's look for a name that no server answers: until it is let go, or its own patience ends, as the C library's would. */
#define SLOW_NAME "slow.test"
#define PATIENCE_S 30
static sem_t let_go;
static atomic_int n_looking, n_gave_up;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	struct timespec end;
	lookup *real;

	if (name && strcmp(name, SLOW_NAME) == 0) {
		atomic_fetch_add(&n_looking, 1);
		clock_gettime(CLOCK_REALTIME, &end);
		end.tv_sec += PATIENCE_S;
		if (sem_timedwait(&let_go, &end) != 0)
			atomic_fetch_add(&n_gave_up, 1);
		atomic_fetch_sub(&n_looking, 1);
		return EAI_AGAIN;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(name, service, hints, out);
}

/* What came of a request. */
struct answer {
	struct kube_http *h;
	struct kube_call *call;
	char body[4096];
	size_t n_body, n_bytes;
	int n_headers, n_done, status, done_status;
	char error[512];
	uint32_t retry_after_s;
	bool cancels_itself;
	struct answer *next; /* to be asked for at the end of this one */
};

static void take_headers(void *ctx, int status)
{
	struct answer *a = ctx;

	a->n_headers++;
	a->status = status;
}

static void take_data(void *ctx, const void *bytes, size_t n)
{
	struct answer *a = ctx;
	size_t room = sizeof(a->body) - 1 - a->n_body;

	assert_int_equal(a->n_headers, 1); /* they come first */
	a->n_bytes += n;
	memcpy(a->body + a->n_body, bytes, n < room ? n : room);
	a->n_body += n < room ? n : room;
	if (a->cancels_itself) {
		kube_http_cancel(a->h, a->call);
		a->call = NULL;
	}
}

static void take_end(void *ctx, int status, const char *error, uint32_t retry_after_s);

static void ask(struct kube_http *h, struct answer *a, struct kube_request r)
{
	r.method = r.method ? r.method : "GET";
	r.on_headers = take_headers;
	r.on_data = take_data;
	r.on_done = take_end;
	r.ctx = a;
	a->h = h;
	a->call = kube_http_request(h, &r);
	assert_non_null(a->call);
}

static void take_end(void *ctx, int status, const char *error, uint32_t retry_after_s)
{
	struct answer *a = ctx;

	a->n_done++;
	a->done_status = status;
	a->call = NULL;
	snprintf(a->error, sizeof(a->error), "%s", error ? error : "");
	a->retry_after_s = retry_after_s;
	if (a->next)
		ask(a->h, a->next, (struct kube_request){.path = "/echo"});
}

static void step(struct kube_http *h)
{
	struct pollfd p = {.fd = kube_http_fd(h), .events = POLLIN};
	static const struct kube_http *last;
	static int wait_ms;

	poll(&p, 1, h != last ? 0 : wait_ms < 0 || wait_ms > 1000 ? 1000 : wait_ms);
	wait_ms = kube_http_poll(h);
	last = h;
}

static void run(struct kube_http *h, const struct answer *a)
{
	for (int i = 0; i < 100000 && !a->n_done; i++)
		step(h);
	assert_int_equal(a->n_done, 1);
}

static void write_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A connection whose kubeconfig has this URL, and these lines for cluster and user. */
static struct kube_http *open_url(const char *url, const char *cluster, const char *user)
{
	struct kube_config_error err;
	struct kube_config c;
	char path[256], text[4096];
	struct kube_http *h;

	snprintf(text, sizeof(text),
		 "current-context: x\n"
		 "contexts: [{name: x, context: {cluster: c, user: u, namespace: here}}]\n"
		 "clusters:\n- name: c\n  cluster: {server: '%s', %s}\n"
		 "users:\n- name: u\n  user: {%s}\n",
		 url, cluster, user);
	write_file("config", text);
	snprintf(path, sizeof(path), "%s/config", folder);
	if (kube_config_read(&c, path, NULL, &err) != 0)
		fail_msg("%s", err.text);
	h = kube_http_create(&c);
	assert_non_null(h);
	assert_null(c.server);
	return h;
}

static struct kube_http *open_as(const char *host, const char *cluster, const char *user)
{
	char url[128];

	snprintf(url, sizeof(url), "https://%s:%u/", host, port);
	return open_url(url, cluster, user);
}

static struct kube_http *open_plain(void)
{
	return open_as("127.0.0.1", "certificate-authority: ca.pem", "token: first");
}

static void assert_in(const struct answer *a, const char *text)
{
	if (!strstr(a->body, text))
		fail_msg("%s is not in %s (%d, %s)", text, a->body, a->done_status, a->error);
}

static void sends_what_was_asked_for(void **state)
{
	struct kube_http *h = open_plain();
	struct answer a = {0}, b = {0};

	ask(h, &a, (struct kube_request){.path = "/api/v1/pods?limit=500"});
	assert_int_equal(a.n_done, 0);
	run(h, &a);
	assert_int_equal(a.done_status, 200);
	assert_string_equal(a.error, "");
	assert_in(&a, "\"path\": \"/api/v1/pods?limit=500\"");
	assert_in(&a, "\"accept\": \"application/json\"");
	assert_in(&a, "\"auth\": \"Bearer first\"");
	ask(h, &b, (struct kube_request){.method = "PATCH", .path = "/x", .body = "{\"a\":1}", .body_bytes = 7,
					 .content_type = "application/merge-patch+json", .accept = "a/b"});
	run(h, &b);
	assert_in(&b, "\"method\": \"PATCH\"");
	assert_in(&b, "{\\\"a\\\":1}");
	assert_in(&b, "\"type\": \"application/merge-patch+json\"");
	assert_in(&b, "\"accept\": \"a/b\"");
	assert_int_equal(kube_http_counters(h)->connections, 1); /* it was kept */
	assert_string_equal(kube_http_namespace(h), "here");
	kube_http_destroy(h);
}

static void gives_bodies_as_they_come(void **state)
{
	struct kube_http *h = open_plain();
	struct answer a = {0}, b = {0}, c = {0};

	ask(h, &a, (struct kube_request){.path = "/stream"});
	ask(h, &b, (struct kube_request){.path = "/large"});
	ask(h, &c, (struct kube_request){.path = "/silent"});
	run(h, &a);
	run(h, &b);
	assert_string_equal(a.body, "onetwo");
	assert_int_equal(b.n_bytes, 4 << 20);
	while (c.n_bytes < 3)
		step(h);
	assert_int_equal(c.n_done, 0); /* a stream that goes on */
	kube_http_cancel(h, c.call);
	kube_http_destroy(h);
	assert_int_equal(c.n_done, 0);
}

static void tells_a_status_from_a_failure(void **state)
{
	struct kube_http *h = open_plain();
	struct answer busy = {0}, moved = {0}, cut = {0};

	ask(h, &busy, (struct kube_request){.path = "/busy"});
	run(h, &busy);
	assert_int_equal(busy.done_status, 429);
	assert_int_equal(busy.retry_after_s, 7);
	assert_string_equal(busy.error, "");
	ask(h, &moved, (struct kube_request){.path = "/moved"});
	run(h, &moved);
	assert_int_equal(moved.done_status, 302);
	ask(h, &cut, (struct kube_request){.path = "/cut"});
	run(h, &cut);
	assert_int_equal(cut.done_status, 200);
	assert_string_not_equal(cut.error, "");
	assert_int_equal(kube_http_counters(h)->failed, 1);
	kube_http_destroy(h);
}

static void ends_what_takes_too_long(void **state)
{
	struct kube_http *h = open_plain();
	struct answer whole = {0}, stall = {0}, after = {0};

	ask(h, &whole, (struct kube_request){.path = "/hang", .timeout_ms = 300});
	run(h, &whole);
	assert_string_equal(whole.error, "not complete within 300 ms");
	assert_int_equal(whole.done_status, 0);
	ask(h, &stall, (struct kube_request){.path = "/silent", .stall_ms = 6000});
	run(h, &stall);
	assert_string_equal(stall.error, "no byte came for 6000 ms");
	assert_string_equal(stall.body, "one");
	assert_int_equal(kube_http_counters(h)->timed_out, 1);
	assert_int_equal(kube_http_counters(h)->stalled, 1);
	ask(h, &after, (struct kube_request){.path = "/echo"});
	run(h, &after);
	assert_int_equal(after.done_status, 200);
	kube_http_destroy(h);
}

static void does_not_go_where_one_was_cancelled_without_an_answer(void **state)
{
	struct kube_http *h = open_plain();
	struct answer hangs = {0}, idle = {0}, after = {0};
	time_t end = time(NULL) + KUBE_HTTP_SILENCE_MS / 1000 + 2;

	ask(h, &hangs, (struct kube_request){.path = "/hang"});
	ask(h, &idle, (struct kube_request){.path = "/echo"});
	run(h, &idle);
	while (time(NULL) < end) {
		step(h);
		usleep(10000);
	}
	assert_int_equal(kube_http_counters(h)->connections, 2);
	kube_http_cancel(h, hangs.call);
	ask(h, &after, (struct kube_request){.path = "/echo"});
	run(h, &after);
	assert_int_equal(kube_http_counters(h)->connections, 3);
	kube_http_destroy(h);
}

static void lets_callbacks_cancel_and_ask(void **state)
{
	struct kube_http *h = open_plain();
	struct answer own = {.cancels_itself = true}, second = {0}, first = {.next = &second};

	ask(h, &own, (struct kube_request){.path = "/silent"});
	while (own.call)
		step(h);
	ask(h, &first, (struct kube_request){.path = "/echo"});
	run(h, &first);
	run(h, &second);
	assert_int_equal(own.n_done, 0);
	assert_int_equal(second.done_status, 200);
	assert_int_equal(kube_http_counters(h)->cancelled, 1);
	kube_http_destroy(h);
}

/* Watches do not end, so that one that waits for the end, or the headers, of another might wait for ever. */
static void check_many_open(struct kube_http *h)
{
	struct answer a[6] = {{0}};
	bool are_open = false;

	for (unsigned i = 0; i < 6; i++)
		ask(h, &a[i], (struct kube_request){.path = "/silent", .timeout_ms = 30000});
	for (unsigned i = 0; i < 2000 && !are_open; i++) {
		step(h);
		are_open = true;
		for (unsigned k = 0; k < 6; k++)
			are_open = are_open && (a[k].n_headers || a[k].n_done);
	}
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(a[i].n_headers, 1);
		assert_int_equal(a[i].n_done, 0);
	}
	kube_http_destroy(h);
}

static void opens_many_that_do_not_end_at_once(void **state)
{
	char url[128];

	check_many_open(open_plain());
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", plain_port);
	check_many_open(open_url(url, "insecure-skip-tls-verify: false", "token: first"));
}

static void waits_for_one_that_is_not_answered_only_for_a_moment(void **state)
{
	struct kube_http *h = open_plain();
	struct answer hangs = {0}, others[3] = {{0}};

	ask(h, &hangs, (struct kube_request){.path = "/hang", .timeout_ms = 30000});
	for (unsigned i = 0; i < 3; i++)
		ask(h, &others[i], (struct kube_request){.path = "/echo"});
	for (unsigned i = 0; i < 3; i++)
		run(h, &others[i]);
	assert_int_equal(hangs.n_done, 0);
	assert_int_equal(others[2].done_status, 200);
	kube_http_destroy(h);
}

static void refuses_a_server_that_it_cannot_trust(void **state)
{
	struct kube_http *wrong_name = open_as("localhost", "certificate-authority: ca.pem", "");
	struct kube_http *wrong_ca = open_as("127.0.0.1", "certificate-authority: client.pem", "");
	struct kube_http *system_ca = open_as("127.0.0.1", "", "");
	struct answer a = {0}, b = {0}, c = {0};

	ask(wrong_name, &a, (struct kube_request){.path = "/echo"});
	ask(wrong_ca, &b, (struct kube_request){.path = "/echo"});
	ask(system_ca, &c, (struct kube_request){.path = "/echo"});
	run(wrong_name, &a);
	run(wrong_ca, &b);
	run(system_ca, &c);
	assert_int_equal(a.done_status + b.done_status + c.done_status, 0);
	assert_non_null(strstr(a.error, "SSL"));
	assert_non_null(strstr(b.error, "SSL"));
	assert_non_null(strstr(c.error, "SSL"));
	kube_http_destroy(wrong_name);
	kube_http_destroy(wrong_ca);
	kube_http_destroy(system_ca);
}

static void trusts_by_the_name_that_is_given(void **state)
{
	struct kube_http *h = open_as("localhost", "certificate-authority: ca.pem, tls-server-name: api.test", "");
	struct kube_http *insecure = open_as("localhost", "insecure-skip-tls-verify: true", "");
	struct answer a = {0}, b = {0};
	char host[64];

	ask(h, &a, (struct kube_request){.path = "/echo"});
	run(h, &a);
	assert_int_equal(a.done_status, 200);
	snprintf(host, sizeof(host), "\"host\": \"localhost:%u\"", port);
	assert_in(&a, host);
	ask(insecure, &b, (struct kube_request){.path = "/echo"});
	run(insecure, &b);
	assert_int_equal(b.done_status, 200);
	kube_http_destroy(h);
	kube_http_destroy(insecure);
}

static void shows_who_it_is(void **state)
{
	struct kube_http *cert = open_as("127.0.0.1", "certificate-authority: ca.pem",
					 "client-certificate: client.pem, client-key: client.key");
	struct kube_http *basic = open_as("127.0.0.1", "certificate-authority: ca.pem", "username: u, password: p");
	struct answer a = {0}, b = {0};

	ask(cert, &a, (struct kube_request){.path = "/echo"});
	run(cert, &a);
	assert_in(&a, "\"cert\": \"client\"");
	ask(basic, &b, (struct kube_request){.path = "/echo"});
	run(basic, &b);
	assert_in(&b, "\"auth\": \"Basic dTpw\"");
	kube_http_destroy(cert);
	kube_http_destroy(basic);
}

static void reads_the_token_again_when_it_is_refused(void **state)
{
	struct kube_http *h;
	struct answer a = {0}, b = {0};

	write_file("token", "first\n");
	h = open_as("127.0.0.1", "certificate-authority: ca.pem", "tokenFile: token");
	ask(h, &a, (struct kube_request){.path = "/guarded"});
	run(h, &a);
	assert_int_equal(a.done_status, 401); /* there is no other token */
	assert_string_equal(a.body, "no");
	write_file("token", "second\n");
	ask(h, &b, (struct kube_request){.path = "/guarded"});
	run(h, &b);
	assert_int_equal(b.done_status, 200);
	assert_int_equal(b.n_headers, 1); /* of the first answer nothing was told */
	assert_in(&b, "Bearer second");
	assert_int_equal(kube_http_counters(h)->unauthorized, 2);
	kube_http_destroy(h);
}

static struct kube_http *open_with_plugin(const char *script)
{
	char path[256];

	write_file("plugin", script);
	snprintf(path, sizeof(path), "%s/plugin", folder);
	assert_int_equal(chmod(path, 0700), 0);
	return open_as("127.0.0.1", "certificate-authority: ca.pem",
		       "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: [second], interactiveMode: Never, "
		       "env: [{name: TEST_VALUE, value: v}]}");
}

static void runs_a_plugin_once_for_all(void **state)
{
	struct kube_http *h = open_with_plugin(
	    "#!/bin/sh\n"
	    "[ \"$TEST_VALUE\" = v ] || exit 3\n"
	    "case $KUBERNETES_EXEC_INFO in *ExecCredential*authentication.k8s.io/v1*) ;; *) exit 4;; esac\n"
	    "sleep 0.2\n"
	    "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"'$1'\"}}'\n");
	struct answer a = {0}, b = {0};

	ask(h, &a, (struct kube_request){.path = "/guarded"});
	ask(h, &b, (struct kube_request){.path = "/guarded"});
	run(h, &a);
	run(h, &b);
	assert_int_equal(a.done_status, 200);
	assert_int_equal(b.done_status, 200);
	assert_int_equal(kube_http_counters(h)->plugin_runs, 1);
	kube_http_destroy(h);
}

static void says_why_a_plugin_gave_nothing(void **state)
{
	struct kube_http *babbles = open_with_plugin("#!/bin/sh\necho not JSON\n"), *fails;
	struct answer a = {0}, b = {0};

	ask(babbles, &a, (struct kube_request){.path = "/echo"});
	run(babbles, &a);
	assert_string_equal(a.error, "the credential plugin's output: JSON was expected");
	kube_http_destroy(babbles);
	fails = open_with_plugin("#!/bin/sh\necho secret\nexit 7\n");
	ask(fails, &b, (struct kube_request){.path = "/echo"});
	run(fails, &b);
	assert_string_equal(b.error, "the credential plugin ended with status 7");
	assert_int_equal(kube_http_counters(fails)->plugin_failures, 1);
	assert_int_equal(kube_http_counters(fails)->refused_credentials, 1);
	assert_int_equal(kube_http_counters(fails)->connections, 0);
	kube_http_destroy(fails);
}

/* Nobody may have waited for it yet. */
static bool has_ended(int pid)
{
	char path[64], state = 'Z';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%*d %*s %c", &state) != 1)
			state = 'Z'; /* it has ended since */
		fclose(f);
	}
	return state == 'Z';
}

/* Its own child has its output, and may have it for ever. */
static void does_not_wait_for_what_a_plugin_leaves_behind(void **state)
{
	struct kube_http *h = open_with_plugin(
	    "#!/bin/sh\nsleep 1000 &\necho $! >\"$(dirname \"$0\")/left\"\n"
	    "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t\"}}'\n");
	struct answer a = {0};
	char path[256];
	int pid = 0;
	FILE *f;

	ask(h, &a, (struct kube_request){.path = "/echo", .timeout_ms = 60000});
	run(h, &a);
	assert_string_equal(a.error, "");
	assert_in(&a, "\"auth\": \"Bearer t\"");
	assert_int_equal(kube_http_counters(h)->plugin_runs, 1);
	snprintf(path, sizeof(path), "%s/left", folder);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	for (int i = 0; i < 6000 && !has_ended(pid); i++)
		usleep(10000);
	assert_true(has_ended(pid));
	kube_http_destroy(h);
}

static void ends_a_plugin_with_itself(void **state)
{
	struct kube_http *h = open_with_plugin("#!/bin/sh\nexec sleep 1000\n");
	struct answer a = {0};

	ask(h, &a, (struct kube_request){.path = "/echo", .timeout_ms = 100});
	run(h, &a);
	assert_string_equal(a.error, "not complete within 100 ms");
	kube_http_destroy(h);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); /* no child but the server */
}

static void waits_for_no_name_server(void **state)
{
	struct kube_http *h = open_url("https://" SLOW_NAME ":6443", "certificate-authority: ca.pem", "token: t");
	struct answer a = {0}, b = {0};

	ask(h, &a, (struct kube_request){.path = "/echo", .timeout_ms = 100});
	ask(h, &b, (struct kube_request){.path = "/echo"});
	run(h, &a);
	assert_string_equal(a.error, "not complete within 100 ms");
	while (!atomic_load(&n_looking))
		step(h);
	kube_http_cancel(h, b.call);
	kube_http_destroy(h);
	assert_int_equal(atomic_load(&n_gave_up), 0); /* we have not waited for it */
	while (atomic_load(&n_looking)) {
		sem_post(&let_go);
		usleep(1000);
	}
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A connection to one that speaks HTTP/2, with a watch over it. */
static struct kube_http *open_watch(unsigned at_port, struct answer *watch)
{
	struct kube_http *h;
	char url[64];

	snprintf(url, sizeof(url), "https://127.0.0.1:%u", at_port);
	h = open_url(url, "certificate-authority: ca.pem", "token: t");
	ask(h, watch, (struct kube_request){.path = "/watch"});
	while (!watch->n_bytes)
		step(h);
	return h;
}

/* The peer acknowledges, and answers nothing any more: seen by its silence, or by a request that has no answer. */
static void ends_watches_on_a_connection_that_leads_nowhere(void **state)
{
	for (unsigned is_asked = 0; is_asked < 2; is_asked++) {
		struct answer watch = {0}, put = {0}, again = {0};
		struct kube_http *h = open_watch(dead_ports[is_asked], &watch);
		uint64_t began_ms = now_ms();

		kube_http_set_probes(h, is_asked ? 60000 : 300, 300);
		if (is_asked) {
			ask(h, &put, (struct kube_request){.path = "/put", .timeout_ms = 300});
			run(h, &put);
			assert_string_equal(put.error, "not complete within 300 ms");
		}
		run(h, &watch);
		kube_http_set_probes(h, 60000, 60000); /* the next connection is well, be it slow */
		assert_in_range(now_ms() - began_ms, 300, 60000);
		assert_int_equal(watch.done_status, 200);
		assert_string_not_equal(watch.error, "");
		assert_int_equal(kube_http_counters(h)->cut, 1);
		ask(h, &again, (struct kube_request){.path = "/watch", .timeout_ms = 60000});
		run(h, &again);
		assert_string_equal(again.body, "{}");
		kube_http_destroy(h);
	}
}

static void leaves_a_silent_watch_alone_whose_connection_is_well(void **state)
{
	struct answer watch = {0}, slow = {0};
	struct kube_http *h = open_watch(alive_port, &watch);
	uint64_t began_ms, seen;

	kube_http_set_probes(h, 60000, 60000);
	ask(h, &slow, (struct kube_request){.path = "/slow", .timeout_ms = 200});
	run(h, &slow);
	while (kube_http_counters(h)->probes == 0)
		step(h);
	kube_http_set_probes(h, 100, 60000);
	began_ms = now_ms();
	while (now_ms() < began_ms + 1500 || (kube_http_counters(h)->probes < 3 && now_ms() < began_ms + 60000))
		step(h);
	seen = kube_http_counters(h)->probes;
	assert_in_range(seen, 3, 1 + (now_ms() - began_ms) / 100);
	assert_int_equal(kube_http_counters(h)->cut, 0);
	assert_int_equal(kube_http_counters(h)->connections, 1);
	assert_int_equal(watch.n_done, 0);
	kube_http_destroy(h);
}

static int start_server(const char *script)
{
	int in[2], out[2];
	char text[64] = "";
	bool is_told;
	FILE *says;

	if (!mkdtemp(folder) || pipe(in) != 0 || pipe(out) != 0)
		return -1;
	server_pid = fork();
	if (server_pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		execlp("python3", "python3", script, folder, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	server_stdin = in[1];
	says = fdopen(out[0], "r");
	if (!says)
		return -1;
	/* the whole line: Python may write the number and its end apart, and dies if we are gone by then */
	is_told = fgets(text, sizeof(text), says) && strchr(text, '\n') && sscanf(text, "%u %u %u %u %u %u", &port, &plain_port, &dead_ports[0],
							      &dead_ports[1], &dead_ports[2], &alive_port) == 6;
	fclose(says);
	return is_told ? 0 : -1;
}

static void stop_server(void)
{
	char command[64];

	close(server_stdin);
	waitpid(server_pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (system(command) != 0)
		perror("cannot remove the test's folder");
}

/* All that was on it comes at once, and nobody knows yet whether the next connection leads anywhere: one is tried, for all. */
static void tries_one_connection_for_all_after_one_that_leads_nowhere(void **state)
{
	enum { N = 50 };
	static struct answer all[N];
	struct answer watch = {0};
	struct kube_http *h = open_watch(dead_ports[2], &watch);

	kube_http_set_probes(h, 300, 300);
	run(h, &watch);
	kube_http_set_probes(h, 60000, 60000); /* the next connection is well, be it slow */
	assert_int_equal(kube_http_counters(h)->cut, 1);
	for (unsigned i = 0; i < N; i++)
		ask(h, &all[i], (struct kube_request){.path = "/watch"});
	for (unsigned i = 0; i < N; i++) {
		run(h, &all[i]);
		assert_int_equal(all[i].done_status, 200);
	}
	assert_int_equal(kube_http_counters(h)->connections, 2);
	kube_http_destroy(h);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sends_what_was_asked_for),
	    cmocka_unit_test(gives_bodies_as_they_come),
	    cmocka_unit_test(tells_a_status_from_a_failure),
	    cmocka_unit_test(ends_what_takes_too_long),
	    cmocka_unit_test(does_not_go_where_one_was_cancelled_without_an_answer),
	    cmocka_unit_test(lets_callbacks_cancel_and_ask),
	    cmocka_unit_test(opens_many_that_do_not_end_at_once),
	    cmocka_unit_test(waits_for_one_that_is_not_answered_only_for_a_moment),
	    cmocka_unit_test(refuses_a_server_that_it_cannot_trust),
	    cmocka_unit_test(trusts_by_the_name_that_is_given),
	    cmocka_unit_test(shows_who_it_is),
	    cmocka_unit_test(reads_the_token_again_when_it_is_refused),
	    cmocka_unit_test(runs_a_plugin_once_for_all),
	    cmocka_unit_test(says_why_a_plugin_gave_nothing),
	    cmocka_unit_test(does_not_wait_for_what_a_plugin_leaves_behind),
	    cmocka_unit_test(ends_a_plugin_with_itself),
	    cmocka_unit_test(waits_for_no_name_server),
	    cmocka_unit_test(ends_watches_on_a_connection_that_leads_nowhere),
	    cmocka_unit_test(tries_one_connection_for_all_after_one_that_leads_nowhere),
	    cmocka_unit_test(leaves_a_silent_watch_alone_whose_connection_is_well),
	};
	int rc;

	sem_init(&let_go, 0, 0);
	if (argc != 2 || start_server(argv[1]) != 0) {
		fprintf(stderr, "no server\n");
		return 1;
	}
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	stop_server();
	return rc;
}
