/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dataplane's end of the contract with two workers that the test plays,
 * and a peer that speaks to it by hand, so that it can also lie. A worker
 * checks every blob that reaches it: none that is wrong may get so far.
 */
#ifndef TESTS_CTL_RIG_H
#define TESTS_CTL_RIG_H

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <openssl/evp.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "../../eal.h"
#include "base/filter.h"
#include "base/hash.h"
#include "base/log.h"
#include "ctl.h"
#include "ctl_pvt.h"
#include "random_model.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"

#define N_WORKERS 2u
#define RING_SIZE 64u /* small, so that it can be full */

struct rig_worker {
	struct worker_link link;
	const struct weir_snapshot *served;
	bool is_asleep;    /* reads nothing */
	bool keeps_old;    /* gives no old snapshot back */
	bool wants_order;  /* endpoint sets have to come with growing versions */
	uint64_t last_set; /* version of the last endpoint set */
	struct weir_snapshot *kept[CTL_MAX_GENERATIONS];
	unsigned n_kept;
	struct walk_job *job; /* in hand, if slow_walks; else answered at once with no rows */
	bool slow_walks;
	struct tls_certificate *certs[512]; /* in the order in which they came; NULL where none could be used */
	unsigned n_certs;
	struct tls_ticket_keys keys;
	unsigned n_keys; /* times that they came */
	const struct fib *fib;
	unsigned n_fibs; /* times that one came */
	struct net_capture *capture; /* as it was handed over, until it is given back */
	unsigned n_captures;
};

static struct rig_worker workers[N_WORKERS];
static struct weir_stats_region *stats;
static int stats_fd;
static struct weir_diag_region *diag;
static int diag_fd;
static struct ctl *ctl;
static bool has_tickets;
static const struct weir_pod_path *fixed_paths; /* weir.yaml's */
static unsigned n_fixed_paths;
static char path[64];

static inline void worker_answer_main(struct rig_worker *w, uint32_t type, const void *ptr, uint64_t id)
{
	const struct worker_msg m = {
	    .type = type, .worker = (uint32_t)(w - workers), .ptr = (void *)(uintptr_t)ptr, .id = id};

	assert_int_equal(rte_ring_enqueue_elem(w->link.to_main, (void *)(uintptr_t)&m, sizeof(m)), 0);
}

static inline void worker_swap(struct rig_worker *w, const struct worker_msg *m)
{
	const struct weir_snapshot *s = m->ptr;

	assert_int_equal(snapshot_check(s, s->size, NULL), WEIR_REFUSED_OK);
	if (w->served && w->keeps_old)
		w->kept[w->n_kept++] = (struct weir_snapshot *)(uintptr_t)w->served;
	else if (w->served)
		worker_answer_main(w, WORKER_RELEASED, w->served, 0);
	w->served = s;
	worker_answer_main(w, WORKER_SWAPPED, NULL, m->id);
}

/* The job goes back; its rows are what the test wrote. */
static inline void worker_walked(struct rig_worker *w, uint32_t n_rows)
{
	struct walk_job *job = w->job;

	w->job = NULL;
	job->out->n_rows = n_rows;
	job->out->walk_id = job->id;
	worker_answer_main(w, WORKER_WALKED, job, job->id);
}

static inline void worker_look(struct rig_worker *w, const struct worker_msg *m)
{
	switch (m->type) {
	case WORKER_WALK:
		assert_null(w->job); /* one at a time */
		w->job = m->ptr;
		if (!w->slow_walks)
			worker_walked(w, 0);
		break;
	case WORKER_CAPTURE:
		assert_null(w->capture);
		w->capture = m->ptr;
		w->n_captures++;
		assert_true(w->capture->spec->n_insns == 0 ||
			    filter_check(w->capture->spec->insns, w->capture->spec->n_insns) == FILTER_OK);
		break;
	case WORKER_CAPTURE_STOP:
		assert_non_null(w->capture);
		w->capture = NULL;
		worker_answer_main(w, WORKER_CAPTURE_STOPPED, NULL, m->id);
		break;
	case WORKER_CERTIFICATE:
		assert_in_range(w->n_certs, 0, COUNT(w->certs) - 1);
		w->certs[w->n_certs++] = m->ptr;
		break;
	case WORKER_TICKET_KEYS:
		w->keys = *(struct tls_ticket_keys *)m->ptr;
		w->n_keys++;
		worker_answer_main(w, WORKER_TICKET_KEYS_TAKEN, m->ptr, 0);
		break;
	case WORKER_FIB:
		worker_answer_main(w, WORKER_FIB_TAKEN, w->fib, 0);
		w->fib = m->ptr;
		w->n_fibs++;
	}
}

