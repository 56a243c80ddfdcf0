/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the file of OCSP responses in weir-ctrl's state folder: found is what a second, plainer reader finds, each under its
 * key, and under no other; written again it is the same bytes, if nothing was wrong with them, and read again the same set. The
 * stapler that hands out what is written is this file's. First byte, bits: 0, the head is made right; 1, the number in it, too;
 * 2, it is read at other lengths besides; 3, it grows past the most that is read. So the fuzzer reaches what is behind them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ocsp/check.h"
#include "staple_file.h"

#define HEAD_BYTES 24u /* as staple_file.h says: magic, version, number, size */
#define SIZE_AT OCSP_KEY_BYTES
#define DER_AT (OCSP_KEY_BYTES + 4u)
#define N_CUTS 64u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct staple_file_limits limits = {STAPLE_FILE_MAX, STAPLE_FILE_MAX_BYTES};
static char folder[64], path[128];

static void clean_up(void)
{
	unlink(path);
	rmdir(folder);
}

static void must(bool is_true)
{
	if (is_true)
		return;
	clean_up();
	abort();
}

/* What stands in a file: where each entry begins. */
struct entries {
	const uint8_t *bytes;
	size_t at[STAPLE_FILE_MAX], n, end;
	enum staple_file_refusal refused;
};

static uint32_t size_at(const uint8_t *p)
{
	uint32_t size;

	memcpy(&size, p, sizeof(size));
	return size;
}

/* Of n bytes from at on; 0: none is whole there. */
static size_t entry_bytes(const uint8_t *bytes, size_t n, size_t at)
{
	uint64_t size = n - at >= DER_AT ? size_at(bytes + at + SIZE_AT) : 0;

	return size == 0 || size > OCSP_RESPONSE_MAX || at + DER_AT + size > n ? 0 : DER_AT + (size_t)size;
}

static enum staple_file_refusal head_refused(const uint8_t *bytes, size_t n)
{
	if (n < HEAD_BYTES)
		return STAPLE_FILE_TRUNCATED;
	if (memcmp(bytes, "WEIROCSP", 8) != 0)
		return STAPLE_FILE_FOREIGN;
	if (size_at(bytes + 8) != 1)
		return STAPLE_FILE_OTHER_VERSION;
	return size_at(bytes + 12) > STAPLE_FILE_MAX ? STAPLE_FILE_MALFORMED : STAPLE_FILE_OK;
}

static void read_plainly(struct entries *e, const uint8_t *bytes, size_t n)
{
	uint64_t size;
	uint32_t wanted;

	e->bytes = bytes;
	e->n = 0;
	e->end = HEAD_BYTES;
	e->refused = head_refused(bytes, n);
	if (e->refused != STAPLE_FILE_OK)
		return;
	wanted = size_at(bytes + 12);
	memcpy(&size, bytes + 16, sizeof(size));
	while (e->n < wanted) {
		size_t k = entry_bytes(bytes, n, e->end);

		if (!k) {
			uint32_t says = n - e->end >= DER_AT ? size_at(bytes + e->end + SIZE_AT) : 1;

			e->refused = says == 0 || says > OCSP_RESPONSE_MAX ? STAPLE_FILE_MALFORMED : STAPLE_FILE_TRUNCATED;
			return;
		}
		e->at[e->n++] = e->end;
		e->end += k;
	}
	if (e->end != n || size != n)
		e->refused = STAPLE_FILE_TRUNCATED;
}

/* ---- the stapler */

static const struct entries *given;

uint64_t stapler_version(const struct stapler *s)
{
	return 1;
}

void stapler_each(const struct stapler *s, stapler_each_fn *fn, void *ctx)
{
	for (size_t i = 0; i < given->n; i++) {
		const uint8_t *p = given->bytes + given->at[i];

		fn(ctx, p, true, p + DER_AT, size_at(p + SIZE_AT));
	}
}

/* ---- what is on disk */

static void put(const uint8_t *bytes, size_t n, size_t padded)
{
	FILE *f = fopen(path, "wb");

	must(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
	must(padded <= n || truncate(path, (off_t)padded) == 0);
}

static bool is_on_disk(const uint8_t *bytes, size_t n)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = malloc(n + 1);
	bool is_same = f && p && fread(p, 1, n + 1, f) == n && memcmp(p, bytes, n) == 0;

	if (f)
		fclose(f);
	free(p);
	return is_same;
}

