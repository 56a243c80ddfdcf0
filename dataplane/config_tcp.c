/* SPDX-License-Identifier: Apache-2.0 */
/* The section `tcp` of weir.yaml: congestion control by listener and by backend, ECN. */
#include <stddef.h>
#include <string.h>

#include "base/hash.h"
#include "config_pvt.h"

#define CC_EXPECT "cubic, newreno or bbr"

static bool read_cc(struct parse *p, const struct key *k, const yaml_node_t *n, enum tcp_cc_kind *out)
{
	static const char *const names[] = {
#define X(name, str) [TCP_CC_##name] = str,
		TCP_CC_KINDS(X)
#undef X
	};
	const char *text = parse_scalar(n);

	for (unsigned i = 1; text && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum tcp_cc_kind)i;
			return true;
		}
	parse_error(p, n, "%s: expected " CC_EXPECT, k->name);
	return false;
}

static void set_cc(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	read_cc(p, k, n, (enum tcp_cc_kind *)(void *)((char *)section + k->offset));
}

static struct config_cc *add(struct parse *p, const yaml_node_t *n, struct config_cc *list, const yaml_node_t **at,
			     unsigned *count)
{
	if (*count == CONFIG_MAX_CC) {
		parse_error(p, n, "more than %u entries", CONFIG_MAX_CC);
		return NULL;
	}
	at[*count] = n;
	return &list[(*count)++];
}

static void *begin_listener(struct parse *p, void *section, const yaml_node_t *n)
{
	struct config *c = section;

	return add(p, n, c->listener_cc, p->listener_cc_at, &c->n_listener_cc);
}

static void *begin_backend(struct parse *p, void *section, const yaml_node_t *n)
{
	struct config *c = section;

	return add(p, n, c->backend_cc, p->backend_cc_at, &c->n_backend_cc);
}

static void set_address(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config_cc *e = section;
	const char *text = parse_scalar(n);

	if (!text || ip_parse(text, strlen(text), &e->addr) != 0)
		parse_error(p, n, "%s: expected an IPv4 or IPv6 address", k->name);
}

static void set_backend(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config_cc *e = section;
	const char *text = parse_scalar(n);
	const char *slash = text ? strchr(text, '/') : NULL;

	if (!slash || slash == text || !strchr(slash, ':')) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
		e->backend = 1; /* not missing, too */
		return;
	}
	e->backend = hash_backend(text);
}

#define CC_KEY(owner, field, text, words) \
	{.name = "congestion_control", .type = KEY_CUSTOM, .offset = offsetof(owner, field), .set = set_cc, .def = text, \
	 .expect = CC_EXPECT, .help = words}

static const struct key listener_keys[] = {
	{.name = "port", .type = KEY_U16, .offset = offsetof(struct config_cc, port), .min = 1, .max = 65535,
	 .help = "Port of the listener. Required."},
	{.name = "address", .type = KEY_CUSTOM, .set = set_address, .def = "any", .expect = "an IPv4 or IPv6 address",
	 .help = "Address of the listener."},
	CC_KEY(struct config_cc, cc, NULL, "For connections of clients to this listener. Required."),
	{0},
};

static const struct key backend_keys[] = {
	{.name = "name", .type = KEY_CUSTOM, .set = set_backend, .expect = "namespace/service:port",
	 .help = "The backend, as `weirctl backends` shows it. Required."},
	CC_KEY(struct config_cc, cc, NULL, "For connections to this backend. Required."),
	{0},
};

const struct key config_tcp_keys[] = {
	CC_KEY(struct config, cc, "cubic",
	       "For connections of clients: CUBIC (RFC 9438), NewReno (RFC 5681, 6582) or BBR (draft-ietf-ccwg-bbr)."),
	{.name = "upstream_congestion_control", .type = KEY_CUSTOM, .offset = offsetof(struct config, upstream_cc), .set = set_cc,
	 .def = "cubic", .expect = CC_EXPECT, .help = "For connections to backends."},
	{.name = "bbr_connections", .type = KEY_U32, .offset = offsetof(struct config, n_bbr), .min = 0, .max = 8388608,
	 .def = "0", .help = "Connections of a worker that BBR can carry at one time; further ones get CUBIC, counted. "
			     "0: as many as there are, if BBR is chosen anywhere."},
	{.name = "ecn", .type = KEY_BOOL, .offset = offsetof(struct config, ecn), .def = "true",
	 .help = "Explicit congestion notification (RFC 3168): offered to backends, accepted from clients."},
	{.name = "pacing", .type = KEY_BOOL, .offset = offsetof(struct config, pacing), .def = "true",
	 .help = "Spread segments over the round trip, where that is a millisecond or more, instead of sending them in bursts. "
		 "BBR always does."},
	{.name = "listeners", .type = KEY_LIST, .keys = listener_keys, .begin = begin_listener,
	 .help = "Listeners with a congestion control of their own."},
	{.name = "backends", .type = KEY_LIST, .keys = backend_keys, .begin = begin_backend,
	 .help = "Backends with a congestion control of their own."},
	{0},
};

void config_check_tcp(struct parse *p)
{
	const struct config *c = p->out;

	for (unsigned i = 0; i < c->n_listener_cc; i++)
		if (!c->listener_cc[i].port || !c->listener_cc[i].cc)
			parse_error(p, p->listener_cc_at[i], "tcp.listeners: expected port and congestion_control");
	for (unsigned i = 0; i < c->n_backend_cc; i++)
		if (!c->backend_cc[i].backend || !c->backend_cc[i].cc)
			parse_error(p, p->backend_cc_at[i], "tcp.backends: expected name and congestion_control");
}

static bool uses_bbr(const struct config *c)
{
	bool uses = c->cc == TCP_CC_BBR || c->upstream_cc == TCP_CC_BBR;

	for (unsigned i = 0; i < c->n_listener_cc; i++)
		uses |= c->listener_cc[i].cc == TCP_CC_BBR;
	for (unsigned i = 0; i < c->n_backend_cc; i++)
		uses |= c->backend_cc[i].cc == TCP_CC_BBR;
	return uses;
}

uint32_t config_n_bbr(const struct config *c)
{
	return c->n_bbr ? c->n_bbr : uses_bbr(c) ? c->n_connections : 0;
}
