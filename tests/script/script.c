/* SPDX-License-Identifier: Apache-2.0 */
/* Reads script files, line by line. See script.h. */
#include "script.h"

#include <ctype.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 8
#define FIRST_PORT 40000

struct parser {
	struct script *s;
	const char *prelude_dir;
	char *why;
	unsigned depth;
	const char *file;
	unsigned line;
	uint64_t base_us; /* added to absolute times */
};

static bool fail(struct parser *p, const char *text)
{
	snprintf(p->why, SEG_TEXT_MAX, "%s:%u: %s", p->file, p->line, text);
	return false;
}

static char *skip_space(char *t)
{
	while (isspace((unsigned char)*t))
		t++;
	return t;
}

/* Cuts the first word off *t. NULL at the end. */
static char *next_word(char **t)
{
	char *w = skip_space(*t);

	if (!*w)
		return NULL;
	*t = w + strcspn(w, " \t\r\n");
	if (**t)
		*(*t)++ = '\0';
	return w;
}

bool script_parse_seconds(const char *text, uint64_t *us)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || v < 0 || v > 1e8)
		return false;
	*us = (uint64_t)(v * 1e6 + 0.5);
	return true;
}

/* -- headers */

static bool add_ref(struct parser *p, char *value)
{
	struct script *s = p->s;
	char *rfc = next_word(&value);
	char *section = next_word(&value);

	if (!rfc || !section || s->n_refs == SCRIPT_MAX_REFS)
		return fail(p, "# rfc: NUMBER SECTION");
	s->refs[s->n_refs++] = (struct script_ref){strdup(rfc), strdup(section)};
	return true;
}

static bool add_config(struct parser *p, char *value)
{
	struct script *s = p->s;
	char *w;

	while ((w = next_word(&value))) {
		char *eq = strchr(w, '=');

		if (!eq || s->n_config == SCRIPT_MAX_CONFIG)
			return fail(p, "# config: KEY=VALUE ...");
		*eq = '\0';
		s->config[s->n_config++] = (struct script_pair){strdup(w), strdup(eq + 1)};
	}
	return true;
}

static void set_text(char **to, const char *value)
{
	free(*to);
	*to = strdup(value);
}

/* "# key: value"; any other comment is a comment. */
static bool parse_header(struct parser *p, char *t)
{
	char *colon = strchr(t, ':');
	char *key = skip_space(t + 1);
	char *value;

	if (!colon || p->depth)
		return true;
	*colon = '\0';
	value = skip_space(colon + 1);
	if (strcmp(key, "rfc") == 0)
		return add_ref(p, value);
	if (strcmp(key, "config") == 0)
		return add_config(p, value);
	if (strcmp(key, "title") == 0)
		set_text(&p->s->title, value);
	else if (strcmp(key, "req") == 0)
		set_text(&p->s->req, value);
	else if (strcmp(key, "fails") == 0)
		set_text(&p->s->fails, value);
	return true;
}

/* -- connections */

