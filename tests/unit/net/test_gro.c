/* SPDX-License-Identifier: Apache-2.0 */
/* Segments received together: merged where that changes nothing for TCP but the number of calls, and only there. */
#include "rig.h"

#include "../../eal.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10
#define URG 0x20
#define ECE 0x40
#define CWR 0x80

#define SEQ 0xffffe000u /* the numbers wrap within a burst */

static uint8_t frames[NET_BURST][1600];
static unsigned lens[NET_BURST];
static unsigned n_frames;
static uint8_t stamps[12] = {1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9};

static struct rig_segment segment(uint32_t off, unsigned n, uint8_t flags)
{
	return (struct rig_segment){.src = RIG_HIM4, .dst = RIG_US4, .sport = 80, .dport = 20001, .seq = SEQ + off, .ack = 77,
				    .flags = flags, .wnd = 1000, .n_options = 12, .options = stamps, .n_payload = n};
}

static void add(const struct rig_segment *s)
{
	lens[n_frames] = rig_build(frames[n_frames], s);
	n_frames++;
}

static void add_data(uint32_t off, unsigned n, uint8_t flags)
{
	struct rig_segment s = segment(off, n, flags);

	add(&s);
}

/* TCP waits for the byte at off. */
static void expect_next(uint32_t off)
{
	rig.has_next = true;
	rig.next_seq = SEQ + off;
}

static void give(int worker)
{
	const uint8_t *ptrs[NET_BURST];

	for (unsigned i = 0; i < n_frames; i++)
		ptrs[i] = frames[i];
	rig_give(worker, ptrs, lens, n_frames);
	n_frames = 0;
}

/* Input i of TCP: payload from off on, n bytes in n_segs segments, right to the byte. */
static void check_input(unsigned i, uint32_t off, unsigned n, unsigned n_segs, uint8_t flags)
{
	const struct rig_input *in = &rig.inputs[i];
	unsigned n_header = (in->data[12] >> 4) * 4u;

	assert_true(i < rig.n_inputs);
	assert_false(in->is_bad);
	assert_int_equal(in->packet.n_segs, n_segs);
	assert_int_equal(in->len - n_header, n);
	assert_int_equal((uint32_t)in->data[4] << 24 | (uint32_t)in->data[5] << 16 | (uint32_t)in->data[6] << 8 | in->data[7],
			 SEQ + off);
	assert_int_equal(in->data[13], flags);
	for (unsigned k = 0; k < n; k++)
		if (in->data[n_header + k] != rig_byte(SEQ + off + k))
			fail_msg("byte %u is wrong", off + k);
}

static void burst_of_one_connection_is_one_call(void **state)
{
	for (unsigned is4 = 0; is4 < 2; is4++) {
		rig.n_inputs = rig.n_asked = 0;
		expect_next(0);
		for (unsigned i = 0; i < NET_BURST; i++) {
			struct rig_segment s = segment(i * 1400, 1400, i == NET_BURST - 1 ? ACK | PSH : ACK);

			if (!is4) {
				s.src = RIG_HIM6;
				s.dst = RIG_US6;
			}
			s.ecn = 2;
			add(&s);
		}
		give(0);
		assert_int_equal(rig.n_inputs, 1);
		assert_int_equal(rig.n_asked, 1);
		check_input(0, 0, NET_BURST * 1400, NET_BURST, ACK | PSH);
		assert_int_equal(rig.inputs[0].packet.ecn, 2);
	}
	assert_int_equal(rig_counter(WEIR_C_RX_MERGED), 2 * (NET_BURST - 1));
}

static void shorter_segment_is_the_last_of_its_run(void **state)
{
	expect_next(0);
	add_data(0, 1400, ACK);
	add_data(1400, 1400, ACK);
	add_data(2800, 300, ACK);
	add_data(3100, 300, ACK);
	add_data(3400, 400, ACK);
	give(0);
	assert_int_equal(rig.n_inputs, 3);
	check_input(0, 0, 3100, 3, ACK);
	check_input(1, 3100, 300, 1, ACK);
	check_input(2, 3400, 400, 1, ACK);
}

