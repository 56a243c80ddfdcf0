/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a program ends that crashes: it says on stderr which signal it was, where, in which thread, and by which calls, then the
 * signal does what it does by default, so that a core is written where cores are. All of it is async-signal-safe.
 */
#ifndef BASE_CRASH_H
#define BASE_CRASH_H

/* Notes the end somewhere, in the thread that crashed, in the handler of the signal. */
typedef void (*crash_note_fn)(int sig);

/*
 * Takes SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT, and SIGUSR2 for crash_trace_of(). Of main(), before there are other
 * threads. program must live on; note may be NULL. With AddressSanitizer the former stay with it, which says more.
 */
void crash_install(const char *program, crash_note_fn note);
/*
 * The calling thread's name in what is written, which must live on, and a stack of its own for the handler, so that a
 * stack that is used up is reported, too. Without it the thread has the kernel's name, and the handler its stack.
 */
void crash_thread(const char *name);
/*
 * Writes the calls by which another thread of this process got where it is. False: it has not done so within the time, since it does not
 * run at all. tid: as gettid(2) gives it.
 */
int crash_trace_of(int tid, unsigned wait_ms);

#endif
