/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of HTTPS binds, over a stand-in for TLS (fake_tls.h): in virtual time. */
#include "raw.h"

#include "base/hash.h"
#include "route/route.h"

#include "fake_tls.h"

#define MAX_IN (1u << 20)
#define N_SESSIONS 4

/* A client that says what it is told, by TLS. */
struct secure {
	struct tcp_conn *c; /* NULL: ended */
	struct tls_session *s;
	bool is_mute;	 /* does not begin the handshake */
	bool is_eof, is_reset;
	const char *out;
	size_t n_out, n_in;
	char in[MAX_IN + 1];
};

static struct tls *tls;
static struct secure clients_tls[2];
static struct secure *const one_tls = &clients_tls[0];

static struct tls *make(void)
{
	const struct tls_config cfg = {.tcp = sim.host[1].tcp, .pool = sim.pool, .stats = stats, .n_sessions = N_SESSIONS};

	return tls = tls_create(&cfg);
}

static void unmake(void)
{
	tls_destroy(tls);
	tls = NULL;
}

/* -- server names: one for each listener's host, and requests for that are all that it may bring if there are two */

static void append(char **blob, size_t *end, struct weir_section_ref *ref, const void *p, size_t count, size_t size)
{
	*blob = realloc(*blob, *end + count * size + 8);
	memset(*blob + *end, 0, count * size + 8);
	memcpy(*blob + *end, p, count * size);
	*ref = (struct weir_section_ref){(uint32_t)*end, (uint32_t)count};
	*end = (*end + count * size + 7) / 8 * 8;
}

/* What names ask of clients: an index in auths, plus 1. */
static struct weir_client_auth auths[2];
static unsigned n_auths, auth_plus1[2];
static bool names_have_no_listener, names_have_listener, names_pass;

static void add_to(void **blob, size_t *n)
{
	static const size_t size[] = {
#define X(name, type) sizeof(type),
		WEIR_SECTIONS(X)
#undef X
	};
	static const struct weir_cert_id certs[] = {{{1, 2}}, {{3, 4}}, {{5, 6}}};
	const struct weir_snapshot *old = *blob;
	const struct weir_bind *b = snapshot_bind(old, 0);
	uint32_t n_slots = snapshot_count(old, SLOTS);
	struct weir_slot *slots = calloc(n_slots + 4, sizeof(*slots));
	struct weir_server_name names[2] = {{.host_kind = 0}};
	struct weir_section_ref refs[WEIR_MAX_SECTIONS] = {{0}};
	struct weir_bind bind = *b;
	size_t end = sizeof(*old);
	char *to = malloc(end);
	struct weir_snapshot *s;

	memcpy(slots, (const char *)old + old->sect[WEIR_SECT_SLOTS].off, n_slots * sizeof(*slots));
	for (uint32_t i = 0; i < b->listeners.count; i++) {
		const struct weir_listener *l = snapshot_listener(old, b->listeners.first + i);
		uint32_t hash = (uint32_t)route_key_hash(old->hash_seed, l->host_kind, snapshot_str(old, l->host));
		uint32_t at = hash & 3;

		names[i] = (struct weir_server_name){.host = l->host, .host_kind = l->host_kind, .certs = {0, 1},
						     .client_auth = auth_plus1[i] ? auth_plus1[i] - 1 : WEIR_NONE,
						     .mode = names_pass ? WEIR_TLS_PASSTHROUGH : WEIR_TLS_TERMINATE,
						     .listener = (b->listeners.count > 1 && !names_have_no_listener) || names_have_listener || names_pass
									 ? i : WEIR_NONE};
		while (slots[n_slots + at].index_plus1)
			at = (at + 1) & 3;
		slots[n_slots + at] = (struct weir_slot){hash, i + 1};
	}
	bind.names = (struct weir_range){0, b->listeners.count};
	bind.name_slots = (struct weir_range){n_slots, 4};
	for (unsigned i = 0; i < WEIR_N_SECTIONS; i++) {
		const void *p = (const char *)old + old->sect[i].off;
		size_t count = old->sect[i].count;

		if (i == WEIR_SECT_SLOTS) {
			p = slots;
			count += 4;
		} else if (i == WEIR_SECT_NAMES) {
			p = names;
			count = bind.names.count;
		} else if (i == WEIR_SECT_CERTS) {
			p = certs;
			count = 1 + n_auths;
		} else if (i == WEIR_SECT_CLIENT_AUTHS) {
			p = auths;
			count = n_auths;
		} else if (i == WEIR_SECT_BINDS) {
			p = &bind;
		}
		append(&to, &end, &refs[i], p, count, size[i]);
	}
	memcpy(to, old, sizeof(*old));
	s = (struct weir_snapshot *)(void *)to;
	memcpy(s->sect, refs, sizeof(refs));
	s->size = (uint32_t)end;
	s->checksum = hash64_zeroed(s, s->size, offsetof(struct weir_snapshot, checksum), 8, 0);
	free(slots);
	free(*blob);
	*blob = s;
	*n = end;
}

