/* SPDX-License-Identifier: Apache-2.0 */
/* The memory shared with weir-ctrl: the statistics, the diagnostics, and the region of a connection. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ctl_pvt.h"
#include "net/capture.h"

#include <rte_cycles.h>

#define ALIGN 4096u

static uint64_t round_up(uint64_t n)
{
	return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* A mapped memfd of n zero bytes, sealed. NULL and errno. */
static void *memfd_map(const char *name, size_t n, int seals, int *fd)
{
	void *p;
	int err;

	*fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return NULL;
	if (ftruncate(*fd, (off_t)n) == 0) {
		p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
		if (p != MAP_FAILED) {
			if (fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | seals) == 0)
				return p;
			err = errno;
			munmap(p, n);
			errno = err;
		}
	}
	err = errno;
	close(*fd);
	*fd = -1;
	errno = err;
	return NULL;
}

struct weir_stats_region *ctl_stats_create(unsigned n_workers, int *fd_ro)
{
	uint64_t workers_off = round_up(sizeof(struct weir_stats_region));
	uint64_t tls_off = workers_off + (n_workers + 1ull) * sizeof(struct weir_worker_stats);
	uint64_t ports_off = round_up(tls_off + sizeof(struct weir_tls_info));
	uint64_t life_off = round_up(ports_off + WEIR_MAX_PORTS * sizeof(struct weir_port_details));
	uint64_t xstats_off = round_up(life_off + sizeof(struct weir_life_info));
	uint64_t size = round_up(xstats_off + WEIR_MAX_PORTS * sizeof(struct weir_port_xstats));
	/* Our mapping stays writable, every later one is read-only, however the descriptor is opened again. */
	struct weir_stats_region *r = memfd_map("weir-stats", size, F_SEAL_FUTURE_WRITE, fd_ro);

	if (!r)
		return NULL;
	r->magic = WEIR_STATS_MAGIC;
	r->abi_major = WEIR_ABI_MAJOR;
	r->abi_minor = WEIR_ABI_MINOR;
	r->n_workers = n_workers;
	r->size = size;
	r->workers_off = workers_off;
	r->tls_off = tls_off;
	r->ports_off = ports_off;
	r->life_off = life_off;
	r->xstats_off = xstats_off;
	r->n_counters = WEIR_N_COUNTERS;
	r->n_gauges = WEIR_N_GAUGES;
	r->n_reasons = WEIR_N_REASONS;
	r->start_time_s = (uint64_t)time(NULL);
	r->tsc_hz = rte_get_tsc_hz();
	strncpy(r->version, WEIR_VERSION, sizeof(r->version) - 1);
	return r;
}

void ctl_stats_destroy(struct weir_stats_region *r, int fd_ro)
{
	if (!r)
		return;
	munmap(r, r->size);
	close(fd_ro);
}

struct weir_tls_info *ctl_stats_tls(struct weir_stats_region *r)
{
	return (struct weir_tls_info *)(void *)((char *)r + r->tls_off);
}

struct weir_port_details *ctl_stats_port(struct weir_stats_region *r, unsigned i)
{
	return (struct weir_port_details *)(void *)((char *)r + r->ports_off) + i;
}

struct weir_port_xstats *ctl_stats_xstats(struct weir_stats_region *r, unsigned i)
{
	return (struct weir_port_xstats *)(void *)((char *)r + r->xstats_off) + i;
}

struct weir_life_info *ctl_stats_life(struct weir_stats_region *r)
{
	return (struct weir_life_info *)(void *)((char *)r + r->life_off);
}

struct weir_worker_stats *ctl_stats_worker(struct weir_stats_region *r, unsigned i)
{
	return (struct weir_worker_stats *)(void *)((char *)r + r->workers_off) + i;
}

struct weir_diag_region *ctl_diag_create(unsigned n_workers, uint32_t ring_kb, int *fd_ro)
{
	uint64_t ring_size = (uint64_t)ring_kb << 10;
	uint64_t workers = round_up(sizeof(struct weir_diag_region));
	uint64_t rows = round_up(workers + n_workers * sizeof(struct weir_diag_worker));
	uint64_t rings = round_up(rows + (uint64_t)n_workers * WEIR_CONN_ROWS * sizeof(struct weir_conn_row));
	struct weir_diag_region *r;
	uint64_t size;

