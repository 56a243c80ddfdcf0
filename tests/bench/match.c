/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a look-up costs by itself, with many routes and with one, each seen
 * by a cache that other work has used meanwhile. Not a test: prints.
 *
 *   bench_match MANIFEST HOSTS PATHS [BYTES_BETWEEN]
 *
 * The manifest is what routes.py writes; BYTES_BETWEEN are read and written between two look-ups.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <x86intrin.h>

#include "../golden/dump.h"
#include "route/route.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"

#define N 200000u
#define N_BATCH 16u

struct args {
	unsigned n_hosts, n_paths;
	size_t n_mem;
	volatile char *mem;
};

static uint64_t prng = 1;

static uint64_t rnd(void)
{
	uint64_t z = prng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	return z ^ (z >> 31);
}

static struct slice no_header(const void *ctx, struct slice name)
{
	return slice_of(NULL, 0);
}

static void use_cache(volatile char *mem, size_t n)
{
	for (size_t i = 0; i < n; i += 64)
		mem[i]++;
}

struct batch {
	char host[N_BATCH][64], path[N_BATCH][64];
	struct route_request q[N_BATCH];
};

static void make_batch(struct batch *b, unsigned n_hosts, unsigned n_paths)
{
	for (unsigned i = 0; i < N_BATCH; i++) {
		int n_host = snprintf(b->host[i], sizeof(b->host[i]), "h%05u.routes.example.com", (unsigned)(rnd() % n_hosts));
		int n_path = snprintf(b->path[i], sizeof(b->path[i]), "/p%02u/00000000/0000000a", (unsigned)(rnd() % n_paths));

		b->q[i] = (struct route_request){.port = 80, .method = SLICE("GET"), .header = no_header,
						 .host = slice_of(b->host[i], (size_t)n_host), .path = slice_of(b->path[i], (size_t)n_path)};
	}
}

static uint64_t now(void)
{
	unsigned aux;
	uint64_t t;

	_mm_lfence();
	t = __rdtscp(&aux);
	_mm_lfence();
	return t;
}

static void look_ahead(const struct weir_snapshot *s, const struct batch *b)
{
	struct route_soon soon[N_BATCH];

	for (unsigned i = 0; i < N_BATCH; i++)
		soon[i] = (struct route_soon){.port = 80, .host = b->q[i].host, .path = b->q[i].path};
	route_look_ahead(s, soon, N_BATCH);
}

static double run(const struct weir_snapshot *s, const struct args *a, bool has_all, bool is_ahead)
{
	uint64_t cycles = 0;

	for (unsigned i = 0; i < N; i += N_BATCH) {
		static struct batch b;
		uint64_t t;

		make_batch(&b, has_all ? a->n_hosts : 1, has_all ? a->n_paths : 1);
		use_cache(a->mem, a->n_mem);
		t = now();
		if (is_ahead)
			look_ahead(s, &b);
		for (unsigned k = 0; k < N_BATCH; k++) {
			struct route_result r = route_match(s, &b.q[k]);

			if (r.miss != ROUTE_HIT)
				exit(1);
			prng ^= route_pick_split(s, snapshot_rule(s, r.rule), 77) & 1;
			_mm_lfence();
		}
		t = now() - t;
		cycles += t < 20000 * N_BATCH ? t : 20000 * N_BATCH; /* interrupts */
	}
	return (double)cycles / N;
}

int main(int argc, char **argv)
{
	struct store *st = store_create();
	struct args a = {.n_hosts = (unsigned)atoi(argv[2]), .n_paths = (unsigned)atoi(argv[3]),
			 .n_mem = argc > 4 ? strtoull(argv[4], NULL, 0) : 0};
	struct model m;
	void *blob, *copy;
	size_t n;

	a.mem = calloc(1, a.n_mem + 1);
	load(st, argv[1], "routes.yaml");
	translate_all(st, &m);
	if (compile_snapshot(&m, 1, &blob, &n) != 0)
		return 1;
	copy = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(copy, n, MADV_HUGEPAGE);
	memcpy(copy, blob, n);
	printf("%zu bytes; cycles of a look-up: one route, all routes, all routes with looking ahead\n", n);
	for (unsigned i = 0; i < 3; i++)
		printf("%.0f %.0f %.0f\n", run(copy, &a, false, false), run(copy, &a, true, false), run(copy, &a, true, true));
	return 0;
}
