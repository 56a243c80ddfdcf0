/* SPDX-License-Identifier: Apache-2.0 */
/* How records come and go once Weir has them: in pieces, cut off, without room, without packet buffers, under new keys. */
#include "carry_rig.h"

/* -- in pieces */

static void send_each_byte(uint8_t type, const void *p, size_t n)
{
	static uint8_t r[OWN_MAX];
	size_t n_record = own_seal(&o, type, p, n, r);

	for (size_t i = 0; i < n_record; i++) {
		own_raw(&o, r + i, 1);
		own_go(&o, 3000);
	}
	own_go(&o, 500000);
}

static void takes_records_byte_by_byte(void **state)
{
	begin(117);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		send_each_byte(RECORD_CONTENT, "piece by piece", 14);
		send_each_byte(RECORD_CONTENT, "", 0);
		send_each_byte(RECORD_CONTENT, pattern, 3000);
		assert_int_equal(o.n_content, 3014);
		assert_memory_equal(o.content + 14, pattern, 3000);
		if (is_13) {
			send_each_byte(RECORD_HANDSHAKE, "\x18\0\0\1\1", 5);
			own_update(&o.out);
			expect_echo("and on");
		} else {
			send_each_byte(RECORD_HANDSHAKE, "\1\0\0\2\3\3", 6);
			assert_int_equal(o.alert, SSL_AD_NO_RENEGOTIATION);
			o.n_alerts = 0;
			o.alert = o.level = -1;
		}
		send_each_byte(RECORD_ALERT, "\1\0", 2);
		expect_end(WEIR_N_REASONS, SSL_AD_CLOSE_NOTIFY);
	}
	end();
}

static void takes_records_longer_than_its_window(void **state)
{
	struct tcp_config c = sim_config();

	c.rx_buffer_bytes = 4096;
	begin_with(130, &c);
	mode = MODE_SINK;
	for (int is_13 = 0; is_13 < 2; is_13++) {
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		for (unsigned i = 1; i <= 3; i++) {
			own_put(&o, RECORD_CONTENT, pattern + (i - 1) * 16384, 16384);
			own_go(&o, 10000000);
			assert_int_equal(servers[o.server].n_in, i * 16384);
		}
		expect_end(WEIR_N_REASONS, -1);
	}
	end();
}

/* FIN behind each byte of a record of content, and behind all of it. */
static void counts_an_end_within_a_record(void **state)
{
	static uint8_t r[OWN_MAX];

	begin(118);
	for (int is_13 = 0; is_13 < 2; is_13++)
		for (size_t cut = 0, n = 1; cut <= n; cut++) {
			uint64_t before = stats->counter[WEIR_C_TLS_TRUNCATED];

			open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
			expect_echo("x");
			n = own_seal(&o, RECORD_CONTENT, "content", 7, r);
			own_raw(&o, r, cut);
			o.p->is_shut = true;
			own_go(&o, 1000000);
			assert_int_equal(stats->counter[WEIR_C_TLS_TRUNCATED], before + 1);
			assert_true(servers[o.server].is_closed);
			assert_int_equal(o.n_content, cut == n ? 8 : 1);
			assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
			assert_int_equal(o.alert, SSL_AD_CLOSE_NOTIFY);
			assert_int_equal(o.n_bad, 0);
			own_end(&o);
		}
	expect_other_unharmed();
	end();
}

/* The same where it has come in pieces that were taken already. */
static void counts_an_end_within_a_long_record(void **state)
{
	static uint8_t r[OWN_MAX];

	begin(119);
	mode = MODE_SINK;
	for (int is_13 = 0; is_13 < 2; is_13++)
		for (size_t cut = 2000; cut < 16384; cut += 1999) {
			uint64_t before = stats->counter[WEIR_C_TLS_TRUNCATED];

			open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
			own_seal(&o, RECORD_CONTENT, pattern, 16384, r);
			own_raw(&o, r, cut);
			own_go(&o, 1000000);
			assert_int_equal(stats->counter[WEIR_C_TLS_TRUNCATED], before);
			o.p->is_shut = true;
			own_go(&o, 1000000);
			assert_int_equal(stats->counter[WEIR_C_TLS_TRUNCATED], before + 1);
			assert_int_equal(servers[o.server].n_in, 0);
			own_end(&o);
		}
	expect_other_unharmed();
	end();
}

