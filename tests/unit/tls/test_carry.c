/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients may send, and may not, once their handshake is done and Weir has their records: whole and in pieces, with and without
 * room and packet buffers. Each case is a connection of its own, beside one that must not be touched by it.
 */
#define N_SERVERS 256u
#include "own.h"
#include "tls/tls_pvt.h"

#define N_IDLE 32u /* records in a row that bring nothing, which are borne */

static struct own o;
static struct client *other;
static uint64_t n_ended; /* for any reason of TLS, before */

static uint64_t n_reasons(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		n += stat_reason_kind((enum weir_reason)i) == WEIR_KIND_TLS ? stats->reason[i] : 0;
	return n;
}

static void begin_with(uint64_t seed, const struct tcp_config *c)
{
	tls_config.n_sessions = 64;
	start_with(seed, c, c);
	other = tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(other);
	assert_true(other->is_done);
}

static void begin(uint64_t seed)
{
	const struct tcp_config c = sim_config();

	begin_with(seed, &c);
}

/* ciphers NULL: the first ones. */
static void open_with(int version, const char *ciphers)
{
	struct client *p = tls_client(0, "a.example", version, version);

	if (ciphers)
		assert_int_equal(version == TLS1_3_VERSION ? SSL_set_ciphersuites(p->ssl, ciphers) : SSL_set_cipher_list(p->ssl, ciphers), 1);
	own_listen(p);
	handshake(p);
	assert_true(p->is_done && !p->has_failed);
	own_begin(&o, p, n_servers - 1);
	assert_non_null(servers[o.server].s->carry);
	assert_null(servers[o.server].s->ssl);
	n_ended = n_reasons();
}

static void open_one(int version)
{
	open_with(version, NULL);
}

static void expect_other_unharmed(void)
{
	enum mode m = mode;

	mode = MODE_ECHO;
	other->n_send += 100;
	client_pump(other);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(other->n_got, other->n_send);
	mode = m;
}

/* Contexts of ciphers that have somebody's key. */
static unsigned n_lent(void)
{
	const struct record_ciphers *c = &servers[0].s->t->ciphers;
	unsigned n = 0;

	for (unsigned i = 0; i < RECORD_N_CIPHERS; i++)
		for (unsigned k = 0; k < RECORD_SLOTS; k++)
			n += c->slots[i][k].of != NULL;
	return n;
}

static void close_one(void)
{
	client_reset(o.p, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(servers[o.server].is_closed);
	assert_int_equal(o.n_bad, 0);
	own_end(&o);
	expect_other_unharmed();
	assert_int_equal(n_lent(), 2); /* of the other one: whose memory comes next must not be taken for who has gone */
}

/* alert -1: none came. */
static void expect_end(enum weir_reason why, int alert)
{
	assert_int_equal(servers[o.server].reason, why);
	assert_int_equal(n_reasons(), n_ended + (why != WEIR_N_REASONS));
	assert_int_equal(o.alert, alert);
	assert_int_equal(o.level, alert < 0 ? -1 : alert == SSL_AD_CLOSE_NOTIFY ? 1 : 2);
	assert_int_equal(o.n_alerts, alert >= 0);
	close_one();
}

/* Content comes back. */
static void expect_echo(const char *text)
{
	size_t n = o.n_content;

	own_send(&o, RECORD_CONTENT, text, strlen(text));
	assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
	assert_int_equal(o.n_content, n + strlen(text));
	assert_memory_equal(o.content + n, text, strlen(text));
}

#define BYTES(s) s, sizeof(s) - 1

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
		const char *warning = is_13 ? "\1\x5a" : "\1\x64"; /* user_canceled; no_renegotiation */

		open_one(is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
		for (unsigned round = 0; round < 2; round++) {
			for (unsigned i = 0; i < N_IDLE; i++)
				own_put(&o, RECORD_ALERT, warning, 2);
			expect_echo("then some");
		}
		for (unsigned i = 0; i < N_IDLE; i++)
			own_put(&o, RECORD_ALERT, warning, 2);
		own_go(&o, 500000);
		assert_int_equal(servers[o.server].reason, WEIR_N_REASONS);
		own_send(&o, RECORD_ALERT, warning, 2);
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
		cmocka_unit_test(takes_records_byte_by_byte),
		cmocka_unit_test(takes_records_longer_than_its_window),
		cmocka_unit_test(counts_an_end_within_a_record),
		cmocka_unit_test(counts_an_end_within_a_long_record),
		cmocka_unit_test(forgets_a_record_at_a_reset),
		cmocka_unit_test(answers_once_there_is_room),
		cmocka_unit_test(ends_without_room_for_its_alert),
		cmocka_unit_test(closes_once_there_is_room),
		cmocka_unit_test(answers_once_there_are_packet_buffers),
		cmocka_unit_test(sends_by_one_packet_buffer),
		cmocka_unit_test(ends_without_a_packet_buffer_for_its_alert),
		cmocka_unit_test(is_read_on_by_libssl_after_a_key_update),
		cmocka_unit_test(changes_its_keys_in_time),
		cmocka_unit_test(ends_where_openssl_fails),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
