/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HyStart++ (RFC 9406): leaves the initial slow start when the RTT grows,
 * before the bottleneck's buffer overflows. It first slows down (Conservative
 * Slow Start), and goes back to full speed if the RTT falls again.
 */
#include "tcp/cc_pvt.h"
#include "tcp/seq.h"

/* RFC 9406 4.3. */
#define MIN_RTT_THRESH_US 4000u
#define MAX_RTT_THRESH_US 16000u
#define MIN_RTT_DIVISOR 8
#define N_RTT_SAMPLE 8
#define CSS_GROWTH_DIVISOR 4
#define CSS_ROUNDS 5
#define L_NON_PACED 8

void cc_hystart_init(struct cc_hystart *h)
{
	*h = (struct cc_hystart){.is_on = true};
}

/*
 * L bounds the burst that one stretched ACK may cause. A paced sender makes
 * no burst, so there L is infinite, as 4.3 says; cc_window_rate() paces as
 * soon as there is an RTT.
 */
uint32_t cc_hystart_growth(const struct cc_hystart *h, uint32_t n, uint32_t mss, bool is_paced)
{
	if (!is_paced)
		n = cc_min(n, L_NON_PACED * mss);
	return h->css_baseline_us ? n / CSS_GROWTH_DIVISOR : n;
}

static void begin_round(struct cc_hystart *h, uint32_t nxt)
{
	h->window_end = nxt;
	h->last_min_rtt_us = h->min_rtt_us ? h->min_rtt_us : UINT32_MAX;
	h->min_rtt_us = UINT32_MAX;
	h->n_samples = 0;
}

static bool has_delay_grown(const struct cc_hystart *h)
{
	uint32_t thresh = cc_max(MIN_RTT_THRESH_US, cc_min(h->last_min_rtt_us / MIN_RTT_DIVISOR, MAX_RTT_THRESH_US));

	return h->last_min_rtt_us != UINT32_MAX && h->min_rtt_us >= h->last_min_rtt_us &&
	       h->min_rtt_us - h->last_min_rtt_us >= thresh;
}

void cc_hystart_acked(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct cc_hystart *h = &cc->hystart;

	if (h->min_rtt_us == 0)
		begin_round(h, a->nxt);
	if (a->rtt_us) {
		h->min_rtt_us = cc_min(h->min_rtt_us, a->rtt_us);
		h->n_samples += h->n_samples < N_RTT_SAMPLE;
	}
	if (h->n_samples >= N_RTT_SAMPLE) {
		if (h->css_baseline_us && h->min_rtt_us < h->css_baseline_us) {
			h->css_baseline_us = 0; /* it was jitter: back to slow start */
		} else if (!h->css_baseline_us && has_delay_grown(h)) {
			h->css_baseline_us = h->min_rtt_us;
			h->css_rounds = 0;
		}
	}
	if (seq_lt(a->una, h->window_end))
		return;
	begin_round(h, a->nxt);
	if (h->css_baseline_us && ++h->css_rounds >= CSS_ROUNDS) {
		h->is_on = false;
		cc->ssthresh = cc->cwnd;
		cc->prior_cwnd = cc->cwnd; /* RFC 9438 4.10: cwnd_prior */
	}
}
