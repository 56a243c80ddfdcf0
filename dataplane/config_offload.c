/* SPDX-License-Identifier: Apache-2.0 */
/* The section `tls.offload` of weir.yaml: the device that does the private-key operations of handshakes. */
#include <stddef.h>
#include <string.h>

#include "config_pvt.h"

#define OFF(field) offsetof(struct config, offload.field)
#define SIZE(field) sizeof(((struct config *)0)->offload.field)
#define TEXT(key, field, text, words) \
	{.name = key, .type = KEY_TEXT, .offset = OFF(field), .max = SIZE(field), .def = text, .help = words}
#define U32(key, field, lo, hi, text, words) \
	{.name = key, .type = KEY_U32, .offset = OFF(field), .min = lo, .max = hi, .def = text, .help = words}

static void set_kind(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	static const char *const names[] = {
#define X(name, str) [OFFLOAD_##name] = str,
		OFFLOAD_KINDS(X)
#undef X
	};
	const char *text = parse_scalar(n);

	p->offload_at = n;
	for (unsigned i = 0; text && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(text, names[i]) == 0) {
			((struct config *)section)->offload.kind = (enum offload_kind)i;
			return;
		}
	parse_error(p, n, "%s: expected %s", k->name, k->expect);
}

/* Item i of a sequence, as text that fits; NULL: it is none. */
static const char *item(struct parse *p, const yaml_node_t *n, unsigned i, size_t max)
{
	const yaml_node_t *at = yaml_document_get_node(p->doc, n->data.sequence.items.start[i]);
	const char *text = at ? parse_scalar(at) : NULL;

	return text && *text && strlen(text) < max ? text : NULL;
}

static void add_command(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct offload_config *c = &((struct config *)arg)->offload;
	size_t count = n->type == YAML_SEQUENCE_NODE ? (size_t)(n->data.sequence.items.top - n->data.sequence.items.start) : 0;
	struct offload_command cmd = {0};
	const char *name = count >= 1 ? item(p, n, 0, sizeof(cmd.name)) : NULL;
	const char *value = count == 2 ? item(p, n, 1, sizeof(cmd.value)) : "";

	if (!name || !value || count > 2) {
		parse_error(p, n, "%s: expected a list with a command's name and, if it takes one, its value", k->name);
		return;
	}
	if (c->n_commands == OFFLOAD_MAX_COMMANDS) {
		parse_error(p, n, "%s: more than %u commands", k->name, OFFLOAD_MAX_COMMANDS);
		return;
	}
	strcpy(cmd.name, name);
	strcpy(cmd.value, value);
	c->commands[c->n_commands++] = cmd;
}

static void set_commands(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, section, add_command);
}

void config_check_offload(struct parse *p)
{
	const struct offload_config *c = &p->out->offload;

	if (c->kind == OFFLOAD_ENGINE && !c->engine_id[0])
		parse_error(p, p->offload_at, "kind: engine needs engine: {id: ...}");
	if (c->kind == OFFLOAD_PROVIDER && !c->provider[0])
		parse_error(p, p->offload_at, "kind: provider needs provider: {name: ...}");
}

static const struct key engine_keys[] = {
	TEXT("id", engine_id, "none", "Its id, such as `qatengine`."),
	TEXT("path", engine_path, "none", "Its shared object, where OpenSSL does not find it by the id."),
	{.name = "commands", .type = KEY_CUSTOM, .set = set_commands, .def = "none",
	 .expect = "a list of commands, each `[NAME]` or `[NAME, VALUE]`",
	 .help = "Control commands, in their order, given before the engine is initialised. Those by which Weir polls "
		 "(`ENABLE_EXTERNAL_POLLING`, `ENABLE_HEURISTIC_POLLING`, `SET_INSTANCE_FOR_THREAD`, `POLL`) it gives itself, where the "
		 "engine has them. `openssl engine -t -vvv ID` lists an engine's."},
	{0},
};

static const struct key provider_keys[] = {
	TEXT("name", provider, "none", "Its name, such as `qatprovider`. The default provider is always there beside it."),
	TEXT("properties", properties, "none", "Property query by which algorithms are chosen, such as `?provider=qatprovider`."),
	{0},
};

const struct key config_offload_keys[] = {
	{.name = "kind", .type = KEY_CUSTOM, .set = set_kind, .def = "software", .expect = "software, engine or provider",
	 .help = "Who does them: the worker itself, an ENGINE of OpenSSL (where OpenSSL has engines), or a provider."},
	{.name = "required", .type = KEY_BOOL, .offset = OFF(required), .def = "true",
	 .help = "Do not start without the device. `false`: then handshakes are done in software, which is logged and shown by "
		 "`weirctl tls`."},
	{.name = "engine", .type = KEY_SECTION, .keys = engine_keys, .help = "Of `kind: engine`."},
	{.name = "provider", .type = KEY_SECTION, .keys = provider_keys, .help = "Of `kind: provider`."},
	U32("jobs", n_jobs, 1, 65536, "128",
	    "Handshakes of a worker that the device can have at one time; more wait. Each takes 40 KiB of memory, from the start on."),
	U32("timeout_ms", timeout_ms, 1, 60000, "1000",
	    "An operation that takes longer ends its handshake; if none has ended since it began, the device is taken for dead, and "
	    "handshakes are done in software."),
	U32("retry_ms", retry_ms, 10, 3600000, "10000", "How often a handshake then tries the device again."),
	{0},
};
