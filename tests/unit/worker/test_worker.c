/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's own loop, without a port, with the messages of main: each is done
 * in slices, in their order, and everything comes back once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_mbuf.h>
#include <rte_ring_elem.h>

#include "eal.h"
#include "net/fib.h"
#include "net/steer.h"
#include "snapshot/snapshot.h"
#include "stats/stats.h"
#include "tls/tls.h"
#include "translate/compile.h"
#include "worker.h"

#define N_MESSAGES 300
#define N_BACKENDS 50
#define MAX_SET 3000

static struct config config;
static struct steer steer;
static const struct net_port port = {.is_shut = true}; /* never polled */
static struct rte_mempool *pool, *clones;
static struct worker_link link_;
static struct weir_worker_stats stats;
static struct rte_ring *no_rings[1];
static struct worker *worker;
static int bell_fd = -1;
static struct worker_msg sent[N_MESSAGES];
static unsigned n_sent;
static unsigned n_binds; /* of the last snapshot */
static struct weir_endpoint list[MAX_SET];

static uint64_t rnd(void)
{
	static uint64_t prng = 1;

	prng ^= prng << 13;
	prng ^= prng >> 7;
	prng ^= prng << 17;
	return prng * 0x9e3779b97f4a7c15ull;
}

static int set_up(void **state)
{
	const char *text = "ports:\n  - vdev: net_null0\n    addresses: [10.0.0.2/24]\npools: {connections: 1024, mbufs: 2048, requests: 16, tunnels: 16, mirrors: 4, upstream_connections: 64}\n";

	test_eal_init();
	if (config_parse("weir.yaml", text, strlen(text), &config, stderr) != 0)
		return -1;
	pool = rte_pktmbuf_pool_create("mbufs", 2047, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("clones", 2047, 0, 0, 0, SOCKET_ID_ANY);
	link_.to_worker = rte_ring_create_elem("to-worker", sizeof(struct worker_msg), WORKER_RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	link_.to_main = rte_ring_create_elem("to-main", sizeof(struct worker_msg), WORKER_RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	steer_init(&steer, 1, config.port_lo, config.port_hi);
	return pool && clones && link_.to_worker && link_.to_main ? 0 : -1;
}

static void start(void)
{
	const struct worker_config wc = {
		.n_workers = 1,
		.config = &config,
		.net = {.n_workers = 1, .n_ports = 1, .ports = &port, .pool = pool, .clones = clones, .redirect_in = no_rings, .redirect_out = no_rings,
			.n_neighbours = config.n_neighbours, .neighbour_queue = config.neighbour_queue, .steer = &steer},
		.clones = clones,
		.link = link_,
		.stats = &stats,
		.socket = SOCKET_ID_ANY,
		.seed = 1,
		.bell_fd = bell_fd,
	};

	memset(&stats, 0, sizeof(stats));
	n_sent = 0;
	worker = worker_create(&wc);
	assert_non_null(worker);
}

static void say(enum worker_msg_type type, void *ptr, uint64_t id)
{
	const struct worker_msg m = {.type = type, .ptr = ptr, .id = id, .version = n_sent};

	assert_int_equal(rte_ring_sp_enqueue_elem(link_.to_worker, (void *)(uintptr_t)&m, sizeof(m)), 0);
	sent[n_sent++] = m;
}

static void say_set(unsigned backend)
{
	char name[16];
	struct model_backend b = {.name = name, .n_endpoints = rnd() % 4 ? rnd() % 20 : rnd() % MAX_SET, .endpoints = list};
	uint8_t third = (uint8_t)rnd();
	void *blob;
	size_t n;

	snprintf(name, sizeof(name), "n/b%u:80", backend);
	for (uint32_t i = 0; i < b.n_endpoints; i++)
		list[i] = (struct weir_endpoint){.addr = {{[10] = 0xff, 0xff, 10, third, (uint8_t)(i >> 8), (uint8_t)i}}, .port = 80,
						 .flags = WEIR_EP_READY, .weight = 1};
	assert_int_equal(compile_endpoints(&b, 1, &blob, &n), 0);
	say(WORKER_ENDPOINTS, blob, compile_backend_id(name));
}

static void say_snapshot(uint64_t generation)
{
	static char names[N_BACKENDS][16];
	struct model m;
	void *blob;
	size_t n;

	model_init(&m);
	n_binds = 1 + (unsigned)(rnd() % 40);
	for (unsigned i = 0; i < n_binds; i++)
		*model_add_listener(&m) = (struct model_listener){.port = (uint16_t)(1000 * (rnd() % 2) + 80 + i), .proto = WEIR_PROTO_HTTP, .host = "", .name = "l"};
	for (unsigned i = 0; i < N_BACKENDS; i++) {
		snprintf(names[i], sizeof(names[i]), "n/b%u:80", i);
		if (rnd() % 4)
			*model_add_backend(&m) = (struct model_backend){.name = names[i],
									.balance = {.fixed = {.balance = (uint8_t)(rnd() % 5)}}};
	}
	assert_int_equal(compile_snapshot(&m, generation, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	n_binds = snapshot_count((const struct weir_snapshot *)blob, BINDS);
	model_fini(&m);
	say(WORKER_SNAPSHOT, blob, generation);
}

static bool hear(struct worker_msg *m)
{
	return rte_ring_sc_dequeue_elem(link_.to_main, m, sizeof(*m)) == 0;
}

static void expect(enum worker_msg_type type, const struct worker_msg *of)
{
	struct worker_msg m;

	assert_true(hear(&m));
	assert_int_equal(m.type, type);
	if (of && type != WORKER_SWAPPED)
		assert_ptr_equal(m.ptr, of->ptr);
	if (of && type != WORKER_RELEASED)
		assert_int_equal(m.id, of->id);
}

/* All that the worker answered to the first n messages; what it gives back is freed, so that it is read no more. */
static const struct worker_msg *check_answers(unsigned n)
{
	const struct worker_msg *served = NULL;

	for (unsigned i = 0; i < n; i++) {
		const struct worker_msg *m = &sent[i];

		if (m->type == WORKER_ENDPOINTS) {
			expect(WORKER_ENDPOINTS_TAKEN, m);
			free(m->ptr);
		} else if (m->type == WORKER_SNAPSHOT) {
			if (served) {
				expect(WORKER_RELEASED, served);
				free(served->ptr);
			}
			expect(WORKER_SWAPPED, m);
			served = m;
		}
	}
	return served;
}

static void changes_queue_up_and_are_done_in_their_order(void **state)
{
	const struct worker_msg *served;
	uint64_t generation = 0;
	unsigned n_swaps = 0, n_sets = 0;

	start();
	while (n_sent < N_MESSAGES - 1) { /* swaps behind swaps, none of which is done when the next one comes */
		if (rnd() % 3) {
			say_set((unsigned)(rnd() % N_BACKENDS));
			n_sets++;
		} else {
			say_snapshot(++generation);
			n_swaps++;
		}
	}
	say(WORKER_STOP, NULL, 0);
	assert_int_equal(worker_run(worker), 0);
	served = check_answers(n_sent);
	expect(WORKER_STOPPED, NULL);
	assert_int_equal(stats.counter[WEIR_C_SNAPSHOT_SWAPS], n_swaps);
	assert_int_equal(stats.counter[WEIR_C_ENDPOINT_SWAPS], n_sets);
	assert_int_equal(stats.gauge[WEIR_G_SNAPSHOT_GENERATION], generation);
	assert_int_equal(stats.gauge[WEIR_G_LISTENERS], n_binds);
	assert_true(stats.gauge[WEIR_G_SLICE_MAX_US] > 0);
	assert_true(stats.counter[WEIR_C_LOOPS] > N_MESSAGES); /* the large ones took several iterations each */
	worker_destroy(worker);
	expect(WORKER_RELEASED, served);
	free(served->ptr);
	assert_int_equal(rte_ring_count(link_.to_main), 0);
	assert_int_equal(rte_mempool_avail_count(pool), 2047);
}

/* What stands behind it in the ring is main's: it is neither begun nor answered. */
static void stop_waits_for_the_change_before_it_and_for_none_behind(void **state)
{
	struct worker_msg m;

	for (int drain = 0; drain < 2; drain++) {
		const struct worker_msg *served;
		unsigned n;

		start();
		say_snapshot(1);
		for (unsigned i = 0; i < 20; i++)
			say_set(i);
		if (drain)
			say(WORKER_DRAIN, NULL, 0);
		say_snapshot(2);
		say(WORKER_STOP, NULL, 0);
		n = n_sent;
		say_set(1);
		say_snapshot(3);
		assert_int_equal(worker_run(worker), 0);
		served = check_answers(n);
		expect(WORKER_STOPPED, NULL);
		assert_int_equal(stats.gauge[WEIR_G_SNAPSHOT_GENERATION], 2);
		worker_destroy(worker);
		expect(WORKER_RELEASED, served);
		free(served->ptr);
		assert_false(hear(&m));
		while (rte_ring_sc_dequeue_elem(link_.to_worker, &m, sizeof(m)) == 0)
			free(m.ptr);
	}
}

/* -- TLS, which is the test's: the linker puts these in its place */

static struct tls_config tls;
static unsigned n_wanted, n_taken, n_destroyed, n_retained, n_to_release;
static struct tls_ticket_keys taken_keys;
static struct tls_certificate *const cert = (struct tls_certificate *)(uintptr_t)0x1000; /* nobody looks into it */

struct tls *__real_tls_create(const struct tls_config *c);
struct tls *__wrap_tls_create(const struct tls_config *c);
void __wrap_tls_take_certificate(struct tls *t, const struct weir_cert_id *id, struct tls_certificate *c, uint64_t now_us);
void __wrap_tls_certificate_destroy(struct tls_certificate *c);
void __wrap_tls_retain(struct tls *t, const struct weir_snapshot *s);
bool __wrap_tls_step(struct tls *t, int *budget);
void __wrap_tls_set_ticket_keys(struct tls *t, const struct tls_ticket_keys *keys);

struct tls *__wrap_tls_create(const struct tls_config *c)
{
	tls = *c;
	return __real_tls_create(c);
}

/* Each answer is the next question. */
void __wrap_tls_take_certificate(struct tls *t, const struct weir_cert_id *id, struct tls_certificate *c, uint64_t now_us)
{
	assert_true(id->v[0] == 100 + n_taken && c == cert);
	n_taken++;
	if (n_wanted > n_taken)
		tls.want(tls.ctx, &(struct weir_cert_id){{100 + n_taken, 7}});
}

void __wrap_tls_certificate_destroy(struct tls_certificate *c)
{
	assert_ptr_equal(c, cert);
	n_destroyed++;
}

void __wrap_tls_retain(struct tls *t, const struct weir_snapshot *s)
{
	n_retained++;
}

/* As many as it may. */
bool __wrap_tls_step(struct tls *t, int *budget)
{
	for (; n_to_release > 0 && *budget > 0; n_to_release--, --*budget)
		tls.release(tls.ctx, cert);
	return n_to_release == 0;
}

void __wrap_tls_set_ticket_keys(struct tls *t, const struct tls_ticket_keys *keys)
{
	taken_keys = *keys;
}

static void certificates_and_keys_come_and_go_by_messages(void **state)
{
	struct tls_ticket_keys keys = {.n = 1, .key = {{.name = {1}}}};
	struct worker_msg m;
	uint64_t rings = 0;

	bell_fd = eventfd(0, EFD_NONBLOCK);
	start();
	n_wanted = 10; /* more than are done in an iteration */
	n_taken = 0;
	say(WORKER_TICKET_KEYS, &keys, 0);
	for (uint64_t i = 0; i < n_wanted; i++)
		say(WORKER_CERTIFICATE, cert, 100 + i);
	say_snapshot(1);
	say(WORKER_STOP, NULL, 0);
	assert_int_equal(worker_run(worker), 0);
	assert_memory_equal(&taken_keys, &keys, sizeof(keys));
	assert_int_equal(n_taken, n_wanted);
	expect(WORKER_TICKET_KEYS_TAKEN, NULL);
	for (uint64_t i = 1; i < n_wanted; i++) {
		assert_true(hear(&m));
		assert_int_equal(m.type, WORKER_WANTS_CERTIFICATE);
		assert_true(m.id == 100 + i && m.version == 7);
	}
	expect(WORKER_SWAPPED, NULL);
	expect(WORKER_STOPPED, NULL);
	assert_int_equal(read(bell_fd, &rings, sizeof(rings)), sizeof(rings)); /* main was woken */
	tls.release(tls.ctx, cert);
	expect(WORKER_CERTIFICATE_RELEASED, NULL);
	n_destroyed = 0;
	worker_destroy(worker);
	expect(WORKER_RELEASED, &sent[1 + n_wanted]);
	free(sent[1 + n_wanted].ptr);
	close(bell_fd);
	bell_fd = -1;
}

/* Main, which is held up until the ring is full. Counts what was released before the worker says that it has swapped. */
static void *late_main(void *arg)
{
	unsigned *n_released = arg, *n_before_swap = n_released + 1;
	struct worker_msg m = {0};

	while (!rte_ring_full(link_.to_main))
		sched_yield();
	while (m.type != WORKER_STOPPED) {
		if (!hear(&m)) {
			sched_yield();
		} else if (m.type == WORKER_CERTIFICATE_RELEASED) {
			++*n_released;
		} else if (m.type == WORKER_SWAPPED) {
			*n_before_swap = *n_released;
			say(WORKER_STOP, NULL, 0);
		}
	}
	return NULL;
}

static void former_forwarding_table_comes_back_when_there_is_another(void **state)
{
	struct fib *a = fib_create(NULL, 0, NULL, 0), *b = fib_create(NULL, 0, NULL, 0);
	struct worker_msg m;

	start();
	say(WORKER_FIB, a, 0);
	say(WORKER_FIB, b, 0);
	say(WORKER_FIB, NULL, 0);
	say(WORKER_STOP, NULL, 0);
	assert_int_equal(worker_run(worker), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(hear(&m));
		assert_int_equal(m.type, WORKER_FIB_TAKEN);
		assert_ptr_equal(m.ptr, i == 0 ? NULL : i == 1 ? a : b);
	}
	expect(WORKER_STOPPED, NULL);
	worker_destroy(worker);
	fib_destroy(a);
	fib_destroy(b);
}

static void released_certificates_wait_for_room(void **state)
{
	const unsigned n = 3 * WORKER_RING_SIZE;
	unsigned n_released[2] = {0}; /* in all, and before the swap was told */
	pthread_t thread;

	start();
	n_to_release = n;
	n_retained = n_destroyed = 0;
	say_snapshot(1);
	assert_int_equal(pthread_create(&thread, NULL, late_main, n_released), 0);
	assert_int_equal(worker_run(worker), 0);
	pthread_join(thread, NULL);
	assert_int_equal(n_retained, 1);
	assert_int_equal(n_released[0], n);
	assert_int_equal(n_released[1], n);
	assert_int_equal(n_destroyed, 0);
	worker_destroy(worker);
	expect(WORKER_RELEASED, &sent[0]);
	free(sent[0].ptr);
}

static void certificates_that_main_will_not_read_of_are_destroyed(void **state)
{
	struct worker_msg m;

	start();
	n_destroyed = 0;
	for (unsigned i = 0; i < WORKER_RING_SIZE - 1 + 3; i++)
		tls.release(tls.ctx, cert);
	while (hear(&m)) /* those that are in the ring are main's to destroy */
		;
	assert_int_equal(n_destroyed, 0);
	worker_destroy(worker);
	assert_int_equal(n_destroyed, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_queue_up_and_are_done_in_their_order),
		cmocka_unit_test(stop_waits_for_the_change_before_it_and_for_none_behind),
		cmocka_unit_test(certificates_and_keys_come_and_go_by_messages),
		cmocka_unit_test(former_forwarding_table_comes_back_when_there_is_another),
		cmocka_unit_test(released_certificates_wait_for_room),
		cmocka_unit_test(certificates_that_main_will_not_read_of_are_destroyed),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
