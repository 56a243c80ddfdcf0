/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classic packet filter: see filter.h. Codes are written out by field, as
 * in bpf(4); the names are ours, since nothing of a packet library is linked.
 */
#include "base/filter.h"

#include <stddef.h>

#define N_SLOTS 16u

/* class */
#define LD 0x00
#define LDX 0x01
#define ST 0x02
#define STX 0x03
#define ALU 0x04
#define JMP 0x05
#define RET 0x06
#define MISC 0x07
/* size and mode of a load */
#define W 0x00
#define H 0x08
#define B 0x10
#define IMM 0x00
#define ABS 0x20
#define IND 0x40
#define MEM 0x60
#define LEN 0x80
#define MSH 0xa0
/* operation, and where its second operand is */
#define ADD 0x00
#define SUB 0x10
#define MUL 0x20
#define DIV 0x30
#define OR 0x40
#define AND 0x50
#define LSH 0x60
#define RSH 0x70
#define NEG 0x80
#define MOD 0x90
#define XOR 0xa0
#define JA 0x00
#define JEQ 0x10
#define JGT 0x20
#define JGE 0x30
#define JSET 0x40
#define K 0x00
#define X 0x08
#define A 0x10
#define TAX 0x00
#define TXA 0x80

const char *filter_fault_text(enum filter_fault fault)
{
	static const char *const texts[] = {
#define TEXT(name, text) [FILTER_##name] = text,
		FILTER_FAULTS(TEXT)
#undef TEXT
	};
	return texts[fault];
}

/* left: instructions behind this one. */
static enum filter_fault check_one(const struct weir_bpf_insn *i, uint32_t left)
{
	switch (i->code) {
	case LD | IMM:
	case LD | W | ABS:
	case LD | H | ABS:
	case LD | B | ABS:
	case LD | W | IND:
	case LD | H | IND:
	case LD | B | IND:
	case LD | W | LEN:
	case LDX | IMM:
	case LDX | W | LEN:
	case LDX | B | MSH:
	case ALU | ADD | K:
	case ALU | ADD | X:
	case ALU | SUB | K:
	case ALU | SUB | X:
	case ALU | MUL | K:
	case ALU | MUL | X:
	case ALU | DIV | X:
	case ALU | MOD | X:
	case ALU | OR | K:
	case ALU | OR | X:
	case ALU | AND | K:
	case ALU | AND | X:
	case ALU | XOR | K:
	case ALU | XOR | X:
	case ALU | LSH | X:
	case ALU | RSH | X:
	case ALU | NEG:
	case RET | K:
	case RET | A:
	case MISC | TAX:
	case MISC | TXA:
		return FILTER_OK;
	case LD | MEM:
	case LDX | MEM:
	case ST:
	case STX:
		return i->k < N_SLOTS ? FILTER_OK : FILTER_BAD_MEMORY;
	case ALU | DIV | K:
	case ALU | MOD | K:
		return i->k != 0 ? FILTER_OK : FILTER_BAD_CONSTANT;
	case ALU | LSH | K:
	case ALU | RSH | K:
		return i->k < 32 ? FILTER_OK : FILTER_BAD_CONSTANT;
	case JMP | JA:
		return i->k < left ? FILTER_OK : FILTER_BAD_JUMP;
	case JMP | JEQ | K:
	case JMP | JEQ | X:
	case JMP | JGT | K:
	case JMP | JGT | X:
	case JMP | JGE | K:
	case JMP | JGE | X:
	case JMP | JSET | K:
	case JMP | JSET | X:
		return i->jt < left && i->jf < left ? FILTER_OK : FILTER_BAD_JUMP;
	default:
		return FILTER_BAD_CODE;
	}
}

