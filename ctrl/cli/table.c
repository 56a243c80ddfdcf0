/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned tables: see render_pvt.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/render_pvt.h"

void cell(struct table *t, const char *fmt, ...)
{
	char *text = NULL;
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (t->n_cells == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cells = realloc(t->cells, t->cap * sizeof(*t->cells));
		if (!t->cells)
			abort();
	}
	len = strlen(text);
	if (len > t->width[t->n_cells % t->n_columns])
		t->width[t->n_cells % t->n_columns] = len;
	t->cells[t->n_cells++] = text;
}

void table_print(FILE *f, struct table *t)
{
	for (size_t i = 0; i < t->n_cells; i++) {
		unsigned c = (unsigned)(i % t->n_columns);

		if (c + 1 == t->n_columns)
			fprintf(f, "%s\n", t->cells[i]);
		else
			fprintf(f, "%-*s  ", (int)t->width[c], t->cells[i]);
		free(t->cells[i]);
	}
	free(t->cells);
}
