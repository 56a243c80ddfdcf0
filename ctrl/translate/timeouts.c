/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time limits: annotations of HTTPRoutes and Ingresses for their rules, of
 * Gateways for their listeners. A wrong one is named, and the next wider
 * limit counts in its place.
 */
#include <stdlib.h>
#include <string.h>

#include "kube/names.h"
#include "translate/translate_pvt.h"

#define PREFIX "weir.dev/"
#define INVALID "InvalidAnnotation"

/* What its value is; HEADER counts before the route is known. */
enum annotation_kind { DURATION, HEADER, RATE };

static const struct annotation {
	const char *name;
	size_t offset; /* in struct weir_timeouts */
	enum annotation_kind kind;
} annotations[] = {
#define A(name, field, kind) {PREFIX name, offsetof(struct weir_timeouts, field), kind}
	A("header-timeout", header_ms, HEADER),
	A("idle-timeout", idle_ms, DURATION),
	A("body-timeout", body_ms, DURATION),
	A("body-min-rate", body_bytes_per_s, RATE),
	A("connect-timeout", connect_ms, DURATION),
	A("first-byte-timeout", first_byte_ms, DURATION),
	A("request-timeout", request_ms, DURATION),
	A("tunnel-idle-timeout", tunnel_idle_ms, DURATION),
	A("tunnel-lifetime", tunnel_life_ms, DURATION),
#undef A
};

uint32_t timeout_read(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *reason)
{
	uint64_t ms;

	if (!at->n)
		return 0;
	if (!names_parse_duration(cursor_str(at, ""), &ms)) {
		report(t, o, at, true, reason, "a duration such as 10s, 1m30s or 250ms was expected; the default is used");
		return 0;
	}
	return ms == 0 || ms >= WEIR_NO_LIMIT ? WEIR_NO_LIMIT : (uint32_t)ms; /* 0s: none (GEP-1742) */
}

static uint32_t read_rate(struct translation *t, const struct kube_object *o, const struct cursor *at)
{
	const char *text = cursor_str(at, "");
	size_t n = strspn(text, "0123456789");
	unsigned long long v;

	if (!at->n)
		return 0;
	if (n == 0 || n > 9 || text[n]) {
		report(t, o, at, true, INVALID,
		       "a number of bytes a second, at most 999999999, was expected; the default is used");
		return 0;
	}
	v = strtoull(text, NULL, 10);
	return v ? (uint32_t)v : WEIR_NO_LIMIT;
}

static const struct annotation *find_annotation(const char *name)
{
	for (size_t i = 0; i < sizeof(annotations) / sizeof(*annotations); i++)
		if (strcmp(annotations[i].name, name) == 0)
			return &annotations[i];
	return NULL;
}

/* at: one of the object's annotations that are for us. */
static void read_annotation(struct translation *t, const struct kube_object *o, const struct cursor *at,
			    struct weir_timeouts *out)
{
	const struct annotation *a = find_annotation(at->key);
	uint32_t v;

	if (!a) {
		report(t, o, at, false, "UnknownAnnotation", "ignored: Weir knows no annotation of this name for kind %s",
		       kube_kind_name(o->kind));
		return;
	}
	if (a->kind == HEADER && o->kind != KUBE_GATEWAY) {
		report(t, o, at, false, "UnsupportedAnnotation",
		       "ignored: this limit counts before the route is known, and is set on a Gateway");
		return;
	}
	v = a->kind == RATE ? read_rate(t, o, at) : timeout_read(t, o, at, INVALID);
	memcpy((char *)out + a->offset, &v, sizeof(v));
}

void timeouts_read(struct translation *t, const struct kube_object *o, struct weir_timeouts *out)
{
	struct cursor root = cursor_root(o);
	struct cursor metadata = cursor_get(&root, "metadata");
	struct cursor list = cursor_get(&metadata, "annotations");

	for (size_t i = 0; list.n && i < list.n->n; i++) {
		struct cursor at = cursor_value(&list, i);

		if (strncmp(at.key, PREFIX, strlen(PREFIX)) == 0 && !(o->kind == KUBE_INGRESS && ingress_auth_knows(at.key)))
			read_annotation(t, o, &at, out);
	}
}
