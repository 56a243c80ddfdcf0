/* SPDX-License-Identifier: Apache-2.0 */
#include "rtnl.h"

#include <errno.h>
#include <string.h>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#define ANSWER_BYTES 8192 /* as MNL_SOCKET_BUFFER_SIZE is at most */

struct mnl_socket *rtnl_open(void)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		mnl_socket_close(s);
		return NULL;
	}
	return s;
}

void rtnl_close(struct mnl_socket *s)
{
	if (s)
		mnl_socket_close(s);
}

/* Sends a request that is acknowledged, and waits for that. 0 or -errno. */
static int talk(struct mnl_socket *s, struct nlmsghdr *h)
{
	static unsigned seq;
	char buf[ANSWER_BYTES];
	ssize_t n;

	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++seq;
	if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(s, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	return mnl_cb_run(buf, (size_t)n, h->nlmsg_seq, mnl_socket_get_portid(s), NULL, NULL) < 0 ? -errno : 0;
}

static void put_ip(struct nlmsghdr *h, uint16_t type, const struct weir_ip *ip)
{
	size_t n = ip_is4(ip) ? 4 : 16;

	mnl_attr_put(h, type, n, ip->b + 16 - n);
}

int rtnl_add_address(struct mnl_socket *s, unsigned ifindex, const struct net_addr *addr, bool is_sure)
{
	char buf[MNL_NLMSG_HDRLEN + 256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *a;

	h->nlmsg_type = RTM_NEWADDR;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	a = mnl_nlmsg_put_extra_header(h, sizeof(*a));
	a->ifa_family = ip_is4(&addr->ip) ? AF_INET : AF_INET6;
	a->ifa_prefixlen = addr->prefix_len;
	a->ifa_index = ifindex;
	if (is_sure && !ip_is4(&addr->ip))
		a->ifa_flags = IFA_F_NODAD;
	put_ip(h, IFA_LOCAL, &addr->ip);
	put_ip(h, IFA_ADDRESS, &addr->ip);
	return talk(s, h);
}

int rtnl_set_route(struct mnl_socket *s, unsigned ifindex, const struct weir_ip *ip, bool is_there)
{
	char buf[MNL_NLMSG_HDRLEN + 256] = {0};
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct rtmsg *r;
	int rc;

	h->nlmsg_type = is_there ? RTM_NEWROUTE : RTM_DELROUTE;
	/* Beside one of somebody else; of ours, which is there, nobody hears again. */
	h->nlmsg_flags = is_there ? NLM_F_CREATE | NLM_F_APPEND : 0;
	r = mnl_nlmsg_put_extra_header(h, sizeof(*r));
	r->rtm_family = ip_is4(ip) ? AF_INET : AF_INET6;
	r->rtm_dst_len = ip_is4(ip) ? 32 : 128;
	r->rtm_table = RT_TABLE_MAIN;
	r->rtm_protocol = RTNL_PROTOCOL_WEIR;
	r->rtm_scope = ip_is4(ip) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	r->rtm_type = RTN_UNICAST;
	put_ip(h, RTA_DST, ip);
	mnl_attr_put_u32(h, RTA_OIF, ifindex);
	rc = talk(s, h);
	return rc == (is_there ? -EEXIST : -ESRCH) ? 0 : rc;
}
