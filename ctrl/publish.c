/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See publish.h. A blob lies in the arena from sending until BLOB_DONE; the
 * own copy is kept for the next connection. When a connection ends, all that
 * was under way is forgotten, and everything is due again.
 */
#include "publish_pvt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define RECONNECT_MIN_MS 20u
#define RECONNECT_MAX_MS 200u
#define CERT_TRIES 10u /* of one certificate, for which the dataplane has no room, PUBLISH_RETRY_MS apart; then it is left out */

const double publish_bucket_s[PUBLISH_BUCKETS] = {.001, .002, .005, .01, .02, .05, .1, .2, .5, 1};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

const char *publish_refusal_name(uint32_t r)
{
	static const char *const names[] = {
#define X(name, str, help) str,
		WEIR_REFUSALS(X)
#undef X
	};
	return r < WEIR_N_REFUSALS ? names[r] : "unknown";
}

void publish_set_timer(struct publish *p, unsigned ms)
{
	const struct itimerspec t = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}};

	timerfd_settime(p->timer_fd, 0, &t, NULL);
}

static void set_make_due(struct publish *p, struct set *s)
{
	if (s->is_due)
		return;
	s->is_due = true;
	TAILQ_INSERT_TAIL(&p->due, s, due);
}

/* Private keys are not to be left where somebody else can read: the dataplane has its own copy, or never will. */
static void wipe_place(struct publish *p, uint64_t off)
{
	explicit_bzero(p->arena_base + off, arena_bytes(&p->arena, off));
}

static void wipe_certificates(struct publish *p)
{
	for (unsigned i = 0; p->has_hello && i < p->arena.n; i++)
		if (p->arena.used[i].size <= WEIR_CERTIFICATE_MAX_BYTES)
			wipe_place(p, p->arena.used[i].off);
}

static void unmap_all(struct publish *p)
{
	wipe_certificates(p);
	if (p->region)
		munmap(p->region, p->region_size);
	if (p->stats)
		munmap((void *)(uintptr_t)p->stats, p->stats_size);
	if (p->diag)
		munmap((void *)(uintptr_t)p->diag, p->diag_size);
	if (p->log)
		munmap((void *)(uintptr_t)p->log, p->log_size);
	p->region = NULL;
	p->stats = NULL;
	p->diag = NULL;
	p->log = NULL;
}

void publish_disconnect(struct publish *p, const char *why)
{
	bool had_hello = p->has_hello;

	if (p->st.is_connected || p->backoff_ms == RECONNECT_MIN_MS)
		log_warn("dataplane %s: %s; connecting again", p->addr.sun_path, why);
	if (p->fd >= 0)
		close(p->fd);
	if (had_hello && p->log && p->on_leave)
		p->on_leave(p->leave_ctx);
	unmap_all(p);
	p->fd = -1;
	p->has_hello = p->is_away = p->is_timed = p->are_certs_held = false;
	p->is_due = p->snapshot != NULL;
	p->resent_generation = 0;
	cert_set_reset(&p->certs, true);
	publish_tickets_reset(p);
	publish_paths_reset(p);
	p->st.is_connected = false;
	p->st.sent_generation = p->st.copied_generation = p->st.live_generation = p->st.retired_generation = 0;
	for (size_t i = 0; i < p->n_sets; i++) {
		p->sets[i]->is_away = false;
		p->sets[i]->live_version = 0;
		set_make_due(p, p->sets[i]);
	}
	/* Jitter, so that several do not knock in step. */
	publish_set_timer(p, p->backoff_ms + (unsigned)(now_us() % (p->backoff_ms / 2)));
	p->backoff_ms = p->backoff_ms * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS : p->backoff_ms * 2;
	if (had_hello && p->on_answer)
		p->on_answer(p->answer_ctx, NULL);
}

static void reconnect(struct publish *p)
{
	struct epoll_event ev = {.events = EPOLLIN};

	p->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)&p->addr, sizeof(p->addr)) != 0 ||
	    epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->fd, &ev) != 0)
		publish_disconnect(p, strerror(errno));
}

