/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ClientHello, from the bytes of a connection: see hello.h. First the
 * records are walked by their heads, until the whole message is there; only
 * then it is read, once, across the borders of the records. What is said of
 * some bytes stays true whatever comes behind them.
 */
#include "tls/hello.h"

#include "base/ip.h"

#define RECORD_HEAD 5u	     /* RFC 8446 5.1: type, version, length */
#define RECORD_MAX 16384u    /* of its content, not encrypted */
#define RECORD_HANDSHAKE 22u /* content type */
#define MESSAGE_HEAD 4u	     /* RFC 8446 4: type, length */
#define MESSAGE_HELLO 1u
#define RANDOM_BYTES 32u
#define SESSION_ID_MAX 32u
#define LABEL_MAX 63u

enum {
	EXT_SERVER_NAME = 0,
	EXT_ALPN = 16,
	EXT_EARLY_DATA = 42,
	EXT_SUPPORTED_VERSIONS = 43,
};

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* -- records */

struct walk {
	size_t at;	 /* where the next record begins */
	size_t got;	 /* bytes of the message in the records before */
	size_t need;	 /* bytes of the message; of its head, as long as that is not complete */
	uint32_t length; /* of the message, as far as its head was read */
	size_t wants;	 /* after MORE: bytes of the connection without which it cannot be DONE */
};

/* The least that rem bytes of the message take, in records from at on. */
static size_t least_end(size_t at, size_t rem)
{
	return at + rem + (rem + RECORD_MAX - 1) / RECORD_MAX * RECORD_HEAD;
}

/* The head of a record, of which n bytes are there. */
static enum hello_outcome read_record_head(const uint8_t *p, size_t n, bool is_first, size_t *size)
{
	if (n >= 1 && p[0] != RECORD_HANDSHAKE)
		return is_first ? HELLO_NOT_TLS : HELLO_BAD;
	if (n >= 2 && p[1] != 3)
		return HELLO_BAD;
	if (n < RECORD_HEAD)
		return HELLO_MORE;
	*size = get16(p + 3);
	return *size == 0 || *size > RECORD_MAX ? HELLO_BAD : HELLO_DONE;
}

/* What this record, whose content has size bytes (n of them are there), holds of the message's head. */
static enum hello_outcome read_message_head(struct walk *w, const uint8_t *content, size_t size, size_t n)
{
	for (size_t i = 0; i < size && w->got + i < MESSAGE_HEAD; i++) {
		size_t at = w->got + i;

		if (i >= n)
			return HELLO_MORE;
		if (at == 0 && content[0] != MESSAGE_HELLO)
			return HELLO_BAD;
		if (at > 0)
			w->length = w->length << 8 | content[i];
		if (at == MESSAGE_HEAD - 1)
			w->need = MESSAGE_HEAD + w->length;
	}
	return HELLO_DONE;
}

/* One record. DONE: all of it is there, or as much as matters now. */
static enum hello_outcome walk_record(struct walk *w, const uint8_t *bytes, size_t n, size_t max_bytes)
{
	bool had_head = w->got >= MESSAGE_HEAD;
	size_t begin = w->at + RECORD_HEAD;
	size_t size;
	size_t end;
	enum hello_outcome r = read_record_head(bytes + w->at, n > w->at ? n - w->at : 0, w->at == 0, &size);

	if (r != HELLO_DONE)
		return r;
	end = begin + size;
	w->wants = w->got + size < w->need ? least_end(end, w->need - w->got - size) : begin + w->need - w->got;
	if (end > max_bytes)
		return HELLO_TOO_LARGE;
	if (!had_head)
		r = read_message_head(w, bytes + begin, size, n > begin ? n - begin : 0);
	if (r != HELLO_DONE)
		return r;
	/* RFC 8446 5.1: behind a hello the keys may change, so its end is the end of a record. */
	if (w->got + size > w->need)
		return HELLO_BAD;
	w->got += size;
	w->at = end;
	return HELLO_DONE;
}

