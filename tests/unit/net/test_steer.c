/* SPDX-License-Identifier: Apache-2.0 */
/* Steering: whoever chooses a tuple owns it, by port and by hash, and what the devices are told says the same. */
#define ALLOW_EXPERIMENTAL_API
#include "rig.h"

#include <errno.h>
#include <limits.h>

#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_thash.h>

#include "../../eal.h"
#include "net/steer_pvt.h"

static uint8_t key[STEER_KEY_BYTES];
static uint64_t prng = 88172645463325252ull;

static uint64_t rnd(void)
{
	prng ^= prng << 13;
	prng ^= prng >> 7;
	return prng ^= prng << 17;
}

static struct ip_flow random_flow(const struct steer *s, bool is4)
{
	struct ip_flow f;

	for (unsigned i = 0; i < 16; i++) {
		f.local.b[i] = (uint8_t)rnd();
		f.remote.b[i] = (uint8_t)rnd();
	}
	if (is4) {
		f.local = ip_from4((uint32_t)rnd());
		f.remote = ip_from4((uint32_t)rnd());
	} else {
		f.local.b[0] = f.remote.b[0] = 0xfd;
	}
	f.remote_port = (uint16_t)rnd();
	f.local_port = (uint16_t)(s->first + rnd() % (s->last - s->first + 1u));
	return f;
}

/* As a device does it: Toeplitz over the packet that comes in, our port its destination; 40 bytes of key. */
static uint32_t device_hash(const struct steer *s, const struct ip_flow *f)
{
	unsigned n = ip_is4(&f->local) ? 4 : 16;
	uint32_t words[9];
	uint8_t t[36], key40[44] = {0};

	memcpy(key40, s->key, 40);
	memcpy(t, f->remote.b + 16 - n, n);
	memcpy(t + n, f->local.b + 16 - n, n);
	t[2 * n] = (uint8_t)(f->remote_port >> 8);
	t[2 * n + 1] = (uint8_t)f->remote_port;
	t[2 * n + 2] = (uint8_t)(f->local_port >> 8);
	t[2 * n + 3] = (uint8_t)f->local_port;
	for (unsigned i = 0; i < (2 * n + 4) / 4; i++)
		words[i] = (uint32_t)t[4 * i] << 24 | (uint32_t)t[4 * i + 1] << 16 | (uint32_t)t[4 * i + 2] << 8 | t[4 * i + 3];
	return rte_softrss(words, (2 * n + 4) / 4, key40);
}

static void shares_by_port_are_equal_and_apart(void **state)
{
	for (unsigned round = 0; round < 200; round++) {
		struct steer s;
		uint16_t n = (uint16_t)(1 + rnd() % 128);
		uint16_t lo = (uint16_t)(1024 + rnd() % 30000);
		uint16_t hi = (uint16_t)(lo + n * 64 + rnd() % 20000);
		unsigned total = 0;

		steer_init(&s, n, lo, hi);
		for (uint16_t w = 0; w < n; w++) {
			uint16_t a, b;

			steer_ports(&s, w, &a, &b);
			assert_true(a >= lo && b <= hi);
			for (uint32_t p = a; p <= b; p++) {
				struct ip_flow f = {.local_port = (uint16_t)p};

				assert_int_equal(steer_opener(&s, &f), w);
				total++;
			}
		}
		assert_int_equal(total, (hi - lo + 1u) / n * n);
	}
}

