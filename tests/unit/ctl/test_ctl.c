/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of the contract over a real socket, with the real checker; the workers are the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "publish.h"
#include "rig.h"

#define PATIENCE_MS 5000

static void hand_in(struct publish *p, uint64_t generation, bool garble)
{
	size_t n;
	struct weir_snapshot *s = make_snapshot(generation, &n);

	if (garble)
		((char *)s)[n - 1] ^= 1;
	publish_snapshot(p, s, n, generation);
}

static struct publish_status one_turn(struct publish *p)
{
	struct publish_status st;

	ctl_poll(ctl, 1);
	workers_turn();
	publish_poll(p);
	publish_status(p, &st);
	return st;
}

static void await_live(struct publish *p, uint64_t generation)
{
	for (int i = 0; i < PATIENCE_MS; i++)
		if (one_turn(p).live_generation == generation)
			return;
	fail_msg("generation %d is not live", (int)generation);
}

static void await_connected(struct publish *p)
{
	for (int i = 0; i < PATIENCE_MS; i++)
		if (one_turn(p).is_connected)
			return;
	fail_msg("not connected");
}

static void await_refused(struct publish *p, uint64_t n, enum weir_refusal why)
{
	struct publish_status st = {0};

	for (int i = 0; i < PATIENCE_MS && st.n_refused < n; i++)
		st = one_turn(p);
	assert_int_equal(st.n_refused, n);
	assert_int_equal(st.refused, why);
}

static void sends_all_and_again_after_restarts(void **state)
{
	struct publish *p = publish_create(path);
	struct publish_status st;
	size_t n;

	assert_int_equal(publish_endpoints(p, make_set("n/s0:80", 1, &n)), 0);
	hand_in(p, 1, false);
	await_live(p, 1);
	assert_int_equal(one_turn(p).n_sets_waiting, 0);
	hand_in(p, 2, false);
	await_live(p, 2);
	for (int i = 0; i < PATIENCE_MS && one_turn(p).retired_generation != 1; i++)
		;
	assert_int_equal(one_turn(p).retired_generation, 1);
	hand_in(p, 3, false);
	ctl_teardown(NULL);
	ctl_setup(NULL);
	await_live(p, 3);
	st = one_turn(p);
	assert_int_equal(st.n_sets_waiting, 0);
	assert_int_equal(st.connects, 2);
	publish_destroy(p);
	p = publish_create(path);
	hand_in(p, 1, false); /* counts from the start again */
	await_live(p, 1);
	publish_destroy(p);
}

static void garbled_snapshot_is_refused_and_the_old_one_stays(void **state)
{
	struct publish *p = publish_create(path);
	const struct weir_snapshot *old;

	hand_in(p, 1, false);
	await_live(p, 1);
	old = workers[0].served;
	hand_in(p, 2, true);
	await_refused(p, 1, WEIR_REFUSED_BAD_CHECKSUM);
	assert_ptr_equal(workers[0].served, old);
	assert_int_equal(one_turn(p).live_generation, 1);
	hand_in(p, 3, false);
	await_live(p, 3);
	publish_destroy(p);
}

static void second_ctrl_is_told_that_there_is_one(void **state)
{
	struct publish *p = publish_create(path), *second;
	uint64_t refused;

	await_connected(p);
	refused = stats->ctrl_refused;
	second = publish_create(path);
	for (int i = 0; i < PATIENCE_MS && one_turn(second).hello_refused == 0; i++)
		;
	assert_int_equal(one_turn(second).hello_refused, 2);
	assert_false(one_turn(second).is_connected);
	assert_true(stats->ctrl_refused > refused);
	hand_in(p, 1, false); /* the first one's service is not disturbed */
	await_live(p, 1);
	publish_destroy(p);
	await_connected(second);
	publish_destroy(second);
}

static void impossible_index_ends_the_connection(void **state)
{
	struct publish *p = publish_create(path);
	uint64_t errors = stats->ctrl_protocol_errors;

	await_connected(p);
	((struct weir_ring *)(void *)((char *)ctl->conn.region + ctl->conn.region->to_dataplane_off))->head = 1ull
													      << 40;
	ctl_poll(ctl, 0);
	assert_int_equal(stats->ctrl_protocol_errors, errors + 1);
	assert_int_equal(ctl->conn.fd, -1);
	for (int i = 0; i < PATIENCE_MS && one_turn(p).connects < 2; i++)
		;
	assert_true(one_turn(p).is_connected);
	publish_destroy(p);
}

