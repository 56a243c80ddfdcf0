/* SPDX-License-Identifier: Apache-2.0 */
/* Where OpenSSL was built without engines, or has none any more (4.0). */
#include <stdio.h>

#include "tls/offload_pvt.h"

bool engine_open(struct offload_device *d, char *why, size_t n)
{
	snprintf(why, n, "the OpenSSL that Weir was built with has no engines; a provider takes their place");
	return false;
}

void engine_close(struct offload_device *d)
{
}

bool engine_use_instance(const struct offload_device *d, unsigned worker)
{
	return true;
}

void engine_poll(const struct offload_device *d)
{
}

EVP_PKEY *engine_key(const struct offload_device *d, const EVP_PKEY *key)
{
	return NULL;
}
