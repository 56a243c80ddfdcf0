/* SPDX-License-Identifier: Apache-2.0 */
/* What the dataplane asks of the kernel by rtnetlink(7): addresses on its TAPs, and routes that say what is announced. Main only. */
#ifndef WEIR_DATAPLANE_RTNL_H
#define WEIR_DATAPLANE_RTNL_H

#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"

struct mnl_socket;

/* The origin (rtm_protocol) of our routes: by it they are told from others'. */
#define RTNL_PROTOCOL_WEIR 201

/* An open socket of rtnetlink, or NULL with errno. */
struct mnl_socket *rtnl_open(void);
void rtnl_close(struct mnl_socket *s);

/* Adds an address to an interface; one that is there already is no error. is_sure: nobody need be asked whether it is free. 0 or -errno. */
int rtnl_add_address(struct mnl_socket *s, unsigned ifindex, const struct net_addr *addr, bool is_sure);

/* Adds (or takes away) a route of ours, of one address, over an interface; one that is there (or not there) already is no error. 0 or -errno. */
int rtnl_set_route(struct mnl_socket *s, unsigned ifindex, const struct weir_ip *ip, bool is_there);

#endif