/* A greeting that promises nothing usable, with that many descriptors. */
static void greet(int fd, unsigned n_fds)
{
	const struct weir_hello h = {.magic = WEIR_REGION_MAGIC, .abi_major = WEIR_ABI_MAJOR};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)&h, .iov_len = sizeof(h)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(6 * sizeof(int))];
	} control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[6];

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = memfd_create("greeting", MFD_CLOEXEC);
	if (n_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){
		    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n_fds * sizeof(int))};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), sizeof(h));
	for (unsigned i = 0; i < n_fds; i++)
		close(fds[i]);
}

static void more_descriptors_than_are_known_harm_nothing(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	for (unsigned n_fds = 0; n_fds <= 6; n_fds++) {
		int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fd = -1;
		struct publish_status st = {.is_connected = true};
		struct publish *p;
		unsigned before;

		snprintf(addr.sun_path, sizeof(addr.sun_path), "%.60s.other", path);
		unlink(addr.sun_path);
		assert_int_equal(bind(listener, (const struct sockaddr *)&addr, sizeof(addr)), 0);
		assert_int_equal(listen(listener, 1), 0);
		p = publish_create(addr.sun_path);
		for (int i = 0; i < PATIENCE_MS && fd < 0; i++) {
			publish_poll(p);
			fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			usleep(1000);
		}
		assert_true(fd >= 0);
		before = count_fds();
		greet(fd, n_fds);
		publish_poll(p);
		publish_status(p, &st);
		assert_false(st.is_connected);
		assert_int_equal(count_fds(), before - 1); /* its socket; of the descriptors none is left */
		publish_destroy(p);
		close(fd);
		close(listener);
		unlink(addr.sun_path);
	}
}

static void live_waits_for_the_last_worker(void **state)
{
	struct publish *p = publish_create(path);

	hand_in(p, 1, false);
	await_live(p, 1);
	workers[1].is_asleep = true;
	hand_in(p, 2, false);
	for (int i = 0; i < 50; i++)
		assert_int_equal(one_turn(p).live_generation, 1);
	assert_int_equal(workers[0].served->generation, 2);
	workers[1].is_asleep = false;
	await_live(p, 2);
	publish_destroy(p);
}

static void put_set(struct peer *p, uint64_t version)
{
	size_t n;
	struct weir_endpoint_set *e = make_set("n/s0:80", version, &n);

	memcpy(p->arena + version * 256, e, n);
	peer_put(
	    p,
	    (struct weir_msg){
		.type = WEIR_MSG_ENDPOINTS, .off = version * 256, .size = n, .id = e->backend_id, .version = version});
	free(e);
}

/* More sets than a worker's ring has room for wait in main, and later ones wait behind them. */
static void full_worker_ring_loses_nothing_and_keeps_the_order(void **state)
{
	struct peer p;
	const uint64_t n_first = 5 * RING_SIZE, n_sets = n_first + 20;

	peer_open(&p);
	workers[0].wants_order = workers[1].wants_order = true;
	workers[0].is_asleep = true;
	for (uint64_t v = 1; v <= n_first; v++)
		put_set(&p, v);
	rig_turns(50);
	assert_true(ctl->workers[0].n_pending >= n_first - RING_SIZE);
	assert_int_equal(workers[1].last_set, n_first);
	assert_int_equal(workers[0].last_set, 0);
	workers[0].is_asleep = false;
	for (uint64_t v = n_first + 1; v <= n_sets; v++) { /* one more each time that the worker has made room */
		workers_turn();
		put_set(&p, v);
		ctl_poll(ctl, 0);
	}
	for (uint64_t v = 1; v <= n_sets; v++)
		assert_int_equal(peer_await(&p, WEIR_MSG_ENDPOINTS_LIVE).version, v);
	assert_int_equal(workers[0].last_set, n_sets);
	assert_int_equal(ctl->workers[0].n_pending, 0);
	peer_close(&p);
	assert_settled();
}

