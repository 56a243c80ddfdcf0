/* SPDX-License-Identifier: Apache-2.0 */
/* The Event itself (core v1), as it is created and as it is told again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "status/events_pvt.h"
#include "status/status_pvt.h"

#define MAX_NAME 200 /* of the object, in the Event's */

static json_t *time_json(int64_t s)
{
	time_t t = (time_t)s;
	char text[32];
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	return json_string(text);
}

static json_t *involved(const struct event_facts *f)
{
	const struct kube_object *o = f->object;
	const char *group = kube_kind_group(o->kind);
	const char *api = node_str(node_get(o->root, "apiVersion")); /* items of a list of built-in kinds have none */
	json_t *j = json_must(json_object());

	json_put(j, "apiVersion", api ? json_of_text(api) : json_sprintf("%s%sv1", group, group[0] ? "/" : ""));
	json_put(j, "kind", json_string(kube_kind_name(o->kind)));
	if (kube_kind_is_namespaced(o->kind))
		json_put(j, "namespace", json_of_text(o->ns));
	json_put(j, "name", json_of_text(o->name));
	json_put(j, "uid", json_of_text(o->uid));
	json_put(j, "resourceVersion", json_of_text(o->resource_version));
	if (f->field[0])
		json_put(j, "fieldPath", json_of_text(f->field));
	return j;
}

static json_t *with_hint(const char *text, const char *hint)
{
	char all[1024];

	snprintf(all, sizeof(all), "%.700s. %s", text, hint);
	return json_of_text(all);
}

json_t *event_json(const struct event_facts *f, uint64_t key, const char *instance)
{
	const struct kube_object *o = f->object;
	json_t *j = json_must(json_object()), *meta = json_must(json_object());
	const char *hint = f->is_warning ? event_hint(f->reason) : NULL;
	int n = (int)strnlen(o->name, MAX_NAME);

	while (n > 1 && (o->name[n - 1] == '.' || o->name[n - 1] == '-'))
		n--;
	json_put(meta, "name", json_sprintf("%.*s.%016" PRIx64, n, o->name, key));
	json_put(meta, "namespace", json_of_text(kube_kind_is_namespaced(o->kind) ? o->ns : "default"));
	json_put(j, "apiVersion", json_string("v1"));
	json_put(j, "kind", json_string("Event"));
	json_put(j, "metadata", meta);
	json_put(j, "involvedObject", involved(f));
	json_put(j, "type", json_string(f->is_warning ? "Warning" : "Normal"));
	json_put(j, "reason", json_string(f->reason));
	json_put(j, "message", hint ? with_hint(f->text, hint) : json_of_text(f->text));
	json_put(j, "source", json_pack("{s:s}", "component", EVENTS_COMPONENT));
	json_put(j, "reportingComponent", json_string(EVENTS_COMPONENT));
	json_put(j, "reportingInstance", json_of_text(instance));
	return j;
}

char *event_create_text(json_t *event, int64_t now_s)
{
	json_put(event, "count", json_integer(1));
	json_put(event, "firstTimestamp", time_json(now_s));
	json_put(event, "lastTimestamp", time_json(now_s));
	return json_dumps(event, JSON_COMPACT);
}

char *event_patch_text(uint32_t count, int64_t now_s)
{
	json_t *j = json_must(json_object());
	char *text;

	if (count)
		json_put(j, "count", json_integer(count));
	json_put(j, "lastTimestamp", time_json(now_s));
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	return text;
}
