/* SPDX-License-Identifier: Apache-2.0 */
/* What an overlay says of an end of its tunnels, as text. */
#ifndef PATHS_OVERLAY_H
#define PATHS_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/paths.h"

#define OVERLAY_DATA_MAX 1024u /* bytes of an annotation; flannel writes some 50 */
#define OVERLAY_VNI_MAX 0xffffffu
#define OVERLAY_PORT 8472u /* flannel's on Linux, and Cilium's */
#define OVERLAY_VNI 1u	   /* flannel's on Linux */

struct overlay_end {
	uint8_t mac[6];
	uint32_t vni;
};

/* "fa:16:3e:d5:28:07": of one host, and not all zero. */
bool overlay_read_mac(const char *text, uint8_t out[6]);
/* 18 bytes with NUL; returns them. */
char *overlay_format_mac(const uint8_t mac[6], char *out);
/*
 * flannel.alpha.coreos.com/backend-data: {"VNI":1,"VtepMAC":"fa:16:3e:d5:28:07"}. Without VNI it is OVERLAY_VNI, since Nodes
 * that stand for others' devices are often written so. NULL, or what is wrong with it.
 */
const char *overlay_read_data(const char *text, struct overlay_end *out);

/* --vtep: what is given of our end, over what a Node says. */
struct overlay_given {
	bool has_source, has_mac, has_vni, has_port;
	struct weir_vtep vtep;
};

/* "source=10.244.7.0,mac=02:00:00:00:00:07,vni=1,port=8472", each once, in any order, one at least. */
bool overlay_read_given(const char *text, struct overlay_given *out);

#endif
