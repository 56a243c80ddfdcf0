/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that keeps no promise: wrong blobs, wrong messages, wrong indices,
 * memory that changes while it is read, connections that end anywhere. After
 * each of them nothing is left behind, and the next weir-ctrl is served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "publish.h"
#include "rig.h"

#define SET_MAX_BYTES (sizeof(struct weir_endpoint_set) + (uint64_t)WEIR_ENDPOINTS_MAX * sizeof(struct weir_endpoint))

static uint64_t pick64(struct prng *r)
{
	static const uint64_t edges[] = {
	    0, 1, 7, 8, 64, 4095, 4096, 1u << 20, UINT32_MAX, 1ull << 40, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};

	if (pick(r, 2))
		return edges[pick(r, COUNT(edges))];
	return (uint64_t)pick(r, UINT32_MAX) << 32 | pick(r, UINT32_MAX);
}

static void fill(struct prng *r, void *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)at)[i] = (uint8_t)pick(r, 256);
}

struct lie {
	const char *what;
	uint64_t off, size, id, version;
	size_t flip; /* byte of the blob that is changed, 0: none */
	enum weir_refusal why;
	bool reseal;
};

/* Sends the blob with one lie about it. */
static void tell_lie(struct peer *p, uint32_t type, const struct lie *l, void *blob, size_t n)
{
	const struct weir_msg m = {.type = type, .off = l->off, .size = l->size, .id = l->id, .version = l->version};
	struct weir_msg answer;

	memcpy(p->arena, blob, n);
	p->arena[l->flip] ^= l->flip ? 0x10 : 0;
	if (l->reseal)
		seal_snapshot((void *)p->arena, n);
	peer_put(p, m);
	answer = peer_await(p, WEIR_MSG_BLOB_DONE);
	if (answer.status != l->why)
		fail_msg("%s: status %u, wanted %d", l->what, answer.status, (int)l->why);
	assert_int_equal(answer.off, m.off);
	assert_int_equal(answer.size, m.size);
	assert_int_equal(answer.id, m.id);
	assert_int_equal(answer.version, m.version);
}

static void wrong_snapshots_are_refused_by_their_reason(void **state)
{
	struct peer p;
	size_t n;
	struct weir_snapshot *s = make_snapshot(2, &n);
	const uint64_t max = WEIR_SNAPSHOT_MAX_BYTES, arena = 1u << 20;
	const struct lie lies[] = {
	    {"misaligned", 4, n, 2, 0, 0, WEIR_REFUSED_BAD_PLACE, false},
	    {"behind the arena", arena + 8, n, 2, 0, 0, WEIR_REFUSED_BAD_PLACE, false},
	    {"over the arena's end", arena - 64, n, 2, 0, 0, WEIR_REFUSED_BAD_PLACE, false},
	    {"offset that wraps", UINT64_MAX - 7, n, 2, 0, 0, WEIR_REFUSED_BAD_PLACE, false},
	    {"size of the limit", 0, max, 2, 0, 0, WEIR_REFUSED_BAD_PLACE, false},
	    {"oversize", 0, max + 1, 2, 0, 0, WEIR_REFUSED_TOO_BIG, false},
	    {"endless", 8, UINT64_MAX, 2, 0, 0, WEIR_REFUSED_TOO_BIG, false},
	    {"empty", 0, 0, 2, 0, 0, WEIR_REFUSED_TRUNCATED, false},
	    {"half a head", 0, sizeof(*s) - 8, 2, 0, 0, WEIR_REFUSED_TRUNCATED, false},
	    {"truncated", 0, n - 8, 2, 0, 0, WEIR_REFUSED_TRUNCATED, false},
	    {"not newer", 0, n, 1, 0, 0, WEIR_REFUSED_STALE, false},
	    {"generation 0", 0, n, 0, 0, 0, WEIR_REFUSED_STALE, false},
	    {"another generation", 0, n, 3, 0, 0, WEIR_REFUSED_BAD_VALUE, false},
	    {"magic", 0, n, 2, 0, 1, WEIR_REFUSED_BAD_MAGIC, true},
	    {"abi", 0, n, 2, 0, offsetof(struct weir_snapshot, abi_major), WEIR_REFUSED_BAD_ABI, true},
	    {"garbled", 0, n, 2, 0, n / 2, WEIR_REFUSED_BAD_CHECKSUM, false},
	    {"last byte garbled", 0, n, 2, 0, n - 1, WEIR_REFUSED_BAD_CHECKSUM, false},
	    {"section", 0, n, 2, 0, offsetof(struct weir_snapshot, sect), WEIR_REFUSED_BAD_SECTION, true},
	};
	const struct weir_snapshot *old;
	uint64_t refused;

	assert_next_ctrl_works();
	old = workers[0].served;
	peer_open(&p);
	((struct weir_snapshot *)s)->generation = 1; /* this connection has one too */
	seal_snapshot(s, n);
	memcpy(p.arena, s, n);
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = 1});
	assert_int_equal(peer_await(&p, WEIR_MSG_LIVE).id, 1);
	s->generation = 2;
	seal_snapshot(s, n);
	old = workers[0].served;
	refused = stats->snapshots_refused;
	for (size_t i = 0; i < COUNT(lies); i++) {
		tell_lie(&p, WEIR_MSG_SNAPSHOT, &lies[i], s, n);
		assert_ptr_equal(workers[0].served, old);
	}
	assert_int_equal(stats->snapshots_refused, refused + COUNT(lies));
	assert_int_equal(stats->live_generation, 1);
	tell_lie(&p, WEIR_MSG_SNAPSHOT, &(struct lie){"the truth", 0, n, 2, 0, 0, WEIR_REFUSED_OK, false}, s, n);
	assert_int_equal(peer_await(&p, WEIR_MSG_LIVE).id, 2);
	peer_close(&p);
	assert_settled();
	free(s);
}

