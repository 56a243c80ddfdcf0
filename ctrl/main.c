/* SPDX-License-Identifier: Apache-2.0 */
/* weir-ctrl: one epoll thread over manifests or Kubernetes, the dataplane, the admin server and signals. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "access_log.h"
#include "admin/admin.h"
#include "base/log.h"
#include "kube/names.h"
#include "log_sink.h"
#include "source_dir.h"
#include "source_kube.h"
#include "status/writer.h"
#include "sync.h"
#include "token.h"

#define RETRY_MS 1000 /* after a failure that may pass */
#define SAMPLE_MAX 1000000u
#define MAX_NAMESPACES 64u
#define STOPPING_MS 2000u /* at most, for the last writes and the Lease */

struct options {
	const char *manifests, *kubeconfig, *kube_context; /* NULL: not given */
	bool in_cluster;
	const char *namespaces[MAX_NAMESPACES];
	size_t n_namespaces;  /* 0: all */
	const char *selector; /* NULL: all */
	const char *node;     /* NULL: not known */
	struct address_pool pool;
	enum status_write write_status;
	char lease_ns[64], lease_name[254];
	const char *socket, *admin, *user, *capture_token;
	const char *access_log; /* NULL: off */
	uint32_t access_log_sample;
	bool remote_capture;
	enum log_level level;
};

static const char usage[] =
    "usage: weir-ctrl --manifests DIR | --kubeconfig FILE | --in-cluster [options]\n"
    "  --manifests DIR      directory of Kubernetes manifests (*.yaml, *.yml) to follow\n"
    "  --kubeconfig FILE    follow the API server that a kubeconfig names\n"
    "  --kube-context NAME  of this context of it (default its current-context)\n"
    "  --in-cluster         follow the API server of the cluster in whose Pod we run\n"
    "  --namespace NAME     only what is in this namespace; may be given again (default all)\n"
    "  --selector LABELS    only Ingresses, Gateways, ListenerSets and routes with these labels (such as a=b,c!=d)\n"
    "  --node NAME          the Node that this runs on, whose zone Services may prefer (default: of NODE_NAME)\n"
    "  --address-pool RANGE addresses of which each Gateway gets its own, as 192.0.2.0/28, 192.0.2.1-192.0.2.9 or\n"
    "                       one address; they must be the dataplane's; may be given again (default: Gateways share\n"
    "                       all addresses of the dataplane)\n"
    "  --write-status lease|always|never\n"
    "                       write the status of objects back while we hold the Lease (default), always, or never\n"
    "  --lease NAMESPACE/NAME\n"
    "                       the Lease (default weir-system/weir-ctrl)\n"
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

static bool write_status_of(const char *name, enum status_write *out)
{
	if (strcmp(name, "lease") == 0)
		*out = STATUS_WRITE_BY_LEASE;
	else if (strcmp(name, "always") == 0)
		*out = STATUS_WRITE_ALWAYS;
	else if (strcmp(name, "never") == 0)
		*out = STATUS_WRITE_NEVER;
	else
		return false;
	return true;
}

/* "NAMESPACE/NAME" */
static bool lease_of(const char *text, struct options *o)
{
	const char *slash = strchr(text, '/');
	size_t n_ns = slash ? (size_t)(slash - text) : 0;

	if (n_ns == 0 || n_ns >= sizeof(o->lease_ns) || strlen(slash + 1) >= sizeof(o->lease_name))
		return false;
	memcpy(o->lease_ns, text, n_ns);
	o->lease_ns[n_ns] = 0;
	memcpy(o->lease_name, slash + 1, strlen(slash + 1) + 1);
	return names_is_label(o->lease_ns) && names_is_subdomain(o->lease_name);
}

/* Exactly one of them, and what belongs to another one not at all. */
static bool is_one_source(const struct options *o)
{
	return (o->manifests != NULL) + (o->kubeconfig != NULL) + o->in_cluster == 1 && (o->kubeconfig || !o->kube_context) &&
	       (!o->manifests || (o->n_namespaces == 0 && !o->selector));
}