static void one_rule_for_each_worker_parts_the_ports(void **state)
{
	static const uint16_t ranges[][2] = {{16384, 65535}, {32768, 65535}, {20000, 65000}, {1024, 65535}, {30001, 40007}};
	static const uint16_t numbers[] = {1, 2, 3, 4, 5, 7, 8, 16, 33, 64, 128};

	for (unsigned r = 0; r < RTE_DIM(ranges); r++)
		for (unsigned i = 0; i < RTE_DIM(numbers); i++) {
			uint16_t n = numbers[i];
			unsigned n_matched = 0;
			struct steer s;

			steer_init(&s, n, ranges[r][0], ranges[r][1]);
			assert_true(steer_align(&s));
			for (uint32_t p = 0; p < 65536; p++) {
				struct ip_flow f = {.local_port = (uint16_t)p};
				int owner = steer_opener(&s, &f);
				int matched = -1;

				for (uint16_t w = 0; w < n; w++) {
					uint16_t value, mask;

					steer_rule(&s, w, &value, &mask);
					assert_int_equal(value & ~mask, 0);
					if ((p & mask) != value)
						continue;
					assert_int_equal(matched, -1);
					matched = w;
				}
				assert_int_equal(matched, owner);
				n_matched += matched >= 0;
				assert_true(matched < 0 || (p >= ranges[r][0] && p <= ranges[r][1]));
			}
			assert_int_equal(n_matched, n * s.share);
			/* A share is not less than a quarter of what would fit without alignment. */
			assert_true(s.share * 4 >= (ranges[r][1] - ranges[r][0] + 1u) / n);
		}
}

static void too_few_ports_for_aligned_shares_is_said(void **state)
{
	struct steer s;

	steer_init(&s, 4, 30001, 30004);
	assert_true(steer_align(&s)); /* of one port each */
	steer_init(&s, 1, 65535, 65535);
	assert_true(steer_align(&s));
	s.n_workers = 2; /* more workers than ports */
	assert_false(steer_align(&s));
}

/* What is chosen by hash comes back to who chose, as a device and as every worker sees it. */
static void chosen_port_hashes_to_the_chooser(void **state)
{
	static const struct {
		uint16_t n;
		unsigned bits;
	} cases[] = {{2, 2}, {2, 7}, {3, 2}, {3, 5}, {3, 7}, {4, 2}, {5, 3}, {7, 6}, {16, 4}, {16, 7}, {64, 6}, {100, 7}, {128, 7}};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct steer s;

		for (unsigned k = 0; k < sizeof(key); k++)
			key[k] = (uint8_t)rnd();
		steer_init(&s, cases[i].n, 16384, 65535);
		assert_int_equal(steer_use_hash(&s, cases[i].bits, key), 0);
		for (unsigned round = 0; round < 2000; round++) {
			uint16_t w = (uint16_t)(rnd() % cases[i].n);
			unsigned fits = steer_n_fits(&s, w);
			unsigned fit = (unsigned)(rnd() % fits);
			uint32_t mask = (1u << s.bits) - 1;
			struct ip_flow f = random_flow(&s, round % 2);
			uint16_t block = f.local_port & (uint16_t)~mask;

			assert_true(fits > 0);
			f.local_port = (uint16_t)(block | fit);
			steer_set_port(&s, w, &f);
			assert_int_equal(f.local_port & (uint16_t)~mask, block);
			assert_int_equal((device_hash(&s, &f) & mask) % cases[i].n, w);
			assert_int_equal(steer_opener(&s, &f), w);
			assert_int_equal(steer_fit(&s, &f), fit);
		}
		steer_fini(&s);
	}
}

static void by_hash_every_port_of_a_destination_is_one_workers(void **state)
{
	struct steer s;

	steer_init(&s, 3, 16390, 65530); /* not whole blocks */
	assert_int_equal(steer_use_hash(&s, 5, key), 0);
	assert_int_equal(s.first, 16416);
	assert_int_equal(s.last, 65503);
	for (unsigned is4 = 0; is4 < 2; is4++) {
		static uint8_t owner[65536];
		struct ip_flow f = random_flow(&s, is4);
		unsigned total = 0;

		memset(owner, 0, sizeof(owner));
		for (uint16_t w = 0; w < 3; w++)
			for (uint32_t block = s.first; block < s.last; block += 32)
				for (unsigned fit = 0; fit < steer_n_fits(&s, w); fit++) {
					f.local_port = (uint16_t)(block + fit);
					steer_set_port(&s, w, &f);
					if (owner[f.local_port]++)
						fail_msg("port %u has two owners", f.local_port);
					total++;
				}
		assert_int_equal(total, s.last - s.first + 1);
		f.local_port = 16415;
		assert_int_equal(steer_opener(&s, &f), -1);
		f.local_port = 65504;
		assert_int_equal(steer_opener(&s, &f), -1);
	}
	steer_fini(&s);
}