static bool region_is_sound(const struct weir_region *r, uint64_t size)
{
	const uint64_t ring = sizeof(struct weir_ring);

	return r->magic == WEIR_REGION_MAGIC && r->abi_major == WEIR_ABI_MAJOR && r->size == size &&
	       r->to_dataplane_off % 64 == 0 && r->to_ctrl_off % 64 == 0 && r->arena_off % 64 == 0 &&
	       r->to_dataplane_off <= size && size - r->to_dataplane_off >= ring && r->to_ctrl_off <= size &&
	       size - r->to_ctrl_off >= ring && r->arena_off <= size && r->arena_size <= size - r->arena_off;
}

#define XSTATS_ABI_MINOR 4

static bool stats_are_sound(const struct weir_stats_region *r, uint64_t size)
{
	return r->magic == WEIR_STATS_MAGIC && r->abi_major == WEIR_ABI_MAJOR && r->n_workers <= WEIR_MAX_WORKERS &&
	       r->workers_off <= size && r->workers_off % 64 == 0 &&
	       (size - r->workers_off) / sizeof(struct weir_worker_stats) > r->n_workers &&
	       r->tls_off <= size && r->tls_off % 8 == 0 && (!r->tls_off || size - r->tls_off >= sizeof(struct weir_tls_info)) &&
	       r->ports_off <= size && r->ports_off % 64 == 0 &&
	       (!r->ports_off || (size - r->ports_off) / sizeof(struct weir_port_details) >= WEIR_MAX_PORTS) &&
	       (r->abi_minor < XSTATS_ABI_MINOR ||
		(r->xstats_off <= size && r->xstats_off % 64 == 0 &&
		 (!r->xstats_off || (size - r->xstats_off) / sizeof(struct weir_port_xstats) >= WEIR_MAX_PORTS))) &&
	       r->life_off <= size && r->life_off % 8 == 0 && (!r->life_off || size - r->life_off >= sizeof(struct weir_life_info)) &&
	       r->n_counters == WEIR_N_COUNTERS && r->n_gauges == WEIR_N_GAUGES && r->n_reasons == WEIR_N_REASONS;
}

static bool fits(uint64_t off, uint64_t n, uint64_t each, uint64_t size)
{
	return off <= size && off % 64 == 0 && (each == 0 || n <= (size - off) / each);
}

static bool diag_is_sound(const struct weir_diag_region *r, uint64_t size)
{
	return r->magic == WEIR_DIAG_MAGIC && r->abi_major == WEIR_ABI_MAJOR && r->n_workers <= WEIR_MAX_WORKERS &&
	       r->n_rows == WEIR_CONN_ROWS && r->row_size == sizeof(struct weir_conn_row) && r->ring_size <= size &&
	       r->ring_size % WEIR_CAPTURE_ALIGN == 0 &&
	       fits(r->workers_off, r->n_workers, sizeof(struct weir_diag_worker), size) &&
	       fits(r->rows_off, (uint64_t)r->n_workers * r->n_rows, r->row_size, size) &&
	       fits(r->rings_off, r->n_workers, r->ring_size, size);
}

static bool log_is_sound(const struct weir_log_region *r, uint64_t size)
{
	return r->magic == WEIR_LOG_MAGIC && r->abi_major == WEIR_ABI_MAJOR && r->n_workers <= WEIR_MAX_WORKERS &&
	       r->n_slots >= 1 && r->record_size == sizeof(struct weir_log_record) && r->workers_off % 128 == 0 &&
	       fits(r->workers_off, r->n_workers, sizeof(struct weir_log_worker), size) &&
	       fits(r->records_off, (uint64_t)r->n_workers * r->n_slots, r->record_size, size);
}

static void *map_whole(int fd, uint64_t size, int prot)
{
	struct stat st;
	void *m;

	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != size)
		return NULL;
	m = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	return m == MAP_FAILED ? NULL : m;
}