static void wrong_endpoint_sets_are_refused_by_their_reason(void **state)
{
	struct peer p;
	size_t n;
	struct weir_endpoint_set *e = make_set("n/s0:80", 7, &n);
	const uint64_t id = e->backend_id;
	const struct lie lies[] = {
	    {"misaligned", 4, n, id, 7, 0, WEIR_REFUSED_BAD_PLACE, false},
	    {"over the arena's end", (1u << 20) - 8, n, id, 7, 0, WEIR_REFUSED_BAD_PLACE, false},
	    {"oversize", 0, SET_MAX_BYTES + 1, id, 7, 0, WEIR_REFUSED_TOO_BIG, false},
	    {"half a head", 0, sizeof(*e) - 8, id, 7, 0, WEIR_REFUSED_TRUNCATED, false},
	    {"truncated", 0, n - 8, id, 7, 0, WEIR_REFUSED_TRUNCATED, false},
	    {"magic", 0, n, id, 7, 1, WEIR_REFUSED_BAD_MAGIC, false},
	    {"garbled", 0, n, id, 7, n - 1, WEIR_REFUSED_BAD_CHECKSUM, false},
	    {"another backend", 0, n, id + 1, 7, 0, WEIR_REFUSED_BAD_VALUE, false},
	    {"another version", 0, n, id, 8, 0, WEIR_REFUSED_BAD_VALUE, false},
	};
	uint64_t refused = stats->endpoint_sets_refused;

	peer_open(&p);
	for (size_t i = 0; i < COUNT(lies); i++)
		tell_lie(&p, WEIR_MSG_ENDPOINTS, &lies[i], e, n);
	assert_int_equal(stats->endpoint_sets_refused, refused + COUNT(lies));
	assert_int_equal(workers[0].last_set, 0);
	tell_lie(&p, WEIR_MSG_ENDPOINTS, &(struct lie){"the truth", 0, n, id, 7, 0, WEIR_REFUSED_OK, false}, e, n);
	assert_int_equal(peer_await(&p, WEIR_MSG_ENDPOINTS_LIVE).version, 7);
	peer_close(&p);
	assert_settled();
	free(e);
}

