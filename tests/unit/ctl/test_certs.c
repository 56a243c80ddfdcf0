/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and ticket keys on the main lcore: what is taken, how long it
 * stays, and that every one made for a worker is destroyed once. The TLS of the
 * workers is the test's, and so are snapshots, of which only what they name matters here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "rig.h"

#define CERT_BYTES 1500u
#define MAX_CERTS 256u /* of a page each, in certificates_mb */

/* -- in the place of the TLS layer and of the checker of snapshots: the linker sees to it */

struct tls_certificate {
	struct tls *tls;
	struct weir_cert_id id;
};

static unsigned n_created, n_destroyed, n_failed;
static bool is_unusable;
static struct tls *const tls_of[N_WORKERS] = {(struct tls *)(uintptr_t)0x1000, (struct tls *)(uintptr_t)0x2000};

struct tls_certificate *__wrap_tls_certificate_create(struct tls *t, const struct weir_certificate *blob, char *why, size_t n);
void __wrap_tls_certificate_destroy(struct tls_certificate *cert);
enum weir_refusal __wrap_snapshot_check(const void *blob, size_t n, struct snapshot_error *err);
int __wrap_munmap(void *p, size_t n);
int __real_munmap(void *p, size_t n);

struct tls_certificate *__wrap_tls_certificate_create(struct tls *t, const struct weir_certificate *blob, char *why, size_t n)
{
	struct tls_certificate *cert = is_unusable ? NULL : calloc(1, sizeof(*cert));

	assert_int_equal(certificate_check(blob, blob->size, NULL), WEIR_REFUSED_OK);
	if (cert) {
		*cert = (struct tls_certificate){t, blob->id};
		n_created++;
	} else {
		snprintf(why, n, "the test says so");
		n_failed++;
	}
	return cert;
}

void __wrap_tls_certificate_destroy(struct tls_certificate *cert)
{
	n_destroyed++;
	free(cert);
}

enum weir_refusal __wrap_snapshot_check(const void *blob, size_t n, struct snapshot_error *err)
{
	return WEIR_REFUSED_OK;
}

static unsigned n_wiped;

/* Nothing of a key may be left in memory that is given back. */
int __wrap_munmap(void *p, size_t n)
{
	const uint8_t *b = p;
	size_t left = 0;

	if (n == CERT_BYTES || n == sizeof(struct ctl_ticket_keys)) {
		for (size_t i = 0; i < n; i++)
			left += b[i] != 0;
		assert_int_equal(left, 0);
		n_wiped++;
	}
	return __real_munmap(p, n);
}

/* -- the weir-ctrl of these tests */

static struct peer peer;
static uint64_t generation;

static int setup(void **state)
{
	ctl_setup(NULL);
	for (unsigned i = 0; i < N_WORKERS; i++)
		ctl_attach_tls(ctl, i, tls_of[i]);
	peer_open(&peer);
	generation = 0;
	is_unusable = false;
	n_created = n_destroyed = n_failed = n_wiped = 0;
	return 0;
}

/* What the workers hold they give back; what is on its way is taken back. */
static int teardown(void **state)
{
	peer_close(&peer);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		workers[i].is_asleep = false;
		rig_turns(2);
		while (workers[i].n_certs > 0)
			free(workers[i].certs[--workers[i].n_certs]);
		ctl_detach_tls(ctl, i);
	}
	ctl_teardown(NULL);
	assert_int_equal(stats->certificates, 0);
	return 0;
}

static struct weir_cert_id cert_id(uint64_t seed)
{
	struct weir_certificate *b = make_certificate(seed, CERT_BYTES);
	struct weir_cert_id id = b->id;

	free(b);
	return id;
}

static struct weir_msg put_cert(const struct weir_certificate *b, size_t n)
{
	memcpy(peer.arena, b, n);
	peer_put(&peer, (struct weir_msg){.type = WEIR_MSG_CERTIFICATE, .size = n, .id = b->id.v[0], .version = b->id.v[1]});
	return peer_await(&peer, WEIR_MSG_BLOB_DONE);
}

static enum weir_refusal send_cert(uint64_t seed)
{
	struct weir_certificate *b = make_certificate(seed, CERT_BYTES);
	struct weir_msg m = put_cert(b, CERT_BYTES);

	assert_int_equal(m.about, WEIR_MSG_CERTIFICATE);
	assert_true(m.id == b->id.v[0] && m.version == b->id.v[1]);
	free(b);
	return m.status;
}

