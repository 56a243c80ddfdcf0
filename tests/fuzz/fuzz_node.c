/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what flannel says of an end of its tunnels (first byte 0), as
 * --vtep (1), as a prefix (2), or as the JSON of a Node (else) beside sound
 * ones: what comes of it is what the dataplane takes, the texts are printable,
 * and the sound Nodes keep their ways.
 */
#undef NDEBUG /* in a release, too: these are the checks */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paths/blob.h"
#include "paths/collect.h"
#include "paths/prefix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define F "flannel.alpha.coreos.com/"
#define SOUND(name, n) \
	"apiVersion: v1\nkind: Node\nmetadata: {name: " name ", creationTimestamp: '2020-01-01T00:00:00Z', annotations: {" F "backend-type: vxlan, " F \
	"public-ip: 192.0.2." n ", " F "backend-data: '{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:0" n "\"}'}}\n" \
	"spec: {podCIDR: 10.244." n ".0/24}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2." n "}]}\n---\n"

static const char sound[] = SOUND("sound-1", "1") SOUND("sound-9", "9");

static void check_text(const char *text)
{
	assert(strlen(text) < NODE_FAULT_BYTES);
	for (; *text; text++)
		assert(*text >= ' ' && *text <= '~');
}

/* Of what is in the store, something says that it is older than the sound Nodes. */
static bool has_older(const struct store *s)
{
	size_t n;
	const struct kube_object *const *list = store_list(s, KUBE_NODE, &n);
	int64_t sound_s = store_get(s, KUBE_NODE, "", "sound-1")->created_s;

	for (size_t i = 0; i < n; i++)
		if (list[i]->created_s && list[i]->created_s <= sound_s && strncmp(list[i]->name, "sound-", 6) != 0)
			return true;
	return false;
}

/* Nothing that a younger one says takes the way of a sound Node from it. */
static void check(const struct store *s, const struct paths_options *o)
{
	struct paths p;
	bool is_there = false;

	assert(paths_collect(s, o, &p) == 0);
	assert(paths_blob_check(p.blob, p.blob_bytes) == WEIR_REFUSED_OK);
	check_text(p.near.fault);
	for (size_t i = 0; i < p.n_rows; i++) {
		const struct paths_choice *c = &p.rows[i].choice;

		check_text(c->why);
		assert(*c->why);
		assert(!c->path.kind == (c->way != PATHS_WAY_NATIVE && c->way != PATHS_WAY_VXLAN));
		assert(!c->is_wrong || c->way == PATHS_WAY_NONE);
		is_there |= strcmp(p.rows[i].node, "sound-1") == 0 && c->path.kind;
	}
	assert(is_there || has_older(s) || o->mode == PATHS_NODE_PORT || o->mode == PATHS_OFF);
	paths_fini(&p);
}

static void as_node(const char *json, size_t n)
{
	static const struct paths_options all[] = {
	    {.mode = PATHS_AUTO}, {.mode = PATHS_AUTO, .vtep_node = "sound-9"}, {.mode = PATHS_NATIVE}, {.mode = PATHS_NODE_PORT}, {.mode = PATHS_OFF}};
	struct store *s = store_create();

	store_load_yaml(s, "sound.yaml", sound, sizeof(sound) - 1);
	store_put_json(s, KUBE_NODE, json, n);
	if (!store_has(s, KUBE_NODE, "", "sound-1") && !store_has(s, KUBE_NODE, "", "sound-9"))
		for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
			check(s, &all[i]);
	store_destroy(s);
}

/* The JSON of a Node that is told this by flannel, as far as it is text. */
static void as_annotation(const char *text)
{
	char *json = malloc(6 * strlen(text) + 512), *at = json;

	assert(json);
	at += sprintf(at, "{\"metadata\":{\"name\":\"n\",\"annotations\":{\"" F "backend-type\":\"vxlan\",\"" F "public-ip\":\"192.0.2.5\",\"" F
			  "backend-data\":\"");
	for (; *text; text++)
		at += sprintf(at, *text < ' ' || *text > '~' || *text == '"' || *text == '\\' ? "\\u%04x" : "%c", *text & 0xff);
	at += sprintf(at, "\"}},\"spec\":{\"podCIDR\":\"10.244.5.0/24\"}}");
	as_node(json, (size_t)(at - json));
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct overlay_given given;
	struct overlay_end end;
	struct ip_prefix prefix, again;
	char out[PREFIX_TEXT_MAX];
	char *text;

	if (n == 0)
		return 0;
	text = malloc(n); /* of exact size */
	assert(text);
	memcpy(text, data + 1, n - 1);
	text[n - 1] = 0;
	if (data[0] == 0) {
		const char *why = overlay_read_data(text, &end);

		assert(why || (end.vni <= OVERLAY_VNI_MAX && !(end.mac[0] & 1)));
		as_annotation(text);
	} else if (data[0] == 1) {
		if (overlay_read_given(text, &given))
			assert(given.has_source || given.has_mac || given.has_vni || given.has_port);
	} else if (data[0] == 2) {
		if (prefix_read(text, &prefix) == 0)
			assert(prefix_read(prefix_format(&prefix, out), &again) == 0 && prefix_compare(&prefix, &again) == 0);
	} else {
		as_node(text, n - 1);
	}
	free(text);
	return 0;
}
