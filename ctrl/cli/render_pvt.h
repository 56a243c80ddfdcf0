/* SPDX-License-Identifier: Apache-2.0 */
/* What weirctl's files share that write text for people. */
#ifndef CLI_RENDER_PVT_H
#define CLI_RENDER_PVT_H

#include "cli/cli.h"

#define MAX_COLUMNS 16

/* Cells are collected row by row, then printed with the widths that they need. Zeroed but for n_columns it is empty. */
struct table {
	unsigned n_columns;
	size_t n_cells, cap;
	char **cells;
	size_t width[MAX_COLUMNS];
};

/* table.c: the next cell. Without memory the process ends. */
void cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints it and frees its cells. */
void table_print(FILE *f, struct table *t);

/* render.c: what a rule has, for one cell; "" or "-" for nothing. */
void put_conditions(char *out, size_t cap, const json_t *rule);
void put_targets(char *out, size_t cap, const json_t *rule);
void put_filters(char *out, size_t cap, const json_t *filters);
void put_limits(char *out, size_t cap, json_t *limits);
/* The TLS that is spoken to a backend; "": none. */
void put_tls(char *out, size_t cap, const json_t *tls);
const char *endpoint_state(const json_t *endpoint);

/* Of a member that is not there, or another type: "", 0, false. */
static inline const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static inline long long num(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static inline bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

#endif