/* Nothing is left of what was there; a leak of packet buffers ends sim_fini(). */
static void forgets_a_record_at_a_reset(void **state)
{
	static uint8_t r[OWN_MAX];

	begin(120);
	for (int is_13 = 0; is_13 < 2; is_13++)
		for (size_t cut = 1; cut <= 16384; cut = cut < 40 ? cut + 1 : cut * 2) {
			open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
			own_seal(&o, RECORD_CONTENT, pattern, 16384, r);
			own_raw(&o, r, cut);
			own_go(&o, 100000);
			close_one();
			assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 1);
		}
	end();
}

/* -- without room */

static size_t close_window(void)
{
	struct tls_session *s = servers[o.server].s;
	size_t n = 0, room;

	o.p->is_deaf = true;
	do {
		while ((room = tls_send_room(s)) > 0) {
			room = room > 5000 ? 5000 : room;
			assert_int_equal(tls_send(s, pattern + n, room), 0);
			n += room;
		}
		tls_flush(s);
		sim_run(&sim, 2000000, NULL, NULL);
	} while (tls_send_room(s) > 0);
	return n;
}

static void open_window(size_t n)
{
	o.p->is_deaf = false;
	own_go(&o, 20000000);
	assert_int_equal(o.n_content, n);
	assert_memory_equal(o.content, pattern, n);
}

static void begin_small(uint64_t seed)
{
	struct tcp_config c = sim_config();

	c.rx_buffer_bytes = c.tx_buffer_bytes = 16384;
	begin_with(seed, &c);
}

static void send_more(size_t n)
{
	assert_int_equal(tls_send(servers[o.server].s, pattern + n, 100), 0);
	tls_flush(servers[o.server].s);
	own_go(&o, 1000000);
	assert_int_equal(o.n_content, n + 100);
	assert_memory_equal(o.content, pattern, n + 100);
}

static void ask_for_an_answer(bool is_13)
{
	if (is_13) {
		own_send(&o, RECORD_HANDSHAKE, BYTES("\x18\0\0\1\1"));
		own_update(&o.out);
	} else {
		own_send(&o, RECORD_HANDSHAKE, BYTES("\1\0\0\2\3\3"));
	}
}

/* Each way goes on without the other one. What is asked for while there is no room is answered once. */
static void answers_once_there_is_room(void **state)
{
	begin_small(121);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		size_t n, n_fit, n_asked = is_13 ? 10 : TLS_RENEGOTIATIONS_MAX;

		mode = MODE_SINK;
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		n = close_window();
		n_fit = tcp_send_room(servers[o.server].c) / (is_13 ? 27 : 31); /* too little for content, that is left */
		assert_true(n_fit + 1 < n_asked);
		for (unsigned i = 0; i < n_asked; i++) {
			ask_for_an_answer(is_13);
			own_send(&o, RECORD_CONTENT, pattern + i * 1000, 1000);
			assert_int_equal(servers[o.server].n_in, (i + 1) * 1000);
		}
		open_window(n);
		send_more(n);
		assert_int_equal(o.n_updates, is_13 ? n_fit + 1 : 0);
		assert_int_equal(o.n_alerts, is_13 ? 0 : n_fit + 1);
		assert_int_equal(o.alert, is_13 ? -1 : SSL_AD_NO_RENEGOTIATION);
		close_one();
	}
	end();
}