	if (ring_size && ring_size < NET_CAPTURE_RING_MIN)
		ring_size = NET_CAPTURE_RING_MIN;
	size = round_up(rings + n_workers * ring_size);
	r = memfd_map("weir-diag", size, F_SEAL_FUTURE_WRITE, fd_ro);
	if (!r)
		return NULL;
	(void)madvise(r, size, MADV_DONTDUMP); /* packets of others are in it */
	*r = (struct weir_diag_region){
	    .magic = WEIR_DIAG_MAGIC,
	    .abi_major = WEIR_ABI_MAJOR,
	    .abi_minor = WEIR_ABI_MINOR,
	    .n_workers = n_workers,
	    .size = size,
	    .workers_off = workers,
	    .rows_off = rows,
	    .n_rows = WEIR_CONN_ROWS,
	    .row_size = sizeof(struct weir_conn_row),
	    .rings_off = rings,
	    .ring_size = ring_size,
	};
	return r;
}

void ctl_diag_destroy(struct weir_diag_region *r, int fd_ro)
{
	if (!r)
		return;
	munmap(r, r->size);
	close(fd_ro);
}

struct weir_log_region *ctl_log_create(unsigned n_workers, uint32_t ring_kb, int *fd_ro)
{
	uint32_t n_slots = (uint32_t)(((uint64_t)ring_kb << 10) / WEIR_LOG_RECORD);
	uint64_t workers = round_up(sizeof(struct weir_log_region));
	uint64_t records = round_up(workers + n_workers * sizeof(struct weir_log_worker));
	uint64_t size = round_up(records + (uint64_t)n_workers * n_slots * WEIR_LOG_RECORD);
	struct weir_log_region *r = memfd_map("weir-log", size, F_SEAL_FUTURE_WRITE, fd_ro);
	struct timespec t;

	if (!r)
		return NULL;
	(void)madvise(r, size, MADV_DONTDUMP); /* what others asked for */
	clock_gettime(CLOCK_REALTIME, &t);
	*r = (struct weir_log_region){
	    .magic = WEIR_LOG_MAGIC,
	    .abi_major = WEIR_ABI_MAJOR,
	    .abi_minor = WEIR_ABI_MINOR,
	    .n_workers = n_workers,
	    .size = size,
	    .workers_off = workers,
	    .records_off = records,
	    .n_slots = n_slots,
	    .record_size = WEIR_LOG_RECORD,
	    .instance = ((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec) ^ (uint64_t)getpid() << 48,
	};
	return r;
}

void ctl_log_destroy(struct weir_log_region *r, int fd_ro)
{
	if (!r)
		return;
	munmap(r, r->size);
	close(fd_ro);
}

struct weir_log_worker *ctl_log_worker(struct weir_log_region *r, unsigned i)
{
	return (struct weir_log_worker *)(void *)((char *)r + r->workers_off) + i;
}

int ctl_region_create(struct ctl_conn *conn, uint64_t arena_size, unsigned n_workers, int *fd)
{
	uint64_t down = round_up(sizeof(struct weir_region));
	uint64_t up = down + round_up(sizeof(struct weir_ring));
	uint64_t arena = up + round_up(sizeof(struct weir_ring));
	uint64_t size = arena + arena_size;
	struct weir_region *r = memfd_map("weir-region", size, 0, fd);

	if (!r)
		return -errno;
	(void)madvise(r, size, MADV_DONTDUMP); /* private keys come through it */
	*r = (struct weir_region){
	    .magic = WEIR_REGION_MAGIC,
	    .abi_major = WEIR_ABI_MAJOR,
	    .abi_minor = WEIR_ABI_MINOR,
	    .n_workers = n_workers,
	    .size = size,
	    .to_dataplane_off = down,
	    .to_ctrl_off = up,
	    .arena_off = arena,
	    .arena_size = arena_size,
	};
	conn->region = r;
	conn->region_size = size;
	conn->arena = (const char *)r + arena;
	conn->arena_size = arena_size;
	spsc_init(&conn->rx, (struct weir_ring *)(void *)((char *)r + down));
	spsc_init(&conn->tx, (struct weir_ring *)(void *)((char *)r + up));
	return 0;
}

void ctl_region_destroy(struct ctl_conn *conn)
{
	if (conn->region)
		munmap(conn->region, conn->region_size);
	conn->region = NULL;
}
