/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of weir-blast. */
#ifndef BLAST_MAIN_H
#define BLAST_MAIN_H

#include "blast.h"

struct command_line {
	struct options o;
	bool is_interactive;
	char connect[64], load[512]; /* phases of the short form; empty: not used */
	char **phases;		     /* ends with NULL */
};

/* -1: go on. Else the exit status. */
int options_parse(int argc, char **argv, struct command_line *c);

#endif
