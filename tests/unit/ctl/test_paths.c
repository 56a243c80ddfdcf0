/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to pods that weir-ctrl gives, beside those of weir.yaml and of the
 * kernel: what is taken, which one counts, when workers get the table, and
 * that each table is freed once, after the last worker has another one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

#include "rig.h"

#define MAX 8

struct set {
	struct weir_paths head;
	struct weir_pod_path path[MAX];
};

static struct peer peer;

static struct weir_ip ip(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

static int setup(void **state)
{
	ctl_setup(NULL);
	peer_open(&peer);
	return 0;
}

/* With a way of weir.yaml. */
static int setup_fixed(void **state)
{
	static struct weir_pod_path fixed;

	fixed = (struct weir_pod_path){.prefix = ip("10.244.0.0"), .prefix_len = 24, .kind = WEIR_PATH_ROUTE, .via = ip("10.0.0.99")};
	fixed_paths = &fixed;
	n_fixed_paths = 1;
	setup(NULL);
	fixed_paths = NULL;
	n_fixed_paths = 0;
	return 0;
}

static int teardown(void **state)
{
	peer_close(&peer);
	for (unsigned i = 0; i < N_WORKERS; i++)
		workers[i].is_asleep = false;
	rig_turns(5);
	return ctl_teardown(NULL);
}

/* Ways to 10.244.0.0/24, 10.244.1.0/24 and so on by 10.0.0.by, through tunnels. */
static struct set make(uint32_t n, uint8_t by)
{
	struct set s = {.head = {.magic = WEIR_PATHS_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR, .n_paths = n}};

	s.head.vtep[0] = (struct weir_vtep){.source = ip("10.244.9.0"), .mac = {2}, .port = 8472, .vni = 1};
	for (uint32_t i = 0; i < n; i++) {
		s.path[i] = (struct weir_pod_path){.prefix = ip("10.244.0.0"), .prefix_len = 24, .kind = WEIR_PATH_VXLAN, .via = ip("10.0.0.0"), .mac = {2}};
		s.path[i].prefix.b[14] = (uint8_t)i;
		s.path[i].via.b[15] = by;
	}
	return s;
}

static size_t size_of(const struct set *s)
{
	return sizeof(s->head) + s->head.n_paths * sizeof(s->path[0]);
}

static void put(uint64_t id, struct set s)
{
	s.head.checksum = hash64_zeroed(&s, size_of(&s), offsetof(struct weir_paths, checksum), 8, 0);
	memcpy(peer.arena, &s, size_of(&s));
	peer_put(&peer, (struct weir_msg){.type = WEIR_MSG_PATHS, .size = size_of(&s), .id = id});
}

static enum weir_refusal give(struct set s)
{
	static uint64_t id;
	struct weir_msg m;

	put(++id, s);
	m = peer_await(&peer, WEIR_MSG_BLOB_DONE);
	assert_int_equal(m.about, WEIR_MSG_PATHS);
	assert_int_equal(m.id, id);
	rig_turns(3);
	return m.status;
}

/* The last byte of where every worker would send a packet to this address; 0: the table does not say. */
static uint8_t by_of(const char *to)
{
	const struct weir_ip a = ip(to);
	uint8_t by = 0;

	for (unsigned i = 0; i < N_WORKERS; i++) {
		const struct fib *f = workers[i].fib;
		const struct fib_entry *e = f ? fib_find(f, &a) : NULL;
		uint8_t b = e ? fib_hop_for(f, e, 0)->via.b[15] : 0;

		assert_true(i == 0 || b == by);
		by = b;
	}
	return by;
}

static void workers_have_what_came_last(void **state)
{
	uint32_t taken = stats->paths_taken;

	assert_int_equal(by_of("10.244.1.5"), 0);
	assert_int_equal(give(make(2, 7)), WEIR_REFUSED_OK);
	assert_int_equal(by_of("10.244.1.5"), 7);
	assert_int_equal(by_of("10.244.2.5"), 0);
	assert_int_equal(stats->n_paths, 2);
	assert_int_equal(give(make(3, 8)), WEIR_REFUSED_OK);
	assert_int_equal(by_of("10.244.2.5"), 8);
	assert_int_equal(give(make(1, 9)), WEIR_REFUSED_OK); /* all of them at a time */
	assert_int_equal(by_of("10.244.0.5"), 9);
	assert_int_equal(by_of("10.244.1.5"), 0);
	assert_int_equal(give(make(0, 0)), WEIR_REFUSED_OK);
	assert_int_equal(by_of("10.244.0.5"), 0);
	assert_int_equal(stats->paths_taken, taken + 4);
	assert_null(ctl->paths.former);
}

static void ways_of_weir_yaml_are_there_first_and_come_first(void **state)
{
	rig_turns(3);
	assert_int_equal(by_of("10.244.0.5"), 99);
	assert_int_equal(give(make(2, 7)), WEIR_REFUSED_OK);
	assert_int_equal(by_of("10.244.0.5"), 99);
	assert_int_equal(by_of("10.244.1.5"), 7);
	assert_int_equal(stats->n_paths, 2);
}

static void ways_of_the_kernel_come_last_and_may_have_several_hops(void **state)
{
	struct fib_hop hops[2] = {{.kind = WEIR_PATH_ROUTE, .via = ip("10.0.0.51")}, {.kind = WEIR_PATH_ROUTE, .via = ip("10.0.0.52")}};
	struct fib_route routes[2] = {{.prefix = ip("10.244.1.0"), .len = 24, .n_hops = 1, .hops = hops},
				      {.prefix = ip("10.0.0.0"), .len = 8, .n_hops = 2, .hops = hops}};
	const struct weir_ip a = ip("10.9.9.9");
	const struct fib *f;

	give(make(2, 7));
	assert_int_equal(ctl_set_kernel_routes(ctl, routes, 2), 0);
	memset(hops, 0, sizeof(hops));
	rig_turns(3);
	assert_int_equal(by_of("10.244.1.5"), 7);
	assert_int_equal(by_of("10.9.9.9"), 51);
	f = workers[0].fib;
	assert_int_equal(fib_hop_for(f, fib_find(f, &a), UINT64_MAX)->via.b[15], 52);
	give(make(1, 8));
	assert_int_equal(by_of("10.244.1.5"), 51);
	assert_int_equal(ctl_set_kernel_routes(ctl, NULL, 0), 0);
	rig_turns(3);
	assert_int_equal(by_of("10.9.9.9"), 0);
	assert_int_equal(by_of("10.244.0.5"), 8);
}

/* What connections have as their source is heard at until there is yet another one. */
static void former_end_is_still_heard_at(void **state)
{
	const struct weir_ip a = ip("10.244.9.0"), b = ip("10.244.8.0"), c = ip("10.244.7.0");
	struct set s = make(1, 7);

	give(s);
	s.path[0].kind = WEIR_PATH_ROUTE;
	memset(s.path[0].mac, 0, 6);
	memset(s.head.vtep, 0, sizeof(s.head.vtep));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(give(s), WEIR_REFUSED_OK);
		assert_true(fib_is_source(workers[0].fib, &a));
	}
	s = make(1, 7);
	s.head.vtep[0].source = b;
	give(s);
	assert_true(fib_is_source(workers[0].fib, &a) && fib_is_source(workers[0].fib, &b));
	s.head.vtep[0].source = c;
	give(s);
	assert_false(fib_is_source(workers[0].fib, &a));
	assert_true(fib_is_source(workers[0].fib, &b) && fib_is_source(workers[0].fib, &c));
}

