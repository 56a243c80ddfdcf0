/* SPDX-License-Identifier: Apache-2.0 */
/* Names of methods, fields and statuses, and questions to a parsed head. */
#include "http/http.h"

static const struct slice methods[] = {
#define X(name, str) [HTTP_METHOD_##name] = {str, sizeof(str) - 1},
	HTTP_METHODS(X)
#undef X
};

static const struct slice fields[] = {
#define X(name, str) [HTTP_FIELD_##name] = {str, sizeof(str) - 1},
	HTTP_FIELDS(X)
#undef X
};

const char *http_method_name(enum http_method m)
{
	return methods[m].p;
}

enum http_method http_method_find(struct slice name)
{
	for (unsigned i = 1; i < sizeof(methods) / sizeof(*methods); i++)
		if (slice_eq(methods[i], name))
			return (enum http_method)i;
	return HTTP_METHOD_OTHER;
}

/* The one kind whose name may be name, by its length and where that does not suffice by a letter. */
static enum http_field_id candidate(struct slice name)
{
	switch (name.n) {
	case 2:
		return HTTP_FIELD_TE;
	case 3:
		return HTTP_FIELD_VIA;
	case 4:
		return ascii_lower(name.p[0]) == 'h' ? HTTP_FIELD_HOST : HTTP_FIELD_DATE;
	case 6:
		return ascii_lower(name.p[0]) == 'c'   ? HTTP_FIELD_COOKIE
		       : ascii_lower(name.p[0]) == 's' ? HTTP_FIELD_SERVER
						       : HTTP_FIELD_EXPECT;
	case 7:
		return ascii_lower(name.p[0]) == 't'   ? HTTP_FIELD_TRAILER
		       : ascii_lower(name.p[0]) == 'r' ? HTTP_FIELD_REFERER
						       : HTTP_FIELD_UPGRADE;
	case 9:
		return HTTP_FIELD_FORWARDED;
	case 10:
		return ascii_lower(name.p[0]) == 'c'   ? HTTP_FIELD_CONNECTION
		       : ascii_lower(name.p[0]) == 'u' ? HTTP_FIELD_USER_AGENT
		       : ascii_lower(name.p[0]) == 'e' ? HTTP_FIELD_EARLY_DATA
						       : HTTP_FIELD_KEEP_ALIVE;
	case 11:
		return HTTP_FIELD_CLIENT_CERT;
	case 12:
		return ascii_lower(name.p[0]) == 'm' ? HTTP_FIELD_MAX_FORWARDS : HTTP_FIELD_X_REQUEST_ID;
	case 14:
		return HTTP_FIELD_CONTENT_LENGTH;
	case 15:
		return HTTP_FIELD_X_FORWARDED_FOR;
	case 16:
		return ascii_lower(name.p[0]) != 'x'	? HTTP_FIELD_PROXY_CONNECTION
		       : ascii_lower(name.p[12]) == 'h' ? HTTP_FIELD_X_FORWARDED_HOST
							: HTTP_FIELD_X_FORWARDED_PORT;
	case 17:
		return ascii_lower(name.p[0]) == 'x'   ? HTTP_FIELD_X_FORWARDED_PROTO
		       : ascii_lower(name.p[0]) == 'c' ? HTTP_FIELD_CLIENT_CERT_CHAIN
						       : HTTP_FIELD_TRANSFER_ENCODING;
	case 18:
		return HTTP_FIELD_PROXY_AUTHENTICATE;
	case 19:
		return HTTP_FIELD_PROXY_AUTHORIZATION;
	case 23:
		return HTTP_FIELD_X_FORWARDED_CLIENT_CERT;
	case 25:
		return HTTP_FIELD_PROXY_AUTHENTICATION_INFO;
	default:
		return HTTP_FIELD_OTHER;
	}
}

/* As many bytes, but for case and '_' in the place of '-'. */
static bool is_alike(struct slice field, struct slice name)
{
	for (size_t i = 0; i < field.n; i++)
		if (ascii_lower(name.p[i]) != field.p[i] && !(field.p[i] == '-' && name.p[i] == '_'))
			return false;
	return true;
}

enum http_field_id http_field_find(struct slice name)
{
	enum http_field_id id = candidate(name);

	if (id == HTTP_FIELD_CLIENT_CERT || id == HTTP_FIELD_CLIENT_CERT_CHAIN || id == HTTP_FIELD_X_FORWARDED_CLIENT_CERT)
		return is_alike(fields[id], name) ? id : HTTP_FIELD_OTHER;
	return id != HTTP_FIELD_OTHER && slice_eq_nocase(fields[id], name) ? id : HTTP_FIELD_OTHER;
}

const struct http_field *http_head_get(const struct http_head *h, enum http_field_id id)
{
	if (id != HTTP_FIELD_OTHER && !(h->seen & http_field_bit(id)))
		return NULL;
	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == id)
			return &h->fields[i];
	return NULL;
}

bool http_method_is_idempotent(enum http_method m)
{
	switch (m) {
	case HTTP_METHOD_GET:
	case HTTP_METHOD_HEAD:
	case HTTP_METHOD_PUT:
	case HTTP_METHOD_DELETE:
	case HTTP_METHOD_OPTIONS:
	case HTTP_METHOD_TRACE:
		return true;
	default:
		return false;
	}
}

const char *http_status_reason(unsigned status)
{
	switch (status) {
	case 100: return "Continue";
	case 101: return "Switching Protocols";
	case 103: return "Early Hints";
	case 200: return "OK";
	case 201: return "Created";
	case 202: return "Accepted";
	case 204: return "No Content";
	case 206: return "Partial Content";
	case 301: return "Moved Permanently";
	case 302: return "Found";
	case 303: return "See Other";
	case 304: return "Not Modified";
	case 307: return "Temporary Redirect";
	case 308: return "Permanent Redirect";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 411: return "Length Required";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 417: return "Expectation Failed";
	case 421: return "Misdirected Request";
	case 425: return "Too Early";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	default: return "";
	}
}
