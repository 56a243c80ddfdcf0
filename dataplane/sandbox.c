/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What weir-dataplane may do once all is started: docs/privileges.md has the tables for operators. The last thing
 * before it serves; what needs more later says so here.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <rte_ethdev.h>

#include "base/log.h"
#include "base/sandbox.h"
#include "start.h"

#define CAP(name) (1ull << CAP_##name)
#define READ_ONLY (O_ACCMODE | O_CREAT | O_TRUNC)

/* Seen with each kind of port; of VFIO and of devices of TLS as their drivers' sources have it. */
static const struct sandbox_rule rules[] = {
	SANDBOX_CALL("ioctl"), /* of VFIO, of net_tap for the state of its link */
	{"openat", SANDBOX_BITS, 2, READ_ONLY, 0}, {"open", SANDBOX_BITS, 1, READ_ONLY, 0}, SANDBOX_CALL("getdents64"), /* of drivers: /sys */
	SANDBOX_CALL("readlink"), SANDBOX_CALL("readlinkat"), SANDBOX_CALL("access"), SANDBOX_CALL("faccessat2"),
	/* DPDK takes more memory when it has to. */
	SANDBOX_CALL("fallocate"), SANDBOX_CALL("mbind"), SANDBOX_CALL("get_mempolicy"), SANDBOX_CALL("set_mempolicy"),
	/* A memif whose peer comes again, or that is its server. */
	SANDBOX_CALL("bind"), SANDBOX_CALL("listen"), SANDBOX_CALL("accept"), SANDBOX_CALL("timerfd_create"), SANDBOX_CALL("timerfd_settime"),
	SANDBOX_CALL("epoll_create"), SANDBOX_CALL("dup"), SANDBOX_CALL("rt_sigtimedwait"), SANDBOX_CALL("rt_sigpending"), SANDBOX_CALL("getrusage"),
	SANDBOX_CALL("alarm"), /* of who ends, in case that hangs */
	SANDBOX_CALL_WITH("prctl", 0, PR_SET_TIMERSLACK), /* of workers that rest, as they begin */
	{0},
};

/*
 * At the end libxdp would take its program away from the interface, which only SYS_ADMIN may: too much to keep for that. It
 * stays, as after a kill: without a socket it gives all packets to the kernel, and the next start takes it over.
 */
static const struct sandbox_rule xdp_rules[] = {
	{"bpf", SANDBOX_FAILS, 0, 0, 0}, {"mkdir", SANDBOX_FAILS, 0, 0, 0}, {"mount", SANDBOX_FAILS, 0, 0, 0}, SANDBOX_CALL("statfs"),
	SANDBOX_CALL("fstatfs"), SANDBOX_CALL("flock"),
	{0},
};

/* Of ports that are opened again. */
static const struct sandbox_rule reopen_rules[] = {
	SANDBOX_CALL("openat"), SANDBOX_CALL("open"), SANDBOX_CALL_WITH("socket", 0, AF_PACKET),
	{0},
};

/* Of ports by their drivers: what is needed until the end. */
static const struct {
	const char *driver;
	uint64_t capabilities;
	const struct sandbox_rule *rules;
} drivers[] = {
	{"net_af_xdp", 0, xdp_rules},
	{"mlx5_pci", CAP(NET_ADMIN) | CAP(NET_RAW), NULL}, /* these share the NIC with the kernel */
	{"net_mlx4", CAP(NET_ADMIN) | CAP(NET_RAW), NULL},
	{"net_mana", CAP(NET_ADMIN) | CAP(NET_RAW), NULL},
};

#define N_DRIVERS (sizeof(drivers) / sizeof(*drivers))

static bool reopens(const struct dataplane *d)
{
	for (unsigned i = 0; i < d->config.n_ports; i++)
		if (d->config.ports[i].reopens)
			return true;
	return false;
}

static bool has_driver(const struct dataplane *d, const char *name)
{
	for (unsigned i = 0; i < d->n_ports; i++) {
		struct rte_eth_dev_info info;

		if (rte_eth_dev_info_get(d->ports[i].port_id, &info) == 0 && strcmp(info.driver_name, name) == 0)
			return true;
	}
	return false;
}

/* Memory is locked as keys come, and pinned for a NIC as pools grow: with a limit of it only who has IPC_LOCK may. */
static uint64_t base_capabilities(void)
{
	struct rlimit r;

	return getrlimit(RLIMIT_MEMLOCK, &r) == 0 && r.rlim_cur == RLIM_INFINITY ? 0 : CAP(IPC_LOCK);
}

int dataplane_sandbox(const struct dataplane *d, enum sandbox_mode mode)
{
	const struct sandbox_rule *lists[N_DRIVERS + 4] = {rules, sandbox_data_memory};
	uint64_t keep = base_capabilities();
	size_t n_lists = 2;

	for (size_t i = 0; i < N_DRIVERS; i++) {
		if (!has_driver(d, drivers[i].driver))
			continue;
		keep |= drivers[i].capabilities;
		if (drivers[i].rules)
			lists[n_lists++] = drivers[i].rules;
	}
	if (reopens(d)) {
		keep |= CAP(NET_ADMIN) | CAP(NET_RAW);
		lists[n_lists++] = reopen_rules;
	}
	/* glibc loads it when a thread is cancelled, or for a backtrace: no code can be loaded then. */
	if (!dlopen("libgcc_s.so.1", RTLD_NOW))
		log_debug("%s", dlerror());
	if (d->announce) /* its routes come and go */
		keep |= CAP(NET_ADMIN);
	sandbox_drop_capabilities(keep);
	return sandbox_enter(mode, lists);
}
