/* SPDX-License-Identifier: Apache-2.0 */
/* One line at a time: request line, status line, field line (RFC 9112 3, 4, 5). */
#include "http1/scan.h"

/*
 * "HTTP/1.0", "HTTP/1.1": DONE. A higher minor version is 1.1, with what we do
 * not know of it (RFC 9110 2.5). Another version that is well formed is told
 * apart from what is none.
 */
static enum http1_outcome parse_version(struct slice v, uint8_t *minor)
{
	if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || !is_class(v.p[5], CLASS_DIGIT) || v.p[6] != '.' ||
	    !is_class(v.p[7], CLASS_DIGIT))
		return HTTP1_BAD_VERSION;
	if (v.p[5] != '1')
		return HTTP1_BAD_VERSION_UNSUPPORTED;
	*minor = v.p[7] != '0';
	return HTTP1_DONE;
}

enum http1_outcome line_request(struct http_head *h, struct slice line)
{
	const char *sp = memchr(line.p, ' ', line.n);
	const char *end = line.p + line.n;
	const char *sp2;
	enum http1_outcome o;

	if (!sp || sp == line.p || !is_all(slice_of(line.p, (size_t)(sp - line.p)), CLASS_TOKEN))
		return HTTP1_BAD_METHOD;
	h->method_name = slice_of(line.p, (size_t)(sp - line.p));
	h->method = (uint8_t)http_method_find(h->method_name);
	sp++;
	sp2 = memchr(sp, ' ', (size_t)(end - sp));
	if (!sp2)
		return is_all(slice_of(sp, (size_t)(end - sp)), CLASS_TARGET) ? HTTP1_BAD_VERSION : HTTP1_BAD_TARGET;
	h->target = slice_of(sp, (size_t)(sp2 - sp));
	o = parse_version(slice_of(sp2 + 1, (size_t)(end - sp2 - 1)), &h->minor);
	if (o != HTTP1_DONE)
		return o;
	return target_parse(h);
}

enum http1_outcome line_status(struct http_head *h, struct slice line)
{
	const char *p = line.p;
	enum http1_outcome o;

	/* The space behind the status may be missing where there is no reason phrase. */
	if (line.n < 12 || p[8] != ' ' || (line.n > 12 && p[12] != ' '))
		return HTTP1_BAD_STATUS_LINE;
	o = parse_version(slice_of(p, 8), &h->minor);
	if (o != HTTP1_DONE)
		return HTTP1_BAD_STATUS_LINE;
	for (int i = 9; i < 12; i++)
		if (!is_class(p[i], CLASS_DIGIT))
			return HTTP1_BAD_STATUS_LINE;
	h->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
	if (h->status < 100 || h->status > 599)
		return HTTP1_BAD_STATUS_LINE;
	h->reason = line.n > 13 ? slice_of(p + 13, line.n - 13) : slice_of(p + 12, 0);
	return is_all(h->reason, CLASS_VALUE) ? HTTP1_DONE : HTTP1_BAD_STATUS_LINE;
}

/*
 * Fields that concern one connection only, by their kind (RFC 9110 7.6.1), or
 * the next proxy only (11.7), which Weir is none of. Trailer is not among them
 * (6.6.2): it tells who gets the message what to expect, or what was lost.
 */
#define HOP_BY_HOP \
	(1u << HTTP_FIELD_CONNECTION | 1u << HTTP_FIELD_KEEP_ALIVE | 1u << HTTP_FIELD_PROXY_CONNECTION | 1u << HTTP_FIELD_TE | \
	 1u << HTTP_FIELD_TRANSFER_ENCODING | 1u << HTTP_FIELD_UPGRADE | 1u << HTTP_FIELD_PROXY_AUTHENTICATE | \
	 1u << HTTP_FIELD_PROXY_AUTHORIZATION | 1u << HTTP_FIELD_PROXY_AUTHENTICATION_INFO)

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* value: with the white space around it. */
static void add_field(struct http_head *h, struct slice name, struct slice value)
{
	struct http_field *f = &h->fields[h->n_fields++];
	enum http_field_id id = http_field_find(name);
	uint32_t bit = http_field_bit(id);

	while (value.n && is_blank(value.p[0])) {
		value.p++;
		value.n--;
	}
	while (value.n && is_blank(value.p[value.n - 1]))
		value.n--;
	h->seen_again |= h->seen & bit;
	h->seen |= bit;
	f->name = name;
	f->value = value;
	f->id = (uint8_t)id;
	f->hop_by_hop = (bit & HOP_BY_HOP) != 0;
}

/*
 * White space before the colon is refused in requests; in responses it is left
 * out, as RFC 9112 5.1 has a proxy do.
 */
enum http1_outcome line_field(struct http_head *h, struct slice line, bool is_response)
{
	size_t i = 0, n_name;

	if (line.p[0] == ' ' || line.p[0] == '\t')
		return HTTP1_BAD_OBS_FOLD;
	while (i < line.n && is_class(line.p[i], CLASS_TOKEN))
		i++;
	n_name = i;
	while (is_response && i < line.n && is_blank(line.p[i]))
		i++;
	if (n_name == 0 || i == line.n || line.p[i] != ':')
		return HTTP1_BAD_FIELD_NAME;
	if (!is_all(slice_of(line.p + i + 1, line.n - i - 1), CLASS_VALUE))
		return HTTP1_BAD_FIELD_VALUE;
	add_field(h, slice_of(line.p, n_name), slice_of(line.p + i + 1, line.n - i - 1));
	return HTTP1_DONE;
}

size_t line_field_quick(struct http_head *h, const char *p, size_t n)
{
	size_t name = scan_token(p, n);
	size_t end;

	if (name == 0 || name == n || p[name] != ':')
		return 0;
	end = name + 1 + scan_value(p + name + 1, n - name - 1);
	if (end + 2 > n || p[end] != '\r' || p[end + 1] != '\n')
		return 0;
	add_field(h, slice_of(p, name), slice_of(p + name + 1, end - name - 1));
	return end + 2;
}