static void hash_needs_an_entry_for_each_worker_and_a_block_of_ports(void **state)
{
	struct steer s;

	steer_init(&s, 5, 16384, 65535);
	assert_true(steer_use_hash(&s, 2, key) < 0);
	assert_true(steer_use_hash(&s, 1, key) < 0);
	assert_true(steer_use_hash(&s, 8, key) < 0);
	steer_init(&s, 2, 16385, 16520);
	assert_true(steer_use_hash(&s, 7, key) < 0);
	assert_false(s.by_hash);
	assert_int_equal(steer_use_hash(&s, 6, key), 0);
	steer_fini(&s);
}

static struct net *net_of(uint16_t worker, uint16_t n_workers, const struct steer *s, struct net *n)
{
	memset(n, 0, sizeof(*n));
	n->cfg.worker = worker;
	n->cfg.n_workers = n_workers;
	n->cfg.steer = s;
	return n;
}

/* Every worker names the same owner, on a port with stable RSS as on one without. */
static void all_workers_agree_on_the_owner(void **state)
{
	static struct net n;

	for (unsigned mode = 0; mode < 3; mode++) {
		struct steer s;

		steer_init(&s, 5, 16384, 65535);
		if (mode == 1)
			assert_true(steer_align(&s));
		if (mode == 2)
			assert_int_equal(steer_use_hash(&s, 7, key), 0);
		for (unsigned round = 0; round < 3000; round++) {
			struct ip_flow f = random_flow(&s, round % 2);
			struct net_port port = {.caps.stable_rss = round % 3 == 0};
			uint16_t w = (uint16_t)(rnd() % 5);
			uint16_t lo, hi;

			steer_ports(&s, w, &lo, &hi);
			f.local_port = (uint16_t)(lo + rnd() % (hi - lo + 1u));
			if (mode == 2) {
				f.local_port = (uint16_t)((f.local_port & ~127) | (rnd() % steer_n_fits(&s, w)));
				steer_set_port(&s, w, &f);
			}
			for (uint16_t i = 0; i < 5; i++)
				assert_int_equal(steer_owner(net_of(i, 5, &s, &n), &port, &f), w);
			/* A client's is the same everywhere without stable RSS, and where it arrives with it. */
			f.local_port = 80;
			port.caps.stable_rss = false;
			w = steer_owner(net_of(0, 5, &s, &n), &port, &f);
			assert_true(w < 5);
			for (uint16_t i = 1; i < 5; i++)
				assert_int_equal(steer_owner(net_of(i, 5, &s, &n), &port, &f), w);
			port.caps.stable_rss = true;
			for (uint16_t i = 0; i < 5; i++)
				assert_int_equal(steer_owner(net_of(i, 5, &s, &n), &port, &f), i);
		}
		steer_fini(&s);
	}
}

/* -- devices */

/*
 * DPDK's flow rules, in front of the library's: a port with an even number
 * takes them while `flows.is_on`, but for the one numbered `flows.refused`.
 */
static struct {
	bool is_on;
	unsigned refused;
	unsigned n_validated, n_created, n_flushed;
	struct rule_seen {
		uint16_t port, queue, value, mask;
		bool is4, is_tagged;
	} rules[64];
} flows;

static bool is_even_port(uint16_t port_id)
{
	return port_id % 2 == 0;
}

