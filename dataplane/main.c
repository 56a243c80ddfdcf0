/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-dataplane: reads weir.yaml, starts everything in order (start.c), then
 * the main lcore serves the control socket until SIGTERM or SIGINT. The first
 * signal drains: no new connections, those in hand finish, at most drain_ms.
 * A second one ends it at once.
 *
 * Exit status: 0 stopped, 1 could not start, 2 wrong usage or configuration,
 * 3 CPU too old, 4 a worker was stuck (watchdog.h).
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "announce.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/sandbox.h"
#include "dump.h"
#include "kernel_routes.h"
#include "life.h"
#include "mem/heap.h"
#include "start.h"

#define POLL_MS 200

static volatile sig_atomic_t n_signals;

static void on_signal(int sig)
{
	(void)sig;
	n_signals++;
}

static void usage(FILE *f)
{
	fprintf(f, "Usage: weir-dataplane -c FILE [options]\n"
		   "\n"
		   "  -c, --config FILE      configuration (see docs/weir.yaml.md)\n"
		   "      --check            check the configuration and exit: 0 good, 2 not\n"
		   "      --print-needs      check it, and print what it needs of the host, as JSON (for weir-host)\n"
		   "      --print-frr        check it, and print the configuration of FRR for its section bgp\n"
		   "      --print-reference  print the reference of all configuration keys\n"
		   "  -l, --log-level LEVEL  error, warn, info (default) or debug\n"
		   "      --seccomp MODE     on (default): a system call that Weir does not make ends it; log: it is logged; off\n"
		   "  -V, --version\n"
		   "  -h, --help\n");
}

static int parse_level(const char *text, enum log_level *out)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	for (unsigned i = 0; i < 4; i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	return -1;
}

struct options {
	const char *config;
	bool check;
	bool print_needs;
	bool print_frr;
	enum log_level level;
	enum sandbox_mode seccomp;
};

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
		{"print-needs", no_argument, NULL, 'n'}, {"print-frr", no_argument, NULL, 'f'}, {"print-reference", no_argument, NULL, 'r'},
		{"log-level", required_argument, NULL, 'l'}, {"seccomp", required_argument, NULL, 's'}, {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'}, {0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:l:Vh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'k':
			o->check = true;
			break;
		case 'n':
			o->print_needs = true;
			break;
		case 'f':
			o->print_frr = true;
			break;
		case 'r':
			config_write_reference(stdout);
			return 0;
		case 'l':
			if (parse_level(optarg, &o->level) == 0)
				break;
			fprintf(stderr, "weir-dataplane: unknown log level '%s'\n", optarg);
			return 2;
		case 's':
			if (sandbox_read_mode(optarg, &o->seccomp))
				break;
			fprintf(stderr, "weir-dataplane: --seccomp %s: on, log or off was expected\n", optarg);
			return 2;
		case 'V':
			printf("weir-dataplane %s\n", WEIR_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (!o->config || optind != argc) {
		usage(stderr);
		return 2;
	}
	return -1;
}

static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Nobody is sent here any more; who comes until all have heard of that is served. */
static void withdraw(struct dataplane *d)
{
	uint64_t end = clock_ms() + d->config.bgp.withdraw_ms;

	if (!announce_withdraw(d->announce))
		return;
	log_info("withdrawn: new connections are taken for %u ms more", d->config.bgp.withdraw_ms);
	while (n_signals < 2 && clock_ms() < end) {
		ctl_poll(d->ctl, 10);
		watchdog_look(d);
	}
}

static void drain(struct dataplane *d)
{
	uint64_t end;

	withdraw(d);
	end = clock_ms() + d->config.drain_ms;
	notify("STOPPING=1\nSTATUS=draining");
	log_info("draining, at most %u ms", d->config.drain_ms);
	d->stats->draining = 1;
	ctl_tell_workers(d->ctl, WORKER_DRAIN);
	while (n_signals < 2 && ctl_n_drained(d->ctl) < d->config.n_workers && clock_ms() < end) {
		ctl_poll(d->ctl, 10);
		watchdog_look(d);
	}
	if (ctl_n_drained(d->ctl) < d->config.n_workers)
		log_warn("not drained in time: what is left is cut");
}

static int print_frr(const struct config *c)
{
	if (c->bgp.asn)
		return frr_write(c, stdout) == 0 ? 0 : 2;
	log_error("--print-frr: the configuration has no section bgp");
	return 2;
}

int main(int argc, char **argv)
{
	static struct dataplane d;
	struct options o = {.level = LOG_LEVEL_INFO, .seccomp = sandbox_default()};
	int rc = parse_options(argc, argv, &o);

	if (rc >= 0)
		return rc;
	log_init("weir-dataplane", o.level);
	crash_install("weir-dataplane", watchdog_note_crash);
	if (heap_install() != 0) /* before anything that uses OpenSSL */
		log_warn("OpenSSL has allocated already: TLS of the workers does without their heaps");
	if (config_load(o.config, &d.config, stderr) != 0)
		return 2;
	if (o.print_needs)
		eal_write_needs(&d.config, stdout);
	if (o.print_frr)
		return print_frr(&d.config);
	if (o.check || o.print_needs)
		return 0;
	catch_signals();
	notify_open();
	if (life_open(d.config.control_socket) != 0)
		return 1;
	dump_hide_main_heap(&d.config);
	if (dataplane_start(&d) != 0)
		return 1;
	if (dataplane_sandbox(&d, o.seccomp) != 0) {
		dataplane_stop(&d);
		return 1;
	}
	life_set(WEIR_END_KILLED, 0, -1);
	notify("READY=1\nSTATUS=%u workers on %u ports serve", d.config.n_workers, d.n_ports);
	log_info("%u workers on %u ports serve; control socket %s", d.config.n_workers, d.n_ports, d.config.control_socket);
	while (n_signals == 0) {
		ctl_poll(d.ctl, POLL_MS);
		dataplane_update_ports(&d);
		kernel_routes_update(d.kernel_routes);
		announce_update(d.announce, !watchdog_sees_still(&d), clock_ms());
		dataplane_update_clocks(&d);
		dataplane_make_ready(&d);
		dataplane_update_offload(&d);
		dataplane_update_energy(&d);
		watchdog_look(&d);
	}
	drain(&d);
	dataplane_stop(&d);
	life_set(WEIR_END_STOPPED, 0, -1);
	log_info("stopped");
	return 0;
}