/* A snapshot that names these; a head, and two sections. */
static enum weir_refusal send_snapshot(unsigned n_certs, const uint64_t *seeds)
{
	struct {
		struct weir_snapshot head;
		struct weir_server_name name;
		struct weir_cert_id certs[8];
	} s = {.head = {.magic = WEIR_SNAPSHOT_MAGIC, .abi_major = WEIR_ABI_MAJOR, .size = sizeof(s), .generation = ++generation}};
	struct weir_msg m;

	s.head.sect[WEIR_SECT_NAMES] = (struct weir_section_ref){(uint32_t)((char *)&s.name - (char *)&s), n_certs ? 1 : 0};
	s.head.sect[WEIR_SECT_CERTS] = (struct weir_section_ref){(uint32_t)((char *)s.certs - (char *)&s), n_certs};
	s.name.certs.count = n_certs;
	for (unsigned i = 0; i < n_certs; i++)
		s.certs[i] = cert_id(seeds[i]);
	memcpy(peer.arena, &s, sizeof(s));
	peer_put(&peer, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = sizeof(s), .id = generation});
	m = peer_await(&peer, WEIR_MSG_BLOB_DONE);
	assert_int_equal(m.about, WEIR_MSG_SNAPSHOT);
	rig_turns(4);
	return m.status;
}

#define SNAPSHOT(...) \
	send_snapshot(sizeof((uint64_t[]){0, ##__VA_ARGS__}) / sizeof(uint64_t) - 1, (uint64_t[]){0, ##__VA_ARGS__} + 1)

static void want(unsigned worker, uint64_t seed)
{
	const struct weir_cert_id id = cert_id(seed);
	const struct worker_msg m = {.type = WORKER_WANTS_CERTIFICATE, .worker = worker, .id = id.v[0], .version = id.v[1]};

	assert_int_equal(rte_ring_enqueue_elem(workers[worker].link.to_main, (void *)(uintptr_t)&m, sizeof(m)), 0);
}

static void release(unsigned worker)
{
	struct rig_worker *w = &workers[worker];

	worker_answer_main(w, WORKER_CERTIFICATE_RELEASED, w->certs[--w->n_certs], 0);
}

/* -- taking them */

static void wrong_certificates_are_refused_by_their_reason(void **state)
{
	struct weir_certificate *b = make_certificate(1, CERT_BYTES);
	const struct lie {
		const char *what;
		uint64_t off, size, id, version;
		size_t flip;
		bool reseal;
		enum weir_refusal why;
	} lies[] = {
		{"misaligned", 4, CERT_BYTES, b->id.v[0], b->id.v[1], 0, false, WEIR_REFUSED_BAD_PLACE},
		{"over the arena's end", (1u << 20) - 8, CERT_BYTES, b->id.v[0], b->id.v[1], 0, false, WEIR_REFUSED_BAD_PLACE},
		{"offset that wraps", UINT64_MAX - 7, CERT_BYTES, b->id.v[0], b->id.v[1], 0, false, WEIR_REFUSED_BAD_PLACE},
		{"oversize", 0, WEIR_CERTIFICATE_MAX_BYTES + 1, b->id.v[0], b->id.v[1], 0, false, WEIR_REFUSED_TOO_BIG},
		{"half a head", 0, sizeof(*b) - 8, b->id.v[0], b->id.v[1], 0, false, WEIR_REFUSED_TRUNCATED},
		{"truncated", 0, CERT_BYTES - 8, b->id.v[0], b->id.v[1], 0, false, WEIR_REFUSED_TRUNCATED},
		{"another id", 0, CERT_BYTES, b->id.v[0] + 1, b->id.v[1], 0, false, WEIR_REFUSED_BAD_VALUE},
		{"another half of an id", 0, CERT_BYTES, b->id.v[0], b->id.v[1] + 1, 0, false, WEIR_REFUSED_BAD_VALUE},
		{"no id", 0, CERT_BYTES, 0, b->id.v[1], 0, false, WEIR_REFUSED_BAD_VALUE},
		{"magic", 0, CERT_BYTES, b->id.v[0], b->id.v[1], 1, true, WEIR_REFUSED_BAD_MAGIC},
		{"garbled", 0, CERT_BYTES, b->id.v[0], b->id.v[1], CERT_BYTES - 1, false, WEIR_REFUSED_BAD_CHECKSUM},
		{"another key under the id", 0, CERT_BYTES, b->id.v[0], b->id.v[1], CERT_BYTES - 1, true, WEIR_REFUSED_BAD_VALUE},
	};
	uint64_t refused = stats->certificates_refused, taken = stats->certificates_taken;

	for (size_t i = 0; i < COUNT(lies); i++) {
		const struct lie *l = &lies[i];
		struct weir_certificate *in_arena = (void *)peer.arena;
		struct weir_msg m;

		memcpy(peer.arena, b, CERT_BYTES);
		peer.arena[l->flip] ^= l->flip ? 0x10 : 0;
		if (l->reseal)
			in_arena->checksum =
				hash64_zeroed(in_arena, CERT_BYTES, offsetof(struct weir_certificate, checksum), 8, 0);
		peer_put(&peer, (struct weir_msg){
				       .type = WEIR_MSG_CERTIFICATE, .off = l->off, .size = l->size, .id = l->id, .version = l->version});
		m = peer_await(&peer, WEIR_MSG_BLOB_DONE);
		if (m.status != l->why)
			fail_msg("%s: status %u, wanted %d", l->what, m.status, (int)l->why);
		assert_true(m.id == l->id && m.version == l->version && m.off == l->off && m.size == l->size);
	}
	assert_int_equal(stats->certificates_refused, refused + COUNT(lies));
	assert_int_equal(stats->certificates, 0);
	assert_int_equal(stats->certificates_taken, taken);
	assert_int_equal(put_cert(b, CERT_BYTES).status, WEIR_REFUSED_OK);
	assert_int_equal(stats->certificates, 1);
	free(b);
}

static void the_same_again_changes_nothing(void **state)
{
	uint64_t bytes;

	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	bytes = ctl->certs.bytes;
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(ctl->certs.bytes, bytes);
	assert_int_equal(stats->certificates, 1);
}

static void more_than_fit_are_refused_and_room_comes_back(void **state)
{
	for (uint64_t i = 1; i <= MAX_CERTS; i++)
		assert_int_equal(send_cert(i), WEIR_REFUSED_OK);
	assert_int_equal(send_cert(1000), WEIR_REFUSED_NO_MEMORY);
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK); /* that one is there */
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	assert_int_equal(stats->certificates, 1);
	assert_int_equal(send_cert(1000), WEIR_REFUSED_OK);
}

static void keys_are_wiped_and_not_dumped(void **state)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	const char *const at[] = {(char *)ctl->conn.region, NULL};
	bool here = false;
	char line[512];
	unsigned n_flags = 0, wiped;
	const char *blob;

	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	blob = (char *)TAILQ_FIRST(&ctl->certs.all)->blob;
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			here = (blob >= (char *)from && blob < (char *)to) || (at[0] >= (char *)from && at[0] < (char *)to);
		} else if (here && strncmp(line, "VmFlags:", 8) == 0) {
			assert_non_null(strstr(line, " dd"));
			n_flags++;
		}
	}
	fclose(f);
	assert_int_equal(n_flags, 2);
	wiped = n_wiped;
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK); /* of what is there already the copy goes at once */
	assert_int_equal(n_wiped, wiped + 1);
	assert_int_equal(SNAPSHOT(), WEIR_REFUSED_OK);
	assert_int_equal(n_wiped, wiped + 2);
	assert_int_equal(stats->certificates, 0);
}

