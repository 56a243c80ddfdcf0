/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hugepages, PCI devices, and that no other dataplane has the same port. DPDK itself would let two have one TAP or one
 * interface of the kernel, and packets would go to either. So each port has an abstract Unix socket of its name, which is its
 * network namespace's, and gone with whoever holds it.
 */
#include "host_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "start.h"

static int port_locks[WEIR_MAX_PORTS];
static unsigned n_port_locks;

static uint64_t read_number(const char *folder, const char *size, const char *name)
{
	char path[PATH_MAX], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", folder, size, name);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	return strtoull(text, NULL, 10);
}

void host_hugepages(const char *root, struct host_hugepages *out)
{
	const struct dirent *e;
	char folder[PATH_MAX];
	DIR *dir;

	*out = (struct host_hugepages){0};
	snprintf(folder, sizeof(folder), "%s/sys/kernel/mm/hugepages", root);
	dir = opendir(folder);
	while (dir && (e = readdir(dir)) != NULL) {
		uint64_t kb;

		if (sscanf(e->d_name, "hugepages-%" SCNu64 "kB", &kb) != 1)
			continue;
		out->free_mb += read_number(folder, e->d_name, "free_hugepages") * kb >> 10;
		out->all_mb += read_number(folder, e->d_name, "nr_hugepages") * kb >> 10;
	}
	if (dir)
		closedir(dir);
}

static int check_hugepages(const struct config *c)
{
	uint64_t need_mb = c->memory_mb ? c->memory_mb : eal_memory_mb(c);
	struct host_hugepages h;

	if (!c->hugepages)
		return 0;
	host_hugepages("", &h);
	if (h.all_mb == 0) {
		log_error("memory: this machine has reserved no hugepages, and about %" PRIu64 " MiB are needed: `weir-host tune --apply "
			  "--persistent hugepages` reserves them (memory: {hugepages: false} goes without, for ports that are no PCI device)", need_mb);
		return -ENOMEM;
	}
	if (h.free_mb == 0) {
		log_error("memory: all %" PRIu64 " MiB of hugepages are used up by other programs, and about %" PRIu64 " MiB are needed: stop those, or "
			  "`weir-host tune --apply --persistent hugepages` reserves more", h.all_mb, need_mb);
		return -ENOMEM;
	}
	if (h.free_mb < need_mb)
		log_warn("memory: %" PRIu64 " of %" PRIu64 " MiB of hugepages are free, and about %" PRIu64 " MiB are needed; `weir-host check hugepages` "
			 "says what would be enough", h.free_mb, h.all_mb, need_mb);
	return 0;
}

/* The last part of where a link of the device's folder leads. False: there is none. */
static bool read_link(const char *folder, const char *name, char *out, size_t n)
{
	char path[PATH_MAX], to[PATH_MAX];
	const char *last;
	ssize_t got;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	got = readlink(path, to, sizeof(to) - 1);
	if (got < 0)
		return false;
	to[got] = 0;
	last = strrchr(to, '/');
	snprintf(out, n, "%s", last ? last + 1 : to);
	return true;
}

/* Drivers that let DPDK have the device, or share it. */
static bool is_for_dpdk(const char *driver)
{
	static const char *const names[] = {"vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core", "mlx4_core", "mana"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(driver, names[i]) == 0)
			return true;
	return strstr(driver, "vfio") != NULL; /* variants of vfio-pci that know a family of NICs */
}

bool host_check_pci(const char *root, const char *address, char *why, size_t n)
{
	char folder[PATH_MAX], driver[64];

	snprintf(folder, sizeof(folder), "%s/sys/bus/pci/devices/%s", root, address);
	if (access(folder, F_OK) != 0) {
		snprintf(why, n, "there is no such PCI device; `weir-nic list` shows those that there are");
		return false;
	}
	if (!read_link(folder, "driver", driver, sizeof(driver))) {
		snprintf(why, n, "it has no driver; `weir-nic bind %s` gives it the one that DPDK needs", address);
		return false;
	}
	if (!is_for_dpdk(driver)) {
		snprintf(why, n, "the kernel has it (driver %s); `weir-nic bind %s` gives it to DPDK", driver, address);
		return false;
	}
	return true;
}