/* Maps what came with the hello. NULL, or what is wrong with it. */
static const char *take_hello(struct publish *p, const struct weir_hello *h, const int *fds, size_t n_fds)
{
	if (h->region_size < sizeof(struct weir_region) || h->stats_size < sizeof(struct weir_stats_region))
		return "regions are too small";
	if (n_fds != 2u + (h->diag_size > 0) + (h->log_size > 0))
		return "its descriptors are not those that its greeting tells";
	p->region_size = h->region_size;
	p->stats_size = h->stats_size;
	p->region = map_whole(fds[0], h->region_size, PROT_READ | PROT_WRITE);
	p->stats = map_whole(fds[1], h->stats_size, PROT_READ);
	if (!p->region || !p->stats)
		return "regions cannot be mapped";
	if (!region_is_sound(p->region, h->region_size))
		return "the region is not of this version of the contract";
	if (!stats_are_sound(p->stats, h->stats_size))
		return "the statistics are not of this version of the contract";
	if (h->diag_size >= sizeof(struct weir_diag_region)) {
		p->diag_size = h->diag_size;
		p->diag = map_whole(fds[2], h->diag_size, PROT_READ);
		if (!p->diag || !diag_is_sound(p->diag, h->diag_size))
			return "the diagnostics are not of this version of the contract";
	}
	if (h->log_size >= sizeof(struct weir_log_region)) {
		p->log_size = h->log_size;
		p->log = map_whole(fds[n_fds - 1], h->log_size, PROT_READ);
		if (!p->log || !log_is_sound(p->log, h->log_size))
			return "the access log is not of this version of the contract";
	}
	madvise(p->region, p->region_size, MADV_DONTDUMP); /* certificates pass through it */
	spsc_init(&p->tx, (struct weir_ring *)(void *)((char *)p->region + p->region->to_dataplane_off));
	spsc_init(&p->rx, (struct weir_ring *)(void *)((char *)p->region + p->region->to_ctrl_off));
	p->arena_base = (char *)p->region + p->region->arena_off;
	arena_init(&p->arena, p->region->arena_size);
	p->tx_seq = p->rx_seq = 0;
	p->has_hello = true;
	p->backoff_ms = RECONNECT_MIN_MS;
	p->st.is_connected = true;
	p->st.connects++;
	p->st.n_workers = p->region->n_workers;
	log_info("connected to the dataplane at %s: %u workers", p->addr.sun_path, p->st.n_workers);
	return NULL;
}

static void read_hello(struct publish *p)
{
	struct weir_hello h = {.magic = 0};
	struct iovec iov = {.iov_base = &h, .iov_len = sizeof(h)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(WEIR_HELLO_FDS * sizeof(int))];
	} control;
	/* Not the whole of the aligned buffer: the kernel would fill it, with a descriptor more than there is room for in fds. */
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = CMSG_LEN(WEIR_HELLO_FDS * sizeof(int))};
	ssize_t n = recvmsg(p->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	const char *wrong = "its greeting is malformed";
	int fds[WEIR_HELLO_FDS];
	size_t n_fds = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
	}
	if (n >= (ssize_t)WEIR_HELLO_MIN && h.magic == WEIR_REGION_MAGIC) {
		p->st.hello_refused = h.refused;
		if (h.abi_major != WEIR_ABI_MAJOR)
			wrong = "it speaks another version of the contract";
		else if (h.refused)
			wrong = h.refused == 1 ? "this user may not connect" : "another weir-ctrl is connected";
		else if (n_fds >= 2)
			wrong = take_hello(p, &h, fds, n_fds);
	}
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	if (wrong)
		publish_disconnect(p, wrong);
}

