/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left to a program once it has started: the system calls of a list, by a filter of seccomp(2), and no more
 * capabilities than it says. For all threads, and for good: no_new_privs is set along with it. Nothing of it is undone, and
 * each is called once.
 *
 * A call that is on no list ends the program by SIGSYS. Those that only an intruder makes (execve, ptrace, mount, ...)
 * end it in the kernel, and the audit log has a line; all others are named on stderr before.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* log: nothing is refused; the kernel's audit log has a line (type=1326) for each call that is on no list. */
enum sandbox_mode { SANDBOX_ON, SANDBOX_LOG, SANDBOX_OFF };

/* On; but off in a build with sanitizers, where LeakSanitizer clones and traces the program at its end. */
enum sandbox_mode sandbox_default(void);

enum sandbox_test {
	SANDBOX_ANY,  /* whatever its arguments are */
	SANDBOX_BITS, /* (argument & mask) == value */
	SANDBOX_NOT,  /* argument != value, of 32 bits */
	SANDBOX_SELF, /* the argument is our own process id */
	SANDBOX_FAILS, /* it is not allowed, but fails with EPERM: a library tries it and goes on without */
};

/* A system call that is allowed if its argument passes the test. Several rules of one call: any of them. */
struct sandbox_rule {
	const char *name; /* one that this libseccomp does not know stays forbidden */
	enum sandbox_test test;
	unsigned arg; /* 0 to 5 */
	uint64_t mask, value;
};


#define SANDBOX_CALL(call) {.name = call}
/* By the low 32 bits of an argument. */
#define SANDBOX_CALL_WITH(call, n, v) {.name = call, .test = SANDBOX_BITS, .arg = n, .mask = UINT32_MAX, .value = v}

/* Lists end with a rule without a name. That of both programs: memory, clocks, waiting, descriptors, signals, the end. */
extern const struct sandbox_rule sandbox_common[];

/* Memory, of which none may become code: no library is loaded any more. Or any, for who loads some. One of the two is to be among the lists. */
extern const struct sandbox_rule sandbox_data_memory[];
extern const struct sandbox_rule sandbox_any_memory[];

/* "on", "log" or "off". False: none of them. */
bool sandbox_read_mode(const char *text, enum sandbox_mode *mode);

/*
 * Takes all capabilities but those of the mask (1 << CAP_NET_ADMIN and so on, capabilities(7)) from every thread: effective,
 * permitted, inheritable, ambient, and from the bounding set where that is allowed. Logs what is left. A thread that blocks
 * the signal SIGRTMAX - 1 keeps its own, which is a warning. Before sandbox_enter().
 */
void sandbox_drop_capabilities(uint64_t keep);

/*
 * Sets the filter: sandbox_common and the lists, which end with NULL. Without lists everything is allowed but what only
 * an intruder calls: for who starts programs, which have the filter, too. 0, or -errno after logging (the kernel has no
 * seccomp, say).
 */
int sandbox_enter(enum sandbox_mode mode, const struct sandbox_rule *const *lists);

#endif