static int find_conn(struct script *s, const char *name)
{
	for (unsigned i = 0; i < s->n_conns; i++)
		if (strcmp(s->conns[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* A name that was not declared is a port of its own. */
static int want_conn(struct script *s, const char *name)
{
	int i = find_conn(s, name);
	struct script_conn *c;

	if (i >= 0 || s->n_conns == SCRIPT_MAX_CONNS || strlen(name) >= sizeof(c->name))
		return i;
	c = &s->conns[s->n_conns];
	*c = (struct script_conn){.addr = 1, .port = (uint16_t)(FIRST_PORT + s->n_conns), .to_port = 80,
				  .isn = s->n_conns * 1000000};
	strcpy(c->name, name);
	return (int)s->n_conns++;
}

/* peer NAME [port N] [to N] [addr N] [isn N] [ts N] */
static bool parse_peer(struct parser *p, char *t)
{
	char *name = next_word(&t);
	int i = name ? want_conn(p->s, name) : -1;
	char *key;

	if (i < 0)
		return fail(p, "peer NAME ...");
	while ((key = next_word(&t))) {
		struct script_conn *c = &p->s->conns[i];
		char *value = next_word(&t);
		uint32_t v = value ? (uint32_t)strtoll(value, NULL, 0) : 0;

		if (!value)
			return fail(p, "a value is missing");
		if (strcmp(key, "port") == 0)
			c->port = (uint16_t)v;
		else if (strcmp(key, "to") == 0)
			c->to_port = (uint16_t)v;
		else if (strcmp(key, "addr") == 0)
			c->addr = v;
		else if (strcmp(key, "isn") == 0)
			c->isn = v;
		else if (strcmp(key, "ts") == 0)
			c->ts = v;
		else
			return fail(p, "port, to, addr, isn or ts is expected");
	}
	return true;
}

/* -- steps */

static struct script_step *add_step(struct parser *p, const struct script_time *at, const char *text)
{
	struct script *s = p->s;
	struct script_step *st;

	if (s->n_steps == s->max_steps) {
		s->max_steps = s->max_steps ? 2 * s->max_steps : 32;
		s->steps = realloc(s->steps, s->max_steps * sizeof(*s->steps));
		if (!s->steps)
			abort();
	}
	st = &s->steps[s->n_steps++];
	memset(st, 0, sizeof(*st));
	st->file = strdup(p->file);
	st->line = p->line;
	st->at = *at;
	st->text = strdup(text);
	st->text[strcspn(st->text, "\r\n")] = '\0';
	return st;
}

/* TIME, +TIME, TIME~TIME */
static bool parse_time(struct parser *p, char *w, struct script_time *at)
{
	char *range = strchr(w, '~');

	at->is_relative = *w == '+';
	if (range)
		*range++ = '\0';
	if (!script_parse_seconds(w + at->is_relative, &at->from_us))
		return fail(p, "a time in seconds is expected first");
	at->to_us = at->from_us;
	if (range && (!script_parse_seconds(range, &at->to_us) || at->to_us < at->from_us))
		return fail(p, "a range of time is FROM~TO");
	if (!at->is_relative) {
		at->from_us += p->base_us;
		at->to_us += p->base_us;
	}
	return true;
}

/* Takes "@name " off *t; the default is the first connection. */
static bool parse_conn(struct parser *p, char **t, unsigned *conn)
{
	int i = 0;

	*t = skip_space(*t);
	if (**t == '@') {
		char *w = next_word(t);

		i = want_conn(p->s, w + 1);
	}
	if (i < 0)
		return fail(p, "too many connections");
	*conn = (unsigned)i;
	return true;
}

static bool parse_segment(struct parser *p, struct script_step *st, char *t)
{
	const char *why = "?";

	if (!seg_parse(t, st->kind == STEP_INJECT, &st->seg, &why))
		return fail(p, why);
	return true;
}

/* >> FROM:TO each N [rest]: as many segments as it takes; PSH does not matter. */
static bool parse_burst(struct parser *p, const struct script_time *at, unsigned conn, char *t)
{
	long long from, to, each;
	int n = 0;

	if (sscanf(t, " %lld : %lld each %lld %n", &from, &to, &each, &n) != 3 || each <= 0 || to <= from || !n)
		return fail(p, ">> FROM:TO each N [ack N ...]");
	for (long long i = from; i < to; i += each) {
		char text[SEG_TEXT_MAX];
		struct script_time when = *at;
		struct script_step *st;

		snprintf(text, sizeof(text), "p. %lld:%lld %s", i, i + each < to ? i + each : to, t + n);
		if (i > from && at->is_relative)
			when = (struct script_time){.is_relative = true, .to_us = at->to_us - at->from_us};
		st = add_step(p, &when, text);
		st->kind = STEP_EXPECT;
		st->conn = conn;
		if (!parse_segment(p, st, text))
			return false;
	}
	return true;
}

static bool parse_call(struct parser *p, struct script_step *st, char *t)
{
	char *copy = strdup(t);
	char *at = copy;
	char *w;

	st->kind = STEP_CALL;
	while ((w = next_word(&at))) {
		if (w[0] == '@') {
			int i = want_conn(p->s, w + 1);

			st->conn = i < 0 ? 0 : (unsigned)i;
		} else if (st->n_words < SCRIPT_MAX_WORDS) {
			st->words[st->n_words++] = strdup(w);
		}
	}
	free(copy);
	return st->n_words || fail(p, "a step is expected");
}

static bool read_file(struct parser *p, const char *path);

static bool parse_use(struct parser *p, const struct script_time *at, char *t)
{
	char path[PATH_MAX];
	struct parser inner = *p;
	char *name = next_word(&t);

	if (!name || at->is_relative || p->depth == MAX_DEPTH)
		return fail(p, "TIME use NAME");
	snprintf(path, sizeof(path), "%s/%s.tcp", p->prelude_dir, name);
	inner.depth++;
	inner.base_us = at->from_us;
	return read_file(&inner, path);
}

static bool parse_step(struct parser *p, char *t)
{
	struct script_time at;
	struct script_step *st;
	char *w = next_word(&t);
	unsigned conn = 0;
	char *text;

	if (!parse_time(p, w, &at))
		return false;
	t[strcspn(t, "#")] = '\0';
	text = t = skip_space(t);
	if (strncmp(t, "use ", 4) == 0)
		return parse_use(p, &at, t + 4);
	if (*t != '<' && *t != '>')
		return parse_call(p, add_step(p, &at, text), t);
	if (strncmp(t, ">>", 2) == 0) {
		t += 2;
		return parse_conn(p, &t, &conn) && parse_burst(p, &at, conn, t);
	}
	st = add_step(p, &at, text);
	st->kind = *t++ == '<' ? STEP_INJECT : STEP_EXPECT;
	st->is_optional = st->kind == STEP_EXPECT && *t == '?';
	st->is_burst = st->kind == STEP_INJECT && *t == '&';
	t += st->is_optional || st->is_burst;
	return parse_conn(p, &t, &st->conn) && parse_segment(p, st, t);
}

static bool parse_line(struct parser *p, char *t)
{
	t[strcspn(t, "\r\n")] = '\0';
	t = skip_space(t);
	if (!*t)
		return true;
	if (*t == '#')
		return parse_header(p, t);
	if (strncmp(t, "peer ", 5) == 0)
		return parse_peer(p, t + 5);
	return parse_step(p, t);
}

static bool read_file(struct parser *p, const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;
	bool ok = true;

	if (!f)
		return fail(p, "a file cannot be read");
	p->file = path;
	p->line = 0;
	while (ok && getline(&line, &size, f) >= 0) {
		p->line++;
		ok = parse_line(p, line);
	}
	free(line);
	fclose(f);
	return ok;
}

struct script *script_read(const char *path, const char *prelude_dir, char *why)
{
	struct script *s = calloc(1, sizeof(*s));
	struct parser p = {.s = s, .prelude_dir = prelude_dir, .why = why, .file = path};

	if (!s)
		abort();
	s->path = strdup(path);
	want_conn(s, "a");
	if (!read_file(&p, path) || ((!s->n_refs || !s->title) && !fail(&p, "# rfc: and # title: are missing")) ||
	    (!s->n_steps && !fail(&p, "no step"))) {
		script_free(s);
		return NULL;
	}
	return s;
}

const char *script_config(const struct script *s, const char *key)
{
	for (unsigned i = 0; i < s->n_config; i++)
		if (strcmp(s->config[i].key, key) == 0)
			return s->config[i].value;
	return NULL;
}

void script_free(struct script *s)
{
	for (size_t i = 0; i < s->n_steps; i++) {
		for (unsigned k = 0; k < s->steps[i].n_words; k++)
			free(s->steps[i].words[k]);
		free(s->steps[i].file);
		free(s->steps[i].text);
	}
	for (unsigned i = 0; i < s->n_refs; i++) {
		free(s->refs[i].rfc);
		free(s->refs[i].section);
	}
	for (unsigned i = 0; i < s->n_config; i++) {
		free(s->config[i].key);
		free(s->config[i].value);
	}
	free(s->steps);
	free(s->path);
	free(s->title);
	free(s->req);
	free(s->fails);
	free(s);
}
