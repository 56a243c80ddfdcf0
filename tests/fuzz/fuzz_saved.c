/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the file of weir-ctrl's state folder: what is taken can be read
 * to its end, and made again from its parts. First byte, bits: 0, the head and
 * its checksum are made right; 1, those of the parts, too. So the fuzzer
 * reaches what is behind them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "saved.h"
#include "snapshot/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void seal(char *part, size_t n, size_t checksum_off)
{
	uint64_t sum = hash64_zeroed(part, n, checksum_off, 8, 0);

	memcpy(part + checksum_off, &sum, sizeof(sum));
}

/* As far as the sizes of the parts lead. */
static void seal_parts(char *bytes, size_t n)
{
	size_t at = sizeof(struct saved_head);
	uint64_t paths = n >= at ? ((const struct saved_head *)(const void *)bytes)->paths_bytes : 0;
	bool is_first = true;

	if (paths >= sizeof(struct weir_paths) && paths <= n - at && paths % 8 == 0) {
		n -= paths;
		seal(bytes + n, paths, offsetof(struct weir_paths, checksum));
	}

	while (at + sizeof(struct weir_endpoint_set) <= n) {
		uint32_t size;

		memcpy(&size, bytes + at + offsetof(struct weir_snapshot, size), sizeof(size));
		if (size < sizeof(struct weir_endpoint_set) || size > n - at)
			return;
		if (is_first)
			seal(bytes + at, size, offsetof(struct weir_snapshot, checksum));
		else
			seal(bytes + at, size, offsetof(struct weir_endpoint_set, checksum));
		is_first = false;
		at += ((size_t)size + 7) & ~(size_t)7;
	}
}

static const struct weir_endpoint_set *find(const void *ctx, uint64_t id)
{
	const struct saved *s = ctx;
	const struct weir_endpoint_set *e = NULL;

	for (uint32_t i = 0; i < s->n_sets; i++) {
		e = saved_next(s, e);
		if (e->backend_id == id)
			return e;
	}
	return NULL;
}

static void check_taken(const struct saved *s, size_t n)
{
	struct saved again;
	void *bytes;
	size_t n_again;

	must(saved_make(&(struct saved_parts){.snapshot = s->snapshot, .find = find, .ctx = s, .paths = s->paths, .paths_bytes = s->paths_bytes}, 1,
			&bytes, &n_again) == 0);
	must(n_again == n);
	saved_seal(bytes, n_again);
	must(saved_check(bytes, n_again, 1, false, &again) == SAVED_OK);
	must(again.n_sets == s->n_sets && again.snapshot->size == s->snapshot->size);
	must(memcmp(again.snapshot, s->snapshot, s->snapshot->size) == 0);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct saved_head *head;
	struct saved s;
	char *bytes;

	if (n < 1)
		return 0;
	bytes = malloc(n > 1 ? n - 1 : 1); /* of exact size: one byte too far is seen */
	must(bytes != NULL);
	memcpy(bytes, data + 1, n - 1);
	head = (struct saved_head *)(void *)bytes;
	if (data[0] & 2)
		seal_parts(bytes, n - 1);
	if (data[0] & 1 && n - 1 >= sizeof(*head)) {
		*head = (struct saved_head){.magic = SAVED_MAGIC,
					    .version = SAVED_VERSION,
					    .abi_major = WEIR_ABI_MAJOR,
					    .abi_minor = WEIR_ABI_MINOR,
					    .size = n - 1,
					    .source = head->source,
					    .n_sets = head->n_sets,
					    .paths_bytes = head->paths_bytes};
		saved_seal(bytes, n - 1);
	}
	if (saved_check(bytes, n - 1, 0, true, &s) == SAVED_OK)
		check_taken(&s, n - 1);
	free(bytes);
	return 0;
}