enum filter_fault filter_check(const struct weir_bpf_insn *insns, uint32_t n)
{
	if (n == 0)
		return FILTER_EMPTY;
	if (n > WEIR_FILTER_MAX)
		return FILTER_TOO_LONG;
	for (uint32_t i = 0; i < n; i++) {
		enum filter_fault f = check_one(&insns[i], n - 1 - i);

		if (f != FILTER_OK)
			return f;
	}
	/* Every other instruction leads to a later one, so this one is reached or another return before it. */
	return insns[n - 1].code == (RET | K) || insns[n - 1].code == (RET | A) ? FILTER_OK : FILTER_NO_END;
}

/* n bytes at off as a number, most significant byte first. False: not in the packet. */
static bool load(const struct filter_packet *p, uint64_t off, uint32_t n, uint32_t *out)
{
	uint8_t bytes[4];
	const uint8_t *b = bytes;
	uint32_t v = 0;

	if (off + n > p->len)
		return false;
	if (off + n <= p->n_head)
		b = p->head + off;
	else
		p->read(p->ctx, (uint32_t)off, n, bytes);
	for (uint32_t i = 0; i < n; i++)
		v = v << 8 | b[i];
	*out = v;
	return true;
}

static uint32_t compute(uint16_t code, uint32_t a, uint32_t v)
{
	switch (code & 0xf0) {
	case ADD:
		return a + v;
	case SUB:
		return a - v;
	case MUL:
		return a * v;
	case OR:
		return a | v;
	case AND:
		return a & v;
	case XOR:
		return a ^ v;
	case LSH:
		return v < 32 ? a << v : 0;
	case RSH:
		return v < 32 ? a >> v : 0;
	default:
		return 0u - a; /* NEG; DIV and MOD are the caller's, since they can end the program */
	}
}

static bool is_true(uint16_t code, uint32_t a, uint32_t v)
{
	switch (code & 0xf0) {
	case JEQ:
		return a == v;
	case JGT:
		return a > v;
	case JGE:
		return a >= v;
	default:
		return (a & v) != 0; /* JSET */
	}
}

uint32_t filter_run(const struct weir_bpf_insn *insns, const struct filter_packet *p)
{
	static const uint8_t sizes[4] = {4, 2, 1, 0};
	uint32_t a = 0, x = 0, v;
	uint32_t mem[N_SLOTS] = {0};

	for (const struct weir_bpf_insn *i = insns;; i++) {
		uint32_t size = sizes[i->code >> 3 & 3];

		switch (i->code & 0x07) {
		case LD:
			switch (i->code & 0xe0) {
			case IMM:
				a = i->k;
				break;
			case MEM:
				a = mem[i->k];
				break;
			case LEN:
				a = p->len;
				break;
			default:
				if (!load(p, (i->code & 0xe0) == IND ? (uint64_t)x + i->k : i->k, size, &a))
					return 0;
			}
			break;
		case LDX:
			switch (i->code & 0xe0) {
			case IMM:
				x = i->k;
				break;
			case MEM:
				x = mem[i->k];
				break;
			case LEN:
				x = p->len;
				break;
			default: /* the length of an IPv4 header */
				if (!load(p, i->k, 1, &v))
					return 0;
				x = (v & 0xf) << 2;
			}
			break;
		case ST:
			mem[i->k] = a;
			break;
		case STX:
			mem[i->k] = x;
			break;
		case ALU:
			v = i->code & X ? x : i->k;
			if ((i->code & 0xf0) == DIV || (i->code & 0xf0) == MOD) {
				if (v == 0)
					return 0;
				a = (i->code & 0xf0) == DIV ? a / v : a % v;
			} else {
				a = compute(i->code, a, v);
			}
			break;
		case JMP:
			if (i->code == (JMP | JA))
				i += i->k;
			else
				i += is_true(i->code, a, i->code & X ? x : i->k) ? i->jt : i->jf;
			break;
		case RET:
			return i->code & A ? a : i->k;
		default:
			if (i->code & TXA)
				a = x;
			else
				x = a;
		}
	}
}