static bool takes_flow(uint16_t port_id)
{
	return flows.is_on && is_even_port(port_id);
}

int rte_flow_validate(uint16_t port_id, const struct rte_flow_attr *attr, const struct rte_flow_item pattern[],
		      const struct rte_flow_action actions[], struct rte_flow_error *error)
{
	flows.n_validated++;
	return takes_flow(port_id) ? 0 : -ENOSYS;
}

struct rte_flow *rte_flow_create(uint16_t port_id, const struct rte_flow_attr *attr, const struct rte_flow_item pattern[],
				 const struct rte_flow_action actions[], struct rte_flow_error *error)
{
	struct rule_seen *r = &flows.rules[flows.n_created];
	const struct rte_flow_item_tcp *spec, *mask;
	unsigned i = 0;

	rte_errno = ENOSPC;
	if (!takes_flow(port_id) || flows.n_created == flows.refused)
		return NULL;
	assert_true(attr->ingress && !attr->egress);
	assert_int_equal(pattern[i++].type, RTE_FLOW_ITEM_TYPE_ETH);
	r->is_tagged = pattern[i].type == RTE_FLOW_ITEM_TYPE_VLAN;
	i += r->is_tagged;
	r->is4 = pattern[i].type == RTE_FLOW_ITEM_TYPE_IPV4;
	assert_true(r->is4 || pattern[i].type == RTE_FLOW_ITEM_TYPE_IPV6);
	i++;
	assert_int_equal(pattern[i].type, RTE_FLOW_ITEM_TYPE_TCP);
	spec = pattern[i].spec;
	mask = pattern[i].mask;
	assert_int_equal(pattern[i + 1].type, RTE_FLOW_ITEM_TYPE_END);
	assert_int_equal(mask->hdr.src_port, 0);
	assert_int_equal(actions[0].type, RTE_FLOW_ACTION_TYPE_QUEUE);
	assert_int_equal(actions[1].type, RTE_FLOW_ACTION_TYPE_END);
	r->port = port_id;
	r->queue = ((const struct rte_flow_action_queue *)actions[0].conf)->index;
	r->value = rte_be_to_cpu_16(spec->hdr.dst_port);
	r->mask = rte_be_to_cpu_16(mask->hdr.dst_port);
	flows.n_created++;
	return (struct rte_flow *)r;
}

int rte_flow_flush(uint16_t port_id, struct rte_flow_error *error)
{
	flows.n_flushed++;
	return 0;
}

/* Each time another device: a closed one keeps its name. */
static struct net_port open_port(const char *driver, bool wants_rss)
{
	static struct rte_mempool *pools[4];
	static unsigned n_opened;
	char device[32];
	struct net_port_config pc = {.device = device, .n_queues = 4, .mtu = 1500, .pools = pools, .wants_rss = wants_rss};
	struct net_port p;

	snprintf(device, sizeof(device), "%s%u", driver, 10 + n_opened++);
	for (unsigned i = 0; i < 4; i++)
		pools[i] = rig.pool;
	assert_int_equal(port_start(&pc, &p), 0);
	return p;
}

static void check_rss(const struct steer *s, const struct net_port *p)
{
	struct rte_eth_rss_reta_entry64 reta[2] = {{.mask = UINT64_MAX}, {.mask = UINT64_MAX}};
	uint8_t got[40];
	struct rte_eth_rss_conf conf = {.rss_key = got, .rss_key_len = 40};

	assert_int_equal(rte_eth_dev_rss_hash_conf_get(p->port_id, &conf), 0);
	assert_memory_equal(got, s->key, 40);
	assert_int_equal(rte_eth_dev_rss_reta_query(p->port_id, reta, 128), 0);
	for (unsigned round = 0; round < 1000; round++) {
		struct ip_flow f = random_flow(s, round % 2);
		unsigned at = device_hash(s, &f) % 128;

		assert_int_equal(reta[at / 64].reta[at % 64], steer_opener(s, &f));
	}
}

