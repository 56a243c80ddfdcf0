/* SPDX-License-Identifier: Apache-2.0 */
#include "paths/blob.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/ip.h"
#include "paths/prefix.h"

const struct weir_pod_path *paths_blob_list(const struct weir_paths *p)
{
	return (const struct weir_pod_path *)(const void *)(p + 1);
}

static int compare(const void *pa, const void *pb)
{
	const struct weir_pod_path *a = pa, *b = pb;
	const struct ip_prefix x = {a->prefix, a->prefix_len}, y = {b->prefix, b->prefix_len};

	return prefix_compare(&x, &y);
}

static uint64_t checksum(const struct weir_paths *p, size_t size)
{
	return hash64_zeroed(p, size, offsetof(struct weir_paths, checksum), sizeof(p->checksum), 0);
}

struct weir_paths *paths_blob_make(const struct weir_pod_path *list, size_t n, const struct weir_vtep *vtep, size_t *size)
{
	struct weir_paths *p;

	*size = sizeof(*p) + n * sizeof(*list);
	p = calloc(1, *size);
	if (!p)
		return NULL;
	*p = (struct weir_paths){.magic = WEIR_PATHS_MAGIC,
				 .abi_major = WEIR_ABI_MAJOR,
				 .abi_minor = WEIR_ABI_MINOR,
				 .n_paths = (uint32_t)n};
	memcpy(p->vtep, vtep, sizeof(p->vtep));
	if (n) {
		memcpy(p + 1, list, n * sizeof(*list));
		qsort(p + 1, n, sizeof(*list), compare);
	}
	p->checksum = checksum(p, *size);
	return p;
}

/* ---- checking */

static bool is_clear(const struct weir_pod_path *p)
{
	for (unsigned i = p->prefix_len + (ip_is4(&p->prefix) ? 96u : 0); i < 128; i++)
		if (p->prefix.b[i / 8] & 0x80u >> i % 8)
			return false;
	return true;
}

static bool is_sound(const struct weir_pod_path *p, const struct weir_paths *head)
{
	bool is4 = ip_is4(&p->prefix);

	if (p->prefix_len > (is4 ? 32 : 128) || !is_clear(p) || ip_is_any(&p->via))
		return false;
	if (p->kind == WEIR_PATH_ROUTE)
		return ip_is4(&p->via) == is4;
	return p->kind == WEIR_PATH_VXLAN && !ip_is_any(&head->vtep[!is4].source);
}

static bool is_sound_end(const struct weir_vtep *v, bool is4)
{
	static const struct weir_vtep none;

	if (memcmp(v, &none, sizeof(*v)) == 0)
		return true;
	return !ip_is_any(&v->source) && ip_is4(&v->source) == is4 && v->port > 0 && v->vni < 1u << 24 && !(v->flags & ~(uint32_t)WEIR_VTEP_ANY_VNI);
}

enum weir_refusal paths_blob_check(const void *bytes, size_t n)
{
	const struct weir_paths *p = bytes;
	const struct weir_pod_path *list;

	if (n < sizeof(*p))
		return WEIR_REFUSED_TRUNCATED;
	if (p->magic != WEIR_PATHS_MAGIC)
		return WEIR_REFUSED_BAD_MAGIC;
	if (p->abi_major != WEIR_ABI_MAJOR)
		return WEIR_REFUSED_BAD_ABI;
	if (p->n_paths > WEIR_MAX_PATHS)
		return WEIR_REFUSED_TOO_BIG;
	if (n != sizeof(*p) + p->n_paths * sizeof(*list))
		return WEIR_REFUSED_TRUNCATED;
	if (p->checksum != checksum(p, n))
		return WEIR_REFUSED_BAD_CHECKSUM;
	if (!is_sound_end(&p->vtep[0], true) || !is_sound_end(&p->vtep[1], false))
		return WEIR_REFUSED_BAD_VALUE;
	list = paths_blob_list(p);
	for (uint32_t i = 0; i < p->n_paths; i++) {
		if (!is_sound(&list[i], p))
			return WEIR_REFUSED_BAD_VALUE;
		if (i > 0 && compare(&list[i - 1], &list[i]) >= 0)
			return WEIR_REFUSED_BAD_ORDER;
	}
	return WEIR_REFUSED_OK;
}
