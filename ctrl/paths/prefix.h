/* SPDX-License-Identifier: Apache-2.0 */
/* Prefixes and addresses of Nodes, as far as a way may lead to them. */
#ifndef PATHS_PREFIX_H
#define PATHS_PREFIX_H

#include "base/ip.h"

#define PREFIX_TEXT_MAX 52 /* with its NUL */

/*
 * A prefix of pods that is wider than that is a mistake, and would take what is none of theirs: the controller manager
 * divides a cluster's among its nodes.
 */
#define PREFIX_MIN4 8u
#define PREFIX_MIN6 32u

/*
 * "10.244.1.0/24"; bits beyond the length are cleared. 0, -EINVAL: it is none, -ERANGE: it is too wide, or of loopback,
 * link-local, multicast or unspecified addresses.
 */
int prefix_read(const char *text, struct ip_prefix *out);
/* One of them has all addresses of the other. */
bool prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
/* By the bytes of the address, then by length. */
int prefix_compare(const struct ip_prefix *a, const struct ip_prefix *b);
/* Into PREFIX_TEXT_MAX bytes; returns them. */
char *prefix_format(const struct ip_prefix *p, char *out);
/* An address of a host that others can reach: 0, or -EINVAL. */
int prefix_read_host(const char *text, struct weir_ip *out);

#endif
