/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of HTTPS binds over a stand-in for TLS, and the server names that they find: for the tests of the proxy. */
#ifndef TESTS_PROXY_TLS_RIG_H
#define TESTS_PROXY_TLS_RIG_H

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

#endif
