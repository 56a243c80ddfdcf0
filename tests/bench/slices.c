/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a slice costs in which a worker does what a control message asks for,
 * or makes a balancer's table (upstream/change.c, balance.c). Not a test: prints.
 *
 *   bench_slices [RUNS [BYTES_BETWEEN]]
 *
 * BYTES_BETWEEN are read and written between two slices, as traffic would. The work is the same in each
 * run, slice by slice; of each slice the least of all runs counts, since what is above it was the
 * machine's. TCP is a stub: the segments of connections that are closed are not in it.
 */
#define MAX_SET 8192
#include "../unit/upstream/rig.h"

#include <rte_cycles.h>

#define N_BACKENDS 8192u
#define MAX_SLICES 200000u

static unsigned n_runs = 9;
static size_t n_between = 4 << 20; /* more than the second-level cache of a core holds */
static volatile char *between;
static uint64_t least[MAX_SLICES];
static unsigned n_least;

/* -- measuring */

static void use_cache(void)
{
	for (size_t i = 0; i < n_between; i += 64)
		between[i]++;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double us(uint64_t cycles)
{
	return (double)cycles * 1e6 / (double)rte_get_tsc_hz();
}

static void print(const char *what)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n_least; i++)
		sum += least[i];
	qsort(least, n_least, sizeof(*least), by_value);
	printf("%-66s %7u %8.1f %8.1f %9.0f\n", what, n_least, us(least[n_least - 1]), us(least[n_least / 2]), us(sum));
}

static bool step(void)
{
	int budget = UPSTREAM_SLICE;

	return upstream_step(u, &budget, now);
}

static bool work(void)
{
	int budget = UPSTREAM_SLICE;

	now += WORK_EVERY_US;
	upstream_work(u, &budget, now);
	return !is_building(u);
}

/* Slices until slice() says that it was the last one. */
static void measure(unsigned run, bool (*slice)(void))
{
	bool is_done = false;

	if (run == 0)
		n_least = 0;
	for (unsigned i = 0; !is_done && i < MAX_SLICES; i++) {
		uint64_t t;

		use_cache();
		t = rte_rdtsc_precise();
		is_done = slice();
		t = rte_rdtsc_precise() - t;
		if (i == n_least)
			least[n_least++] = t;
		else if (t < least[i])
			least[i] = t;
	}
}

static void to_end(bool (*slice)(void))
{
	while (!slice())
		;
}

/* -- snapshots */

static struct weir_snapshot *many_backends(uint32_t n, uint8_t balance)
{
	static char names[N_BACKENDS][16];
	struct model m;
	void *blob;
	size_t size;

	model_init(&m);
	*model_add_listener(&m) = (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "l"};
	for (uint32_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "n/b%u:80", i);
		*model_add_backend(&m) = (struct model_backend){.name = names[i], .balance = {.fixed = {.balance = balance}}};
	}
	if (compile_snapshot(&m, 1, &blob, &size) != 0)
		exit(1);
	model_fini(&m);
	return blob;
}

static void *make_set(const char *name, uint32_t n, uint32_t first)
{
	const struct model_backend b = {.name = name, .n_endpoints = n, .endpoints = list};
	void *blob;
	size_t size;

	make_list(n, 1);
	for (uint32_t i = 0; i < n; i++)
		list[i].addr.b[13] = (uint8_t)first;
	if (compile_endpoints(&b, 1, &blob, &size) != 0)
		exit(1);
	return blob;
}

static void take(void *set)
{
	upstream_set_endpoints(u, set, now);
	to_end(step);
	free(set);
}

static void snapshots(void)
{
	struct weir_snapshot *all = many_backends(N_BACKENDS, WEIR_BALANCE_ROUND_ROBIN);
	struct weir_snapshot *other = many_backends(N_BACKENDS, WEIR_BALANCE_RANDOM);
	struct weir_snapshot *none = many_backends(0, 0);
	char name[32];

	for (int what = 0; what < 3; what++) {
		static const char *const titles[] = {"snapshot of 8192 backends, all as they were", "snapshot of 8192 backends, all with other settings",
						     "snapshot that drops 8192 backends of 3 endpoints each"};
		for (unsigned run = 0; run < n_runs; run++) {
			start();
			for (uint32_t i = 0; i < N_BACKENDS; i++) {
				snprintf(name, sizeof(name), "n/b%u:80", i);
				take(make_set(name, 3, 0));
			}
			upstream_retain(u, all);
			to_end(step);
			upstream_retain(u, what == 0 ? all : what == 1 ? other : none);
			measure(run, step);
			end();
		}
		print(titles[what]);
	}
	free(all);
	free(other);
	free(none);
}

/* -- sets */

static void sets(void)
{
	static const char *const titles[] = {"set of 8192 endpoints, the first one", "the same set again", "a set of 8192 others", "a set of none"};

	for (int what = 0; what < 4; what++) {
		for (unsigned run = 0; run < n_runs; run++) {
			void *set;

			start();
			settings(true);
			if (what)
				take(make_set("n/s:80", 8192, 0));
			set = make_set("n/s:80", what == 3 ? 0 : 8192, what == 2);
			upstream_set_endpoints(u, set, now);
			measure(run, step);
			free(set);
			end();
		}
		print(titles[what]);
	}
}

static void tables(void)
{
	static const struct {
		uint8_t balance;
		const char *title;
	} t[] = {
		{WEIR_BALANCE_MAGLEV, "Maglev table"}, {WEIR_BALANCE_RING_HASH, "ring"}, {WEIR_BALANCE_ROUND_ROBIN, "heap of weighted round robin"},
		{WEIR_BALANCE_RANDOM, "aliases of random"},
	};
	static const uint32_t sizes[] = {100, 8192};

	for (size_t k = 0; k < sizeof(t) / sizeof(*t); k++)
		for (size_t j = 0; j < 2; j++) {
			char title[80];

			for (unsigned run = 0; run < n_runs; run++) {
				start();
				set_backend.balance = t[k].balance;
				settings(true);
				make_list(sizes[j], 1);
				if (t[k].balance == WEIR_BALANCE_ROUND_ROBIN) /* else it needs no table */
					list[7].weight = 3;
				send_list_to("n/s:80", true);
				rigs[0].u->prng = 1;
				measure(run, work);
				end();
			}
			snprintf(title, sizeof(title), "%s, %u endpoints", t[k].title, sizes[j]);
			print(title);
		}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		n_runs = (unsigned)atoi(argv[1]);
	if (argc > 2)
		n_between = strtoull(argv[2], NULL, 0);
	between = calloc(1, n_between + 1);
	test_eal_init();
	n_rig_backends = N_BACKENDS + 16;
	printf("%-66s %7s %8s %8s %9s\n", "microseconds", "slices", "worst", "median", "all");
	snapshots();
	sets();
	tables();
	return 0;
}
