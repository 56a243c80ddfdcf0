/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden tests of the way from manifests to the model and to the snapshot.
 *
 *   golden cases [--update] FILE.yaml...      model, problems and compiled routes against FILE.expect; with
 *                                             "# name: NAME STATE [ADDRESS...] [more] [!]" ExternalNames are taken,
 *                                             and this is known of the name (!: the name servers fail); with
 *                                             "# node-ports" pods are reached by nodePorts
 *   golden malformed GOOD FILE...             each "# expect: KIND NS/NAME FIELD REASON" of FILE is
 *                                             reported, nothing else is, and GOOD serves as it does alone
 *   golden mutate SEED COUNT GOOD FILE...     changed copies of FILE beside GOOD: the same
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"
#include "snapshot/snapshot.h"
#include "status/status.h"
#include "translate/compile.h"

static unsigned n_failed;
static unsigned n_beside; /* statuses of each eighth mutation are looked at: they take longer than all else */

/* What the workers would get: compiled, taken by the checker, and as text if out is given. */
static void compile_model(FILE *out, struct model *m)
{
	struct snapshot_error err;
	void *blob;
	char *text;
	size_t n;
	int rc = compile_snapshot(m, 1, &blob, &n);

	if (rc != 0 || snapshot_check(blob, n, &err) != WEIR_REFUSED_OK) {
		printf("does not compile: %d %s\n", rc, rc ? "" : err.text);
		n_failed++;
		return;
	}
	if (out && compile_dump(blob, &text) == 0) {
		fprintf(out, "compiled:\n%s", text);
		free(text);
	}
	free(blob);
}

static char *text_of_case(const char *path, const char *as)
{
	struct store *s = store_create();
	struct known_names *names;
	struct model m;
	char *text, *data;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	data = read_all(path, &n);
	names = read_names(data);
	store_load_yaml(s, as, data, n);
	translate_with(s, data, names, &m);
	free(data);
	for (size_t i = 0; i < m.n_listeners; i++)
		fprintf(out, "listener %s\n", m.listeners[i].name);
	dump_names(out, &m);
	dump_matches(out, &m, NULL);
	dump_problems(out, s, &m);
	compile_model(out, &m);
	fclose(out);
	model_fini(&m);
	store_destroy(s);
	known_names_destroy(names);
	return text;
}

static void run_case(const char *path, bool is_update)
{
	const char *slash = strrchr(path, '/');
	char *text = text_of_case(path, slash ? slash + 1 : path);
	char expect[4096];
	size_t n;
	char *want;

	snprintf(expect, sizeof(expect), "%.*s.expect", (int)(strlen(path) - strlen(".yaml")), path);
	if (is_update) {
		FILE *f = fopen(expect, "w");

		if (!f || fputs(text, f) < 0 || fclose(f) != 0)
			exit(1);
		free(text);
		return;
	}
	want = read_all(expect, &n);
	if (strcmp(text, want) != 0) {
		printf("%s differs from what was expected; it is now:\n%s", path, text);
		n_failed++;
	}
	free(want);
	free(text);
}

/* ---- beside a good file ---- */

/* Whatever is wrong, there is a document for each object. */
static void on_status(void *ctx, const struct status_document *d)
{
	*(unsigned *)ctx += d->differs;
	if (d->json[0] == '{')
		return;
	printf("%s %s/%s: no status: %s\n", kube_kind_name(d->kind), d->ns, d->name, d->json);
	n_failed++;
}

static void check_statuses(const struct store *s, const struct model *m)
{
	struct status_options options = {.controller_name = TRANSLATE_CONTROLLER, .wants_all = true};
	unsigned n_all = 0;
	unsigned n_changes = 0;

	status_make(s, m, &options, on_status, &n_all);
	options.wants_all = false;
	status_make(s, m, &options, on_status, &n_changes);
	if (n_all == n_changes)
		return;
	printf("%u statuses differ, %u are to be written\n", n_all, n_changes);
	n_failed++;
}

