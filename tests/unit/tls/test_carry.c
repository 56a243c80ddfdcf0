/* SPDX-License-Identifier: Apache-2.0 */
/* What clients may send, and may not, once their handshake is done and Weir has their records: content, messages, alerts. */
#include "carry_rig.h"

#define N_IDLE 32u /* records in a row that bring nothing, which are borne */

struct one {
	uint8_t type;
	const char *p;
	size_t n;
	int alert;
};

static void expect_refused(int version, const struct one *m, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		open_one(version);
		expect_echo("before");
		own_send(&o, m[i].type, m[i].p, m[i].n);
		expect_end(m[i].alert < 0 ? WEIR_R_TLS_PEER_ALERT : WEIR_R_TLS_BAD_RECORD, m[i].alert);
	}
}

/* -- content */

static void carries_content_with_every_cipher(void **state)
{
	static const char *const ciphers[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
					      "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
					      "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256",
					      "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"};

	begin(101);
	for (unsigned i = 0; i < RTE_DIM(ciphers); i++) {
		open_with(i < 3 ? TLS1_3_VERSION : TLS1_2_VERSION, ciphers[i]);
		expect_echo("one");
		o.pad = i < 3 ? 100 : 0;
		expect_echo("and two");
		for (unsigned k = 0; k < 300; k++)
			own_put(&o, RECORD_CONTENT, "some", 4);
		own_go(&o, 1000000);
		assert_int_equal(o.n_content, 10 + 1200);
		if (i < 3) {
			own_send(&o, RECORD_HANDSHAKE, BYTES("\x18\0\0\1\1"));
			own_update(&o.out);
			expect_echo("and three");
			assert_int_equal(o.n_updates, 1);
		}
		expect_end(WEIR_N_REASONS, -1);
	}
	end();
}

/* What it says of lengths, and that of the content: 16384 may be, 16385 not (RFC 8446 5.1, RFC 5246 6.2.1). */
static void takes_content_as_long_as_it_may_be(void **state)
{
	begin(102);
	mode = MODE_SINK;
	for (int is_13 = 0; is_13 < 2; is_13++) {
		int version = is_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
		size_t longest = is_13 ? 16384 + 239 : 16384 + 1000; /* its head may be */

		open_one(version);
		own_send(&o, RECORD_CONTENT, pattern, 16384);
		assert_int_equal(servers[o.server].n_in, 16384);
		o.pad = is_13 ? 239 : 0;
		own_send(&o, RECORD_CONTENT, pattern + 16384, 16384);
		assert_int_equal(servers[o.server].n_in, 2 * 16384);
		expect_end(WEIR_N_REASONS, -1);
		for (size_t n = 16385; n <= longest; n += n == 16385 ? longest - n : 1) {
			open_one(version);
			own_send(&o, RECORD_CONTENT, pattern, n);
			assert_int_equal(servers[o.server].n_in, 0);
			expect_end(WEIR_R_TLS_BAD_RECORD, SSL_AD_RECORD_OVERFLOW);
		}
	}
	end();
}

static void send_head(uint8_t type, uint8_t major, uint8_t minor, size_t n, size_t n_body)
{
	const uint8_t head[] = {type, major, minor, (uint8_t)(n >> 8), (uint8_t)n};

	own_raw(&o, head, sizeof(head));
	own_raw(&o, pattern, n_body);
	own_go(&o, 500000);
}

