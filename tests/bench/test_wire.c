// SPDX-License-Identifier: Apache-2.0
/* The wire's lanes, packets and connections, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define MS 1000000ull
#define FRAME_LEN 1000
#define N_FRAMES 20000
#define PORT 40000

static struct frame_pool pool;
static struct lane lane;

static void start(const struct lane_config *cfg)
{
	assert_int_equal(frame_pool_init(&pool, N_FRAMES), 0);
	assert_int_equal(lane_init(&lane, cfg, &pool), 0);
}

static void stop(void)
{
	lane_fini(&lane);
	frame_pool_fini(&pool);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* The IPv4 header's checksum; 0 over a header that holds a right one. */
static unsigned ip_sum(const uint8_t *ip)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum ^ 0xffff;
}

/* An IPv4 segment from port 80 to PORT, with number in its IP identification. */
static size_t write_segment(uint8_t *p, unsigned number, unsigned ecn, uint32_t seq, uint32_t len)
{
	memset(p, 0, 14 + 40 + len);
	put16(p + 12, 0x0800);
	p[14] = 0x45;
	p[15] = (uint8_t)ecn;
	put16(p + 16, 40 + len);
	put16(p + 18, number);
	p[22] = 64;
	p[23] = 6;
	put16(p + 24, ip_sum(p + 14));
	put16(p + 34, 80);
	put16(p + 36, PORT);
	put32(p + 38, seq);
	p[46] = 5 << 4;
	p[47] = TCP_ACK;
	return 14 + 40 + len;
}

static enum fate put_one(unsigned number, unsigned far, unsigned ecn, uint64_t now_ns)
{
	struct frame *f = frame_get(&pool);

	assert_non_null(f);
	f->len = (uint16_t)write_segment(f->data, number, ecn, number, FRAME_LEN - 54);
	packet_parse(f->data, f->len, &f->packet);
	return lane_put(&lane, f, far, f->packet.dst_port, now_ns);
}

/* The number of the frame that comes out by then, or -1. */
static int get_one(uint64_t now_ns)
{
	struct frame *f = lane_get(&lane, now_ns);
	int number = f ? f->data[18] << 8 | f->data[19] : -1;

	if (f)
		frame_put(&pool, f);
	return number;
}

static void delays_each_frame_exactly(void **state)
{
	start(&(struct lane_config){.delay_ns = 50 * MS});
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(put_one(i, 0, 0, i * MS), FATE_PASSED);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(lane_next_ns(&lane), (50 + i) * MS);
		assert_int_equal(get_one((50 + i) * MS - 1), -1);
		assert_int_equal(get_one((50 + i) * MS), i);
	}
	assert_true(lane_next_ns(&lane) == UINT64_MAX);
	stop();
}

static void spaces_frames_at_the_rate(void **state)
{
	start(&(struct lane_config){.rate_Bps = 1000 * FRAME_LEN, .delay_ns = 5 * MS});
	for (unsigned i = 0; i < 10; i++)
		put_one(i, 0, 0, 0);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(lane_next_ns(&lane), (i + 1 + 5) * MS);
		assert_int_equal(get_one((i + 1 + 5) * MS), i);
	}
	put_one(10, 0, 0, 100 * MS); /* what was not used is not saved up */
	assert_int_equal(lane_next_ns(&lane), 106 * MS);
	assert_int_equal(lane.stats.queue_max_bytes, 10 * FRAME_LEN);
	stop();
}

static void drops_what_the_queue_has_no_room_for(void **state)
{
	start(&(struct lane_config){.rate_Bps = 1000 * FRAME_LEN, .queue_bytes = 4 * FRAME_LEN});
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(put_one(i, 0, 0, 0), FATE_PASSED);
	assert_int_equal(put_one(4, 0, 0, 0), FATE_DROPPED);
	assert_int_equal(put_one(5, 0, 0, MS - 1000), FATE_DROPPED);
	assert_int_equal(put_one(6, 0, 0, MS), FATE_PASSED); /* one has left */
	assert_int_equal(put_one(7, 0, 0, MS), FATE_DROPPED);
	assert_int_equal(lane.stats.dropped, 3);
	stop();
}

static void marks_the_capable_and_keeps_the_checksum(void **state)
{
	start(&(struct lane_config){.rate_Bps = 1000 * FRAME_LEN, .mark_bytes = 2 * FRAME_LEN});
	for (unsigned i = 0; i < 6; i++)
		put_one(i, 0, i % 3, 0); /* not capable, ECT(1), ECT(0) */
	for (unsigned i = 0; i < 6; i++) {
		struct frame *f = lane_get(&lane, 100 * MS);

		assert_int_equal(f->data[15], i < 2 || i % 3 == 0 ? i % 3 : 3);
		assert_int_equal(ip_sum(f->data + 14), 0);
		frame_put(&pool, f);
	}
	assert_int_equal(lane.stats.marked, 3);
	stop();
}