static struct set **set_slot(const struct publish *p, uint64_t id, size_t *at)
{
	size_t lo = 0, hi = p->n_sets;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (p->sets[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	*at = lo;
	return lo < p->n_sets && p->sets[lo]->id == id ? &p->sets[lo] : NULL;
}

static struct set *set_find(const struct publish *p, uint64_t id)
{
	size_t at;
	struct set **s = set_slot(p, id, &at);

	return s ? *s : NULL;
}

static void refused(struct publish *p, const struct weir_msg *m, const char *what)
{
	p->st.n_refused++;
	p->st.refused = m->status < WEIR_N_REFUSALS ? (enum weir_refusal)m->status : WEIR_REFUSED_BAD_VALUE;
	p->st.refused_id = m->id;
	log_warn("dataplane refused %s %" PRIu64 ": %s", what, m->id, publish_refusal_name(m->status));
}

static bool is_passing(const struct weir_msg *m)
{
	return m->status == WEIR_REFUSED_BUSY || m->status == WEIR_REFUSED_NO_MEMORY;
}

static void snapshot_done(struct publish *p, const struct weir_msg *m)
{
	if (m->status == WEIR_REFUSED_OK) {
		p->st.copied_generation = m->id;
		return;
	}
	refused(p, m, "snapshot");
	p->is_away = false;
	if (is_passing(m)) {
		p->is_due = true;
		publish_set_timer(p, PUBLISH_RETRY_MS);
	} else if (m->status == WEIR_REFUSED_NO_CERTIFICATE && m->id == p->st.generation && p->resent_generation != m->id) {
		p->resent_generation = m->id;
		p->is_due = true;
		cert_set_reset(&p->certs, false);
	}
}

static void endpoints_done(struct publish *p, const struct weir_msg *m)
{
	struct set *s = set_find(p, m->id);

	if (s)
		s->is_away = false;
	if (m->status == WEIR_REFUSED_OK)
		return;
	refused(p, m, "endpoint set");
	if (!is_passing(m))
		return;
	if (s)
		set_make_due(p, s);
	publish_set_timer(p, PUBLISH_RETRY_MS);
}

static void certificate_done(struct publish *p, const struct weir_msg *m)
{
	struct cert *c = cert_set_find(&p->certs, &(const struct weir_cert_id){{m->id, m->version}});

	if (!c || c->state != CERT_AWAY) /* no snapshot names it any more */
		return;
	if (m->status == WEIR_REFUSED_OK) {
		cert_set_state(&p->certs, c, CERT_THERE);
		return;
	}
	if (is_passing(m) && ++c->n_tries < CERT_TRIES) {
		cert_set_state(&p->certs, c, CERT_DUE);
		p->are_certs_held = true;
		publish_set_timer(p, PUBLISH_RETRY_MS);
		return;
	}
	c->may_pass = is_passing(m);
	cert_set_state(&p->certs, c, CERT_REFUSED);
	p->st.n_refused++;
	p->st.n_certificates_refused++;
	p->st.refused = m->status < WEIR_N_REFUSALS ? (enum weir_refusal)m->status : WEIR_REFUSED_BAD_VALUE;
	p->st.refused_id = m->id;
	log_warn("dataplane refused the certificate of %s %s/%s: %s", c->c->of ? c->c->of : "Secret", c->c->ns ? c->c->ns : "",
		 c->c->name ? c->c->name : "", publish_refusal_name(m->status));
}

static void blob_done(struct publish *p, const struct weir_msg *m)
{
	if ((m->about == WEIR_MSG_CERTIFICATE || m->about == WEIR_MSG_TICKET_KEYS) && arena_bytes(&p->arena, m->off))
		wipe_place(p, m->off);
	if (region_free(&p->arena, m->off) != 0) {
		publish_disconnect(p, "it answers for a blob that was not sent");
		return;
	}
	switch (m->about) {
	case WEIR_MSG_SNAPSHOT:
		snapshot_done(p, m);
		break;
	case WEIR_MSG_ENDPOINTS:
		endpoints_done(p, m);
		break;
	case WEIR_MSG_CERTIFICATE:
		certificate_done(p, m);
		break;
	case WEIR_MSG_TICKET_KEYS:
		publish_tickets_done(p, m);
		break;
	case WEIR_MSG_PATHS:
		publish_paths_done(p, m);
		break;
	default:
		publish_disconnect(p, "it answers for a blob of another kind");
	}
}

static void snapshot_live(struct publish *p, const struct weir_msg *m)
{
	uint64_t us = now_us() - p->handed_in_us;
	unsigned i = 0;

	p->is_away = false;
	p->st.live_generation = m->id;
	p->st.live_t_us = m->t_us;
	log_info("generation %" PRIu64 " is live in all workers after %" PRIu64 " us", m->id, m->t_us);
	if (m->id != p->st.generation || !p->is_timed)
		return;
	p->is_timed = false;
	while (i < PUBLISH_BUCKETS && (double)us > publish_bucket_s[i] * 1e6)
		i++;
	p->st.latency[i]++;
	p->st.latency_count++;
	p->st.latency_sum_us += us;
}

static void diag_message(struct publish *p, const struct weir_msg *m)
{
	if (m->type != WEIR_MSG_CAPTURE_OFF && region_free(&p->arena, m->off) != 0) {
		publish_disconnect(p, "it answers what was not asked");
		return;
	}
	if (p->on_answer)
		p->on_answer(p->answer_ctx, m);
}

static void message(struct publish *p, const struct weir_msg *m)
{
	struct set *s;

	if (m->seq != ++p->rx_seq) {
		publish_disconnect(p, "a message is missing");
		return;
	}
	switch (m->type) {
	case WEIR_MSG_BLOB_DONE:
		blob_done(p, m);
		break;
	case WEIR_MSG_LIVE:
		snapshot_live(p, m);
		break;
	case WEIR_MSG_RETIRED:
		p->st.retired_generation = m->id;
		break;
	case WEIR_MSG_ENDPOINTS_LIVE:
		s = set_find(p, m->id);
		if (s)
			s->live_version = m->version;
		break;
	case WEIR_MSG_CONNECTIONS_DONE:
	case WEIR_MSG_CAPTURE_ON:
	case WEIR_MSG_CAPTURE_OFF:
		diag_message(p, m);
		break;
	default:
		log_debug("message %u of the dataplane is not known", m->type);
	}
}

size_t publish_room(const struct publish *p)
{
	return p->has_hello ? p->arena.size - p->arena.size / 8 : 0;
}

static void read_socket(struct publish *p)
{
	char bell[64];
	ssize_t n;

	while (p->fd >= 0 && p->has_hello) {
		n = recv(p->fd, bell, sizeof(bell), MSG_DONTWAIT);
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		publish_disconnect(p, "it closed the connection");
	}
}

void publish_poll(struct publish *p)
{
	uint64_t expired;
	struct weir_msg m;
	enum spsc_outcome o = SPSC_DONE;

	if (read(p->timer_fd, &expired, sizeof(expired)) == sizeof(expired)) {
		p->are_certs_held = false;
		if (p->fd < 0)
			reconnect(p);
	}
	if (p->fd >= 0 && !p->has_hello)
		read_hello(p);
	read_socket(p);
	while (p->has_hello && (o = spsc_get(&p->rx, &m)) == SPSC_DONE)
		message(p, &m);
	if (p->has_hello && o == SPSC_BROKEN)
		publish_disconnect(p, "impossible index in its ring");
	publish_pump(p);
}

struct publish *publish_create(const char *socket_path)
{
	struct publish *p = calloc(1, sizeof(*p));
	struct epoll_event ev = {.events = EPOLLIN};

	if (!p)
		return NULL;
	p->fd = p->timer_fd = p->epoll_fd = -1;
	TAILQ_INIT(&p->due);
	p->backoff_ms = RECONNECT_MIN_MS;
	p->addr.sun_family = AF_UNIX;
	if (strlen(socket_path) >= sizeof(p->addr.sun_path)) {
		free(p);
		errno = ENAMETOOLONG;
		return NULL;
	}
	strcpy(p->addr.sun_path, socket_path);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (p->epoll_fd < 0 || p->timer_fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->timer_fd, &ev) != 0) {
		publish_destroy(p);
		return NULL;
	}
	publish_set_timer(p, 1);
	return p;
}

static void set_destroy(struct publish *p, struct set *s)
{
	if (s->is_due)
		TAILQ_REMOVE(&p->due, s, due);
	free(s->blob);
	free(s);
}

void publish_destroy(struct publish *p)
{
	if (!p)
		return;
	unmap_all(p);
	if (p->fd >= 0)
		close(p->fd);
	if (p->timer_fd >= 0)
		close(p->timer_fd);
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	for (size_t i = 0; i < p->n_sets; i++)
		set_destroy(p, p->sets[i]);
	cert_set_fini(&p->certs);
	explicit_bzero(&p->tickets, sizeof(p->tickets));
	free(p->sets);
	free(p->paths);
	free(p->snapshot);
	free(p);
}

int publish_fd(const struct publish *p)
{
	return p->epoll_fd;
}

void publish_snapshot(struct publish *p, void *blob, size_t n, uint64_t generation)
{
	free(p->snapshot);
	p->snapshot = blob;
	p->snapshot_size = n;
	p->st.generation = generation;
	p->handed_in_us = now_us();
	p->is_timed = p->st.is_connected;
	p->is_due = true;
	publish_pump(p);
}

int publish_certificates(struct publish *p, const struct certificate *const *list, size_t n)
{
	return cert_set_replace(&p->certs, list, n);
}

const struct certificate *publish_refused_certificate(const struct publish *p, size_t *at, bool *may_pass)
{
	const struct cert *c = p->certs.n_of[CERT_REFUSED] ? cert_set_next(&p->certs, at, CERT_REFUSED) : NULL;

	*may_pass = c && c->may_pass;
	return c ? c->c : NULL;
}

int publish_endpoints(struct publish *p, void *blob)
{
	struct weir_endpoint_set *e = blob;
	size_t at;
	struct set **slot = set_slot(p, e->backend_id, &at), *s;

	if (!slot) {
		if (p->n_sets == p->cap_sets) {
			size_t cap = p->cap_sets ? 2 * p->cap_sets : 64;
			struct set **sets = realloc(p->sets, cap * sizeof(struct set *));

			if (!sets)
				goto no_memory;
			p->sets = sets;
			p->cap_sets = cap;
		}
		s = calloc(1, sizeof(*s));
		if (!s)
			goto no_memory;
		memmove(&p->sets[at + 1], &p->sets[at], (p->n_sets - at) * sizeof(struct set *));
		p->sets[at] = s;
		p->n_sets++;
		s->id = e->backend_id;
		slot = &p->sets[at];
	}
	s = *slot;
	free(s->blob);
	s->blob = e;
	set_make_due(p, s);
	publish_pump(p);
	return 0;
no_memory:
	free(blob);
	return -ENOMEM;
}

const struct weir_endpoint_set *publish_find(const struct publish *p, uint64_t backend_id)
{
	const struct set *s = set_find(p, backend_id);

	return s ? s->blob : NULL;
}

void publish_prune(struct publish *p, bool (*keep)(const void *ctx, uint64_t backend_id), const void *ctx)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_sets; i++) {
		if (keep(ctx, p->sets[i]->id))
			p->sets[n++] = p->sets[i];
		else
			set_destroy(p, p->sets[i]);
	}
	p->n_sets = n;
}

