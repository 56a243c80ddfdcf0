/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and responses: see content.h. */
#include "content.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <immintrin.h>

#define SIZE_AT 5   /* of the digits in a request */
#define ID_AT 9	    /* behind those of the size */
#define SPREAD_AT 4 /* more where there is a path of its own before them */
#define HOSTS_MAX 100000u
#define PATHS_MAX 100u
#define START_STEP 16 /* bodies begin at one of so many places of the pattern, by their id */
#define N_STARTS 4096u

static const char digits[16] = "0123456789abcdef";

static void put_hex(char *p, uint32_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 4)
		p[i] = digits[v & 15];
}

static int get_hex(const uint8_t *p, uint32_t *v)
{
	uint32_t x = 0;

	for (int i = 0; i < 8; i++) {
		uint8_t d = p[i];

		if (d >= '0' && d <= '9')
			x = x << 4 | (uint32_t)(d - '0');
		else if (d >= 'a' && d <= 'f')
			x = x << 4 | (uint32_t)(d - 'a' + 10);
		else
			return 0;
	}
	*v = x;
	return 1;
}

static void put_decimal(char *p, unsigned n_digits, uint32_t v)
{
	for (unsigned i = n_digits; i-- > 0; v /= 10)
		p[i] = digits[v % 10];
}

static size_t write_request(char *out, const char *prefix, const char *host, const char *more)
{
	int n = snprintf(out, CONTENT_HEAD_MAX,
			 "GET %s/00000000/00000000 HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-blast\r\nAccept: */*\r\n%s\r\n", prefix, host, more);

	return n > 0 && n < CONTENT_HEAD_MAX ? (size_t)n : 0;
}

static int write_requests(struct content *c, const char *prefix, const char *host)
{
	c->n_request = write_request(c->request, prefix, host, "");
	c->n_request_close = write_request(c->request_close, prefix, host, "Connection: close\r\n");
	c->size_at = SIZE_AT + strlen(prefix);
	c->host_at = c->size_at + strlen("00000000/00000000 HTTP/1.1\r\nHost: h");
	return c->n_request && c->n_request_close ? 0 : -EINVAL;
}

int content_spread(struct content *c, uint32_t n_hosts, uint32_t n_paths)
{
	if (n_hosts > HOSTS_MAX || n_paths > PATHS_MAX || !n_hosts != !n_paths)
		return -EINVAL;
	c->n_hosts = n_hosts;
	c->n_paths = n_paths;
	return n_hosts ? write_requests(c, "/p00", "h00000.routes.example.com") : write_requests(c, "", c->host);
}

int content_init(struct content *c, const char *host)
{
	size_t n = BODY_MAX + N_STARTS * START_STEP;
	uint64_t x = 0;

	memset(c, 0, sizeof(*c));
	c->host = host;
	c->head_size = UINT32_MAX;
	if (write_requests(c, "", host) != 0)
		return -EINVAL;
	c->pattern = malloc(n);
	if (!c->pattern)
		return -ENOMEM;
	for (size_t i = 0; i < n; i += 8) { /* SplitMix64 */
		uint64_t z = x += 0x9e3779b97f4a7c15ull;

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
		z ^= z >> 31;
		memcpy(c->pattern + i, &z, 8);
	}
	return 0;
}

void content_fini(struct content *c)
{
	free(c->pattern);
}

const uint8_t *content_body(const struct content *c, uint32_t id)
{
	return c->pattern + (id % N_STARTS) * START_STEP;
}

size_t content_request_length(const struct content *c, int is_last)
{
	return is_last ? c->n_request_close : c->n_request;
}

static void prepare_head(struct content *c, uint32_t size)
{
	int n;

	if (c->head_size == size)
		return;
	n = snprintf(c->head, sizeof(c->head),
		     "HTTP/1.1 200 OK\r\nServer: weir-blast\r\nContent-Type: application/octet-stream\r\n"
		     "Content-Length: %u\r\nX-Blast: 00000000\r\n\r\n", size);
	c->n_head = (size_t)n;
	c->id_at = c->n_head - 12;
	c->head_size = size;
}

size_t content_response_length(struct content *c, uint32_t size)
{
	prepare_head(c, size);
	return c->n_head + size;
}

void content_request(const struct content *c, int is_last, uint32_t id, uint32_t size, size_t off, size_t n, uint8_t *out)
{
	char text[CONTENT_HEAD_MAX];
	size_t len = content_request_length(c, is_last);
	char *to = off == 0 && n == len ? (char *)out : text;

	memcpy(to, is_last ? c->request_close : c->request, len);
	put_hex(to + c->size_at, size);
	put_hex(to + c->size_at + ID_AT, id);
	if (c->n_hosts) {
		uint64_t h = id * 0x9e3779b97f4a7c15ull;

		put_decimal(to + SIZE_AT + 1, 2, (uint32_t)((h >> 16) % c->n_paths));
		put_decimal(to + c->host_at, 5, (uint32_t)((h >> 32) % c->n_hosts));
	}
	if (to == text)
		memcpy(out, text + off, n);
}

void content_response(struct content *c, uint32_t id, uint32_t size, size_t off, size_t n, uint8_t *out)
{
	prepare_head(c, size);
	if (off < c->n_head) {
		size_t k = c->n_head - off < n ? c->n_head - off : n;

		put_hex(c->head + c->id_at, id);
		memcpy(out, c->head + off, k);
		out += k;
		off += k;
		n -= k;
	}
	if (n)
		memcpy(out, content_body(c, id) + (off - c->n_head), n);
}

