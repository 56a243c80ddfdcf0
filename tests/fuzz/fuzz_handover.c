/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two dataplanes that hand over, one of two workers, with TCP above, and any frames to either, from a stranger or in the name of the other
 * one: the first byte says how they are, then comes a list of frames, each with a length, flags and a step of time. What one passes on reaches the
 * other. Checksums are made right, and an ACK is given to what was answered to a SYN, where a flag says so. Nothing may crash or
 * go to and fro, and every mbuf must come back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../eal.h"
#include "lan.h"
#include "mend.h"
#include "served.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { TO_SECOND = 0x01, MEND = 0x02, FROM_OTHER = 0x04, SERVE = 0x08, LEAVE = 0x10, ANSWER = 0x20 };
enum { STABLE_RSS = 0x01, COOKIES = 0x02 };

static uint8_t synack[4]; /* the last one's sequence number */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	test_eal_init();
	lan_start();
	return 0;
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	*user = NULL;
	return 0;
}

/* The TCP header of a frame that has one behind the plainest of headers, or NULL. */
static uint8_t *tcp_of(uint8_t *p, unsigned n)
{
	if (n >= 54 && p[12] == 8 && p[13] == 0 && p[14] == 0x45 && p[23] == PROTO_TCP)
		return p + 34;
	return n >= 74 && p[12] == 0x86 && p[13] == 0xdd && p[20] == PROTO_TCP ? p + 54 : NULL;
}

static bool watch(const struct lan_frame *f)
{
	uint8_t *t = tcp_of((uint8_t *)f->data, f->len);

	if (f->from < 2 && t && (t[13] & 0x12) == 0x12)
		memcpy(synack, t + 4, 4);
	return true;
}

static void addr(struct net_addr *a, const char *text, uint8_t len, bool is_served)
{
	ip_parse(text, strlen(text), &a->ip);
	a->prefix_len = len;
	a->is_served = is_served;
}

static void start(unsigned host, uint8_t how)
{
	const struct tcp_listen args = {.port = 80, .accept = on_accept, .event = on_event};
	struct lan_config cfg = {.n_workers = host ? 1 : 2, .stable_rss = how & STABLE_RSS, .hands_over = true, .n_addrs = 4,
				 .cookies = how & COOKIES ? TCP_COOKIES_ALWAYS : TCP_COOKIES_AUTO};
	struct tcp_listener *l;

	addr(&cfg.addrs[0], "10.0.0.100", 32, true);
	addr(&cfg.addrs[1], "fd00::100", 128, true);
	addr(&cfg.addrs[2], host ? "10.0.0.3" : "10.0.0.2", 24, false);
	addr(&cfg.addrs[3], host ? "fd00::3" : "fd00::2", 64, false);
	lan_up(host, &cfg);
	for (unsigned i = 0; i < cfg.n_workers; i++)
		if (tcp_listen(lan.hosts[host].tcp[i], &args, &l) != 0)
			abort();
}

static void order(unsigned host, uint8_t flags)
{
	for (unsigned i = 0; i < lan.hosts[host].cfg.n_workers; i++) {
		if (flags & SERVE)
			net_serve(lan.hosts[host].net[i]);
		if (flags & LEAVE)
			net_leave(lan.hosts[host].net[i]);
	}
}

static void put(uint8_t *f, unsigned n, uint8_t flags)
{
	unsigned host = flags & TO_SECOND;
	uint8_t *t = tcp_of(f, n);

	if (n < 14)
		return;
	if (!(f[0] & 1))
		memcpy(f, lan_mac(host), 6);
	if (flags & FROM_OTHER)
		memcpy(f + 6, lan_mac(!host), 6);
	if (t && (flags & ANSWER)) {
		memcpy(t + 8, synack, 4);
		for (int i = 3; i >= 0 && ++t[8 + i] == 0; i--)
			;
	}
	if (flags & MEND)
		mend(lan.pool, f, n);
	lan_put(LAN_HOSTS, f, n);
	for (unsigned i = 0; lan.n; i++) {
		if (i == 16) /* no time passes, so nothing is new */
			abort();
		lan_step(0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	lan.now = 10000000;
	lan.judge = watch;
	memset(synack, 0, sizeof(synack));
	start(0, data[0]);
	start(1, data[0]);
	data++;
	n--;
	for (unsigned i = 0; n >= 4 && i < 64; i++) {
		unsigned len = (data[0] | data[1] << 8) % 1515u;
		uint8_t flags = data[2], frame[LAN_BYTES] = {0};

		lan_run((uint64_t)data[3] * data[3] * 50);
		data += 4;
		n -= 4;
		if (len > n)
			len = (unsigned)n;
		memcpy(frame, data, len);
		data += len;
		n -= len;
		order(flags & TO_SECOND, flags);
		put(frame, len, flags);
	}
	if (!lan_end())
		abort();
	return 0;
}
