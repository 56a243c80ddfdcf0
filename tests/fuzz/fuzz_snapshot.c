/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a snapshot or an endpoint set: refused, or safe to read. The
 * first byte says whether the frame (magic, sizes, checksum) is made right
 * first, so that what lies behind it is reached.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "route/route.h"
#include "translate/compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct slice header(const void *ctx, struct slice name)
{
	return slice_str("v");
}

static void use(const struct weir_snapshot *s)
{
	static const char *const hosts[] = {"a.example", "y.x.a.example", "", "q"};
	char *text = NULL;

	for (unsigned i = 0; i < 16; i++) {
		struct route_request rq = {.port = i & 8 ? 81 : 80, .method = slice_str("GET"), .host = slice_str(hosts[i % 4]),
					   .path = slice_str(i & 4 ? "/a/b/c" : "/"), .query = slice_str("k=v&j=w"), .header = header};
		struct route_result r = route_match(s, &rq);

		if (r.miss == ROUTE_HIT)
			route_pick_split(s, snapshot_rule(s, r.rule), i << 28);
	}
	for (uint32_t i = 0; i < snapshot_count(s, FILTERS); i++)
		if (snapshot_filter(s, i)->kind == WEIR_FILTER_CORS)
			route_cors(s, snapshot_filter(s, i), slice_str(i & 1 ? "https://b.example:8443" : "http://a.example:80"));
	if (compile_dump(s, &text) == 0)
		free(text);
}

static void mend_snapshot(struct weir_snapshot *s, size_t n)
{
	s->magic = WEIR_SNAPSHOT_MAGIC;
	s->abi_major = WEIR_ABI_MAJOR;
	s->size = (uint32_t)n;
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_snapshot, checksum), 8, 0);
}

static void mend_set(struct weir_endpoint_set *s, size_t n)
{
	s->magic = WEIR_ENDPOINTS_MAGIC;
	s->abi_major = WEIR_ABI_MAJOR;
	s->size = (uint32_t)n;
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_endpoint_set, checksum), 8, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct snapshot_error err;
	void *blob;

	if (n < 1)
		return 0;
	blob = malloc(n); /* aligned, and one byte too far is seen */
	n--;
	memcpy(blob, data + 1, n);
	if ((data[0] & 1) && n >= sizeof(struct weir_snapshot))
		mend_snapshot(blob, n);
	if (snapshot_check(blob, n, &err) == WEIR_REFUSED_OK)
		use(blob);
	else if (!err.text[0])
		abort(); /* a refusal says why */
	if ((data[0] & 1) && n >= sizeof(struct weir_endpoint_set))
		mend_set(blob, n);
	endpoint_set_check(blob, n, &err);
	free(blob);
	return 0;
}