static void push_ends_a_run_and_the_next_one_begins(void **state)
{
	expect_next(0);
	add_data(0, 1400, ACK);
	add_data(1400, 1400, ACK | PSH);
	add_data(2800, 1400, ACK);
	add_data(4200, 1400, ACK);
	add_data(5600, 1400, ACK | PSH);
	add_data(7000, 1400, ACK | PSH);
	give(0);
	assert_int_equal(rig.n_inputs, 3);
	check_input(0, 0, 2800, 2, ACK | PSH);
	check_input(1, 2800, 4200, 3, ACK | PSH);
	check_input(2, 7000, 1400, 1, ACK | PSH);
	assert_int_equal(rig.n_asked, 1); /* the second run follows one that is in order */
}

static void what_says_something_else_is_not_merged(void **state)
{
	static const uint8_t other_stamps[12] = {1, 1, 8, 10, 0, 0, 0, 8, 0, 0, 0, 9};
	static const uint8_t other_echo[12] = {1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 10};
	static const uint8_t sack[24] = {1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2};
	const uint8_t flags[] = {ACK | FIN, ACK | RST, ACK | SYN, ACK | URG, ACK | ECE, ACK | CWR, PSH, 0};
	struct rig_segment cases[16];
	unsigned n = 0;

	for (unsigned i = 0; i < RTE_DIM(cases); i++)
		cases[i] = segment(1000, 1000, ACK);
	cases[n++].ack = 78;
	cases[n++].wnd = 1001;
	cases[n++].ecn = 3;
	cases[n++].options = other_stamps;
	cases[n++].options = other_echo;
	cases[n].options = sack;
	cases[n++].n_options = 24;
	cases[n++].n_options = 0;
	for (unsigned i = 0; i < RTE_DIM(flags); i++)
		cases[n++].flags = flags[i];
	cases[n++].dport = 20002; /* another connection */
	for (unsigned i = 0; i < n; i++) {
		struct rig_segment first = segment(0, 1000, ACK);

		for (unsigned is_first = 0; is_first < 2; is_first++) { /* the odd one first, too */
			uint32_t at = cases[i].seq;

			rig.n_inputs = 0;
			expect_next(0);
			first.seq = SEQ + (is_first ? 1000 : 0);
			cases[i].seq = SEQ + (is_first ? 0 : 1000);
			add(is_first ? &cases[i] : &first);
			add(is_first ? &first : &cases[i]);
			give(0);
			cases[i].seq = at;
			if (rig.n_inputs != 2)
				fail_msg("case %u was merged", i);
		}
	}
	assert_int_equal(rig_counter(WEIR_C_RX_MERGED), 0);
}

static void empty_acks_are_not_merged(void **state)
{
	expect_next(0);
	for (unsigned i = 0; i < 4; i++) /* duplicates, which count */
		add_data(0, 0, ACK);
	give(0);
	assert_int_equal(rig.n_inputs, 4);
	assert_int_equal(rig.n_asked, 0);
}

static void out_of_order_segments_arrive_one_by_one(void **state)
{
	expect_next(0);
	for (unsigned i = 1; i < 5; i++) /* the first one is missing */
		add_data(i * 1000, 1000, ACK);
	give(0);
	assert_int_equal(rig.n_inputs, 4);
	for (unsigned i = 0; i < 4; i++)
		check_input(i, (i + 1) * 1000, 1000, 1, ACK);

	rig.n_inputs = 0;
	expect_next(0);
	add_data(0, 1000, ACK);
	add_data(1000, 1000, ACK);
	add_data(3000, 1000, ACK); /* a gap within the burst */
	add_data(4000, 1000, ACK);
	add_data(2000, 1000, ACK);
	give(0);
	assert_int_equal(rig.n_inputs, 4);
	check_input(0, 0, 2000, 2, ACK);
	check_input(1, 3000, 1000, 1, ACK);
	check_input(2, 4000, 1000, 1, ACK);
	check_input(3, 2000, 1000, 1, ACK);
}

static void order_within_a_connection_is_kept(void **state)
{
	expect_next(0);
	add_data(0, 1000, ACK);
	add_data(1000, 1000, ACK);
	add_data(2000, 0, ACK);
	add_data(2000, 100, ACK | FIN);
	add_data(2101, 0, ACK | RST);
	give(0);
	assert_int_equal(rig.n_inputs, 4);
	check_input(0, 0, 2000, 2, ACK);
	check_input(1, 2000, 0, 1, ACK);
	check_input(2, 2000, 100, 1, ACK | FIN);
	check_input(3, 2101, 0, 1, ACK | RST);
}