void publish_status(const struct publish *p, struct publish_status *out)
{
	*out = p->st;
	out->n_sets = p->n_sets;
	out->n_certificates = p->certs.n;
	out->n_certificates_waiting = p->certs.n - p->certs.n_of[CERT_THERE];
	out->n_sets_waiting = 0;
	for (size_t i = 0; i < p->n_sets; i++)
		out->n_sets_waiting += p->sets[i]->live_version != p->sets[i]->blob->version;
}

const struct weir_stats_region *publish_stats(const struct publish *p)
{
	return p->stats;
}

const struct weir_tls_info *publish_tls_info(const struct weir_stats_region *r)
{
	return r->tls_off ? (const struct weir_tls_info *)(const void *)((const char *)r + r->tls_off) : NULL;
}

const struct weir_port_xstats *publish_port_xstats(const struct weir_stats_region *r, unsigned port)
{
	if (r->abi_minor < XSTATS_ABI_MINOR || !r->xstats_off)
		return NULL;
	return (const struct weir_port_xstats *)(const void *)((const char *)r + r->xstats_off) + port;
}

const struct weir_port_details *publish_port_details(const struct weir_stats_region *r, unsigned port)
{
	return r->ports_off ? (const struct weir_port_details *)(const void *)((const char *)r + r->ports_off) + port : NULL;
}

