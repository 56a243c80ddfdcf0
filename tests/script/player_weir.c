/* SPDX-License-Identifier: Apache-2.0 */
/* Weir's TCP as a player: its clock hardly moves, so that no timer runs. */
#include <stdlib.h>
#include <string.h>

#include "backend_weir.h"
#include "player.h"

static const struct backend_pass pass = {.name = "diff", .isn = 0x12345678, .ts = 0x10000000};

struct weir {
	struct script script; /* without its own configuration: the kernel has none of it */
	struct backend *b;
	uint64_t n_read[SCRIPT_MAX_CONNS], hash[SCRIPT_MAX_CONNS];
};

static void *open_weir(const struct script *s, unsigned number, char *why)
{
	struct weir *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	w->script = *s;
	w->script.config[0] = (struct script_pair){(char *)(uintptr_t)"ecn", (char *)(uintptr_t)"1"};
	w->script.n_config = 1;
	w->b = backend_open(&w->script, &pass, why);
	if (!w->b) {
		free(w);
		return NULL;
	}
	for (unsigned i = 0; i < SCRIPT_MAX_CONNS; i++)
		w->hash[i] = PLAYER_HASH_BEGIN;
	return w;
}

static void close_weir(void *p)
{
	struct weir *w = p;
	char why[SEG_TEXT_MAX];

	if (!backend_close(w->b, why))
		abort(); /* a leak: the conformance runs would have found it */
	free(w);
}

static void inject(void *p, unsigned conn, const uint8_t *bytes, size_t n, uint8_t ecn)
{
	struct weir *w = p;

	backend_inject(w->b, conn, bytes, n, ecn, false);
}

static void icmp(void *p, unsigned conn, const char *what, uint32_t seq, uint32_t mtu)
{
	struct weir *w = p;

	backend_icmp(w->b, conn, what, seq, mtu);
}

static void read_some(struct weir *w, unsigned conn, size_t n)
{
	struct weir_app *a = &w->b->apps[conn];

	while (n && a->c && tcp_readable(a->c)) {
		struct slice s = tcp_peek(a->c);
		size_t k = s.n < n ? s.n : n;

		w->hash[conn] = player_hash(w->hash[conn], (const uint8_t *)s.p, k);
		w->n_read[conn] += k;
		tcp_consume(a->c, k);
		n -= k;
	}
	backend_run(w->b, backend_now(w->b), false);
}

static void call(void *p, const struct script_step *st)
{
	struct weir *w = p;
	char why[SEG_TEXT_MAX];

	if (strcmp(st->words[0], "read") == 0)
		read_some(w, st->conn, st->n_words > 1 ? strtoul(st->words[1], NULL, 0) : 0);
	else
		backend_call(w->b, st, why); /* an error is what the user gets */
}

static bool next(void *p, struct backend_packet *out)
{
	struct weir *w = p;

	return backend_next(w->b, out);
}

static uint16_t local_port(void *p, unsigned conn)
{
	struct weir *w = p;

	return backend_local_port(w->b, conn);
}

static const char *state(void *p, unsigned conn)
{
	struct weir *w = p;

	return backend_state(w->b, conn);
}

/* SYN-RECEIVED and TIME-WAIT answer once in half a second or less. */
static void settle(void *p, unsigned conn)
{
	struct weir *w = p;
	const char *name = backend_state(w->b, conn);

	if (strcmp(name, "TIME_WAIT") == 0 || strcmp(name, "SYN_RECEIVED") == 0)
		backend_run(w->b, backend_now(w->b) + 500000, false);
}

static void look(void *p, unsigned conn, struct player_view *out)
{
	struct weir *w = p;
	const struct weir_app *a = &w->b->apps[conn];

	*out = (struct player_view){.is_there = a->accepted || a->connected, .n_read = w->n_read[conn],
				    .hash = w->hash[conn], .error = ""};
	if (a->c) {
		out->readable = tcp_readable(a->c);
		out->is_eof = tcp_is_eof(a->c);
	} else if (a->closed) {
		out->is_eof = a->why == WEIR_R_CLOSE_NORMAL;
		out->error = a->why == WEIR_R_CLOSE_RESET_BY_PEER ? "reset"
			     : a->why == WEIR_R_CLOSE_REFUSED	  ? "refused"
			     : a->why == WEIR_R_CLOSE_NORMAL	  ? ""
								  : "other";
	}
}

const struct player player_weir = {
	.name = "weir",
	.open = open_weir,
	.close = close_weir,
	.inject = inject,
	.icmp = icmp,
	.call = call,
	.next = next,
	.local_port = local_port,
	.state = state,
	.settle = settle,
	.look = look,
};
