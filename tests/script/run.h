/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a script against the stack under test and judges it: every segment
 * that comes out must be expected, at its time, in its order.
 */
#ifndef SCRIPT_RUN_H
#define SCRIPT_RUN_H

#include "script.h"

struct run_result {
	bool ok;
	char why[2 * SEG_TEXT_MAX]; /* "file:line: what": empty if ok */
	const char *pass;	    /* in which it failed */
	char *trace;		    /* every segment of that pass; NULL if ok; the caller frees it */
};

/* Runs all passes of s: IPv4, IPv6, and with sequence numbers and time stamps that wrap. */
void run_script(const struct script *s, struct run_result *out);

#endif
