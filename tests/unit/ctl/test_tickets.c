/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ticket keys that weir-ctrl gives: what is taken, when the workers get it,
 * and whose keys they have when it is silent, goes, or has none any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

#include "rig.h"

int __wrap_munmap(void *p, size_t n);
int __real_munmap(void *p, size_t n);

static struct peer peer;
static unsigned n_wiped;

/* Nothing of a key may be left in memory that is given back. */
int __wrap_munmap(void *p, size_t n)
{
	const uint8_t *b = p;
	size_t left = 0;

	if (n == sizeof(struct weir_ticket_keys) || n == sizeof(struct ctl_ticket_keys)) {
		for (size_t i = 0; i < n; i++)
			left += b[i] != 0;
		assert_int_equal(left, 0);
		n_wiped++;
	}
	return __real_munmap(p, n);
}

static int setup(void **state)
{
	has_tickets = true;
	ctl_setup(NULL);
	has_tickets = false;
	peer_open(&peer);
	n_wiped = 0;
	return 0;
}

static int setup_without(void **state)
{
	ctl_setup(NULL);
	peer_open(&peer);
	return 0;
}

static int teardown(void **state)
{
	peer_close(&peer);
	for (unsigned i = 0; i < N_WORKERS; i++)
		workers[i].is_asleep = false;
	rig_turns(3);
	return ctl_teardown(NULL);
}

static struct weir_ticket_keys make(uint32_t n, uint8_t first)
{
	struct weir_ticket_keys s = {
	    .magic = WEIR_TICKET_KEYS_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR, .n = n};

	for (uint32_t i = 0; i < n; i++)
		memset(&s.key[i], first + (int)i, sizeof(s.key[i]));
	return s;
}

static void put(uint64_t id, const struct weir_ticket_keys *s)
{
	memcpy(peer.arena, s, sizeof(*s));
	peer_put(&peer, (struct weir_msg){.type = WEIR_MSG_TICKET_KEYS, .size = sizeof(*s), .id = id});
}

static enum weir_refusal give(const struct weir_ticket_keys *s)
{
	static uint64_t id;
	struct weir_msg m;

	put(++id, s);
	m = peer_await(&peer, WEIR_MSG_BLOB_DONE);
	assert_int_equal(m.about, WEIR_MSG_TICKET_KEYS);
	assert_int_equal(m.id, id);
	rig_turns(3);
	return m.status;
}

static void assert_workers_have(const struct weir_ticket_keys *s)
{
	for (unsigned i = 0; i < N_WORKERS; i++) {
		assert_int_equal(workers[i].keys.n, s->n);
		assert_memory_equal(workers[i].keys.key, s->key, sizeof(s->key));
	}
	assert_int_equal(stats->n_ticket_keys, s->n);
}

static void keys_that_come_take_the_place_of_our_own(void **state)
{
	const struct weir_ticket_keys two = make(2, 1), three = make(3, 11);
	uint64_t taken = stats->ticket_keys_taken;

	rig_turns(3);
	assert_int_equal(stats->ticket_source, WEIR_TICKETS_OWN);
	assert_true(stats->ticket_sealing_s > 0);
	assert_int_equal(give(&two), WEIR_REFUSED_OK);
	assert_workers_have(&two);
	assert_int_equal(stats->ticket_source, WEIR_TICKETS_SHARED);
	assert_int_equal(give(&three), WEIR_REFUSED_OK);
	assert_workers_have(&three);
	assert_int_equal(give(&two), WEIR_REFUSED_OK); /* fewer again: nothing of the third is left */
	assert_workers_have(&two);
	assert_int_equal(stats->ticket_keys_taken, taken + 3);
	assert_int_equal(n_wiped, 3);
}

static void none_of_our_own_is_made_beside_them(void **state)
{
	const struct weir_ticket_keys s = make(1, 1);

	rig_turns(3);
	give(&s);
	ctl->tickets.next_us = 0;
	rig_turns(5);
	assert_workers_have(&s);
	assert_int_equal(workers[0].n_keys, 2);
}

static void time_of_the_one_that_seals_changes_with_it_alone(void **state)
{
	struct weir_ticket_keys s = make(3, 1);

	give(&s);
	stats->ticket_sealing_s = 1;
	s.key[2].name[0]++;
	give(&s);
	assert_int_equal(stats->ticket_sealing_s, 1);
	s.key[0].name[0]++;
	give(&s);
	assert_true(stats->ticket_sealing_s > 1);
}

static void of_none_our_own_are_made_again(void **state)
{
	const struct weir_ticket_keys s = make(3, 1), none = make(0, 0);
	struct tls_ticket_keys own;

	rig_turns(3);
	own = workers[0].keys;
	assert_int_equal(give(&none), WEIR_REFUSED_OK); /* they are: nothing changes */
	assert_int_equal(workers[0].n_keys, 1);
	give(&s);
	assert_int_equal(give(&none), WEIR_REFUSED_OK);
	assert_int_equal(stats->ticket_source, WEIR_TICKETS_OWN);
	assert_int_equal(workers[1].keys.n, 1);
	assert_memory_not_equal(&workers[1].keys.key[0], &s.key[0], sizeof(s.key[0]));
	assert_memory_not_equal(&workers[1].keys.key[0], &own.key[0], sizeof(own.key[0]));
	assert_memory_equal(&workers[1].keys.key[1], &(struct tls_ticket_key[2]){0}, 2 * sizeof(own.key[0]));
	ctl->tickets.next_us = 0;
	rig_turns(5);
	assert_int_equal(workers[0].keys.n, 2);
}

