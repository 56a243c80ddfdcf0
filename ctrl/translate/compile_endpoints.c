/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints of one backend of the model as a blob of their own. */
#include "translate/compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

uint64_t compile_backend_id(const char *name)
{
	return hash_backend(name);
}

uint64_t compile_id_of(const struct model_backend *b)
{
	return b->id ? b->id : hash_backend(b->name);
}

int compile_endpoints(const struct model_backend *b, uint64_t version, void **blob, size_t *n)
{
	size_t count_max = b->n_endpoints < WEIR_ENDPOINTS_MAX ? b->n_endpoints : WEIR_ENDPOINTS_MAX;
	size_t size = sizeof(struct weir_endpoint_set) + count_max * sizeof(struct weir_endpoint);
	struct weir_endpoint_set *s = calloc(1, size);

	if (!s)
		return -ENOMEM;
	s->magic = WEIR_ENDPOINTS_MAGIC;
	s->abi_major = WEIR_ABI_MAJOR;
	s->abi_minor = WEIR_ABI_MINOR;
	s->size = (uint32_t)size;
	s->backend_id = compile_id_of(b);
	s->version = version;
	s->n_endpoints = (uint32_t)count_max;
	if (count_max)
		memcpy(s->ep, b->endpoints, count_max * sizeof(s->ep[0]));
	s->checksum = hash64_zeroed(s, size, offsetof(struct weir_endpoint_set, checksum), 8, 0);
	*blob = s;
	*n = size;
	return 0;
}
