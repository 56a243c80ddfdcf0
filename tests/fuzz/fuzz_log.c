/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a worker's ring of the access log: the reader of weir-ctrl ends,
 * accounts for each record, hands out none whose texts lead out of it, and
 * makes of each a line of JSON. First byte: number of slots (two bits), which
 * of them have the right number (four bits); then the ring's head and the
 * number that is read next, 8 bytes each; then the records.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "log_line.h"
#include "log_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MAX_SLOTS 4u
#define N_HEAD 17u

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static uint64_t number_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* A region of exact size: one byte too far is seen. */
static struct weir_log_region *make_region(const uint8_t *data, size_t n)
{
	const size_t workers_off = (sizeof(struct weir_log_region) + 127) & ~(size_t)127;
	const size_t records_off = workers_off + sizeof(struct weir_log_worker);
	uint32_t n_slots = (data[0] & 3) + 1;
	size_t size = records_off + n_slots * sizeof(struct weir_log_record);
	struct weir_log_region *r = aligned_alloc(128, size);
	struct weir_log_record *records;
	struct weir_log_worker *w;
	uint64_t head = number_at(data + 1);

	must(r != NULL && size % 128 == 0);
	memset(r, 0, size);
	r->n_workers = 1;
	r->n_slots = n_slots;
	r->size = size;
	r->workers_off = workers_off;
	r->records_off = records_off;
	w = (struct weir_log_worker *)(void *)((char *)r + workers_off);
	w->head = head;
	records = (struct weir_log_record *)(void *)((char *)r + records_off);
	n -= N_HEAD;
	memcpy(records, data + N_HEAD, n < size - records_off ? n : size - records_off);
	for (uint32_t i = 0; i < n_slots; i++) /* the latest number that this slot can have */
		if (data[0] >> (2 + i) & 1)
			records[i].seq = head - (head + n_slots - 1 - i) % n_slots;
	return r;
}

static void check_record(const struct weir_log_record *r)
{
	static char line[LOG_LINE_MAX];
	json_error_t e;
	size_t n_text = 0;
	struct buf b;
	json_t *o;

	for (unsigned i = 0; i < WEIR_N_LOG_TEXTS; i++)
		n_text += r->len[i];
	must(n_text <= sizeof(r->text));
	buf_init(&b, line, sizeof(line));
	log_line_write(&b, r, 0);
	must(!b.overflow && b.n > 0 && b.p[b.n - 1] == '\n' && !memchr(b.p, '\n', b.n - 1));
	o = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
	must(json_is_object(o));
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct weir_log_region *region;
	struct log_losses losses = {0};
	struct log_ring ring;
	uint64_t n_read = 0;
	uint64_t head, next;

	if (n < N_HEAD)
		return 0;
	region = make_region(data, n);
	head = log_ring_head(region, 0);
	next = number_at(data + 9);
	log_ring_init(&ring, region, 0, next);
	for (;;) {
		struct weir_log_record *r = malloc(sizeof(*r));

		must(r != NULL);
		if (!log_ring_read(&ring, r, &losses)) {
			free(r);
			break;
		}
		must(r->seq == ring.next);
		check_record(r);
		n_read++;
		free(r);
	}
	must(n_read <= region->n_slots);
	if (head - next <= INT64_MAX) { /* each record was read, or is known to be lost */
		must(ring.next == head);
		must(n_read + losses.n_overwritten + losses.n_malformed == head - next);
	} else {
		must(ring.next == next && n_read == 0);
	}
	free(region);
	return 0;
}
