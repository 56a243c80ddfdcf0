/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve/dns.h"

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ip.h"
#include "base/log.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define EVENTS_AT_ONCE 32

struct query {
	struct dns *d;
	void *lookup;
	struct resolve_answer answer;
	STAILQ_ENTRY(query) link;
};

struct dns {
	struct ares_channeldata *channel;
	int epoll_fd;
	char *servers;
	dns_answer_fn *answered;
	void *ctx;
	STAILQ_HEAD(, query) done; /* c-ares may answer while it is asked: who asked is told later */
	struct timespec conf_time; /* of resolv.conf, as it was read */
	ino_t conf_inode;
};

/* It comes and goes with every lookup: c-ares says so before it closes a socket. */
static void take_socket(void *ctx, ares_socket_t fd, int readable, int writable)
{
	struct epoll_event ev = {.data.fd = fd, .events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u)};
	const struct dns *d = ctx;

	if (!ev.events)
		epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, fd, &ev) != 0)
		epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

/* Whether the file is another one than when this was called last. */
static bool conf_differs(struct dns *d)
{
	struct stat st = {.st_ino = 0};
	bool differs;

	if (d->servers)
		return false;
	if (stat(RESOLV_CONF, &st) != 0)
		st.st_ino = 0;
	differs = st.st_ino != d->conf_inode || st.st_mtim.tv_sec != d->conf_time.tv_sec ||
		  st.st_mtim.tv_nsec != d->conf_time.tv_nsec;
	d->conf_inode = st.st_ino;
	d->conf_time = st.st_mtim;
	return differs;
}

static int open_channel(struct dns *d)
{
	char lookups[] = "b"; /* DNS alone */
	struct ares_options o = {
	    .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
	    .timeout = DNS_TIMEOUT_MS,
	    .tries = DNS_TRIES,
	    .lookups = lookups,
	    .sock_state_cb = take_socket,
	    .sock_state_cb_data = d,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
	int err;

#ifdef ARES_OPT_QUERY_CACHE /* newer ones have a cache: what is asked for is due, and its time bounded by us */
	o.qcache_max_ttl = 0;
	mask |= ARES_OPT_QUERY_CACHE;
#endif
	err = ares_init_options(&d->channel, &o, mask);
	if (err != ARES_SUCCESS) {
		d->channel = NULL;
		return err;
	}
	return d->servers ? ares_set_servers_ports_csv(d->channel, d->servers) : ARES_SUCCESS;
}

struct dns *dns_create(const char *servers, dns_answer_fn *answered, void *ctx, const char **why)
{
	struct dns *d = calloc(1, sizeof(*d));
	int err = ARES_ENOMEM;

	*why = ares_strerror(err);
	if (!d)
		return NULL;
	STAILQ_INIT(&d->done);
	d->answered = answered;
	d->ctx = ctx;
	d->servers = servers ? strdup(servers) : NULL;
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	conf_differs(d);
	if ((d->servers || !servers) && d->epoll_fd >= 0)
		err = open_channel(d);
	if (err == ARES_SUCCESS)
		return d;
	*why = ares_strerror(err);
	dns_destroy(d);
	return NULL;
}

void dns_destroy(struct dns *d)
{
	struct query *q;

	if (!d)
		return;
	if (d->channel)
		ares_destroy(d->channel); /* answers all */
	while ((q = STAILQ_FIRST(&d->done)) != NULL) {
		STAILQ_REMOVE_HEAD(&d->done, link);
		free(q);
	}
	if (d->epoll_fd >= 0)
		close(d->epoll_fd);
	free(d->servers);
	free(d);
}

int dns_fd(const struct dns *d)
{
	return d->epoll_fd;
}

/* ---- answers */

static enum resolve_outcome outcome_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return RESOLVE_ANSWERED;
	case ARES_ENOTFOUND:
		return RESOLVE_NOT_FOUND;
	case ARES_ENODATA:
		return RESOLVE_NO_ADDRESS;
	case ARES_ETIMEOUT:
		return RESOLVE_TIMEOUT;
	case ARES_ESERVFAIL:
		return RESOLVE_SERVER_FAILURE;
	case ARES_EREFUSED:
		return RESOLVE_REFUSED;
	case ARES_ECONNREFUSED: /* older ones say so, too, where all servers have answered with a failure */
		return RESOLVE_NO_SERVER;
	case ARES_EBADRESP:
	case ARES_EFORMERR:
		return RESOLVE_MALFORMED;
	default:
		return RESOLVE_OTHER;
	}
}