static void device_with_rss_gets_our_key_and_table(void **state)
{
	for (unsigned n = 2; n <= 4; n++) {
		struct net_port p = open_port("net_null", true);
		struct steer s;

		assert_true(p.caps.has_rss);
		assert_false(p.caps.stable_rss); /* virtual: not to be relied on for clients */
		steer_init(&s, (uint16_t)n, 16384, 65535);
		steer_start(&s, n == 2 ? STEER_WANT_AUTO : STEER_WANT_RSS, key, &p, 1);
		assert_int_equal(p.steer, STEER_RSS); /* it has no flow rules: AUTO comes to this, too */
		assert_true(s.by_hash);
		assert_int_equal(s.bits, 7);
		check_rss(&s, &p);
		steer_stop(&s, &p, 1);
		port_stop(&p);
	}
}

static void device_that_can_do_nothing_is_redirected(void **state)
{
	static const enum steer_want wants[] = {STEER_WANT_AUTO, STEER_WANT_FLOW, STEER_WANT_RSS, STEER_WANT_REDIRECT};

	for (unsigned i = 0; i < RTE_DIM(wants); i++) {
		struct net_port p = open_port("net_ring", false);
		struct steer s;
		uint16_t lo, hi;

		steer_init(&s, 4, 16384, 65535);
		steer_start(&s, wants[i], key, &p, 1);
		assert_int_equal(p.steer, STEER_REDIRECT);
		assert_false(s.by_hash);
		steer_ports(&s, 0, &lo, &hi);
		assert_int_equal(hi - lo + 1, 12288); /* all ports are used: equal shares, not aligned ones */
		steer_stop(&s, &p, 1);
		port_stop(&p);
	}
}

static void ports_that_differ_have_one_owner_for_a_tuple(void **state)
{
	struct net_port p[2] = {open_port("net_ring", false), open_port("net_null", true)};
	struct steer s;

	steer_init(&s, 3, 16384, 65535);
	steer_start(&s, STEER_WANT_AUTO, key, p, 2);
	assert_int_equal(p[0].steer, STEER_REDIRECT);
	assert_int_equal(p[1].steer, STEER_RSS);
	assert_true(s.by_hash); /* for both */
	steer_stop(&s, p, 2);
	steer_init(&s, 3, 16384, 65535);
	steer_start(&s, STEER_WANT_REDIRECT, key, p, 2);
	assert_int_equal(p[1].steer, STEER_REDIRECT);
	assert_false(s.by_hash);
	steer_stop(&s, p, 2);
	port_stop(&p[0]);
	port_stop(&p[1]);
}

/* The rules of a port bring each tuple to the queue of who opens it, for both families, tagged or not. */
static void check_rules(const struct steer *s, const struct net_port *p, unsigned n_kinds)
{
	for (unsigned round = 0; round < 1000; round++) {
		struct ip_flow f = random_flow(s, round % 2);
		unsigned n_matched = 0;

		for (unsigned i = 0; i < flows.n_created; i++) {
			const struct rule_seen *r = &flows.rules[i];

			if (r->port != p->port_id || (f.local_port & r->mask) != r->value)
				continue;
			assert_int_equal(r->queue, steer_opener(s, &f));
			n_matched++;
		}
		assert_int_equal(n_matched, n_kinds);
	}
}

/* A device on a port with an even number, or an odd one. */
static struct net_port open_port_of(bool is_even, bool wants_rss)
{
	struct net_port p = open_port(wants_rss ? "net_null" : "net_ring", wants_rss);
	struct net_port other;

	if (is_even_port(p.port_id) == is_even)
		return p;
	other = open_port(wants_rss ? "net_null" : "net_ring", wants_rss);
	assert_int_equal(is_even_port(other.port_id), is_even);
	port_stop(&p);
	return other;
}

