/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of an HTTPRoute's rule, or of one of its backendRefs, with the
 * Gateway API's rules for them. What a filter asks for and cannot be carried is
 * a problem, and whoever has the filter answers 500: no request is served
 * without it.
 */
#include <string.h>

#include "base/slice.h"
#include "kube/names.h"
#include "snapshot/snapshot.h"
#include "translate/translate_pvt.h"

#define MAX_TARGET_PATH 1024u /* HTTPPathModifier */

struct reader {
	struct translation *t;
	const struct kube_object *o;
	bool has_prefix; /* exactly one match, by prefix */
};

/* Reads what stands under the key of the filter's type. False after a problem. */
typedef bool read_fn(struct reader *r, const struct cursor *at, struct model_filter *f);

static bool wrong(struct reader *r, const struct cursor *at, const char *reason, const char *text)
{
	report(r->t, r->o, at, true, reason, "%s", text);
	return false;
}

/* ---- header changes ---- */

/* The change of this name that is there already, or NULL. */
static const struct model_header_op *find_op(const struct model_filter *f, const char *name)
{
	for (size_t i = 0; i < f->n_ops; i++)
		if (strcasecmp(f->ops[i].name, name) == 0)
			return &f->ops[i];
	return NULL;
}

/* A new Host is no field among others: a request has one. */
static bool read_host(struct reader *r, const struct cursor *name, const struct cursor *value, uint8_t kind,
		      struct model_filter *f)
{
	const char *text = value ? cursor_str(value, "") : "";
	char *host;

	if (kind != WEIR_HEADER_SET || f->kind != WEIR_FILTER_REQUEST_HEADERS)
		return wrong(r, name, "InvalidValue", "a field that may be changed in this way was expected: Host can only be set, in requests");
	host = (char *)model_str(r->t->m, text);
	for (char *p = host; *p; p++)
		*p = ascii_lower(*p);
	if (!snapshot_is_host(slice_str(host)) || strlen(host) > 253 + sizeof(":65535") - 1)
		return wrong(r, value, "InvalidHostname", "a host name, perhaps with a port, was expected");
	if (!f->host)
		f->host = host;
	return true;
}

static bool add_op(struct reader *r, const struct cursor *name, const struct cursor *value, uint8_t kind, struct model_filter *f)
{
	struct model_header_op *ops = (struct model_header_op *)(uintptr_t)f->ops; /* read_headers() made them */
	const char *text = cursor_str(name, "");
	const struct model_header_op *other = find_op(f, text);

	if (!snapshot_is_field_name(slice_str(text)))
		return wrong(r, name, "InvalidValue", "the name of a header was expected");
	if (strcasecmp(text, "host") == 0)
		return read_host(r, name, value, kind, f);
	if (snapshot_is_protected_field(slice_str(text)))
		return wrong(r, name, "InvalidValue",
			     "a field that may be changed was expected: this one frames the message, or belongs to one connection");
	if (other && other->kind != kind)
		return wrong(r, name, "InvalidValue", "one action for each name was expected: this name has another one, too");
	if (value && !snapshot_is_field_value(slice_str(cursor_str(value, ""))))
		return wrong(r, value, "InvalidValue",
			     "the value of a header was expected: no control characters, no blank at either end");
	if (other) {
		report(r->t, r->o, name, false, "DuplicateName", "ignored: only the first entry of this name counts");
		return true;
	}
	ops[f->n_ops++] = (struct model_header_op){
	    .kind = kind,
	    .name = model_str(r->t->m, text),
	    .value = value ? model_str(r->t->m, cursor_str(value, "")) : NULL,
	};
	return true;
}

static bool read_headers(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	static const struct {
		const char *key;
		uint8_t kind;
	} actions[] = {{"set", WEIR_HEADER_SET}, {"add", WEIR_HEADER_ADD}, {"remove", WEIR_HEADER_REMOVE}};

	f->ops = model_alloc(r->t->m, WEIR_MAX_HEADER_OPS * sizeof(*f->ops)); /* the schema lets no more through */
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		struct cursor list = cursor_get(at, actions[i].key);

		for (size_t k = 0; k < cursor_count(&list); k++) {
			struct cursor item = cursor_at(&list, k);
			struct cursor name = cursor_get(&item, "name");
			struct cursor value = cursor_get(&item, "value");
			bool is_removal = actions[i].kind == WEIR_HEADER_REMOVE;

			if (!add_op(r, is_removal ? &item : &name, is_removal ? NULL : &value, actions[i].kind, f))
				return false;
		}
	}
	return true;
}

/* ---- redirect and rewrite ---- */

