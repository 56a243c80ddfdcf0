/* SPDX-License-Identifier: Apache-2.0 */
/* See sandbox.h. Filters are libseccomp's; who calls what is in the programs' own lists. */
#include "base/sandbox.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define MAX_CALLS 512
#define NAME_BYTES 32

#define ANY SANDBOX_CALL
#define VALUE SANDBOX_CALL_WITH

const struct sandbox_rule sandbox_common[] = {
	ANY("brk"), ANY("mremap"), ANY("munmap"), ANY("madvise"), ANY("mlock"), ANY("mlock2"), ANY("munlock"),
	ANY("clock_gettime"), ANY("clock_getres"), ANY("gettimeofday"), ANY("time"), ANY("clock_nanosleep"), ANY("nanosleep"),
	ANY("getrandom"), ANY("futex"), ANY("futex_waitv"), ANY("sched_yield"), ANY("sched_getaffinity"), ANY("getcpu"), ANY("membarrier"),
	ANY("epoll_create1"), ANY("epoll_ctl"), ANY("epoll_wait"), ANY("epoll_pwait"), ANY("poll"), ANY("ppoll"), ANY("eventfd2"), ANY("pipe2"),
	ANY("read"), ANY("readv"), ANY("write"), ANY("writev"), ANY("pread64"), ANY("pwrite64"), ANY("lseek"), ANY("close"),
	ANY("fcntl"), ANY("ftruncate"), ANY("memfd_create"), ANY("fstat"), ANY("newfstatat"), ANY("stat"), ANY("statx"), ANY("unlink"),
	ANY("connect"), ANY("accept4"), ANY("shutdown"), ANY("sendto"), ANY("sendmsg"), ANY("recvfrom"), ANY("recvmsg"),
	ANY("getsockname"), ANY("getpeername"), ANY("getsockopt"), ANY("setsockopt"),
	VALUE("socket", 0, AF_UNIX), VALUE("socket", 0, AF_INET), VALUE("socket", 0, AF_NETLINK),
	ANY("getpid"), ANY("gettid"), ANY("getuid"), ANY("geteuid"), ANY("getgid"), ANY("getegid"), ANY("sysinfo"), ANY("uname"),
	{"prlimit64", SANDBOX_BITS, 2, UINT64_MAX, 0}, /* asks only */
	VALUE("prctl", 0, PR_SET_NAME), VALUE("prctl", 0, PR_GET_NAME), ANY("pause"), /* of a crash, which tells the thread's name */ VALUE("prctl", 0, 0x53564d41 /* PR_SET_VMA: names of memory */),
	ANY("rt_sigreturn"), ANY("rt_sigprocmask"), ANY("sigaltstack"), {"rt_sigaction", SANDBOX_NOT, 0, 0, SIGSYS}, /* ours stays */
	{"tgkill", SANDBOX_SELF, 0, 0, 0}, ANY("restart_syscall"), ANY("set_robust_list"), ANY("rseq"), ANY("exit"), ANY("exit_group"),
	{0},
};

const struct sandbox_rule sandbox_data_memory[] = {
	{"mmap", SANDBOX_BITS, 2, PROT_EXEC, 0}, {"mprotect", SANDBOX_BITS, 2, PROT_EXEC, 0},
	{0},
};

const struct sandbox_rule sandbox_any_memory[] = {ANY("mmap"), ANY("mprotect"), {0}};

/* Nothing of ours, nor of a library once it is started: who calls them is an intruder. */
static const char *const hostile[] = {
	"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd",
	"kcmp", "mount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick", "pivot_root",
	"chroot", "unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "init_module", "finit_module", "delete_module",
	"kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "iopl", "ioperm", "modify_ldt", "personality", "add_key",
	"keyctl", "request_key", "open_by_handle_at", "name_to_handle_at", "io_uring_setup", "setuid", "setgid", "setreuid", "setregid",
	"setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset", "mknod", "mknodat", "settimeofday", "clock_settime",
	"clock_adjtime", "adjtimex", "sethostname", "setdomainname", "syslog", "quotactl", "vhangup", "lookup_dcookie",
};

/* Of who starts programs, these are the programs'. */
static const char *const of_programs[] = {"execve", "execveat", "fork", "vfork", "setuid", "setgid", "setreuid", "setregid", "setresuid",
					  "setresgid", "setgroups", "capset", "personality", "io_uring_setup"};

static char names[MAX_CALLS][NAME_BYTES]; /* of calls by number: a signal's handler may not ask for them */

enum sandbox_mode sandbox_default(void)
{
#ifdef SANDBOX_IS_SANITIZED
	return SANDBOX_OFF;
#else
	return SANDBOX_ON;
#endif
}

bool sandbox_read_mode(const char *text, enum sandbox_mode *mode)
{
	static const char *const modes[] = {"on", "log", "off"};

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(text, modes[i]) == 0) {
			*mode = (enum sandbox_mode)i;
			return true;
		}
	return false;
}