static inline void workers_turn(void)
{
	struct worker_msg m;

	for (unsigned i = 0; i < N_WORKERS; i++) {
		struct rig_worker *w = &workers[i];

		/* A few at a time: the ring to main is as small. */
		for (int k = 0; k < 16 && !w->is_asleep; k++) {
			if (rte_ring_dequeue_elem(w->link.to_worker, &m, sizeof(m)) != 0)
				break;
			if (m.type == WORKER_SNAPSHOT)
				worker_swap(w, &m);
			worker_look(w, &m);
			if (m.type != WORKER_ENDPOINTS)
				continue;
			assert_int_equal(endpoint_set_check(m.ptr, ((struct weir_endpoint_set *)m.ptr)->size, NULL),
					 WEIR_REFUSED_OK);
			if (w->wants_order)
				assert_true(m.version > w->last_set);
			w->last_set = m.version;
			worker_answer_main(w, WORKER_ENDPOINTS_TAKEN, m.ptr, m.id);
		}
	}
}

static inline void rig_turns(int n)
{
	for (int i = 0; i < n; i++) {
		ctl_poll(ctl, 0);
		workers_turn();
	}
}

/* Nothing is held but the one snapshot that is served: what hostile peers brought has gone. */
static inline void assert_settled(void)
{
	const struct ctl_copy *copy;
	unsigned n = 0;

	rig_turns(200);
	LIST_FOREACH(copy, &ctl->copies, link)
	n++;
	assert_int_equal(ctl->n_sets, 0);
	assert_int_equal(ctl->diag.n_walking, 0);
	assert_false(ctl->diag.is_capturing);
	for (unsigned i = 0; i < N_WORKERS; i++)
		assert_null(workers[i].capture);
	assert_int_equal(ctl->n_snapshots, ctl->number ? 1 : 0);
	assert_int_equal(n, ctl->number ? N_WORKERS : 0);
}

static inline void ctl_start_for(bool has_uid, uint32_t uid)
{
	const struct worker_link links[N_WORKERS] = {workers[0].link, workers[1].link};
	const struct ctl_config cc = {
	    .socket_path = path, .has_uid = has_uid, .uid = uid, .arena_mb = 1, .n_workers = N_WORKERS, .links = links,
	    .diag = diag, .diag_fd = diag_fd, .certificates_mb = 1, .tickets = has_tickets, .ticket_rotate_s = 3600,
	    .paths = fixed_paths, .n_paths = n_fixed_paths};

	for (unsigned i = 0; i < N_WORKERS; i++)
		workers[i] = (struct rig_worker){.link = links[i]};
	ctl = ctl_create(&cc, stats, stats_fd);
	assert_non_null(ctl);
}

static inline int ctl_setup(void **state)
{
	ctl_start_for(false, 0);
	return 0;
}

/* What is in the rings belongs to the ctl that ends. */
static inline int ctl_teardown(void **state)
{
	struct worker_msg m;

	ctl_destroy(ctl);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		while (rte_ring_dequeue_elem(workers[i].link.to_worker, &m, sizeof(m)) == 0)
			;
		while (rte_ring_dequeue_elem(workers[i].link.to_main, &m, sizeof(m)) == 0)
			;
	}
	return 0;
}

static inline struct rte_ring *rig_ring(const char *kind, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "%s%u", kind, i);
	return rte_ring_create_elem(name, sizeof(struct worker_msg), RING_SIZE, SOCKET_ID_ANY, 0);
}

static inline void rig_init(const char *name)
{
	test_eal_init();
	log_init("test", LOG_LEVEL_ERROR);
	snprintf(path, sizeof(path), "/tmp/weir-test-%s-%d", name, (int)getpid());
	for (unsigned i = 0; i < N_WORKERS; i++)
		workers[i].link = (struct worker_link){.to_worker = rig_ring("down", i), .to_main = rig_ring("up", i)};
	stats = ctl_stats_create(N_WORKERS, &stats_fd);
	diag = ctl_diag_create(N_WORKERS, 1, &diag_fd);
}

static inline void rig_fini(void)
{
	ctl_stats_destroy(stats, stats_fd);
	ctl_diag_destroy(diag, diag_fd);
	rte_eal_cleanup();
}

static inline unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Mappings of regions that have been shared, those of the test included. */
static inline unsigned count_regions(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:weir-region") != NULL;
	fclose(f);
	return n;
}

/* A snapshot with some of everything, sealed with this generation; for the caller to free. */
static inline struct weir_snapshot *make_snapshot(uint64_t generation, size_t *n)
{
	struct prng r = {42};
	struct model m;
	void *blob;

	random_model(&m, &r, 25);
	assert_int_equal(compile_snapshot(&m, generation, &blob, n), 0);
	model_fini(&m);
	return blob;
}

static inline struct weir_endpoint_set *make_set(const char *backend, uint64_t version, size_t *n)
{
	struct weir_endpoint ep = {.addr.b = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}, .port = 80, .weight = 1};
	const struct model_backend b = {.name = backend, .n_endpoints = 1, .endpoints = &ep};
	void *blob;

	assert_int_equal(compile_endpoints(&b, version, &blob, n), 0);
	return blob;
}