static void flow_rules_part_the_ports_among_the_queues(void **state)
{
	for (unsigned n = 2; n <= 4; n++) {
		struct net_port p = open_port_of(true, true);
		struct steer s;

		flows.n_created = flows.n_flushed = 0;
		flows.refused = UINT_MAX;
		flows.is_on = true;
		p.has_vlans = n == 3;
		steer_init(&s, (uint16_t)n, 16384, 65535);
		steer_start(&s, n == 2 ? STEER_WANT_FLOW : STEER_WANT_AUTO, key, &p, 1);
		assert_int_equal(p.steer, STEER_FLOW);
		assert_false(s.by_hash);
		assert_int_equal(flows.n_created, n * (p.has_vlans ? 4 : 2));
		check_rules(&s, &p, p.has_vlans ? 4 : 2);
		steer_stop(&s, &p, 1);
		assert_int_equal(flows.n_flushed, 1);
		assert_int_equal(p.steer, STEER_REDIRECT);
		port_stop(&p);
	}
	flows.is_on = false;
}

static void port_that_refuses_one_rule_has_none(void **state)
{
	for (unsigned with_rss = 0; with_rss < 2; with_rss++) {
		struct net_port p = open_port_of(true, with_rss);
		struct steer s;

		flows.n_created = flows.n_flushed = 0;
		flows.refused = 5;
		flows.is_on = true;
		steer_init(&s, 4, 16384, 65535);
		steer_start(&s, STEER_WANT_AUTO, key, &p, 1);
		assert_int_equal(flows.n_created, 5);
		assert_int_equal(flows.n_flushed, 1);
		assert_int_equal(p.steer, with_rss ? STEER_RSS : STEER_REDIRECT);
		assert_int_equal(s.by_hash, with_rss);
		steer_stop(&s, &p, 1);
		assert_int_equal(flows.n_flushed, 1);
		port_stop(&p);
	}
	flows.is_on = false;
}

static void rules_on_some_ports_are_better_than_none_but_not_than_rss(void **state)
{
	for (unsigned with_rss = 0; with_rss < 2; with_rss++) {
		struct net_port p[2] = {open_port_of(true, false), open_port_of(false, with_rss)};
		struct steer s;

		flows.n_created = flows.n_flushed = 0;
		flows.refused = UINT_MAX;
		flows.is_on = true;
		steer_init(&s, 2, 16384, 65535);
		steer_start(&s, STEER_WANT_AUTO, key, p, 2);
		assert_int_equal(p[0].steer, with_rss ? STEER_REDIRECT : STEER_FLOW);
		assert_int_equal(p[1].steer, with_rss ? STEER_RSS : STEER_REDIRECT);
		assert_int_equal(s.by_hash, with_rss);
		steer_stop(&s, p, 2);
		port_stop(&p[0]);
		port_stop(&p[1]);
	}
	flows.is_on = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_by_port_are_equal_and_apart),
		cmocka_unit_test(one_rule_for_each_worker_parts_the_ports),
		cmocka_unit_test(too_few_ports_for_aligned_shares_is_said),
		cmocka_unit_test(chosen_port_hashes_to_the_chooser),
		cmocka_unit_test(by_hash_every_port_of_a_destination_is_one_workers),
		cmocka_unit_test(hash_needs_an_entry_for_each_worker_and_a_block_of_ports),
		cmocka_unit_test(all_workers_agree_on_the_owner),
		cmocka_unit_test(device_with_rss_gets_our_key_and_table),
		cmocka_unit_test(device_that_can_do_nothing_is_redirected),
		cmocka_unit_test(ports_that_differ_have_one_owner_for_a_tuple),
		cmocka_unit_test(flow_rules_part_the_ports_among_the_queues),
		cmocka_unit_test(port_that_refuses_one_rule_has_none),
		cmocka_unit_test(rules_on_some_ports_are_better_than_none_but_not_than_rss),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, rig_start, NULL);
}
