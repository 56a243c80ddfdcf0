/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine and the provider of tests have in common: a device with a queue. An operation pauses the job that it runs in, and a
 * poll ends it some polls later, as the device was told: late, out of order, in vain, or never. Nothing here looks at a clock, but
 * for DELAY_US. Who includes this computes in software what has passed, and says with DEVICE_LOCAL whose the queue is: of
 * a thread (__thread), as a card's instance has it, or of the process.
 */
#ifndef TESTS_ENGINE_DEVICE_H
#define TESTS_ENGINE_DEVICE_H

#include <pthread.h>
#include <time.h>

#include <openssl/async.h>

struct op {
	struct op *next;
	ASYNC_WAIT_CTX *wait;
	unsigned long at; /* submitted as the so manieth */
	unsigned long polls_left;
	unsigned long long due_us;
	int never, fails;
	int is_done; /* atomic: polls may be another thread's */
};

static struct {
	unsigned long delay_polls, delay_us, fail_every, never_every, full_every, order;
	int is_dead;
} how;
static struct {
	unsigned long submitted, done, failed;
} counts;
static int in_flight; /* of all threads; a test's threads do not meet here */
static DEVICE_LOCAL struct op *queue;
static pthread_mutex_t device_lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned long long clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000;
}

static int is_nth(unsigned long n, unsigned long every)
{
	return every && n % every == 0;
}

/* Outside of a job: the caller waits. */
static void pass_at_once(const struct op *op)
{
	unsigned long long until = how.delay_us ? clock_us() + how.delay_us : 0;

	while (until && clock_us() < until)
		;
	pthread_mutex_lock(&device_lock);
	counts.done++;
	counts.failed += (unsigned)op->fails;
	pthread_mutex_unlock(&device_lock);
}

/* The queue is full: the caller's job is told to come again. */
static void bounce(ASYNC_WAIT_CTX *wait)
{
	ASYNC_WAIT_CTX_set_status(wait, ASYNC_STATUS_EAGAIN);
	ASYNC_pause_job();
	ASYNC_WAIT_CTX_set_status(wait, ASYNC_STATUS_UNSUPPORTED);
}

static void submit(struct op *op)
{
	struct op **end = &queue;

	op->never = is_nth(op->at, how.never_every);
	op->polls_left = how.delay_polls;
	op->due_us = how.delay_us ? clock_us() + how.delay_us : 0;
	pthread_mutex_lock(&device_lock);
	while (*end)
		end = &(*end)->next;
	*end = op;
	pthread_mutex_unlock(&device_lock);
	__atomic_add_fetch(&in_flight, 1, __ATOMIC_RELAXED);
}

/* Waits as a device would have it. 0: the operation failed. */
static int pass_device(void)
{
	ASYNC_JOB *job = ASYNC_get_current_job();
	struct op op = {.at = __atomic_add_fetch(&counts.submitted, 1, __ATOMIC_RELAXED)};

	op.fails = is_nth(op.at, how.fail_every);
	if (!job) {
		pass_at_once(&op);
		return !op.fails;
	}
	op.wait = ASYNC_get_wait_ctx(job);
	if (is_nth(op.at, how.full_every))
		bounce(op.wait);
	submit(&op);
	while (!__atomic_load_n(&op.is_done, __ATOMIC_ACQUIRE))
		ASYNC_pause_job();
	return !op.fails;
}

/* What it calls may let the operation go at once. */
static void finish(struct op **at)
{
	struct op *op = *at;
	int (*callback)(void *arg);
	void *arg;
	int has_callback = ASYNC_WAIT_CTX_get_callback(op->wait, &callback, &arg);

	*at = op->next;
	counts.done++;
	counts.failed += (unsigned)op->fails;
	__atomic_sub_fetch(&in_flight, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&op->is_done, 1, __ATOMIC_RELEASE);
	if (has_callback)
		callback(arg);
}

static int is_due(const struct op *op, unsigned long long now)
{
	if (op->never || op->polls_left > 0)
		return 0;
	return how.order != 2 || now % 3 != op->at % 3 ? now >= op->due_us : 0;
}

static int poll_queue(void)
{
	static unsigned long n_polls;
	unsigned long long now = how.delay_us ? clock_us() : ++n_polls;
	struct op **at = &queue;
	struct op **last = NULL;

	if (how.is_dead)
		return 1;
	pthread_mutex_lock(&device_lock);
	for (struct op *op = queue; op; op = op->next)
		op->polls_left -= op->polls_left > 0;
	while (*at) {
		if (!is_due(*at, now)) {
			at = &(*at)->next;
		} else if (how.order == 1) { /* one at a time, from the end */
			last = at;
			at = &(*at)->next;
		} else {
			finish(at);
		}
	}
	if (last)
		finish(last);
	pthread_mutex_unlock(&device_lock);
	return 1;
}

/* What would never end fails with the next poll. */
static void release(void)
{
	for (struct op *op = queue; op; op = op->next) {
		op->fails |= op->never;
		op->never = 0;
		op->polls_left = 0;
	}
}

/* submitted, done, failed, held */
static void get_counts(unsigned long out[4])
{
	out[0] = counts.submitted;
	out[1] = counts.done;
	out[2] = counts.failed;
	out[3] = 0;
	for (const struct op *op = queue; op; op = op->next)
		out[3]++;
}

#endif
