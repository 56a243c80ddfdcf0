/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler writes with write(2) alone. backtrace() and dladdr() allocate nothing once libgcc is loaded, which the first call at
 * start sees to. They walk the tables of what is loaded, without a lock in glibc since 2.35 but for names; a handler that hangs is
 * ended by SIGALRM.
 */
#include "base/crash.h"

#include <errno.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define MAX_FRAMES 48
#define STACK_BYTES 65536u
#define HANG_S 10u

static const struct {
	int sig;
	const char *name;
} kinds[] = {{SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"}, {SIGABRT, "SIGABRT"}};

#define N_KINDS (sizeof(kinds) / sizeof(*kinds))

static const char *program = "weir";
static crash_note_fn note;
static bool is_crashing;
static int traced; /* the thread whose trace has been written last */
static __thread const char *thread_name;

struct line {
	char b[512];
	size_t n;
};

static void put(struct line *l, const char *s)
{
	while (*s && l->n < sizeof(l->b) - 1)
		l->b[l->n++] = *s++;
}

static void put_number(struct line *l, uint64_t v, unsigned base)
{
	char digits[24];
	size_t n = sizeof(digits) - 1;

	digits[n] = 0;
	do
		digits[--n] = "0123456789abcdef"[v % base];
	while ((v /= base) != 0);
	if (base == 16)
		put(l, "0x");
	put(l, digits + n);
}

static void begin(struct line *l)
{
	l->n = 0;
	put(l, program);
	put(l, ": error: ");
}

static void end(struct line *l)
{
	l->b[l->n++] = '\n';
	(void)!write(STDERR_FILENO, l->b, l->n);
}

static void put_thread(struct line *l)
{
	char name[17] = "?";

	if (!thread_name)
		prctl(PR_GET_NAME, name);
	put(l, thread_name ? thread_name : name);
}

/* "#3 weir-dataplane+0x1a2b3 (tcp_run+0x1c)": the offset is what addr2line takes. */
static void write_frame(unsigned i, const void *pc, bool is_exact)
{
	struct line l;
	Dl_info info;
	const char *file;

	begin(&l);
	put(&l, "  #");
	put_number(&l, i, 10);
	put(&l, " ");
	if (dladdr(pc, &info) == 0 || !info.dli_fname) {
		put_number(&l, (uintptr_t)pc, 16);
		end(&l);
		return;
	}
	file = strrchr(info.dli_fname, '/');
	put(&l, file ? file + 1 : info.dli_fname);
	put(&l, "+");
	/* A return address may be of the next line, or function. */
	put_number(&l, (uintptr_t)pc - (uintptr_t)info.dli_fbase - !is_exact, 16);
	if (info.dli_sname) {
		put(&l, " (");
		put(&l, info.dli_sname);
		put(&l, "+");
		put_number(&l, (uintptr_t)pc - (uintptr_t)info.dli_saddr, 16);
		put(&l, ")");
	}
	end(&l);
}

/* From where the signal came in. */
static void write_trace(const ucontext_t *context)
{
	void *frames[MAX_FRAMES];
	void *at = (void *)context->uc_mcontext.gregs[REG_RIP];
	int n = backtrace(frames, MAX_FRAMES), first = 0;

	while (first < n && frames[first] != at)
		first++;
	if (first == n) { /* it called what is no code: then its caller is the first that is known */
		write_frame(0, at, true);
		first = n > 3 ? 2 : 0; /* behind this function and the handler's */
	}
	for (int i = first; i < n; i++)
		write_frame((unsigned)(i - first), frames[i], frames[i] == at);
}

static void write_head(int sig, const siginfo_t *info)
{
	struct line l;

	begin(&l);
	put(&l, "crashed: ");
	for (size_t i = 0; i < N_KINDS; i++)
		if (kinds[i].sig == sig)
			put(&l, kinds[i].name);
	if (info->si_code > 0) {
		put(&l, " at address ");
		put_number(&l, (uintptr_t)info->si_addr, 16);
	} else {
		put(&l, " sent by process ");
		put_number(&l, (uint64_t)info->si_pid, 10);
	}
	put(&l, ", in thread ");
	put_thread(&l);
	put(&l, ", version " WEIR_VERSION "; it was here:");
	end(&l);
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
	if (__atomic_exchange_n(&is_crashing, true, __ATOMIC_ACQ_REL))
		for (;;) /* another thread ends us all, and its story is not to be cut */
			pause();
	signal(SIGALRM, SIG_DFL);
	alarm(HANG_S);
	if (note)
		note(sig);
	write_head(sig, info);
	write_trace(context);
	signal(sig, SIG_DFL);
	/* What the thread did it does again as this returns, and the core is of that. What was sent is sent again. */
	if (info->si_code <= 0 || sig == SIGABRT)
		syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig);
}

static void on_trace(int sig, siginfo_t *info, void *context)
{
	int before = errno; /* of what was interrupted, and may go on */

	if (info->si_code != SI_TKILL || info->si_pid != getpid())
		return; /* not by crash_trace_of() */
	write_trace(context);
	__atomic_store_n(&traced, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	errno = before;
}

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int crash_trace_of(int tid, unsigned wait_ms)
{
	const struct timespec ms = {.tv_nsec = 1000000};
	uint64_t end_ms = clock_ms() + wait_ms; /* each sleep may take much longer than it should */

	__atomic_store_n(&traced, 0, __ATOMIC_RELEASE);
	if (syscall(SYS_tgkill, getpid(), tid, SIGUSR2) != 0)
		return 0;
	do {
		if (__atomic_load_n(&traced, __ATOMIC_ACQUIRE) == tid)
			return 1;
		nanosleep(&ms, NULL);
	} while (clock_ms() < end_ms);
	return 0;
}

void crash_thread(const char *name)
{
#ifndef __SANITIZE_ADDRESS__ /* which has one of its own, and frees it */
	stack_t stack = {.ss_size = STACK_BYTES};

	stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp != MAP_FAILED)
		sigaltstack(&stack, NULL);
#endif
	thread_name = name;
}

void crash_install(const char *name, crash_note_fn fn)
{
	struct sigaction sa = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	void *frames[4];

	program = name;
	note = fn;
	(void)backtrace(frames, 4); /* loads what it needs */
	crash_thread("main");
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < N_KINDS; i++)
		sigaddset(&sa.sa_mask, kinds[i].sig); /* a fault of the handler ends the process at once */
#ifndef __SANITIZE_ADDRESS__
	for (size_t i = 0; i < N_KINDS; i++)
		sigaction(kinds[i].sig, &sa, NULL);
#endif
	sa.sa_sigaction = on_trace;
	sa.sa_flags |= SA_RESTART;
	sigaction(SIGUSR2, &sa, NULL);
}