static void breach_ends_the_connection(struct peer *p)
{
	uint64_t errors = stats->ctrl_protocol_errors;

	rig_turns(2);
	assert_int_equal(stats->ctrl_protocol_errors, errors + 1);
	assert_int_equal(ctl->conn.fd, -1);
	peer_close(p);
}

static void breaches_of_the_contract_end_the_connection(void **state)
{
	uint64_t refused = stats->snapshots_refused;
	struct peer p;

	peer_open(&p);
	peer_put(&p, (struct weir_msg){.type = 77});
	breach_ends_the_connection(&p);
	peer_open(&p);
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_LIVE, .id = 1}); /* not of this direction */
	breach_ends_the_connection(&p);
	peer_open(&p);
	p.n_sent = 1; /* a gap: what is well-formed but of a later number is not taken */
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT});
	p.tx->slots[0] = p.tx->slots[1];
	breach_ends_the_connection(&p);
	assert_int_equal(stats->snapshots_refused, refused);
	peer_open(&p);
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT}); /* would be read, if the index were believed */
	p.tx->head = WEIR_RING_SLOTS + 1;
	breach_ends_the_connection(&p);
	assert_int_equal(stats->snapshots_refused, refused);
	peer_open(&p);
	p.tx->head = UINT64_MAX;
	breach_ends_the_connection(&p);
	peer_open(&p);
	p.rx->tail = 1; /* took what was never put; seen when there is an answer */
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT});
	breach_ends_the_connection(&p);
	assert_next_ctrl_works();
}

/* A question to the diagnostics, right in most that it says. */
static void random_question(struct peer *p, struct prng *r, bool may_break)
{
	static const uint32_t types[] = {WEIR_MSG_CONNECTIONS, WEIR_MSG_CAPTURE, WEIR_MSG_CAPTURE_STOP, WEIR_MSG_CAPTURE_TAKEN};
	struct weir_msg m = {.type = types[pick(r, may_break ? 4 : 3)], .off = 8 * pick(r, 4096), .id = pick(r, 4)};
	struct weir_conn_query q = {.worker = pick(r, 4) ? WEIR_ALL_WORKERS : pick(r, 3), .states = 8, .limit = pick(r, 50)};
	struct weir_capture_spec s = {.worker = q.worker, .snaplen = 100, .duration_us = pick(r, 2) ? 1 : 1000000,
				      .n_insns = pick(r, 4)};

	for (uint32_t i = 0; i < s.n_insns; i++)
		s.insns[i] = (struct weir_bpf_insn){.code = pick(r, 4) ? 0x06 : (uint16_t)pick(r, 256), .k = pick(r, 4)};
	if (m.type == WEIR_MSG_CAPTURE_TAKEN) {
		m.off = pick(r, 4);
		m.version = pick(r, 3) ? 0 : pick64(r);
	} else if (m.type != WEIR_MSG_CAPTURE_STOP) {
		m.size = m.type == WEIR_MSG_CAPTURE ? sizeof(s) : sizeof(q);
		memcpy(p->arena + m.off, m.type == WEIR_MSG_CAPTURE ? (void *)&s : (void *)&q, m.size);
		if (pick(r, 4) == 0)
			p->arena[m.off + pick(r, (uint32_t)m.size)] ^= (char)(1 << pick(r, 8));
		if (pick(r, 8) == 0)
			*(pick(r, 2) ? &m.off : &m.size) = pick64(r);
	}
	peer_put(p, m);
}

