/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole handshake of the server: OpenSSL as a client whose bytes are changed on their way, by what the input says, over two
 * stacks in virtual time. Byte 0: what the client is, byte 1: bytes that it sends at a time (0: all), then an edit for each four bytes: at which
 * of the client's bytes (16 bits), which, and by what.
 *
 * Without edits the handshake has to succeed. With some it ends in any way, for one reason at most; nothing of it is left behind, and the
 * next client is served.
 */
#include "../unit/tls/rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define CHECK(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

enum {
	F_TLS12 = 1,
	F_RESUMED = 2,
	F_EARLY = 4, /* of a client that is resumed, in TLS 1.3 */
	F_NAME = 8 | 16,
	F_P384 = 32,   /* its first key share: another one is asked for */
	F_UPDATE = 64, /* it changes its keys once it can */
	F_RAW = 128,   /* no client: the rest is what is sent */
};

enum edit { FLIP, SET, INSERT, DELETE, REPEAT, CUT, N_EDITS };

static const uint8_t *edits;
static size_t n_edits, n_before; /* n_before: bytes of the client that were let through */
static SSL_SESSION *sessions[2];

static const char *const names[] = {"a.example", "b.example", "nobody.example", NULL};

/* b.example speaks TLS 1.3 alone. */
static bool is_served(uint8_t flags)
{
	unsigned name = (flags & F_NAME) >> 3;

	return name == 0 || (name == 1 && !(flags & F_TLS12));
}

static uint64_t n_reasons(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		n += stat_reason_kind((enum weir_reason)i) == WEIR_KIND_TLS ? stats->reason[i] : 0;
	return n;
}

static size_t apply(struct client *p, const uint8_t *e, char *b, size_t at, size_t n, size_t max)
{
	size_t k = e[3];

	switch (e[2] % N_EDITS) {
	case FLIP:
		b[at] ^= (char)(k ? k : 1);
		break;
	case SET:
		b[at] = (char)k;
		break;
	case INSERT:
		if (n + k > max)
			break;
		memmove(b + at + k, b + at, n - at);
		memset(b + at, 0x16, k);
		return n + k;
	case DELETE:
		k = k < n - at ? k : n - at;
		memmove(b + at, b + at + k, n - at - k);
		return n - k;
	case REPEAT: /* what came before it once more */
		k = k < at ? k : at;
		if (n + k > max)
			break;
		memmove(b + at + k, b + at, n - at);
		memcpy(b + at, b + at - k, k);
		return n + k;
	case CUT:
		p->cut_at = p->n_written + at + 1;
		p->cut_how = k % 3 == 0 ? CUT_CLOSES : k % 3 == 1 ? CUT_RESETS : CUT_STALLS;
		break;
	}
	return n;
}

static size_t mangle(struct client *p, char *b, size_t n, size_t max)
{
	size_t n_own = n;

	for (size_t i = 0; i < n_edits; i++) {
		const uint8_t *e = edits + 4 * i;
		size_t at = (size_t)e[0] << 8 | e[1];

		if (at >= n_before && at - n_before < n)
			n = apply(p, e, b, at - n_before, n, max);
	}
	n_before += n_own;
	return n;
}

static void leave(struct client *p)
{
	if (p->c && !p->is_closed) {
		p->is_closed = true;
		tcp_abort(p->c, WEIR_R_CLOSE_ABORTED, sim.now_us);
		p->c = NULL;
	}
	sim_run(&sim, 2000000, NULL, NULL);
}

static void serve_clean(int version, SSL_SESSION **keep)
{
	struct client *p = tls_client(1, "a.example", version, version);

	p->n_send = 100;
	p->closes = true;
	handshake(p);
	sim_run(&sim, 5000000, is_client_closed, p);
	CHECK(p->is_done && !p->has_failed && p->n_got == 100 && p->is_eof);
	if (keep)
		*keep = SSL_get1_session(p->ssl);
	leave(p);
}

/* What was allocated for inputs, and not freed, is found by whoever looks for leaks. */
static void finish(void)
{
	for (unsigned i = 0; i < 2; i++)
		SSL_SESSION_free(sessions[i]);
	end();
	free_certificates(NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	test_eal_init();
	make_certificates(NULL);
	tls_config.early_data = true;
	start(1);
	set_keys(1, 1);
	serve_clean(TLS1_2_VERSION, &sessions[0]);
	serve_clean(TLS1_3_VERSION, &sessions[1]);
	sim_run(&sim, 13000000, NULL, NULL); /* from then on early data are taken */
	atexit(finish);
	return 0;
}

static struct client *client_of(uint8_t flags)
{
	int version = flags & F_TLS12 ? TLS1_2_VERSION : TLS1_3_VERSION;
	struct client *p = tls_client(0, names[(flags & F_NAME) >> 3], version, version);

	if (flags & F_RESUMED) {
		SSL_SESSION *own = SSL_SESSION_dup(sessions[version == TLS1_3_VERSION]);

		SSL_set_session(p->ssl, own);
		SSL_SESSION_free(own);
		if (flags & F_EARLY && version == TLS1_3_VERSION) {
			p->early = pattern;
			p->n_early = 100;
			p->keeps = true;
		}
	}
	if (flags & F_P384)
		CHECK(SSL_set1_groups_list(p->ssl, "P-521:P-384:P-256") == 1);
	p->n_send = p->early ? 0 : 100;
	p->mangle = mangle;
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint64_t before = n_reasons();
	struct client *p;
	uint8_t flags;

	if (n < 2)
		return 0;
	flags = data[0];
	edits = data + 2;
	n_edits = flags & F_RAW ? 0 : (n - 2) / 4;
	n_before = 0;
	if (flags & F_RAW)
		p = raw_client(0, data + 2, n - 2 < 60000 ? n - 2 : 60000);
	else
		p = client_of(flags);
	p->chunk = data[1];
	handshake(p);
	if (flags & F_UPDATE && !(flags & (F_TLS12 | F_RAW)) && p->is_done && p->c) {
		SSL_key_update(p->ssl, SSL_KEY_UPDATE_REQUESTED);
		p->n_send += 100;
		client_pump(p);
	}
	sim_run(&sim, 1000000, is_client_closed, p);
	if (n_edits == 0 && !(flags & F_RAW) && is_served(flags)) {
		CHECK(p->is_done && !p->has_failed);
		CHECK(n_reasons() == before);
	}
	leave(p);
	CHECK(n_reasons() - before <= 1);
	CHECK(stats->gauge[WEIR_G_TLS_SESSIONS] == 0 && stats->gauge[WEIR_G_TLS_HANDSHAKING] == 0);
	serve_clean(flags & F_TLS12 ? TLS1_3_VERSION : TLS1_2_VERSION, NULL);
	CHECK(stats->gauge[WEIR_G_TLS_SESSIONS] == 0);
	return 0;
}
