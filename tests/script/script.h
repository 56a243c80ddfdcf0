/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A script: what is sent to the stack under test, what is asked of it as a
 * user of it would, and what must come out, each at its time. One file, one
 * script; docs/tcp-scripts.md tells the language.
 *
 * This is the model alone: who runs it (run.c, diff.c) is not known here.
 */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "seg.h"

#define SCRIPT_MAX_CONNS 32
#define SCRIPT_MAX_WORDS 16
#define SCRIPT_MAX_REFS 4
#define SCRIPT_MAX_CONFIG 32

/* When: absolute, or counted from when the step before took place. from_us == to_us unless a range is written. */
struct script_time {
	bool is_relative;
	uint64_t from_us, to_us;
};

enum script_step_kind {
	STEP_INJECT, /* the peer sends seg */
	STEP_EXPECT, /* the stack sends seg */
	STEP_CALL,   /* words */
};

struct script_step {
	char *file; /* where it is written */
	unsigned line;
	char *text; /* without its time */
	struct script_time at;
	enum script_step_kind kind;
	unsigned conn;
	bool is_optional; /* of EXPECT: it may as well not come */
	bool is_burst;	  /* of INJECT: the stack sees the next one before it sends anything */
	struct seg_spec seg;
	char *words[SCRIPT_MAX_WORDS]; /* of CALL; a connection's name is taken out */
	unsigned n_words;
};

/* One side's view of the tuple: peer's address and port, the port of the stack under test (0: it chooses). */
struct script_conn {
	char name[16];
	unsigned addr; /* number of the peer's address */
	uint16_t port;
	uint16_t to_port;
	uint32_t isn; /* of the peer, from a base that the run chooses */
	uint32_t ts;  /* likewise its time stamps */
};

struct script_ref {
	char *rfc, *section;
};

struct script_pair {
	char *key, *value;
};

struct script {
	char *path;
	struct script_ref refs[SCRIPT_MAX_REFS];
	unsigned n_refs;
	char *title;
	char *req;   /* label of the requirement in the RFC (MUST-5), or NULL */
	char *fails; /* self-test: the words of the failure that must come, or NULL */
	struct script_pair config[SCRIPT_MAX_CONFIG];
	unsigned n_config;
	struct script_conn conns[SCRIPT_MAX_CONNS];
	unsigned n_conns;
	struct script_step *steps;
	size_t n_steps, max_steps;
};

/*
 * Reads a file; prelude_dir holds what `use` brings in. NULL with why
 * ("file:line: text", SEG_TEXT_MAX bytes) if it is malformed. script_free()
 * ends what it returned.
 */
struct script *script_read(const char *path, const char *prelude_dir, char *why);
void script_free(struct script *s);
/* The value of a key of the config lines, or NULL. */
const char *script_config(const struct script *s, const char *key);

/* Reads seconds ("0.25") to microseconds. */
bool script_parse_seconds(const char *text, uint64_t *us);

#endif
