/* SPDX-License-Identifier: Apache-2.0 */
/* Where a reflector's requests go: see reflector_pvt.h. */
#include "kube/reflector_pvt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int reflector_base_path(const struct reflector *r, char *out, size_t cap, bool with_ns)
{
	const char *group = kube_kind_group(r->kind);
	int n = snprintf(out, cap, "%s%s/%s", group[0] ? "/apis/" : "/api", group, kube_kind_version(r->kind, r->version));

	if (with_ns && r->ns)
		n += snprintf(out + n, cap - (size_t)n, "/namespaces/%s", r->ns);
	return n;
}

/* A query value, percent-encoded (RFC 3986 2.3). */
static void append_encoded(char *out, size_t cap, const char *value)
{
	size_t n = strlen(out);

	for (; *value && n + 4 < cap; value++) {
		bool is_plain = (*value >= '0' && *value <= '9') || (*value >= 'A' && *value <= 'Z') ||
				(*value >= 'a' && *value <= 'z') || strchr("-._~", *value);

		n += (size_t)snprintf(out + n, cap - n, is_plain ? "%c" : "%%%02X", (unsigned char)*value);
	}
}

/* Room that a query value needs at most, with its key. */
static size_t encoded_bytes(const char *value)
{
	return value ? 3 * strlen(value) + 32 : 0;
}

static void append_value(char *path, size_t cap, const char *key, const char *value)
{
	size_t n = strlen(path);

	if (!value)
		return;
	snprintf(path + n, cap - n, "&%s=", key);
	append_encoded(path, cap, value);
}

static void append_selector(const struct reflector *r, char *path, size_t cap)
{
	append_value(path, cap, "labelSelector", r->selector);
	append_value(path, cap, "fieldSelector", r->fields);
}

char *reflector_list_path(const struct reflector *r)
{
	size_t cap = 512 + encoded_bytes(r->continue_token) + encoded_bytes(r->selector) + encoded_bytes(r->fields);
	char *path = malloc(cap);
	int n;

	if (!path)
		return NULL;
	n = reflector_base_path(r, path, cap, true);
	snprintf(path + n, cap - (size_t)n, "/%s?limit=%u", kube_kind_plural(r->kind), REFLECTOR_PAGE);
	append_selector(r, path, cap);
	append_value(path, cap, "continue", r->continue_token);
	return path;
}

char *reflector_watch_path(const struct reflector *r, const char *version, uint64_t timeout_s)
{
	size_t cap = 512 + encoded_bytes(version) + encoded_bytes(r->selector) + encoded_bytes(r->fields);
	char *path = malloc(cap);
	int n;

	if (!path)
		return NULL;
	n = reflector_base_path(r, path, cap, true);
	snprintf(path + n, cap - (size_t)n,
		 "/%s?watch=1&allowWatchBookmarks=true&timeoutSeconds=%" PRIu64 "%s", kube_kind_plural(r->kind), timeout_s,
		 version ? "&resourceVersion=" : "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
	if (version)
		append_encoded(path, cap, version);
	append_selector(r, path, cap);
	return path;
}