static bool read_hostname(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	struct cursor host = cursor_get(at, "hostname");
	const char *text = cursor_str(&host, "");

	if (!host.n)
		return true;
	if (!names_is_host(text) || *text == '*')
		return wrong(r, &host, "InvalidHostname", "a host name in lower case was expected");
	f->host = model_str(r->t->m, text);
	return true;
}

/* A prefix is kept without the slashes at its end: what was matched had none either. */
static bool read_path(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	struct cursor path = cursor_get(at, "path");
	struct cursor type = cursor_get(&path, "type");
	bool is_prefix = strcmp(cursor_str(&type, ""), "ReplacePrefixMatch") == 0;
	struct cursor value = cursor_get(&path, is_prefix ? "replacePrefixMatch" : "replaceFullPath");
	struct cursor other = cursor_get(&path, is_prefix ? "replaceFullPath" : "replacePrefixMatch");
	const char *text = cursor_str(&value, "");
	size_t n = strlen(text);

	if (!path.n)
		return true;
	if (!is_prefix && strcmp(cursor_str(&type, ""), "ReplaceFullPath") != 0)
		return wrong(r, &type, "UnsupportedValue", "ReplaceFullPath or ReplacePrefixMatch was expected");
	if (!value.n || other.n)
		return wrong(r, &path, "InvalidValue", "the field that belongs to type, and it alone, was expected");
	if (is_prefix && !r->has_prefix)
		return wrong(r, &path, "InvalidValue", "a rule with exactly one match, of type PathPrefix, was expected");
	if (n > MAX_TARGET_PATH || (n && !is_target_path(text)))
		return wrong(r, &value, "InvalidPath",
			     "a path of at most 1024 characters that begins with '/' was expected, without query or fragment");
	while (is_prefix && n && text[n - 1] == '/')
		n--;
	f->path_change = is_prefix ? WEIR_PATH_REPLACE_PREFIX : WEIR_PATH_REPLACE;
	f->path = is_prefix || n ? model_strn(r->t->m, text, n) : "/";
	return true;
}

static bool read_scheme(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	struct cursor scheme = cursor_get(at, "scheme");
	const char *text = cursor_str(&scheme, "");

	if (!*text)
		return true;
	if (strcmp(text, "http") != 0 && strcmp(text, "https") != 0)
		return wrong(r, &scheme, "UnsupportedValue", "http or https was expected");
	f->scheme = text[4] ? WEIR_PROTO_HTTPS : WEIR_PROTO_HTTP;
	return true;
}

static bool read_redirect(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	static const int64_t statuses[] = {301, 302, 303, 307, 308};
	struct cursor status = cursor_get(at, "statusCode");
	struct cursor port = cursor_get(at, "port");
	int64_t code = 302;
	int64_t number = 0;
	bool is_known = false;

	node_int(status.n, 0, 999, &code);
	node_int(port.n, 1, 65535, &number);
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		is_known |= code == statuses[i];
	if (!is_known)
		return wrong(r, &status, "UnsupportedValue", "301, 302, 303, 307 or 308 was expected");
	f->status = (uint16_t)code;
	f->port = (uint16_t)number;
	return read_scheme(r, at, f) && read_hostname(r, at, f) && read_path(r, at, f);
}

static bool read_rewrite(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	return read_hostname(r, at, f) && read_path(r, at, f);
}

/* ---- mirror ---- */

/* A backend that is not there is left out, as the API has it: f->backend is -1 then, after a problem. */
static bool read_mirror(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	struct cursor ref = cursor_get(at, "backendRef");
	struct cursor percent = cursor_get(at, "percent");
	struct cursor fraction = cursor_get(at, "fraction");
	struct cursor numerator = cursor_get(&fraction, "numerator");
	struct cursor denominator = cursor_get(&fraction, "denominator");
	int64_t of = 100;
	int64_t n = 100;

	if (percent.n && fraction.n)
		return wrong(r, at, "InvalidValue", "either percent or fraction was expected, not both");
	node_int(percent.n, 0, 100, &n);
	node_int(numerator.n, 0, INT32_MAX, &n);
	node_int(denominator.n, 1, INT32_MAX, &of);
	if (n > of)
		return wrong(r, &numerator, "InvalidValue", "at most the denominator was expected");
	f->numerator = (uint32_t)n;
	f->denominator = (uint32_t)of;
	f->backend = route_backend(r->t, r->o, &ref);
	return true;
}

static bool read_cors(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	return cors_read(r->t, r->o, at, f);
}

/* ---- all of them ---- */

