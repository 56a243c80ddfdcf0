/* SPDX-License-Identifier: Apache-2.0 */
/* weir-ctrl: one epoll thread over manifests or Kubernetes, the dataplane, the admin server and signals. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "access_log.h"
#include "admin/admin.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/notify.h"
#include "log_sink.h"
#include "options.h"
#include "pathing.h"
#include "resolve/external_names.h"
#include "sandbox.h"
#include "saver.h"
#include "source_dir.h"
#include "source_kube.h"
#include "stapling.h"
#include "status/writer.h"
#include "sync.h"
#include "system_ca.h"
#include "ticket_secret.h"
#include "token.h"
#include "user.h"

#define RETRY_MS 1000 /* after a failure that may pass */
#define MAX_FDS 7
#define STOPPING_MS 2000u /* at most, for the last writes and the Lease */

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
	const struct options *options;
	struct source_dir *dir;
	struct source_kube *kube;
	struct status_writer *writer; /* with kube */
	struct saver *saver;	      /* NULL: none */
	struct publish *publish;
	struct admin *admin;
	struct sync *sync;
	struct access_log *log; /* NULL: none */
	struct external_names *names; /* NULL: none is looked up */
	struct ticket_secret *tickets; /* NULL: dataplanes make their own keys */
	struct stapling *stapling;
	struct pathing *paths;
	int signals_fd, epoll_fd;
	uint64_t changed;  /* of Kubernetes, while it is not all there */
	bool has_plugin;   /* programs are started for credentials */
	bool is_prepared;  /* it is known to what Secrets and ConfigMaps the objects refer */
	bool is_published; /* once */
	uint64_t tried_ms; /* when what had failed was tried again last */
};

