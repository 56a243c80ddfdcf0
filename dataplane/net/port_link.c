/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the link up, is the device there? Main looks, five times a second. DPDK's
 * drivers do not tell all: net_af_packet's link is always up, and none of
 * those on interfaces of the kernel notices that its interface was deleted.
 */
#define ALLOW_EXPERIMENTAL_API /* rte_dev_event_callback_register, in DPDK 22.11 */
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "base/log.h"
#include "net/port_pvt.h"

enum kernel_state { KERNEL_NONE, KERNEL_DOWN, KERNEL_UP };

static bool is_driver(const struct net_port *p, const char *name)
{
	return strcmp(p->driver, name) == 0;
}

static bool is_on_packet_socket(const struct net_port *p)
{
	return is_driver(p, "net_af_packet") || is_driver(p, "net_af_xdp");
}

/* One for all ports, for as long as the process lives. -1: none can be had. */
static int ioctl_socket(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd;
}

/* Of the interface by this name; index 0: whichever it is now. */
static enum kernel_state kernel_state(const char *name, unsigned index)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(ioctl_socket(), SIOCGIFINDEX, &r) != 0)
		return errno == ENODEV ? KERNEL_NONE : KERNEL_UP; /* it cannot be asked */
	if (index && (unsigned)r.ifr_ifindex != index)
		return KERNEL_NONE;
	if (ioctl(ioctl_socket(), SIOCGIFFLAGS, &r) != 0)
		return errno == ENODEV ? KERNEL_NONE : KERNEL_UP;
	return (r.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING) ? KERNEL_UP : KERNEL_DOWN;
}

/* Does a descriptor of ours still belong to the TAP device? It does if it was moved to another network namespace. */
static bool has_tap(const char *name)
{
	DIR *dir = opendir("/proc/self/fdinfo");
	const struct dirent *e;
	bool is_found = false;

	while (dir && !is_found && (e = readdir(dir)) != NULL) {
		char path[300], line[128], wanted[40];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", e->d_name);
		snprintf(wanted, sizeof(wanted), "iff:\t%s\n", name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (f && !is_found && fgets(line, sizeof(line), f))
			is_found = strcmp(line, wanted) == 0;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return is_found;
}

static bool is_device_up(const struct net_port *p)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(p->port_id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/* False: the device is gone. */
static bool find_link(const struct net_port *p, bool *is_up)
{
	enum kernel_state k;

	if (__atomic_load_n(&p->is_unplugged, __ATOMIC_RELAXED))
		return false;
	if (!p->kernel_name[0]) {
		*is_up = *p->bond_mode ? port_bond_is_up(p->port_id) : is_device_up(p);
		return true;
	}
	k = kernel_state(p->kernel_name, p->kernel_index);
	*is_up = k == KERNEL_UP;
	if (k == KERNEL_NONE && is_driver(p, "net_tap"))
		*is_up = has_tap(p->kernel_name); /* moved: nobody can tell how it is there */
	return k != KERNEL_NONE || *is_up;
}

static void shut(struct net_port *p, bool is_shut)
{
	__atomic_store_n(&p->is_shut, is_shut, __ATOMIC_RELEASE);
}

enum port_event port_look(struct net_port *p)
{
	bool was_up = p->is_up;
	bool is_up;

	if (p->is_removed)
		return PORT_AS_BEFORE;
	if (!find_link(p, &is_up)) {
		p->is_removed = true;
		p->is_up = false;
		shut(p, true);
		return PORT_GONE;
	}
	p->is_up = is_up;
	if (is_up && !was_up)
		__atomic_store_n(&p->n_ups, p->n_ups + 1, __ATOMIC_RELAXED);
	shut(p, !is_up && (p->is_memif || is_on_packet_socket(p)));
	return is_up == was_up ? PORT_AS_BEFORE : is_up ? PORT_CAME_UP : PORT_WENT_DOWN;
}

bool port_is_link_up(const struct net_port *p)
{
	return p->is_up;
}

/* -- devices that come and go */

static int on_removal(uint16_t port_id, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct net_port *p = arg;

	(void)port_id;
	(void)type;
	(void)ret;
	__atomic_store_n(&p->is_unplugged, true, __ATOMIC_RELAXED);
	return 0;
}

/* VFIO is asked for the device back. */
static void on_device_event(const char *device, enum rte_dev_event_type type, void *arg)
{
	struct net_port *p = arg;

	(void)device;
	if (type == RTE_DEV_EVENT_REMOVE)
		__atomic_store_n(&p->is_unplugged, true, __ATOMIC_RELAXED);
}

void port_watch_begin(struct net_port *p)
{
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(p->port_id, &info) == 0 && (is_on_packet_socket(p) || is_driver(p, "net_tap")) &&
	    if_indextoname(info.if_index, p->kernel_name))
		p->kernel_index = info.if_index;
	if (p->kernel_name[0])
		return;
	rte_eth_dev_callback_register(p->port_id, RTE_ETH_EVENT_INTR_RMV, on_removal, p);
	rte_dev_event_callback_register(p->name, on_device_event, p);
}

void port_watch_end(struct net_port *p)
{
	if (p->kernel_name[0])
		return;
	rte_eth_dev_callback_unregister(p->port_id, RTE_ETH_EVENT_INTR_RMV, on_removal, p);
	rte_dev_event_callback_unregister(p->name, on_device_event, p);
}

void port_close_removed(struct net_port *p)
{
	struct rte_eth_dev_info info;
	struct rte_device *device = rte_eth_dev_info_get(p->port_id, &info) == 0 ? info.device : NULL;
	int rc;

	port_watch_end(p);
	rc = rte_eth_dev_stop(p->port_id);
	if (rc == 0)
		rc = rte_eth_dev_close(p->port_id);
	if (rc == 0 && device)
		rc = rte_dev_remove(device);
	if (rc)
		log_warn("port %s: what is left of it cannot be closed: %s", p->name, rte_strerror(-rc));
}

bool port_may_return(const struct net_port *p)
{
	return p->reopens && (is_driver(p, "net_af_packet") || is_driver(p, "net_tap")) && p->steer == STEER_REDIRECT;
}

bool port_is_there(const struct net_port *p)
{
	return is_driver(p, "net_tap") || kernel_state(p->kernel_name, 0) != KERNEL_NONE;
}