static void they_outlive_the_connection(void **state)
{
	const struct weir_ticket_keys s = make(2, 1);

	give(&s);
	peer_close(&peer);
	ctl->tickets.next_us = 0;
	rig_turns(10);
	assert_int_equal(ctl->conn.fd, -1);
	assert_workers_have(&s);
	assert_int_equal(stats->ticket_source, WEIR_TICKETS_SHARED);
	peer_open(&peer);
	ctl->tickets.next_us = 0;
	rig_turns(10);
	assert_workers_have(&s);
}

static void keys_do_not_change_while_a_worker_reads_them(void **state)
{
	const struct weir_ticket_keys a = make(1, 1), b = make(2, 11), c = make(3, 21);
	unsigned n;

	rig_turns(3);
	workers[1].is_asleep = true;
	give(&a);
	n = workers[0].n_keys;
	assert_memory_equal(ctl->tickets.k->keys.key, a.key, sizeof(a.key));
	assert_int_equal(give(&b), WEIR_REFUSED_OK);
	assert_int_equal(give(&c), WEIR_REFUSED_OK); /* the newest wins */
	rig_turns(10);
	assert_memory_equal(ctl->tickets.k->keys.key, a.key, sizeof(a.key));
	assert_int_equal(workers[0].n_keys, n);
	workers[1].is_asleep = false;
	rig_turns(10);
	assert_workers_have(&c);
	assert_int_equal(workers[0].n_keys, n + 1);
	assert_memory_equal(&ctl->tickets.k->due, &(struct tls_ticket_keys){0}, sizeof(ctl->tickets.k->due));
}

static void arena_is_looked_at_once(void **state)
{
	const struct weir_ticket_keys s = make(2, 1);

	workers[1].is_asleep = true; /* so that they wait */
	put(1, &s);
	assert_int_equal(peer_await(&peer, WEIR_MSG_BLOB_DONE).status, WEIR_REFUSED_OK);
	memset(peer.arena, 0xaa, sizeof(s));
	workers[1].is_asleep = false;
	rig_turns(5);
	assert_workers_have(&s);
}

static void wrong_ones_are_refused_and_the_last_stay(void **state)
{
	const struct weir_ticket_keys good = make(2, 1);
	struct weir_ticket_keys bad[] = {good, good, good, good, good, good};
	const enum weir_refusal why[] = {WEIR_REFUSED_BAD_MAGIC, WEIR_REFUSED_BAD_ABI, WEIR_REFUSED_BAD_RANGE,
					 WEIR_REFUSED_BAD_ORDER, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE};
	uint64_t refused = stats->ticket_keys_refused;

	give(&good);
	bad[0].magic = 0;
	bad[1].abi_major++;
	bad[2].n = 4;
	memcpy(bad[3].key[1].name, bad[3].key[0].name, 16);
	memset(bad[4].key[0].mac, 0, 32);
	bad[5].key[2].name[0] = 1;
	log_init("test", LOG_LEVEL_ERROR);
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_int_equal(give(&bad[i]), why[i]);
	assert_workers_have(&good);
	assert_int_equal(stats->ticket_keys_refused, refused + COUNT(bad));
	assert_int_equal(n_wiped, 1 + COUNT(bad));
}

static enum weir_refusal give_place(uint64_t off, uint64_t size)
{
	peer_put(&peer, (struct weir_msg){.type = WEIR_MSG_TICKET_KEYS, .off = off, .size = size, .id = 7});
	return peer_await(&peer, WEIR_MSG_BLOB_DONE).status;
}

static void place_is_checked(void **state)
{
	const struct weir_ticket_keys good = make(2, 1);
	const uint64_t n = sizeof(good);

	memcpy(peer.arena, &good, n);
	assert_int_equal(give_place(0, n - 1), WEIR_REFUSED_TRUNCATED);
	assert_int_equal(give_place(0, n + 1), WEIR_REFUSED_TOO_BIG);
	assert_int_equal(give_place(0, UINT64_MAX), WEIR_REFUSED_TOO_BIG);
	assert_int_equal(give_place(1, n), WEIR_REFUSED_BAD_PLACE);
	assert_int_equal(give_place(UINT64_MAX - 63, n), WEIR_REFUSED_BAD_PLACE);
	assert_int_equal(give_place(peer.region->arena_size - 64, n), WEIR_REFUSED_BAD_PLACE);
	assert_int_equal(give_place(0, n), WEIR_REFUSED_OK);
}

static void switched_off_is_a_refusal(void **state)
{
	const struct weir_ticket_keys s = make(2, 1);

	assert_int_equal(give(&s), WEIR_REFUSED_SWITCHED_OFF);
	assert_int_equal(workers[0].n_keys, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(keys_that_come_take_the_place_of_our_own),
		TEST(none_of_our_own_is_made_beside_them),
		TEST(time_of_the_one_that_seals_changes_with_it_alone),
		TEST(of_none_our_own_are_made_again),
		TEST(they_outlive_the_connection),
		TEST(keys_do_not_change_while_a_worker_reads_them),
		TEST(arena_is_looked_at_once),
		TEST(wrong_ones_are_refused_and_the_last_stay),
		TEST(place_is_checked),
		cmocka_unit_test_setup_teardown(switched_off_is_a_refusal, setup_without, teardown),
	};
#undef TEST
	int failed;

	rig_init("tickets");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
