/* SPDX-License-Identifier: Apache-2.0 */
/* What weir-ctrl may do once all is opened: docs/privileges.md has the tables for operators. */
#include "sandbox.h"

#include <sys/socket.h>

static const struct sandbox_rule rules[] = {
	/* Files: manifests and their folders, tokens as they rotate, what is kept for the next start, the access log. */
	SANDBOX_CALL("openat"), SANDBOX_CALL("open"), SANDBOX_CALL("getdents64"), SANDBOX_CALL("readlink"), SANDBOX_CALL("readlinkat"),
	SANDBOX_CALL("access"), SANDBOX_CALL("faccessat2"), SANDBOX_CALL("lstat"), SANDBOX_CALL("rename"), SANDBOX_CALL("renameat"),
	SANDBOX_CALL("renameat2"), SANDBOX_CALL("unlinkat"), SANDBOX_CALL("mkdir"), SANDBOX_CALL("mkdirat"), SANDBOX_CALL("fchmod"),
	SANDBOX_CALL("fsync"), SANDBOX_CALL("fdatasync"), SANDBOX_CALL("umask"), SANDBOX_CALL("getcwd"), SANDBOX_CALL("flock"),
	SANDBOX_CALL("statfs"), SANDBOX_CALL("fstatfs"), SANDBOX_CALL("fadvise64"),
	SANDBOX_CALL("inotify_init1"), SANDBOX_CALL("inotify_add_watch"), SANDBOX_CALL("inotify_rm_watch"), SANDBOX_CALL("sendfile"),
	SANDBOX_CALL("signalfd4"), SANDBOX_CALL("timerfd_create"), SANDBOX_CALL("timerfd_settime"), SANDBOX_CALL("splice"),
	/* Connections, and names, which libcurl looks up in a thread. */
	SANDBOX_CALL_WITH("socket", 0, AF_INET6), SANDBOX_CALL("socketpair"), SANDBOX_CALL("bind"), SANDBOX_CALL("listen"),
	SANDBOX_CALL("accept"), SANDBOX_CALL("sendmmsg"), SANDBOX_CALL("recvmmsg"), SANDBOX_CALL("ioctl"), SANDBOX_CALL("select"),
	SANDBOX_CALL("pselect6"), SANDBOX_CALL("getppid"), SANDBOX_CALL("getresuid"), SANDBOX_CALL("getresgid"), SANDBOX_CALL("getrusage"),
	SANDBOX_CALL("alarm"), /* of who crashes, in case that hangs */
	SANDBOX_CALL("clone"), /* of threads only: sandbox_enter() */
	{0},
};

int ctrl_sandbox(enum sandbox_mode mode, bool starts_programs)
{
	const struct sandbox_rule *const lists[] = {rules, sandbox_any_memory, NULL}; /* glibc loads what looks up names */

	sandbox_drop_capabilities(0);
	return sandbox_enter(mode, starts_programs ? NULL : lists);
}
