/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of a rule or of a backend as JSON, in the words of HTTPRoute. */
#include "admin/view_pvt.h"

static json_t *header_ops(const struct weir_snapshot *s, const struct weir_filter *f, uint8_t kind)
{
	json_t *list = json_array();

	for (uint32_t i = f->ops.first; i < f->ops.first + f->ops.count; i++) {
		const struct weir_header_op *o = snapshot_header_op(s, i);

		if (o->kind != kind)
			continue;
		if (kind == WEIR_HEADER_REMOVE)
			json_array_append_new(list, view_str(s, o->name));
		else
			json_array_append_new(list, json_pack("{s:o, s:o}", "name", view_str(s, o->name), "value", view_str(s, o->value)));
	}
	return list;
}

static void tell_headers(json_t *o, const struct weir_snapshot *s, const struct weir_filter *f)
{
	json_t *set = header_ops(s, f, WEIR_HEADER_SET);

	if (f->host.len)
		json_array_append_new(set, json_pack("{s:s, s:o}", "name", "Host", "value", view_str(s, f->host)));
	json_object_set_new(o, "set", set);
	json_object_set_new(o, "add", header_ops(s, f, WEIR_HEADER_ADD));
	json_object_set_new(o, "remove", header_ops(s, f, WEIR_HEADER_REMOVE));
}

static void tell_url(json_t *o, const struct weir_snapshot *s, const struct weir_filter *f)
{
	if (f->scheme)
		json_object_set_new(o, "scheme", json_string(f->scheme == WEIR_PROTO_HTTPS ? "https" : "http"));
	if (f->host.len)
		json_object_set_new(o, "hostname", view_str(s, f->host));
	if (f->port)
		json_object_set_new(o, "port", json_integer(f->port));
	if (f->path_change)
		json_object_set_new(o, f->path_change == WEIR_PATH_REPLACE ? "replaceFullPath" : "replacePrefixMatch",
				    f->path.len ? view_str(s, f->path) : json_string("/"));
	if (f->status)
		json_object_set_new(o, "statusCode", json_integer(f->status));
}

static void tell_cors(json_t *o, const struct weir_snapshot *s, const struct weir_filter *f)
{
	static const char *const keys[] = {"", "", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials"};
	json_t *origins = json_array();

	for (uint32_t i = f->ops.first; i < f->ops.first + f->ops.count; i++) {
		const struct weir_header_op *op = snapshot_header_op(s, i);

		if (op->kind == WEIR_CORS_ORIGIN)
			json_array_append_new(origins, view_str(s, op->value));
		else
			json_object_set_new(o, keys[op->kind], view_str(s, op->value));
	}
	json_object_set_new(o, "allowOrigins", origins);
}

static json_t *filter(const struct weir_snapshot *s, const struct weir_filter *f)
{
	static const char *const types[] = {"",		       "RequestHeaderModifier", "ResponseHeaderModifier",
					    "RequestRedirect", "URLRewrite",		"RequestMirror",
					    "CORS"};
	json_t *o = json_pack("{s:s}", "type", types[f->kind]);

	switch ((enum weir_filter_kind)f->kind) {
	case WEIR_FILTER_REQUEST_HEADERS:
	case WEIR_FILTER_RESPONSE_HEADERS:
		tell_headers(o, s, f);
		break;
	case WEIR_FILTER_REDIRECT:
	case WEIR_FILTER_REWRITE:
		tell_url(o, s, f);
		break;
	case WEIR_FILTER_MIRROR:
		json_object_set_new(o, "backend", view_str(s, snapshot_backend(s, f->backend)->name));
		json_object_set_new(o, "numerator", json_integer(f->numerator));
		json_object_set_new(o, "denominator", json_integer(f->denominator));
		break;
	case WEIR_FILTER_CORS:
		tell_cors(o, s, f);
		break;
	}
	return o;
}

json_t *view_filters(const struct weir_snapshot *s, struct weir_range list)
{
	json_t *out = json_array();

	for (uint32_t i = list.first; i < list.first + list.count; i++)
		json_array_append_new(out, filter(s, snapshot_filter(s, i)));
	return out;
}
