/* SPDX-License-Identifier: Apache-2.0 */
/* weir-ctrl: one epoll thread over the manifests, the dataplane, the admin server and signals. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "access_log.h"
#include "admin/admin.h"
#include "base/log.h"
#include "log_sink.h"
#include "source_dir.h"
#include "sync.h"
#include "token.h"

#define RETRY_MS 1000 /* after a failure that may pass */
#define SAMPLE_MAX 1000000u

struct options {
	const char *manifests, *socket, *admin, *user, *capture_token;
	const char *access_log; /* NULL: off */
	uint32_t access_log_sample;
	bool remote_capture;
	enum log_level level;
};

static const char usage[] =
    "usage: weir-ctrl --manifests DIR [options]\n"
    "  --manifests DIR      directory of Kubernetes manifests (*.yaml, *.yml) to follow\n"
    "  --socket PATH        control socket of weir-dataplane (default /run/weir/dataplane.sock)\n"
    "  --admin ADDR:PORT    metrics, health and the API of weirctl (default 127.0.0.1:9901)\n"
    "  --capture-token FILE write the secret here that a capture needs, for who starts weir-ctrl\n"
    "                       only (default capture.token in the folder of --socket)\n"
    "  --remote-capture     let other machines that send the token capture packets too\n"
    "  --access-log FILE|-|off\n"
    "                       write a line of JSON for each request to the file, or to standard output\n"
    "                       (default off); SIGUSR1: the file was renamed, open it again\n"
    "  --access-log-sample N\n"
    "                       for one of N requests only (default 1: for each)\n"
    "  --user NAME          run as this user\n"
    "  --log-level LEVEL    error, warn, info or debug (default info)\n"
    "  --version, --help\n";

static bool level_of(const char *name, enum log_level *out)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* Ends the program for --help and --version (0) and for wrong options (2). */
static void options_read(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
	    {"manifests", required_argument, NULL, 'm'},
	    {"socket", required_argument, NULL, 's'},
	    {"admin", required_argument, NULL, 'a'},
	    {"capture-token", required_argument, NULL, 't'},
	    {"remote-capture", no_argument, NULL, 'r'},
	    {"access-log", required_argument, NULL, 'o'},
	    {"access-log-sample", required_argument, NULL, 'n'},
	    {"user", required_argument, NULL, 'u'},
	    {"log-level", required_argument, NULL, 'l'},
	    {"version", no_argument, NULL, 'V'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	bool is_wrong = false;
	unsigned long sample;
	char *end;
	int c;

	*o = (struct options){
	    .socket = "/run/weir/dataplane.sock", .admin = "127.0.0.1:9901", .access_log_sample = 1, .level = LOG_LEVEL_INFO};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'm':
			o->manifests = optarg;
			break;
		case 's':
			o->socket = optarg;
			break;
		case 'a':
			o->admin = optarg;
			break;
		case 't':
			o->capture_token = optarg;
			break;
		case 'r':
			o->remote_capture = true;
			break;
		case 'o':
			o->access_log = strcmp(optarg, "off") == 0 ? NULL : optarg;
			break;
		case 'n':
			sample = strtoul(optarg, &end, 10);
			is_wrong = is_wrong || *end || sample == 0 || sample > SAMPLE_MAX;
			o->access_log_sample = (uint32_t)sample;
			break;
		case 'u':
			o->user = optarg;
			break;
		case 'l':
			is_wrong = is_wrong || !level_of(optarg, &o->level);
			break;
		case 'V':
			puts("weir-ctrl " WEIR_VERSION);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			is_wrong = true;
		}
	}
	if (is_wrong || !o->manifests || optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
}

static int become(const char *user)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw) {
		log_error("user %s is not known", user);
		return -ENOENT;
	}
	if (geteuid() == pw->pw_uid)
		return 0;
	if (setgroups(0, NULL) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0) {
		log_error("cannot become user %s: %s", user, strerror(errno));
		return -errno;
	}
	return 0;
}