/* -- how long they stay */

static void snapshot_that_names_one_that_is_not_there_is_refused(void **state)
{
	uint64_t served;

	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_NO_CERTIFICATE);
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	served = workers[0].served->generation;
	assert_int_equal(SNAPSHOT(1, 2), WEIR_REFUSED_NO_CERTIFICATE);
	assert_int_equal(workers[0].served->generation, served);
	assert_int_equal(stats->certificates, 1); /* a refused one forgets nothing */
	assert_int_equal(send_cert(2), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1, 2), WEIR_REFUSED_OK);
	assert_int_equal(workers[0].served->generation, generation);
}

static void it_is_forgotten_with_the_first_snapshot_that_does_not_name_it(void **state)
{
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(send_cert(2), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK); /* 2 came before it, and is not named */
	assert_int_equal(stats->certificates, 1);
	assert_int_equal(send_cert(2), WEIR_REFUSED_OK); /* comes before its snapshot */
	rig_turns(20);
	assert_int_equal(stats->certificates, 2);
	assert_int_equal(SNAPSHOT(2), WEIR_REFUSED_OK);
	assert_int_equal(stats->certificates, 1);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_NO_CERTIFICATE);
	assert_int_equal(SNAPSHOT(2), WEIR_REFUSED_OK);
}

