/* SPDX-License-Identifier: Apache-2.0 */
/* The small grammars of Kubernetes objects: names, host names, times, durations. Pure functions of text. */
#ifndef KUBE_NAMES_H
#define KUBE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

/* RFC 1123 label: at most 63 of [a-z0-9-], begins and ends with [a-z0-9]. */
bool names_is_label(const char *s);
/* Labels joined by '.', at most 253 characters. */
bool names_is_subdomain(const char *s);
/* A host of a rule or listener: a subdomain that is no IP address, or "*." and a subdomain. Lower case only. */
bool names_is_host(const char *s);
/* RFC 9110 5.6.2 token: the name of a header or a method. */
bool names_is_token(const char *s);
/* RFC 3339 time stamp to Unix seconds. */
bool names_parse_time(const char *s, int64_t *out);
/* Duration of GEP-2257: one to four of [0-9]{1,5}(h|m|s|ms). In milliseconds. */
bool names_parse_duration(const char *s, uint64_t *ms);

#endif
