/* SPDX-License-Identifier: Apache-2.0 */
/* What the golden tests share: reading files into a store, and a model as text. */
#ifndef GOLDEN_DUMP_H
#define GOLDEN_DUMP_H

#include <stdio.h>

#include "translate/translate.h"

/* The whole file with NUL; ends the process on an error. */
char *read_all(const char *path, size_t *n);
void load(struct store *s, const char *path, const char *as);
void translate_all(const struct store *s, struct model *m);
/* What the lines "# name: ..." of a text say is known of names; NULL: there are none, and no ExternalName is taken. */
struct known_names *read_names(const char *text);
/* As translate_all(), with ExternalNames if names is not NULL, and by nodePorts if the text has the line "# node-ports". */
void translate_with(const struct store *s, const char *text, const struct known_names *names, struct model *m);
/* Server names of TLS, and for each certificate its Secret and its kind of key. */
void dump_names(FILE *out, const struct model *m);
/* Matches of objects in one namespace (NULL: all), with all that they lead to, one line each. */
void dump_matches(FILE *out, const struct model *m, const char *ns);
void dump_problems(FILE *out, const struct store *s, const struct model *m);

#endif
