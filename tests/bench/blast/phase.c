/* SPDX-License-Identifier: Apache-2.0 */
/* Phases: read, begun, led to their end. Their reports are in report.c. */
#include "phase.h"

#include "chaos.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FINISH_S 10	 /* what is under way has so long to end */
#define FLOOD_BURST 64u	 /* SYNs in one iteration, where the port takes them */

enum arg_type { ARG_SECONDS, ARG_COUNT, ARG_RATE, ARG_FLOOD, ARG_SIZES };

struct arg {
	const char *name;
	enum arg_type type;
	size_t offset;
	unsigned kinds; /* bits of enum phase_kind */
};

#define IN(kind) (1u << PHASE_##kind)
#define ARG(text, t, field, k) {.name = text, .type = ARG_##t, .offset = offsetof(struct phase, field), .kinds = k}

static const struct arg args[] = {
	ARG("seconds", SECONDS, seconds, ~0u),
	ARG("n", COUNT, n, IN(CONNECT) | IN(HOLD) | IN(CLOSE)),
	ARG("tell", COUNT, tell, IN(HOLD)),
	ARG("opening", COUNT, opening, IN(CONNECT)),
	ARG("rate", RATE, rate, IN(CONNECT) | IN(LOAD)),
	ARG("warmup", SECONDS, warmup, IN(LOAD)),
	ARG("active", COUNT, active, IN(LOAD)),
	ARG("size", SIZES, sizes, IN(LOAD)),
	ARG("flood", FLOOD, flood_rate, IN(LOAD)),
	ARG("new", RATE, new_rate, IN(LOAD)),
	ARG("shots", COUNT, shots, IN(LOAD)),
	ARG("burst", COUNT, burst, IN(LOAD)),
	ARG("owner", COUNT, owner, IN(CONNECT) | IN(LOAD)),
	ARG("scatter", COUNT, scatter, IN(LOAD)),
	ARG("hosts", COUNT, hosts, IN(LOAD)),
	ARG("paths", COUNT, paths, IN(LOAD)),
	ARG("requests", COUNT, requests, IN(LOAD)),
	ARG("seed", COUNT, seed, IN(LOAD)),
	ARG("faults", RATE, faults, IN(LOAD)),
	ARG("mirror", COUNT, mirror, IN(LOAD)),
	ARG("stall", SECONDS, stall, IN(LOAD)),
	ARG("posts", RATE, posts, IN(LOAD)),
	ARG("timeout", SECONDS, timeout, IN(LOAD)),
};

static const char *const kind_names[] = {"connect", "hold", "load", "close"};

static bool read_number(const char *text, double max, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return end != text && !*end && *out >= 0 && *out <= max;
}

static bool read_sizes(struct phase *p, const char *text)
{
	char *end;

	p->n_sizes = 0;
	p->has_size = true;
	do {
		unsigned long v = strtoul(text, &end, 10);

		if (end == text || v > BODY_MAX || p->n_sizes == MAX_SIZES)
			return false;
		p->sizes[p->n_sizes++] = (uint32_t)v;
		text = end + 1;
	} while (*end == ',');
	return !*end;
}

static bool read_arg(struct phase *p, const struct arg *a, const char *text)
{
	char *field = (char *)p + a->offset;
	double v;

	switch (a->type) {
	case ARG_SECONDS:
	case ARG_RATE:
		p->has_faults |= a->offset == offsetof(struct phase, faults);
		return read_number(text, 1e9, (double *)(void *)field);
	case ARG_COUNT:
		if (!read_number(text, UINT32_MAX, &v))
			return false;
		*(uint32_t *)(void *)field = (uint32_t)v;
		if (a->offset == offsetof(struct phase, n))
			p->has_n = true;
		if (a->offset == offsetof(struct phase, active))
			p->is_idle_load = v == 0;
		return true;
	case ARG_FLOOD:
		p->has_flood = true;
		p->has_flood_rate = strcmp(text, "max") != 0;
		return !p->has_flood_rate || (read_number(text, 1e9, &p->flood_rate) && p->flood_rate > 0);
	case ARG_SIZES:
		return read_sizes(p, text);
	}
	return false;
}

static const struct arg *find_arg(const struct phase *p, const char *name)
{
	for (size_t i = 0; i < sizeof(args) / sizeof(*args); i++)
		if (strcmp(args[i].name, name) == 0 && (args[i].kinds & 1u << p->kind))
			return &args[i];
	return NULL;
}

static int parse(struct phase *p, char *line, char *why, size_t n_why)
{
	char *save;
	char *word = strtok_r(line, " \t\n", &save);
	unsigned k = 0;

	while (word && k < 4 && strcmp(word, kind_names[k]) != 0)
		k++;
	if (!word || k == 4) {
		snprintf(why, n_why, "%s: expected connect, hold, load or close", word ? word : "an empty line");
		return -EINVAL;
	}
	*p = (struct phase){.kind = (enum phase_kind)k, .seconds = k == PHASE_CONNECT || k == PHASE_CLOSE ? 120 : 1,
			    .warmup = 0.5, .opening = 256, .timeout = 5, .stall = 7, .owner = OWNER_ANY, .n_sizes = 1};
	while ((word = strtok_r(NULL, " \t\n", &save)) != NULL) {
		char *value = strchr(word, '=');
		const struct arg *a;

		if (value)
			*value++ = 0;
		a = find_arg(p, word);
		if (!a || !value || !read_arg(p, a, value)) {
			snprintf(why, n_why, "%s: %s=%s cannot be", kind_names[k], word, value ? value : "");
			return -EINVAL;
		}
	}
	return 0;
}