const struct weir_life_info *publish_life_info(const struct weir_stats_region *r)
{
	return r->life_off ? (const struct weir_life_info *)(const void *)((const char *)r + r->life_off) : NULL;
}

const struct weir_worker_stats *publish_worker_stats(const struct weir_stats_region *r, unsigned worker)
{
	return (const struct weir_worker_stats *)(const void *)((const char *)r + r->workers_off) + worker;
}

const struct weir_diag_region *publish_diag(const struct publish *p)
{
	return p->diag;
}

const struct weir_log_region *publish_log(const struct publish *p)
{
	return p->log;
}

void publish_on_leave(struct publish *p, publish_leave_fn *fn, void *ctx)
{
	p->on_leave = fn;
	p->leave_ctx = ctx;
}

void publish_listen(struct publish *p, publish_answer_fn *fn, void *ctx)
{
	p->on_answer = fn;
	p->answer_ctx = ctx;
}

int publish_ask(struct publish *p, const struct weir_msg *asked, const void *bytes, size_t n)
{
	struct weir_msg m = *asked;

	if (!p->has_hello)
		return -ENOTCONN;
	if (!p->diag)
		return -EOPNOTSUPP;
	if (n > 0) {
		m.size = n;
		if (!publish_send_blob(p, m, bytes))
			return p->has_hello ? -EAGAIN : -ENOTCONN;
	} else if (!publish_send_message(p, &m)) {
		return p->has_hello ? -EAGAIN : -ENOTCONN;
	}
	publish_pump(p);
	return 0;
}
