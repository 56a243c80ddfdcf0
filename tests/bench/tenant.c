/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What large objects of one tenant cost whoever else waits for weir-ctrl: a
 * Service of many ports, an Ingress of many hosts and backends, many
 * ReferenceGrants. Not a test: prints milliseconds of CPU time.
 *
 *   bench_tenant [N]   (500)
 *
 * N and twice N: what grows faster than its object shows.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "translate/translator.h"

#define N_RUNS 5
#define N_REFS 256u /* of an HTTPRoute: 16 rules with 16 backendRefs each */

static const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};

struct text {
	char *p;
	size_t n, cap;
};

static void say(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *fmt, ...)
{
	va_list ap;

	if (t->cap - t->n < 4096) {
		t->cap = t->cap * 2 + 8192;
		t->p = realloc(t->p, t->cap);
	}
	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
	va_end(ap);
}

static void put(struct store *s, enum kube_kind kind, struct text *t)
{
	store_put_json(s, kind, t->p, t->n);
	free(t->p);
	*t = (struct text){0};
}

#define META(ns, name) "\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\",\"uid\":\"u\",\"generation\":1}"

static void put_service(struct store *s, const char *ns, unsigned number, unsigned n_ports)
{
	struct text t = {0};

	say(&t, "{" META("%s", "s%u") ",\"spec\":{\"ports\":[", ns, number);
	for (unsigned i = 0; i < n_ports; i++)
		say(&t, "%s{\"name\":\"p%u\",\"port\":%u,\"protocol\":\"TCP\"}", i ? "," : "", i, 1000 + i);
	say(&t, "]}}");
	put(s, KUBE_SERVICE, &t);
}

static void put_slice(struct store *s, unsigned n_ports, unsigned salt)
{
	struct text t = {0};

	say(&t, "{\"metadata\":{\"namespace\":\"a\",\"name\":\"e\",\"generation\":1,\"labels\":{\"kubernetes.io/service-name\":\"s0\"}},"
		"\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.0.0.%u\"]}],\"ports\":[", 1 + salt);
	for (unsigned i = 0; i < n_ports; i++)
		say(&t, "%s{\"name\":\"p%u\",\"port\":%u,\"protocol\":\"TCP\"}", i ? "," : "", i, 1000 + i);
	say(&t, "]}");
	put(s, KUBE_ENDPOINT_SLICE, &t);
}

/* A host, with a prefix "/", and a backend each. */
static void put_ingress(struct store *s, unsigned n, unsigned n_ports, const char *path)
{
	struct text t = {0};

	say(&t, "{" META("a", "i") ",\"spec\":{\"rules\":[");
	for (unsigned i = 0; i < n; i++)
		say(&t, "%s{\"host\":\"h%u.example.org\",\"http\":{\"paths\":[{\"path\":\"%s\",\"pathType\":\"Prefix\",\"backend\":{\"service\":"
			"{\"name\":\"s%u\",\"port\":{\"number\":%u}}}}]}}", i ? "," : "", i, path, i / n_ports, 1000 + i % n_ports);
	say(&t, "]}}");
	put(s, KUBE_INGRESS, &t);
}

static void put_grant(struct store *s, unsigned i)
{
	struct text t = {0};

	say(&t, "{" META("a", "g%u") ",\"spec\":{\"from\":[{\"group\":\"gateway.networking.k8s.io\",\"kind\":\"HTTPRoute\",\"namespace\":"
		"\"n%u\"}],\"to\":[{\"group\":\"\",\"kind\":\"Service\"}]}}", i, i);
	put(s, KUBE_REFERENCE_GRANT, &t);
}

/* Of another namespace than its Services: each reference is asked for. */
static void put_route(struct store *s, const char *path)
{
	struct text t = {0};

	say(&t, "{" META("b", "r") ",\"spec\":{\"parentRefs\":[{\"name\":\"g\"}],\"rules\":[");
	for (unsigned rule = 0; rule < 16; rule++) {
		say(&t, "%s{\"matches\":[{\"path\":{\"type\":\"PathPrefix\",\"value\":\"%s%u\"}}],\"backendRefs\":[", rule ? "," : "", path, rule);
		for (unsigned i = 0; i < N_REFS / 16; i++)
			say(&t, "%s{\"name\":\"s0\",\"namespace\":\"a\",\"port\":%u}", i ? "," : "", 1000 + rule * 16 + i);
		say(&t, "]}");
	}
	say(&t, "]}}");
	put(s, KUBE_HTTP_ROUTE, &t);
}

static void put_gateway(struct store *s)
{
	struct text t = {0};

	say(&t, "{\"metadata\":{\"name\":\"weir\"},\"spec\":{\"controllerName\":\"" TRANSLATE_CONTROLLER "\"}}");
	put(s, KUBE_GATEWAY_CLASS, &t);
	say(&t, "{" META("b", "g") ",\"spec\":{\"gatewayClassName\":\"weir\",\"listeners\":[{\"name\":\"l\",\"protocol\":\"HTTP\",\"port\":80}]}}");
	put(s, KUBE_GATEWAY, &t);
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double follow(struct store *s, struct translator *tr)
{
	struct translator_changes c;
	size_t n;
	const struct store_change *journal = store_journal(s, &n);
	double from = cpu_ms();

	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
	return cpu_ms() - from;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static void tell(const char *what, unsigned n, double *ms)
{
	qsort(ms, N_RUNS, sizeof(*ms), by_value);
	printf("%-66s %6u %9.3f ms (%.3f - %.3f)\n", what, n, ms[N_RUNS / 2], ms[0], ms[N_RUNS - 1]);
}

typedef void change_fn(struct store *s, unsigned n, unsigned run);

static void measure(const char *what, unsigned n, change_fn *fill, change_fn *change)
{
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &options);
	double ms[N_RUNS];

	store_keep_journal(s);
	fill(s, n, 0);
	follow(s, tr);
	for (unsigned i = 0; i < N_RUNS; i++) {
		change(s, n, i);
		ms[i] = follow(s, tr);
	}
	tell(what, n, ms);
	translator_destroy(tr);
	store_destroy(s);
}

static void fill_ports(struct store *s, unsigned n, unsigned run)
{
	put_service(s, "a", 0, n);
	put_slice(s, n, 0);
	put_ingress(s, n, n, "/");
}

static void change_slice(struct store *s, unsigned n, unsigned run)
{
	put_slice(s, n, run + 1);
}

static void fill_hosts(struct store *s, unsigned n, unsigned run)
{
	for (unsigned i = 0; i <= 10 * n / 100; i++)
		put_service(s, "a", i, 100);
	put_ingress(s, 10 * n, 100, "/");
}

static void change_hosts(struct store *s, unsigned n, unsigned run)
{
	put_ingress(s, 10 * n, 100, run % 2 ? "/" : "/x");
}

static void fill_grants(struct store *s, unsigned n, unsigned run)
{
	put_gateway(s);
	put_service(s, "a", 0, N_REFS);
	for (unsigned i = 0; i < n; i++)
		put_grant(s, i);
	put_route(s, "/");
}

static void change_route(struct store *s, unsigned n, unsigned run)
{
	put_route(s, run % 2 ? "/" : "/x");
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 500;

	for (unsigned k = 1; k <= 2; k++) {
		measure("slice of a Service whose ports are all backends", k * n, fill_ports, change_slice);
		measure("Ingress of ten times as many hosts and backends", k * n, fill_hosts, change_hosts);
		measure("HTTPRoute of 256 references into a namespace with that many grants", k * n, fill_grants, change_route);
	}
	return 0;
}
