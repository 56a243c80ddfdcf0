/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON by hand, since a line is written for each request. What a client sends
 * may be any bytes: where they are no UTF-8, each stands as \u00XX, so a line
 * is valid JSON whatever it tells of.
 */
#include "log_line.h"

#include <stdio.h>
#include <time.h>

#include "base/ip.h"
#include "base/utf8.h"
#include "stats/stats.h"

static const char *const text_names[] = {
#define X(name, str, max) str,
	WEIR_LOG_TEXTS(X)
#undef X
};

static const struct {
	uint32_t value;
	const char *name;
} flag_names[] = {
#define X(name, value, str) {value, str},
	WEIR_LOG_FLAGS(X)
#undef X
};

static void escape(struct buf *b, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";

	buf_add(b, "\\u00", 4);
	buf_char(b, digits[c >> 4]);
	buf_char(b, digits[c & 15]);
}

static void string(struct buf *b, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;

	buf_char(b, '"');
	while (i < s.n) {
		size_t run = i;
		size_t len;

		while (run < s.n && p[run] >= 0x20 && p[run] < 0x7f && p[run] != '"' && p[run] != '\\')
			run++;
		buf_add(b, s.p + i, run - i);
		i = run;
		if (i == s.n)
			break;
		len = utf8_length(p + i, s.n - i);
		if (p[i] == '"' || p[i] == '\\') {
			buf_char(b, '\\');
			buf_char(b, s.p[i]);
		} else if (len > 1) {
			buf_add(b, s.p + i, len);
		} else {
			escape(b, p[i]);
		}
		i += len ? len : 1;
	}
	buf_char(b, '"');
}

static void key(struct buf *b, const char *name)
{
	buf_char(b, b->n && b->p[b->n - 1] == '{' ? '"' : ',');
	if (b->p[b->n - 1] == ',')
		buf_char(b, '"');
	buf_str(b, name);
	buf_add(b, "\":", 2);
}

/* Larger ones are valid, too, but hardly a reader of JSON takes them. */
static void number(struct buf *b, const char *name, uint64_t v)
{
	key(b, name);
	buf_uint(b, v < INT64_MAX ? v : INT64_MAX, 10);
}

static void duration(struct buf *b, const char *name, uint32_t us)
{
	if (us != WEIR_LOG_NEVER)
		number(b, name, us);
}

static void address(struct buf *b, const char *name, const char *port_name, const struct weir_ip *ip, uint16_t port)
{
	char text[IP_TEXT_MAX];

	key(b, name);
	string(b, slice_str(ip_format(ip, text)));
	number(b, port_name, port);
}

/* RFC 3339, to the microsecond. */
static void time_stamp(struct buf *b, uint64_t us)
{
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	char text[64];
	size_t n = 0;

	if (gmtime_r(&s, &tm))
		n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	key(b, "time");
	buf_char(b, '"');
	buf_add(b, text, n);
	snprintf(text, sizeof(text), ".%06uZ\"", (unsigned)(us % 1000000));
	buf_str(b, text);
}

static void flags(struct buf *b, uint32_t set)
{
	bool is_first = true;

	key(b, "flags");
	buf_char(b, '[');
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(*flag_names); i++) {
		if (!(set & flag_names[i].value & ~(uint32_t)(WEIR_LOG_HEAD_FLAG | WEIR_LOG_LONG_FLAG))) /* these say how to read the record */
			continue;
		if (!is_first)
			buf_char(b, ',');
		is_first = false;
		string(b, slice_str(flag_names[i].name));
	}
	buf_char(b, ']');
}

static bool is_of_tls(unsigned text)
{
	return text == WEIR_LOG_TLS_CIPHER || text == WEIR_LOG_TLS_SERVER_NAME;
}

/* Those of the line itself, or those of its object "tls". */
static void texts(struct buf *b, const struct weir_log_record *r, bool of_tls)
{
	const char *p = r->text;

	for (unsigned i = 0; i < WEIR_N_LOG_TEXTS; i++) {
		if (r->len[i] && is_of_tls(i) == of_tls) {
			key(b, text_names[i]);
			string(b, slice_of(p, r->len[i]));
		}
		p += r->len[i];
	}
}

/* Of a number that is not known: nothing. */
static void group(struct buf *b, uint16_t id)
{
	static const struct {
		uint16_t id;
		const char *name;
	} groups[] = {
#define X(id, name) {id, name},
		WEIR_LOG_TLS_GROUPS(X)
#undef X
	};

	for (unsigned i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if (groups[i].id != id)
			continue;
		key(b, "group");
		string(b, slice_str(groups[i].name));
	}
}

static void tls(struct buf *b, const struct weir_log_record *r)
{
	if (r->tls_version == 0)
		return;
	key(b, "tls");
	buf_char(b, '{');
	if (r->tls_version == 0x0303 || r->tls_version == 0x0304) {
		key(b, "version");
		string(b, r->tls_version == 0x0303 ? SLICE("1.2") : SLICE("1.3"));
		key(b, "resumed");
		buf_str(b, r->tls_is_resumed ? "true" : "false");
		group(b, r->tls_group);
	}
	texts(b, r, true);
	buf_char(b, '}');
}

void log_line_write(struct buf *b, const struct weir_log_record *r, unsigned worker)
{
	static const struct weir_ip zero;
	char text[IP_TEXT_MAX];

	buf_char(b, '{');
	time_stamp(b, r->start_us);
	number(b, "worker", worker);
	address(b, "client", "client_port", &r->client, r->client_port);
	if (!ip_eq(&r->forwarded_client, &zero) && !ip_eq(&r->forwarded_client, &r->client)) {
		key(b, "forwarded_client");
		string(b, slice_str(ip_format(&r->forwarded_client, text)));
	}
	address(b, "local", "local_port", &r->local, r->local_port);
	if (r->flags & WEIR_LOG_HEAD_FLAG) {
		key(b, "protocol");
		buf_str(b, r->minor ? "\"HTTP/1.1\"" : "\"HTTP/1.0\"");
	}
	number(b, "status", r->status);
	tls(b, r);
	texts(b, r, false);
	if (r->generation) {
		number(b, "rule", r->rule);
		number(b, "generation", r->generation);
	}
	if (!ip_eq(&r->endpoint, &zero))
		address(b, "endpoint", "endpoint_port", &r->endpoint, r->endpoint_port);
	number(b, "tries", r->n_tries);
	number(b, "request_head_bytes", r->request_head_bytes);
	number(b, "request_bytes", r->request_bytes);
	number(b, "response_head_bytes", r->response_head_bytes);
	number(b, "response_bytes", r->response_bytes);
	duration(b, "head_us", r->head_us);
	duration(b, "connected_us", r->connected_us);
	duration(b, "sent_us", r->sent_us);
	duration(b, "first_us", r->first_us);
	if (r->flags & WEIR_LOG_LONG_FLAG)
		number(b, "end_us", r->long_end_us);
	else
		duration(b, "end_us", r->end_us);
	if (r->reason_plus1 && r->reason_plus1 <= WEIR_N_REASONS) {
		key(b, "reason");
		string(b, slice_str(stat_reason_names[r->reason_plus1 - 1]));
	}
	flags(b, r->flags);
	buf_add(b, "}\n", 2);
}
