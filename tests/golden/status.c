/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden tests of what is written back to Kubernetes.
 *
 *   golden-status [--update] FILE.yaml...     the status of each object of ours against FILE.expect
 *   golden-status --features FILE             what a GatewayClass claims against a file with one name a line
 *
 * A file may begin with "# pool: RANGE...", "# listen: ADDRESS..." and
 * "# version: TEXT", which are the options of the translation. What came out is
 * then given to the objects as their status, and read again an hour later:
 * nothing must be left to be written.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "dump.h"
#include "snapshot/snapshot.h"
#include "status/status.h"
#include "status/status_pvt.h"
#include "translate/compile.h"

#define NOW_S 1767225600 /* 2026-01-01T00:00:00Z */

static unsigned n_failed;

struct setup {
	struct address_pool pool;
	struct weir_ip listen[8];
	char version[64];
	struct translate_options options;
};

static void add_word(struct setup *s, const char *key, const char *word)
{
	if (strcmp(key, "pool") == 0 && address_pool_add(&s->pool, word) != 0)
		exit(1);
	if (strcmp(key, "listen") == 0 && ip_parse(word, strlen(word), &s->listen[s->options.n_listen++]) != 0)
		exit(1);
	if (strcmp(key, "version") == 0)
		snprintf(s->version, sizeof(s->version), "%s", word);
}

static void setup_read(struct setup *s, const char *data)
{
	*s = (struct setup){.options = {.controller_name = TRANSLATE_CONTROLLER}};
	for (const char *p = data; *p == '#'; p += strcspn(p, "\n"), p += *p == '\n') {
		char key[16];
		char rest[256];
		char *save;

		if (sscanf(p, "# %15[a-z]: %255[^\n]", key, rest) != 2)
			continue;
		for (char *w = strtok_r(rest, " ", &save); w; w = strtok_r(NULL, " ", &save))
			add_word(s, key, w);
	}
	s->options.pool = s->pool.n ? &s->pool : NULL;
	s->options.listen = s->listen;
	s->options.api_version = *s->version ? s->version : NULL;
}

/* ---- as text ---- */

static void put_conditions(FILE *out, const char *indent, const json_t *list)
{
	size_t i;
	json_t *c;

	json_array_foreach(list, i, c) {
		json_int_t generation = json_integer_value(json_object_get(c, "observedGeneration"));

		fprintf(out, "%s%s=%s %s since %s", indent, json_text(c, "type", "?"), json_text(c, "status", "?"),
			json_text(c, "reason", "?"), json_text(c, "lastTransitionTime", "?"));
		if (generation)
			fprintf(out, " generation %d", (int)generation);
		fprintf(out, "\n%s  %s\n", indent, json_text(c, "message", "?"));
	}
}

static void put_values(FILE *out, const char *what, const json_t *list, const char *key)
{
	size_t i;
	json_t *v;

	if (!list)
		return;
	fprintf(out, "  %s:", what);
	json_array_foreach(list, i, v)
		fprintf(out, " %s", json_text(v, key, "?"));
	fputc('\n', out);
}

static void put_listeners(FILE *out, const json_t *list)
{
	size_t i;
	json_t *l;

	json_array_foreach(list, i, l) {
		fprintf(out, "  listener %s, attached %d, supports [%s]\n", json_text(l, "name", "?"),
			(int)json_integer_value(json_object_get(l, "attachedRoutes")),
			json_text(json_array_get(json_object_get(l, "supportedKinds"), 0), "kind", ""));
		put_conditions(out, "    ", json_object_get(l, "conditions"));
	}
}

static void put_parents(FILE *out, const json_t *list)
{
	size_t i;
	json_t *p;

	json_array_foreach(list, i, p) {
		const char *what = json_object_get(p, "parentRef") ? "parent" : "ancestor";
		char *ref = json_dumps(json_object_get(p, *what == 'p' ? "parentRef" : "ancestorRef"), JSON_SORT_KEYS);

		fprintf(out, "  %s %s of %s\n", what, ref, json_text(p, "controllerName", "?"));
		put_conditions(out, "    ", json_object_get(p, "conditions"));
		free(ref);
	}
}

/* ---- a case ---- */

struct run {
	FILE *out;	/* NULL: nothing must differ */
	json_t *written; /* the documents by "Kind ns/name" */
	unsigned n_differ;
	unsigned n_changes; /* told where only changes are wanted */
};

static void on_change(void *ctx, const struct status_document *d)
{
	((struct run *)ctx)->n_changes += d->differs;
}

static void on_status(void *ctx, const struct status_document *d)
{
	struct run *r = ctx;
	json_t *doc = json_loads(d->json, 0, NULL);
	char key[512];

	r->n_differ += d->differs;
	snprintf(key, sizeof(key), "%s %s/%s", kube_kind_name(d->kind), d->ns, d->name);
	if (!r->out) {
		if (d->differs) {
			printf("%s would be written again: %s\n", key, d->json);
			n_failed++;
		}
		json_decref(doc);
		return;
	}
	fprintf(r->out, "%s%s\n", key, d->differs ? "" : " (as it is)");
	put_values(r->out, "features", json_object_get(doc, "supportedFeatures"), "name");
	put_values(r->out, "addresses", json_object_get(doc, "addresses"), "value");
	put_values(r->out, "load balancer", json_object_get(json_object_get(doc, "loadBalancer"), "ingress"), "ip");
	put_conditions(r->out, "  ", json_object_get(doc, "conditions"));
	put_listeners(r->out, json_object_get(doc, "listeners"));
	if (json_object_get(doc, "attachedListenerSets"))
		fprintf(r->out, "  attached ListenerSets: %d\n", (int)json_integer_value(json_object_get(doc, "attachedListenerSets")));
	put_parents(r->out, json_object_get(doc, "parents"));
	put_parents(r->out, json_object_get(doc, "ancestors"));
	json_object_set_new(r->written, key, doc);
}