/* -- the client */

static void let_go(struct secure *x)
{
	if (x->s)
		tls_free(x->s);
	x->s = NULL;
	x->c = NULL;
}

static void speak(struct secure *x)
{
	if (x->is_mute || (!tls_is_ready(x->s) && tls_handshake(x->s, NULL, sim.now_us) == TLS_MORE))
		return;
	while (tls_readable(x->s)) {
		struct slice s = tls_peek(x->s);

		assert_true(x->n_in + s.n <= MAX_IN);
		memcpy(x->in + x->n_in, s.p, s.n);
		x->n_in += s.n;
		x->in[x->n_in] = 0;
		tls_consume(x->s, s.n);
	}
	while (x->n_out) {
		size_t n = RTE_MIN(x->n_out, tls_send_room(x->s));

		if (n == 0 || tls_send(x->s, x->out, n) != 0)
			break;
		x->out += n;
		x->n_out -= n;
	}
	tls_flush(x->s);
	x->is_eof = tls_is_eof(x->s);
}

static void on_secure(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct secure *x = user;

	if (events & TCP_EV_CLOSED) {
		x->is_reset = tcp_close_reason(c) == WEIR_R_CLOSE_RESET_BY_PEER;
		let_go(x);
		return;
	}
	if (events & TCP_EV_CONNECTED && !x->is_mute)
		fake_put(x->s, FAKE_HELLO, x->s->name, strlen(x->s->name));
	speak(x);
}

static void open_to(struct secure *x, const char *name, bool is_mute)
{
	struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 80, .timeout_ms = 30000,
				.event = on_secure, .user = x};
	enum weir_reason why;

	memset(x, 0, offsetof(struct secure, in));
	x->is_mute = is_mute;
	x->c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
	assert_non_null(x->c);
	x->s = fake_connect(tls, x->c, name);
	run_ms(300);
}

static void say(struct secure *x, const char *text, size_t n)
{
	x->out = text;
	x->n_out = n;
	x->n_in = 0;
	x->in[0] = 0;
	speak(x);
}

static void ask(struct secure *x, const char *text)
{
	say(x, text, strlen(text));
	run_ms(1000);
}

static void close_it(struct secure *x, bool abort)
{
	struct tcp_conn *c = x->c;

	if (!c)
		return;
	if (!abort)
		tls_shutdown(x->s);
	let_go(x);
	if (abort)
		tcp_abort(c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	else
		tcp_close(c, sim.now_us);
}

static void begin(uint64_t seed)
{
	route.proto = WEIR_PROTO_HTTPS;
	make_tls = make;
	end_tls = unmake;
	add_names = add_to;
	fake_n_alerts = 0;
	start(seed);
	assert_int_equal(stats->gauge[WEIR_G_LISTENERS], 1);
}

/* All went, whoever ended it. */
static void finish(void)
{
	for (unsigned i = 0; i < 2; i++)
		close_it(&clients_tls[i], false);
	run_ms(60000);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	end();
	n_auths = auth_plus1[0] = auth_plus1[1] = 0;
	names_have_no_listener = names_have_listener = names_pass = false;
	memset(&fake_auth, 0, sizeof(fake_auth));
	fake_cert = NULL;
}

static void ask_of(unsigned name, enum weir_client_auth_mode m)
{
	auths[n_auths] = (struct weir_client_auth){.trust = {1 + n_auths, 1}, .mode = (uint8_t)m, .depth = 1};
	auth_plus1[name] = ++n_auths;
}

/* As if the client had come when a name asked this. */
static void was_asked(unsigned trust, enum weir_client_auth_mode m)
{
	fake_auth = (struct tls_client_auth){.trust = {{2 * trust + 1, 2 * trust + 2}}, .is_asked = 1, .mode = (uint8_t)m, .depth = 1};
}

static unsigned count(const struct secure *x, const char *text)
{
	unsigned n = 0;

	for (const char *p = x->in; (p = strstr(p, text)); p++)
		n++;
	return n;
}

/* -- tests */

static void requests_come_by_https_and_say_so(void **state)
{
	const struct weir_log_record *r;

	begin(1);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "POST https://a.example/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count(one_tls, "hello"), 1);
	assert_non_null(strstr(seen, "X-Forwarded-Proto: https\n"));
	r = &access_log.records[0];
	assert_int_equal(r->tls_version, 0x0304);
	assert_int_equal(r->tls_is_resumed, 1);
	assert_int_equal(r->len[WEIR_LOG_TLS_CIPHER], 8);
	assert_int_equal(r->len[WEIR_LOG_TLS_SERVER_NAME], 9);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 1);
	finish();
}