/* DONE: the message is there, w->need bytes from the first record on. */
static enum hello_outcome walk(struct walk *w, const uint8_t *bytes, size_t n, size_t max_bytes)
{
	*w = (struct walk){.need = MESSAGE_HEAD};
	for (;;) {
		bool is_first = w->at == 0;
		enum hello_outcome r;

		w->wants = least_end(w->at, w->need - w->got);
		if (w->wants > max_bytes)
			return HELLO_TOO_LARGE;
		if (w->got == w->need)
			return n < w->at ? HELLO_MORE : HELLO_DONE;
		if (w->at > 0 && n < w->at)
			return HELLO_MORE;
		if (is_first) /* whether it is TLS at all need not wait */
			w->wants = n ? RECORD_HEAD : 1;
		r = walk_record(w, bytes, n, max_bytes);
		if (r != HELLO_DONE)
			return r;
	}
}

size_t hello_wants(const uint8_t *bytes, size_t n, size_t max_bytes)
{
	struct walk w;

	return walk(&w, bytes, n, max_bytes) == HELLO_MORE ? w.wants : n;
}

/* -- the message, across records. Reading past the end yields 0 and is noted. */

struct reader {
	const uint8_t *p; /* the next byte of the record, or the head of the next one */
	size_t in_record; /* bytes left in it */
	size_t left;	  /* bytes that may be read */
	bool is_short;
};

/* The next bytes in one piece, n at most; none where the reader is at its end. */
static size_t take(struct reader *r, size_t n, const uint8_t **p)
{
	if (n > r->left) {
		r->is_short = true;
		n = 0;
	}
	if (n == 0)
		return 0;
	if (r->in_record == 0) {
		r->in_record = get16(r->p + 3);
		r->p += RECORD_HEAD;
	}
	if (n > r->in_record)
		n = r->in_record;
	*p = r->p;
	r->p += n;
	r->in_record -= n;
	r->left -= n;
	return n;
}

static void skip(struct reader *r, size_t n)
{
	const uint8_t *p;

	for (size_t k = 1; n && k; n -= k)
		k = take(r, n, &p);
}

static uint32_t get(struct reader *r, unsigned n_bytes)
{
	const uint8_t *p = NULL;
	uint32_t v = 0;

	for (; n_bytes; n_bytes--)
		v = v << 8 | (take(r, 1, &p) ? *p : 0);
	return v;
}

/* A vector (RFC 8446 3.4) whose length stands before it in n_bytes; r goes on behind it. */
static struct reader get_vector(struct reader *r, unsigned n_bytes)
{
	size_t n = get(r, n_bytes);
	struct reader v = *r;

	skip(r, n);
	v.left = r->is_short ? 0 : n;
	v.is_short = r->is_short;
	return v;
}

static bool is_at_end(const struct reader *r)
{
	return !r->is_short && r->left == 0;
}

static void copy(struct reader *r, char *out, size_t n)
{
	const uint8_t *p;

	for (size_t k = 1; n && k; n -= k, out += k)
		if ((k = take(r, n, &p)) != 0)
			memcpy(out, p, k);
}

/* -- extensions */