static int earlier(int a_ms, int b_ms)
{
	return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

/* For epoll, until a time. */
static int wait_ms(uint64_t until_ms, uint64_t now)
{
	return until_ms <= now ? 0 : until_ms - now < INT_MAX ? (int)(until_ms - now) : -1;
}

static int writer_step(struct program *p)
{
	uint64_t now = now_ms();

	return wait_ms(status_writer_poll(p->writer, now, (int64_t)time(NULL)), now);
}

static int saver_step(struct program *p)
{
	struct source_kube_status st;
	uint64_t now = now_ms();

	if (!p->saver)
		return -1;
	source_kube_status(p->kube, now, &st);
	return wait_ms(saver_update(p->saver, p->sync, st.n_healthy == st.n_reflectors, now), now);
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

/* What is referred to is followed. Returns the wait, which is none if there is anything new to be followed. */
static int want_references(struct program *p, int timeout_ms)
{
	const struct named_ref *refs;
	size_t n;

	if (!p->sync->has_references)
		return timeout_ms;
	p->sync->has_references = false;
	refs = translator_references(p->sync->translator, &n);
	p->changed |= source_kube_want(p->kube, refs, n, now_ms());
	return 0;
}

/* Nothing is published before all is listed: a part of the routes would be worse than those that are served. */
static int kube_step(struct program *p)
{
	int timeout_ms;

	p->changed |= source_kube_poll(p->kube, now_ms(), &timeout_ms);
	if (source_kube_is_listed(p->kube) && !p->is_prepared) {
		p->is_prepared = true;
		sync_prepare(p->sync);
		timeout_ms = want_references(p, timeout_ms);
	}
	if (!source_kube_is_synced(p->kube)) {
		if (p->saver)
			saver_serve(p->saver, p->sync);
		return timeout_ms;
	}
	pathing_run(p->paths, p->is_published ? p->changed : UINT64_MAX);
	sync_run(p->sync, p->is_published ? p->changed : UINT64_MAX);
	if (p->sync->has_news)
		status_writer_update(p->writer, p->sync->store, p->sync->model, p->sync->marks);
	p->sync->has_news = false;
	p->is_published = true;
	p->changed = 0;
	timeout_ms = want_references(p, timeout_ms);
	timeout_ms = earlier(timeout_ms, saver_step(p));
	return earlier(timeout_ms, writer_step(p));
}

/* Asks for names that are new, takes what is answered, and translates what follows from it. */
static int names_step(struct program *p)
{
	uint64_t now = now_ms(), next_ms;
	size_t n;

	if (!p->names)
		return -1;
	if (p->sync->has_other_names) {
		const char *const *names = translator_names(p->sync->translator, &n);

		external_names_want(p->names, names, n, now);
		p->sync->has_other_names = false;
	}
	next_ms = external_names_poll(p->names, now);
	known_names_changes(external_names_known(p->names), &n);
	if (n == 0 || !(p->dir || p->is_published))
		return wait_ms(next_ms, now);
	sync_run(p->sync, 0);
	return 0; /* others have to look at what that gave */
}

/* Those of a directory; it has no clock to be rotated by. */
static void tickets_take(struct program *p, uint64_t changed)
{
	const struct options *o = p->options;
	const struct kube_object *secret;

	if (!p->tickets || !p->dir || !(changed & 1ull << KUBE_SECRET))
		return;
	secret = store_get(p->sync->store, KUBE_SECRET, o->tickets_ns, o->tickets_name);
	ticket_secret_take(p->tickets, secret ? secret->root : NULL, now_ms());
}

/* Nobody translates this Secret: what is wrong with it is told here. */
static void tickets_note(const struct program *p)
{
	struct ticket_secret_status st;
	char text[TICKET_KEYS_FAULT_BYTES + 64];
	bool is_wrong;

	ticket_secret_status(p->tickets, &st);
	is_wrong = st.state == TICKET_SECRET_WRONG || (st.state == TICKET_SECRET_EMPTY && st.rotate_s == 0); /* else it will be filled */
	snprintf(text, sizeof(text), "no ticket keys can be taken of it: %s%s", st.why[0] ? st.why : "it has no data",
		 st.n_keys ? "; the last keys stay for a while" : "");
	status_writer_note(p->writer, &(struct events_note){.kind = KUBE_SECRET, .ns = st.ns, .name = st.name, .uid = st.uid,
							    .version = st.version, .reason = "InvalidTicketKeys", .field = "data",
							    .text = is_wrong ? text : ""});
}

static int tickets_step(struct program *p)
{
	uint64_t now = now_ms();
	bool may_write = p->writer && status_writer_is_writing(p->writer, now);
	int timeout_ms;

	if (!p->tickets)
		return -1;
	timeout_ms = wait_ms(ticket_secret_poll(p->tickets, may_write, now, (int64_t)time(NULL)), now);
	if (p->writer)
		tickets_note(p);
	return timeout_ms;
}

static int staples_step(struct program *p)
{
	return p->dir || p->is_published ? stapling_step(p->stapling, p->sync, now_ms(), (int64_t)time(NULL)) : -1;
}

static int age_step(struct program *p)
{
	return p->dir || p->is_published ? sync_age(p->sync) : SYNC_AGE_S * 1000;
}

static int retry_step(struct program *p)
{
	if (p->dir && sync_has_other_room(p->sync)) /* else kube_step() sees to it */
		sync_run(p->sync, 0);
	if (!sync_wants_retry(p->sync))
		return -1;
	if (now_ms() - p->tried_ms >= RETRY_MS) {
		p->tried_ms = now_ms();
		sync_run(p->sync, UINT64_MAX);
	}
	return RETRY_MS;
}

static void dir_step(struct program *p)
{
	uint64_t changed = source_dir_poll(p->dir);

	pathing_run(p->paths, changed);
	sync_run(p->sync, changed);
	tickets_take(p, changed);
}

/* True: the program is to end. */
static bool wait_step(struct program *p, int timeout_ms)
{
	struct epoll_event ev[MAX_FDS];
	int n = epoll_wait(p->epoll_fd, ev, MAX_FDS, timeout_ms);
	bool stops = false;

	for (int i = 0; i < n; i++) {
		if (p->dir && ev[i].data.fd == source_dir_fd(p->dir))
			dir_step(p);
		else if (ev[i].data.fd == publish_fd(p->publish)) {
			publish_poll(p->publish);
			sync_take_refusals(p->sync);
		}
		else if (ev[i].data.fd == p->signals_fd)
			stops = signals_take(p->signals_fd, p->log);
		else if (p->log && ev[i].data.fd == access_log_fd(p->log))
			access_log_poll(p->log);
	}
	return stops;
}

/*
 * The last state is being written while the Lease is given back, which ends
 * within a bound; a slow disk may take longer, and then only this waits for it.
 */
static void finish(struct program *p)
{
	if (p->saver)
		saver_hasten(p->saver, p->sync);
	if (p->kube)
		writer_end(p);
	if (p->saver)
		saver_finish(p->saver, p->sync);
	stapling_finish(p->stapling);
}

static int run(struct program *p)
{
	int fds[MAX_FDS] = {p->dir ? source_dir_fd(p->dir) : source_kube_fd(p->kube), publish_fd(p->publish),
			    admin_fd(p->admin), p->signals_fd = signals_open()};
	unsigned n_fds = 4;
	int timeout_ms = 0, err = 0;
	bool stops = false;

	if (p->log)
		fds[n_fds++] = access_log_fd(p->log);
	if (p->names)
		fds[n_fds++] = external_names_fd(p->names);
	if (stapling_fd(p->stapling) >= 0)
		fds[n_fds++] = stapling_fd(p->stapling);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < n_fds; i++)
		err = err || p->epoll_fd < 0 || fds[i] < 0 || watch(p->epoll_fd, fds[i]) != 0;
	if (err)
		log_error("cannot wait for events: %s", strerror(errno));
	if (!err)
		notify("READY=1\nSTATUS=serves");
	while (!err && !stops) {
		stops = wait_step(p, timeout_ms);
		timeout_ms = p->kube ? kube_step(p) : -1;
		timeout_ms = earlier(timeout_ms, tickets_step(p));
		timeout_ms = earlier(timeout_ms, names_step(p));
		timeout_ms = earlier(timeout_ms, age_step(p));
		timeout_ms = earlier(timeout_ms, staples_step(p));
		timeout_ms = earlier(timeout_ms, retry_step(p));
		timeout_ms = earlier(timeout_ms, admin_poll(p->admin));
		timeout_ms = earlier(timeout_ms, notify_alive(now_ms()));
	}
	notify("STOPPING=1");
	if (!err)
		finish(p);
	if (p->signals_fd >= 0)
		close(p->signals_fd);
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	return err;
}

/* Begins to follow Kubernetes; NULL after logging. *saver: what keeps its routes on disk, if that is wanted. */
static struct source_kube *kube_open(const struct options *o, struct store *store, struct saver **saver, bool *has_plugin)
{
	struct kube_config_error why = {""};
	struct source_kube *kube;
	struct kube_config config;
	int err = o->in_cluster ? kube_config_in_cluster(&config, KUBE_IN_CLUSTER_FOLDER, &why)
				: kube_config_read(&config, o->kubeconfig, o->kube_context, &why);

	if (err) {
		log_error("%s", why.text[0] ? why.text : strerror(-err));
		return NULL;
	}
	*has_plugin = config.exec != NULL;
	if (o->state_dir) {
		uint64_t source = source_kube_identity(&config, o->namespaces, o->n_namespaces, o->selector);

		*saver = saver_create(o->state_dir, source, o->state_of_any);
	}
	kube = source_kube_create(&config, o->namespaces, o->n_namespaces, o->selector, o->node, store);
	if (kube && o->allow_unread_policies)
		source_kube_allow_unread_policies(kube);
	if (kube && o->paths.mode != PATHS_OFF)
		source_kube_follow_nodes(kube, store);
	return kube;
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
								 .has_events = o->events,
								 .seed = random},
				 &http);
	if (!w)
		log_error("cannot write status: out of memory");
	return w;
}