static const struct {
	const char *type, *key;
	uint8_t kind; /* enum weir_filter_kind; 0: not carried yet */
	read_fn *read;
} types[] = {
    {"RequestHeaderModifier", "requestHeaderModifier", WEIR_FILTER_REQUEST_HEADERS, read_headers},
    {"ResponseHeaderModifier", "responseHeaderModifier", WEIR_FILTER_RESPONSE_HEADERS, read_headers},
    {"RequestRedirect", "requestRedirect", WEIR_FILTER_REDIRECT, read_redirect},
    {"URLRewrite", "urlRewrite", WEIR_FILTER_REWRITE, read_rewrite},
    {"RequestMirror", "requestMirror", WEIR_FILTER_MIRROR, read_mirror},
    {"CORS", "cors", WEIR_FILTER_CORS, read_cors},
    {"ExternalAuth", "externalAuth", 0, NULL},
    {"ExtensionRef", "extensionRef", 0, NULL},
};

#define N_TYPES (sizeof(types) / sizeof(*types))

static bool read_filter(struct reader *r, const struct cursor *at, struct model_filter *f)
{
	struct cursor type = cursor_get(at, "type");
	struct cursor body;
	size_t n = 0;

	while (n < N_TYPES && strcmp(types[n].type, cursor_str(&type, "")) != 0)
		n++;
	if (n == N_TYPES)
		return wrong(r, &type, "UnsupportedValue", "a type of filter was expected, such as RequestHeaderModifier");
	if (types[n].kind == 0) {
		report(r->t, r->o, at, true, "UnsupportedFilter",
		       "another filter was expected: Weir does not carry %s yet", types[n].type);
		return false;
	}
	for (size_t i = 0; i < N_TYPES; i++) {
		struct cursor other = cursor_get(at, types[i].key);

		if (i != n && other.n)
			return wrong(r, &other, "InvalidValue", "the field that belongs to type, and it alone, was expected");
	}
	body = cursor_get(at, types[n].key);
	if (!body.n)
		return wrong(r, &body, "MissingField", "what the filter does was expected");
	f->kind = types[n].kind;
	return types[n].read(r, &body, f);
}

/* What snapshot_check() counts. */
static size_t bytes_of(const struct model_filter *f)
{
	size_t n = (f->host ? strlen(f->host) : 0) + (f->path ? strlen(f->path) : 0);

	for (size_t i = 0; i < f->n_ops; i++)
		n += WEIR_HEADER_OP_COST + strlen(f->ops[i].name) + (f->ops[i].value ? strlen(f->ops[i].value) : 0);
	return n;
}

bool filters_have(const struct model_filters *list, uint8_t kind)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->f[i].kind == kind)
			return true;
	return false;
}

/* f comes behind those of the list. */
static bool is_compatible(struct reader *r, const struct cursor *at, const struct model_filters *list, const struct model_filter *f)
{
	bool is_redirect = f->kind == WEIR_FILTER_REDIRECT;

	if (filters_have(list, f->kind) && f->kind != WEIR_FILTER_MIRROR)
		return wrong(r, at, "IncompatibleFilters", "one filter of this type at most was expected");
	if ((is_redirect && filters_have(list, WEIR_FILTER_REWRITE)) ||
	    (f->kind == WEIR_FILTER_REWRITE && filters_have(list, WEIR_FILTER_REDIRECT)))
		return wrong(r, at, "IncompatibleFilters", "either RequestRedirect or URLRewrite was expected, not both");
	if ((is_redirect && filters_have(list, WEIR_FILTER_MIRROR)) ||
	    (f->kind == WEIR_FILTER_MIRROR && filters_have(list, WEIR_FILTER_REDIRECT)))
		return wrong(r, at, "IncompatibleFilters",
			     "either RequestRedirect or RequestMirror was expected, not both: what is redirected is not mirrored");
	return true;
}

bool filters_read(struct translation *t, const struct kube_object *o, const struct cursor *list, bool has_prefix,
		  struct model_filters *out)
{
	struct reader r = {.t = t, .o = o, .has_prefix = has_prefix};
	size_t n = cursor_count(list);
	struct model_filter *f = n ? model_alloc(t->m, n * sizeof(*f)) : NULL;
	size_t bytes = 0;

	*out = (struct model_filters){0, f};
	for (size_t i = 0; i < n; i++) {
		struct cursor at = cursor_at(list, i);
		struct model_filter *next = &f[out->n];

		*next = (struct model_filter){0};
		if (!read_filter(&r, &at, next) || !is_compatible(&r, &at, out, next))
			return false;
		bytes += bytes_of(next);
		out->n += next->kind != WEIR_FILTER_MIRROR || next->backend >= 0;
	}
	if (bytes > WEIR_MAX_FILTER_BYTES) {
		report(t, o, list, true, "TooLarge", "at most %u bytes of names, values and paths were expected in all, not %zu",
		       WEIR_MAX_FILTER_BYTES, bytes);
		return false;
	}
	return true;
}