static void it_stays_while_a_worker_serves_an_older_snapshot(void **state)
{
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	workers[1].is_asleep = true;
	assert_int_equal(SNAPSHOT(), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(), WEIR_REFUSED_OK);
	assert_int_equal(stats->certificates, 1);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_NO_CERTIFICATE); /* by weir-ctrl's reckoning it is gone all the same */
	want(1, 1);
	rig_turns(2);
	assert_int_equal(n_created, 1);
	workers[1].is_asleep = false;
	rig_turns(4);
	assert_int_equal(workers[1].n_certs, 1);
	assert_non_null(workers[1].certs[0]);
	assert_int_equal(stats->certificates, 0);
}

static void sent_again_it_is_there_again(void **state)
{
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	workers[1].is_asleep = true;
	assert_int_equal(SNAPSHOT(), WEIR_REFUSED_OK);
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	workers[1].is_asleep = false;
	rig_turns(10);
	assert_int_equal(stats->certificates, 1);
	assert_int_equal(ctl->certs.n_gone, 0);
}

static void they_outlive_the_connection(void **state)
{
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	peer_close(&peer);
	rig_turns(4);
	assert_int_equal(stats->certificates, 1);
	want(0, 1);
	rig_turns(4);
	assert_non_null(workers[0].certs[0]);
	peer_open(&peer);
	assert_int_equal(SNAPSHOT(), WEIR_REFUSED_OK);
	assert_int_equal(stats->certificates, 0);
}

/* -- for workers */

static void each_worker_gets_its_own_and_gives_it_back(void **state)
{
	const struct weir_cert_id id = cert_id(1);

	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	for (unsigned i = 0; i < N_WORKERS; i++)
		want(i, 1);
	rig_turns(2);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		assert_int_equal(workers[i].n_certs, 1);
		assert_ptr_equal(workers[i].certs[0]->tls, tls_of[i]);
		assert_memory_equal(&workers[i].certs[0]->id, &id, sizeof(id));
		release(i);
	}
	rig_turns(2);
	assert_int_equal(n_created, N_WORKERS);
	assert_int_equal(n_destroyed, N_WORKERS);
}

static void one_that_cannot_be_used_is_answered_and_not_tried_at_once_again(void **state)
{
	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	is_unusable = true;
	for (unsigned i = 1; i <= 5; i++) {
		want(0, 1);
		want(0, 999); /* never sent */
		rig_turns(2);
		assert_int_equal(workers[0].n_certs, 2 * i);
		assert_null(workers[0].certs[2 * i - 1]);
		assert_null(workers[0].certs[2 * i - 2]);
		assert_int_equal(n_failed, 1);
	}
	is_unusable = false;
	TAILQ_FIRST(&ctl->certs.all)->failed_us -= 20000000; /* as if that long had passed */
	want(0, 1);
	rig_turns(2);
	assert_non_null(workers[0].certs[workers[0].n_certs - 1]);
}

/* More than the worker's ring has room for, while it reads nothing; others do not wait for it. */
static void answers_wait_for_room_and_none_is_lost(void **state)
{
	const unsigned n = 3 * RING_SIZE;

	for (uint64_t i = 1; i <= n; i++)
		assert_int_equal(send_cert(i), WEIR_REFUSED_OK);
	workers[0].is_asleep = true;
	for (uint64_t i = 1; i <= n; i++) {
		want(0, i);
		want(1, i);
		rig_turns(1);
	}
	rig_turns((int)n);
	assert_int_equal(workers[1].n_certs, n);
	assert_int_equal(ctl->workers[0].n_pending, 0);
	workers[0].is_asleep = false;
	rig_turns((int)n);
	assert_int_equal(workers[0].n_certs, n);
	assert_int_equal(n_created, 2 * n);
	assert_true(TAILQ_EMPTY(&ctl->certs.wanted));
	assert_int_equal(SNAPSHOT(), WEIR_REFUSED_OK);
	assert_int_equal(stats->certificates, 0);
}

static void what_is_on_its_way_when_a_worker_has_stopped_is_destroyed(void **state)
{
	for (uint64_t i = 1; i <= 4; i++)
		assert_int_equal(send_cert(i), WEIR_REFUSED_OK);
	for (uint64_t i = 1; i <= 4; i++)
		want(0, i);
	rig_turns(4);
	release(0); /* on its way back */
	want(0, 1); /* not even looked at */
	workers[0].is_asleep = true;
	want(0, 2);
	ctl_poll(ctl, 0);
	ctl_poll(ctl, 0); /* on its way there */
	release(0);
	want(0, 3);
	assert_int_equal(n_created, 6);
	assert_int_equal(n_destroyed, 1);
	ctl_detach_tls(ctl, 0);
	assert_int_equal(n_destroyed, 4); /* the worker has the two others */
	assert_int_equal(workers[0].n_certs, 2);
}