static void tickets_give(void *ctx, const struct weir_ticket_keys *keys)
{
	publish_ticket_keys(ctx, keys);
}

/* Without a Secret the dataplane is told so: it may have keys of an earlier weir-ctrl. False: no memory. */
static bool tickets_open(struct program *p, const struct options *o)
{
	const struct ticket_secret_options secret = {
	    .ns = o->tickets_ns, .name = o->tickets_name, .rotate_s = p->kube ? o->ticket_rotate_s : 0};
	const struct weir_ticket_keys none = ticket_keys_none();
	struct reflector_http http = {.request = writer_request, .cancel = writer_cancel};

	if (!*o->tickets_name) {
		publish_ticket_keys(p->publish, &none);
		return true;
	}
	if (p->kube)
		http.ctx = source_kube_connection(p->kube);
	p->tickets = ticket_secret_create(&secret, p->kube ? &http : NULL, tickets_give, p->publish, now_ms() ^ (uint64_t)getpid() << 32);
	p->sync->tickets = p->tickets;
	return p->tickets != NULL;
}

/*
 * Secrets are in our memory, all over its heap: no core is written. A bound of 1 byte, not of 0, is what a program that takes cores
 * from the kernel is not started with either (core(5)).
 */
static void forbid_cores(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_CORE, &r) != 0)
		return;
	r.rlim_cur = r.rlim_max < 1 ? r.rlim_max : 1;
	if (setrlimit(RLIMIT_CORE, &r) != 0)
		log_warn("a crash may write a core with private keys in it: %s", strerror(errno));
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
	crash_install("weir-ctrl", NULL);
	notify_open();
	forbid_cores();
	/* First, and as who started us: the file is for him. */
	if (token_create(&token, o.capture_token, o.socket) != 0)
		log_warn("captures are refused: cannot write the capture token to %s: %s", token.path ? token.path : "its file",
			 strerror(-token.err));
	if (o.access_log && strcmp(o.access_log, "-") == 0) /* this, too: the pipe is his */
		out = log_sink_stdout();
	if (o.user && user_become(o.user) != 0) {
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
	s.options.needs_class = !o.manifests && !o.ingress_without_class;
	s.options.node = o.node;
	s.options.node_ports = o.paths.mode == PATHS_NODE_PORT;
	s.options.default_ns = o.default_ns;
	s.options.default_name = *o.default_name ? o.default_name : NULL;
	s.system_ca = system_ca_create(o.ca_bundle);
	s.options.namespace_bytes = (uint64_t)o.namespace_mb << 20;
	s.options.listen = o.status_addrs;
	s.options.n_listen = o.n_status_addrs;
	if (o.external_names) {
		p.names = external_names_create(o.external_names, o.dns_servers, now_ms() ^ (uint64_t)getpid() << 32);
		s.options.takes_external_names = true;
		s.names = p.names;
		s.known_names = p.names ? external_names_known(p.names) : NULL;
		s.options.names = s.known_names;
	}
	p.paths = pathing_create(&o.paths, &s);
	p.stapling = stapling_create(o.ocsp, now_ms() ^ (uint64_t)getpid() << 32, o.state_dir, &s);
	if (o.manifests)
		p.dir = source_dir_create(o.manifests, store);
	else
		s.kube = p.kube = kube_open(&o, store, &p.saver, &p.has_plugin);
	s.saver = p.saver;
	if (p.kube)
		s.writer = p.writer = writer_open(&o, p.kube, &s);
	if (o.access_log)
		p.log = access_log_create(p.publish, strcmp(o.access_log, "-") == 0 ? NULL : o.access_log, out,
					  o.access_log_sample);
	p.options = &o;
	if ((p.dir || p.writer) && tickets_open(&p, &o) && (p.log || !o.access_log) && (p.names || !o.external_names) && p.stapling && p.paths)
		p.admin = admin_create(o.admin, &token, o.remote_capture, &s, p.log);
	if (p.admin && ctrl_sandbox(o.seccomp, p.has_plugin) == 0) {
		if (p.dir) {
			pathing_run(p.paths, UINT64_MAX);
			sync_run(&s, UINT64_MAX);
		}
		tickets_take(&p, UINT64_MAX);
		err = run(&p);
	}
	admin_destroy(p.admin);
	access_log_destroy(p.log);
	source_dir_destroy(p.dir);
	saver_destroy(p.saver);
	ticket_secret_destroy(p.tickets); /* its requests are of kube */
	status_writer_destroy(p.writer); /* its requests are of kube */
	source_kube_destroy(p.kube);
	sync_fini(&s);
	stapling_destroy(p.stapling);
	pathing_destroy(p.paths);
	system_ca_destroy(s.system_ca);
	external_names_destroy(p.names);
	publish_destroy(p.publish);
	store_destroy(store);
	token_destroy(&token);
	options_fini(&o);
	return err;
}