/* Its reason is told all the same, and what was in the queue before comes. */
static void ends_without_room_for_its_alert(void **state)
{
	begin_small(122);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		size_t n;

		mode = MODE_SINK;
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		n = close_window();
		own_send(&o, RECORD_HANDSHAKE, BYTES("\x0b\0\0\1\0"));
		assert_int_equal(servers[o.server].reason, WEIR_R_TLS_BAD_RECORD);
		o.p->is_deaf = false;
		own_go(&o, 20000000);
		assert_true(o.n_content > 0 && o.n_content <= n);
		assert_memory_equal(o.content, pattern, o.n_content);
		assert_int_equal(n_reasons(), n_ended + 1);
		close_one();
	}
	end();
}

/* close_notify waits, too. */
static void closes_once_there_is_room(void **state)
{
	begin_small(123);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		size_t n;

		mode = MODE_SINK;
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		n = close_window();
		own_send(&o, RECORD_ALERT, BYTES("\1\0"));
		assert_true(servers[o.server].is_eof && servers[o.server].is_shut);
		open_window(n);
		expect_end(WEIR_N_REASONS, SSL_AD_CLOSE_NOTIFY);
	}
	end();
}

/* -- without packet buffers */

#define N_FEW 8u
static struct rte_mempool *few;
static struct rte_mbuf *taken[N_FEW];
static unsigned n_taken;

static void take_all(void)
{
	while (n_taken < N_FEW && (taken[n_taken] = rte_pktmbuf_alloc(few)) != NULL)
		n_taken++;
}

static void give_all(void)
{
	while (n_taken)
		rte_pktmbuf_free(taken[--n_taken]);
}

static void begin_few(uint64_t seed)
{
	if (!few)
		few = rte_pktmbuf_pool_create("few", N_FEW, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	tls_pool = few;
	begin(seed);
}

static void answers_once_there_are_packet_buffers(void **state)
{
	begin_few(124);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		take_all();
		ask_for_an_answer(is_13);
		own_send(&o, RECORD_CONTENT, "waits", 5);
		assert_int_equal(o.n_content + o.n_updates + o.n_alerts, 0);
		assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
		give_all();
		own_go(&o, 5000000);
		assert_int_equal(o.n_content, 5);
		assert_memory_equal(o.content, "waits", 5);
		assert_int_equal(o.n_updates, is_13);
		assert_int_equal(o.n_alerts, !is_13);
		expect_echo("goes on");
		close_one();
	}
	assert_true(stats->reason[WEIR_R_NO_MBUF] > 0);
	end();
	assert_int_equal(rte_mempool_avail_count(few), N_FEW);
}

static void closes_once_there_are_packet_buffers(void **state)
{
	begin_few(133);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		take_all();
		own_send(&o, RECORD_ALERT, BYTES("\1\0"));
		assert_true(servers[o.server].is_shut);
		assert_int_equal(o.n_alerts, 0);
		give_all();
		own_go(&o, 5000000);
		expect_end(WEIR_N_REASONS, SSL_AD_CLOSE_NOTIFY);
	}
	end();
}

/* Whoever else looks at packets (a capture) goes on to see what came. */
static struct {
	struct rte_mbuf *m[64];
	const uint8_t *at[64];
	uint8_t bytes[64][2048];
	size_t n_bytes[64];
	unsigned n;
} seen;

static void on_arrives(struct sim *s, int to, const struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag)
{
	struct rte_mbuf *own = (struct rte_mbuf *)(uintptr_t)m;

	if (to != 1 || m->nb_segs > 1 || m->data_len > 2048 || seen.n == RTE_DIM(seen.m))
		return;
	rte_mbuf_refcnt_update(own, 1);
	seen.at[seen.n] = rte_pktmbuf_mtod(m, const uint8_t *);
	seen.n_bytes[seen.n] = m->data_len;
	memcpy(seen.bytes[seen.n], seen.at[seen.n], m->data_len);
	seen.m[seen.n++] = own;
}

