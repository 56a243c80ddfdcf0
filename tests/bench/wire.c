// SPDX-License-Identifier: Apache-2.0
/*
 * weir-wire: two lanes between near and far interfaces. A frame of a near
 * interface goes through the lane "up" to the far one that has its
 * destination's link address (all of them while that is unknown), and the
 * other way through "down": all interfaces of a side share one lane, so one
 * bottleneck. Frames between two interfaces of a side are not carried.
 */
#include "wire.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#define NS 1000000000ull
#define N_STATIONS 64
#define MAX_BATCHES 16 /* before the other ways have their turn */
#define MAX_WAIT_NS 100000000ull

enum { UP, DOWN, N_LANES }; /* up: from near to far */

struct station {
	uint8_t mac[6];
	uint8_t iface;
};

struct wire {
	struct iface ifs[WIRE_MAX_IFS];
	unsigned n_ifs;
	struct lane lanes[N_LANES];
	struct frame_pool pool;
	struct flow_table flows;
	struct station stations[N_STATIONS];
	unsigned n_stations;
	uint64_t same_side, socket_drops, start_ns;
	/* options */
	struct lane_config cfg[N_LANES];
	const char *side[2]; /* [is_far] */
	uint64_t n_frames, tick_ns;
	const char *trace;
};

static volatile sig_atomic_t is_stopping, wants_stats;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		wants_stats = 1;
	else
		is_stopping = 1;
}

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

/* -- where a frame goes */

static struct station *station_find(struct wire *w, const uint8_t *mac)
{
	for (unsigned i = 0; i < w->n_stations; i++)
		if (memcmp(w->stations[i].mac, mac, 6) == 0)
			return &w->stations[i];
	return NULL;
}

static void station_learn(struct wire *w, const uint8_t *mac, unsigned iface)
{
	struct station *s = station_find(w, mac);

	if ((mac[0] & 1) || (!s && w->n_stations == N_STATIONS))
		return;
	if (!s) {
		s = &w->stations[w->n_stations++];
		memcpy(s->mac, mac, 6);
	}
	s->iface = (uint8_t)iface;
}

static uint8_t wire_route(struct wire *w, const uint8_t *dst, unsigned in)
{
	const struct station *s = station_find(w, dst);
	uint8_t mask = 0;

	for (unsigned i = 0; i < w->n_ifs; i++)
		if (w->ifs[i].is_far != w->ifs[in].is_far && (!s || s->iface == i))
			mask |= (uint8_t)(1u << i);
	return mask;
}

/* -- the loop */

static void wire_take(struct wire *w, struct frame *f, unsigned in, uint64_t now_ns)
{
	bool is_far = w->ifs[in].is_far;
	struct lane *lane = &w->lanes[is_far ? DOWN : UP];

	if (f->len >= 14) {
		station_learn(w, f->data + 6, in);
		f->out_mask = wire_route(w, f->data, in);
	}
	if (f->len < 14 || f->out_mask == 0) {
		w->same_side++;
		frame_put(&w->pool, f);
		return;
	}
	f->in = (uint8_t)in;
	packet_parse(f->data, f->len, &f->packet);

	struct packet p = f->packet;
	unsigned far = is_far ? in : (unsigned)__builtin_ctz(f->out_mask);
	enum fate fate = lane_put(lane, f, far, is_far ? p.dst_port : p.src_port, now_ns);

	if (is_far)
		flow_from_far(&w->flows, &p, far, fate, now_ns);
	else if (fate != FATE_PASSED)
		flow_from_near(&w->flows, &p, far, fate, now_ns);
}

static unsigned wire_receive(struct wire *w)
{
	struct frame *frames[WIRE_BATCH];
	unsigned total = 0;

	for (unsigned i = 0; i < w->n_ifs; i++) {
		unsigned n;

		do {
			n = iface_receive(&w->ifs[i], &w->pool, frames);
			for (unsigned k = 0; k < n; k++)
				wire_take(w, frames[k], i, clock_ns());
			total += n;
		} while (n == WIRE_BATCH && total < MAX_BATCHES * WIRE_BATCH);
	}
	return total;
}

