/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What weir-ctrl does between a change and what it hands to the dataplane,
 * step by step, in a cluster of any size. Not a test: prints milliseconds of CPU time.
 *
 *   bench_translate [INGRESSES HTTPROUTES SERVICES ENDPOINTS]   (10000 3000 5000 50000)
 */
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"
#include "status/status.h"
#include "translate/compile.h"
#include "translate/translator.h"

#define N_GATEWAYS 20u
#define N_LISTENERS 5u
#define N_RUNS 5

struct scale {
	unsigned n_ingresses, n_routes, n_services, n_endpoints;
};

static const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double resident_mb(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long size = 0, resident = 0;

	if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void put(struct store *s, enum kube_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void put(struct store *s, enum kube_kind kind, const char *fmt, ...)
{
	char text[8192];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	store_put_json(s, kind, text, (size_t)n);
}

#define META(created) "\"metadata\":{\"namespace\":\"ns%u\",\"name\":\"%s%u\",\"uid\":\"u\",\"resourceVersion\":\"%u\"," \
	"\"generation\":1,\"creationTimestamp\":\"2026-01-01T00:00:00Z\"" created "}"

static void put_route(struct store *s, const struct scale *c, unsigned i, const char *path)
{
	unsigned service = i % c->n_services;

	put(s, KUBE_HTTP_ROUTE,
	    "{" META("") ",\"spec\":{\"parentRefs\":[{\"namespace\":\"infra\",\"name\":\"gw%u\"}],\"hostnames\":[\"r%u.l%u.example.com\"],"
	    "\"rules\":[{\"matches\":[{\"path\":{\"type\":\"PathPrefix\",\"value\":\"%s\"}}],\"backendRefs\":[{\"name\":\"svc%u\","
	    "\"port\":80}]}]}}",
	    service % 100, "route", i, i, i % N_GATEWAYS, i, i % N_LISTENERS, path, service);
}

static void put_ingress(struct store *s, const struct scale *c, unsigned i, const char *path)
{
	unsigned service = i % c->n_services;

	put(s, KUBE_INGRESS,
	    "{" META("") ",\"spec\":{\"rules\":[{\"host\":\"i%u.example.org\",\"http\":{\"paths\":[{\"path\":\"%s\",\"pathType\":\"Prefix\","
	    "\"backend\":{\"service\":{\"name\":\"svc%u\",\"port\":{\"number\":80}}}}]}}]}}",
	    service % 100, "ing", i, i, i, path, service);
}

static void put_service(struct store *s, unsigned i)
{
	put(s, KUBE_SERVICE, "{" META("") ",\"spec\":{\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080}]}}", i % 100, "svc",
	    i, i);
}

static void put_slice(struct store *s, const struct scale *c, unsigned i, unsigned salt)
{
	unsigned n_each = c->n_endpoints / c->n_services;
	char list[7000] = "";
	size_t len = 0;

	for (unsigned k = 0; k < n_each && len < sizeof(list) - 200; k++)
		len += (size_t)snprintf(list + len, sizeof(list) - len,
					"%s{\"addresses\":[\"10.%u.%u.%u\"],\"conditions\":{\"ready\":true,\"serving\":true,\"terminating\":"
					"false},\"nodeName\":\"node-%u\",\"targetRef\":{\"kind\":\"Pod\",\"name\":\"svc%u-%u\",\"namespace\":"
					"\"ns%u\"}}",
					k ? "," : "", 1 + i / 250, 1 + i % 250, 1 + (k + salt) % 250, k, i, k, i % 100);
	put(s, KUBE_ENDPOINT_SLICE,
	    "{" META(",\"labels\":{\"kubernetes.io/service-name\":\"svc%u\"}") ",\"addressType\":\"IPv4\",\"endpoints\":[%s],\"ports\":"
	    "[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}]}",
	    i % 100, "slice", i, i + salt, i, list);
}

static void put_gateway(struct store *s, unsigned i, unsigned salt)
{
	char list[2000] = "";
	size_t len = 0;

	for (unsigned k = 0; k < N_LISTENERS; k++)
		len += (size_t)snprintf(list + len, sizeof(list) - len,
					"%s{\"name\":\"l%u\",\"protocol\":\"HTTP\",\"port\":%u,\"hostname\":\"*.l%u.example.com\","
					"\"allowedRoutes\":{\"namespaces\":{\"from\":\"All\"}}}",
					k ? "," : "", k, 8000 + i, k);
	put(s, KUBE_GATEWAY,
	    "{\"metadata\":{\"namespace\":\"infra\",\"name\":\"gw%u\"},\"spec\":{\"gatewayClassName\":\"weir\",\"listeners\":[%s]},"
	    "\"status\":{\"salt\":%u}}",
	    i, list, salt);
}

static void load(struct store *s, const struct scale *c)
{
	put(s, KUBE_GATEWAY_CLASS, "{\"metadata\":{\"name\":\"weir\"},\"spec\":{\"controllerName\":\"" TRANSLATE_CONTROLLER "\"}}");
	for (unsigned i = 0; i < N_GATEWAYS; i++)
		put_gateway(s, i, 0);
	for (unsigned i = 0; i < 100; i++)
		put(s, KUBE_NAMESPACE, "{\"metadata\":{\"name\":\"ns%u\"}}", i);
	for (unsigned i = 0; i < c->n_services; i++)
		put_service(s, i);
	for (unsigned i = 0; i < c->n_services; i++)
		put_slice(s, c, i, 0);
	for (unsigned i = 0; i < c->n_ingresses; i++)
		put_ingress(s, c, i, "/");
	for (unsigned i = 0; i < c->n_routes; i++)
		put_route(s, c, i, "/");
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static void tell(const char *what, double *ms, unsigned n)
{
	qsort(ms, n, sizeof(*ms), by_value);
	printf("%-52s %9.3f ms (%.3f - %.3f), %.1f MB\n", what, ms[n / 2], ms[0], ms[n - 1], resident_mb());
}

static void count_document(void *ctx, const struct status_document *d)
{
	++*(size_t *)ctx;
}

static void measure_whole(struct store *s, struct model *m)
{
	double t[4][N_RUNS], from;
	size_t n_bytes = 0, n_documents = 0;

	for (unsigned i = 0; i < N_RUNS; i++) {
		struct snapshot_error why;
		void *blob;

		model_fini(m);
		from = cpu_ms();
		model_init(m);
		translate(s, &options, m);
		t[0][i] = cpu_ms() - from;
		from = cpu_ms();
		if (compile_snapshot(m, 1, &blob, &n_bytes) != 0)
			abort();
		t[1][i] = cpu_ms() - from;
		from = cpu_ms();
		if (snapshot_check(blob, n_bytes, &why) != WEIR_REFUSED_OK)
			abort();
		t[2][i] = cpu_ms() - from;
		free(blob);
		from = cpu_ms();
		n_documents = 0;
		status_make(s, m, &(struct status_options){.controller_name = TRANSLATE_CONTROLLER}, count_document, &n_documents);
		t[3][i] = cpu_ms() - from;
	}
	tell("translate, all", t[0], N_RUNS);
	tell("compile_snapshot", t[1], N_RUNS);
	tell("snapshot_check", t[2], N_RUNS);
	tell("status_make, nothing written yet", t[3], N_RUNS);
	printf("%zu matches, %zu backends, %zu problems, %zu statuses, %zu documents, snapshot of %zu bytes\n", m->n_matches,
	       m->n_backends, m->n_problems, m->n_statuses, n_documents, n_bytes);
}

static void follow(struct store *s, struct translator *tr, struct translator_changes *c)
{
	size_t n;
	const struct store_change *journal = store_journal(s, &n);

	translator_run(tr, journal, n, c);
	store_clear_journal(s);
}

/* Of an HTTPRoute that has changed. */
static double make_marked(struct store *s, struct translator *tr)
{
	struct marks *marks = translator_marks(tr);
	size_t n = 0;
	double from = cpu_ms();

	marks_sort(marks);
	status_make(s, translator_model(tr), &(struct status_options){.controller_name = TRANSLATE_CONTROLLER, .only = marks},
		    count_document, &n);
	marks_clear(marks);
	return cpu_ms() - from;
}

static void measure_changes(struct store *s, const struct scale *c)
{
	struct translator *tr = translator_create(s, &options);
	struct translator_changes found;
	double t[6][N_RUNS], from = cpu_ms();

	store_keep_journal(s);
	follow(s, tr, &found);
	marks_clear(translator_marks(tr));
	printf("%-52s %9.3f ms, %.1f MB\n", "translator: first run", cpu_ms() - from, resident_mb());
	for (unsigned i = 0; i < N_RUNS; i++) {
		from = cpu_ms();
		put_slice(s, c, i % c->n_services, i + 1);
		t[0][i] = cpu_ms() - from;
		from = cpu_ms();
		follow(s, tr, &found);
		if (found.n_backends != 1 || found.routes)
			abort();
		t[1][i] = cpu_ms() - from;
		put_route(s, c, i, "/other");
		from = cpu_ms();
		follow(s, tr, &found);
		if (!found.routes)
			abort();
		t[2][i] = cpu_ms() - from;
		t[4][i] = make_marked(s, tr);
		put_gateway(s, 0, i + 1);
		from = cpu_ms();
		follow(s, tr, &found);
		if (found.routes)
			abort();
		t[5][i] = cpu_ms() - from;
		put_ingress(s, c, i, "/other");
		from = cpu_ms();
		follow(s, tr, &found);
		if (!found.routes)
			abort();
		t[3][i] = cpu_ms() - from;
	}
	tell("store_put_json of a slice", t[0], N_RUNS);
	tell("translator: one slice changed", t[1], N_RUNS);
	tell("translator: one HTTPRoute changed", t[2], N_RUNS);
	tell("status_make of what that is told", t[4], N_RUNS);
	tell("translator: the status of a Gateway changed", t[5], N_RUNS);
	tell("translator: one Ingress changed", t[3], N_RUNS);
	translator_destroy(tr);
}

int main(int argc, char **argv)
{
	struct scale c = {10000, 3000, 5000, 50000};
	struct store *s = store_create();
	struct model m;
	double t, before = resident_mb();

	if (argc == 5)
		c = (struct scale){(unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4])};
	t = cpu_ms();
	load(s, &c);
	t = cpu_ms() - t;
	printf("store: %.1f ms, %.1f MB\n", t, resident_mb() - before);
	model_init(&m);
	measure_whole(s, &m);
	model_fini(&m);
	measure_changes(s, &c);
	store_destroy(s);
	return 0;
}
