/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session that is ready, whose client makes its records itself (own.h): of any type, content and padding, in segments of any size, with
 * bytes that are none between, while the server's user reads or does not, sends, and has packet buffers or none.
 *
 * Byte 0: version, cipher, and what the server's user does; then acts, each a byte and what it needs. The session ends for one reason at
 * most. All that it sends opens, in order, and is what was sent by either side's user. Where the client breaks nothing all of it comes.
 * Nothing is left behind, and a connection beside it is served.
 */
#include "../unit/tls/own.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define CHECK(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

#define N_FEW 96u
#define N_ACTS_MAX 200u
#define N_SENT_MAX 40000u /* by the client, of content, and by the server's user */

enum { F_TLS12 = 1, F_CIPHER = 2 | 4, F_MODE = 8 | 16 | 32, F_SMALL = 64 };

enum act {
	A_CONTENT,	/* length: that much of what is to come back */
	A_CONTENT_LONG, /* the same, times 80 */
	A_PAD,		/* of the next record */
	A_GO,		/* time */
	A_GO_CUT,	/* bytes of a segment, time */
	A_KEY_UPDATE,	/* request */
	A_HELLO,	/* of TLS 1.2: bytes of a record of it */
	A_ALERT,	/* level, description */
	A_RECORD,	/* type, length, bytes */
	A_RAW,		/* length, bytes */
	A_HEAD,		/* type, version, length (16 bits) */
	A_FLIP,		/* which of the last bytes that wait */
	A_DROP,		/* so many of those */
	A_DEAF,		/* the client reads, or does not any more */
	A_USER_DEAF,	/* and so for the server's user */
	A_USER_SENDS,	/* how much, if it does not echo */
	A_USER_SHUTS,
	A_MBUFS, /* so many are left; others come back */
	A_FIN,
	A_RESET,
	N_ACTS,
};

static struct own o;
static struct client *beside;
static struct rte_mempool *few;
static struct rte_mbuf *taken[N_FEW];
static unsigned n_taken;

/* Of one input. */
static struct {
	const uint8_t *at, *end;
	bool is_clean;	/* the client has broken nothing, and has not left */
	bool is_legal;	/* nor sent anything but content and what may come between */
	bool is_closed; /* it has said that nothing more comes */
	size_t n_sent;	/* of the pattern, sealed */
	size_t n_served; /* by the server's user by itself */
	unsigned n_idle, n_idle_most; /* records in a row that bring no content */
	unsigned n_updates, n_asked, n_hellos; /* n_asked: updates that want an answer */
	enum mode mode;
} in;

static uint8_t next(void)
{
	return in.at < in.end ? *in.at++ : 0;
}

static uint64_t n_reasons(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		n += stat_reason_kind((enum weir_reason)i) == WEIR_KIND_TLS ? stats->reason[i] : 0;
	return n;
}

static struct server *server(void)
{
	return &servers[o.server];
}

static void give(unsigned n_left)
{
	while (n_taken > n_left)
		rte_pktmbuf_free(taken[--n_taken]);
}

static void take(unsigned n_spare)
{
	give(0);
	while (rte_mempool_avail_count(few) > n_spare && n_taken < N_FEW && (taken[n_taken] = rte_pktmbuf_alloc(few)) != NULL)
		n_taken++;
}

static bool echoes(void)
{
	return in.mode == MODE_ECHO || in.mode == MODE_HOLD || in.mode == MODE_RECV;
}

/* -- acts */

static bool has_place(size_t n)
{
	return o.p->n_raw + n + 200 < sizeof(o.p->raw);
}

static void note_idle(unsigned n)
{
	in.n_idle = n;
	if (n > in.n_idle_most)
		in.n_idle_most = n;
}

static void put_content(size_t n)
{
	if (n > 16384)
		n = 16384;
	if (in.is_closed || in.n_sent + n > N_SENT_MAX || !has_place(n + o.pad))
		return;
	if (n + o.pad > 16384)
		o.pad = 0;
	own_put(&o, SSL3_RT_APPLICATION_DATA, pattern + in.n_sent, n);
	in.n_sent += n;
	note_idle(n ? 0 : in.n_idle + 1);
}

static void put_key_update(uint8_t request)
{
	const uint8_t update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, request & 1};

	if (!o.out.is_13 || in.is_closed || !has_place(40))
		return;
	o.pad = 0;
	own_put(&o, SSL3_RT_HANDSHAKE, update, sizeof(update));
	own_update(&o.out);
	in.n_updates++;
	in.n_asked += request & 1;
	note_idle(in.n_idle + 1);
}

