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

static void add_prefix(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct config *c = arg;
	const char *text = parse_scalar(n);
	const char *slash = text ? strchr(text, '/') : NULL;
	struct ip_prefix prefix;
	uint64_t len;

	if (!slash || ip_parse(text, (size_t)(slash - text), &prefix.ip) != 0 ||
	    !parse_number(slash + 1, 0, ip_is4(&prefix.ip) ? 32 : 128, &len)) {
		parse_error(p, n, "%s: expected a prefix, such as 10.0.0.0/8 or 2001:db8::/32", k->name);
		return;
	}
	if (c->n_trusted_prefixes == CONFIG_MAX_TRUSTED) {
		parse_error(p, n, "%s: more than %u prefixes", k->name, CONFIG_MAX_TRUSTED);
		return;
	}
	prefix.len = (uint8_t)len;
	c->trusted_prefixes[c->n_trusted_prefixes++] = prefix;
}

static void set_prefixes(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, section, add_prefix);
}

const struct key config_forwarding_keys[] = {
	{.name = "via", .type = KEY_CUSTOM, .set = set_via, .def = VIA_DEFAULT,
	 .expect = "a word, with a port or without, of at most 63 bytes; or an empty text",
	 .help = "What Weir calls itself in `Via` towards backends (RFC 9110 7.6.3). Empty: no `Via` is written."},
	{.name = "forwarded", .type = KEY_BOOL, .offset = offsetof(struct config, add_forwarded), .def = "false",
	 .help = "Write an element of `Forwarded` (RFC 7239) beside `X-Forwarded-*`."},
	{.name = "trusted_hops", .type = KEY_U32, .offset = offsetof(struct config, trusted_hops), .min = 0, .max = 32, .def = "0",
	 .help = "Number of proxies of yours that each request passes before it comes here. 0: nothing that a client says of its way is "
		 "believed (`X-Forwarded-*`, `Forwarded`, `Client-Cert` and `Client-Cert-Chain` are dropped), but see `trusted_prefixes`. "
		 "N: these fields are kept, and the client is the N-th address of `X-Forwarded-For` from the right; the leftmost, if there "
		 "are fewer. What is malformed is not believed, and counted."},
	{.name = "trusted_prefixes", .type = KEY_CUSTOM, .set = set_prefixes, .def = "[]", .expect = "a list of prefixes",
	 .help = "Prefixes of the addresses of your proxies. If there are any, only connections from within them are believed; and if "
		 "`trusted_hops` is 0, the client is the first address of `X-Forwarded-For` from the right that is in none of them."},
	{0},
};
