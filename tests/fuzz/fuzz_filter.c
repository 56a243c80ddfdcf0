/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a filter and a packet: refused, or run to an end that does not
 * depend on how the packet lies in memory. First byte: number of instructions;
 * second: length of the packet's first piece; then 8 bytes an instruction,
 * then the packet.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct whole {
	const uint8_t *p;
	uint32_t n, n_head;
};

static void read_bytes(const void *ctx, uint32_t off, uint32_t n, uint8_t *out)
{
	const struct whole *w = ctx;

	if ((n != 1 && n != 2 && n != 4) || n > w->n || off > w->n - n || off + n <= w->n_head)
		abort(); /* asked only for what is there, and not in the first piece */
	memcpy(out, w->p + off, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct weir_bpf_insn insns[UINT8_MAX + 1] = {{0}};
	struct filter_packet p = {0};
	struct whole w;
	uint8_t *packet, *head;
	uint32_t n_insns, wanted;

	if (n < 2)
		return 0;
	n_insns = data[0];
	w.n_head = data[1];
	data += 2;
	n -= 2;
	if (n < n_insns * sizeof(insns[0]))
		return 0;
	memcpy(insns, data, n_insns * sizeof(insns[0]));
	if (filter_check(insns, n_insns) != FILTER_OK)
		return 0;
	data += n_insns * sizeof(insns[0]);
	n -= n_insns * sizeof(insns[0]);
	w.n = (uint32_t)n;
	if (w.n_head > w.n)
		w.n_head = w.n;
	packet = malloc(n ? n : 1); /* exact sizes: one byte too far is seen */
	head = malloc(w.n_head ? w.n_head : 1);
	if (!packet || !head)
		abort();
	memcpy(packet, data, n);
	memcpy(head, data, w.n_head);
	w.p = packet;
	p = (struct filter_packet){.head = packet, .n_head = w.n, .len = w.n};
	wanted = filter_run(insns, &p);
	p = (struct filter_packet){.head = head, .n_head = w.n_head, .len = w.n, .read = read_bytes, .ctx = &w};
	if (filter_run(insns, &p) != wanted)
		abort();
	free(packet);
	free(head);
	return 0;
}
