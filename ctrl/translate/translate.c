/* SPDX-License-Identifier: Apache-2.0 */
/* The translation of everything, at once and from nothing; and what all that is read has need of. */
#include "translate/translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

#define MAX_PATH 4096u

void *translate_must(void *p)
{
	if (!p) {
		perror("weir: memory for the model");
		abort();
	}
	return p;
}

void *translate_grow(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 4;
	return translate_must(realloc(p, *cap * size));
}

struct age object_age(const struct kube_object *o)
{
	return (struct age){o->created_s, o->ns, o->name};
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 3986 3.3: pchar, and '/'. */
static bool is_path_text(const char *p)
{
	for (; *p; p++) {
		if (*p == '%') {
			if (!is_hex(p[1]) || !is_hex(p[2]))
				return false;
		} else if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
			   !strchr("-._~!$&'()*+,;=:@/", *p)) {
			return false;
		}
	}
	return true;
}

static bool has_suffix(const char *s, size_t n, const char *suffix)
{
	return n >= strlen(suffix) && strcmp(s + n - strlen(suffix), suffix) == 0;
}

bool is_path(const char *path)
{
	static const char *const refused[] = {"//", "/./", "/../", "%2f", "%2F", "%00"};
	size_t n = strnlen(path, MAX_PATH + 1);

	if (path[0] != '/' || n > MAX_PATH || !is_path_text(path))
		return false;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (strstr(path, refused[i]))
			return false;
	return !has_suffix(path, n, "/.") && !has_suffix(path, n, "/..");
}

bool is_target_path(const char *path)
{
	return path[0] == '/' && is_path_text(path);
}

const char *model_path(struct translation *t, uint8_t kind, const char *path)
{
	size_t n = strlen(path);

	while (kind == WEIR_PATH_PREFIX && n > 1 && path[n - 1] == '/')
		n--;
	return model_strn(t->m, path, n);
}

void translate(const struct store *s, const struct translate_options *options, struct model *m)
{
	struct translator *tr = translator_create(s, options);
	struct translator_changes changes;

	translator_run(tr, NULL, 0, &changes);
	compose_give(tr, m);
	translator_destroy(tr);
}
