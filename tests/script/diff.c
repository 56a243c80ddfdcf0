/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff [--mutants N] [--seed N] [-v] ROOT [PART OF A PATH...]
 *
 * Plays the scripts of ROOT/cases, each as it is and N times mutated, on
 * Weir's TCP and on the kernel's, and compares what came of every step. A
 * difference must be explained by a line of ROOT/linux-differences.txt, and
 * each line there must explain one. Exit status 77: no TUN device here.
 */
#include <fts.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eal.h"
#include "play.h"

#define MAX_REASONS 256
#define MAX_TOLD 40 /* unexplained differences that are printed in full */
#define SKIPPED 77
#define DIFFERENCE_MAX (4 * PLAY_LINE_MAX)
#define MAX_TRIES 8
#define PAUSE_US 20000
#define MAX_NUMBERS 130000 /* of a peer's addresses */
#define FULL_MUTANTS 50 /* with so many every reason is seen */

struct reason {
	char text[500];
	regex_t pattern;
	unsigned n;
};

static struct reason reasons[MAX_REASONS];
static unsigned n_reasons;
static unsigned n_runs, n_alike, n_explained, n_unexplained, n_scripts, n_left_out;
static unsigned n_mutants = FULL_MUTANTS;
static uint64_t seed = 1;
static bool is_verbose;

/* Lines: EXTENDED REGULAR EXPRESSION # reason */
static bool read_reasons(const char *root)
{
	char path[PATH_MAX], line[800];
	FILE *f;

	snprintf(path, sizeof(path), "%s/linux-differences.txt", root);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *hash = strstr(line, " # ");
		struct reason *r = &reasons[n_reasons];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (!hash || n_reasons == MAX_REASONS) {
			fprintf(stderr, "%s: each line is PATTERN # REASON: %s", path, line);
			fclose(f);
			return false;
		}
		*hash = '\0';
		snprintf(r->text, sizeof(r->text), "%s", line);
		if (regcomp(&r->pattern, line, REG_EXTENDED | REG_NOSUB) != 0) {
			fprintf(stderr, "%s: not a pattern: %s\n", path, line);
			fclose(f);
			return false;
		}
		n_reasons++;
	}
	if (f)
		fclose(f);
	return f != NULL;
}

static struct reason *explain(const char *difference)
{
	for (unsigned i = 0; i < n_reasons; i++)
		if (regexec(&reasons[i].pattern, difference, 0, NULL, 0) == 0)
			return &reasons[i];
	return NULL;
}

/* -- one run */

static void print_records(const struct play_record *a, const struct play_record *b, size_t last)
{
	for (size_t i = 0; i <= last && i < a->n; i++) {
		printf("       %-60s %s\n", a->lines[i].step, a->lines[i].came);
		if (strcmp(a->lines[i].came, b->lines[i].came) != 0)
			printf("       %-60s %s\n", "   linux", b->lines[i].came);
	}
}

/* What a pattern is held against. What was wrong with an earlier segment may show late. */
static void name_difference(const char *name, const struct play_record *weir, const struct play_record *linux_, size_t at,
			    char *text, size_t size)
{
	const struct play_line *l = &weir->lines[at];
	bool is_malformed = false, lacks_ts = false, is_old_ack = false, shrinks_window = false;

	for (size_t i = 0; i <= at; i++) {
		is_malformed |= weir->lines[i].is_malformed;
		lacks_ts |= weir->lines[i].lacks_ts;
		is_old_ack |= weir->lines[i].is_old_ack;
		shrinks_window |= weir->lines[i].shrinks_window;
	}
	snprintf(text, size, "%s: %s%s%s%s%s%s: %s | weir: %s| linux: %s", name, l->state, l->is_below ? " below" : "",
		 is_malformed ? " after-malformed" : "", lacks_ts ? " after-no-TS" : "", is_old_ack ? " after-old-ack" : "",
		 shrinks_window ? " after-less-window" : "",
		 l->step, l->came, linux_->lines[at].came);
}

/* The first line that differs; weir->n if none does. */
static size_t find_difference(const struct play_record *weir, const struct play_record *linux_)
{
	size_t i = 0;

	while (i < weir->n && strcmp(weir->lines[i].came, linux_->lines[i].came) == 0)
		i++;
	return i;
}

/* Alike, or different for a reason that is known. */
static bool is_settled(const char *name, unsigned mutant, const struct play_record *weir, const struct play_record *linux_)
{
	size_t i = find_difference(weir, linux_);
	char text[DIFFERENCE_MAX];
	struct reason *r;

	if (i == weir->n) {
		n_alike++;
		return true;
	}
	name_difference(name, weir, linux_, i, text, sizeof(text));
	r = explain(text);
	if (!r)
		return false;
	r->n++;
	n_explained++;
	if (is_verbose)
		printf("same %s #%u: %s\n     explained by %s\n", name, mutant, text, r->text);
	return true;
}

static void tell_unexplained(const char *name, const struct play_case *c, unsigned mutant, const struct play_record *weir,
			     const struct play_record *linux_)
{
	size_t i = find_difference(weir, linux_);
	char text[DIFFERENCE_MAX];

	if (n_unexplained++ >= MAX_TOLD)
		return;
	name_difference(name, weir, linux_, i, text, sizeof(text));
	printf("FAIL %s #%u: %s\n     %s\n", name, mutant, c->what, text);
	print_records(weir, linux_, i);
}