static void put_hello(size_t piece)
{
	static const uint8_t hello[60] = {SSL3_MT_CLIENT_HELLO, 0, 0, 56};

	piece += 4;
	if (o.out.is_13 || in.is_closed || !has_place(60 * 60))
		return;
	for (size_t at = 0; at < sizeof(hello); at += piece) {
		own_put(&o, SSL3_RT_HANDSHAKE, hello + at, sizeof(hello) - at < piece ? sizeof(hello) - at : piece);
		note_idle(in.n_idle + 1);
	}
	in.n_hellos++;
}

static void put_alert(void)
{
	const uint8_t level = next(), what = next();
	const uint8_t alert[] = {level, what};

	if (!has_place(40))
		return;
	o.pad = 0;
	own_put(&o, SSL3_RT_ALERT, alert, sizeof(alert));
	note_idle(in.n_idle + 1);
	if (what == SSL_AD_CLOSE_NOTIFY)
		in.is_closed = true;
	else
		in.is_legal = false;
}

static void put_record(void)
{
	const uint8_t type = next();
	size_t n = next();
	size_t k = (size_t)(in.end - in.at);

	n = n < k ? n : k;
	if (type == SSL3_RT_APPLICATION_DATA) { /* there is none but the pattern */
		put_content(n);
		return;
	}
	if (!has_place(n + o.pad))
		return;
	own_put(&o, type, in.at, n);
	in.at += n;
	in.is_legal = false;
}

static void put_raw(size_t n)
{
	size_t k = (size_t)(in.end - in.at);

	n = n < k ? n : k;
	if (!n || !has_place(n))
		return;
	own_raw(&o, in.at, n);
	in.at += n;
	in.is_clean = false;
}

static void put_head(void)
{
	const uint8_t type = next(), version = next(), hi = next(), lo = next();
	const uint8_t head[] = {(uint8_t)(type & 128 ? type : 19 + type % 6), 3, (uint8_t)(version & 240 ? 3 : version), hi, lo};

	if (!has_place(sizeof(head)))
		return;
	own_raw(&o, head, sizeof(head));
	in.is_clean = false;
}

static void flip(size_t back)
{
	size_t n = o.p->n_raw - o.p->n_raw_sent;

	if (!n)
		return;
	o.p->raw[o.p->n_raw - 1 - back % n] ^= (char)(1 + (back >> 4));
	in.is_clean = false;
}

static void drop(size_t n)
{
	if (!n || n > o.p->n_raw - o.p->n_raw_sent)
		return;
	o.p->n_raw -= n;
	in.is_clean = false;
}

static void user_sends(size_t n)
{
	struct server *v = server();

	if (!v->s || echoes() || in.n_served + n > N_SENT_MAX || n > tls_send_room(v->s))
		return;
	if (n && tls_send(v->s, pattern + in.n_served, n) == 0)
		in.n_served += n;
	tls_flush(v->s);
}

static void user_shuts(void)
{
	struct server *v = server();

	if (!v->s || v->is_shut)
		return;
	tls_shutdown(v->s);
	v->is_shut = true;
	in.is_legal = false; /* what comes back is cut there */
}

static void go(size_t chunk, uint64_t for_us)
{
	o.p->chunk = chunk;
	own_go(&o, for_us);
	o.p->chunk = 0;
}

static void leave_by(bool resets)
{
	in.is_clean = false;
	if (!resets)
		o.p->is_shut = true;
	else if (o.p->c)
		client_reset(o.p, sim.now_us);
}

static void act_on_client(enum act a)
{
	switch (a) {
	case A_CONTENT:
		put_content(next());
		break;
	case A_CONTENT_LONG:
		put_content(next() * 80u);
		break;
	case A_PAD:
		o.pad = o.out.is_13 ? next() : 0;
		break;
	case A_KEY_UPDATE:
		put_key_update(next());
		break;
	case A_HELLO:
		put_hello(next());
		break;
	case A_ALERT:
		put_alert();
		break;
	case A_RECORD:
		put_record();
		break;
	case A_RAW:
		put_raw(next());
		break;
	case A_HEAD:
		put_head();
		break;
	case A_FLIP:
		flip(next());
		break;
	default:
		drop(next());
		break;
	}
}

static void act(enum act a)
{
	switch (a) {
	case A_GO:
		go(0, next() * 1000u);
		break;
	case A_GO_CUT:
		go(1u + next(), 1000);
		break;
	case A_DEAF:
		o.p->is_deaf = !o.p->is_deaf;
		break;
	case A_USER_DEAF:
		mode = mode == MODE_DEAF ? in.mode : MODE_DEAF;
		if (server()->s)
			tcp_wake(server()->c);
		break;
	case A_USER_SENDS:
		user_sends(next() * 40u);
		break;
	case A_USER_SHUTS:
		user_shuts();
		break;
	case A_MBUFS:
		take(next() % N_FEW);
		break;
	case A_FIN:
		leave_by(false);
		break;
	case A_RESET:
		leave_by(true);
		break;
	default:
		act_on_client(a);
		break;
	}
}