int content_is_body(const struct content *c, uint32_t id, size_t off, const uint8_t *p, size_t n)
{
	return off + n <= BODY_MAX && memcmp(content_body(c, id) + off, p, n) == 0;
}

static int is_end(const uint8_t *p)
{
	return p[0] == '\r' && p[1] == '\n' && p[2] == '\r' && p[3] == '\n';
}

/* Length of the head with its empty line; 0: its end is not there. Looked for in every packet: so by 32 bytes at a time. */
static size_t head_length(const uint8_t *p, size_t n)
{
	const __m256i cr = _mm256_set1_epi8('\r');
	size_t i = 0;

	for (; i + 36 <= n; i += 32) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
		uint32_t m = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, cr));

		for (; m; m &= m - 1)
			if (is_end(p + i + (unsigned)__builtin_ctz(m)))
				return i + (unsigned)__builtin_ctz(m) + 4;
	}
	for (; i + 4 <= n; i++)
		if (is_end(p + i))
			return i + 4;
	return 0;
}

long content_read_request(const uint8_t *p, size_t n, uint32_t *id, uint32_t *size)
{
	size_t len = head_length(p, n);
	size_t at = n > SIZE_AT && p[SIZE_AT] == 'p' ? SIZE_AT + SPREAD_AT : SIZE_AT; /* no hexadecimal digit */

	if (!len)
		return 0;
	if (len < 38 || memcmp(p, "GET /", 5) != 0 || !get_hex(p + at, size) || p[at + 8] != '/' || !get_hex(p + at + ID_AT, id) ||
	    memcmp(p + at + ID_AT + 8, " HTTP/1.1\r\n", 11) != 0 || *size > BODY_MAX)
		return -1;
	return (long)len;
}

/* The value of a field; NULL: it is not there. name: with what goes before and behind it. */
static const char *find_field(const uint8_t *p, size_t n, const char *name)
{
	const char *at = memmem(p, n, name, strlen(name));

	return at ? at + strlen(name) : NULL;
}

long content_read_any(const uint8_t *p, size_t n, struct request_head *out)
{
	size_t len = head_length(p, n);
	size_t at;
	const char *length;

	if (!p || !len)
		return 0;
	at = p[0] == 'P' ? 6 : 5;
	memset(out, 0, sizeof(*out));
	out->is_post = at == 6;
	if (len < 40 || memcmp(p, out->is_post ? "POST /" : "GET /", at) != 0 || !get_hex(p + at, &out->size) || p[at + 8] != '/' ||
	    !get_hex(p + at + 9, &out->id) || memcmp(p + at + 17, " HTTP/1.1\r\n", 11) != 0 || out->size > BODY_MAX)
		return -1;
	length = find_field(p, len, "\r\nContent-Length: ");
	out->length = length ? strtoull(length, NULL, 10) : 0;
	out->is_chunked = find_field(p, len, "\r\nTransfer-Encoding: chunked\r\n") != NULL;
	return out->is_chunked && length ? -1 : (long)len;
}

int content_is_last_request(const uint8_t *p, size_t n)
{
	return memmem(p, n, "\r\nConnection: close\r\n", 21) != NULL;
}

static int is_named(const uint8_t *line, size_t n, const char *name, size_t n_name)
{
	return n >= n_name && strncasecmp((const char *)line, name, n_name) == 0;
}

#define IS_NAMED(line, n, name) is_named(line, n, name, sizeof(name) - 1)

static int read_field(const uint8_t *p, size_t n, struct response_head *out)
{
	if ((p[0] | 0x20) != 'c' && (p[0] | 0x20) != 'x' && (p[0] | 0x20) != 't') /* nothing that we look at */
		return 1;
	if (IS_NAMED(p, n, "content-length: ")) {
		if (out->has_length || n == 16)
			return 0;
		out->has_length = 1;
		for (size_t i = 16; i < n; i++) {
			if (p[i] < '0' || p[i] > '9' || out->length > UINT32_MAX)
				return 0;
			out->length = out->length * 10 + (uint64_t)(p[i] - '0');
		}
	} else if (IS_NAMED(p, n, "x-blast: ")) {
		out->has_id = n == 17 && get_hex(p + 9, &out->id);
	} else if (IS_NAMED(p, n, "connection: close")) {
		out->is_close = 1;
	} else if (IS_NAMED(p, n, "transfer-encoding: chunked")) {
		out->is_chunked = 1;
	}
	return 1;
}

long content_read_response(const uint8_t *p, size_t n, struct response_head *out)
{
	size_t len = head_length(p, n);
	const uint8_t *end = p + len;

	if (!len)
		return 0;
	memset(out, 0, sizeof(*out));
	if (len < 16 || memcmp(p, "HTTP/1.1 ", 9) != 0)
		return -1;
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		out->status = out->status * 10 + (unsigned)(p[i] - '0');
	}
	while (end - p > 2) { /* line by line, the first one skipped */
		const uint8_t *eol = memchr(p, '\r', (size_t)(end - p));

		if (eol[1] != '\n')
			return -1;
		p = eol + 2;
		eol = memchr(p, '\r', (size_t)(end - p));
		if (!eol || eol == p)
			break;
		if (!read_field(p, (size_t)(eol - p), out))
			return -1;
	}
	return (long)len;
}
