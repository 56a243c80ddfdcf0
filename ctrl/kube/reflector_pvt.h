/* SPDX-License-Identifier: Apache-2.0 */
/* Within kube/: the paths of a reflector's requests, with their queries, encoded (RFC 3986). */
#ifndef KUBE_REFLECTOR_PVT_H
#define KUBE_REFLECTOR_PVT_H

#include "kube/reflector.h"

/* "/api/v1" or "/apis/GROUP/VERSION", and the namespace. Returns its length. */
int reflector_base_path(const struct reflector *r, char *out, size_t cap, bool with_ns);
/* The next page of a list. To be freed; NULL without memory. */
char *reflector_list_path(const struct reflector *r);
/* A watch from this version, or, NULL, with all there is first. To be freed; NULL without memory. */
char *reflector_watch_path(const struct reflector *r, const char *version, uint64_t timeout_s);

#endif