/* A certificate as far as the frame goes, of n bytes, its content by the seed; for the caller to free. */
static inline struct weir_certificate *make_certificate(uint64_t seed, size_t n)
{
	const size_t from = offsetof(struct weir_certificate, n_chain);
	struct weir_certificate *b = calloc(1, n);
	struct prng r = {seed};
	uint8_t digest[EVP_MAX_MD_SIZE];

	*b = (struct weir_certificate){.magic = WEIR_CERTIFICATE_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR,
				       .size = (uint32_t)n, .n_chain = 1};
	b->chain[0] = (struct weir_part){.off = sizeof(*b), .size = (uint32_t)(n - sizeof(*b) - 32)};
	b->key = (struct weir_part){.off = (uint32_t)n - 32, .size = 32};
	for (size_t i = sizeof(*b); i < n; i++)
		((uint8_t *)b)[i] = (uint8_t)pick(&r, 256);
	assert_int_equal(EVP_Digest((char *)b + from, n - from, digest, NULL, EVP_sha256(), NULL), 1);
	memcpy(&b->id, digest, sizeof(b->id));
	b->checksum = hash64_zeroed(b, n, offsetof(struct weir_certificate, checksum), 8, 0);
	return b;
}

static inline void seal_snapshot(struct weir_snapshot *s, size_t n)
{
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_snapshot, checksum), 8, 0);
}

/* A weir-ctrl by hand. */
struct peer {
	int fd, fds[3];
	struct weir_hello hello;
	struct weir_region *region;
	struct weir_ring *tx, *rx;
	char *arena;
	uint64_t n_sent, n_taken;
};

static inline int peer_dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Reads the hello. The number of descriptors that came with it, or -1. */
static inline int peer_read_hello(struct peer *p)
{
	struct iovec iov = {.iov_base = &p->hello, .iov_len = sizeof(p->hello)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(p->fds))];
	} control;
	struct msghdr msg = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c;

	if (recvmsg(p->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(p->hello))
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (!c)
		return 0;
	assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(p->fds)));
	memcpy(p->fds, CMSG_DATA(c), sizeof(p->fds));
	return 3;
}

static inline void peer_open(struct peer *p)
{
	*p = (struct peer){.fd = peer_dial()};
	rig_turns(2);
	assert_int_equal(peer_read_hello(p), 3);
	assert_int_equal(p->hello.refused, 0);
	p->region = mmap(NULL, p->hello.region_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fds[0], 0);
	assert_ptr_not_equal(p->region, MAP_FAILED);
	p->tx = (struct weir_ring *)(void *)((char *)p->region + p->region->to_dataplane_off);
	p->rx = (struct weir_ring *)(void *)((char *)p->region + p->region->to_ctrl_off);
	p->arena = (char *)p->region + p->region->arena_off;
}

static inline void peer_close(struct peer *p)
{
	munmap(p->region, p->hello.region_size);
	close(p->fds[0]);
	close(p->fds[1]);
	close(p->fds[2]);
	close(p->fd);
}

/* The next message, whatever it says; seq is made right. */
static inline void peer_put(struct peer *p, struct weir_msg m)
{
	m.seq = p->n_sent + 1;
	p->tx->slots[p->n_sent++ % WEIR_RING_SLOTS] = m;
	__atomic_store_n(&p->tx->head, p->n_sent, __ATOMIC_RELEASE);
}

static inline bool peer_take(struct peer *p, struct weir_msg *m)
{
	if (__atomic_load_n(&p->rx->head, __ATOMIC_ACQUIRE) == p->n_taken)
		return false;
	*m = p->rx->slots[p->n_taken++ % WEIR_RING_SLOTS];
	__atomic_store_n(&p->rx->tail, p->n_taken, __ATOMIC_RELEASE);
	return true;
}

/* Takes messages until one of this type; fails when none comes. */
static inline struct weir_msg peer_await(struct peer *p, uint32_t type)
{
	struct weir_msg m;

	for (int i = 0; i < 1000; i++) {
		while (peer_take(p, &m))
			if (m.type == type)
				return m;
		rig_turns(1);
	}
	fail_msg("no message of type %u", type);
	return (struct weir_msg){0};
}

/* A good weir-ctrl is served: a fresh connection, one set, one snapshot, live in all workers. */
static inline void assert_next_ctrl_works(void)
{
	struct peer p;
	size_t n, n_set;
	struct weir_snapshot *s = make_snapshot(1, &n);
	struct weir_endpoint_set *e = make_set("n/s0:80", 1, &n_set);

	rig_turns(100);
	peer_open(&p);
	memcpy(p.arena, s, n);
	memcpy(p.arena + 65536, e, n_set);
	peer_put(&p, (struct weir_msg){
			 .type = WEIR_MSG_ENDPOINTS, .off = 65536, .size = n_set, .id = e->backend_id, .version = 1});
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = 1});
	assert_int_equal(peer_await(&p, WEIR_MSG_LIVE).id, 1);
	peer_close(&p);
	rig_turns(2);
	assert_int_equal(ctl->conn.fd, -1);
	assert_int_equal(count_regions(), 0);
	assert_settled();
	for (unsigned i = 0; i < N_WORKERS; i++)
		assert_memory_equal(workers[i].served, s, n);
	free(s);
	free(e);
}

#endif
