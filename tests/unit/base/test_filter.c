/* SPDX-License-Identifier: Apache-2.0 */
/* The packet filter against libpcap's: what its compiler makes, and programs at random, on the same packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <pcap/pcap.h>

#include "base/filter.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define PACKET_MAX 200u

static uint64_t prng;

static uint32_t pick(uint32_t n)
{
	prng = prng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(prng >> 33) % n;
}

/* Frames that filters are written for; mutated and cut by the tests. */
static const char *const frames[] = {
	/* ARP */
	"ffffffffffff020000000009080600010800060400010200000000090a0000010000000000000a000002",
	/* IPv4 TCP SYN with options, 10.0.0.1:4660 > 10.0.0.2:80 */
	"02000000000102000000000908004500003c1c4640004006b1e60a0000010a000002123400500000000100000000a00272104f860000"
	"020405b40402080a0000000100000000010303070000",
	/* the same with a VLAN tag, and data */
	"020000000001020000000009810000070800450000341c4640004006b1e60a0000010a0000021234005000000001000000018018721000000000"
	"0101080a000000010000000047455420",
	/* IPv4 fragment, not the first one */
	"02000000000102000000000908004500001c1c4620254006b1e60a0000010a0000021234005000000001",
	/* IPv4 UDP with IP options, port 53 */
	"02000000000102000000000908004600002400010000401166c50a0000010a000002070401000035003500080000",
	/* ICMP echo */
	"02000000000102000000000908004500001c000100004001ffff0a0000010a0000020800f7ff00000000",
	/* IPv6 TCP, fd00::1 > fd00::2, port 443 */
	"02000000000102000000000986dd6000000000140640fd000000000000000000000000000001fd000000000000000000000000000002"
	"c00001bb00000001000000005002ffff00000000",
	/* IPv6 ICMP neighbour solicitation */
	"33330000000202000000000986dd6000000000183afffd000000000000000000000000000001ff0200000000000000000001ff000002"
	"8700000000000000fd000000000000000000000000000002",
};

static const char *const filters[] = {
	"",
	"tcp",
	"arp",
	"icmp or icmp6",
	"tcp port 80",
	"tcp dst port 80 and host 10.0.0.1",
	"net 10.0.0.0/8 and not udp",
	"ip6 net fd00::/64",
	"host fd00::2 and tcp src portrange 49152-65535",
	"tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0",
	"tcp[tcpflags] == tcp-syn",
	"vlan and tcp",
	"vlan 7 and port 80",
	"ether host 02:00:00:00:00:01 and ether multicast",
	"ip[6:2] & 0x1fff != 0",
	"tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
	"len > 60 and less 80",
	"ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) != 0",
	"udp port 53 or (ip and ip[8] % 3 = 1) or ip[8] ^ 64 = 0",
	"ip6 and ip6[6] = 58 and ip6[40] = 135",
	"(len * 3 + 7) / 2 > 90",
};

/* n bytes on the heap, so that a sanitizer sees one too far. */
static uint8_t *packet_make(uint32_t *n)
{
	const char *hex = frames[pick(COUNT(frames))];
	uint32_t len = (uint32_t)strlen(hex) / 2;
	uint8_t *p;

	*n = pick(4) ? len : pick(len + 1);
	if (pick(8) == 0)
		*n = len + pick(PACKET_MAX - len);
	p = calloc(1, *n ? *n : 1);
	assert_non_null(p);
	for (uint32_t i = 0; i < *n && i < len; i++) {
		unsigned v;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		p[i] = (uint8_t)v;
	}
	for (uint32_t k = pick(4); k > 0 && *n; k--)
		p[pick(*n)] ^= (uint8_t)(1u << pick(8));
	return p;
}

static void read_bytes(const void *ctx, uint32_t off, uint32_t n, uint8_t *out)
{
	memcpy(out, (const uint8_t *)ctx + off, n);
}

/* The whole packet in one piece, then its head cut off at every place that matters. */
static uint32_t run_both(const struct weir_bpf_insn *insns, const uint8_t *packet, uint32_t n)
{
	struct filter_packet p = {.head = packet, .n_head = n, .len = n};
	uint32_t whole = filter_run(insns, &p);

	for (uint32_t cut = 0; cut < n; cut += 1 + cut / 8) {
		uint8_t *head = malloc(cut ? cut : 1);

		assert_non_null(head);
		memcpy(head, packet, cut);
		p = (struct filter_packet){.head = head, .n_head = cut, .len = n, .read = read_bytes, .ctx = packet};
		assert_int_equal(filter_run(insns, &p), whole);
		free(head);
	}
	return whole;
}

