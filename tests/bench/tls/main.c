/* SPDX-License-Identifier: Apache-2.0 */
/* Options, the loop, and phases. See tlsload.h. */
#include "tlsload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"weir-tlsload --target ADDRESS --host NAME [--origin ADDRESS:PORT] [--tap NAME --memif VDEV] [--window BYTES] [--ciphers LIST]\n"
	"\n"
	"Reads phases from standard input, a line each, and writes a line of JSON for each:\n"
	"  seconds=S [warmup=S] [connections=N] [requests=N] [keep=1] [resume=1] [version=12|13] [size=BYTES] [port=PORT]\n"
	"  [rate=CONNECTIONS_PER_SECOND] [plain=REQUESTS_PER_SECOND] [plain_port=PORT]\n";

double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int watch(struct load *l, struct watched *w, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, w->fd, &e) == 0)
		return 0;
	perror("weir-tlsload: epoll_ctl");
	return -1;
}

void rewatch(struct load *l, struct watched *w, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	epoll_ctl(l->epoll, EPOLL_CTL_MOD, w->fd, &e);
}

int connect_to(struct load *l, uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = l->target};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (l->window)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &l->window, sizeof(l->window));
	if (fd >= 0 && (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 || errno == EINPROGRESS))
		return fd;
	note_error(l, strerror(errno));
	close(fd);
	return -1;
}

void note_error(struct load *l, const char *what)
{
	if (l->counts.errors++ == 0)
		snprintf(l->error, sizeof(l->error), "%s", what);
}

static int take_head(struct response *r)
{
	const char *length = strcasestr(r->head, "\r\nContent-Length: ");

	if (strncmp(r->head, "HTTP/1.1 200 ", 13) != 0 || !length)
		return -1;
	r->left = strtoull(length + 18, NULL, 10);
	r->has_head = true;
	return 0;
}

int response_take(struct response *r, const char *data, size_t n, uint64_t *n_body)
{
	while (!r->has_head && n) {
		if (r->n_head == sizeof(r->head) - 1)
			return -1;
		r->head[r->n_head++] = *data++;
		n--;
		if (r->n_head >= 4 && memcmp(r->head + r->n_head - 4, "\r\n\r\n", 4) == 0 && take_head(r))
			return -1;
	}
	if (n > r->left)
		return -1;
	r->left -= n;
	*n_body += n;
	return r->has_head && r->left == 0;
}

/* Until something is due by the clock, 10 ms at most; with a bridge nothing waits. */
static struct timespec patience(const struct load *l, const struct bridge *b)
{
	double s = b ? 0 : 0.01;
	double now = now_s();

	if (l->is_running && l->work.rate > 0 && l->next_at - now < s)
		s = l->next_at - now;
	if (l->is_running && l->work.plain_rate > 0 && l->plain_next - now < s)
		s = l->plain_next - now;
	return (struct timespec){.tv_nsec = s > 0 ? (long)(s * 1e9) : 0};
}

static void iterate(struct load *l, struct bridge *b)
{
	struct epoll_event e[256];
	struct timespec wait;
	int n;

	client_step(l);
	plain_step(l);
	wait = patience(l, b);
	n = epoll_pwait2(l->epoll, e, 256, &wait, NULL);
	for (int i = 0; i < n; i++) {
		struct watched *w = e[i].data.ptr;

		w->ready(w, e[i].events);
	}
	/* Frames between any two rounds of work, which may be long. */
	for (unsigned i = 0; b && i < 8 && bridge_poll(b); i++)
		;
}

static void run_until(struct load *l, struct bridge *b, double until)
{
	while (now_s() < until)
		iterate(l, b);
}

static bool parse_work(const char *line, struct work *w)
{
	char key[32];
	double v;
	int n;

	*w = (struct work){.version = TLS1_3_VERSION, .port = 443, .plain_port = 80, .size = 128};
	for (; sscanf(line, " %31[a-z_]=%lf%n", key, &v, &n) == 2; line += n) {
		if (strcmp(key, "seconds") == 0)
			w->seconds = v;
		else if (strcmp(key, "warmup") == 0)
			w->warmup = v;
		else if (strcmp(key, "connections") == 0 && v <= MAX_CLIENTS)
			w->connections = (unsigned)v;
		else if (strcmp(key, "requests") == 0)
			w->requests = (unsigned)v;
		else if (strcmp(key, "keep") == 0)
			w->is_kept = v != 0;
		else if (strcmp(key, "resume") == 0)
			w->is_resumed = v != 0;
		else if (strcmp(key, "version") == 0)
			w->version = v == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
		else if (strcmp(key, "size") == 0)
			w->size = (uint32_t)v;
		else if (strcmp(key, "port") == 0)
			w->port = (uint16_t)v;
		else if (strcmp(key, "rate") == 0)
			w->rate = v;
		else if (strcmp(key, "plain") == 0)
			w->plain_rate = v;
		else if (strcmp(key, "plain_port") == 0)
			w->plain_port = (uint16_t)v;
		else
			return false;
	}
	return line[strspn(line, " \n")] == '\0' && w->seconds > 0;
}