static void they_outlive_the_connection(void **state)
{
	give(make(2, 7));
	peer_close(&peer);
	rig_turns(10);
	assert_int_equal(ctl->conn.fd, -1);
	assert_int_equal(by_of("10.244.1.5"), 7);
	peer_open(&peer);
	rig_turns(10);
	assert_int_equal(by_of("10.244.1.5"), 7);
}

static void table_stays_while_a_worker_may_read_it(void **state)
{
	const struct fib *first;

	give(make(2, 7));
	first = workers[1].fib;
	workers[1].is_asleep = true;
	give(make(2, 8));
	assert_ptr_equal(ctl->paths.former, first); /* not freed: sanitizers would see who reads it */
	assert_int_equal(fib_n_entries(first), 2);
	for (uint8_t i = 0; i < 100; i++)
		assert_int_equal(give(make(3, (uint8_t)(100 + i))), WEIR_REFUSED_OK);
	assert_int_equal(workers[0].n_fibs, 2); /* of all these the last one is given out */
	workers[1].is_asleep = false;
	rig_turns(10);
	assert_int_equal(by_of("10.244.2.5"), 199);
	assert_int_equal(workers[0].n_fibs, 3);
	assert_null(ctl->paths.former);
	assert_null(ctl->paths.due);
}

static void arena_is_looked_at_once(void **state)
{
	workers[1].is_asleep = true; /* so that it waits */
	put(1, make(2, 7));
	assert_int_equal(peer_await(&peer, WEIR_MSG_BLOB_DONE).status, WEIR_REFUSED_OK);
	memset(peer.arena, 0xaa, sizeof(struct set));
	workers[1].is_asleep = false;
	rig_turns(5);
	assert_int_equal(by_of("10.244.1.5"), 7);
}