/* What a lane with this seed loses of n frames, as a bit for each. */
static unsigned losses_of(uint64_t seed, unsigned far, unsigned n, uint8_t *bits)
{
	start(&(struct lane_config){.loss_ppm = 30000, .seed = seed});
	memset(bits, 0, n);
	for (unsigned i = 0; i < n; i++)
		bits[i] = put_one(i, far, 0, i) == FATE_LOST;

	unsigned n_lost = (unsigned)lane.stats.lost;

	stop();
	return n_lost;
}

static void loses_by_the_seed_and_the_port(void **state)
{
	static uint8_t a[10000], b[10000];

	/* 300 of 10,000 in the mean, with a deviation of 17 */
	assert_in_range(losses_of(1, 0, 10000, a), 200, 400);
	losses_of(1, 0, 10000, b);
	assert_memory_equal(a, b, sizeof(a));
	losses_of(1, 3, 10000, b); /* the same port, at another far interface */
	assert_memory_equal(a, b, sizeof(a));
	losses_of(2, 0, 10000, b);
	assert_memory_not_equal(a, b, sizeof(a));
}

static void counts_each_far_interface_by_itself(void **state)
{
	static uint8_t alone[2000];

	losses_of(7, 0, 2000, alone);
	start(&(struct lane_config){.loss_ppm = 30000, .seed = 7});
	for (unsigned i = 0; i < 2000; i++)
		for (unsigned far = 0; far < 2; far++)
			assert_int_equal(put_one(i, far, 0, i) == FATE_LOST, alone[i]);
	stop();
}

static void never_loses_what_finds_neighbours(void **state)
{
	start(&(struct lane_config){.loss_ppm = 1000000, .reorder_ppm = 1000000, .reorder_ns = MS, .duplicate_ppm = 1000000});
	for (unsigned i = 0; i < 3; i++) {
		struct frame *f = frame_get(&pool);

		memset(f->data, 0, 100);
		f->len = 100;
		if (i == 0)
			put16(f->data + 12, 0x0806);
		else
			put16(f->data + 12, 0x86dd);
		put16(f->data + 18, 46);
		f->data[20] = 58;
		f->data[54] = i == 1 ? 135 : 128; /* a neighbour solicitation; an echo request is like any other */
		packet_parse(f->data, f->len, &f->packet);
		assert_int_equal(lane_put(&lane, f, 0, 0, 0), i < 2 ? FATE_PASSED : FATE_LOST);
	}
	assert_int_equal(lane.n, 2);
	assert_int_equal(lane_next_ns(&lane), 0);
	stop();
}

static void holds_some_back_and_loses_none(void **state)
{
	unsigned n_overtaken = 0, n = 0;
	int number, last = -1;

	start(&(struct lane_config){.delay_ns = MS, .reorder_ppm = 100000, .reorder_ns = 5 * MS, .seed = 3});
	for (unsigned i = 0; i < 1000; i++)
		put_one(i, 0, 0, i * MS);
	while ((number = get_one(10000 * MS)) >= 0) {
		n_overtaken += number < last;
		last = number > last ? number : last;
		n++;
	}
	assert_int_equal(n, 1000);
	assert_in_range(lane.stats.reordered, 50, 150);
	assert_true(n_overtaken > 0 && n_overtaken <= lane.stats.reordered);
	stop();
}

static void jitter_keeps_the_order(void **state)
{
	start(&(struct lane_config){.delay_ns = MS, .jitter_ns = 10 * MS});
	for (unsigned i = 0; i < 1000; i++)
		put_one(i, 0, 0, i * MS / 10);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t at = lane_next_ns(&lane);

		assert_in_range(at, i * MS / 10 + MS, i * MS / 10 + 11 * MS + 10 * MS);
		assert_int_equal(get_one(at), i);
	}
	stop();
}

static void duplicates_whole_frames(void **state)
{
	start(&(struct lane_config){.duplicate_ppm = 1000000});
	put_one(1, 0, 0, 0);
	put_one(2, 0, 0, 0);
	assert_int_equal(get_one(0), 1);
	assert_int_equal(get_one(0), 1);
	assert_int_equal(get_one(0), 2);
	assert_int_equal(get_one(0), 2);
	assert_int_equal(get_one(0), -1);
	stop();
}

static void parses_sack_blocks(void **state)
{
	uint8_t frame[200];
	struct packet p;

	memset(frame, 0, sizeof(frame));
	put16(frame + 12, 0x86dd);
	put16(frame + 18, 20 + 20 + 7); /* a header with options, and seven bytes */
	frame[20] = 6;
	put16(frame + 54, 1234);
	put16(frame + 56, 80);
	put32(frame + 62, 99);
	frame[66] = 10 << 4;
	frame[67] = TCP_ACK;
	frame[74] = 1;
	frame[75] = 1;
	frame[76] = 5;
	frame[77] = 18;
	put32(frame + 78, 100);
	put32(frame + 82, 200);
	put32(frame + 86, 300);
	put32(frame + 90, 400);
	packet_parse(frame, 14 + 40 + 47, &p);
	assert_true(p.is_ip && p.is_tcp && !p.is_exempt);
	assert_int_equal(p.src_port, 1234);
	assert_int_equal(p.ack, 99);
	assert_int_equal(p.len, 7);
	assert_int_equal(p.n_sack, 2);
	assert_int_equal(p.sack[0][0], 100);
	assert_int_equal(p.sack[1][1], 400);
}

