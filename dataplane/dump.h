/* SPDX-License-Identifier: Apache-2.0 */
/* What is left out of a core dump: keys, and what others have said to each other. Stacks, the program's data and its plain heap are in it. */
#ifndef WEIR_DATAPLANE_DUMP_H
#define WEIR_DATAPLANE_DUMP_H

#include "config.h"

/*
 * From now on OpenSSL's objects of the main thread, certificates with their private keys among them, lie in memory that is
 * locked and not dumped. After heap_install(), before anything is made of OpenSSL's. Stays until the process ends.
 */
void dump_hide_main_heap(const struct config *c);
/*
 * DPDK's memory, what there is and what will be: packet buffers with plain requests, and each worker's connections with
 * the secrets of their TCP. After rte_eal_init().
 */
void dump_hide_pools(void);

#endif