/* Where it is served; what the workers would get must be right in any case. */
static void put_model(FILE *out, struct model *m)
{
	struct snapshot_error err;
	void *blob = NULL;
	size_t n;

	if (compile_snapshot(m, 1, &blob, &n) != 0 || snapshot_check(blob, n, &err) != WEIR_REFUSED_OK) {
		printf("does not compile\n");
		n_failed++;
	}
	free(blob);
	for (size_t i = 0; out && i < m->n_listeners; i++) {
		const struct model_listener *l = &m->listeners[i];
		char text[IP_TEXT_MAX];

		fprintf(out, "serves %s on %s port %u\n", l->name, ip_is_any(&l->addr) ? "all" : ip_format(&l->addr, text),
			l->port);
	}
}

static void run(const struct store *s, const struct setup *setup, int64_t now_s, struct run *r)
{
	struct status_options options = {.controller_name = TRANSLATE_CONTROLLER, .now_s = now_s, .wants_all = true};
	struct model m;

	model_init(&m);
	translate(s, &setup->options, &m);
	put_model(r->out, &m);
	status_make(s, &m, &options, on_status, r);
	options.wants_all = false;
	status_make(s, &m, &options, on_change, r);
	if (r->n_differ != r->n_changes) {
		printf("%u statuses differ, %u are to be written\n", r->n_differ, r->n_changes);
		n_failed++;
	}
	model_fini(&m);
}

/* All objects, with the status that was written, as one List. */
static char *with_status(const struct store *s, const json_t *written)
{
	json_t *items = json_array();
	json_t *all = json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "List", "items", items);
	char *text;

	for (unsigned k = 0; k < KUBE_N_KINDS; k++) {
		size_t n;
		const struct kube_object *const *list = store_list(s, (enum kube_kind)k, &n);

		for (size_t i = 0; i < n; i++) {
			json_t *o = json_of_node(list[i]->root);
			char key[512];

			snprintf(key, sizeof(key), "%s %s/%s", kube_kind_name((enum kube_kind)k), list[i]->ns, list[i]->name);
			if (json_object_get(written, key))
				json_object_set(o, "status", json_object_get(written, key));
			json_array_append_new(items, o);
		}
	}
	text = json_dumps(all, JSON_INDENT(1));
	json_decref(all);
	return text;
}

static void run_again(const struct store *s, const struct setup *setup, const json_t *written)
{
	char *text = with_status(s, written);
	struct store *next = store_create();
	struct run r = {0};

	store_load_yaml(next, "again.yaml", text, strlen(text));
	run(next, setup, NOW_S + 3600, &r);
	store_destroy(next);
	free(text);
}

static char *text_of_case(const char *data, size_t n)
{
	struct store *s = store_create();
	struct setup setup;
	struct run r = {.written = json_object()};
	char *text;
	size_t n_text;

	setup_read(&setup, data);
	store_load_yaml(s, "case.yaml", data, n);
	r.out = open_memstream(&text, &n_text);
	run(s, &setup, NOW_S, &r);
	fclose(r.out);
	run_again(s, &setup, r.written);
	json_decref(r.written);
	address_pool_fini(&setup.pool);
	store_destroy(s);
	return text;
}

static void run_case(const char *path, bool is_update)
{
	size_t n;
	char *data = read_all(path, &n);
	char *text = text_of_case(data, n);
	char expect[4096];

	snprintf(expect, sizeof(expect), "%.*s.expect", (int)(strlen(path) - strlen(".yaml")), path);
	if (is_update) {
		FILE *f = fopen(expect, "w");

		if (!f || fputs(text, f) < 0 || fclose(f) != 0)
			exit(1);
	} else {
		char *want = read_all(expect, &n);

		if (strcmp(text, want) != 0) {
			printf("%s differs from what was expected; it is now:\n%s", path, text);
			n_failed++;
		}
		free(want);
	}
	free(text);
	free(data);
}

/* The features that the conformance suite is told of: with a pool, since there some need one. */
static void compare_features(const char *path)
{
	static const char class[] = "# pool: 192.0.2.1\n"
				    "apiVersion: gateway.networking.k8s.io/v1\n"
				    "kind: GatewayClass\n"
				    "metadata: {name: weir}\n"
				    "spec: {controllerName: " TRANSLATE_CONTROLLER "}\n";
	size_t n;
	char *names = read_all(path, &n);
	char *text = text_of_case(class, strlen(class));
	char want[8192] = "  features:";
	size_t len = strlen(want);
	char *save;

	for (char *line = strtok_r(names, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (*line != '#' && len < sizeof(want))
			len += (size_t)snprintf(want + len, sizeof(want) - len, " %s", line);
	strncat(want, "\n", sizeof(want) - strlen(want) - 1);
	if (!strstr(text, want)) {
		printf("%s has\n%sand a GatewayClass is told\n%s", path, want, text);
		n_failed++;
	}
	free(text);
	free(names);
}

int main(int argc, char **argv)
{
	bool is_update = argc > 1 && strcmp(argv[1], "--update") == 0;

	if (argc == 3 && strcmp(argv[1], "--features") == 0) {
		compare_features(argv[2]);
		return n_failed ? 1 : 0;
	}
	for (int i = is_update ? 2 : 1; i < argc; i++)
		run_case(argv[i], is_update);
	printf("%d files, %u failures\n", argc - (is_update ? 2 : 1), n_failed);
	return n_failed ? 1 : 0;
}
