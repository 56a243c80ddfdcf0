/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-blast: see blast.h. Exit status: 0, 1 if it does not start or nobody
 * answers, 2 for wrong usage. Errors of requests are in the reports.
 */
#include "main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "chaos.h"
#include "phase.h"

#define RESOLVE_S 120	  /* until the proxy's link address must be known; it may start after us, with hugepages to be zeroed */
#define INPUT_EVERY_MS 2  /* between two looks at standard input */
#define IDLE_LOOPS 64	  /* iterations without work before a sleep */

static volatile sig_atomic_t is_ended;

static void on_signal(int sig)
{
	is_ended = 1;
}

static void print_text(const json_t *o, const char *indent)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)o, name, v) {
		char deeper[16];

		snprintf(deeper, sizeof(deeper), "%s  ", indent);
		if (json_is_object(v)) {
			printf("%s%s:%s\n", indent, name, json_object_size(v) ? "" : " none");
			print_text(v, deeper);
		} else if (json_is_string(v)) {
			printf("%s%s: %s\n", indent, name, json_string_value(v));
		} else if (json_is_real(v)) {
			printf("%s%s: %.10g\n", indent, name, json_real_value(v));
		} else {
			printf("%s%s: %lld\n", indent, name, (long long)json_integer_value(v));
		}
	}
}

static void print_report(const struct blast *b, json_t *o)
{
	if (b->o.is_json) {
		json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
		putchar('\n');
	} else {
		print_text(o, "");
		putchar('\n');
	}
	fflush(stdout);
	json_decref(o);
}

/* What the last iteration cost, with all that was done after it. */
static void count_cycles(struct blast *b, uint64_t now)
{
	static uint64_t last, work;

	if (last) {
		b->counts.cycles += now - last;
		if (b->counts.rx + b->counts.tx != work)
			b->counts.busy_cycles += now - last;
	}
	last = now;
	work = b->counts.rx + b->counts.tx;
}

/* Gives the core away when there is nothing to do, where it is shared. */
static void rest(const struct blast *b)
{
	static uint64_t work;
	static unsigned n_idle;
	const struct timespec t = {.tv_nsec = (long)b->o.idle_us * 1000};

	n_idle = b->counts.rx + b->counts.tx == work ? n_idle + 1 : 0;
	work = b->counts.rx + b->counts.tx;
	if (n_idle > IDLE_LOOPS)
		nanosleep(&t, NULL);
}

static void iterate(struct blast *b)
{
	uint32_t ms;

	if (b->o.idle_us)
		rest(b);
	b->tsc = rte_rdtsc();
	count_cycles(b, b->tsc);
	ms = (uint32_t)(b->tsc / (b->tsc_hz / 1000));
	port_poll(b);
	if (ms != b->now_ms) {
		b->now_ms = ms;
		tiny_timers(b, &b->client);
		tiny_timers(b, &b->origin);
	}
	if (b->chaos)
		chaos_step(b);
	tiny_flush(b, &b->client);
	tiny_flush(b, &b->origin);
	port_flush(b);
}

static int resolve(struct blast *b)
{
	uint64_t until;

	iterate(b);
	until = b->tsc + RESOLVE_S * b->tsc_hz;
	while (!port_resolve(b) && !is_ended) {
		iterate(b);
		if (b->tsc > until) {
			fprintf(stderr, "weir-blast: nobody answers for the target's address\n");
			return -ETIMEDOUT;
		}
	}
	return 0;
}

static int run_phase(struct blast *b, const char *line)
{
	struct phase p;
	char why[256];
	int rc = phase_begin(b, &p, line, why, sizeof(why));

	if (rc) {
		fprintf(stderr, "weir-blast: %s\n", why);
		return rc;
	}
	if (p.tell)
		print_report(b, json_pack("{s:b}", "begun", 1));
	do
		iterate(b);
	while (!phase_step(b, &p) && !is_ended);
	print_report(b, phase_report(b, &p));
	return 0;
}

/* A line of standard input if one is complete: its length; 0: not yet; -1: the end. */
static int read_line(char *buf, size_t cap, size_t *n)
{
	char *eol = memchr(buf, '\n', *n);

	if (!eol && *n < cap) {
		struct pollfd fd = {.fd = 0, .events = POLLIN};
		ssize_t got;

		if (poll(&fd, 1, 0) <= 0)
			return 0;
		got = read(0, buf + *n, cap - *n);
		if (got <= 0)
			return got < 0 && errno == EINTR ? 0 : -1;
		*n += (size_t)got;
		eol = memchr(buf, '\n', *n);
	}
	if (!eol)
		return *n < cap ? 0 : -1;
	*eol = 0;
	return (int)(eol - buf) + 1;
}

static int run_input(struct blast *b)
{
	static char buf[4096];
	size_t n = 0;
	uint32_t looked_ms = 0;
	int rc = 0;

	while (!is_ended && rc == 0) {
		int len;

		iterate(b);
		if (b->now_ms - looked_ms < INPUT_EVERY_MS)
			continue;
		looked_ms = b->now_ms;
		len = read_line(buf, sizeof(buf), &n);
		if (len < 0)
			break;
		if (len == 0)
			continue;
		rc = run_phase(b, buf);
		n -= (size_t)len;
		memmove(buf, buf + len, n);
	}
	return rc;
}

/*
 * When one end of a memif goes, DPDK unmaps the rings at the other, under
 * whoever polls them. So whoever started us closes our input; we poll no more and say
 * so; then the proxy may end, and we are told to by a signal.
 */
static void wait_quietly(void)
{
	puts("{\"phase\":\"end\"}");
	fflush(stdout);
	while (!is_ended)
		usleep(10000);
}

static int run(struct blast *b, const struct command_line *c)
{
	int rc = resolve(b);

	if (rc == 0 && c->connect[0])
		rc = run_phase(b, c->connect);
	if (rc == 0 && c->load[0])
		rc = run_phase(b, c->load);
	for (char **p = c->phases; *p && rc == 0 && !is_ended; p++)
		rc = run_phase(b, *p);
	if (rc == 0 && c->is_interactive)
		rc = run_input(b);
	if (rc == 0 && c->is_interactive && !is_ended)
		wait_quietly();
	return rc;
}

static int create(struct blast *b, const struct command_line *c)
{
	int rc;

	b->o = c->o;
	b->is_loop = b->o.target - b->o.origin_base < b->o.n_origins;
	if (!b->o.source)
		b->o.source = b->o.target;
	b->prng = 1;
	rc = content_init(&b->content, b->o.host);
	if (rc)
		return rc;
	rc = port_open_all(b);
	if (rc)
		return rc;
	b->tsc_hz = rte_get_tsc_hz();
	if (!end_init(&b->client, false, b->o.n_slots, &b->ports[0]) ||
	    !end_init(&b->origin, true, b->is_loop ? b->o.n_slots : b->o.n_origins << 16, &b->ports[b->n_ports - 1]) ||
	    !ends_init(b))
		return -ENOMEM;
	b->load = load_create(b);
	return b->load ? 0 : -ENOMEM;
}

int main(int argc, char **argv)
{
	static struct blast b;
	struct command_line c;
	int rc = options_parse(argc, argv, &c);

	if (rc >= 0)
		return rc;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	prctl(PR_SET_TIMERSLACK, 1000); /* a sleep of 20 us is to be one */
	rc = create(&b, &c);
	if (rc) {
		fprintf(stderr, "weir-blast: cannot start: %s\n", strerror(-rc));
		return 1;
	}
	rc = run(&b, &c);
	port_close_all(&b);
	return rc == -EINVAL ? 2 : rc ? 1 : 0;
}