static unsigned wire_send_batch(struct wire *w, struct lane *lane, uint64_t now_ns)
{
	struct frame *sent[WIRE_BATCH];
	unsigned n = 0;

	while (n < WIRE_BATCH && (sent[n] = lane_get(lane, now_ns)) != NULL) {
		struct frame *f = sent[n++];

		if (!w->ifs[f->in].is_far)
			flow_from_near(&w->flows, &f->packet, (unsigned)__builtin_ctz(f->out_mask), FATE_PASSED, now_ns);
		for (unsigned i = 0; i < w->n_ifs; i++)
			if (f->out_mask & 1u << i)
				w->ifs[i].out[w->ifs[i].n_out++] = f;
	}
	for (unsigned i = 0; i < w->n_ifs && n > 0; i++)
		iface_flush(&w->ifs[i]);
	for (unsigned k = 0; k < n; k++)
		frame_put(&w->pool, sent[k]);
	return n;
}

static unsigned wire_send(struct wire *w, struct lane *lane)
{
	unsigned n, total = 0;

	do {
		n = wire_send_batch(w, lane, clock_ns());
		total += n;
	} while (n == WIRE_BATCH && total < MAX_BATCHES * WIRE_BATCH);
	return total;
}

static void wire_wait(struct wire *w, int epoll, bool was_busy)
{
	struct epoll_event events[WIRE_MAX_IFS];
	uint64_t now = clock_ns(), next = now + MAX_WAIT_NS;

	if (was_busy) { /* let some gather: a wake-up for each frame costs too much */
		struct timespec ts = {.tv_nsec = (long)w->tick_ns};

		nanosleep(&ts, NULL);
		return;
	}
	for (unsigned l = 0; l < N_LANES; l++)
		if (lane_next_ns(&w->lanes[l]) < next)
			next = lane_next_ns(&w->lanes[l]);

	struct timespec ts = {.tv_nsec = next > now ? (long)(next - now) : 0};

	epoll_pwait2(epoll, events, WIRE_MAX_IFS, &ts, NULL);
}

/* -- statistics */

static void print_lane(const struct wire *w, unsigned which)
{
	const struct lane_stats *s = &w->lanes[which].stats;
	const char *sep = "";
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{"packets", s->packets}, {"bytes", s->bytes}, {"lost", s->lost}, {"dropped", s->dropped},
		{"marked", s->marked}, {"reordered", s->reordered}, {"duplicated", s->duplicated},
		{"no_frame", s->no_frame}, {"out_packets", s->out_packets}, {"out_bytes", s->out_bytes},
		{"queue_max_bytes", s->queue_max_bytes}, {"late_max_us", s->late_max_ns / 1000},
		{"late_mean_us", s->out_packets ? s->late_sum_ns / s->out_packets / 1000 : 0}, {"late_1ms", s->late_1ms},
	};

	printf("\"%s\": {", which == UP ? "up" : "down");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++, sep = ", ")
		printf("%s\"%s\": %" PRIu64, sep, fields[i].name, fields[i].value);
	printf("}, ");
}

static void print_flow(const struct wire *w, const struct flow *f, const char *sep)
{
	const char *field_sep = "";
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{"near_port", f->near_port}, {"far_port", f->far_port}, {"data_packets", f->data_packets},
		{"data_bytes", f->data_bytes}, {"retransmits", f->retransmits}, {"retransmit_bytes", f->retransmit_bytes},
		{"spurious", f->spurious}, {"lost", f->lost}, {"dropped", f->dropped}, {"acks", f->acks},
		{"acks_lost", f->acks_lost}, {"stalls", f->n_stalls}, {"stall_ms", f->stall_ns / 1000000},
	};

	printf("%s{\"far\": \"%s\", ", sep, w->ifs[f->far].name);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++, field_sep = ", ")
		printf("%s\"%s\": %" PRIu64, field_sep, fields[i].name, fields[i].value);
	printf("}");
}