/* -- what came of it */

static void check(void)
{
	size_t most = echoes() ? in.n_sent : in.n_served;

	CHECK(o.n_bad == 0);
	CHECK(o.n_content <= most && memcmp(o.content, pattern, o.n_content) == 0);
}

/* The client has done nothing that ends a session. */
static bool is_fine(void)
{
	return in.is_clean && in.is_legal && in.n_idle_most <= 32 && in.n_updates <= 32 && in.n_hellos <= 3;
}

/* What was owed comes before content at the latest. */
static void send_last(void)
{
	put_content(5);
	user_sends(5);
	own_go(&o, 5000000);
	check();
	CHECK(in.is_closed || !in.n_asked || o.n_updates);
	CHECK(in.is_closed || !in.n_hellos || o.n_alerts);
}

/* Whatever was taken away comes back. Nobody but a user who looks on again is told of it here. */
static void settle(void)
{
	bool was_deaf = mode != in.mode;

	give(0);
	mode = in.mode;
	o.p->is_deaf = false;
	if (was_deaf && server()->s)
		tcp_wake(server()->c);
	own_go(&o, 60000000);
	check();
	if (!is_fine())
		return;
	send_last();
	CHECK(server()->reason == WEIR_N_REASONS);
	CHECK(o.n_content == (echoes() ? in.n_sent : in.n_served));
	CHECK(in.mode != MODE_SINK || server()->n_in == in.n_sent);
	CHECK(server()->is_closed || server()->is_eof == in.is_closed); /* once it is closed nobody looks again */
	CHECK(o.n_alerts >= in.is_closed);
}

static void serve_beside(void)
{
	mode = MODE_ECHO;
	beside->n_send += 100;
	client_pump(beside);
	sim_run(&sim, 1000000, NULL, NULL);
	CHECK(beside->n_got == beside->n_send && !beside->has_failed);
}

/* Both sides go. A user that has ended its side and takes nothing does not see the client's end by itself. */
static void part(void)
{
	struct server *v = server();

	if (o.p->c)
		client_reset(o.p, sim.now_us);
	sim_run(&sim, 5000000, NULL, NULL);
	if (!v->s)
		return;
	tcp_abort(v->c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	tls_free(v->s);
	v->s = NULL;
}

static void finish(void)
{
	end();
	free_certificates(NULL);
	rte_mempool_free(few);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct tcp_config c = sim_config();

	test_eal_init();
	make_certificates(NULL);
	c.rx_buffer_bytes = c.tx_buffer_bytes = 20000;
	few = rte_pktmbuf_pool_create("few", N_FEW, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	tls_pool = few;
	start_with(1, &c, &c);
	beside = tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(beside);
	CHECK(beside->is_done);
	serve_beside();
	atexit(finish);
	return 0;
}

static void begin(uint8_t flags)
{
	static const char *const ciphers[2][4] = {
		{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"},
		{"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
		 "ECDHE-RSA-AES128-GCM-SHA256"}};
	static const enum mode modes[8] = {MODE_ECHO, MODE_HOLD, MODE_RECV, MODE_SINK, MODE_ECHO, MODE_RECV, MODE_SINK, MODE_HOLD};
	int version = flags & F_TLS12 ? TLS1_2_VERSION : TLS1_3_VERSION;
	const char *cipher = ciphers[flags & F_TLS12][(flags & F_CIPHER) >> 1];
	struct client *p = tls_client(0, "a.example", version, version);

	memset(&in, 0, sizeof(in));
	in.is_clean = in.is_legal = true;
	in.mode = mode = modes[(flags & F_MODE) >> 3];
	recv_bytes = flags & F_SMALL ? 90 : 5000;
	n_servers = 1; /* the first one is the other connection's */
	CHECK((version == TLS1_3_VERSION ? SSL_set_ciphersuites(p->ssl, cipher) : SSL_set_cipher_list(p->ssl, cipher)) == 1);
	own_listen(p);
	handshake(p);
	CHECK(p->is_done && !p->has_failed && n_servers == 2);
	own_begin(&o, p, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint64_t before = n_reasons();

	if (n < 2)
		return 0;
	begin(data[0]);
	in.at = data + 1;
	in.end = data + n;
	for (unsigned i = 0; i < N_ACTS_MAX && in.at < in.end; i++)
		act((enum act)(next() % N_ACTS));
	settle();
	CHECK(n_reasons() - before <= 1);
	part();
	own_end(&o);
	CHECK(stats->gauge[WEIR_G_TLS_SESSIONS] == 1 && stats->gauge[WEIR_G_TLS_HANDSHAKING] == 0);
	serve_beside();
	sim_run(&sim, 1000000, NULL, NULL);
	CHECK(rte_mempool_avail_count(few) == N_FEW);
	return 0;
}