static void convert(const struct bpf_program *from, struct weir_bpf_insn *to)
{
	assert_true(from->bf_len <= WEIR_FILTER_MAX);
	for (unsigned i = 0; i < from->bf_len; i++) {
		const struct bpf_insn *b = &from->bf_insns[i];

		to[i] = (struct weir_bpf_insn){.code = (uint16_t)b->code, .jt = b->jt, .jf = b->jf, .k = b->k};
	}
}

static void agrees_with_libpcap_on_what_its_compiler_makes(void **state)
{
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
	unsigned hits = 0, misses = 0;

	prng = 1;
	for (size_t f = 0; f < COUNT(filters); f++) {
		for (int optimize = 0; optimize < 2; optimize++) {
			struct weir_bpf_insn insns[WEIR_FILTER_MAX];
			struct bpf_program program;

			if (pcap_compile(dead, &program, filters[f], optimize, PCAP_NETMASK_UNKNOWN) != 0)
				fail_msg("%s: %s", filters[f], pcap_geterr(dead));
			convert(&program, insns);
			assert_int_equal(filter_check(insns, program.bf_len), FILTER_OK);
			for (int i = 0; i < 2000; i++) {
				uint32_t n;
				uint8_t *packet = packet_make(&n);
				uint32_t wanted = bpf_filter(program.bf_insns, packet, n, n);

				if (run_both(insns, packet, n) != wanted)
					fail_msg("%s: not as libpcap has it", filters[f]);
				hits += wanted != 0;
				misses += wanted == 0;
				free(packet);
			}
			pcap_freecode(&program);
		}
	}
	pcap_close(dead);
	assert_true(hits > 10000);
	assert_true(misses > 10000);
}

