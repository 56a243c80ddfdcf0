/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a request: see plan.h. */
#include "plan.h"

#include <stdio.h>
#include <string.h>

#define CHUNKS_MAX 64 /* about, of one body */

static const uint16_t shares[N_FAULTS] = {
#define X(name, str, share) share,
	BLAST_FAULTS(X)
#undef X
};

const char *const fault_names[N_FAULTS] = {
#define X(name, str, share) str,
	BLAST_FAULTS(X)
#undef X
};

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull; /* SplitMix64 */
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* The next number that follows from h. */
static uint64_t next(uint64_t *h)
{
	return mix(*h += 0x9e3779b97f4a7c15ull);
}

static bool happens(uint64_t *h, double share)
{
	return (double)(next(h) >> 11) < share * 0x1p53;
}

static uint8_t choose_fault(uint64_t *h)
{
	uint32_t all = 0;
	uint32_t at;
	uint8_t f = 0;

	for (unsigned i = 0; i < N_FAULTS; i++)
		all += shares[i];
	at = (uint32_t)(next(h) % all);
	while (at >= shares[f])
		at -= shares[f++];
	return f;
}

/* Half of them below 128 bytes, and half as many for each doubling, to 1 MiB. */
static uint32_t choose_size(const struct plan_rates *r, uint64_t *h)
{
	unsigned bits = 7 + (unsigned)__builtin_ctzll(next(h) | 1u << 13);
	uint32_t n = (uint32_t)(next(h) % ((1u << bits) + 1));

	return r->size != UINT32_MAX ? r->size : n < BODY_MAX ? n : BODY_MAX;
}

struct plan plan_of(const struct plan_rates *r, uint32_t id)
{
	uint64_t h = mix(r->seed + id * 0xd1342543de82ef95ull + 1);
	struct plan p = {.hash = mix(h), .id = id, .size = choose_size(r, &h), .depth = 1};

	p.is_post = happens(&h, r->posts);
	p.is_chunked = p.is_post && next(&h) % 4 == 0;
	p.post = p.is_post ? choose_size(r, &h) : 0;
	if (happens(&h, r->faults))
		p.fault = choose_fault(&h);
	if (p.fault == F_STALL_IN_BODY && p.size == 0)
		p.fault = F_STALL_LONG;
	if (p.size == 0 && (p.fault == F_RST_IN_BODY || p.fault == F_FIN_IN_BODY))
		p.fault = F_FIN_IN_HEAD;
	if (p.fault == F_RST_AT_ONCE || p.fault == F_FIN_AT_ONCE)
		p.depth = (uint8_t)(1 + next(&h) % 3);
	return p;
}

/* -- bytes */

/* A message goes by, piece by piece; what lies in the window wanted is copied. */
struct window {
	size_t off, n, at;
	uint8_t *out;
};

static void put(struct window *w, const void *p, size_t len)
{
	size_t lo = w->off > w->at ? w->off : w->at;
	size_t hi = w->off + w->n < w->at + len ? w->off + w->n : w->at + len;

	if (lo < hi)
		memcpy(w->out + (lo - w->off), (const uint8_t *)p + (lo - w->at), hi - lo);
	w->at += len;
}

static void put_chunked(struct window *w, const struct plan *p, const uint8_t *body, uint32_t size)
{
	uint32_t each = 1 + (uint32_t)(p->hash % 3000) + size / CHUNKS_MAX;
	uint64_t h = p->hash;

	for (uint32_t at = 0; at < size;) {
		uint32_t k = 1 + (uint32_t)(next(&h) % (2 * each));
		char line[16];

		k = k < size - at ? k : size - at;
		put(w, line, (size_t)snprintf(line, sizeof(line), "%x\r\n", k));
		put(w, body + at, k);
		put(w, "\r\n", 2);
		at += k;
	}
	put(w, "0\r\n\r\n", 5);
}

size_t plan_request(const struct content *c, const struct plan *p, bool is_last, size_t off, size_t n, uint8_t *out)
{
	struct window w = {.off = off, .n = n, .out = out};
	char head[CONTENT_HEAD_MAX];
	char framing[64] = "";

	if (p->is_chunked)
		snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n");
	else if (p->is_post)
		snprintf(framing, sizeof(framing), "Content-Length: %u\r\n", p->post);
	put(&w, head, (size_t)snprintf(head, sizeof(head), "%s /%08x/%08x HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-blast\r\n%s%s\r\n",
				       p->is_post ? "POST" : "GET", p->size, p->id, c->host, framing, is_last ? "Connection: close\r\n" : ""));
	if (p->is_chunked)
		put_chunked(&w, p, content_body(c, p->id), p->post);
	else
		put(&w, content_body(c, p->id), p->post);
	return w.at;
}

