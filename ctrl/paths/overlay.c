/* SPDX-License-Identifier: Apache-2.0 */
#include "paths/overlay.h"

#include <stdio.h>
#include <string.h>

#include "kube/json_tree.h"
#include "paths/prefix.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool overlay_read_mac(const char *text, uint8_t out[6])
{
	unsigned any = 0;

	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		int hi = hex(text[3 * i]), lo = hex(text[3 * i + 1]);

		if (hi < 0 || lo < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
		any |= out[i];
	}
	return any && !(out[0] & 1);
}

char *overlay_format_mac(const uint8_t mac[6], char *out)
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return out;
}

static const char *read_fields(const struct node *root, struct overlay_end *out)
{
	const char *mac = node_str(node_get(root, "VtepMAC"));
	const struct node *vni = node_get(root, "VNI");
	int64_t v = OVERLAY_VNI;

	if (root->kind != NODE_MAP)
		return "is no JSON object";
	if (!mac)
		return "has no VtepMAC";
	if (!overlay_read_mac(mac, out->mac))
		return "has a VtepMAC that is none of one host";
	if (vni && !node_int(vni, 0, OVERLAY_VNI_MAX, &v))
		return "has a VNI that is no number of 24 bits";
	out->vni = (uint32_t)v;
	return NULL;
}

const char *overlay_read_data(const char *text, struct overlay_end *out)
{
	const struct node *root;
	struct json_tree *t;
	const char *why;

	memset(out, 0, sizeof(*out));
	if (strlen(text) > OVERLAY_DATA_MAX)
		return "is too long";
	t = json_tree_read(text, strlen(text), &root);
	if (!t)
		return "is no JSON";
	why = read_fields(root, out);
	json_tree_wipe(t);
	return why;
}

/* ---- --vtep */

static bool read_number(const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
	uint32_t v = 0;

	if (!*text || strlen(text) > 8)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = 10 * v + (uint32_t)(*text - '0');
	}
	*out = v;
	return v >= min && v <= max;
}

/* "key=value"; false: it is not understood, or was there. */
static bool read_part(const char *key, const char *value, struct overlay_given *out)
{
	uint32_t number;
	bool *has = strcmp(key, "source") == 0 ? &out->has_source
		    : strcmp(key, "mac") == 0  ? &out->has_mac
		    : strcmp(key, "vni") == 0  ? &out->has_vni
		    : strcmp(key, "port") == 0 ? &out->has_port
					       : NULL;

	if (!has || *has)
		return false;
	*has = true;
	if (has == &out->has_source)
		return prefix_read_host(value, &out->vtep.source) == 0;
	if (has == &out->has_mac)
		return overlay_read_mac(value, out->vtep.mac);
	if (has == &out->has_vni)
		return read_number(value, 0, OVERLAY_VNI_MAX, &out->vtep.vni);
	if (!read_number(value, 1, 65535, &number))
		return false;
	out->vtep.port = (uint16_t)number;
	return true;
}

bool overlay_read_given(const char *text, struct overlay_given *out)
{
	char part[96];

	memset(out, 0, sizeof(*out));
	for (;;) {
		size_t n = strcspn(text, ",");
		char *equals;

		if (n >= sizeof(part))
			return false;
		memcpy(part, text, n);
		part[n] = 0;
		equals = strchr(part, '=');
		if (!equals)
			return false;
		*equals = 0;
		if (!read_part(part, equals + 1, out))
			return false;
		if (!text[n])
			return true;
		text += n + 1;
	}
}