static void bell_ends_the_wait(void **state)
{
	const uint64_t one = 1;

	assert_int_equal(send_cert(1), WEIR_REFUSED_OK);
	assert_int_equal(SNAPSHOT(1), WEIR_REFUSED_OK);
	rig_turns(10);
	want(0, 1);
	assert_int_equal(write(ctl_bell_fd(ctl), &one, sizeof(one)), sizeof(one));
	ctl->certs.logged_us = 0;
	ctl_poll(ctl, 600000); /* finds the question at once */
	workers_turn();
	assert_int_equal(workers[0].n_certs, 1);
	assert_int_equal(read(ctl_bell_fd(ctl), (uint64_t[]){0}, 8), -1); /* it was taken */
}

/* -- ticket keys */

static int tickets_setup(void **state)
{
	has_tickets = true;
	setup(NULL);
	has_tickets = false;
	return 0;
}

static void key_is_new_each_time_and_opens_for_two_more(void **state)
{
	struct tls_ticket_keys before;

	rig_turns(3);
	assert_int_equal(workers[0].n_keys, 1);
	assert_int_equal(workers[0].keys.n, 1);
	for (unsigned i = 2; i <= 6; i++) {
		before = workers[0].keys;
		rig_turns(3);
		assert_int_equal(workers[0].n_keys, i - 1); /* its time has not come */
		ctl->tickets.next_us = 0;
		rig_turns(3);
		assert_int_equal(workers[0].n_keys, i);
		assert_int_equal(workers[0].keys.n, i < TLS_TICKET_KEYS ? i : TLS_TICKET_KEYS);
		assert_memory_equal(&workers[0].keys.key[1], &before.key[0], (TLS_TICKET_KEYS - 1) * sizeof(before.key[0]));
		assert_memory_not_equal(&workers[0].keys.key[0], &before.key[0], sizeof(before.key[0]));
		assert_memory_equal(&workers[0].keys, &workers[1].keys, sizeof(before));
	}
}

static void keys_do_not_change_while_a_worker_reads_them(void **state)
{
	struct tls_ticket_keys keys;

	rig_turns(3);
	workers[1].is_asleep = true;
	ctl->tickets.next_us = 0;
	rig_turns(3);
	keys = ctl->tickets.k->keys;
	ctl->tickets.next_us = 0;
	rig_turns(10);
	assert_memory_equal(&keys, &ctl->tickets.k->keys, sizeof(keys));
	assert_int_equal(workers[0].n_keys, 2);
	workers[1].is_asleep = false;
	rig_turns(10);
	assert_int_equal(workers[0].n_keys, 3);
	assert_int_equal(workers[1].n_keys, 3);
}

static void without_tickets_there_are_no_keys(void **state)
{
	rig_turns(10);
	assert_int_equal(workers[0].n_keys, 0);
	assert_null(ctl->tickets.k);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(wrong_certificates_are_refused_by_their_reason),
		TEST(the_same_again_changes_nothing),
		TEST(more_than_fit_are_refused_and_room_comes_back),
		TEST(keys_are_wiped_and_not_dumped),
		TEST(snapshot_that_names_one_that_is_not_there_is_refused),
		TEST(it_is_forgotten_with_the_first_snapshot_that_does_not_name_it),
		TEST(it_stays_while_a_worker_serves_an_older_snapshot),
		TEST(sent_again_it_is_there_again),
		TEST(they_outlive_the_connection),
		TEST(each_worker_gets_its_own_and_gives_it_back),
		TEST(one_that_cannot_be_used_is_answered_and_not_tried_at_once_again),
		TEST(answers_wait_for_room_and_none_is_lost),
		TEST(what_is_on_its_way_when_a_worker_has_stopped_is_destroyed),
		TEST(bell_ends_the_wait),
		TEST(without_tickets_there_are_no_keys),
		cmocka_unit_test_setup_teardown(key_is_new_each_time_and_opens_for_two_more, tickets_setup, teardown),
		cmocka_unit_test_setup_teardown(keys_do_not_change_while_a_worker_reads_them, tickets_setup, teardown),
	};
#undef TEST
	int failed;

	rig_init("certs");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
