/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct sandbox_rule getsid_only[] = {SANDBOX_CALL("getsid"), {0}};
static const struct sandbox_rule no_getsid[] = {{"getsid", SANDBOX_FAILS, 0, 0, 0}, {0}};
static const struct sandbox_rule nobodys[] = {SANDBOX_CALL("a_call_of_the_future"), {0}};
static const struct sandbox_rule threads[] = {SANDBOX_CALL("clone"), {0}};
static const struct sandbox_rule *const with_getsid[] = {getsid_only, NULL}, *const failing[] = {no_getsid, NULL},
				 *const future[] = {nobodys, NULL}, *const with_threads[] = {threads, sandbox_data_memory, NULL};

#define KILLED_BY(sig) (0x100 | (sig))

/* In a child with the filter: what fn() returns is its exit status. */
static int child(enum sandbox_mode mode, const struct sandbox_rule *const *lists, int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		dup2(STDOUT_FILENO, STDERR_FILENO);
		_exit(sandbox_enter(mode, lists) == 0 ? fn() : 99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? KILLED_BY(WTERMSIG(status)) : WEXITSTATUS(status);
}

static int nothing(void)
{
	return 7;
}

static int calls_getsid(void)
{
	return getsid(0) < 0 ? errno : 7;
}

static int calls_execve(void)
{
	return (int)syscall(SYS_execve, NULL, NULL, NULL) < 0 ? 7 : 8;
}

static int forks(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) >= 0 ? 7 : 8;
}

static int opens_a_packet_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) < 0 ? errno : 7;
}

static int signals_another(void)
{
	return (int)syscall(SYS_tgkill, 1, 1, 0);
}

static int catches_sigsys(void)
{
	return signal(SIGSYS, SIG_IGN) == SIG_ERR ? errno : 7;
}

/* The kernel takes the lower half of it. */
static int catches_sigsys_by_a_wide_number(void)
{
	return (int)syscall(SYS_rt_sigaction, 1ull << 32 | SIGSYS, NULL, NULL, 8);
}

static int catches_others(void)
{
	for (int sig = 1; sig < SIGRTMAX; sig++)
		if (sig != SIGSYS && sig != SIGKILL && sig != SIGSTOP && (sig < 32 || sig >= SIGRTMIN) && signal(sig, SIG_DFL) == SIG_ERR)
			return sig;
	return 0;
}

static int makes_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ? 7 : 8;
}

static int makes_code_of_data(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0 ? 7 : 8;
}

static void *thread_body(void *arg)
{
	*(int *)arg = 7;
	return NULL;
}

static int starts_a_thread(void)
{
	pthread_t t;
	int seen = 0;

	if (pthread_create(&t, NULL, thread_body, &seen) != 0)
		return 9;
	pthread_join(t, NULL);
	return seen;
}

static int waiting[2];

static void *late_body(void *arg)
{
	char c;

	(void)arg;
	if (read(waiting[0], &c, 1) == 1)
		getsid(0);
	return NULL;
}

/* The thread is there before the filter. */
static int thread_of_before(void)
{
	int status;
	pid_t pid = fork();
	pthread_t t;

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		if (pipe(waiting) != 0 || pthread_create(&t, NULL, late_body, NULL) != 0 || sandbox_enter(SANDBOX_ON, future) != 0 ||
		    write(waiting[1], "x", 1) != 1)
			_exit(99);
		pthread_join(t, NULL);
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? KILLED_BY(WTERMSIG(status)) : WEXITSTATUS(status);
}

static void what_is_on_a_list_is_allowed(void **state)
{
	assert_int_equal(child(SANDBOX_ON, with_getsid, nothing), 7);
	assert_int_equal(child(SANDBOX_ON, with_getsid, catches_others), 0);
	assert_int_equal(child(SANDBOX_ON, with_getsid, calls_getsid), 7);
	assert_int_equal(child(SANDBOX_ON, with_threads, starts_a_thread), 7);
}

static void what_is_on_no_list_ends_the_program(void **state)
{
	assert_int_equal(child(SANDBOX_ON, future, calls_getsid), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_getsid, opens_a_packet_socket), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_getsid, signals_another), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_getsid, catches_sigsys), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_getsid, catches_sigsys_by_a_wide_number), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_threads, forks), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_threads, makes_code), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_threads, makes_code_of_data), KILLED_BY(SIGSYS));
	assert_int_equal(child(SANDBOX_ON, with_getsid, calls_execve), KILLED_BY(SIGSYS));
}

static void a_thread_of_before_has_the_filter_too(void **state)
{
	assert_int_equal(thread_of_before(), KILLED_BY(SIGSYS));
}

static void a_call_can_fail_in_place_of_ending_us(void **state)
{
	assert_int_equal(child(SANDBOX_ON, failing, calls_getsid), EPERM);
}

static void who_starts_programs_may(void **state)
{
	assert_int_equal(child(SANDBOX_ON, NULL, calls_execve), 7);
	assert_int_equal(child(SANDBOX_ON, NULL, calls_getsid), 7);
}

static void log_and_off_refuse_nothing(void **state)
{
	assert_int_equal(child(SANDBOX_LOG, with_getsid, calls_execve), 7);
	assert_int_equal(child(SANDBOX_LOG, NULL, calls_execve), 7);
	assert_int_equal(child(SANDBOX_OFF, with_getsid, calls_execve), 7);
}

static void modes_have_names(void **state)
{
	enum sandbox_mode mode = SANDBOX_OFF;

	assert_true(sandbox_read_mode("on", &mode) && mode == SANDBOX_ON);
	assert_true(sandbox_read_mode("log", &mode) && mode == SANDBOX_LOG);
	assert_true(sandbox_read_mode("off", &mode) && mode == SANDBOX_OFF);
	assert_false(sandbox_read_mode("", &mode) || sandbox_read_mode("ON", &mode));
}

static void names_of_calls_are_right(void **state)
{
	for (const struct sandbox_rule *r = sandbox_common; r->name; r++)
		if (seccomp_syscall_resolve_name(r->name) == __NR_SCMP_ERROR)
			fail_msg("no system call is named %s", r->name);
}

static int drops_all(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];

	sandbox_drop_capabilities(1ull << CAP_NET_RAW);
	if (syscall(SYS_capget, &head, caps) != 0)
		return 9;
	return (caps[0].permitted | caps[0].effective) & ~(1u << CAP_NET_RAW) || caps[1].permitted || caps[0].inheritable ? 8 : 7;
}

static void capabilities_that_are_not_kept_are_gone(void **state)
{
	assert_int_equal(child(SANDBOX_OFF, NULL, drops_all), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_on_a_list_is_allowed),
		cmocka_unit_test(what_is_on_no_list_ends_the_program),
		cmocka_unit_test(a_thread_of_before_has_the_filter_too),
		cmocka_unit_test(a_call_can_fail_in_place_of_ending_us),
		cmocka_unit_test(who_starts_programs_may),
		cmocka_unit_test(log_and_off_refuse_nothing),
		cmocka_unit_test(modes_have_names),
		cmocka_unit_test(names_of_calls_are_right),
		cmocka_unit_test(capabilities_that_are_not_kept_are_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