static size_t put_head(struct window *w, const struct plan *p, uint8_t fault)
{
	char head[CONTENT_HEAD_MAX];
	char framing[64] = "";

	if (fault == F_INTERIM && p->hash & 1)
		put(w, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	if (fault == F_INTERIM)
		put(w, head, (size_t)snprintf(head, sizeof(head), "HTTP/1.1 103 Early Hints\r\nLink: </%08x>\r\n\r\n", p->id));
	if (fault == F_CHUNKED)
		snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n");
	else if (fault != F_UNTIL_CLOSE)
		snprintf(framing, sizeof(framing), "Content-Length: %u\r\n", p->size);
	put(w, head, (size_t)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nServer: weir-blast\r\n%s%sX-Blast: %08x\r\n\r\n", framing,
				      fault == F_UNTIL_CLOSE || fault == F_CLOSE ? "Connection: close\r\n" : "", p->id));
	return w->at;
}

size_t plan_answer(const struct content *c, const struct plan *p, uint8_t fault, size_t off, size_t n, uint8_t *out)
{
	struct window w = {.off = off, .n = n, .out = out};

	put_head(&w, p, fault);
	if (fault == F_CHUNKED)
		put_chunked(&w, p, content_body(c, p->id), p->size);
	else
		put(&w, content_body(c, p->id), p->size);
	return w.at;
}

uint32_t plan_cut(const struct content *c, const struct plan *p, uint8_t fault)
{
	struct window w = {0};
	uint32_t head = (uint32_t)put_head(&w, p, fault);

	switch (fault) {
	case F_RST_IN_HEAD:
	case F_FIN_IN_HEAD:
		return 1 + (uint32_t)(p->hash % (head - 1));
	case F_RST_IN_BODY:
	case F_FIN_IN_BODY:
	case F_STALL_IN_BODY:
		return head + (uint32_t)(p->hash % p->size);
	default:
		return (uint32_t)plan_answer(c, p, fault, 0, 0, NULL);
	}
}

/* -- bodies that arrive */

enum { CH_SIZE, CH_SIZE_MORE, CH_SIZE_LF, CH_DATA, CH_DATA_CR, CH_DATA_LF, CH_END_CR, CH_END_LF };

void body_begin(struct body_reader *r, enum framing framing, uint32_t size, bool is_checked)
{
	*r = (struct body_reader){.size = size, .framing = (uint8_t)framing, .is_checked = is_checked};
}

static enum body_state take_bytes(struct body_reader *r, const struct content *c, uint32_t id, const uint8_t *p, uint32_t n)
{
	if (n > r->size - r->got)
		return BODY_WRONG_LENGTH;
	if (r->is_checked && !content_is_body(c, id, r->got, p, n))
		return BODY_WRONG_BYTES;
	r->got += n;
	return BODY_MORE;
}

static int hex_value(uint8_t b)
{
	if (b >= '0' && b <= '9')
		return b - '0';
	return (b | 0x20) >= 'a' && (b | 0x20) <= 'f' ? (b | 0x20) - 'a' + 10 : -1;
}

/* One byte of the framing. */
static enum body_state take_framing(struct body_reader *r, uint8_t b)
{
	static const struct {
		uint8_t byte, next;
	} fixed[] = {[CH_DATA_CR] = {'\r', CH_DATA_LF}, [CH_DATA_LF] = {'\n', CH_SIZE}, [CH_END_CR] = {'\r', CH_END_LF}};
	int v = hex_value(b);

	if (r->state == CH_SIZE || (r->state == CH_SIZE_MORE && v >= 0)) {
		if (v < 0 || r->left > BODY_MAX)
			return BODY_WRONG_FRAMING;
		r->left = (r->state == CH_SIZE ? 0 : r->left << 4) + (uint32_t)v;
		r->state = CH_SIZE_MORE;
		return BODY_MORE;
	}
	if (r->state == CH_SIZE_MORE || r->state == CH_SIZE_LF) {
		if (b != (r->state == CH_SIZE_MORE ? '\r' : '\n'))
			return BODY_WRONG_FRAMING;
		r->state = r->state == CH_SIZE_MORE ? CH_SIZE_LF : r->left ? CH_DATA : CH_END_CR;
		return BODY_MORE;
	}
	if (r->state == CH_END_LF)
		return b != '\n' ? BODY_WRONG_FRAMING : r->got == r->size ? BODY_DONE : BODY_WRONG_LENGTH;
	if (b != fixed[r->state].byte)
		return BODY_WRONG_FRAMING;
	r->state = fixed[r->state].next;
	return BODY_MORE;
}

enum body_state body_take(struct body_reader *r, const struct content *c, uint32_t id, const uint8_t *p, uint32_t n, uint32_t *used)
{
	enum body_state s = BODY_MORE;

	*used = 0;
	if (r->framing != BODY_CHUNKED) {
		*used = n < r->size - r->got ? n : r->size - r->got;
		s = take_bytes(r, c, id, p, *used);
		return s == BODY_MORE && r->got == r->size ? BODY_DONE : s;
	}
	while (*used < n && s == BODY_MORE) {
		uint32_t k = 1;

		if (r->state == CH_DATA) {
			k = n - *used < r->left ? n - *used : r->left;
			s = take_bytes(r, c, id, p + *used, k);
			r->left -= k;
			if (!r->left)
				r->state = CH_DATA_CR;
		} else {
			s = take_framing(r, p[*used]);
		}
		*used += k;
	}
	return s;
}