/* Ends the program for --help and --version (0) and for wrong options (2). */
static void options_read(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
	    {"manifests", required_argument, NULL, 'm'},
	    {"kubeconfig", required_argument, NULL, 'k'},
	    {"kube-context", required_argument, NULL, 'c'},
	    {"in-cluster", no_argument, NULL, 'i'},
	    {"namespace", required_argument, NULL, 'N'},
	    {"selector", required_argument, NULL, 'S'},
	    {"node", required_argument, NULL, 'M'},
	    {"address-pool", required_argument, NULL, 'p'},
	    {"write-status", required_argument, NULL, 'w'},
	    {"lease", required_argument, NULL, 'L'},
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
	    .socket = "/run/weir/dataplane.sock", .admin = "127.0.0.1:9901", .access_log_sample = 1,
	    .node = getenv("NODE_NAME"), .lease_ns = "weir-system", .lease_name = "weir-ctrl", .level = LOG_LEVEL_INFO};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'm':
			o->manifests = optarg;
			break;
		case 'k':
			o->kubeconfig = optarg;
			break;
		case 'c':
			o->kube_context = optarg;
			break;
		case 'i':
			o->in_cluster = true;
			break;
		case 'N':
			is_wrong = is_wrong || o->n_namespaces == MAX_NAMESPACES || !names_is_label(optarg);
			if (!is_wrong)
				o->namespaces[o->n_namespaces++] = optarg;
			break;
		case 'S':
			o->selector = optarg;
			break;
		case 'M':
			o->node = optarg;
			break;
		case 'p':
			if (address_pool_add(&o->pool, optarg) != 0) {
				fprintf(stderr, "weir-ctrl: --address-pool %s: neither a prefix nor a range nor an address\n", optarg);
				exit(2);
			}
			break;
		case 'w':
			is_wrong = is_wrong || !write_status_of(optarg, &o->write_status);
			break;
		case 'L':
			is_wrong = is_wrong || !lease_of(optarg, o);
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
	if (o->node && !*o->node)
		o->node = NULL;
	is_wrong = is_wrong || (o->node && !names_is_subdomain(o->node));
	if (is_wrong || !is_one_source(o) || optind != argc) {
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

/* What runs. One of dir and kube is there. */
struct program {
	struct source_dir *dir;
	struct source_kube *kube;
	struct status_writer *writer; /* with kube */
	struct publish *publish;
	struct admin *admin;
	struct sync *sync;
	struct access_log *log; /* NULL: none */
	int signals_fd, epoll_fd;
	uint64_t changed;  /* of Kubernetes, while it is not all there */
	bool is_published; /* once */
	uint64_t tried_ms; /* when what had failed was tried again last */
};

static int earlier(int a_ms, int b_ms)
{
	return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static int writer_step(struct program *p)
{
	uint64_t now = now_ms();
	uint64_t next_ms = status_writer_poll(p->writer, now, (int64_t)time(NULL));

	return next_ms <= now ? 0 : next_ms - now < INT_MAX ? (int)(next_ms - now) : -1;
}

/* What is being written, and giving back the Lease, may take a moment; another Weir need not wait for its end then. */
static void writer_end(struct program *p)
{
	uint64_t began_ms = now_ms();

	while (!status_writer_stop(p->writer) && now_ms() - began_ms < STOPPING_MS) {
		struct pollfd fd = {.fd = source_kube_fd(p->kube), .events = POLLIN};
		int timeout_ms;

		p->changed |= source_kube_poll(p->kube, now_ms(), &timeout_ms);
		timeout_ms = earlier(timeout_ms, writer_step(p));
		poll(&fd, 1, earlier(timeout_ms, 50));
	}
}

/* Nothing is published before all is listed: a part of the routes would be worse than those that are served. */
static int kube_step(struct program *p)
{
	int timeout_ms;

	p->changed |= source_kube_poll(p->kube, now_ms(), &timeout_ms);
	if (!source_kube_is_synced(p->kube))
		return timeout_ms;
	sync_run(p->sync, p->is_published ? p->changed : UINT64_MAX);
	if (p->sync->has_news)
		status_writer_update(p->writer, p->sync->store, p->sync->model);
	p->sync->has_news = false;
	p->is_published = true;
	p->changed = 0;
	return earlier(timeout_ms, writer_step(p));
}

static int retry_step(struct program *p)
{
	if (!sync_wants_retry(p->sync))
		return -1;
	if (now_ms() - p->tried_ms >= RETRY_MS) {
		p->tried_ms = now_ms();
		sync_run(p->sync, UINT64_MAX);
	}
	return RETRY_MS;
}

/* True: the program is to end. */
static bool wait_step(struct program *p, int timeout_ms)
{
	struct epoll_event ev[5];
	int n = epoll_wait(p->epoll_fd, ev, 5, timeout_ms);
	bool stops = false;

	for (int i = 0; i < n; i++) {
		if (p->dir && ev[i].data.fd == source_dir_fd(p->dir))
			sync_run(p->sync, source_dir_poll(p->dir));
		else if (ev[i].data.fd == publish_fd(p->publish))
			publish_poll(p->publish);
		else if (ev[i].data.fd == p->signals_fd)
			stops = signals_take(p->signals_fd, p->log);
		else if (p->log && ev[i].data.fd == access_log_fd(p->log))
			access_log_poll(p->log);
	}
	return stops;
}

static int run(struct program *p)
{
	const int fds[] = {p->dir ? source_dir_fd(p->dir) : source_kube_fd(p->kube), publish_fd(p->publish),
			   admin_fd(p->admin), p->signals_fd = signals_open(), p->log ? access_log_fd(p->log) : -1};
	int timeout_ms = 0, err = 0;
	bool stops = false;

	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < (p->log ? 5 : 4); i++)
		err = err || p->epoll_fd < 0 || fds[i] < 0 || watch(p->epoll_fd, fds[i]) != 0;
	if (err)
		log_error("cannot wait for events: %s", strerror(errno));
	while (!err && !stops) {
		stops = wait_step(p, timeout_ms);
		timeout_ms = p->kube ? kube_step(p) : -1;
		timeout_ms = earlier(timeout_ms, retry_step(p));
		timeout_ms = earlier(timeout_ms, admin_poll(p->admin));
	}
	if (!err && p->kube)
		writer_end(p);
	if (p->signals_fd >= 0)
		close(p->signals_fd);
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	return err;
}

/* Begins to follow Kubernetes; NULL after logging. */
static struct source_kube *kube_open(const struct options *o, struct store *store)
{
	struct kube_config_error why = {""};
	struct kube_config config;
	int err = o->in_cluster ? kube_config_in_cluster(&config, KUBE_IN_CLUSTER_FOLDER, &why)
				: kube_config_read(&config, o->kubeconfig, o->kube_context, &why);

	if (err) {
		log_error("%s", why.text[0] ? why.text : strerror(-err));
		return NULL;
	}
	return source_kube_create(&config, o->namespaces, o->n_namespaces, o->selector, o->node, store);
}

static struct kube_call *writer_request(void *ctx, const struct kube_request *r)
{
	return kube_http_request(ctx, r);
}

static void writer_cancel(void *ctx, struct kube_call *call)
{
	kube_http_cancel(ctx, call);
}

/* Over the connection of kube; NULL after logging. o must outlive it. */
static struct status_writer *writer_open(const struct options *o, struct source_kube *kube, const struct sync *s)
{
	static char identity[128]; /* of the process */
	const struct reflector_http http = {
	    .ctx = source_kube_connection(kube), .request = writer_request, .cancel = writer_cancel};
	char host[64] = "weir";
	struct status_writer *w;
	uint64_t random = now_ms() * 1000003 + (uint64_t)getpid();

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		log_debug("no random bytes for the Lease");
	gethostname(host, sizeof(host) - 1);
	snprintf(identity, sizeof(identity), "%s_%016" PRIx64, host, random);
	w = status_writer_create(&(struct status_writer_options){.controller_name = s->options.controller_name,
								 .mode = o->write_status,
								 .lease_ns = o->lease_ns,
								 .lease_name = o->lease_name,
								 .identity = identity,
								 .seed = random},
				 &http);
	if (!w)
		log_error("cannot write status: out of memory");
	return w;
}

int main(int argc, char **argv)
{
	struct program p = {0};
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
	p.publish = publish_create(o.socket);
	if (!store || !p.publish) {
		log_error("cannot start: %s", strerror(errno));
		token_destroy(&token);
		return 1;
	}
	p.sync = &s;
	sync_init(&s, store, p.publish);
	if (o.pool.n)
		s.options.pool = &o.pool;
	s.options.node = o.node;
	if (o.manifests)
		p.dir = source_dir_create(o.manifests, store);
	else
		s.kube = p.kube = kube_open(&o, store);
	if (p.kube)
		s.writer = p.writer = writer_open(&o, p.kube, &s);
	if (o.access_log)
		p.log = access_log_create(p.publish, strcmp(o.access_log, "-") == 0 ? NULL : o.access_log, out,
					  o.access_log_sample);
	if ((p.dir || p.writer) && (p.log || !o.access_log))
		p.admin = admin_create(o.admin, &token, o.remote_capture, &s, p.log);
	if (p.admin) {
		if (p.dir)
			sync_run(&s, UINT64_MAX);
		err = run(&p);
	}
	admin_destroy(p.admin);
	access_log_destroy(p.log);
	source_dir_destroy(p.dir);
	status_writer_destroy(p.writer); /* its requests are of kube */
	source_kube_destroy(p.kube);
	sync_fini(&s);
	publish_destroy(p.publish);
	store_destroy(store);
	token_destroy(&token);
	address_pool_fini(&o.pool);
	return err;
}