/* One line: an object. */
static void print_stats(struct wire *w)
{
	struct rusage use;
	uint64_t send_errors = 0, too_long = 0;
	const char *sep = "";

	for (unsigned i = 0; i < w->n_ifs; i++) {
		w->socket_drops += iface_drops(&w->ifs[i]);
		send_errors += w->ifs[i].send_errors;
		too_long += w->ifs[i].too_long;
	}
	getrusage(RUSAGE_SELF, &use);
	printf("{");
	print_lane(w, UP);
	print_lane(w, DOWN);
	printf("\"socket_drops\": %" PRIu64 ", \"send_errors\": %" PRIu64 ", \"too_long\": %" PRIu64 ", \"same_side\": %" PRIu64
	       ", \"flows_left_out\": %" PRIu64 ", ", w->socket_drops, send_errors, too_long, w->same_side, w->flows.no_room);
	printf("\"elapsed_ms\": %" PRIu64 ", \"cpu_ms\": %ld, \"flows\": [", (clock_ns() - w->start_ns) / 1000000,
	       (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000 + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1000);
	for (unsigned i = 0; i < WIRE_MAX_FLOWS; i++) {
		if (!w->flows.flows[i].is_used)
			continue;
		print_flow(w, &w->flows.flows[i], sep);
		sep = ", ";
	}
	printf("]}\n");
	fflush(stdout);
}

/* -- options */

static const char usage[] =
	"usage: weir-wire --near IF[,IF...] --far IF[,IF...] [OPTION...]\n"
	"IF is the name of a link, or tap:NAME for a TAP device that is made.\n"
	"Prints \"ready\", and statistics as a line of JSON at SIGUSR1 and at the end (SIGTERM, SIGINT).\n"
	"  --frames N         room for so many frames (65536)\n"
	"  --tick-us N        while busy, look for frames so often (50)\n"
	"  --trace FILE       a line for each TCP packet\n"
	"  --both --down --up the options that follow are for both ways (so it begins), for far to near, for near to far\n"
	"  --rate-kbit N      bits a second, in thousands; 0: not limited\n"
	"  --queue-bytes N    that wait for the rate, at most; 0: not limited\n"
	"  --mark-bytes N     waiting bytes from which on ECN-capable packets are marked; 0: never\n"
	"  --delay-us N       one way\n"
	"  --jitter-us N      0 to so much more, in order\n"
	"  --loss-ppm N       of a million packets so many are lost\n"
	"  --reorder-ppm N    of a million so many are held back\n"
	"  --reorder-us N     by so much (1000)\n"
	"  --duplicate-ppm N  of a million so many come twice\n"
	"  --seed N           of chance (1)\n";

enum { OPT_NEAR = 256, OPT_FAR, OPT_FRAMES, OPT_TICK, OPT_TRACE, OPT_BOTH, OPT_DOWN, OPT_UP, OPT_RATE, OPT_QUEUE, OPT_MARK, OPT_DELAY,
       OPT_JITTER, OPT_LOSS, OPT_REORDER, OPT_REORDER_BY, OPT_DUPLICATE, OPT_SEED, OPT_HELP };

static const struct option options[] = {
	{"near", 1, NULL, OPT_NEAR}, {"far", 1, NULL, OPT_FAR}, {"frames", 1, NULL, OPT_FRAMES}, {"tick-us", 1, NULL, OPT_TICK},
	{"trace", 1, NULL, OPT_TRACE}, {"both", 0, NULL, OPT_BOTH}, {"down", 0, NULL, OPT_DOWN}, {"up", 0, NULL, OPT_UP},
	{"rate-kbit", 1, NULL, OPT_RATE}, {"queue-bytes", 1, NULL, OPT_QUEUE}, {"mark-bytes", 1, NULL, OPT_MARK},
	{"delay-us", 1, NULL, OPT_DELAY}, {"jitter-us", 1, NULL, OPT_JITTER}, {"loss-ppm", 1, NULL, OPT_LOSS},
	{"reorder-ppm", 1, NULL, OPT_REORDER}, {"reorder-us", 1, NULL, OPT_REORDER_BY}, {"duplicate-ppm", 1, NULL, OPT_DUPLICATE},
	{"seed", 1, NULL, OPT_SEED}, {"help", 0, NULL, OPT_HELP}, {NULL, 0, NULL, 0},
};

static bool parse_number(const char *s, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return errno == 0 && end != s && *end == '\0' && *s != '-' && *out <= UINT32_MAX;
}

static void set_lane(struct lane_config *c, int option, uint64_t v)
{
	switch (option) {
	case OPT_RATE: c->rate_Bps = v * 125; break;
	case OPT_QUEUE: c->queue_bytes = v; break;
	case OPT_MARK: c->mark_bytes = v; break;
	case OPT_DELAY: c->delay_ns = v * 1000; break;
	case OPT_JITTER: c->jitter_ns = v * 1000; break;
	case OPT_LOSS: c->loss_ppm = (uint32_t)v; break;
	case OPT_REORDER: c->reorder_ppm = (uint32_t)v; break;
	case OPT_REORDER_BY: c->reorder_ns = v * 1000; break;
	case OPT_DUPLICATE: c->duplicate_ppm = (uint32_t)v; break;
	case OPT_SEED: c->seed = v; break;
	}
}

static bool set_option(struct wire *w, int option, const char *arg, unsigned *lanes)
{
	uint64_t v = 0;

	switch (option) {
	case OPT_NEAR: w->side[0] = arg; return true;
	case OPT_FAR: w->side[1] = arg; return true;
	case OPT_TRACE: w->trace = arg; return true;
	case OPT_BOTH: *lanes = 1u << UP | 1u << DOWN; return true;
	case OPT_DOWN: *lanes = 1u << DOWN; return true;
	case OPT_UP: *lanes = 1u << UP; return true;
	}
	if (!parse_number(arg, &v))
		return false;
	if (option == OPT_FRAMES)
		w->n_frames = v;
	else if (option == OPT_TICK)
		w->tick_ns = v * 1000;
	else
		for (unsigned l = 0; l < N_LANES; l++)
			if (*lanes & 1u << l)
				set_lane(&w->cfg[l], option, v);
	return true;
}

/* 0, or the exit status and what is wrong has been said. */
static int parse_options(struct wire *w, int argc, char **argv)
{
	unsigned lanes = 1u << UP | 1u << DOWN;
	int option;

	w->n_frames = 65536;
	w->tick_ns = 50000;
	for (unsigned l = 0; l < N_LANES; l++)
		w->cfg[l] = (struct lane_config){.reorder_ns = 1000000, .seed = 1};
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == OPT_HELP || option == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (option == '?')
			return 2;
		if (!set_option(w, option, optarg, &lanes)) {
			fprintf(stderr, "weir-wire: not a number: %s\n", optarg);
			return 2;
		}
	}
	if (optind == argc && w->side[0] && w->side[1] && w->n_frames >= WIRE_BATCH && w->tick_ns < NS)
		return 0;
	fputs(usage, stderr);
	return 2;
}

