/* SPDX-License-Identifier: Apache-2.0 */
/* What weirctl's files share. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

/* Gets "path" from the admin server at ADDR:PORT as JSON. NULL after saying why on stderr. */
json_t *fetch_json(const char *admin, const char *path);
/* text as a query value; malloc'd. */
char *fetch_escape(const char *text);

/* Text for people, from the API's JSON. */
void render_status(FILE *f, const json_t *o);
void render_routes(FILE *f, const json_t *list);
void render_backends(FILE *f, const json_t *list);
void render_stats(FILE *f, const json_t *o);
void render_drops(FILE *f, const json_t *list);
void render_explain(FILE *f, const json_t *o);

/* weirctl check: 0 nothing fatal, 1 something is, 2 a file cannot be read. */
int check_files(char **paths, int n, bool as_json);

#endif