/* With AddressSanitizer a read beyond the bytes ends the test. */
static void reads_nothing_beyond_any_frame(void **state)
{
	uint64_t x = 1;

	for (unsigned round = 0; round < 200000; round++) {
		x = x * 6364136223846793005 + 1442695040888963407;

		size_t n = (x >> 33) % 120;
		uint8_t *frame = malloc(n + 1); /* the last byte is not the frame's */
		struct packet p;

		for (size_t i = 0; i < n; i++)
			frame[i] = (uint8_t)((x >> (i % 56)) + i * (x >> 60));
		if (n > 23 && round % 4) {
			put16(frame + 12, round % 2 ? 0x0800 : 0x86dd);
			frame[round % 2 ? 23 : 20] = round % 8 < 6 ? 6 : 58;
			if (round % 2)
				frame[14] = 0x45;
		}
		frame = realloc(frame, n ? n : 1);
		packet_parse(frame, n, &p);
		packet_mark_ce(frame, n);
		assert_true(p.n_sack <= WIRE_MAX_SACK);
		free(frame);
	}
}

static struct flow_table flows;

static void far_sends(uint32_t seq, uint32_t len, enum fate fate, uint64_t now_ms)
{
	struct packet p = {.is_ip = true, .is_tcp = true, .flags = TCP_ACK, .src_port = 80, .dst_port = PORT, .seq = seq, .len = len};

	flow_from_far(&flows, &p, 1, fate, now_ms * MS);
}

static void near_acks(uint32_t ack, uint64_t now_ms)
{
	struct packet p = {.is_ip = true, .is_tcp = true, .flags = TCP_ACK, .src_port = PORT, .dst_port = 80, .ack = ack};

	flow_from_near(&flows, &p, 1, FATE_PASSED, now_ms * MS);
}

static const struct flow *only_flow(void)
{
	const struct flow *found = NULL;

	for (unsigned i = 0; i < WIRE_MAX_FLOWS; i++)
		if (flows.flows[i].is_used) {
			assert_null(found);
			found = &flows.flows[i];
		}
	assert_non_null(found);
	return found;
}

static void tells_needed_retransmissions_from_spurious_ones(void **state)
{
	const uint32_t base = 0xffffff00; /* sequence numbers wrap */

	assert_int_equal(flow_table_init(&flows, 200 * MS, NULL), 0);
	far_sends(base, 100, FATE_PASSED, 0);
	far_sends(base + 100, 100, FATE_LOST, 0);
	far_sends(base + 200, 100, FATE_DROPPED, 0);
	far_sends(base + 300, 100, FATE_PASSED, 0);
	far_sends(base + 150, 100, FATE_LOST, 1); /* needed, and lost again */
	far_sends(base + 300, 100, FATE_PASSED, 1); /* spurious */
	far_sends(base + 100, 50, FATE_PASSED, 2);
	far_sends(base + 150, 100, FATE_PASSED, 2);
	far_sends(base + 250, 50, FATE_PASSED, 2);
	far_sends(base + 100, 200, FATE_PASSED, 3); /* spurious by now */

	const struct flow *f = only_flow();

	assert_int_equal(f->data_packets, 10);
	assert_int_equal(f->retransmits, 6);
	assert_int_equal(f->spurious, 2);
	assert_int_equal(f->lost, 2);
	assert_int_equal(f->dropped, 1);
	assert_int_equal(f->n_gone, 0);
	flow_table_fini(&flows);
}

static void counts_silence_only_with_data_in_flight(void **state)
{
	assert_int_equal(flow_table_init(&flows, 200 * MS, NULL), 0);
	far_sends(0, 100, FATE_PASSED, 0);
	near_acks(100, 20);
	far_sends(100, 100, FATE_PASSED, 1000); /* had nothing to send */
	near_acks(100, 1010);
	far_sends(200, 100, FATE_PASSED, 1100);
	far_sends(100, 100, FATE_PASSED, 1350); /* a timeout */
	assert_int_equal(only_flow()->n_stalls, 1);
	assert_int_equal(only_flow()->stall_ns, 250 * MS);
	flow_table_fini(&flows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_each_frame_exactly),
		cmocka_unit_test(spaces_frames_at_the_rate),
		cmocka_unit_test(drops_what_the_queue_has_no_room_for),
		cmocka_unit_test(marks_the_capable_and_keeps_the_checksum),
		cmocka_unit_test(loses_by_the_seed_and_the_port),
		cmocka_unit_test(counts_each_far_interface_by_itself),
		cmocka_unit_test(never_loses_what_finds_neighbours),
		cmocka_unit_test(holds_some_back_and_loses_none),
		cmocka_unit_test(jitter_keeps_the_order),
		cmocka_unit_test(duplicates_whole_frames),
		cmocka_unit_test(parses_sack_blocks),
		cmocka_unit_test(reads_nothing_beyond_any_frame),
		cmocka_unit_test(tells_needed_retransmissions_from_spurious_ones),
		cmocka_unit_test(counts_silence_only_with_data_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