/* A certificate, right in most that it says; there are more of them than room. */
static void random_certificate(struct peer *p, struct prng *r)
{
	size_t n = sizeof(struct weir_certificate) + 32 + pick(r, 20000);
	struct weir_certificate *b = make_certificate(pick(r, 1000), n);
	struct weir_msg m = {.type = WEIR_MSG_CERTIFICATE, .off = 8 * pick(r, 4096), .size = n, .id = b->id.v[0], .version = b->id.v[1]};

	if (pick(r, 3) == 0) {
		((char *)b)[pick(r, (uint32_t)n)] ^= (char)(1 << pick(r, 8));
		if (pick(r, 2))
			b->checksum = hash64_zeroed(b, n, offsetof(struct weir_certificate, checksum), 8, 0);
	}
	memcpy(p->arena + m.off, b, n);
	free(b);
	if (pick(r, 8) == 0)
		*(uint64_t *[]){&m.off, &m.size, &m.id, &m.version}[pick(r, 4)] = pick64(r);
	peer_put(p, m);
}

/* One step of a peer that may lie about everything. */
static void random_step(struct peer *p, struct prng *r, const struct weir_snapshot *s, size_t n, bool may_break)
{
	static const uint32_t types[] = {WEIR_MSG_SNAPSHOT, WEIR_MSG_SNAPSHOT, WEIR_MSG_ENDPOINTS, 77};
	uint64_t off = 8 * pick(r, 4096);
	struct weir_msg m;

	if (pick(r, 4) == 0) {
		random_question(p, r, may_break);
		return;
	}
	if (pick(r, 8) == 0) {
		random_certificate(p, r);
		return;
	}
	if (pick(r, 2)) {
		memcpy(p->arena + off, s, n);
		if (pick(r, 2)) {
			p->arena[off + pick(r, (uint32_t)n)] ^= (char)(1 << pick(r, 8));
			seal_snapshot((void *)(p->arena + off), n);
		}
	} else {
		fill(r, p->arena + off, 512);
	}
	m = (struct weir_msg){.type = types[pick(r, may_break ? 4 : 3)],
			      .off = pick(r, 4) ? off : pick64(r),
			      .size = pick(r, 4) ? n : pick64(r),
			      .id = pick(r, 2) ? s->generation : pick64(r),
			      .version = pick64(r)};
	peer_put(p, m);
	if (!may_break || pick(r, 4))
		return;
	switch (pick(r, 5)) {
	case 0:
		p->tx->head = pick64(r);
		break;
	case 1:
		p->rx->tail = pick64(r);
		break;
	case 2:
		p->tx->slots[(p->n_sent - 1) % WEIR_RING_SLOTS].seq = pick64(r);
		break;
	case 3:
		fill(r, p->region, sizeof(*p->region)); /* the dataplane needs none of it again */
		break;
	default:
		fill(r, &p->rx->head, sizeof(p->rx->head));
	}
}

static void random_peers_harm_nobody(void **state)
{
	size_t n;
	struct weir_snapshot *s = make_snapshot(1, &n);
	uint64_t errors = stats->ctrl_protocol_errors, refused = stats->snapshots_refused,
		 taken = stats->snapshots_taken, asked = stats->diag_refused, lists = stats->conn_lists,
		 captures = stats->captures, certs = stats->certificates_taken, no_certs = stats->certificates_refused;
	unsigned fds;
	struct peer p;

	assert_next_ctrl_works();
	fds = count_fds();
	for (uint64_t seed = 1; seed <= 1500; seed++) {
		struct prng r = {seed};
		char bell[300];

		peer_open(&p);
		for (uint32_t steps = 1 + pick(&r, 30); steps > 0; steps--) {
			random_step(&p, &r, s, n, seed % 3);
			if (pick(&r, 2)) {
				fill(&r, bell, sizeof(bell));
				(void)!send(p.fd, bell, 1 + pick(&r, sizeof(bell)), MSG_DONTWAIT | MSG_NOSIGNAL);
			}
			if (pick(&r, 3) == 0)
				rig_turns(1);
		}
		peer_close(&p);
		rig_turns(3);
		assert_int_equal(ctl->conn.fd, -1);
		assert_int_equal(count_fds(), fds);
	}
	assert_true(stats->ctrl_protocol_errors > errors + 100);
	assert_true(stats->snapshots_refused > refused + 1000);
	assert_true(stats->snapshots_taken > taken + 100);
	assert_true(stats->diag_refused > asked + 100);
	assert_true(stats->conn_lists > lists + 100);
	assert_true(stats->captures > captures + 100);
	assert_true(stats->certificates_taken > certs + 100);
	assert_true(stats->certificates_refused > no_certs + 100);
	assert_next_ctrl_works();
	assert_int_equal(stats->certificates, 0);
	assert_int_equal(ctl->certs.bytes, 0);
	assert_int_equal(count_fds(), fds);
	free(s);
}