static void expect_seen_unchanged(void)
{
	while (seen.n) {
		unsigned i = --seen.n;

		assert_memory_equal(seen.at[i], seen.bytes[i], seen.n_bytes[i]);
		rte_pktmbuf_free_seg(seen.m[i]);
	}
}

static void leaves_as_it_is_what_others_hold(void **state)
{
	begin_few(131);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		uint64_t before = stats->reason[WEIR_R_NO_MBUF];

		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		sim.arrives = on_arrives;
		own_send(&o, RECORD_CONTENT, pattern, 900);
		assert_int_equal(o.n_content, 900);
		assert_true(seen.n > 0);
		expect_seen_unchanged();
		assert_int_equal(stats->reason[WEIR_R_NO_MBUF], before);
		take_all(); /* there is none for a copy: it waits */
		own_send(&o, RECORD_CONTENT, pattern + 900, 900);
		assert_int_equal(o.n_content, 900);
		assert_true(stats->reason[WEIR_R_NO_MBUF] > before);
		give_all();
		own_go(&o, 5000000);
		assert_int_equal(o.n_content, 1800);
		assert_memory_equal(o.content, pattern, 1800);
		sim.arrives = NULL;
		expect_seen_unchanged();
		expect_end(WEIR_N_REASONS, -1);
	}
	end();
	assert_int_equal(rte_mempool_avail_count(few), N_FEW);
}

/* A record that would need more is made shorter. */
static void sends_by_one_packet_buffer(void **state)
{
	begin_few(129);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		struct tls_session *s;

		mode = MODE_SINK;
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		s = servers[o.server].s;
		s->n_records = TLS_SMALL_RECORDS;
		take_all();
		rte_pktmbuf_free(taken[--n_taken]);
		assert_int_equal(tls_send(s, pattern, 9000), 0);
		tls_flush(s);
		own_go(&o, 10000000);
		assert_int_equal(o.n_content, 9000);
		assert_memory_equal(o.content, pattern, 9000);
		give_all();
		expect_end(WEIR_N_REASONS, -1);
	}
	end();
	assert_int_equal(rte_mempool_avail_count(few), N_FEW);
}

static void ends_without_a_packet_buffer_for_its_alert(void **state)
{
	begin_few(125);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		take_all();
		own_send(&o, RECORD_HANDSHAKE, BYTES("\x0b\0\0\1\0"));
		give_all();
		own_go(&o, 5000000);
		assert_int_equal(servers[o.server].reason, WEIR_R_TLS_BAD_RECORD);
		assert_int_equal(n_reasons(), n_ended + 1);
		close_one();
	}
	end();
	assert_int_equal(rte_mempool_avail_count(few), N_FEW);
}

/* -- keys of our own */

/* What libssl makes of our KeyUpdate. */
static void is_read_on_by_libssl_after_a_key_update(void **state)
{
	struct client *p;

	begin(126);
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(p);
	for (unsigned i = 1; i <= 5; i++) {
		struct tls_session *s = servers[n_servers - 1].s;

		s->carry->owes_update = true;
		p->n_send += 3000;
		client_pump(p);
		sim_run(&sim, 1000000, NULL, NULL);
		assert_int_equal(p->n_got, p->n_send);
		assert_false(s->carry->owes_update);
		assert_true(s->carry->out.seq < 20);
	}
	expect_other_unharmed();
	end();
}

/* Before a key has sealed more than it may (RFC 8446 5.5); in TLS 1.2 there is no other one. */
static void changes_its_keys_in_time(void **state)
{
	static const uint64_t bound = (uint64_t)1 << 24;

	begin(127);
	for (int is_13 = 0; is_13 < 2; is_13++)
		for (unsigned before = 0; before < 4; before++) {
			struct record_key *k;

			open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
			expect_echo("before");
			k = &servers[o.server].s->carry->out;
			k->seq = o.in.seq = bound - before;
			for (unsigned i = 0; i < before; i++)
				expect_echo("under it");
			assert_int_equal(o.n_updates, 0);
			assert_int_equal(k->seq, bound);
			expect_echo("beyond");
			expect_echo("and on");
			assert_int_equal(o.n_updates, is_13);
			assert_int_equal(k->seq, is_13 ? 2 : bound + 2);
			expect_end(WEIR_N_REASONS, -1);
		}
	end();
}