/* What the good file's namespace serves while another text stands in a second file. */
static char *beside(const char *good, size_t n_good, const char *other, size_t n_other, char **problems)
{
	struct store *s = store_create();
	struct model m;
	char *text;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	store_load_yaml(s, "a-good.yaml", good, n_good);
	if (other)
		store_load_yaml(s, "b.yaml", other, n_other);
	translate_all(s, &m);
	dump_matches(out, &m, "good");
	fclose(out);
	compile_model(NULL, &m);
	if (problems || n_beside++ % 8 == 0)
		check_statuses(s, &m);
	if (problems) {
		out = open_memstream(problems, &n);
		dump_problems(out, s, &m);
		fclose(out);
	}
	model_fini(&m);
	store_destroy(s);
	return text;
}

/* "b.yaml:3:4: KIND NS/NAME FIELD: REASON (text)" against "KIND NS/NAME FIELD REASON". */
static bool is_expected(const char *problem, const char *expect)
{
	char kind[64], object[256], field[256], reason[64], wanted[768], got[768];
	unsigned line, column;

	if (sscanf(problem, "b.yaml:%u:%u: %63s %255s %255[^:]: %63s", &line, &column, kind, object, field, reason) !=
	    6)
		return false;
	if (line == 0 || column == 0)
		return false;
	snprintf(got, sizeof(got), "%s %s %s %s", kind, object, field, reason);
	snprintf(wanted, sizeof(wanted), "%.*s", (int)strcspn(expect, "\r\n"), expect);
	return strcmp(got, wanted) == 0;
}

static bool has_line(const char *lines, const char *expect, bool is_reversed)
{
	static const char mark[] = "# expect: ";

	for (const char *p = lines; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		if (!is_reversed && is_expected(p, expect))
			return true;
		if (is_reversed && strncmp(p, mark, strlen(mark)) == 0 && is_expected(expect, p + strlen(mark)))
			return true;
	}
	return false;
}