static uint64_t after(const struct blast *b, double seconds)
{
	return b->tsc + (uint64_t)(seconds * (double)b->tsc_hz);
}

static double interval(const struct blast *b, double rate)
{
	return rate > 0 ? (double)b->tsc_hz / rate : 0;
}

static void begin_load(struct blast *b, struct phase *p)
{
	struct load *l = b->load;

	load_clear_results(b);
	memcpy(l->sizes, p->sizes, sizeof(l->sizes));
	l->n_sizes = p->n_sizes;
	l->measure_from = after(b, p->warmup);
	l->measure_to = p->until = after(b, p->warmup + p->seconds);
	l->shot_timeout_ms = (uint32_t)(p->timeout * 1000);
	l->shots = (struct schedule){.start = b->tsc, .burst = p->burst, .interval = interval(b, p->new_rate)};
	l->shots_max = p->new_rate > 0 ? 0 : p->shots;
	l->n_left = p->requests ? p->requests : UINT64_MAX;
	p->flood = (struct schedule){.start = b->tsc, .interval = interval(b, p->flood_rate)};
	if (p->is_idle_load)
		return;
	load_choose(b, p->active);
	p->active = l->n_active;
	load_start(b, p->rate, p->burst);
}

static bool begin_faults(struct blast *b, const struct phase *p)
{
	const struct plan_rates r = {.faults = p->faults, .posts = p->posts, .seed = p->seed, .size = p->has_size ? p->sizes[0] : UINT32_MAX};

	return !b->is_loop && p->faults <= 1 && p->posts <= 1 && chaos_begin(b, &r, p->stall, p->mirror != 0);
}

static void read_cpu_time(struct blast *b)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	b->counts.cpu_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int phase_begin(struct blast *b, struct phase *p, const char *line, char *why, size_t n_why)
{
	char text[512];
	int rc;

	snprintf(text, sizeof(text), "%s", line);
	rc = parse(p, text, why, n_why);
	if (rc)
		return rc;
	if (p->owner != OWNER_ANY && p->owner >= b->o.n_queues) {
		snprintf(why, n_why, "owner=%u: there are %u queues", p->owner, b->o.n_queues);
		return -EINVAL;
	}
	if (content_spread(&b->content, p->hosts, p->paths) != 0) {
		snprintf(why, n_why, "hosts=%u paths=%u cannot be", p->hosts, p->paths);
		return -EINVAL;
	}
	if (p->has_faults && !begin_faults(b, p)) {
		snprintf(why, n_why, "faults: there must be a proxy, shares of at most 1, and memory");
		return -EINVAL;
	}
	b->load->owner = p->owner;
	b->scatter = p->scatter != 0;
	read_cpu_time(b);
	p->begin = b->tsc;
	p->until = after(b, p->seconds);
	p->before = b->counts;
	p->pool_before = b->load->n_pool;
	if (p->kind == PHASE_LOAD)
		begin_load(b, p);
	if (p->kind == PHASE_CONNECT) {
		b->load->pool_target = p->n;
		b->load->opening_max = p->opening;
		b->load->opening = (struct schedule){.start = b->tsc, .interval = interval(b, p->rate)};
	}
	return 0;
}

static bool is_port_free(const struct port *p)
{
	for (unsigned q = 0; q < p->n_queues; q++)
		if (p->tx[q].n)
			return false;
	return true;
}

/* Floods only where nothing else waits for the port. */
static void flood(struct blast *b, struct phase *p)
{
	unsigned n = 0;

	if (!is_port_free(b->client.port))
		return;
	if (!p->has_flood_rate) {
		flood_send(b, FLOOD_BURST);
		return;
	}
	while (n < FLOOD_BURST && schedule_is_due(&p->flood, b->tsc)) {
		p->flood.k++;
		n++;
	}
	flood_send(b, n);
}

static bool step_load(struct blast *b, struct phase *p)
{
	struct load *l = b->load;

	switch (p->stage) {
	case STAGE_RUN:
		if (p->has_flood)
			flood(b, p);
		if (b->tsc < p->until && !(p->requests && !l->is_on && !l->n_outstanding))
			break;
		load_stop(b);
		p->until = after(b, FINISH_S + (p->has_faults ? p->stall : 0)); /* some wait for an answer that never comes */
		p->stage = STAGE_FINISH;
		break;
	case STAGE_FINISH:
		if ((l->n_outstanding || l->n_shots) && b->tsc < p->until)
			break;
		load_finish(b);
		p->stage = STAGE_DONE;
		break;
	case STAGE_DONE:
		break;
	}
	return p->stage == STAGE_DONE;
}

static bool step(struct blast *b, struct phase *p)
{
	struct load *l = b->load;
	bool is_over = b->tsc >= p->until;

	switch (p->kind) {
	case PHASE_CONNECT:
		if (l->n_pool < p->n && !is_over)
			return false;
		l->pool_target = 0;
		return l->n_opening == 0 || is_over;
	case PHASE_HOLD:
		return (p->has_n && l->n_pool <= p->n) || is_over;
	case PHASE_LOAD:
		return step_load(b, p);
	case PHASE_CLOSE:
		return (!load_close_some(b, p->n, 64, &p->at) && b->client.n_open <= l->n_pool) || is_over;
	}
	return true;
}

bool phase_step(struct blast *b, struct phase *p)
{
	load_step(b);
	if (!step(b, p))
		return false;
	read_cpu_time(b);
	return true;
}