/* A group of VFIO can be opened once. */
static bool check_group(const char *address, char *why, size_t n)
{
	char folder[PATH_MAX], driver[64], group[32], path[64];
	int fd;

	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%s", address);
	if (!read_link(folder, "driver", driver, sizeof(driver)) || !strstr(driver, "vfio") ||
	    !read_link(folder, "iommu_group", group, sizeof(group)))
		return true;
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return true;
	}
	if (errno == ENOENT)
		return true; /* such as without an IOMMU, where it has another name */
	if (errno == EBUSY)
		snprintf(why, n, "another program has it, or another device of its IOMMU group (`fuser %s` says which): stop that one", path);
	else
		snprintf(why, n, "%s: %s; it is root's, and in a container it must be among the devices that are given to it", path, strerror(errno));
	return false;
}

bool host_vdev_iface(const char *device, char *name, size_t n)
{
	const char *p = strstr(device, ",iface=");
	size_t len;

	if (!p)
		return false;
	p += strlen(",iface=");
	len = strcspn(p, ",");
	if (len == 0 || len >= n)
		return false;
	memcpy(name, p, len);
	name[len] = 0;
	return true;
}

static bool check_vdev(const char *device, char *why, size_t n)
{
	char iface[IF_NAMESIZE];

	if (strncmp(device, "net_af_", 7) != 0 || !host_vdev_iface(device, iface, sizeof(iface)) || if_nametoindex(iface))
		return true;
	snprintf(why, n, "there is no interface %s in this network namespace (`ip link` shows those that there are)", iface);
	return false;
}

/* Who holds the lock. 0: nobody whose word counts. */
static int holder_of(const struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);

	if (fd < 0)
		return 0;
	if (connect(fd, (const struct sockaddr *)addr, len) != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 ||
	    (peer.uid != 0 && peer.uid != geteuid()))
		peer.pid = 0; /* anybody may take an abstract name, but not keep us from starting */
	close(fd);
	return peer.pid;
}

static bool lock_port(const char *name, char *why, size_t n)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int len = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "weir-port/%s", name);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int pid;

	if (fd < 0)
		return true;
	if (bind(fd, (const struct sockaddr *)&addr, size) == 0 && listen(fd, 8) == 0) {
		port_locks[n_port_locks++] = fd;
		return true;
	}
	close(fd);
	pid = errno == EADDRINUSE ? holder_of(&addr, size) : 0;
	if (!pid)
		return true;
	snprintf(why, n, "another weir-dataplane (process %d) has %s: stop it, or give this one another port", pid, name);
	return false;
}

static int check_port(const struct config_port *p)
{
	char why[256], iface[IF_NAMESIZE];
	bool ok;

	if (p->is_pci)
		ok = host_check_pci("", p->device, why, sizeof(why)) && lock_port(p->device, why, sizeof(why)) && check_group(p->device, why, sizeof(why));
	else
		ok = check_vdev(p->device, why, sizeof(why)) &&
		     (!host_vdev_iface(p->device, iface, sizeof(iface)) || lock_port(iface, why, sizeof(why)));
	if (ok)
		return 0;
	log_error("port %s: %s", p->device, why);
	return -ENODEV;
}

int start_host(struct dataplane *d)
{
	int rc = check_hugepages(&d->config);

	for (unsigned i = 0; i < d->config.n_ports; i++) {
		int err = check_port(&d->config.ports[i]);

		rc = rc ? rc : err; /* all that is wrong is said at once */
	}
	if (rc)
		stop_host(d);
	return rc;
}

void stop_host(struct dataplane *d)
{
	while (n_port_locks > 0)
		close(port_locks[--n_port_locks]);
}
