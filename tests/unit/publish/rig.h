/* SPDX-License-Identifier: Apache-2.0 */
/* A dataplane that the test plays, and weir-ctrl's end of it: what is sent, and in which order. Behind cmocka.h. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/spsc.h"
#include "sync.h"
#include "weir/stats.h"

#define ALIGNED(n) (((n) + 63) / 64 * 64)
#define TO_DATAPLANE_OFF ALIGNED(sizeof(struct weir_region))
#define TO_CTRL_OFF (TO_DATAPLANE_OFF + ALIGNED(sizeof(struct weir_ring)))
#define ARENA_OFF (TO_CTRL_OFF + ALIGNED(sizeof(struct weir_ring)))
#define ARENA_BYTES (1u << 20)
#define STATS_BYTES (ALIGNED(sizeof(struct weir_stats_region)) + 2 * sizeof(struct weir_worker_stats))
#define PATIENCE 1000 /* turns of 10 ms at most */

struct rig {
	char path[64];
	int listen_fd, fd;
	struct weir_region *region;
	struct spsc in, out;
	uint64_t in_seq, out_seq;
	struct store *store;
	struct publish *publish;
	struct sync sync;
};

static uint32_t ticket_source; /* of the dataplane that greets next */
static uint16_t abi_minor = WEIR_ABI_MINOR; /* likewise */

static void *shared(int *fd, size_t n)
{
	void *m;

	*fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(ftruncate(*fd, (off_t)n), 0);
	m = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	assert_true(m != MAP_FAILED);
	return m;
}

static void greet(struct rig *r)
{
	struct weir_hello h = {.magic = WEIR_REGION_MAGIC,
			       .abi_major = WEIR_ABI_MAJOR,
			       .abi_minor = abi_minor,
			       .region_size = ARENA_OFF + ARENA_BYTES,
			       .stats_size = STATS_BYTES};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	struct iovec iov = {&h, sizeof(h)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct weir_stats_region *stats;
	int fds[2];

	r->region = shared(&fds[0], h.region_size);
	*r->region = (struct weir_region){.magic = WEIR_REGION_MAGIC,
					  .abi_major = WEIR_ABI_MAJOR,
					  .abi_minor = abi_minor,
					  .n_workers = 1,
					  .size = h.region_size,
					  .to_dataplane_off = TO_DATAPLANE_OFF,
					  .to_ctrl_off = TO_CTRL_OFF,
					  .arena_off = ARENA_OFF,
					  .arena_size = ARENA_BYTES};
	stats = shared(&fds[1], STATS_BYTES);
	stats->magic = WEIR_STATS_MAGIC;
	stats->abi_major = WEIR_ABI_MAJOR;
	stats->n_workers = 1;
	stats->workers_off = ALIGNED(sizeof(*stats));
	stats->n_counters = WEIR_N_COUNTERS;
	stats->n_gauges = WEIR_N_GAUGES;
	stats->n_reasons = WEIR_N_REASONS;
	stats->ticket_source = ticket_source;
	munmap(stats, STATS_BYTES);
	control.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fds))};
	memcpy(CMSG_DATA(&control.head), fds, sizeof(fds));
	assert_int_equal(sendmsg(r->fd, &msg, 0), sizeof(h));
	close(fds[0]);
	close(fds[1]);
	spsc_init(&r->in, (struct weir_ring *)(void *)((char *)r->region + TO_DATAPLANE_OFF));
	spsc_init(&r->out, (struct weir_ring *)(void *)((char *)r->region + TO_CTRL_OFF));
	r->in_seq = r->out_seq = 0;
}

static void turn(struct rig *r)
{
	struct pollfd p = {.fd = publish_fd(r->publish), .events = POLLIN};

	poll(&p, 1, 10);
	publish_poll(r->publish);
	sync_take_refusals(&r->sync);
}

static void hang_up(struct rig *r)
{
	close(r->fd);
	munmap(r->region, ARENA_OFF + ARENA_BYTES);
}

static void take_connection(struct rig *r)
{
	struct pollfd p = {.fd = r->listen_fd, .events = POLLIN};

	for (unsigned i = 0; i < PATIENCE && poll(&p, 1, 0) == 0; i++)
		turn(r);
	r->fd = accept(r->listen_fd, NULL, NULL);
	assert_true(r->fd >= 0);
	greet(r);
}

static struct rig *rig_create(void)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(r->path, sizeof(r->path), "/tmp/weir-test-publish-%d.sock", getpid());
	strcpy(a.sun_path, r->path);
	unlink(r->path);
	r->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(r->listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(r->listen_fd, 4), 0);
	r->store = store_create();
	r->publish = publish_create(r->path);
	sync_init(&r->sync, r->store, r->publish);
	take_connection(r);
	return r;
}

static void rig_destroy(struct rig *r)
{
	sync_fini(&r->sync);
	publish_destroy(r->publish);
	store_destroy(r->store);
	hang_up(r);
	close(r->listen_fd);
	unlink(r->path);
	free(r);
}

/* The next message, which must be of this type. */
static struct weir_msg expect(struct rig *r, enum weir_msg_type type)
{
	struct weir_msg m;
	enum spsc_outcome o;

	for (unsigned i = 0; i < PATIENCE && (o = spsc_get(&r->in, &m)) == SPSC_WAIT; i++)
		turn(r);
	assert_int_equal(o, SPSC_DONE);
	assert_int_equal(m.seq, ++r->in_seq);
	assert_int_equal(m.type, type);
	return m;
}

static void expect_nothing(struct rig *r)
{
	struct weir_msg m;

	for (unsigned i = 0; i < 10; i++)
		turn(r);
	assert_int_equal(spsc_get(&r->in, &m), SPSC_WAIT);
}

static void send_message(struct rig *r, struct weir_msg m)
{
	m.seq = ++r->out_seq;
	assert_int_equal(spsc_put(&r->out, &m), SPSC_DONE);
	assert_int_equal(send(r->fd, "", 1, 0), 1);
	turn(r);
}

static void answer(struct rig *r, const struct weir_msg *to, enum weir_refusal status)
{
	struct weir_msg m = *to;

	m.about = to->type;
	m.type = WEIR_MSG_BLOB_DONE;
	m.status = status;
	send_message(r, m);
}

static void go_live(struct rig *r, const struct weir_msg *snapshot)
{
	answer(r, snapshot, WEIR_REFUSED_OK);
	send_message(r, (struct weir_msg){.type = WEIR_MSG_LIVE, .id = snapshot->id});
}

static const char *arena(const struct rig *r, const struct weir_msg *m)
{
	return (const char *)r->region + ARENA_OFF + m->off;
}

static void load(struct rig *r, const char *text)
{
	sync_run(&r->sync, store_load_yaml(r->store, "a.yaml", text, strlen(text)));
}
