/* SPDX-License-Identifier: Apache-2.0 */
/* The section forwarding of weir.yaml. */
#include <stddef.h>
#include <string.h>

#include "config_pvt.h"

#define VIA_DEFAULT "weir"

void config_forwarding_init(struct config *c)
{
	strcpy(c->via, VIA_DEFAULT);
}

/* A token, and a port if there is one (RFC 9110 7.6.3). */
static bool is_received_by(const char *s)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t n = strspn(s, token);
	uint64_t port;

	return n && (s[n] == '\0' || (s[n] == ':' && parse_number(s + n + 1, 1, 65535, &port)));
}

static void set_via(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config *c = section;
	const char *text = parse_scalar(n);

	if (!text || strlen(text) >= sizeof(c->via) || (*text && !is_received_by(text))) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
		return;
	}
	strcpy(c->via, text);
}

const struct key config_forwarding_keys[] = {
	{.name = "via", .type = KEY_CUSTOM, .set = set_via, .def = VIA_DEFAULT,
	 .expect = "a word, with a port or without, of at most 63 bytes; or an empty text",
	 .help = "What Weir calls itself in `Via` towards backends (RFC 9110 7.6.3). Empty: no `Via` is written."},
	{0},
};
