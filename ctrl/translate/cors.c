/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CORS filter of an HTTPRoute: what it lets browsers do becomes the values
 * of response fields here, once; which origins they are for is asked of each request.
 */
#include <string.h>

#include "base/slice.h"
#include "kube/names.h"
#include "snapshot/snapshot.h"
#include "translate/translate_pvt.h"

struct reader {
	struct translation *t;
	const struct kube_object *o;
	struct model_filter *f;
	struct model_header_op *ops; /* of f */
};

static bool wrong(struct reader *r, const struct cursor *at, const char *reason, const char *text)
{
	report(r->t, r->o, at, true, reason, "%s", text);
	return false;
}

static void add(struct reader *r, enum weir_cors_kind kind, const char *value)
{
	r->ops[r->f->n_ops++] = (struct model_header_op){.kind = (uint8_t)kind, .name = "", .value = value};
}

/* The host of an origin: a name or address, "*.x", or "*". */
static bool is_host(const char *p, size_t n)
{
	char host[254];

	if (n == 1 && *p == '*')
		return true;
	if (n > 2 && p[0] == '*' && p[1] == '.') {
		p += 2;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(host))
		return false;
	for (size_t i = 0; i < n; i++)
		host[i] = ascii_lower(p[i]);
	host[n] = 0;
	return names_is_subdomain(host);
}

/* In lower case, without the port if that is the scheme's own, as browsers write it (Fetch, RFC 6454 6.2). NULL: it is none. */
static const char *origin_of(struct model *m, const char *text)
{
	bool is_https = strncmp(text, "https://", 8) == 0;
	const char *host = text + (is_https ? 8 : 7);
	size_t n_host;
	size_t n_port;
	const char *port;
	char *out;

	if (strcmp(text, "*") == 0)
		return "*";
	if (!is_https && strncmp(text, "http://", 7) != 0)
		return NULL;
	n_host = strcspn(host, ":");
	port = host + n_host + (host[n_host] == ':');
	n_port = strspn(port, "0123456789");
	if (!is_host(host, n_host) || port[n_port] || n_port > 5 || (host[n_host] && n_port == 0))
		return NULL;
	if (n_port && strcmp(port, is_https ? "443" : "80") == 0)
		port = "";
	out = (char *)model_printf(m, "%.*s%s%s", (int)(host - text + (ptrdiff_t)n_host), text, *port ? ":" : "", port);
	for (char *p = out; *p; p++)
		*p = ascii_lower(*p);
	return out;
}

static bool read_origins(struct reader *r, const struct cursor *list)
{
	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor at = cursor_at(list, i);
		const char *origin = origin_of(r->t->m, cursor_str(&at, ""));

		if (!origin)
			return wrong(r, &at, "InvalidValue",
				     "an origin such as https://a.example.com:8443 was expected, whose host may begin with \"*.\" or be \"*\"; or \"*\"");
		if (*origin == '*' && cursor_count(list) > 1)
			return wrong(r, &at, "InvalidValue", "\"*\" alone was expected, or no \"*\"");
		add(r, WEIR_CORS_ORIGIN, origin);
	}
	return true;
}

/* Names, joined for a response field. None: no such field. */
static bool read_names(struct reader *r, const struct cursor *list, enum weir_cors_kind kind)
{
	const char *all = NULL;

	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor at = cursor_at(list, i);
		const char *name = cursor_str(&at, "");

		if (!names_is_token(name)) /* "*" is one, too */
			return wrong(r, &at, "InvalidValue", "a name or \"*\" was expected");
		if (strcmp(name, "*") == 0 && cursor_count(list) > 1)
			return wrong(r, &at, "InvalidValue", "\"*\" alone was expected, or no \"*\"");
		all = all ? model_printf(r->t->m, "%s, %s", all, name) : model_str(r->t->m, name);
	}
	if (all)
		add(r, kind, all);
	return true;
}

bool cors_read(struct translation *t, const struct kube_object *o, const struct cursor *at, struct model_filter *f)
{
	struct reader r = {t, o, f, model_alloc(t->m, WEIR_MAX_CORS_OPS * sizeof(*r.ops))};
	struct cursor origins = cursor_get(at, "allowOrigins");
	struct cursor methods = cursor_get(at, "allowMethods");
	struct cursor headers = cursor_get(at, "allowHeaders");
	struct cursor exposed = cursor_get(at, "exposeHeaders");
	struct cursor credentials = cursor_get(at, "allowCredentials");
	struct cursor max_age = cursor_get(at, "maxAge");
	bool has_credentials = false;
	int64_t seconds = 5;

	f->ops = r.ops; /* the schema lets no more through than fit */
	node_bool(credentials.n, &has_credentials);
	node_int(max_age.n, 1, INT32_MAX, &seconds);
	if (!read_origins(&r, &origins) || !read_names(&r, &methods, WEIR_CORS_METHODS) ||
	    !read_names(&r, &headers, WEIR_CORS_HEADERS) || !read_names(&r, &exposed, WEIR_CORS_EXPOSED))
		return false;
	if (has_credentials && f->n_ops && r.ops[f->n_ops - 1].kind == WEIR_CORS_EXPOSED &&
	    strcmp(r.ops[f->n_ops - 1].value, "*") == 0) {
		report(t, o, &exposed, false, "UnsupportedValue", "ignored: to requests with credentials \"*\" is a name like others");
		f->n_ops--;
	}
	add(&r, WEIR_CORS_MAX_AGE, model_printf(t->m, "%d", (int)seconds));
	if (has_credentials)
		add(&r, WEIR_CORS_CREDENTIALS, "true");
	return true;
}