/* A thread that writes into the region without end, as a hostile weir-ctrl on another core would. */
struct scribbler {
	struct peer *p;
	uint64_t seed;
	size_t n_blob;     /* bytes of the blob at the arena's start */
	bool spares_rings; /* only the blob, in bursts: the connection lasts, and some copies are whole */
	bool stops;        /* test: w, scribbler: r */
	uint64_t n_writes; /* scribbler: w, test: r */
	uint32_t burst, rest;
	pthread_t thread;
};

static void scribble_blob(struct scribbler *s, struct prng *r)
{
	volatile uint64_t *words = (volatile uint64_t *)(void *)s->p->arena;

	if (s->burst > 0) {
		s->burst--;
		words[pick(r, (uint32_t)(s->n_blob / 8))] ^= pick64(r);
	} else if (s->rest > 0) {
		s->rest--;
	} else {
		s->burst = 1 + pick(r, 1000);
		s->rest = 1 + pick(r, 4000);
	}
}

static void scribble_region(struct scribbler *s, struct prng *r)
{
	volatile uint64_t *words = (volatile uint64_t *)(void *)s->p->region;

	if (pick(r, 2)) { /* the indices and first slots of a ring: what is read all the time */
		words = (volatile uint64_t *)(void *)(pick(r, 2) ? s->p->tx : s->p->rx);
		words[pick(r, 64)] = pick(r, 2) ? pick(r, 8) : pick64(r);
	} else {
		words[pick(r, (uint32_t)(s->p->hello.region_size / 8))] = pick64(r);
	}
}

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	struct prng r = {s->seed};

	while (!__atomic_load_n(&s->stops, __ATOMIC_ACQUIRE)) {
		if (s->spares_rings)
			scribble_blob(s, &r);
		else
			scribble_region(s, &r);
		__atomic_fetch_add(&s->n_writes, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Returns when it writes. */
static void scribbler_start(struct scribbler *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, scribble, s), 0);
	while (__atomic_load_n(&s->n_writes, __ATOMIC_ACQUIRE) == 0)
		sched_yield();
}

static void scribbler_stop(struct scribbler *s)
{
	__atomic_store_n(&s->stops, true, __ATOMIC_RELEASE);
	pthread_join(s->thread, NULL);
}

/* Blobs change under the reader: it takes what was whole when it was copied (rig.h checks that), and refuses the rest.
 */
static void changing_arena_gives_only_checked_copies(void **state)
{
	size_t n;
	struct weir_snapshot *s = make_snapshot(1, &n);
	uint64_t refused = stats->snapshots_refused, taken = stats->snapshots_taken, g = 0;
	struct peer p;
	struct scribbler sc = {.p = &p, .seed = 5, .n_blob = n, .spares_rings = true};

	peer_open(&p);
	scribbler_start(&sc);
	/* Until both have happened often enough. */
	while (g < 200000 && (stats->snapshots_refused < refused + 20 || stats->snapshots_taken < taken + 20)) {
		s->generation = ++g;
		seal_snapshot(s, n);
		memcpy(p.arena, s, n);
		peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = g});
		sched_yield(); /* where there is one core, it must have its turn */
		peer_await(&p, WEIR_MSG_BLOB_DONE);
		rig_turns(2);
	}
	scribbler_stop(&sc);
	assert_true(stats->snapshots_refused >= refused + 20);
	assert_true(stats->snapshots_taken >= taken + 20);
	peer_close(&p);
	assert_settled();
	free(s);
}

