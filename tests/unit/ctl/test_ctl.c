/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of the contract over a real socket; the workers are the test, and the check of blobs is its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "../../eal.h"
#include "ctl.h"
#include "ctl_pvt.h"
#include "publish.h"
#include "snapshot/snapshot.h"

static struct worker_link link_;
static struct weir_stats_region *stats;
static int stats_fd;
static struct ctl *ctl;
static char path[64];
static void *served;

enum weir_refusal snapshot_check(const void *blob, size_t n, struct snapshot_error *err)
{
	return ((const struct weir_snapshot *)blob)->magic == WEIR_SNAPSHOT_MAGIC ? WEIR_REFUSED_OK
										  : WEIR_REFUSED_BAD_MAGIC;
}

enum weir_refusal endpoint_set_check(const void *blob, size_t n, struct snapshot_error *err)
{
	return ((const struct weir_endpoint_set *)blob)->magic == WEIR_ENDPOINTS_MAGIC ? WEIR_REFUSED_OK
										       : WEIR_REFUSED_BAD_MAGIC;
}

static void answer(uint32_t type, void *ptr, uint64_t id)
{
	const struct worker_msg m = {.type = type, .ptr = ptr, .id = id};

	assert_int_equal(rte_ring_enqueue_elem(link_.to_main, (void *)(uintptr_t)&m, sizeof(m)), 0);
}

static void worker_turn(void)
{
	struct worker_msg m;

	while (rte_ring_dequeue_elem(link_.to_worker, &m, sizeof(m)) == 0) {
		if (m.type == WORKER_ENDPOINTS)
			answer(WORKER_ENDPOINTS_TAKEN, m.ptr, m.id);
		if (m.type != WORKER_SNAPSHOT)
			continue;
		if (served)
			answer(WORKER_RELEASED, served, 0);
		served = m.ptr;
		answer(WORKER_SWAPPED, NULL, m.id);
	}
}

static void turns(struct publish *p)
{
	for (int i = 0; i < 150; i++) {
		ctl_poll(ctl, 1);
		worker_turn();
		if (p)
			publish_poll(p);
	}
}

static void ctl_start(void)
{
	const struct ctl_config cc = {.socket_path = path, .arena_mb = 1, .n_workers = 1, .links = &link_};

	served = NULL;
	ctl = ctl_create(&cc, stats, stats_fd);
	assert_non_null(ctl);
}

static void hand_in(struct publish *p, uint64_t magic, uint64_t generation)
{
	struct weir_snapshot *s = calloc(1, sizeof(*s));

	s->magic = magic;
	s->generation = generation;
	publish_snapshot(p, s, sizeof(*s), generation);
}

static struct publish_status status_of(struct publish *p)
{
	struct publish_status st;

	turns(p);
	publish_status(p, &st);
	return st;
}

static void sends_all_and_again_after_restarts(void **state)
{
	struct publish *p = publish_create(path), *second;
	struct weir_endpoint_set *e = calloc(1, sizeof(*e));

	*e = (struct weir_endpoint_set){.magic = WEIR_ENDPOINTS_MAGIC, .size = sizeof(*e), .backend_id = 7, .version = 1};
	assert_int_equal(publish_endpoints(p, e), 0);
	hand_in(p, WEIR_SNAPSHOT_MAGIC, 1);
	assert_int_equal(status_of(p).live_generation, 1);
	assert_int_equal(status_of(p).n_sets_waiting, 0);
	hand_in(p, WEIR_SNAPSHOT_MAGIC, 2);
	assert_int_equal(status_of(p).live_generation, 2);
	assert_int_equal(status_of(p).retired_generation, 1);
	hand_in(p, 0, 3);
	assert_int_equal(status_of(p).refused, WEIR_REFUSED_BAD_MAGIC);
	assert_int_equal(status_of(p).live_generation, 2);
	second = publish_create(path);
	assert_int_equal(status_of(second).hello_refused, 2);
	publish_destroy(second);
	hand_in(p, WEIR_SNAPSHOT_MAGIC, 4);
	ctl_destroy(ctl);
	ctl_start();
	turns(p);
	assert_int_equal(status_of(p).live_generation, 4);
	assert_int_equal(status_of(p).n_sets_waiting, 0);
	publish_destroy(p);
	p = publish_create(path);
	hand_in(p, WEIR_SNAPSHOT_MAGIC, 1);
	assert_int_equal(status_of(p).live_generation, 1);
	publish_destroy(p);
}

static void impossible_index_ends_the_connection(void **state)
{
	struct publish *p = publish_create(path);
	uint64_t errors = stats->ctrl_protocol_errors;

	assert_true(status_of(p).is_connected);
	((struct weir_ring *)(void *)((char *)ctl->conn.region + ctl->conn.region->to_dataplane_off))->head = 1ull << 40;
	ctl_poll(ctl, 0);
	assert_int_equal(stats->ctrl_protocol_errors, errors + 1);
	assert_int_equal(ctl->conn.fd, -1);
	turns(p);
	assert_true(status_of(p).is_connected);
	publish_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_all_and_again_after_restarts),
		cmocka_unit_test(impossible_index_ends_the_connection),
	};
	int failed;

	test_eal_init();
	snprintf(path, sizeof(path), "/tmp/weir-test-ctl-%d", (int)getpid());
	link_.to_worker = rte_ring_create_elem("down", sizeof(struct worker_msg), WORKER_RING_SIZE, SOCKET_ID_ANY, 0);
	link_.to_main = rte_ring_create_elem("up", sizeof(struct worker_msg), WORKER_RING_SIZE, SOCKET_ID_ANY, 0);
	stats = ctl_stats_create(1, &stats_fd);
	ctl_start();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	ctl_destroy(ctl);
	ctl_stats_destroy(stats, stats_fd);
	rte_eal_cleanup();
	return failed;
}
