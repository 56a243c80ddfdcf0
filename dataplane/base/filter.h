/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classic packet filter (McCanne and Jacobson, "The BSD Packet Filter",
 * 1993): a program of at most WEIR_FILTER_MAX instructions that says how many
 * bytes of a packet are wanted. filter_check() accepts only what ends: jumps
 * go forward and stay inside. So filter_run() takes at most one step for each
 * instruction, and reads nothing outside of the packet.
 */
#ifndef BASE_FILTER_H
#define BASE_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/diag.h"

/* What filter_check() finds wrong, X(enumerator, text) */
#define FILTER_FAULTS(X) \
	X(OK, "good") \
	X(EMPTY, "no instruction") \
	X(TOO_LONG, "more instructions than a filter may have") \
	X(BAD_CODE, "unknown instruction") \
	X(BAD_JUMP, "jump backward or out of the program") \
	X(BAD_MEMORY, "memory slot out of bounds") \
	X(BAD_CONSTANT, "division by zero, or shift by more than 31") \
	X(NO_END, "the last instruction is not a return")

enum filter_fault {
#define X(name, text) FILTER_##name,
	FILTER_FAULTS(X)
#undef X
};

enum filter_fault filter_check(const struct weir_bpf_insn *insns, uint32_t n);
const char *filter_fault_text(enum filter_fault fault);

/* A packet whose first bytes lie in one piece; what is behind them is fetched by read(). */
struct filter_packet {
	const uint8_t *head;
	uint32_t n_head; /* at most len */
	uint32_t len;
	/* Copies n (1, 2 or 4) bytes from off; they are in the packet. May be NULL if n_head is len. */
	void (*read)(const void *ctx, uint32_t off, uint32_t n, uint8_t *out);
	const void *ctx;
};

/* Bytes wanted of the packet, 0: none. The program was checked. A load from outside of the packet ends it with 0. */
uint32_t filter_run(const struct weir_bpf_insn *insns, const struct filter_packet *p);

#endif