static void too_many_old_generations_are_busy(void **state)
{
	struct peer p;
	size_t n;
	struct weir_snapshot *s = make_snapshot(1, &n);
	struct weir_msg m;

	peer_open(&p);
	for (unsigned i = 0; i < N_WORKERS; i++)
		workers[i].keeps_old = true;
	for (uint64_t g = 1; g <= CTL_MAX_GENERATIONS + 1; g++) {
		s->generation = g;
		seal_snapshot(s, n);
		memcpy(p.arena, s, n);
		peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = g});
		m = peer_await(&p, WEIR_MSG_BLOB_DONE);
		assert_int_equal(m.status, g <= CTL_MAX_GENERATIONS ? WEIR_REFUSED_OK : WEIR_REFUSED_BUSY);
	}
	rig_turns(50);
	assert_int_equal(workers[0].served->generation, CTL_MAX_GENERATIONS);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		workers[i].keeps_old = false;
		while (workers[i].n_kept > 0) {
			worker_answer_main(&workers[i], WORKER_RELEASED, workers[i].kept[--workers[i].n_kept], 0);
			rig_turns(1);
		}
	}
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = s->generation});
	while (peer_await(&p, WEIR_MSG_LIVE).id != CTL_MAX_GENERATIONS + 1)
		; /* those of before come first */
	peer_close(&p);
	assert_settled();
	free(s);
}

/* In a child that is user 65534: what the hello says of it, or 100 when it cannot become that user. */
static int refusal_of_another_user(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct sockaddr_un addr = {.sun_family = AF_UNIX};
		struct weir_hello h;
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

		strcpy(addr.sun_path, path);
		if (setresuid(65534, 65534, 65534) != 0)
			_exit(100);
		if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
		    recv(fd, &h, sizeof(h), 0) != sizeof(h))
			_exit(101);
		_exit((int)h.refused);
	}
	assert_true(child > 0);
	while (waitpid(child, &status, WNOHANG) == 0)
		ctl_poll(ctl, 1);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void another_user_is_refused_unless_it_is_named(void **state)
{
	uint64_t refused = stats->ctrl_refused, connects = stats->ctrl_connects;
	int told = refusal_of_another_user();

	if (told == 100)
		skip(); /* only root can try it */
	assert_int_equal(told, 1);
	assert_int_equal(stats->ctrl_refused, refused + 1);
	assert_int_equal(stats->ctrl_connects, connects);
	assert_next_ctrl_works();
	ctl_teardown(NULL);
	ctl_start_for(true, 65534);
	assert_int_equal(refusal_of_another_user(), 0);
}

static void region_is_sealed_and_statistics_are_read_only(void **state)
{
	struct peer p;
	char again[64];
	int fd;

	peer_open(&p);
	assert_int_equal(ftruncate(p.fds[0], 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(p.fds[0], (off_t)p.hello.region_size * 2), -1);
	assert_int_equal(fcntl(p.fds[0], F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(ftruncate(p.fds[1], 0), -1);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.fds[1], 0), MAP_FAILED);
	assert_int_equal(pwrite(p.fds[1], "x", 1, 0), -1);
	snprintf(again, sizeof(again), "/proc/self/fd/%d", p.fds[1]);
	fd = open(again, O_RDWR | O_CLOEXEC); /* the seal holds however it is opened */
	assert_true(fd >= 0);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	close(fd);
	peer_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(sends_all_and_again_after_restarts, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(garbled_snapshot_is_refused_and_the_old_one_stays, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(second_ctrl_is_told_that_there_is_one, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(impossible_index_ends_the_connection, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(more_descriptors_than_are_known_harm_nothing, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(live_waits_for_the_last_worker, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(full_worker_ring_loses_nothing_and_keeps_the_order, ctl_setup,
					    ctl_teardown),
	    cmocka_unit_test_setup_teardown(too_many_old_generations_are_busy, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(another_user_is_refused_unless_it_is_named, ctl_setup, ctl_teardown),
	    cmocka_unit_test_setup_teardown(region_is_sealed_and_statistics_are_read_only, ctl_setup, ctl_teardown),
	};
	int failed;

	rig_init("ctl");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
