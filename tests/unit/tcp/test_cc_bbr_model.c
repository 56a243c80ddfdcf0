/* SPDX-License-Identifier: Apache-2.0 */
/* BBR's model and states, by ACKs made by hand. Section numbers are those of draft-ietf-ccwg-bbr-06. */
#include "cc_bbr_rig.h"

/*
 * An ACK made by hand: a whole round trip, 40 ms in which acked bytes arrived.
 * What a test needs else it changes in the ACK before it is told.
 */
static struct cc_ack round_ack(uint32_t acked)
{
	const struct bbr *b = bbr();

	wire.now_ns += 40000000;
	return (struct cc_ack){
		.now_us = wire.now_ns / 1000,
		.mss = MSS,
		.acked = acked,
		.prior_flying = acked,
		.flying = acked,
		.rtt_us = 40000,
		.srtt_us = 40000,
		.min_rtt_us = 40000,
		.delivered = b->delivered + acked,
		.rate = {.delivered = acked,
			 .interval_us = 40000,
			 .prior_delivered = b->delivered,
			 .tx_in_flight = acked},
	};
}

static void tell(const struct cc_ack *a)
{
	wire.cc.ops->acked(&wire.cc, a);
}

static void tell_loss(struct cc_ack *a, uint32_t lost, uint32_t tx_in_flight)
{
	a->lost = MSS;
	a->loss = (struct cc_loss){.bytes = MSS, .tx_in_flight = tx_in_flight, .lost = lost};
	a->rate.lost = lost;
	tell(a);
}

static void the_filter_takes_an_application_limited_sample_only_if_it_is_higher(void **state)
{
	uint32_t bdp;
	struct cc_ack a;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 4 * SECOND);
	bdp = (uint32_t)link_bdp(&wire);
	bbr()->max_bw[0] = wire.rate;
	bbr()->max_bw[1] = 0;
	a = round_ack(bdp / 2);
	a.rate.is_app_limited = true;
	tell(&a);
	assert_int_equal(bbr()->max_bw[1], 0);
	a = round_ack(bdp * 2);
	a.rate.is_app_limited = true;
	tell(&a);
	assert_int_equal(bbr()->max_bw[1], a.rate.delivered * 25);
	bbr()->max_bw[1] = 0;
	a = round_ack(bdp / 2);
	tell(&a);
	assert_int_equal(bbr()->max_bw[1], a.rate.delivered * 25);
}

/* 5.3.3.5: by 1, 2, 4, 8 ... segments in a round. */
static void inflight_longterm_grows_faster_in_each_round_of_a_probe(void **state)
{
	struct bbr *b;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_UP, 10 * SECOND);
	b = bbr();
	wire.cc.cwnd = 80 * MSS;
	b->inflight_longterm = 80 * MSS;
	b->probe_up_acked_per_inc = 80 * MSS;
	for (uint32_t more = 1; more <= 32; more *= 2) {
		uint32_t before = b->inflight_longterm;
		struct cc_ack a = round_ack(wire.cc.cwnd / MSS * MSS);

		a.is_cwnd_limited = true;
		wire.cc.cwnd = b->inflight_longterm; /* as it has grown meanwhile */
		tell(&a);
		a = round_ack(0);
		a.is_cwnd_limited = true;
		wire.cc.cwnd = b->inflight_longterm; /* which bounds it, so it is no plateau */
		tell(&a);
		assert_int_equal(b->state, BBR_PROBE_BW_UP);
		assert_in_range(b->inflight_longterm, before + more * MSS, before + (more + more / 4 + 1) * MSS);
	}
	b->is_cwnd_limited = b->was_cwnd_limited = false; /* and not at all if it is not used */
	for (int i = 0; i < 2; i++) {
		uint32_t before = b->inflight_longterm;
		struct cc_ack a = round_ack(wire.cc.cwnd / MSS * MSS);

		tell(&a);
		assert_int_equal(b->state, BBR_PROBE_BW_UP);
		assert_int_equal(b->inflight_longterm, before);
	}
}

/* 5.3.1.3: six losses in one round, in recovery, at a rate above 2 %. */
static bool startup_ends_by(unsigned n_losses, bool in_one_round, bool is_recovering, uint32_t lost)
{
	uint32_t n;
	struct cc_ack a;

	set_wire(50, 40, 4);
	link_run(&wire, 200000);
	assert_int_equal(bbr()->state, BBR_STARTUP);
	n = (uint32_t)link_bdp(&wire) / 10;
	for (unsigned i = 0; i <= n_losses; i++) {
		a = round_ack(n);
		a.rate.is_app_limited = true;
		a.rate.lost = lost;
		a.is_recovering = is_recovering;
		a.lost = i < n_losses ? MSS : 0;
		if (in_one_round && i < n_losses)
			a.rate.prior_delivered = 0;
		tell(&a);
	}
	return bbr()->state != BBR_STARTUP;
}

static void startup_ends_by_six_losses_in_one_round_of_recovery(void **state)
{
	uint32_t n;

	set_wire(50, 40, 4);
	n = (uint32_t)link_bdp(&wire) / 10;
	assert_true(startup_ends_by(6, true, true, n / 10));
	assert_false(startup_ends_by(5, true, true, n / 10));
	assert_false(startup_ends_by(20, false, true, n / 10));
	assert_false(startup_ends_by(6, true, false, n / 10));
	assert_false(startup_ends_by(6, true, true, n / 60));
}