static void pipelined_requests_in_one_record_are_all_answered(void **state)
{
	begin(2);
	open_to(one_tls, "", false);
	ask(one_tls, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 3);
	fake_put(one_tls->s, FAKE_NOISE, NULL, 0); /* events without content */
	run_ms(500);
	ask(one_tls, "GET /4 HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void large_bodies_go_both_ways(void **state)
{
	static char request[300000];
	int n = snprintf(request, sizeof(request), "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 290000\r\n\r\n");

	memset(request + n, 'b', 290000);
	begin(3);
	open_to(one_tls, "a", false);
	ask(one_tls, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
	run_ms(60000);
	assert_true(one_tls->n_in > LARGE_BODY);
	mode = ORIGIN_SINK;
	close_it(one_tls, false);
	open_to(one_tls, "a", false);
	say(one_tls, request, (size_t)n + 290000);
	run_ms(60000);
	assert_int_equal(count(one_tls, "HTTP/1.1 204 "), 1);
	assert_int_equal(stats->counter[WEIR_C_BODY_BYTES_UP], 290000);
	finish();
}

static void a_handshake_has_a_limit(void **state)
{
	begin(4);
	open_to(one_tls, "a", true);
	run_ms(9000);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 1);
	run_ms(2000);
	assert_int_equal(stats->reason[WEIR_R_TLS_HANDSHAKE_TIMEOUT], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

static void who_leaves_within_the_handshake_is_counted(void **state)
{
	begin(5);
	open_to(&clients_tls[0], "a", true);
	open_to(&clients_tls[1], "a", true);
	close_it(&clients_tls[0], true);
	run_ms(500);
	assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], 1);
	tcp_shutdown(clients_tls[1].c);
	run_ms(500);
	assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], 2);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

static void a_refused_handshake_ends_with_the_alert(void **state)
{
	begin(6);
	open_to(one_tls, "unknown", false);
	run_ms(500);
	assert_int_equal(fake_n_alerts, 1);
	assert_int_equal(stats->reason[WEIR_R_TLS_UNRECOGNIZED_NAME], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

/* Whatever the client was in: idle, within a head, within a body, waiting, within a tunnel. */
static void a_broken_record_ends_a_request_with_the_alert(void **state)
{
	static const char *const begun[] = {"", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
					    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\nabc"};

	begin(7);
	for (unsigned i = 0; i < 4; i++) {
		open_to(one_tls, "a", false);
		ask(one_tls, begun[i]);
		fake_put(one_tls->s, (enum fake_type)99, NULL, 0);
		run_ms(500);
		assert_int_equal(fake_n_alerts, i + 1);
		assert_int_equal(stats->reason[WEIR_R_TLS_BAD_RECORD], i + 1);
		assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
		close_it(one_tls, false);
	}
	assert_int_equal(stats->reason[WEIR_R_REQ_CLIENT_GONE], 3);
	finish();
}

static void who_leaves_behind_the_handshake_leaves_no_session(void **state)
{
	static const char *const begun[] = {"", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
					    "GET / HTTP/1.1\r\nHost: a\r\n\r\n"};

	begin(8);
	mode = ORIGIN_SILENT;
	for (unsigned i = 0; i < 8; i++) {
		open_to(one_tls, "a", false);
		ask(one_tls, begun[i / 2]);
		close_it(one_tls, i % 2);
		run_ms(15000);
		assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	}
	finish();
}

static void a_tunnel_carries_bytes_and_ends_both_ways(void **state)
{
	struct raw *endpoint = &raw_endpoints[0];

	begin(9);
	raw_listen();
	open_to(one_tls, "a", false);
	ask(one_tls, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	raw_say(endpoint, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
	run_ms(500);
	assert_int_equal(count(one_tls, "HTTP/1.1 101 "), 1);
	assert_int_equal(count(one_tls, "first"), 1);
	endpoint->n_in = 0;
	ask(one_tls, "ping");
	assert_true(has_got(endpoint, "ping"));
	raw_say(endpoint, "pong");
	run_ms(500);
	assert_string_equal(one_tls->in, "pong");
	tcp_shutdown(endpoint->c);
	run_ms(500);
	assert_true(one_tls->is_eof && one_tls->s->is_eof); /* by close_notify */
	tls_shutdown(one_tls->s);
	run_ms(3000);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	raw_close(endpoint);
	finish();
}

static void a_broken_record_ends_a_tunnel(void **state)
{
	begin(10);
	raw_listen();
	open_to(one_tls, "a", false);
	ask(one_tls, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	raw_say(&raw_endpoints[0], "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	run_ms(500);
	fake_put(one_tls->s, (enum fake_type)99, NULL, 0);
	run_ms(500);
	assert_int_equal(fake_n_alerts, 1);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_CLIENT_GONE], 1);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
	raw_close(&raw_endpoints[0]);
	finish();
}

static void an_idle_client_is_told_the_end_by_a_limit_and_by_a_drain(void **state)
{
	begin(11);
	open_to(&clients_tls[0], "a", false);
	run_ms(21000);
	assert_int_equal(stats->reason[WEIR_R_REQ_IDLE_TIMEOUT], 1);
	assert_true(clients_tls[0].is_eof || clients_tls[0].s == NULL);
	open_to(&clients_tls[1], "a", false);
	proxy_drain(proxy, sim.now_us);
	run_ms(300);
	assert_true(clients_tls[1].s->is_eof);
	run_ms(5000);
	assert_true(proxy_is_idle(proxy));
	finish();
}

/* Two: one waits for us, one has sent nothing yet; a third would have come too late. */
static void a_drain_waits_for_handshakes_and_their_first_request(void **state)
{
	begin(12);
	tls->waits = true;
	open_to(&clients_tls[0], "a", false);
	open_to(&clients_tls[1], "a", true);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 2);
	proxy_drain(proxy, sim.now_us);
	run_ms(300);
	tls->waits = false;
	clients_tls[0].s->has_hello = false;
	say(&clients_tls[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
	fake_put(clients_tls[0].s, FAKE_NOISE, NULL, 0); /* wakes it */
	run_ms(3000);
	assert_int_equal(count(&clients_tls[0], "HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count(&clients_tls[0], "Connection: close\r\n"), 1);
	assert_int_equal(stats->reason[WEIR_R_TLS_HANDSHAKE_TIMEOUT], 1);
	run_ms(5000);
	assert_true(proxy_is_idle(proxy));
	finish();
}

/* -- connections of bytes */

static const struct weir_log_record *the_stream(const char *texts)
{
	const struct weir_log_record *r = &access_log.records[0];

	assert_int_equal(access_log.worker.head, 1);
	assert_int_equal(r->flags & ~WEIR_LOG_CUT_FLAG, WEIR_LOG_STREAM_FLAG);
	assert_memory_equal(r->text, texts, strlen(texts));
	return r;
}

/* What an endpoint sends: it speaks the same language as the client, since nobody is between them. */
static void what_is_passed_through_is_not_touched(void **state)
{
	struct raw *endpoint = &raw_endpoints[0];
	uint8_t hello[FAKE_HEAD + 12];

	route.kind = WEIR_LISTENER_STREAM;
	route.host = "pass.example";
	names_pass = true;
	begin(30);
	raw_listen();
	open_to(one_tls, "pass.example", false);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 0);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	hello[0] = FAKE_HELLO;
	hello[1] = 0;
	hello[2] = 12;
	for (unsigned i = 0; i < 12; i++)
		hello[FAKE_HEAD + i] = "pass.example"[i] ^ FAKE_KEY;
	assert_int_equal(endpoint->n_in, sizeof(hello)); /* its very first byte, too */
	assert_memory_equal(endpoint->in, hello, sizeof(hello));
	assert_int_equal(tcp_send(endpoint->c, "\x02\0\0", 3), 0); /* FAKE_SERVER_HELLO */
	run_ms(300);
	assert_true(tls_is_ready(one_tls->s));
	close_it(one_tls, true);
	run_ms(300);
	assert_true(endpoint->is_reset);
	assert_int_equal(the_stream("pass.exampleKnrn/s:80")->tls_version, 0);
	assert_int_equal(stats->counter[WEIR_C_STREAMS], 1);
	finish();
}

static void what_is_within_tls_may_be_bytes(void **state)
{
	struct raw *endpoint = &raw_endpoints[0];
	const struct weir_log_record *r;

	route.kind = WEIR_LISTENER_STREAM;
	route.host = "bytes.example";
	names_have_listener = true;
	begin(31);
	raw_listen();
	open_to(one_tls, "bytes.example", false);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 1);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	raw_say(endpoint, "hello");
	ask(one_tls, "some");
	assert_true(has_got(endpoint, "some"));
	assert_string_equal(one_tls->in, "hello");
	tls_shutdown(one_tls->s);
	run_ms(300);
	assert_true(endpoint->is_eof);
	raw_say(endpoint, "more");
	run_ms(300);
	tcp_shutdown(endpoint->c);
	run_ms(300);
	assert_string_equal(one_tls->in, "hellomore");
	assert_true(one_tls->is_eof);
	r = the_stream("bytes.exampleKnrn/s:80");
	assert_int_equal(r->tls_version, 0x0304);
	assert_int_equal(r->request_bytes, 4);
	assert_int_equal(r->response_bytes, 9);
	assert_int_equal(r->reason_plus1, 0);
	finish();
}

/* The listener is of HTTP when the handshake ends, or is not there: nobody guesses. */
static void bytes_within_tls_that_no_listener_takes_end(void **state)
{
	begin(32);
	open_to(one_tls, "bytes.example", false);
	assert_true(one_tls->is_reset);
	assert_int_equal(stats->reason[WEIR_R_STREAM_NO_ROUTE], 1);
	finish();
	begin(33);
	open_to(one_tls, "pass.example", false);
	assert_true(one_tls->is_reset);
	assert_int_equal(stats->reason[WEIR_R_STREAM_NO_ROUTE], 1);
	finish();
}

static void a_host_of_another_listener_is_misdirected(void **state)
{
	route.host = "a.example";
	route.second_host = "b.example";
	begin(13);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(stats->reason[WEIR_R_REQ_MISDIRECTED], 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n"); /* nobody's */
	assert_int_equal(count(one_tls, "HTTP/1.1 404 "), 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

/* With a listener of its own or none, as Ingresses have it. */
static void a_host_that_asks_for_other_certificates_is_misdirected(void **state)
{
	route.host = "a.example";
	route.second_host = "b.example";
	names_have_no_listener = true;
	ask_of(1, WEIR_CLIENT_AUTH_REQUIRED);
	begin(17);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: b.example:80\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	ask(one_tls, "GET http://B.Example/ HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 404 "), 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void names_that_ask_differently_are_kept_apart(void **state)
{
	route.host = "a.example";
	route.second_host = "b.example";
	names_have_no_listener = true;
	ask_of(0, WEIR_CLIENT_AUTH_REQUIRED); /* by other authorities than b.example */
	ask_of(1, WEIR_CLIENT_AUTH_REQUIRED);
	was_asked(1, WEIR_CLIENT_AUTH_REQUIRED);
	begin(18);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 0);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void what_a_name_asks_now_counts(void **state)
{
	route.host = "a.example";
	ask_of(0, WEIR_CLIENT_AUTH_OPTIONAL);
	begin(19);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"); /* it asked nothing when he came */
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 1);
	close_it(one_tls, false);
	was_asked(1, WEIR_CLIENT_AUTH_INSECURE);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	close_it(one_tls, false);
	was_asked(7, WEIR_CLIENT_AUTH_REQUIRED); /* other authorities now: this request, and no other */
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 1);
	finish();
}

static unsigned times_seen(const char *text)
{
	unsigned n = 0;

	for (const char *p = seen; (p = strcasestr(p, text)); p++)
		n++;
	return n;
}

static void backends_are_told_of_the_certificate(void **state)
{
	static const struct tls_client_cert c = {{"Hash=1", 6}, {":MQ==:", 6}, {":Mg==:", 6}};

	begin(20);
	fake_cert = &c;
	open_to(one_tls, "a", false);
	for (unsigned i = 0; i < 2; i++) {
		ask(one_tls, "GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: :Mw==:\r\nclient_cert: x\r\nX-FORWARDED-CLIENT-CERT: Hash=9\r\n"
			     "X_Forwarded_Client-Cert: Hash=9\r\nClient-Cert-Chain: :Mw==:\r\n\r\n");
		assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
		assert_non_null(strstr(seen, "\nX-Forwarded-Client-Cert: Hash=1\n"));
		assert_non_null(strstr(seen, "\nClient-Cert: :MQ==:\n"));
		assert_non_null(strstr(seen, "\nClient-Cert-Chain: :Mg==:\n"));
		assert_int_equal(times_seen("client-cert") + times_seen("client_cert"), 3);
	}
	finish();
}

static void a_name_that_is_gone_is_misdirected_and_closes(void **state)
{
	begin(14);
	route.host = "a.example";
	open_to(one_tls, "z.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: z.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	{
		struct weir_endpoint_set *set;

		serve_snapshot(make_snapshot(2, &set));
		free(set);
	}
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 1);
	run_ms(3000);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	n_released--; /* as end() counts */
	finish();
}

static void sessions_beyond_the_limit_are_refused(void **state)
{
	begin(15);
	tls->cfg.n_sessions = 1;
	open_to(&clients_tls[0], "a", false);
	open_to(&clients_tls[1], "a", false);
	assert_int_equal(stats->reason[WEIR_R_TLS_SESSIONS_FULL], 1);
	assert_true(clients_tls[1].is_reset);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], 1);
	ask(&clients_tls[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(count(&clients_tls[0], "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void without_tls_no_bind_of_https_is_opened(void **state)
{
	make_tls = NULL;
	end_tls = NULL;
	add_names = add_to;
	route.proto = WEIR_PROTO_HTTPS;
	start(16);
	assert_int_equal(stats->gauge[WEIR_G_LISTENERS], 0);
	assert_int_equal(stats->counter[WEIR_C_LISTENERS_REFUSED], 1);
	end();
}

/* At 250 bytes a second, where 100 are asked for; but no content is seen before the record is complete, after 16 s. */
static void who_fills_a_record_slowly_sends_all_the_same(void **state)
{
	static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n";
	static uint8_t record[FAKE_HEAD + 4000] = {FAKE_DATA, 4000 >> 8, 4000 & 255};

	begin(17);
	open_to(one_tls, "a", false);
	ask(one_tls, head);
	memset(record + FAKE_HEAD, 'x' ^ FAKE_KEY, 4000);
	for (size_t at = 0; at < sizeof(record);) {
		size_t n = RTE_MIN(sizeof(record) - at, 250u);

		assert_int_equal(tcp_send(one_tls->c, record + at, n), 0);
		at += n;
		run_ms(1000);
	}
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	ask(one_tls, head);
	run_ms(12000);
	assert_int_equal(count(one_tls, "HTTP/1.1 408 "), 1);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_come_by_https_and_say_so),
		cmocka_unit_test(pipelined_requests_in_one_record_are_all_answered),
		cmocka_unit_test(large_bodies_go_both_ways),
		cmocka_unit_test(a_handshake_has_a_limit),
		cmocka_unit_test(who_leaves_within_the_handshake_is_counted),
		cmocka_unit_test(a_refused_handshake_ends_with_the_alert),
		cmocka_unit_test(a_broken_record_ends_a_request_with_the_alert),
		cmocka_unit_test(who_leaves_behind_the_handshake_leaves_no_session),
		cmocka_unit_test(a_tunnel_carries_bytes_and_ends_both_ways),
		cmocka_unit_test(a_broken_record_ends_a_tunnel),
		cmocka_unit_test(an_idle_client_is_told_the_end_by_a_limit_and_by_a_drain),
		cmocka_unit_test(a_drain_waits_for_handshakes_and_their_first_request),
		cmocka_unit_test(what_is_passed_through_is_not_touched),
		cmocka_unit_test(what_is_within_tls_may_be_bytes),
		cmocka_unit_test(bytes_within_tls_that_no_listener_takes_end),
		cmocka_unit_test(a_host_of_another_listener_is_misdirected),
		cmocka_unit_test(a_host_that_asks_for_other_certificates_is_misdirected),
		cmocka_unit_test(names_that_ask_differently_are_kept_apart),
		cmocka_unit_test(what_a_name_asks_now_counts),
		cmocka_unit_test(backends_are_told_of_the_certificate),
		cmocka_unit_test(a_name_that_is_gone_is_misdirected_and_closes),
		cmocka_unit_test(sessions_beyond_the_limit_are_refused),
		cmocka_unit_test(without_tls_no_bind_of_https_is_opened),
		cmocka_unit_test(who_fills_a_record_slowly_sends_all_the_same),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