/* The linker puts this in the place of snapshot_check(): the arena changes in the moment that the check has ended. */
enum weir_refusal __real_snapshot_check(const void *blob, size_t n, struct snapshot_error *err);
enum weir_refusal __wrap_snapshot_check(const void *blob, size_t n, struct snapshot_error *err);
static char *changes_after_check;

enum weir_refusal __wrap_snapshot_check(const void *blob, size_t n, struct snapshot_error *err)
{
	enum weir_refusal r = __real_snapshot_check(blob, n, err);

	if (changes_after_check)
		memset(changes_after_check, 0xff, n);
	changes_after_check = NULL;
	return r;
}

static void workers_get_what_was_checked(void **state)
{
	size_t n;
	struct weir_snapshot *s = make_snapshot(1, &n);
	struct peer p;

	peer_open(&p);
	memcpy(p.arena, s, n);
	changes_after_check = p.arena;
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = 1});
	assert_int_equal(peer_await(&p, WEIR_MSG_LIVE).id, 1);
	assert_null(changes_after_check);
	assert_int_equal((unsigned char)p.arena[0], 0xff);
	for (unsigned i = 0; i < N_WORKERS; i++)
		assert_memory_equal(workers[i].served, s, n);
	peer_close(&p);
	assert_settled();
	free(s);
}

static void changing_region_harms_nobody(void **state)
{
	size_t n;
	struct weir_snapshot *s = make_snapshot(1, &n);
	unsigned fds = count_fds();

	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint64_t errors = stats->ctrl_protocol_errors;
		struct peer p;
		struct scribbler sc = {.p = &p, .seed = seed, .n_blob = n};

		peer_open(&p);
		memcpy(p.arena, s, n);
		peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = 1});
		scribbler_start(&sc);
		for (int i = 0; i < 100000 && ctl->conn.fd >= 0; i++)
			rig_turns(1);
		scribbler_stop(&sc);
		assert_int_equal(ctl->conn.fd, -1);
		assert_int_equal(stats->ctrl_protocol_errors, errors + 1);
		peer_close(&p);
	}
	assert_int_equal(count_fds(), fds);
	assert_next_ctrl_works();
	free(s);
}

static void garbage_on_the_socket_is_only_a_bell(void **state)
{
	struct prng r = {3};
	uint64_t errors = stats->ctrl_protocol_errors;
	char garbage[60000];
	struct peer p;

	peer_open(&p);
	for (int i = 0; i < 2000; i++) {
		fill(&r, garbage, 64);
		(void)!send(p.fd, garbage, pick(&r, 20) ? 1 + pick(&r, 200) : sizeof(garbage),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (pick(&r, 4) == 0)
			rig_turns(1);
	}
	rig_turns(50);
	assert_true(ctl->conn.fd >= 0);
	assert_int_equal(stats->ctrl_protocol_errors, errors);
	peer_close(&p);
	assert_next_ctrl_works();
}

/* Descriptors that a peer attaches are not taken in. */
static void descriptors_of_the_peer_are_not_kept(void **state)
{
	struct iovec iov = {.iov_base = (char[]){1}, .iov_len = 1};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct msghdr msg = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct peer p;
	unsigned fds;

	peer_open(&p);
	fds = count_fds();
	control.head =
	    (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(&control.head), &stats_fd, sizeof(int));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(sendmsg(p.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL), 1);
		rig_turns(2);
	}
	assert_int_equal(count_fds(), fds);
	peer_close(&p);
	assert_next_ctrl_works();
}

/* A weir-ctrl dies after any number of its own turns, between any two of the dataplane's. */
static void ctrl_may_die_at_any_point(void **state)
{
	unsigned fds = count_fds();
	size_t n;

	for (int ctrl_turns = 0; ctrl_turns < 12; ctrl_turns++)
		for (int main_turns = 0; main_turns < 4; main_turns++) {
			struct publish *p = publish_create(path);
			struct weir_snapshot *s = make_snapshot(1, &n);

			publish_snapshot(p, s, n, 1);
			assert_int_equal(publish_endpoints(p, make_set("n/s0:80", 1, &n)), 0);
			usleep(1500); /* past the first wait of a connection */
			for (int i = 0; i < ctrl_turns; i++) {
				publish_poll(p);
				rig_turns(main_turns);
			}
			publish_destroy(p);
		}
	assert_next_ctrl_works();
	assert_int_equal(count_fds(), fds);
}

