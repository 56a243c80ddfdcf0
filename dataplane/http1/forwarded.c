/* SPDX-License-Identifier: Apache-2.0 */
/* The field Forwarded (RFC 7239): is it one, and an element of our own. */
#include "http1/http1_pvt.h"

static size_t skip_blank(struct slice s, size_t i)
{
	while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t'))
		i++;
	return i;
}

static size_t skip_token(struct slice s, size_t i)
{
	while (i < s.n && is_class(s.p[i], CLASS_TOKEN))
		i++;
	return i;
}

/* Behind a quoted string that begins at i (RFC 9110 5.6.4), or 0: it has no end. The bytes are those of a field value. */
static size_t skip_quoted(struct slice s, size_t i)
{
	for (i++; i < s.n; i++) {
		if (s.p[i] == '"')
			return i + 1;
		if (s.p[i] == '\\')
			i++;
	}
	return 0;
}

/* Behind "name=value" at i; 0: it is none. */
static size_t skip_pair(struct slice s, size_t i)
{
	size_t name = i, value;

	i = skip_token(s, i);
	if (i == name || i == s.n || s.p[i] != '=')
		return 0;
	value = ++i;
	if (i < s.n && s.p[i] == '"')
		return skip_quoted(s, i);
	i = skip_token(s, i);
	return i == value ? 0 : i;
}

/* Elements between ',', of pairs between ';'; both may be missing (RFC 7239 4, RFC 9110 5.6.1.2). */
bool http1_is_forwarded(struct slice s)
{
	bool has_pair = false;

	for (size_t i = 0;;) {
		i = skip_blank(s, i);
		if (i < s.n && s.p[i] != ';' && s.p[i] != ',') {
			i = skip_pair(s, i);
			if (i == 0)
				return false;
			has_pair = true;
			i = skip_blank(s, i);
		}
		if (i >= s.n)
			return has_pair;
		if (s.p[i] != ';' && s.p[i] != ',')
			return false;
		i++;
	}
}

void forwarded_write_element(struct buf *out, struct slice ip, struct slice proto, struct slice host)
{
	bool is_v6 = memchr(ip.p, ':', ip.n) != NULL; /* 6: a colon is for quoted strings only, and IPv6 in brackets */
	bool is_quoted = !is_all(host, CLASS_TOKEN);

	buf_str(out, is_v6 ? "for=\"[" : "for=");
	buf_slice(out, ip);
	buf_str(out, is_v6 ? "]\";proto=" : ";proto=");
	buf_slice(out, proto);
	if (host.n == 0)
		return;
	buf_str(out, is_quoted ? ";host=\"" : ";host=");
	buf_slice(out, host); /* no authority has a quote or backslash */
	if (is_quoted)
		buf_char(out, '"');
}