/* The least of all that led there counts, aliases too. */
static void take_ttl(struct resolve_answer *a, int ttl)
{
	uint32_t s = ttl < 0 ? 0 : (uint32_t)ttl;

	a->ttl_s = s < a->ttl_s ? s : a->ttl_s;
}

static void take_addresses(struct resolve_answer *a, const struct ares_addrinfo *info)
{
	a->ttl_s = UINT32_MAX;
	for (const struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next) {
		struct weir_ip ip;

		if (n->ai_family == AF_INET)
			ip = ip_from4(((const struct sockaddr_in *)(const void *)n->ai_addr)->sin_addr.s_addr);
		else if (n->ai_family == AF_INET6)
			memcpy(ip.b, &((const struct sockaddr_in6 *)(const void *)n->ai_addr)->sin6_addr, sizeof(ip.b));
		else
			continue;
		resolve_answer_add(a, &ip);
		take_ttl(a, n->ai_ttl);
	}
	for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
		take_ttl(a, c->ttl);
	if (a->n == 0)
		a->outcome = RESOLVE_NO_ADDRESS;
}

static void on_answer(void *ctx, int status, int timeouts, struct ares_addrinfo *info)
{
	struct query *q = ctx;

	q->answer.outcome = outcome_of(status);
	if (status == ARES_SUCCESS)
		take_addresses(&q->answer, info);
	if (info)
		ares_freeaddrinfo(info);
	STAILQ_INSERT_TAIL(&q->d->done, q, link);
}

void dns_ask(void *ctx, const char *name, bool is_ip6, void *lookup)
{
	const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = is_ip6 ? AF_INET6 : AF_INET};
	struct dns *d = ctx;
	struct query *q = calloc(1, sizeof(*q));
	char dotted[300]; /* the dot: it is fully qualified */

	if (!q)
		abort(); /* as the translation does: a lookup that is never answered would never be asked again */
	q->d = d;
	q->lookup = lookup;
	if (conf_differs(d)) {
		log_info("%s has changed: it is read again", RESOLV_CONF);
		if (d->channel)
			ares_destroy(d->channel); /* what is under way fails, and is asked again */
		if (open_channel(d) != ARES_SUCCESS)
			log_error("%s: no name can be looked up", RESOLV_CONF);
	}
	snprintf(dotted, sizeof(dotted), "%s.", name);
	if (d->channel)
		ares_getaddrinfo(d->channel, dotted, NULL, &hints, on_answer, q);
	else
		on_answer(q, ARES_ECONNREFUSED, 0, NULL);
}

/* ---- events */

static void process(struct dns *d)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	int n = epoll_wait(d->epoll_fd, ev, EVENTS_AT_ONCE, 0);

	for (int i = 0; i < n; i++) {
		uint32_t e = ev[i].events;
		bool reads = e & (EPOLLIN | EPOLLERR | EPOLLHUP);

		ares_process_fd(d->channel, reads ? ev[i].data.fd : ARES_SOCKET_BAD,
				e & EPOLLOUT ? ev[i].data.fd : ARES_SOCKET_BAD);
	}
	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what has waited too long */
}

uint64_t dns_poll(struct dns *d, uint64_t now_ms)
{
	struct timeval tv, *next;
	struct query *q;

	if (d->channel)
		process(d);
	while ((q = STAILQ_FIRST(&d->done)) != NULL) {
		STAILQ_REMOVE_HEAD(&d->done, link);
		d->answered(d->ctx, q->lookup, &q->answer);
		free(q);
	}
	next = d->channel ? ares_timeout(d->channel, NULL, &tv) : NULL;
	/* Not a part of a millisecond too early: c-ares would find that it is not yet time. */
	return next ? now_ms + (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1 : UINT64_MAX;
}