/* -- start and end */

static int open_side(struct wire *w, bool is_far, int epoll)
{
	char *list = strdup(w->side[is_far]), *rest = list;
	const char *spec;
	int rc = list ? 0 : -ENOMEM;

	while (rc == 0 && (spec = strsep(&rest, ",")) != NULL) {
		struct epoll_event ev = {.events = EPOLLIN};

		rc = w->n_ifs == WIRE_MAX_IFS ? -E2BIG : iface_open(&w->ifs[w->n_ifs], spec, is_far);
		if (rc != 0)
			fprintf(stderr, "weir-wire: %s: %s\n", spec, strerror(-rc));
		else if (epoll_ctl(epoll, EPOLL_CTL_ADD, w->ifs[w->n_ifs++].fd, &ev) < 0)
			rc = -errno;
	}
	free(list);
	return rc;
}

static int wire_init(struct wire *w, int epoll)
{
	uint64_t rtt_ns = w->cfg[UP].delay_ns + w->cfg[DOWN].delay_ns;
	FILE *trace = w->trace ? fopen(w->trace, "w") : NULL;
	int rc = w->trace && !trace ? -errno : 0;

	w->cfg[UP].seed ^= 1ull << 63; /* the two ways draw apart */
	if (rc == 0)
		rc = frame_pool_init(&w->pool, w->n_frames);
	for (unsigned l = 0; l < N_LANES && rc == 0; l++)
		rc = lane_init(&w->lanes[l], &w->cfg[l], &w->pool);
	if (rc == 0)
		rc = flow_table_init(&w->flows, rtt_ns + 150000000, trace);
	for (unsigned side = 0; side < 2 && rc == 0; side++)
		rc = open_side(w, side == 1, epoll);
	if (rc != 0)
		fprintf(stderr, "weir-wire: %s\n", strerror(-rc));
	return rc;
}

static void wire_run(struct wire *w, int epoll)
{
	w->start_ns = clock_ns();
	puts("ready");
	fflush(stdout);
	while (!is_stopping) {
		unsigned work = wire_receive(w);

		for (unsigned l = 0; l < N_LANES; l++)
			work += wire_send(w, &w->lanes[l]);
		if (wants_stats) {
			wants_stats = 0;
			print_stats(w);
		}
		wire_wait(w, epoll, work > 0);
	}
	print_stats(w);
}

int main(int argc, char **argv)
{
	static struct wire w;
	struct sigaction action = {.sa_handler = on_signal};
	int rc = parse_options(&w, argc, argv);
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (rc != 0)
		return rc;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	prctl(PR_SET_TIMERSLACK, 1);
	if (wire_init(&w, epoll) != 0)
		return 1;
	wire_run(&w, epoll);
	for (unsigned i = 0; i < w.n_ifs; i++)
		iface_close(&w.ifs[i]);
	for (unsigned l = 0; l < N_LANES; l++)
		lane_fini(&w.lanes[l]);
	if (w.flows.trace)
		fclose(w.flows.trace);
	flow_table_fini(&w.flows);
	frame_pool_fini(&w.pool);
	return 0;
}
