/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays a script's injections and calls on a stack, without judging, and
 * writes down what came of each: in words that are the same for any two
 * stacks that mean the same. What depends on timers alone (delayed ACKs,
 * retransmissions, window updates) is left out; a probe at the end asks for
 * the numbers at which the connection stands.
 */
#ifndef SCRIPT_PLAY_H
#define SCRIPT_PLAY_H

#include "player.h"
#include "script.h"

#define PLAY_MAX_LINES 256
#define PLAY_LINE_MAX 320

/* A script, or a mutation of one. */
struct play_case {
	const struct script *script;
	struct script_step *steps; /* copies; their strings are the script's */
	size_t n_steps;
	char what[PLAY_LINE_MAX]; /* how it was changed */
};

struct play_line {
	char step[PLAY_LINE_MAX]; /* what was done */
	char came[PLAY_LINE_MAX]; /* what came of it */
	const char *state;	  /* of the connection before it; "" if the player does not say */
	bool is_malformed;	  /* header or options of what was sent */
	bool lacks_ts;		  /* that were agreed on */
	bool is_old_ack;	  /* acknowledges less than our SYN */
	bool is_below;		  /* begins before what was sent in order so far */
	bool shrinks_window;	  /* offers less than an earlier one */
	bool is_next;		  /* brings what comes next: its ACK may be delayed */
};

struct play_record {
	struct play_line lines[PLAY_MAX_LINES];
	size_t n;
};

/* number: see struct player. False with why: the stack does not take the script. */
bool play(const struct play_case *c, const struct player *player, unsigned number, struct play_record *out, char *why);

/* mutate.c: a changed copy of a script's steps; the same seed gives the same. play_case_free() ends it. */
struct play_case mutate(const struct script *s, uint64_t seed);
/* The script as it is. */
struct play_case play_unchanged(const struct script *s);
void play_case_free(struct play_case *c);

#endif
