/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket of rtnetlink hears of each change; what it says is not looked at:
 * after any, all routes are read again. So nothing is missed when the socket
 * overflows, and there is one way to read a route.
 */
#include "kernel_routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "base/log.h"
#include "ctl.h"
#include "net/fib.h"
#include "rtnl.h"

#define MAX_ROUTES 16384u
#define MAX_HOPS 16u /* of one route; a kernel may have more */
#define BUFFER_BYTES 32768

struct kernel_routes {
	const struct config *config;
	struct ctl *ctl;
	struct mnl_socket *events, *questions;
	unsigned ifindex[WEIR_MAX_PORTS]; /* 0: this port learns none */
	bool is_due;
	bool has_failed; /* and that was logged */
	size_t n_known;
	/* while they are read */
	size_t n, n_hops, n_left_out;
	struct fib_route *routes; /* [MAX_ROUTES] */
	struct fib_hop *hops;	  /* [MAX_ROUTES * 2] */
};

#define ALL_HOPS ((size_t)MAX_ROUTES * 2)

static int hear(struct kernel_routes *k)
{
	int groups[] = {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};

	k->events = rtnl_open();
	k->questions = rtnl_open();
	if (!k->events || !k->questions)
		return -errno;
	for (unsigned i = 0; i < 2; i++)
		if (mnl_socket_setsockopt(k->events, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
			return -errno;
	return 0;
}

int kernel_routes_create(const struct config *config, const struct exception *x, struct ctl *ctl, struct kernel_routes **out)
{
	struct kernel_routes *k = calloc(1, sizeof(*k));
	bool is_wanted = false;
	int rc;

	*out = NULL;
	if (!k)
		return -ENOMEM;
	k->config = config;
	k->ctl = ctl;
	for (unsigned i = 0; i < config->n_ports; i++) {
		k->ifindex[i] = config->ports[i].kernel.learns ? exception_ifindex(x, i) : 0;
		is_wanted |= k->ifindex[i] != 0;
	}
	if (!is_wanted) {
		free(k);
		return 0;
	}
	k->routes = calloc(MAX_ROUTES, sizeof(*k->routes));
	k->hops = calloc(ALL_HOPS, sizeof(*k->hops));
	rc = k->routes && k->hops ? hear(k) : -ENOMEM;
	if (rc) {
		log_error("routes of the kernel cannot be heard of: %s", strerror(-rc));
		kernel_routes_destroy(k);
		return rc;
	}
	k->is_due = true;
	*out = k;
	return 0;
}

void kernel_routes_destroy(struct kernel_routes *k)
{
	if (!k)
		return;
	rtnl_close(k->events);
	rtnl_close(k->questions);
	free(k->routes);
	free(k->hops);
	free(k);
}

/* The untagged interface of the port whose TAP this is; -1: none that learns. */
static int iface_of(const struct kernel_routes *k, unsigned ifindex)
{
	for (unsigned i = 0; i < k->config->n_ifaces; i++)
		if (ifindex && k->ifindex[k->config->ifaces[i].port] == ifindex && k->config->ifaces[i].net.vlan == 0)
			return (int)i;
	return -1;
}

static bool read_ip(const struct nlattr *a, bool is4, struct weir_ip *out)
{
	uint32_t be;

	if (!a || mnl_attr_get_payload_len(a) != (is4 ? 4 : 16))
		return false;
	if (!is4) {
		memcpy(out->b, mnl_attr_get_payload(a), 16);
		return true;
	}
	memcpy(&be, mnl_attr_get_payload(a), 4);
	*out = ip_from4(be);
	return true;
}

/* A next hop of the other family: of IPv4 by a neighbour's IPv6 address (RFC 8950, "BGP unnumbered"). */
static bool read_via(const struct nlattr *a, struct weir_ip *out)
{
	struct rtvia via;
	const uint8_t *p;

	if (!a || mnl_attr_get_payload_len(a) != sizeof(via) + sizeof(out->b))
		return false;
	p = mnl_attr_get_payload(a);
	memcpy(&via, p, sizeof(via));
	if (via.rtvia_family != AF_INET6)
		return false;
	memcpy(out->b, p + sizeof(via), sizeof(out->b));
	return true;
}

/* A next hop over one of our TAPs that the kernel would use itself; anything else is none of ours. */
static void add_hop(struct kernel_routes *k, unsigned ifindex, unsigned flags, const struct nlattr *const *tb, bool is4, unsigned *n)
{
	struct fib_hop h = {.kind = WEIR_PATH_ROUTE};
	int iface = iface_of(k, ifindex);

	if (iface < 0 || (flags & RTNH_F_DEAD) || (!read_ip(tb[RTA_GATEWAY], is4, &h.via) && !read_via(tb[RTA_VIA], &h.via)) || *n == MAX_HOPS || k->n_hops + *n == ALL_HOPS)
		return;
	h.iface = (uint8_t)iface;
	k->hops[k->n_hops + (*n)++] = h;
}

static int note_attr(const struct nlattr *a, void *data)
{
	const struct nlattr **tb = data;

	if (mnl_attr_type_valid(a, RTA_MAX) >= 0)
		tb[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

static void add_hops(struct kernel_routes *k, const struct nlattr *list, bool is4, unsigned *n)
{
	const struct rtnexthop *h = mnl_attr_get_payload(list);
	size_t left = mnl_attr_get_payload_len(list);

	while (left >= sizeof(*h) && h->rtnh_len >= sizeof(*h) && h->rtnh_len <= left) {
		const struct nlattr *tb[RTA_MAX + 1] = {0};
		size_t step = RTNH_ALIGN(h->rtnh_len);

		mnl_attr_parse_payload(RTNH_DATA(h), h->rtnh_len - sizeof(*h), note_attr, tb);
		add_hop(k, (unsigned)h->rtnh_ifindex, h->rtnh_flags, tb, is4, n);
		if (step >= left)
			return;
		left -= step;
		h = (const struct rtnexthop *)((const char *)h + step);
	}
}

/* An mnl_cb_t for each route of a dump. */
static int note_route(const struct nlmsghdr *nlh, void *data)
{
	struct kernel_routes *k = data;
	const struct nlattr *tb[RTA_MAX + 1] = {0};
	const struct rtmsg *r = mnl_nlmsg_get_payload(nlh);
	bool is4 = r->rtm_family == AF_INET;
	struct fib_route route = {.len = r->rtm_dst_len};
	unsigned n = 0;

	if (nlh->nlmsg_type != RTM_NEWROUTE || (!is4 && r->rtm_family != AF_INET6) || r->rtm_type != RTN_UNICAST ||
	    r->rtm_protocol == RTNL_PROTOCOL_WEIR || (r->rtm_flags & RTM_F_CLONED))
		return MNL_CB_OK;
	mnl_attr_parse(nlh, sizeof(*r), note_attr, tb);
	if ((tb[RTA_TABLE] ? mnl_attr_get_u32(tb[RTA_TABLE]) : r->rtm_table) != RT_TABLE_MAIN)
		return MNL_CB_OK;
	if (is4)
		route.prefix = ip_from4(0); /* of the default route */
	if (tb[RTA_DST] && !read_ip(tb[RTA_DST], is4, &route.prefix))
		return MNL_CB_OK;
	if (tb[RTA_MULTIPATH])
		add_hops(k, tb[RTA_MULTIPATH], is4, &n);
	else
		add_hop(k, tb[RTA_OIF] ? mnl_attr_get_u32(tb[RTA_OIF]) : 0, r->rtm_flags, tb, is4, &n);
	if (!n)
		return MNL_CB_OK;
	if (k->n == MAX_ROUTES) {
		k->n_left_out++;
		return MNL_CB_OK;
	}
	route.n_hops = (uint16_t)n;
	route.hops = &k->hops[k->n_hops];
	k->n_hops += n;
	k->routes[k->n++] = route;
	return MNL_CB_OK;
}

static int dump(struct kernel_routes *k)
{
	char buf[BUFFER_BYTES] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	unsigned seq = (unsigned)time(NULL);
	struct rtmsg *r;
	int rc;

	h->nlmsg_type = RTM_GETROUTE;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = seq;
	r = mnl_nlmsg_put_extra_header(h, sizeof(*r));
	r->rtm_family = AF_UNSPEC;
	k->n = k->n_hops = k->n_left_out = 0;
	if (mnl_socket_sendto(k->questions, h, h->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t n = mnl_socket_recvfrom(k->questions, buf, sizeof(buf));

		rc = n < 0 ? -1 : mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(k->questions), note_route, k);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

/*
 * What is left of the answer to a question that failed would be taken for that to the next one, and of those each would be
 * one behind: a new socket has nothing of it.
 */
static int ask(struct kernel_routes *k)
{
	int rc;

	if (!k->questions)
		k->questions = rtnl_open();
	rc = k->questions ? dump(k) : -errno;
	if (rc) {
		rtnl_close(k->questions);
		k->questions = NULL;
	}
	return rc;
}

/* Empties the socket. EAGAIN is its end; that something was lost is news, too. */
static bool has_news(struct kernel_routes *k)
{
	char buf[BUFFER_BYTES];
	bool is_there = false;
	ssize_t n;

	while ((n = recv(mnl_socket_get_fd(k->events), buf, sizeof(buf), MSG_DONTWAIT)) > 0 || (n < 0 && errno == ENOBUFS))
		is_there = true;
	return is_there;
}

void kernel_routes_update(struct kernel_routes *k)
{
	int rc;

	if (!k)
		return;
	k->is_due |= has_news(k);
	if (!k->is_due)
		return;
	rc = ask(k);
	if (rc == 0)
		rc = ctl_set_kernel_routes(k->ctl, k->routes, k->n);
	k->is_due = rc != 0; /* the next time again */
	if (rc && !k->has_failed)
		log_error("routes of the kernel: %s; those before stay", strerror(-rc));
	k->has_failed = rc != 0;
	if (rc == 0 && k->n != k->n_known)
		log_info("routes of the kernel: %zu over our ports", k->n);
	if (rc == 0 && k->n_left_out)
		log_warn("routes of the kernel: %zu beyond the bound of %u are left out", k->n_left_out, MAX_ROUTES);
	if (rc == 0)
		k->n_known = k->n;
}
