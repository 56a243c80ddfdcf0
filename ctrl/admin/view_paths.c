/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to pods: for weirctl paths. */
#include "admin/view.h"

#include <stdio.h>

#include "pathing.h"
#include "paths/prefix.h"

static json_t *ip_json(const struct weir_ip *ip)
{
	char text[IP_TEXT_MAX];

	return json_string(ip_is_any(ip) ? "" : ip_format(ip, text));
}

static json_t *near_end(const struct pathing *x)
{
	const struct near_end *near = &pathing_now(x)->near;
	const char *node = pathing_options(x)->vtep_node;
	json_t *list = json_array();
	char mac[18];

	for (unsigned f = 0; f < 2; f++) {
		const struct weir_vtep *v = &near->vtep[f];

		if (!near_end_is_known(near, f))
			continue;
		json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:I, s:b, s:i, s:o, s:s}", "family", f ? "IPv6" : "IPv4", "source",
						      ip_json(&v->source), "mac", overlay_format_mac(v->mac, mac), "vni", (json_int_t)v->vni,
						      "any_vni", (int)((v->flags & WEIR_VTEP_ANY_VNI) != 0), "port", (int)v->port, "public_ip",
						      ip_json(&near->public[f]), "node", node ? node : ""));
	}
	return list;
}

static void state_text(const struct publish_status *st, char *out, size_t cap)
{
	if (st->paths_state == PUBLISH_PATHS_REFUSED)
		snprintf(out, cap, "refused: %s", publish_refusal_name(st->paths_refused));
	else
		snprintf(out, cap, "%s", publish_paths_state_name(st->paths_state));
}

static json_t *row_json(const struct paths_row *r, const char *state)
{
	const struct paths_choice *c = &r->choice;
	const struct ip_prefix prefix = {c->path.prefix, c->path.prefix_len};
	char text[PREFIX_TEXT_MAX] = "", mac[18] = "";

	if (r->has_prefix)
		prefix_format(&prefix, text);
	if (c->way == PATHS_WAY_VXLAN)
		overlay_format_mac(c->path.mac, mac);
	return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:b, s:s}", "node", r->node, "prefix", text, "way", paths_way_name(c->way), "via",
			 ip_json(&c->path.via), "mac", mac, "why", c->why, "wrong", (int)c->is_wrong, "state", c->path.kind ? state : "");
}

/* What to make of it where nothing shows a way. */
static const char *note(const struct pathing *x)
{
	const struct paths *p = pathing_now(x);

	if (pathing_options(x)->mode == PATHS_OFF)
		return "--paths none: pods are reached by link or gateway";
	if (p->n_nodes == 0)
		return "no Node is known: there are none, or they may not be read; pods are reached by link or gateway";
	if (p->n_of[PATHS_WAY_NATIVE] + p->n_of[PATHS_WAY_VXLAN] + p->n_of[PATHS_WAY_NODE_PORT] == 0)
		return "no Node shows a way: pods are reached by link or gateway; where none leads to them, --paths node-port is the last way";
	return "";
}

json_t *view_paths(const struct sync *s)
{
	const struct pathing *x = s->paths;
	const struct paths *p;
	struct publish_status st;
	json_t *list = json_array();
	char state[64];

	if (!x)
		return json_pack("{s:s, s:o}", "note", "weir-ctrl looks for none", "paths", list);
	p = pathing_now(x);
	publish_status(s->publish, &st);
	state_text(&st, state, sizeof(state));
	for (size_t i = 0; i < p->n_rows; i++)
		json_array_append_new(list, row_json(&p->rows[i], state));
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "mode", paths_mode_name(pathing_options(x)->mode), "state", state,
			 "near_end", near_end(x), "near_end_problem", p->near.fault, "note", note(x), "nodes", (json_int_t)p->n_nodes, "ways",
			 (json_int_t)(p->blob ? p->blob->n_paths : 0), "wrong", (json_int_t)p->n_wrong, "beyond", (json_int_t)p->n_beyond, "paths",
			 list);
}