/* Says which call it was; SIGSYS has its default again, and ends us on return. */
static void on_refused(int sig, siginfo_t *info, void *context)
{
	int n = info->si_syscall;

	(void)context;
	if (info->si_code != 1 /* SYS_SECCOMP */)
		return;
	log_error("seccomp: the system call %s (%d) is not among those that this program makes: it ends", n >= 0 && n < MAX_CALLS ? names[n] : "", n);
	raise(sig);
}

static int catch_refused(void)
{
	struct sigaction sa = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_RESETHAND};

	for (int i = 0; i < MAX_CALLS; i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);

		snprintf(names[i], NAME_BYTES, "%s", name ? name : "");
		free(name);
	}
	return sigaction(SIGSYS, &sa, NULL) == 0 ? 0 : -errno;
}

/* Some bit differs. Not SCMP_CMP_NE, which looks at 64 bits: the kernel does not at the upper ones of an int, where anything may be. */
static int add_not(scmp_filter_ctx f, int call, const struct sandbox_rule *r)
{
	int err = 0;

	for (unsigned i = 0; i < 32 && !err; i++) {
		uint64_t bit = 1ull << i;

		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1, SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ, bit, ~r->value & bit));
	}
	return err;
}

static int add_rule(scmp_filter_ctx f, const struct sandbox_rule *r)
{
	int call = seccomp_syscall_resolve_name(r->name);

	if (call == __NR_SCMP_ERROR)
		return 0;
	switch (r->test) {
	case SANDBOX_BITS:
		return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1, SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ, r->mask, r->value));
	case SANDBOX_NOT:
		return add_not(f, call, r);
	case SANDBOX_SELF:
		return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1, SCMP_CMP(r->arg, SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	case SANDBOX_FAILS:
		return seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 0);
	default:
		return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 0);
	}
}

static bool has_rule(const struct sandbox_rule *const *lists, const char *name)
{
	for (; lists && *lists; lists++)
		for (const struct sandbox_rule *r = *lists; r->name; r++)
			if (strcmp(r->name, name) == 0)
				return true;
	return false;
}

static bool is_of_programs(const char *name)
{
	for (size_t i = 0; i < sizeof(of_programs) / sizeof(*of_programs); i++)
		if (strcmp(of_programs[i], name) == 0)
			return true;
	return false;
}

static int add_hostile(scmp_filter_ctx f, uint32_t action, const struct sandbox_rule *const *lists)
{
	int err = 0;

	for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile) && !err; i++) {
		int call = seccomp_syscall_resolve_name(hostile[i]);

		if (call != __NR_SCMP_ERROR && !has_rule(lists, hostile[i]) && (lists || !is_of_programs(hostile[i])))
			err = seccomp_rule_add(f, action, call, 0);
	}
	return err;
}

/* clone3 has its flags in memory, where no filter sees them: glibc does with clone then, of which threads alone are let through. */
static int add_threads(scmp_filter_ctx f, bool may_start_threads)
{
	int err = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (!err && may_start_threads)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	return err;
}

static int add_lists(scmp_filter_ctx f, const struct sandbox_rule *const *lists)
{
	int err = add_threads(f, has_rule(lists, "clone"));

	for (const struct sandbox_rule *r = sandbox_common; r->name && !err; r++)
		err = add_rule(f, r);
	for (; *lists && !err; lists++)
		for (const struct sandbox_rule *r = *lists; r->name && !err; r++)
			err = strcmp(r->name, "clone") == 0 ? 0 : add_rule(f, r);
	return err;
}

static int load_filter(enum sandbox_mode mode, const struct sandbox_rule *const *lists)
{
	scmp_filter_ctx f;
	int err;

	f = seccomp_init(!lists ? SCMP_ACT_ALLOW : mode == SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	if (!f)
		return -ENOMEM;
	err = mode == SANDBOX_ON ? catch_refused() : 0;
	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_LOG, 1);
	if (!err) /* kernels before 5.16 would slow down every store of the workers otherwise */
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
	if (!err) /* a tree in place of a list */
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err && lists)
		err = add_lists(f, lists);
	if (!err && !(lists && mode == SANDBOX_LOG)) /* there they are logged by default */
		err = add_hostile(f, mode == SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS, lists);
	if (!err)
		err = seccomp_load(f);
	seccomp_release(f);
	return err;
}

int sandbox_enter(enum sandbox_mode mode, const struct sandbox_rule *const *lists)
{
	int err;

	if (mode == SANDBOX_OFF) {
		log_warn("seccomp filter off");
		return 0;
	}
	err = load_filter(mode, lists);
	if (err)
		log_error("no seccomp filter: %s (--seccomp off goes without)", strerror(-err));
	else if (mode == SANDBOX_LOG)
		log_warn("seccomp filter only logs");
	else
		log_info("seccomp filter on%s", lists ? "" : ", a wide one: for the programs that are started");
	return err;
}