static void report(const struct load *l, double seconds, double cpu)
{
	const struct counts *c = &l->counts;
	char error[sizeof(l->error)];

	snprintf(error, sizeof(error), "%s", l->error);
	for (char *p = error; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
			*p = '?';
	printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"handshakes\": %llu, \"resumed\": %llu, \"responses\": %llu, \"body_bytes\": %llu, "
	       "\"reads\": %llu, \"errors\": %llu, \"error\": \"%s\", \"plain\": %llu, \"plain_late\": %llu, \"plain_us\": {\"50\": %.1f, \"90\": %.1f, \"99\": %.1f, \"99.9\": "
	       "%.1f, \"max\": %.1f}}\n",
	       seconds, cpu, (unsigned long long)c->handshakes, (unsigned long long)c->resumed, (unsigned long long)c->responses,
	       (unsigned long long)c->body_bytes, (unsigned long long)c->reads, (unsigned long long)c->errors, error, (unsigned long long)l->plain.n,
	       (unsigned long long)l->plain_late, (double)hist_at(&l->plain, 0.5) / 1e3, (double)hist_at(&l->plain, 0.9) / 1e3,
	       (double)hist_at(&l->plain, 0.99) / 1e3, (double)hist_at(&l->plain, 0.999) / 1e3, (double)l->plain.max / 1e3);
	fflush(stdout);
}

static void run_phase(struct load *l, struct bridge *b)
{
	double begin, cpu;

	l->is_running = true;
	l->error[0] = '\0';
	l->counts = (struct counts){.errors = 0};
	client_begin(l);
	plain_begin(l);
	run_until(l, b, now_s() + l->work.warmup);
	printf("{\"begun\": true}\n");
	fflush(stdout);
	l->counts = (struct counts){.errors = l->counts.errors};
	hist_clear(&l->plain);
	l->plain_late = 0;
	begin = now_s();
	cpu = cpu_s();
	run_until(l, b, begin + l->work.seconds);
	report(l, now_s() - begin, cpu_s() - cpu);
	l->is_running = false;
	run_until(l, b, now_s() + 0.05);
	client_end(l);
	plain_end(l);
	run_until(l, b, now_s() + 0.05);
}

struct input {
	struct watched w;
	char line[512];
	size_t n;
	bool is_line, is_end;
};

static void input_ready(struct watched *w, uint32_t events)
{
	struct input *in = (struct input *)w;

	while (!in->is_line && in->n < sizeof(in->line) - 1) {
		ssize_t n = read(w->fd, in->line + in->n, 1);

		if (n <= 0) {
			in->is_end = n == 0 || errno != EAGAIN;
			return;
		}
		in->is_line = in->line[in->n] == '\n';
		in->n++;
	}
	in->line[in->n] = '\0';
}

/* Phases as they come; between two the origin answers, and frames are carried. */
static int serve(struct load *l, struct bridge *b)
{
	struct input in = {.w = {input_ready, STDIN_FILENO}};

	for (;;) {
		if (watch(l, &in.w, EPOLLIN))
			return 1;
		while (!in.is_line && !in.is_end)
			iterate(l, b);
		epoll_ctl(l->epoll, EPOLL_CTL_DEL, in.w.fd, NULL);
		if (in.is_end)
			return 0;
		if (!parse_work(in.line, &l->work)) {
			fprintf(stderr, "weir-tlsload: not a phase: %s", in.line);
			return 2;
		}
		run_phase(l, b);
		l->work = (struct work){.seconds = 0};
		in.n = 0;
		in.is_line = false;
	}
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"target", 1, NULL, 't'}, {"host", 1, NULL, 'h'},	{"origin", 1, NULL, 'o'},  {"tap", 1, NULL, 'a'},
					      {"memif", 1, NULL, 'm'},	{"window", 1, NULL, 'w'}, {"ciphers", 1, NULL, 'c'}, {NULL, 0, NULL, 0}};
	static struct load l = {.ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"};
	const char *origin = NULL, *tap = NULL, *memif = NULL;
	struct bridge *b = NULL;
	int c, rc;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 't' && inet_pton(AF_INET, optarg, &l.target) == 1)
			continue;
		else if (c == 'h')
			l.host = optarg;
		else if (c == 'o')
			origin = optarg;
		else if (c == 'a')
			tap = optarg;
		else if (c == 'm')
			memif = optarg;
		else if (c == 'w')
			l.window = atoi(optarg);
		else if (c == 'c')
			l.ciphers = optarg;
		else
			goto wrong;
	}
	if (!l.host || !l.target.s_addr || optind != argc || !tap != !memif)
		goto wrong;
	signal(SIGPIPE, SIG_IGN);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client_init(&l) || (origin && origin_init(&l, origin)))
		return 1;
	if (memif && !(b = bridge_create(tap, memif)))
		return 1;
	printf("{\"ready\": true}\n");
	fflush(stdout);
	rc = serve(&l, b);
	bridge_destroy(b);
	return rc;
wrong:
	fputs(usage, stderr);
	return 2;
}