/* Every code there is, mostly with operands that make sense. */
static struct bpf_insn insn_make(uint32_t left)
{
	static const uint16_t codes[] = {0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80, 0x01, 0x61, 0x81, 0xb1, 0x02,
					 0x03, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64,
					 0x6c, 0x74, 0x7c, 0x84, 0x94, 0x9c, 0xa4, 0xac, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35,
					 0x3d, 0x45, 0x4d, 0x06, 0x16, 0x07, 0x87};
	static const uint32_t ks[] = {0, 1, 4, 12, 14, 15, 16, 31, 32, 40, 0x800, 0x86dd, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct bpf_insn b = {.code = codes[pick(COUNT(codes))], .k = pick(3) ? pick(16) : ks[pick(COUNT(ks))]};

	if (pick(50) == 0)
		b.code = (u_short)pick(65536);
	b.jt = (u_char)pick(left + (pick(20) == 0) + (left == 0));
	b.jf = (u_char)pick(left + (pick(20) == 0) + (left == 0));
	if (b.code == 0x05 && pick(20))
		b.k = pick(left + (left == 0));
	return b;
}

static void agrees_with_libpcap_on_programs_at_random(void **state)
{
	unsigned checked = 0, hits = 0;

	prng = 2;
	for (int i = 0; i < 200000; i++) {
		struct bpf_insn b[64];
		struct weir_bpf_insn w[64];
		struct bpf_program program = {.bf_insns = b};
		uint32_t n = 1 + pick(24), packet_len, wanted;
		uint8_t *packet;

		/* libpcap leaves the memory as it is; we clear it. */
		for (uint32_t k = 0; k < 16; k++)
			b[program.bf_len++] = (struct bpf_insn){.code = BPF_ST, .k = k};
		for (uint32_t k = 0; k < n; k++)
			b[program.bf_len++] = insn_make(n - 1 - k);
		if (pick(10))
			b[program.bf_len - 1] = (struct bpf_insn){.code = pick(2) ? 0x06 : 0x16, .k = 77};
		convert(&program, w);
		if (filter_check(w, program.bf_len) != FILTER_OK)
			continue;
		checked++;
		assert_int_not_equal(bpf_validate(b, (int)program.bf_len), 0);
		packet = packet_make(&packet_len);
		wanted = bpf_filter(b, packet, packet_len, packet_len);
		assert_int_equal(run_both(w, packet, packet_len), wanted);
		hits += wanted != 0;
		free(packet);
	}
	assert_true(checked > 20000);
	assert_true(hits > 5000);
}

static void refuses_what_might_not_end_or_read_elsewhere(void **state)
{
	const struct weir_bpf_insn end = {0x06, 0, 0, 1};
	static const struct {
		enum filter_fault fault;
		struct weir_bpf_insn first;
	} cases[] = {
		{FILTER_OK, {0x15, 1, 1, 0}},		/* both branches to the last one */
		{FILTER_BAD_JUMP, {0x15, 2, 0, 0}},	/* one past the end */
		{FILTER_BAD_JUMP, {0x15, 0, 255, 0}},
		{FILTER_OK, {0x05, 0, 0, 1}},
		{FILTER_BAD_JUMP, {0x05, 0, 0, 2}},
		{FILTER_BAD_JUMP, {0x05, 0, 0, UINT32_MAX}}, /* to itself, if it wrapped: a loop */
		{FILTER_BAD_JUMP, {0x05, 0, 0, 0x80000000}},
		{FILTER_OK, {0x60, 0, 0, 15}},
		{FILTER_BAD_MEMORY, {0x60, 0, 0, 16}},
		{FILTER_BAD_MEMORY, {0x61, 0, 0, UINT32_MAX}},
		{FILTER_BAD_MEMORY, {0x02, 0, 0, 16}},
		{FILTER_BAD_MEMORY, {0x03, 0, 0, 1u << 31}},
		{FILTER_BAD_CONSTANT, {0x34, 0, 0, 0}},
		{FILTER_BAD_CONSTANT, {0x94, 0, 0, 0}},
		{FILTER_BAD_CONSTANT, {0x64, 0, 0, 32}},
		{FILTER_BAD_CONSTANT, {0x74, 0, 0, UINT32_MAX}},
		{FILTER_BAD_CODE, {0xff, 0, 0, 0}},
		{FILTER_BAD_CODE, {0x0100, 0, 0, 0}},	/* the low byte alone would be good */
		{FILTER_BAD_CODE, {0x8c, 0, 0, 0}},
		{FILTER_BAD_CODE, {0x0e, 0, 0, 0}},
	};
	struct weir_bpf_insn program[WEIR_FILTER_MAX + 1];

	for (size_t i = 0; i < COUNT(cases); i++) {
		program[0] = cases[i].first;
		program[1] = program[2] = end;
		if (filter_check(program, 3) != cases[i].fault)
			fail_msg("case %zu: %s", i, filter_fault_text(filter_check(program, 3)));
	}
	assert_int_equal(filter_check(program, 0), FILTER_EMPTY);
	program[0] = (struct weir_bpf_insn){0x00, 0, 0, 1};
	assert_int_equal(filter_check(program, 1), FILTER_NO_END);
	program[0] = (struct weir_bpf_insn){0x15, 0, 0, 0};
	assert_int_equal(filter_check(program, 1), FILTER_BAD_JUMP);
	for (uint32_t i = 0; i < WEIR_FILTER_MAX + 1; i++)
		program[i] = end;
	assert_int_equal(filter_check(program, WEIR_FILTER_MAX), FILTER_OK);
	assert_int_equal(filter_check(program, WEIR_FILTER_MAX + 1), FILTER_TOO_LONG);
	assert_int_equal(filter_check(program, UINT32_MAX), FILTER_TOO_LONG);
}

/* libpcap makes loops for this one: such a filter does not reach a worker. */
static void refuses_the_loops_of_protochain(void **state)
{
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
	struct weir_bpf_insn insns[WEIR_FILTER_MAX];
	struct bpf_program program;

	assert_int_equal(pcap_compile(dead, &program, "ip6 protochain 6", 0, PCAP_NETMASK_UNKNOWN), 0);
	convert(&program, insns);
	assert_int_equal(filter_check(insns, program.bf_len), FILTER_BAD_JUMP);
	pcap_freecode(&program);
	pcap_close(dead);
}

static void loads_out_of_the_packet_end_it(void **state)
{
	const uint8_t packet[4] = {1, 2, 3, 4};
	const struct filter_packet p = {.head = packet, .n_head = 4, .len = 4};
	struct weir_bpf_insn program[] = {{0x01, 0, 0, 0}, {0x40, 0, 0, 0}, {0x06, 0, 0, 9}}; /* ldx #x; ld [x + k]; ret #9 */

	assert_int_equal(filter_run(program, &p), 9);
	program[1].k = 1;
	assert_int_equal(filter_run(program, &p), 0);
	program[0].k = UINT32_MAX; /* x + k wraps to 0 */
	assert_int_equal(filter_run(program, &p), 0);
	program[1].code = 0x50;
	assert_int_equal(filter_run(program, &p), 0);
	program[0].k = 3;
	program[1].k = 0;
	assert_int_equal(filter_run(program, &p), 9);
	program[1].k = 1;
	assert_int_equal(filter_run(program, &p), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_libpcap_on_what_its_compiler_makes),
		cmocka_unit_test(agrees_with_libpcap_on_programs_at_random),
		cmocka_unit_test(refuses_what_might_not_end_or_read_elsewhere),
		cmocka_unit_test(refuses_the_loops_of_protochain),
		cmocka_unit_test(loads_out_of_the_packet_end_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
