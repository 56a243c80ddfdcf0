/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sandbox.h. To the kernel capabilities are a thread's, and only a thread itself can give up its own: each one is
 * sent a signal whose handler does that, as libpsx(3) does. DPDK's threads are there before what needs the
 * capabilities is done, so none could be started without.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sandbox.h"

#define SIGNAL (SIGRTMAX - 1)
#define WAIT_MS 2000

static uint64_t kept;
static unsigned n_done;

static const char *const cap_names[] = {
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
};

#define N_CAPS (sizeof(cap_names) / sizeof(*cap_names))

/* Of the calling thread. Only system calls: it runs in a signal's handler. */
static void drop_own(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];

	for (unsigned c = 0; c < 64; c++)
		if (!(kept & 1ull << c) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
			break; /* no such one, or no CAP_SETPCAP */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &head, caps) != 0)
		return;
	for (unsigned i = 0; i < 2; i++) {
		caps[i].effective &= (uint32_t)(kept >> 32 * i);
		caps[i].permitted &= (uint32_t)(kept >> 32 * i);
		caps[i].inheritable = 0;
	}
	syscall(SYS_capset, &head, caps);
}

static void on_signal(int sig)
{
	int err = errno;

	(void)sig;
	drop_own();
	errno = err;
	__atomic_add_fetch(&n_done, 1, __ATOMIC_RELEASE);
}

/* Calls fn for each thread, and adds what it returns. -errno without /proc. */
static int each_thread(int (*fn)(pid_t tid))
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int sum = 0;

	if (!d)
		return -errno;
	while ((e = readdir(d)) != NULL)
		if (*e->d_name != '.')
			sum += fn((pid_t)atoi(e->d_name));
	closedir(d);
	return sum;
}

static int tell(pid_t tid)
{
	return tid != gettid() && syscall(SYS_tgkill, getpid(), tid, SIGNAL) == 0;
}

/* 1: it has others than those that are kept. */
static int has_others(pid_t tid)
{
	char path[64], line[128];
	unsigned long long caps = 0, all = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)tid);
	f = fopen(path, "r");
	if (!f)
		return 0; /* it has ended */
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "CapPrm: %llx", &caps) == 1 || sscanf(line, "CapEff: %llx", &caps) == 1)
			all |= caps;
	fclose(f);
	return (all & ~kept) != 0;
}

/* Tells all other threads, and waits for them. -errno if they cannot be listed. */
static int drop_others(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;
	const struct timespec ms = {.tv_nsec = 1000000};
	int n;

	if (sigaction(SIGNAL, &sa, &old) != 0)
		return -errno;
	n = each_thread(tell);
	for (int i = 0; i < WAIT_MS && n > 0 && __atomic_load_n(&n_done, __ATOMIC_ACQUIRE) < (unsigned)n; i++)
		nanosleep(&ms, NULL);
	/* Where one has not come yet it stays caught: by default the signal would end us. */
	if (n >= 0 && __atomic_load_n(&n_done, __ATOMIC_ACQUIRE) >= (unsigned)n)
		sigaction(SIGNAL, &old, NULL);
	return n < 0 ? n : 0;
}

/* Names as in capabilities(7), or "none". */
static const char *write_names(uint64_t mask, char *buf, size_t size)
{
	size_t n = 0;

	snprintf(buf, size, "none");
	for (size_t i = 0; i < N_CAPS && n < size; i++)
		if (mask & 1ull << i)
			n += (size_t)snprintf(buf + n, size - n, "%sCAP_%s", n ? " " : "", cap_names[i]);
	return buf;
}

void sandbox_drop_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {{0}};
	char names[1024];
	int err, n;

	kept = keep;
	err = drop_others();
	drop_own();
	n = err ? err : each_thread(has_others);
	if (n < 0)
		log_warn("capabilities of threads: %s", strerror(-n));
	else if (n > 0)
		log_warn("capabilities: %d threads keep more than is needed", n);
	syscall(SYS_capget, &head, caps);
	log_info("capabilities: %s", write_names((uint64_t)caps[1].effective << 32 | caps[0].effective, names, sizeof(names)));
}
