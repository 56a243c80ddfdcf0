/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the host keeps ports and memory from working, found before DPDK is started, whose own words for it say less. Each is said with what
 * mends it.
 */
#ifndef WEIR_DATAPLANE_HOST_CHECK_H
#define WEIR_DATAPLANE_HOST_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dataplane;

/* Steps of the start and the stop. The former logs what is wrong and returns -errno. */
int start_host(struct dataplane *d);
void stop_host(struct dataplane *d);

/* Free and all hugepages of the machine, of all sizes, in MiB. root: "", or a folder that stands for / in tests. */
struct host_hugepages {
	uint64_t free_mb, all_mb;
};
void host_hugepages(const char *root, struct host_hugepages *out);

/* False: the device cannot become a port, and why says what is wrong and what mends it. Nothing is opened. */
bool host_check_pci(const char *root, const char *address, char *why, size_t n);

/* "iface=NAME" of a virtual device's arguments. False: it has none, or a longer one. */
bool host_vdev_iface(const char *device, char *name, size_t n);

#endif
