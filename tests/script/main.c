/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance [--pending FILE] [--rewrite-pending] [--selftest] [-v] ROOT [SCRIPT...]
 *
 * Runs the scripts (all of ROOT/cases, or those named) in one process. A
 * script of the pending file must fail: it says what is not done yet. One that
 * passes there, or fails elsewhere, is a failure. --selftest runs
 * ROOT/selftest, each of which must fail with the words that it names.
 */
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "run.h"

#define MAX_SCRIPTS 4096

struct options {
	const char *root, *pending_file;
	bool rewrites, is_selftest, is_verbose;
	char *only[64];
	int n_only;
};

struct pending {
	char name[200];
	char reason[300];
	bool passes;
};

static char *paths[MAX_SCRIPTS];
static unsigned n_paths;
static struct pending pending[MAX_SCRIPTS];
static unsigned n_pending;
static unsigned n_passed, n_failed, n_waiting;

static int compare_fts(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void find_scripts(const char *dir)
{
	char *roots[] = {strdup(dir), NULL};
	FTS *fts = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, compare_fts);

	for (FTSENT *e; fts && (e = fts_read(fts));)
		if (e->fts_info == FTS_F && e->fts_namelen > 4 && strcmp(e->fts_name + e->fts_namelen - 4, ".tcp") == 0 &&
		    n_paths < MAX_SCRIPTS)
			paths[n_paths++] = strdup(e->fts_path);
	if (fts)
		fts_close(fts);
	free(roots[0]);
}

/* Lines: NAME # reason */
static bool read_pending(const char *file)
{
	FILE *f = fopen(file, "r");
	char line[600];

	while (f && fgets(line, sizeof(line), f)) {
		struct pending *p = &pending[n_pending];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (sscanf(line, "%199s # %299[^\n]", p->name, p->reason) != 2 || ++n_pending == MAX_SCRIPTS) {
			fprintf(stderr, "%s: each line is NAME # REASON\n", file);
			fclose(f);
			return false;
		}
	}
	if (f)
		fclose(f);
	return f != NULL;
}

/* Keeps the comments and the lines of scripts that still wait. */
static bool rewrite_pending(const char *file)
{
	FILE *f = fopen(file, "r");
	char *text = NULL;
	char line[600];
	size_t n;
	FILE *out = open_memstream(&text, &n);

	while (f && fgets(line, sizeof(line), f)) {
		bool keep = true;
		char name[200];

		if (line[0] != '#' && sscanf(line, "%199s", name) == 1)
			for (unsigned i = 0; i < n_pending; i++)
				keep &= strcmp(pending[i].name, name) != 0 || !pending[i].passes;
		if (keep)
			fputs(line, out);
	}
	fclose(out);
	if (f)
		fclose(f);
	f = fopen(file, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		return false;
	free(text);
	return true;
}

static struct pending *find_pending(const char *name)
{
	for (unsigned i = 0; i < n_pending; i++)
		if (strcmp(pending[i].name, name) == 0)
			return &pending[i];
	return NULL;
}

static void report(const char *name, const char *verdict, const struct run_result *r)
{
	printf("%s %s\n", verdict, name);
	if (r->why[0])
		printf("     %s (%s)\n", r->why, r->pass);
	if (r->trace)
		fputs(r->trace, stdout);
}

static void judge(const struct options *o, const char *name, const struct run_result *r)
{
	struct pending *p = find_pending(name);

	if (p && !r->ok) {
		n_waiting++;
		if (o->is_verbose)
			report(name, "pend", r);
	} else if (p) {
		p->passes = true;
		n_failed += !o->rewrites;
		printf("%s %s\n     it passes: take it out of %s\n", o->rewrites ? "done" : "FAIL", name, o->pending_file);
	} else if (!r->ok) {
		n_failed++;
		report(name, "FAIL", r);
	} else {
		n_passed++;
		if (o->is_verbose)
			printf("ok   %s\n", name);
	}
}

static void judge_selftest(const char *name, const struct script *s, const struct run_result *r)
{
	if (s->fails && !r->ok && strstr(r->why, s->fails)) {
		n_passed++;
		return;
	}
	n_failed++;
	printf("     must fail with: %s\n", s->fails ? s->fails : "(no '# fails:')");
	report(name, "FAIL", r);
}

static void run_one(const struct options *o, const char *path, const char *base)
{
	char prelude[PATH_MAX], name[PATH_MAX];
	struct run_result r = {.pass = "reading"};
	struct script *s;
	size_t n = strlen(base);

	snprintf(prelude, sizeof(prelude), "%s/prelude", o->root);
	snprintf(name, sizeof(name), "%s", strncmp(path, base, n) == 0 ? path + n + 1 : path);
	name[strlen(name) - strlen(".tcp")] = '\0';
	s = script_read(path, prelude, r.why);
	if (s)
		run_script(s, &r);
	if (o->is_selftest && s)
		judge_selftest(name, s, &r);
	else if (s)
		judge(o, name, &r);
	else {
		n_failed++;
		report(name, "FAIL", &r);
	}
	free(r.trace);
	if (s)
		script_free(s);
}

static bool is_wanted(const struct options *o, const char *path)
{
	for (int i = 0; i < o->n_only; i++)
		if (strstr(path, o->only[i]))
			return true;
	return o->n_only == 0;
}

/* A line of the pending file that names no script hides something. */
static void check_pending_names(const struct options *o, const char *base)
{
	for (unsigned i = 0; i < n_pending; i++) {
		char path[PATH_MAX];
		bool found = false;

		snprintf(path, sizeof(path), "%s/%s.tcp", base, pending[i].name);
		for (unsigned k = 0; k < n_paths; k++)
			found |= strcmp(paths[k], path) == 0;
		if (!found) {
			n_failed++;
			printf("FAIL %s\n     named in %s, but no such script\n", pending[i].name, o->pending_file);
		}
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: conformance [--pending FILE] [--rewrite-pending] [--selftest] [-v] ROOT [PART OF A PATH...]"
			"\n");
	return 2;
}

static bool parse_args(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--pending") == 0 && i + 1 < argc)
			o->pending_file = argv[++i];
		else if (strcmp(argv[i], "--rewrite-pending") == 0)
			o->rewrites = true;
		else if (strcmp(argv[i], "--selftest") == 0)
			o->is_selftest = true;
		else if (strcmp(argv[i], "-v") == 0)
			o->is_verbose = true;
		else if (argv[i][0] == '-')
			return false;
		else if (!o->root)
			o->root = argv[i];
		else if (o->n_only < 64)
			o->only[o->n_only++] = argv[i];
	}
	return o->root && (!o->rewrites || o->pending_file);
}

int main(int argc, char **argv)
{
	struct options o = {0};
	char base[PATH_MAX];

	if (!parse_args(&o, argc, argv))
		return usage();
	if (o.pending_file && !read_pending(o.pending_file))
		return 2;
	test_eal_init();
	snprintf(base, sizeof(base), "%s/%s", o.root, o.is_selftest ? "selftest" : "cases");
	find_scripts(base);
	check_pending_names(&o, base);
	for (unsigned i = 0; i < n_paths; i++)
		if (is_wanted(&o, paths[i]))
			run_one(&o, paths[i], base);
	if (o.rewrites && !rewrite_pending(o.pending_file))
		n_failed++;
	printf("%u passed, %u failed, %u pending\n", n_passed, n_failed, n_waiting);
	return n_failed || n_passed + n_waiting == 0;
}