static void one_lost_segment_does_not_end_a_probe(void **state)
{
	uint32_t bdp;
	struct cc_ack a;

	set_wire(10, 40, 4);
	run_to_state(BBR_PROBE_BW_UP, 10 * SECOND);
	bdp = (uint32_t)link_bdp(&wire);
	assert_true(bdp < 50 * MSS);
	a = round_ack(bdp);
	tell_loss(&a, MSS, bdp);
	assert_int_equal(bbr()->state, BBR_PROBE_BW_UP);
	a = round_ack(bdp);
	tell_loss(&a, 2 * MSS, bdp);
	assert_int_not_equal(bbr()->state, BBR_PROBE_BW_UP);
	assert_true(bbr()->prev_probe_too_high);
	/* what was in flight before the loss rate passed 2 %: all but that segment */
	assert_int_equal(bbr()->inflight_longterm, bdp - MSS);
}

/* 5.5.10.2: the losses pass 2 % within a segment that was cut into many packets. */
static void the_limit_is_where_within_a_segment_the_losses_became_too_many(void **state)
{
	struct cc_ack a;

	set_wire(100, 40, 4);
	run_to_state(BBR_PROBE_BW_UP, 10 * SECOND);
	a = round_ack(500000);
	a.lost = 40000;
	a.loss = (struct cc_loss){.bytes = 40000, .tx_in_flight = 500000, .lost = 42000};
	a.rate.lost = 42000;
	tell(&a);
	/* (2000 + x) / (460000 + x) = 0.02 */
	assert_in_range(bbr()->inflight_longterm, 467346, 467348);
}

/* Loss in one round answers for that round, not for the next ones. */
static void the_short_term_model_falls_with_loss_only(void **state)
{
	uint64_t shortterm;
	uint32_t bdp;
	struct cc_ack a;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 4 * SECOND);
	bdp = (uint32_t)link_bdp(&wire);
	for (int i = 0; i < 2; i++) {
		a = round_ack(bdp * 9 / 10);
		a.lost = i == 0 ? MSS : 0;
		tell(&a);
	}
	shortterm = bbr()->bw_shortterm;
	assert_in_range(shortterm, wire.rate * 7 / 10, wire.rate);
	for (int i = 0; i < 5; i++) {
		a = round_ack(bdp / 2);
		tell(&a);
	}
	assert_int_equal(bbr()->state, BBR_PROBE_BW_CRUISE);
	assert_int_equal(bbr()->bw_shortterm, shortterm);
	for (int i = 0; i < 20; i++) { /* each round loses: down by 0.7, to what is delivered */
		a = round_ack(bdp / 2);
		a.lost = MSS;
		tell(&a);
	}
	assert_in_range(bbr()->bw_shortterm, wire.rate * 49 / 100, wire.rate * 51 / 100);
}

/* 5.5.11.1: the state before the episode, however many rounds of loss it had. */
static void undo_takes_back_all_rounds_of_an_episode(void **state)
{
	uint32_t bdp, cwnd;
	struct cc_ack a;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 4 * SECOND);
	bdp = (uint32_t)link_bdp(&wire);
	cwnd = wire.cc.cwnd;
	wire.cc.ops->congested(&wire.cc, bdp, MSS, wire.now_ns / 1000, false);
	for (int i = 0; i < 8; i++) {
		a = round_ack(bdp / 2);
		a.lost = MSS;
		a.is_recovering = true;
		tell(&a);
	}
	assert_true(bbr()->bw_shortterm < wire.rate * 8 / 10);
	assert_true(wire.cc.cwnd < cwnd * 8 / 10);
	wire.cc.ops->undo(&wire.cc, wire.now_ns / 1000);
	assert_true(bbr()->bw_shortterm == BBR_INFINITE_BW);
	assert_int_equal(bbr()->inflight_shortterm, BBR_INFINITE);
	assert_true(wire.cc.cwnd >= cwnd);
}

/* 5.6.4.4. */
static void the_window_is_back_as_soon_as_recovery_ends(void **state)
{
	uint32_t cwnd;
	struct cc_ack a;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 4 * SECOND);
	cwnd = wire.cc.cwnd;
	wire.cc.ops->timeout(&wire.cc, wire.flying, MSS, wire.now_ns / 1000);
	assert_true(bbr()->is_loss_in_round);
	a = round_ack(MSS);
	a.is_recovering = true;
	tell(&a);
	assert_int_equal(wire.cc.cwnd, 4 * MSS);
	a = round_ack(4 * MSS);
	tell(&a);
	assert_true(wire.cc.cwnd > cwnd / 2); /* bounded by the model only, in which there was loss */
}

/* 5.6.2: the first samples, of a sender that has little to say, are no reason to slow down. */
static void the_rate_does_not_fall_before_the_pipe_was_full(void **state)
{
	uint64_t rate;

	set_wire(100, 40, 4);
	wire.app_rate = wire.rate / 500;
	link_run(&wire, 500000);
	rate = bbr()->pacing_rate;
	assert_true(rate > bbr_max_bw(bbr()) * 4);
	link_run(&wire, SECOND);
	assert_true(bbr()->pacing_rate >= rate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_filter_takes_an_application_limited_sample_only_if_it_is_higher),
		cmocka_unit_test(inflight_longterm_grows_faster_in_each_round_of_a_probe),
		cmocka_unit_test(startup_ends_by_six_losses_in_one_round_of_recovery),
		cmocka_unit_test(one_lost_segment_does_not_end_a_probe),
		cmocka_unit_test(the_limit_is_where_within_a_segment_the_losses_became_too_many),
		cmocka_unit_test(the_short_term_model_falls_with_loss_only),
		cmocka_unit_test(undo_takes_back_all_rounds_of_an_episode),
		cmocka_unit_test(the_window_is_back_as_soon_as_recovery_ends),
		cmocka_unit_test(the_rate_does_not_fall_before_the_pipe_was_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