static void run_malformed(const char *good, size_t n_good, const char *alone, const char *path)
{
	static const char mark[] = "# expect: ";
	size_t n;
	char *data = read_all(path, &n);
	char *problems;
	char *with = beside(good, n_good, data, n, &problems);
	unsigned n_expected = 0;

	for (const char *p = data; (p = strstr(p, mark)) != NULL; n_expected++) {
		p += strlen(mark);
		if (!has_line(problems, p, false)) {
			printf("%s: not reported: %.*s\n%s", path, (int)strcspn(p, "\n"), p, problems);
			n_failed++;
		}
	}
	for (const char *p = problems; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (!has_line(data, p, true)) {
			printf("%s: not expected: %.*s\n", path, (int)strcspn(p, "\n"), p);
			n_failed++;
		}
	if (n_expected == 0) {
		printf("%s: says not what is expected\n", path);
		n_failed++;
	}
	if (strcmp(with, alone) != 0) {
		printf("%s: the good file beside it serves\n%sand alone\n%s", path, with, alone);
		n_failed++;
	}
	free(with);
	free(problems);
	free(data);
}

/* ---- mutation ---- */

static uint64_t prng;

static size_t rnd(size_t n)
{
	prng ^= prng << 13;
	prng ^= prng >> 7;
	prng ^= prng << 17;
	return (size_t)(prng % n);
}

static size_t line_start(const char *p, size_t at)
{
	while (at > 0 && p[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_end(const char *p, size_t n, size_t at)
{
	while (at < n && p[at] != '\n')
		at++;
	return at < n ? at + 1 : n;
}

/* Puts n_by bytes in the place of n_old; the buffer has room. */
static size_t splice(char *p, size_t n, size_t at, size_t n_old, const char *by, size_t n_by)
{
	memmove(p + at + n_by, p + at + n_old, n - at - n_old);
	memcpy(p + at, by, n_by);
	return n - n_old + n_by;
}

static size_t mutate_once(char *p, size_t n)
{
	static const char *const words[] = {
	    "null",   "~",  "true", "no",      "-1",   "0",      "99999", "1e9", "\"\"", "{}",    "[]",
	    "[null]", "*a", "&a x", "!!str 1", "!x y", "<<: *a", "- ",    ": ",  "\t",   "---\n", "...\n",
	    "\"",     "'",  "|\n",  ">\n",     "#",    "{a: b",  "[a, b", "\\0", "..",   "*.x",
	};
	size_t at = rnd(n + 1);
	size_t from = line_start(p, at);
	size_t to = line_end(p, n, at);
	size_t colon = from;
	const char *word = words[rnd(sizeof(words) / sizeof(*words))];
	char line[1024];
	size_t n_line = to - from < sizeof(line) ? to - from : sizeof(line);

	memcpy(line, p + from, n_line);
	switch (rnd(8)) {
	case 0: /* a line is lost */
		return splice(p, n, from, to - from, "", 0);
	case 1: /* or stands twice */
		return splice(p, n, to, 0, line, n_line);
	case 2: /* or moves in or out */
		return rnd(2) ? splice(p, n, from, 0, "  ", 2) : splice(p, n, from, to - from > 2 ? 2 : 0, "", 0);
	case 3: /* a value becomes another */
		while (colon < to && p[colon] != ':')
			colon++;
		if (colon + 1 >= to)
			return n;
		return splice(p, splice(p, n, colon + 1, to - colon - 2, " ", 1), colon + 2, 0, word, strlen(word));
	case 4: /* a word from nowhere */
		return splice(p, n, at, 0, word, strlen(word));
	case 5: /* a byte changes */
		if (at < n)
			p[at] = (char)rnd(256);
		return n;
	case 6: /* the end is lost */
		return rnd(8) ? n : at;
	default: /* a line from elsewhere */
		return splice(p, n, line_start(p, rnd(n + 1)), 0, line, n_line);
	}
}

static void run_mutations(const char *good, size_t n_good, const char *alone, const char *path, unsigned count)
{
	size_t n_file;
	char *file = read_all(path, &n_file);
	char *data = malloc(n_file + 16 * 1100 + 1);

	if (!data)
		exit(1);
	for (unsigned i = 0; i < count; i++) {
		size_t n = n_file;
		char *with;

		memcpy(data, file, n_file);
		for (size_t j = 1 + rnd(4); j > 0; j--)
			n = mutate_once(data, n);
		with = beside(good, n_good, data, n, NULL);
		if (strcmp(with, alone) != 0) {
			printf("%s, mutation %u: the good file beside it serves\n%sand alone\n%sthe text was\n%.*s\n",
			       path, i, with, alone, (int)n, data);
			n_failed++;
		}
		free(with);
	}
	free(data);
	free(file);
}

int main(int argc, char **argv)
{
	bool is_update = argc > 2 && strcmp(argv[2], "--update") == 0;
	const char *mode = argc > 2 ? argv[1] : "";
	size_t n_good = 0;
	char *good = NULL;
	char *alone = NULL;
	int first = is_update ? 3 : strcmp(mode, "malformed") == 0 ? 3 : strcmp(mode, "mutate") == 0 ? 5 : 2;

	if (first >= argc) {
		fprintf(stderr, "usage: golden cases|malformed|mutate ...\n");
		return 2;
	}
	if (first > 2 && !is_update) {
		char *problems;

		good = read_all(argv[first - 1], &n_good);
		alone = beside(good, n_good, NULL, 0, &problems);
		if (!*alone || *problems) {
			printf("the good file is not good:\n%s%s", alone, problems);
			n_failed++;
		}
		free(problems);
	}
	if (strcmp(mode, "mutate") == 0)
		prng = strtoull(argv[2], NULL, 10) | 1;
	for (int i = first; i < argc; i++) {
		if (strcmp(mode, "cases") == 0)
			run_case(argv[i], is_update);
		else if (strcmp(mode, "malformed") == 0)
			run_malformed(good, n_good, alone, argv[i]);
		else
			run_mutations(good, n_good, alone, argv[i], (unsigned)atoi(argv[3]));
	}
	free(good);
	free(alone);
	printf("%d files, %u failures\n", argc - first, n_failed);
	return n_failed ? 1 : 0;
}
