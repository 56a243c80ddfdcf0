/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a request chooses its endpoint: the key that is hashed, and the
 * cookie that binds a client to one (RFC 6265). Looked at once, when the request is
 * routed; the cookie's text is kept with the request, for the answer.
 */
#include "base/hash.h"
#include "proxy/proxy_pvt.h"
#include "snapshot/snapshot.h"

#define TOKEN_LEN 32 /* hex digits */

static struct slice trim(struct slice s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* The value of "name=value", if this is it. */
static bool pair_value(struct slice pair, struct slice name, struct slice *value)
{
	pair = trim(pair);
	if (pair.n <= name.n || pair.p[name.n] != '=' || !slice_eq(slice_of(pair.p, name.n), name))
		return false;
	*value = slice_of(pair.p + name.n + 1, pair.n - name.n - 1);
	return true;
}

/* The first cookie of that name, empty if there is none. */
static struct slice find_cookie(const struct http_head *h, struct slice name)
{
	for (unsigned i = 0; i < h->n_fields; i++) {
		struct slice rest = h->fields[i].value;

		if (h->fields[i].id != HTTP_FIELD_COOKIE)
			continue;
		while (rest.n) {
			const char *end = memchr(rest.p, ';', rest.n);
			size_t n = end ? (size_t)(end - rest.p) : rest.n;
			struct slice value;

			if (pair_value(slice_of(rest.p, n), name, &value))
				return value;
			n += end != NULL;
			rest = slice_of(rest.p + n, rest.n - n);
		}
	}
	return slice_of("", 0);
}

static struct slice find_field(const struct http_head *h, struct slice name)
{
	for (unsigned i = 0; i < h->n_fields; i++)
		if (slice_eq_nocase(h->fields[i].name, name))
			return h->fields[i].value;
	return slice_of("", 0);
}

static void take_key(struct request *rq, const struct weir_snapshot *s, const struct weir_backend *b)
{
	struct slice name = snapshot_str(s, b->hash_name);
	struct slice key = slice_of((const char *)rq->client_addr.b, sizeof(rq->client_addr.b));

	if (b->hash_on == WEIR_HASH_HEADER)
		key = find_field(&rq->head, name);
	else if (b->hash_on == WEIR_HASH_COOKIE)
		key = find_cookie(&rq->head, name);
	rq->want.has_key = key.n != 0;
	rq->want.key = hash64(key.p, key.n, 0); /* no secret: nodes must agree, and a client can try its keys out in any case */
}

static bool read_token(struct slice text, struct upstream_token *out)
{
	*out = (struct upstream_token){{0}};
	if (text.n != TOKEN_LEN)
		return false;
	for (unsigned i = 0; i < TOKEN_LEN; i++) {
		char c = text.p[i];
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;

		if (digit == 16)
			return false;
		out->v[i / 16] = out->v[i / 16] << 4 | digit;
	}
	return true;
}

static void write_token(char *out, const struct upstream_token *t)
{
	for (unsigned i = 0; i < TOKEN_LEN; i++)
		out[i] = "0123456789abcdef"[t->v[i / 16] >> (60 - i % 16 * 4) & 15];
}

/* The value of Set-Cookie, with room for the token behind the name. */
static void prepare_cookie(struct request *rq, const struct weir_snapshot *s, const struct weir_backend *b)
{
	static const char *const sites[] = {
		[WEIR_SAME_SITE_UNSET] = "", [WEIR_SAME_SITE_LAX] = "; SameSite=Lax",
		[WEIR_SAME_SITE_STRICT] = "; SameSite=Strict", [WEIR_SAME_SITE_NONE] = "; SameSite=None"};
	struct buf out;

	buf_init(&out, rq->filter_mem + FILTER_ROOM, COOKIE_ROOM);
	buf_slice(&out, snapshot_str(s, b->cookie_name));
	buf_char(&out, '=');
	rq->cookie_token_at = (uint8_t)out.n;
	for (unsigned i = 0; i < TOKEN_LEN; i++)
		buf_char(&out, '0');
	buf_str(&out, "; Path=");
	buf_slice(&out, snapshot_str(s, b->cookie_path));
	if (b->cookie_max_age_s) {
		buf_str(&out, "; Max-Age=");
		buf_uint(&out, b->cookie_max_age_s, 10);
	}
	buf_str(&out, "; HttpOnly");
	if (client_is_tls(rq->client))
		buf_str(&out, "; Secure");
	buf_str(&out, sites[b->same_site]);
	assert(!out.overflow);
	rq->cookie = buf_get(&out);
}

void session_take(struct request *rq, const struct filter_source *from, const struct weir_backend *b)
{
	if (b->balance == WEIR_BALANCE_MAGLEV || b->balance == WEIR_BALANCE_RING_HASH)
		take_key(rq, from->s, b);
	if (b->affinity != WEIR_AFFINITY_COOKIE)
		return;
	rq->want.has_token = read_token(find_cookie(&rq->head, snapshot_str(from->s, b->cookie_name)), &rq->want.token);
	prepare_cookie(rq, from->s, b);
}

struct slice session_cookie(struct request *rq)
{
	struct upstream_token token;

	if (!rq->cookie.n || !upstream_session(rq->uc, &token))
		return slice_of("", 0);
	if (rq->want.has_token && memcmp(&token, &rq->want.token, sizeof(token)) == 0)
		return slice_of("", 0);
	write_token(rq->filter_mem + FILTER_ROOM + rq->cookie_token_at, &token);
	return rq->cookie;
}