/* The same by hand: behind each byte that it writes to the ring and the arena. */
static void transfer_may_end_anywhere(void **state)
{
	size_t n;
	struct weir_snapshot *s = make_snapshot(1, &n);
	unsigned fds = count_fds();
	uint64_t refused = stats->snapshots_refused;

	for (size_t cut = 0; cut < n; cut += 61) {
		struct peer p;

		peer_open(&p);
		memcpy(p.arena, s, cut);
		if (cut % 2)
			peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = 1});
		if (cut % 3)
			(void)!send(p.fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		peer_close(&p);
		rig_turns(2);
		assert_int_equal(ctl->conn.fd, -1);
	}
	assert_true(stats->snapshots_refused > refused);
	assert_int_equal(count_fds(), fds);
	assert_next_ctrl_works();
	free(s);
}

/* It connects and goes before the dataplane looks, or never reads its hello. */
static void knocking_and_leaving_costs_nothing(void **state)
{
	unsigned fds = count_fds();
	int knocks[8];

	for (int round = 0; round < 100; round++) {
		for (size_t i = 0; i < COUNT(knocks); i++)
			knocks[i] = peer_dial();
		rig_turns(round % 3);
		for (size_t i = 0; i < COUNT(knocks); i++)
			close(knocks[i]);
		rig_turns(4);
		assert_int_equal(ctl->conn.fd, -1);
		assert_int_equal(count_fds(), fds);
	}
	assert_next_ctrl_works();
}

/* Acknowledgements that nobody takes fill the ring, then main's own queue; then reading stops, not the dataplane. */
static void peer_that_takes_no_answers_is_held_back(void **state)
{
	struct peer p;
	uint64_t sent_before;

	peer_open(&p);
	for (int i = 0; i < 4; i++) {
		for (unsigned k = 0;
		     k < WEIR_RING_SLOTS && p.n_sent - __atomic_load_n(&p.tx->tail, __ATOMIC_ACQUIRE) < WEIR_RING_SLOTS;
		     k++)
			peer_put(&p, (struct weir_msg){.type = WEIR_MSG_ENDPOINTS, .off = 4});
		rig_turns(20);
	}
	assert_int_equal(p.rx->head, WEIR_RING_SLOTS);
	assert_in_range(ctl->conn.n_acks, CTL_MAX_ACKS, 2 * CTL_MAX_ACKS - 1);
	sent_before = p.tx->tail;
	rig_turns(20);
	assert_int_equal(p.tx->tail, sent_before);
	assert_true(ctl->conn.fd >= 0);
	ctl->conn.stalled_us -= CTL_STALL_US; /* as if that long had passed */
	rig_turns(1);
	assert_int_equal(ctl->conn.fd, -1);
	peer_close(&p);
	assert_next_ctrl_works();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, ctl_setup, ctl_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(wrong_snapshots_are_refused_by_their_reason),
	    TEST(wrong_endpoint_sets_are_refused_by_their_reason),
	    TEST(breaches_of_the_contract_end_the_connection),
	    TEST(random_peers_harm_nobody),
	    TEST(changing_arena_gives_only_checked_copies),
	    TEST(workers_get_what_was_checked),
	    TEST(changing_region_harms_nobody),
	    TEST(garbage_on_the_socket_is_only_a_bell),
	    TEST(descriptors_of_the_peer_are_not_kept),
	    TEST(ctrl_may_die_at_any_point),
	    TEST(transfer_may_end_anywhere),
	    TEST(knocking_and_leaving_costs_nothing),
	    TEST(peer_that_takes_no_answers_is_held_back),
	};
#undef TEST
	int failed;

	rig_init("hostile");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