/* One of those under the key: a file may have several. */
static bool is_one_of(const struct entries *e, const uint8_t *key, const uint8_t *der, size_t n)
{
	for (size_t i = 0; i < e->n; i++) {
		const uint8_t *p = e->bytes + e->at[i];

		if (memcmp(p, key, OCSP_KEY_BYTES) == 0 && size_at(p + SIZE_AT) == n && memcmp(p + DER_AT, der, n) == 0)
			return true;
	}
	return false;
}

static void check_found(struct staple_file *f, const struct entries *e)
{
	struct staple_file_status st;
	size_t n = 0;

	staple_file_status(f, &st);
	must(st.refused == e->refused && st.n_found == e->n);
	for (size_t i = 0; i < e->n; i++) {
		uint8_t key[OCSP_KEY_BYTES];
		const uint8_t *der;

		memcpy(key, e->bytes + e->at[i], sizeof(key));
		der = staple_file_find(f, key, &n);
		must(der && is_one_of(e, key, der, n));
		key[i % sizeof(key)] ^= 1;
		der = staple_file_find(f, key, &n);
		must(!der || is_one_of(e, key, der, n));
	}
}

static void check_read(const struct entries *e)
{
	struct staple_file *f = staple_file_create(folder, &limits, 0);

	must(f != NULL);
	check_found(f, e);
	staple_file_destroy(f);
}

/* A life that finds this and replaces it by the same, and one after it. */
static void check_written_again(struct entries *e, const uint8_t *bytes, size_t n)
{
	struct staple_file *f = staple_file_create(folder, &limits, 0);
	const uint64_t later_ms = 2 * STAPLE_FILE_SETTLE_MS;
	struct staple_file_status st;

	must(f != NULL);
	check_found(f, e);
	given = e;
	staple_file_update(f, NULL, later_ms);
	staple_file_update(f, NULL, 2 * later_ms);
	staple_file_finish(f, NULL);
	staple_file_status(f, &st);
	must(st.n_writes == 1 && st.n_failures == 0 && st.n_saved == e->n && st.n_left_out == 0);
	staple_file_destroy(f);
	must(e->refused != STAPLE_FILE_OK || is_on_disk(bytes, n));
	e->refused = STAPLE_FILE_OK;
	check_read(e);
}

/* ---- the input */

static void mend(uint8_t mends, uint8_t *bytes, size_t n)
{
	static const uint8_t version[4] = {1};
	uint64_t size = n;
	uint32_t n_entries = 0;

	if (n < HEAD_BYTES)
		return;
	if (mends & 1) {
		memcpy(bytes, "WEIROCSP", 8);
		memcpy(bytes + 8, version, sizeof(version));
		memcpy(bytes + 16, &size, sizeof(size));
	}
	if (mends & 2) {
		for (size_t at = HEAD_BYTES, k; (k = entry_bytes(bytes, n, at)) != 0; at += k)
			n_entries++;
		memcpy(bytes + 12, &n_entries, sizeof(n_entries));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct entries e;
	uint8_t *bytes;

	if (n < 1)
		return 0;
	n--;
	bytes = malloc(n + 1);
	must(bytes != NULL);
	memcpy(bytes, data + 1, n);
	mend(data[0], bytes, n);
	for (size_t cut = 0; data[0] & 4 && cut < n; cut += 1 + n / N_CUTS) {
		put(bytes, cut, 0);
		read_plainly(&e, bytes, cut);
		check_read(&e);
	}
	read_plainly(&e, bytes, n);
	if (data[0] & 8) {
		e.n = 0;
		e.refused = STAPLE_FILE_TOO_LARGE;
	}
	put(bytes, n, data[0] & 8 ? STAPLE_FILE_MAX_BYTES + 1 : 0);
	check_written_again(&e, bytes, n);
	free(bytes);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_init("fuzz", LOG_LEVEL_ERROR);
	snprintf(folder, sizeof(folder), "%s/weir-fuzz-staples-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	must(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/%s", folder, STAPLE_FILE);
	atexit(clean_up);
	return 0;
}