static int watch(int epoll_fd, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

/* From the very start: who rotates files knows not how far we are, and it must not end us. */
static void signals_prepare(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* True: the program is to end. */
static bool signals_take(int fd, struct access_log *log)
{
	struct signalfd_siginfo info;
	bool stops = false;

	while (read(fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGUSR1)
			stops = true;
		else if (log)
			access_log_reopen(log);
	}
	return stops;
}

static int run(struct source_dir *dir, struct publish *p, struct admin *a, struct sync *s, struct access_log *log)
{
	const int fds[] = {source_dir_fd(dir), publish_fd(p), admin_fd(a), signals_open(), log ? access_log_fd(log) : -1};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), timeout_ms = 0, n, err = 0;
	struct epoll_event ev[5];
	uint64_t tried_ms = 0; /* when what had failed was tried again last */
	bool stops = false;

	for (unsigned i = 0; i < (log ? 5 : 4); i++)
		err = err || epoll_fd < 0 || fds[i] < 0 || watch(epoll_fd, fds[i]) != 0;
	if (err)
		log_error("cannot wait for events: %s", strerror(errno));
	while (!err && !stops) {
		n = epoll_wait(epoll_fd, ev, 5, timeout_ms);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == fds[0])
				sync_run(s, source_dir_poll(dir));
			else if (ev[i].data.fd == fds[1])
				publish_poll(p);
			else if (ev[i].data.fd == fds[3])
				stops = signals_take(fds[3], log);
			else if (log && ev[i].data.fd == fds[4])
				access_log_poll(log);
		}
		timeout_ms = admin_poll(a);
		if (sync_wants_retry(s)) {
			if (now_ms() - tried_ms >= RETRY_MS) {
				tried_ms = now_ms();
				sync_run(s, UINT64_MAX);
			}
			if (timeout_ms < 0 || timeout_ms > RETRY_MS)
				timeout_ms = RETRY_MS;
		}
	}
	if (fds[3] >= 0)
		close(fds[3]);
	if (epoll_fd >= 0)
		close(epoll_fd);
	return err;
}

int main(int argc, char **argv)
{
	struct source_dir *dir = NULL;
	struct publish *p = NULL;
	struct admin *a = NULL;
	struct access_log *log = NULL;
	struct store *store;
	struct options o;
	struct token token;
	struct sync s;
	int err = 1, out = -1;

	signals_prepare();
	options_read(argc, argv, &o);
	log_init("weir-ctrl", o.level);
	/* First, and as who started us: the file is for him. */
	if (token_create(&token, o.capture_token, o.socket) != 0)
		log_warn("captures are refused: cannot write the capture token to %s: %s", token.path ? token.path : "its file",
			 strerror(-token.err));
	if (o.access_log && strcmp(o.access_log, "-") == 0) /* this, too: the pipe is his */
		out = log_sink_stdout();
	if (o.user && become(o.user) != 0) {
		token_destroy(&token);
		return 1;
	}
	store = store_create();
	p = publish_create(o.socket);
	if (!store || !p) {
		log_error("cannot start: %s", strerror(errno));
		token_destroy(&token);
		return 1;
	}
	sync_init(&s, store, p);
	dir = source_dir_create(o.manifests, store);
	if (o.access_log)
		log = access_log_create(p, strcmp(o.access_log, "-") == 0 ? NULL : o.access_log, out, o.access_log_sample);
	if (dir && (log || !o.access_log))
		a = admin_create(o.admin, &token, o.remote_capture, &s, log);
	if (a) {
		sync_run(&s, UINT64_MAX);
		err = run(dir, p, a, &s, log);
	}
	admin_destroy(a);
	access_log_destroy(log);
	if (dir)
		source_dir_destroy(dir);
	sync_fini(&s);
	publish_destroy(p);
	store_destroy(store);
	token_destroy(&token);
	return err;
}
