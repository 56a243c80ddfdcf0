/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes a connection of bytes; and that no request is ever taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route/route.h"
#include "translate/compile.h"

enum { L_TCP, L_PASS, L_TERM, L_WEB, L_IDLE, N_LISTENERS };

static void name(struct model *m, int32_t listener, const char *host, uint8_t mode)
{
	*model_add_name(m) = (struct model_server_name){.port = 443, .host = host, .listener = listener, .mode = mode};
}

static void route(struct model *m, uint32_t listener, const char *host, const char *its_name, struct model_split *split)
{
	*model_add_match(m) = (struct model_match){.listener = listener, .host = host, .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
						   .action = WEIR_ACTION_FORWARD, .n_splits = 1, .splits = split, .kind = "K", .ns = "n",
						   .name = its_name};
}

static struct weir_snapshot *make(void)
{
	static const struct model_listener listeners[N_LISTENERS] = {
	    [L_TCP] = {.port = 90, .proto = WEIR_PROTO_TCP, .kind = WEIR_LISTENER_STREAM, .host = "", .name = "tcp"},
	    [L_PASS] = {.port = 443, .proto = WEIR_PROTO_HTTPS, .kind = WEIR_LISTENER_STREAM, .host = "*.pass.example", .name = "pass"},
	    [L_TERM] = {.port = 443, .proto = WEIR_PROTO_HTTPS, .kind = WEIR_LISTENER_STREAM, .host = "term.example", .name = "term"},
	    [L_WEB] = {.port = 443, .proto = WEIR_PROTO_HTTPS, .host = "*.example", .name = "web"},
	    [L_IDLE] = {.port = 91, .proto = WEIR_PROTO_TCP, .kind = WEIR_LISTENER_STREAM, .host = "", .name = "idle"},
	};
	struct model_split split = {.weight = 1};
	struct model m;
	void *blob;
	size_t n;

	model_init(&m);
	for (unsigned i = 0; i < N_LISTENERS; i++)
		*model_add_listener(&m) = listeners[i];
	name(&m, L_PASS, "*.pass.example", WEIR_TLS_PASSTHROUGH);
	name(&m, L_TERM, "term.example", WEIR_TLS_TERMINATE);
	name(&m, L_WEB, "*.example", WEIR_TLS_TERMINATE);
	*model_add_backend(&m) = (struct model_backend){.name = "n/s:80"};
	route(&m, L_TCP, "", "tcp", &split);
	route(&m, L_PASS, "a.pass.example", "exact", &split);
	route(&m, L_PASS, "*.b.pass.example", "wild", &split);
	route(&m, L_TERM, "term.example", "term", &split);
	route(&m, L_WEB, "*.example", "web", &split);
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	model_fini(&m);
	return blob;
}

/* The name of its route; of a miss, the miss's. */
static const char *find(const struct weir_snapshot *s, uint16_t port, enum route_stream how, const char *server_name)
{
	static char out[64];
	const struct weir_ip local = {.b = {[15] = 7}};
	struct route_result r = route_find_stream(s, &local, port, how, slice_str(server_name));
	struct slice text;

	if (r.miss != ROUTE_HIT)
		return route_miss_name(r.miss);
	text = snapshot_str(s, snapshot_route(s, snapshot_rule(s, r.rule)->route)->name);
	snprintf(out, sizeof(out), "%.*s", (int)text.n, text.p);
	return out;
}

static void a_connection_is_its_whose_name_and_mode_it_has(void **state)
{
	static const struct {
		uint16_t port;
		enum route_stream how;
		const char *name, *route;
	} cases[] = {
	    {90, ROUTE_STREAM_TCP, "", "tcp"},
	    {91, ROUTE_STREAM_TCP, "", "no host"},
	    {92, ROUTE_STREAM_TCP, "", "no bind"},
	    {443, ROUTE_STREAM_TCP, "", "no listener"},
	    {443, ROUTE_STREAM_PASSED, "a.pass.example", "exact"},
	    {443, ROUTE_STREAM_PASSED, "x.b.pass.example", "wild"},
	    {443, ROUTE_STREAM_PASSED, "y.x.b.pass.example", "wild"},
	    {443, ROUTE_STREAM_PASSED, "c.pass.example", "no host"},
	    {443, ROUTE_STREAM_PASSED, "term.example", "no listener"}, /* another mode */
	    {443, ROUTE_STREAM_PASSED, "web.example", "no listener"},
	    {443, ROUTE_STREAM_PASSED, "", "no listener"},
	    {443, ROUTE_STREAM_TERMINATED, "term.example", "term"},
	    {443, ROUTE_STREAM_TERMINATED, "a.pass.example", "no listener"},
	    {443, ROUTE_STREAM_TERMINATED, "web.example", "no listener"}, /* of HTTP */
	    {90, ROUTE_STREAM_PASSED, "a.pass.example", "no listener"},
	};
	struct weir_snapshot *s = make();

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (strcmp(find(s, cases[i].port, cases[i].how, cases[i].name), cases[i].route) != 0)
			fail_msg("case %u: %s", i, find(s, cases[i].port, cases[i].how, cases[i].name));
	free(s);
}

static void no_request_is_a_streams(void **state)
{
	static const struct {
		uint16_t port;
		const char *host;
		enum route_miss miss;
	} cases[] = {
	    {443, "web.example", ROUTE_HIT},	      {443, "a.pass.example", ROUTE_NO_LISTENER},
	    {443, "term.example", ROUTE_NO_LISTENER}, {443, "x.term.example", ROUTE_HIT},
	    {90, "web.example", ROUTE_NO_LISTENER},
	};
	struct weir_snapshot *s = make();

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct route_request rq = {.local = {.b = {[15] = 7}}, .port = cases[i].port, .method = SLICE("GET"),
						 .host = slice_str(cases[i].host), .path = SLICE("/")};

		assert_int_equal(route_match(s, &rq).miss, cases[i].miss);
	}
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_connection_is_its_whose_name_and_mode_it_has),
	    cmocka_unit_test(no_request_is_a_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