static void wrong_ones_are_refused_and_the_last_stay(void **state)
{
	struct set bad[] = {make(2, 1), make(2, 1), make(2, 1), make(2, 1)};
	const enum weir_refusal why[] = {WEIR_REFUSED_BAD_MAGIC, WEIR_REFUSED_BAD_ABI, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_ORDER};
	uint32_t refused = stats->paths_refused;

	give(make(2, 7));
	bad[0].head.magic = 0;
	bad[1].head.abi_major++;
	bad[2].path[1].kind = 0;
	bad[3].path[1] = bad[3].path[0];
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_int_equal(give(bad[i]), why[i]);
	assert_int_equal(by_of("10.244.1.5"), 7);
	assert_int_equal(stats->paths_refused, refused + COUNT(bad));
}

static enum weir_refusal give_place(uint64_t off, uint64_t size)
{
	peer_put(&peer, (struct weir_msg){.type = WEIR_MSG_PATHS, .off = off, .size = size, .id = 7});
	return peer_await(&peer, WEIR_MSG_BLOB_DONE).status;
}

static void place_is_checked(void **state)
{
	const struct set s = make(1, 7);
	const uint64_t n = size_of(&s);

	assert_int_equal(give(s), WEIR_REFUSED_OK);
	assert_int_equal(give_place(0, sizeof(s.head) - 1), WEIR_REFUSED_TRUNCATED);
	assert_int_equal(give_place(0, n - 1), WEIR_REFUSED_TRUNCATED);
	assert_int_equal(give_place(0, n + 1), WEIR_REFUSED_TOO_BIG);
	assert_int_equal(give_place(0, UINT64_MAX), WEIR_REFUSED_TOO_BIG);
	assert_int_equal(give_place(1, n), WEIR_REFUSED_BAD_PLACE);
	assert_int_equal(give_place(UINT64_MAX - 63, n), WEIR_REFUSED_BAD_PLACE);
	assert_int_equal(give_place(peer.region->arena_size - 64, n), WEIR_REFUSED_BAD_PLACE);
	assert_int_equal(give_place(0, n), WEIR_REFUSED_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(workers_have_what_came_last),
		cmocka_unit_test_setup_teardown(ways_of_weir_yaml_are_there_first_and_come_first, setup_fixed, teardown),
		TEST(ways_of_the_kernel_come_last_and_may_have_several_hops),
		TEST(former_end_is_still_heard_at),
		TEST(they_outlive_the_connection),
		TEST(table_stays_while_a_worker_may_read_it),
		TEST(arena_is_looked_at_once),
		TEST(wrong_ones_are_refused_and_the_last_stay),
		TEST(place_is_checked),
	};
#undef TEST
	int failed;

	rig_init("paths");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