/* -- where it is not done */

static uint8_t told; /* of enum kdf_secret, as bits: which are told */

static void tell_some(void *session, enum kdf_secret what, const uint8_t *secret, size_t n)
{
	if (told & 1u << what)
		tls_carry_note(session, what, secret, n);
}

/* libssl goes on, and it is counted. */
static void leaves_to_libssl_what_it_cannot_carry(void **state)
{
	static const uint8_t some[] = {0, 1 << KDF_CLIENT_TRAFFIC, 1 << KDF_SERVER_TRAFFIC};

	begin(132);
	servers[0].s->t->kdf.tell = tell_some;
	for (unsigned i = 0; i < 2 * RTE_DIM(some); i++) {
		int version = i & 1 ? TLS1_3_VERSION : TLS1_2_VERSION;
		struct client *p = tls_client(0, "a.example", version, version);
		struct tls_session *s;

		told = some[i / 2];
		handshake(p);
		s = servers[n_servers - 1].s;
		assert_non_null(s->ssl);
		assert_null(s->carry);
		assert_int_equal(stats->counter[WEIR_C_TLS_KEPT_IN_LIBSSL], i + 1);
		p->n_send = 5000;
		p->closes = true;
		client_pump(p);
		sim_run(&sim, 5000000, is_client_closed, p);
		assert_true(p->is_eof && p->n_got == 5000);
	}
	expect_other_unharmed();
	end();
}

/* As if OpenSSL had no memory: nothing more can be sealed for this session. */
static void break_cipher(void)
{
	const struct record_key *k = &servers[o.server].s->carry->out;

	EVP_CIPHER_CTX_reset(servers[o.server].s->t->ciphers.slots[k->cipher][k->slot].ctx);
}

static void ends_where_openssl_fails(void **state)
{
	begin(128);
	for (unsigned i = 0; i < 5; i++) {
		bool is_13 = i & 1;

		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		expect_echo("before");
		break_cipher();
		if (i < 2)
			ask_for_an_answer(is_13);
		else if (i < 4)
			own_send(&o, RECORD_CONTENT, "x", 1);
		else
			own_send(&o, RECORD_ALERT, "\1\0", 2);
		assert_int_equal(o.n_content, 6);
		expect_end(WEIR_R_TLS_NO_MEMORY, -1);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_records_byte_by_byte),
		cmocka_unit_test(takes_records_longer_than_its_window),
		cmocka_unit_test(counts_an_end_within_a_record),
		cmocka_unit_test(counts_an_end_within_a_long_record),
		cmocka_unit_test(forgets_a_record_at_a_reset),
		cmocka_unit_test(answers_once_there_is_room),
		cmocka_unit_test(ends_without_room_for_its_alert),
		cmocka_unit_test(closes_once_there_is_room),
		cmocka_unit_test(answers_once_there_are_packet_buffers),
		cmocka_unit_test(closes_once_there_are_packet_buffers),
		cmocka_unit_test(leaves_as_it_is_what_others_hold),
		cmocka_unit_test(sends_by_one_packet_buffer),
		cmocka_unit_test(ends_without_a_packet_buffer_for_its_alert),
		cmocka_unit_test(is_read_on_by_libssl_after_a_key_update),
		cmocka_unit_test(changes_its_keys_in_time),
		cmocka_unit_test(leaves_to_libssl_what_it_cannot_carry),
		cmocka_unit_test(ends_where_openssl_fails),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
