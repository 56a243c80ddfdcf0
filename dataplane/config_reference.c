/* SPDX-License-Identifier: Apache-2.0 */
/* docs/weir.yaml.md, written from the table that the parser uses. */
#include "config_pvt.h"

static void write_expect(FILE *out, const struct key *k)
{
	switch (k->type) {
	case KEY_U16:
	case KEY_U32:
	case KEY_INT:
		fprintf(out, "a number from %llu to %llu", (unsigned long long)k->min, (unsigned long long)k->max);
		break;
	case KEY_BOOL:
		fputs("`true` or `false`", out);
		break;
	case KEY_TEXT:
		fprintf(out, "a text of at most %llu bytes", (unsigned long long)k->max - 1);
		break;
	case KEY_LIST:
		fputs("a list of mappings, see below", out);
		break;
	case KEY_SECTION:
		fputs("a mapping, see below", out);
		break;
	case KEY_CUSTOM:
		fputs(k->expect, out);
		break;
	}
}

static void write_keys(FILE *out, const struct key *keys, const char *path)
{
	fputs("| key | value | default | meaning |\n| --- | --- | --- | --- |\n", out);
	for (const struct key *k = keys; k->name; k++) {
		fprintf(out, "| `%s` | ", k->name);
		write_expect(out, k);
		fprintf(out, " | %s | %s |\n", k->def ? k->def : "", k->help);
	}
	for (const struct key *k = keys; k->name; k++) {
		char sub[128];

		if (!k->keys)
			continue;
		snprintf(sub, sizeof(sub), "%s%s%s", path, k->name, k->type == KEY_LIST ? "[]." : ".");
		fprintf(out, "\n## %s%s%s\n\n%s\n\n", path, k->name, k->type == KEY_LIST ? "[]" : "", k->help);
		write_keys(out, k->keys, sub);
	}
}

void config_write_reference(FILE *out)
{
	fputs("# weir.yaml\n\n"
	      "The configuration of weir-dataplane. Written by `weir-dataplane --print-reference` from the table that the\n"
	      "parser itself uses; a test keeps this page and the program alike.\n\n"
	      "An unknown key or a wrong value is reported as `file:line:column: key: what was expected`, all of them at\n"
	      "once, and the program ends with status 2 before it has touched a port. `weir-dataplane -c FILE --check` only checks.\n\n"
	      "## Top level\n\n",
	      out);
	write_keys(out, config_keys, "");
}
