/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl check: manifests read, translated and compiled as weir-ctrl would,
 * without either program running.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/cli.h"
#include "kube/store.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"
#include "translate/translate.h"

static int read_file(struct store *s, const char *path)
{
	FILE *f = fopen(path, "rb");
	char *data = NULL;
	size_t n = 0;
	size_t cap = 0;
	size_t k = 0;

	if (!f) {
		fprintf(stderr, "weirctl: %s: %s\n", path, strerror(errno));
		return 2;
	}
	do {
		n += k;
		if (cap - n < 65536) {
			cap = cap * 2 + 131072;
			data = realloc(data, cap);
			if (!data)
				abort();
		}
		k = fread(data + n, 1, cap - n, f);
	} while (k > 0);
	fclose(f);
	store_load_yaml(s, path, data, n);
	free(data);
	return 0;
}

static bool is_manifest(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

static int read_path(struct store *s, const char *path)
{
	struct stat st;
	struct dirent *e;
	DIR *d;
	int rc = 0;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return read_file(s, path);
	d = opendir(path);
	if (!d) {
		fprintf(stderr, "weirctl: %s: %s\n", path, strerror(errno));
		return 2;
	}
	while ((e = readdir(d)) != NULL) {
		char *sub;

		if (!is_manifest(e))
			continue;
		if (asprintf(&sub, "%s/%s", path, e->d_name) < 0)
			abort();
		rc |= read_file(s, sub);
		free(sub);
	}
	closedir(d);
	return rc;
}

static void tell(json_t *list, const char *file, unsigned line, unsigned column, const char *kind, const char *ns,
		 const char *name, const char *field, const char *reason, const char *text, bool is_fatal)
{
	if (list)
		json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "file", file, "line",
						      (int)line, "column", (int)column, "kind", kind, "namespace", ns, "name", name,
						      "field", field, "reason", reason, "text", text, "fatal", (int)is_fatal));
	else
		printf("%s:%u:%u: %s %s/%s %s: %s: %s%s\n", file, line, column, kind, ns, name, field, reason, text,
		       is_fatal ? "" : " (served all the same)");
}

static unsigned tell_all(json_t *list, const struct store *s, const struct model *m)
{
	unsigned n_fatal = 0;
	size_t n;
	const struct store_problem *sp = store_problems(s, &n);

	for (size_t i = 0; i < n; i++) {
		tell(list, sp[i].file, sp[i].line, sp[i].column, sp[i].kind, sp[i].ns, sp[i].name, sp[i].field, sp[i].reason,
		     sp[i].text, sp[i].is_fatal);
		n_fatal += sp[i].is_fatal;
	}
	for (size_t i = 0; i < m->n_problems; i++) {
		const struct model_problem *p = &m->problems[i];

		tell(list, p->file, p->line, p->column, p->kind, p->ns, p->name, p->field, p->reason, p->text, p->is_fatal);
		n_fatal += p->is_fatal;
	}
	return n_fatal;
}

static int check_store(const struct store *s, bool as_json)
{
	const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER,
						  .namespace_bytes = TRANSLATE_NAMESPACE_BYTES,
						  .now_s = time(NULL),
						  .takes_external_names = true}; /* and says that no name is looked up here */
	struct snapshot_error err;
	json_t *list = as_json ? json_array() : NULL;
	struct model m;
	unsigned n_fatal;
	void *blob = NULL;
	size_t n;
	int rc;

	model_init(&m);
	translate(s, &options, &m);
	n_fatal = tell_all(list, s, &m);
	rc = compile_snapshot(&m, 1, &blob, &n);
	if (rc != 0) {
		fprintf(stderr, "weirctl: the routes as a whole do not compile: %s\n", strerror(-rc));
		n_fatal++;
	} else if (snapshot_check(blob, n, &err) != WEIR_REFUSED_OK) {
		fprintf(stderr, "weirctl: the routes as a whole would be refused: %s\n", err.text);
		n_fatal++;
	}
	if (list) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(list);
	} else {
		printf("%zu matches, %zu backends, %u fatal problems\n", m.n_matches, m.n_backends, n_fatal);
	}
	free(blob);
	model_fini(&m);
	return n_fatal ? 1 : 0;
}

int check_files(char **paths, int n, bool as_json)
{
	struct store *s = store_create();
	int rc = 0;

	if (!s)
		abort();
	for (int i = 0; i < n; i++)
		rc |= read_path(s, paths[i]);
	if (rc == 0)
		rc = check_store(s, as_json);
	store_destroy(s);
	return rc;
}
