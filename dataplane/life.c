/* SPDX-License-Identifier: Apache-2.0 */
/* The file that outlives us. See life.h. It is this host's own, so its form may change with the version. */
#include "life.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define MAGIC 0x314546494c524557ull /* "WERLIFE1" */

struct record {
	uint64_t magic;
	struct weir_life_info before; /* as it is told; last_s, last, signal, worker: of the one before */
	/* of the one that runs */
	uint32_t pid;
	uint32_t end; /* enum weir_end, if it vanished now */
	int32_t signal, worker;
	uint64_t alive_s;
};

static struct record *record;
static struct weir_life_info before;

static bool is_sound(const struct record *r)
{
	return r->magic == MAGIC && r->end < WEIR_N_ENDS && r->before.last < WEIR_N_ENDS;
}

/* What ran before is one of those before, now. */
static void turn_page(struct record *r)
{
	if (is_sound(r)) {
		r->before.ends[r->end]++;
		r->before.last = r->end;
		r->before.signal = r->signal;
		r->before.worker = r->worker;
		r->before.last_s = r->alive_s;
	} else {
		*r = (struct record){.before.worker = -1, .magic = MAGIC};
	}
	before = r->before;
	r->pid = (uint32_t)getpid();
	r->end = WEIR_END_START_FAILED;
	r->signal = 0;
	r->worker = -1;
	r->alive_s = (uint64_t)time(NULL);
}

static void warn(const char *path)
{
	log_warn("how this dataplane ends will not be known to the next one: %s: %s", path, strerror(errno));
}

/* The descriptor stays open: the lock is its. */
static struct record *map(const char *path, int fd)
{
	struct record *r;

	if (ftruncate(fd, sizeof(*r)) != 0)
		return NULL;
	r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return r == MAP_FAILED ? NULL : r;
}

static int refuse(const char *control_socket, int fd)
{
	struct record r = {0};

	if (pread(fd, &r, sizeof(r), 0) != (ssize_t)sizeof(r))
		r.pid = 0;
	close(fd);
	log_error("another weir-dataplane runs with control socket %s (process %u): stop it, or give this one another control.socket", control_socket,
		  (unsigned)r.pid);
	return -EBUSY;
}

int life_open(const char *control_socket)
{
	char path[128];
	int fd;

	before = (struct weir_life_info){.worker = -1};
	snprintf(path, sizeof(path), "%s.life", control_socket);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		warn(path);
		return 0;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		return refuse(control_socket, fd);
	record = map(path, fd);
	if (!record) {
		warn(path);
		close(fd);
		return 0;
	}
	turn_page(record);
	return 0;
}

void life_get(struct weir_life_info *out)
{
	*out = before;
}

void life_set(enum weir_end end, int sig, int worker)
{
	if (!record)
		return;
	record->signal = sig;
	record->worker = worker;
	__atomic_store_n(&record->end, (uint32_t)end, __ATOMIC_RELEASE);
}

void life_touch(uint64_t unix_s)
{
	if (record)
		record->alive_s = unix_s;
}