/* The kernel's clock runs: what it does late on a busy machine is no difference, and does not come every time. */
static void run_case(const char *name, const struct play_case *c, unsigned mutant)
{
	static struct play_record weir, linux_;
	static unsigned number;
	char why[SEG_TEXT_MAX];

	n_runs++;
	if (!play(c, &player_weir, 0, &weir, why)) {
		printf("FAIL %s #%u: %s\n", name, mutant, why);
		n_unexplained++;
		return;
	}
	for (unsigned k = 0; k < MAX_TRIES; k++) {
		if (!play(c, &player_linux, number++ % MAX_NUMBERS, &linux_, why) || is_settled(name, mutant, &weir, &linux_))
			return;
		usleep(PAUSE_US);
	}
	tell_unexplained(name, c, mutant, &weir, &linux_);
}

/* Scripts whose point is a setting that the kernel's stack has not, or that run for long, are left out. */
static bool is_comparable(const struct script *s)
{
	static const char *const settings[] = {"rx_buffer", "mtu", "n_syn",  "n_connections", "port_lo", "tso_max", "cookies",
						"n_time_wait", "listener_connections", "listener_accepts_per_s", "prefix_connections", "rst_per_s"};
	const char *family = script_config(s, "family");

	if (family && strcmp(family, "6") == 0)
		return false;
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		if (script_config(s, settings[i]))
			return false;
	for (size_t i = 0; i < s->n_steps; i++) {
		const struct script_step *st = &s->steps[i];

		if (st->kind == STEP_CALL && (strcmp(st->words[0], "auto") == 0 || strcmp(st->words[0], "drain") == 0 ||
					      (st->n_words > 2 && strcmp(st->words[2], "refuse") == 0)))
			return false;
	}
	return true;
}

static void run_script(const char *path, const char *name, const char *prelude)
{
	char why[SEG_TEXT_MAX];
	struct script *s = script_read(path, prelude, why);
	uint64_t h = PLAYER_HASH_BEGIN + seed;
	struct play_case c;

	if (!s) {
		printf("FAIL %s\n", why);
		n_unexplained++;
		return;
	}
	if (!is_comparable(s)) {
		n_left_out++;
		script_free(s);
		return;
	}
	n_scripts++;
	c = play_unchanged(s);
	run_case(name, &c, 0);
	play_case_free(&c);
	h = player_hash(h, (const uint8_t *)name, strlen(name)); /* a new script changes no other's mutants */
	for (unsigned i = 1; i <= n_mutants; i++) {
		c = mutate(s, h + i * 0x10001);
		run_case(name, &c, i);
		play_case_free(&c);
	}
	script_free(s);
}

static int compare_fts(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool is_wanted(const char *path, char **only, int n_only)
{
	for (int i = 0; i < n_only; i++)
		if (strstr(path, only[i]))
			return true;
	return n_only == 0;
}

static void run_all(const char *root, char **only, int n_only)
{
	char cases[PATH_MAX], prelude[PATH_MAX];
	char *roots[] = {cases, NULL};
	FTS *fts;

	snprintf(cases, sizeof(cases), "%s/cases", root);
	snprintf(prelude, sizeof(prelude), "%s/prelude", root);
	fts = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, compare_fts);
	for (FTSENT *e; fts && (e = fts_read(fts));) {
		char name[PATH_MAX];

		if (e->fts_info != FTS_F || e->fts_namelen < 5 || strcmp(e->fts_name + e->fts_namelen - 4, ".tcp") != 0 ||
		    !is_wanted(e->fts_path, only, n_only))
			continue;
		snprintf(name, sizeof(name), "%s", e->fts_path + strlen(cases) + 1);
		name[strlen(name) - 4] = '\0';
		run_script(e->fts_path, name, prelude);
	}
	if (fts)
		fts_close(fts);
}

/* A line that explains nothing any more would hide the next difference. */
static void check_reasons(void)
{
	for (unsigned i = 0; i < n_reasons; i++)
		if (reasons[i].n == 0) {
			printf("FAIL linux-differences.txt: explains nothing: %s\n", reasons[i].text);
			n_unexplained++;
		}
}

int main(int argc, char **argv)
{
	const char *root = NULL;
	char why[SEG_TEXT_MAX];
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++)
		if (strcmp(argv[at], "--mutants") == 0 && at + 1 < argc)
			n_mutants = (unsigned)atoi(argv[++at]);
		else if (strcmp(argv[at], "--seed") == 0 && at + 1 < argc)
			seed = strtoull(argv[++at], NULL, 0);
		else if (strcmp(argv[at], "-v") == 0)
			is_verbose = true;
	root = at < argc ? argv[at++] : NULL;
	if (!root) {
		fprintf(stderr, "usage: diff [--mutants N] [--seed N] [-v] ROOT [PART OF A PATH...]\n");
		return 2;
	}
	if (!read_reasons(root))
		return 2;
	if (geteuid() != 0 || !player_linux_begin(why)) {
		printf("skipped: %s\n", geteuid() ? "needs root" : why);
		return SKIPPED;
	}
	test_eal_init();
	run_all(root, argv + at, argc - at);
	if (at == argc && seed == 1 && n_mutants >= FULL_MUTANTS)
		check_reasons();
	printf("%u scripts (%u left out), %u runs: %u alike, %u explained, %u unexplained\n", n_scripts, n_left_out, n_runs,
	       n_alike, n_explained, n_unexplained);
	return n_unexplained || n_runs == 0;
}