/* Heads are judged by themselves, before the body has come. */
static void refuses_heads_that_cannot_be(void **state)
{
	static const struct {
		bool is_13;
		uint8_t type, major, minor;
		uint16_t n;
		int alert;
	} heads[] = {
		{true, 23, 3, 3, 16384 + 257, SSL_AD_RECORD_OVERFLOW}, {true, 23, 3, 3, 65535, SSL_AD_RECORD_OVERFLOW},
		{true, 23, 3, 3, 15, SSL_AD_BAD_RECORD_MAC},	       {true, 23, 3, 3, 0, SSL_AD_BAD_RECORD_MAC},
		{true, 23, 3, 1, 100, SSL_AD_DECODE_ERROR},	       {true, 23, 3, 4, 100, SSL_AD_DECODE_ERROR},
		{true, 23, 2, 3, 100, SSL_AD_DECODE_ERROR},	       {true, 20, 3, 3, 1, SSL_AD_UNEXPECTED_MESSAGE},
		{true, 21, 3, 3, 2, SSL_AD_UNEXPECTED_MESSAGE},	       {true, 22, 3, 3, 100, SSL_AD_UNEXPECTED_MESSAGE},
		{true, 24, 3, 3, 100, SSL_AD_UNEXPECTED_MESSAGE},      {true, 0, 3, 3, 100, SSL_AD_UNEXPECTED_MESSAGE},
		{false, 23, 3, 3, 16384 + 1025, SSL_AD_RECORD_OVERFLOW}, {false, 22, 3, 3, 65535, SSL_AD_RECORD_OVERFLOW},
		{false, 23, 3, 3, 23, SSL_AD_BAD_RECORD_MAC},	       {false, 21, 3, 3, 0, SSL_AD_BAD_RECORD_MAC},
		{false, 23, 3, 1, 100, SSL_AD_PROTOCOL_VERSION},       {false, 23, 3, 4, 100, SSL_AD_PROTOCOL_VERSION},
		{false, 23, 0, 3, 100, SSL_AD_PROTOCOL_VERSION},       {false, 20, 3, 3, 100, SSL_AD_UNEXPECTED_MESSAGE},
		{false, 24, 3, 3, 100, SSL_AD_UNEXPECTED_MESSAGE},     {false, 0, 3, 3, 100, SSL_AD_UNEXPECTED_MESSAGE},
		{false, 255, 3, 3, 100, SSL_AD_UNEXPECTED_MESSAGE},
	};

	begin(103);
	for (unsigned i = 0; i < RTE_DIM(heads); i++) {
		open_one(heads[i].is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		send_head(heads[i].type, heads[i].major, heads[i].minor, heads[i].n, 0);
		expect_end(WEIR_R_TLS_BAD_RECORD, heads[i].alert);
	}
	end();
}

/* Lengths at the bounds are waited for; then the body does not fit. */
static void waits_for_bodies_that_may_be(void **state)
{
	static const struct {
		bool is_13;
		uint16_t n;
	} heads[] = {{true, 16}, {true, 16384 + 256}, {false, 24}, {false, 16384 + 1024}};

	begin(104);
	for (unsigned i = 0; i < RTE_DIM(heads); i++) {
		open_one(heads[i].is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		send_head(23, 3, 3, heads[i].n, heads[i].n - 1u);
		assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
		own_raw(&o, pattern, 1);
		own_go(&o, 500000);
		expect_end(WEIR_R_TLS_BAD_RECORD, SSL_AD_BAD_RECORD_MAC);
	}
	end();
}

static void bears_some_records_without_content(void **state)
{
	begin(105);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		for (unsigned round = 0; round < 2; round++) {
			for (unsigned i = 0; i < N_IDLE; i++) {
				o.pad = is_13 ? i * 9 : 0;
				own_put(&o, RECORD_CONTENT, "", 0);
			}
			expect_echo("then some");
		}
		for (unsigned i = 0; i < N_IDLE; i++)
			own_send(&o, RECORD_CONTENT, "", 0);
		assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
		own_send(&o, RECORD_CONTENT, "", 0);
		expect_end(WEIR_R_TLS_BAD_RECORD, SSL_AD_UNEXPECTED_MESSAGE);
	}
	end();
}

/* -- handshake messages of TLS 1.3 */

static void refuses_messages_13(void **state)
{
	static const struct one messages[] = {
		{22, BYTES("\x18\0\0\1\0x"), SSL_AD_UNEXPECTED_MESSAGE},	      /* KeyUpdate, and something behind it */
		{22, BYTES("\x18\0\0\1\0\x18\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE}, /* and another one */
		{22, BYTES("\x18\0\0\1\2"), SSL_AD_ILLEGAL_PARAMETER},
		{22, BYTES("\x18\0\0\1\xff"), SSL_AD_ILLEGAL_PARAMETER},
		{22, BYTES("\x18\0\0\2\0\0"), SSL_AD_DECODE_ERROR},
		{22, BYTES("\x18\0\0\0"), SSL_AD_DECODE_ERROR},
		{22, BYTES("\x18\0\1\1\0"), SSL_AD_DECODE_ERROR},
		{22, BYTES("\x18\1\0\1\0"), SSL_AD_DECODE_ERROR},
		{22, BYTES("\0\0\0\0"), SSL_AD_UNEXPECTED_MESSAGE},	 /* HelloRequest */
		{22, BYTES("\1\0\0\2\3\3"), SSL_AD_UNEXPECTED_MESSAGE}, /* ClientHello */
		{22, BYTES("\2\0\0\2\3\3"), SSL_AD_UNEXPECTED_MESSAGE}, /* ServerHello */
		{22, BYTES("\4\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE},	 /* NewSessionTicket */
		{22, BYTES("\5\0\0\0"), SSL_AD_UNEXPECTED_MESSAGE},	 /* EndOfEarlyData */
		{22, BYTES("\x0b\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE}, /* Certificate */
		{22, BYTES("\x14\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE}, /* Finished */
		{22, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE},
		{20, BYTES("\1"), SSL_AD_UNEXPECTED_MESSAGE}, /* change_cipher_spec within a record */
		{0, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE},   /* no type */
		{0, BYTES("\0\0\0"), SSL_AD_UNEXPECTED_MESSAGE},
		{1, BYTES("x"), SSL_AD_UNEXPECTED_MESSAGE},
		{24, BYTES("x"), SSL_AD_UNEXPECTED_MESSAGE},
		{255, BYTES("x"), SSL_AD_UNEXPECTED_MESSAGE},
		{255, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE},
	};

	begin(106);
	expect_refused(TLS1_3_VERSION, messages, RTE_DIM(messages));
	end();
}

/* Split at every place, with records in between that hold nothing at all of it not being allowed. */
static void takes_key_updates_in_pieces(void **state)
{
	static const char update[] = {24, 0, 0, 1, 1};
	unsigned n = 0;

	begin(107);
	open_one(TLS1_3_VERSION);
	for (unsigned cuts = 0; cuts < 16; cuts++) { /* as bits: behind which of its bytes a record ends */
		for (unsigned at = 0, i = 0; i < 5; i++)
			if (i == 4 || cuts & 1u << i) {
				own_send(&o, RECORD_HANDSHAKE, update + at, i + 1 - at);
				at = i + 1;
			}
		own_update(&o.out);
		assert_int_equal(o.n_updates, ++n);
		expect_echo("under the new keys");
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_KEY_UPDATES], n);
	expect_end(WEIR_N_REASONS, -1);
	end();
}

static void answers_key_updates_that_ask_for_it_alone(void **state)
{
	begin(108);
	open_one(TLS1_3_VERSION);
	for (unsigned i = 0; i < 6; i++) {
		own_send(&o, RECORD_HANDSHAKE, i % 2 ? "\x18\0\0\1\1" : "\x18\0\0\1\0", 5);
		own_update(&o.out);
		expect_echo("content");
		assert_int_equal(o.n_updates, (i + 1) / 2);
	}
	expect_end(WEIR_N_REASONS, -1);
	open_one(TLS1_3_VERSION); /* under the former keys nothing is taken */
	own_send(&o, RECORD_HANDSHAKE, BYTES("\x18\0\0\1\0"));
	own_send(&o, RECORD_CONTENT, "x", 1);
	expect_end(WEIR_R_TLS_BAD_RECORD, SSL_AD_BAD_RECORD_MAC);
	end();
}

static void refuses_anything_within_a_message(void **state)
{
	static const struct one between[] = {
		{23, BYTES("x"), SSL_AD_UNEXPECTED_MESSAGE},
		{23, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE},
		{21, BYTES("\1\0"), SSL_AD_UNEXPECTED_MESSAGE},
		{22, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE},
	};

	begin(109);
	for (int is_13 = 0; is_13 < 2; is_13++)
		for (unsigned i = 0; i < RTE_DIM(between); i++)
			for (size_t n = 1; n < 6; n++) {
				const char *begun = is_13 ? "\x18\0\0\1" : "\1\0\0\x32\3\3";

				if (is_13 && n > 4)
					continue;
				open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
				own_send(&o, RECORD_HANDSHAKE, begun, n);
				o.alert = o.level = -1; /* no_renegotiation: the length is known from the fourth byte on */
				o.n_alerts = 0;
				own_send(&o, between[i].type, between[i].p, between[i].n);
				expect_end(WEIR_R_TLS_BAD_RECORD, between[i].alert);
			}
	end();
}

static void bounds_key_updates_in_pieces(void **state)
{
	begin(110);
	open_one(TLS1_3_VERSION);
	for (unsigned i = 0; i < 33; i++) {
		assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
		for (unsigned k = 0; k < 5; k++)
			own_put(&o, RECORD_HANDSHAKE, "\x18\0\0\1\0" + k, 1);
		own_update(&o.out);
		own_go(&o, 100000);
	}
	expect_end(WEIR_R_TLS_KEY_UPDATE_FLOOD, -1);
	end();
}

/* -- handshake messages of TLS 1.2 */

static void refuses_messages_12(void **state)
{
	static const struct one messages[] = {
		{22, BYTES("\0\0\0\0"), SSL_AD_UNEXPECTED_MESSAGE}, /* HelloRequest is the server's */
		{22, BYTES("\2\0\0\2\3\3"), SSL_AD_UNEXPECTED_MESSAGE},
		{22, BYTES("\4\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE},
		{22, BYTES("\x0b\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE},
		{22, BYTES("\x10\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE},
		{22, BYTES("\x14\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE},
		{22, BYTES("\x18\0\0\1\0"), SSL_AD_UNEXPECTED_MESSAGE}, /* KeyUpdate is of TLS 1.3 */
		{22, BYTES("\1\0\x40\1"), SSL_AD_ILLEGAL_PARAMETER},	 /* ClientHello beyond the bound */
		{22, BYTES("\1\xff\xff\xff"), SSL_AD_ILLEGAL_PARAMETER},
		{22, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE},
	};

	begin(111);
	expect_refused(TLS1_2_VERSION, messages, RTE_DIM(messages));
	end();
}

static void send_hello(size_t n, size_t piece)
{
	static uint8_t hello[4 + HELLO_BYTES];

	hello[0] = 1;
	hello[1] = 0;
	hello[2] = (uint8_t)(n >> 8);
	hello[3] = (uint8_t)n;
	for (size_t at = 0; at < n + 4; at += piece)
		own_put(&o, RECORD_HANDSHAKE, hello + at, n + 4 - at < piece ? n + 4 - at : piece);
	own_go(&o, 500000);
}

static void answers_renegotiation(void **state)
{
	static const struct {
		size_t n, piece;
	} hellos[] = {{200, 16384}, {200, 1}, {200, 3}, {0, 4}, {0, 1}, {HELLO_BYTES, 16384}, {HELLO_BYTES, 1000}};

	begin(112);
	for (unsigned i = 0; i < RTE_DIM(hellos); i++) {
		open_one(TLS1_2_VERSION);
		for (unsigned k = 1; k <= TLS_RENEGOTIATIONS_MAX; k++) {
			send_hello(hellos[i].n, hellos[i].piece);
			assert_int_equal(o.n_alerts, k);
			assert_int_equal(o.level, 1);
			assert_int_equal(o.alert, SSL_AD_NO_RENEGOTIATION);
			expect_echo("goes on");
		}
		o.n_alerts = 0;
		o.level = o.alert = -1;
		send_hello(hellos[i].n, hellos[i].piece);
		expect_end(WEIR_R_TLS_RENEGOTIATION, -1);
	}
	end();
}

static void answers_each_of_two_hellos_in_a_record(void **state)
{
	begin(113);
	open_one(TLS1_2_VERSION);
	own_send(&o, RECORD_HANDSHAKE, BYTES("\1\0\0\2\3\3\1\0\0\1\3"));
	assert_int_equal(o.n_alerts, 2);
	expect_echo("goes on");
	own_send(&o, RECORD_HANDSHAKE, BYTES("\1\0\0\2\3\3\1\0\0\1\3"));
	assert_int_equal(o.n_alerts, 3);
	assert_int_equal(servers[o.server].reason, WEIR_R_TLS_RENEGOTIATION);
	close_one();
	end();
}

/* -- alerts */

static void ends_at_fatal_alerts(void **state)
{
	static const struct one alerts_13[] = {
		{21, BYTES("\2\x28"), -1},
		{21, BYTES("\1\x28"), -1}, /* whatever its level */
		{21, BYTES("\1\x64"), -1},
		{21, BYTES("\1\xff"), -1},
		{21, BYTES("\2"), SSL_AD_DECODE_ERROR},
		{21, BYTES("\1\0\1"), SSL_AD_DECODE_ERROR},
		{21, BYTES("\1\0\1\0"), SSL_AD_DECODE_ERROR},
		{21, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE}, /* RFC 8446 5.4 */
	};
	static const struct one alerts_12[] = {
		{21, BYTES("\2\x28"), -1},
		{21, BYTES("\2\x5a"), -1},
		{21, BYTES("\x9\x28"), -1},
		{21, BYTES("\2"), SSL_AD_DECODE_ERROR},
		{21, BYTES("\1\0\1"), SSL_AD_DECODE_ERROR},
		{21, BYTES(""), SSL_AD_UNEXPECTED_MESSAGE},
	};

	begin(114);
	expect_refused(TLS1_3_VERSION, alerts_13, RTE_DIM(alerts_13));
	expect_refused(TLS1_2_VERSION, alerts_12, RTE_DIM(alerts_12));
	end();
}

static void bears_some_warnings(void **state)
{
	begin(115);
	for (int is_13 = 0; is_13 < 2; is_13++) {
		/* Only user_canceled is none that ends it; in TLS 1.2 there are many. */
		static const char *const warnings[] = {"\1\x5a", "\1\x64", "\1\x70", "\1\xff"};

		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		for (unsigned round = 0; round < 2; round++) {
			for (unsigned i = 0; i < N_IDLE; i++)
				own_put(&o, RECORD_ALERT, warnings[is_13 ? 0 : i % 4], 2);
			expect_echo("then some");
		}
		for (unsigned i = 0; i < N_IDLE; i++)
			own_put(&o, RECORD_ALERT, warnings[0], 2);
		own_go(&o, 500000);
		assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
		own_send(&o, RECORD_ALERT, warnings[0], 2);
		expect_end(WEIR_R_TLS_BAD_RECORD, SSL_AD_UNEXPECTED_MESSAGE);
	}
	end();
}

/* Whatever its level; what comes behind it is nobody's. */
static void ends_with_close_notify(void **state)
{
	begin(116);
	for (unsigned i = 0; i < 8; i++) {
		open_one(i & 1 ? TLS1_3_VERSION : TLS1_2_VERSION);
		expect_echo("before");
		if (i & 4)
			own_put(&o, RECORD_CONTENT, "with it", 7);
		own_send(&o, RECORD_ALERT, i & 2 ? "\2\0" : "\1\0", 2);
		assert_true(servers[o.server].is_eof);
		assert_int_equal(o.n_content, i & 4 ? 13 : 6);
		own_send(&o, RECORD_CONTENT, "behind", 6);
		assert_int_equal(o.n_content, i & 4 ? 13 : 6);
		assert_int_equal(stats->counter[WEIR_C_TLS_TRUNCATED], 0);
		expect_end(WEIR_N_REASONS, SSL_AD_CLOSE_NOTIFY);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_content_with_every_cipher),
		cmocka_unit_test(takes_content_as_long_as_it_may_be),
		cmocka_unit_test(refuses_heads_that_cannot_be),
		cmocka_unit_test(waits_for_bodies_that_may_be),
		cmocka_unit_test(bears_some_records_without_content),
		cmocka_unit_test(refuses_messages_13),
		cmocka_unit_test(takes_key_updates_in_pieces),
		cmocka_unit_test(answers_key_updates_that_ask_for_it_alone),
		cmocka_unit_test(refuses_anything_within_a_message),
		cmocka_unit_test(bounds_key_updates_in_pieces),
		cmocka_unit_test(refuses_messages_12),
		cmocka_unit_test(answers_renegotiation),
		cmocka_unit_test(answers_each_of_two_hellos_in_a_record),
		cmocka_unit_test(ends_at_fatal_alerts),
		cmocka_unit_test(bears_some_warnings),
		cmocka_unit_test(ends_with_close_notify),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