static void connections_that_take_turns_are_merged_each(void **state)
{
	expect_next(0);
	for (unsigned i = 0; i < 10; i++)
		for (unsigned c = 0; c < 2; c++) {
			struct rig_segment s = segment(i * 1000, 1000, ACK);

			s.dport = (uint16_t)(20001 + c);
			add(&s);
		}
	give(0);
	assert_int_equal(rig.n_inputs, 2);
	check_input(0, 0, 10000, 10, ACK);
	check_input(1, 0, 10000, 10, ACK);
}

static void segment_with_a_wrong_checksum_is_no_part_of_a_run(void **state)
{
	expect_next(0);
	for (unsigned i = 0; i < 4; i++)
		add_data(i * 1000, 1000, ACK);
	frames[2][100] ^= 1;
	give(0);
	assert_int_equal(rig_reason(WEIR_R_TCP_BAD_CHECKSUM), 1);
	assert_int_equal(rig.n_inputs, 2);
	check_input(0, 0, 2000, 2, ACK);
	check_input(1, 3000, 1000, 1, ACK);
}

static void header_that_lies_of_its_length_goes_up_alone(void **state)
{
	static const uint8_t offsets[] = {0x40, 0xf0, 0x90}; /* too short, longer than the packet, longer by one word */

	for (unsigned i = 0; i < sizeof(offsets); i++) {
		uint8_t *t = frames[1] + 34;
		uint16_t sum;

		rig.n_inputs = 0;
		expect_next(0);
		add_data(0, 20, ACK);
		add_data(20, 20, ACK);
		add_data(40, 20, ACK);
		t[12] = offsets[i];
		t[16] = t[17] = 0;
		sum = (uint16_t)~rig_sum(t, 52, rig_sum(frames[1] + 26, 8, PROTO_TCP + 52));
		t[16] = (uint8_t)(sum >> 8);
		t[17] = (uint8_t)sum;
		give(0);
		assert_int_equal(rig.n_inputs, 3);
		assert_int_equal(rig.inputs[1].is_bad, offsets[i] != 0x90);
	}
	assert_int_equal(rig_counter(WEIR_C_RX_MERGED), 0);
}

static void redirected_segments_are_merged_by_their_owner(void **state)
{
	expect_next(0);
	for (unsigned i = 0; i < 20; i++)
		add_data(i * 1000, 1000, ACK);
	give(1); /* port 20001 is worker 0's */
	assert_int_equal(rig.stats[0].counter[WEIR_C_STEERED_IN], 20);
	assert_int_equal(rig.n_inputs, 1);
	check_input(0, 0, 20000, 20, ACK);
	assert_int_equal(rig.stats[0].counter[WEIR_C_RX_MERGED], 19);
}

static void nothing_is_merged_when_switched_off(void **state)
{
	expect_next(0);
	for (unsigned i = 0; i < 10; i++)
		add_data(i * 1000, 1000, ACK);
	give(0);
	assert_int_equal(rig.n_inputs, 10);
}

static void congestion_marks_reach_tcp_in_both_families(void **state)
{
	for (unsigned is4 = 0; is4 < 2; is4++)
		for (uint8_t ecn = 0; ecn < 4; ecn++) {
			struct rig_segment s = segment(0, 10, ACK);

			if (!is4) {
				s.src = RIG_HIM6;
				s.dst = RIG_US6;
			}
			s.ecn = ecn;
			rig.n_inputs = 0;
			add(&s);
			give(0);
			assert_int_equal(rig.inputs[0].packet.ecn, ecn);
		}
}

static int setup_off(void **state)
{
	rig.no_gro = true;
	return rig_setup(state);
}

static int teardown_off(void **state)
{
	rig.no_gro = false;
	return rig_teardown(state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		T(burst_of_one_connection_is_one_call),
		T(shorter_segment_is_the_last_of_its_run),
		T(push_ends_a_run_and_the_next_one_begins),
		T(what_says_something_else_is_not_merged),
		T(empty_acks_are_not_merged),
		T(out_of_order_segments_arrive_one_by_one),
		T(order_within_a_connection_is_kept),
		T(connections_that_take_turns_are_merged_each),
		T(segment_with_a_wrong_checksum_is_no_part_of_a_run),
		T(header_that_lies_of_its_length_goes_up_alone),
		T(redirected_segments_are_merged_by_their_owner),
		T(congestion_marks_reach_tcp_in_both_families),
		cmocka_unit_test_setup_teardown(nothing_is_merged_when_switched_off, setup_off, teardown_off),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, rig_start, NULL);
}