/* Letters, digits, '-', '_' in labels of 1 to 63 bytes; made lower case. */
static bool read_labels(char *name, size_t n)
{
	size_t label = 0;

	for (size_t i = 0; i < n; i++) {
		char c = name[i] = ascii_lower(name[i]);

		if (c == '.' ? label == 0 : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

/* RFC 6066 3: no address is a name, but clients send them; as if they had given none. */
static bool is_address(const char *name, size_t n)
{
	struct weir_ip ip;

	if (n > 2 && name[0] == '[' && name[n - 1] == ']')
		return ip_parse(name + 1, n - 2, &ip) == 0;
	return ip_parse(name, n, &ip) == 0;
}

/* RFC 6066 3: of each type at most one name, and host_name is the only type there is. */
static bool read_server_name(struct reader *ext, struct hello *h)
{
	struct reader list = get_vector(ext, 2);
	bool is_host = get(&list, 1) == 0;
	struct reader name = get_vector(&list, 2);
	size_t n = name.left;

	if (!is_host || name.is_short || !is_at_end(&list) || n == 0 || n > HELLO_NAME_MAX)
		return false;
	copy(&name, h->server_name, n);
	if (n > 1 && h->server_name[n - 1] == '.')
		n--;
	if (is_address(h->server_name, n))
		n = 0;
	else if (!read_labels(h->server_name, n))
		return false;
	memset(h->server_name + n, 0, sizeof(h->server_name) - n);
	h->n_server_name = (uint8_t)n;
	return true;
}

/* RFC 8446 4.2.1 */
static bool read_versions(struct reader *ext, struct hello *h)
{
	struct reader list = get_vector(ext, 1);

	if (list.left == 0 || list.left % 2)
		return false;
	while (list.left)
		h->has_tls13 |= get(&list, 2) == 0x0304;
	return true;
}

/* RFC 7301 3.1 */
static bool read_alpn(struct reader *ext, struct hello *h)
{
	struct reader list = get_vector(ext, 2);

	if (list.left == 0)
		return false;
	h->has_alpn = true;
	while (list.left) {
		struct reader name = get_vector(&list, 1);
		char text[8];
		size_t n = name.left;

		if (n == 0)
			return false;
		if (n > sizeof(text))
			continue;
		copy(&name, text, n);
		h->has_h2 |= slice_eq(slice_of(text, n), SLICE("h2"));
		h->has_http1 |= slice_eq(slice_of(text, n), SLICE("http/1.1"));
	}
	return true;
}

static bool read_extension(uint32_t type, struct reader *ext, struct hello *h)
{
	switch (type) {
	case EXT_SERVER_NAME:
		return read_server_name(ext, h) && is_at_end(ext);
	case EXT_ALPN:
		return read_alpn(ext, h) && is_at_end(ext);
	case EXT_SUPPORTED_VERSIONS:
		return read_versions(ext, h) && is_at_end(ext);
	case EXT_EARLY_DATA:
		h->has_early_data = true;
		return is_at_end(ext);
	}
	return true;
}

static bool read_extensions(struct reader *r, struct hello *h)
{
	uint64_t seen[65536 / 64] = {0}; /* RFC 8446 4.2: none stands twice, however many there are */
	struct reader list = get_vector(r, 2);

	while (list.left) {
		uint32_t type = get(&list, 2);
		struct reader ext = get_vector(&list, 2);
		uint64_t bit = 1ull << type % 64;

		if (list.is_short || seen[type / 64] & bit)
			return false;
		seen[type / 64] |= bit;
		if (!read_extension(type, &ext, h))
			return false;
	}
	return !list.is_short;
}

/* Without extensions it may be, of a client of TLS 1.2 (RFC 5246 7.4.1.2). */
static bool read_hello(struct reader *r, struct hello *h)
{
	struct reader v;

	skip(r, MESSAGE_HEAD);
	h->legacy_version = (uint16_t)get(r, 2);
	skip(r, RANDOM_BYTES);
	v = get_vector(r, 1); /* legacy_session_id */
	if (v.left > SESSION_ID_MAX)
		return false;
	v = get_vector(r, 2); /* cipher_suites */
	if (v.left == 0 || v.left % 2)
		return false;
	v = get_vector(r, 1); /* legacy_compression_methods */
	if (v.left == 0)
		return false;
	if (r->left && !read_extensions(r, h))
		return false;
	return is_at_end(r);
}

enum hello_outcome hello_read(const uint8_t *bytes, size_t n, size_t max_bytes, struct hello *out)
{
	struct hello h = {0};
	struct reader r = {.p = bytes};
	struct walk w;
	enum hello_outcome o = walk(&w, bytes, n, max_bytes);

	if (o != HELLO_DONE)
		return o;
	r.left = w.need;
	if (!read_hello(&r, &h))
		return HELLO_BAD;
	*out = h;
	return HELLO_DONE;
}
