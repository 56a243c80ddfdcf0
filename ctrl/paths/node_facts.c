/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See node_facts.h. The annotations are those that flannel (its kube subnet
 * manager), Cilium (with annotateK8sNode) and Calico write.
 */
#include "paths/node_facts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "paths/prefix.h"

#define FLANNEL "flannel.alpha.coreos.com/"

static const char *annotation(const struct kube_object *o, const char *key)
{
	return node_str(node_get(node_path(o->root, "metadata.annotations"), key));
}

/* ---- prefixes */

static void add_prefix(struct node_facts *f, const char *from, const char *text)
{
	struct ip_prefix p;
	int err = prefix_read(text, &p);

	if (err)
		snprintf(f->prefix_fault, sizeof(f->prefix_fault), "%s %.60s %s", from, text ? text : "(no text)",
			 err == -ERANGE ? "is too wide, or of addresses that no pod has" : "is no prefix");
	else if (f->n_prefixes == NODE_MAX_PREFIXES)
		snprintf(f->prefix_fault, sizeof(f->prefix_fault), "%s %.60s is beyond the %u that a Node may have", from, text,
			 NODE_MAX_PREFIXES);
	else
		f->prefixes[f->n_prefixes++] = p;
}

static bool has_family(const struct node_facts *f, unsigned family)
{
	for (size_t i = 0; i < f->n_prefixes; i++)
		if (ip_is4(&f->prefixes[i].ip) == (family == 0))
			return true;
	return false;
}

/* Where Cilium hands out addresses itself, its prefix counts, whatever the controller manager has given the Node. */
static void read_cilium(struct node_facts *f, const struct kube_object *o)
{
	static const char *const keys[2][2] = {{"network.cilium.io/ipv4-pod-cidr", "io.cilium.network.ipv4-pod-cidr"},
					       {"network.cilium.io/ipv6-pod-cidr", "io.cilium.network.ipv6-pod-cidr"}};

	for (unsigned family = 0; family < 2; family++) {
		const char *text = annotation(o, keys[family][0]);

		text = text ? text : annotation(o, keys[family][1]);
		if (!text)
			continue;
		f->cni = NODE_CNI_CILIUM;
		add_prefix(f, "Cilium's pod-cidr", text);
	}
}

static void read_pod_cidrs(struct node_facts *f, const struct kube_object *o)
{
	const struct node *list = node_path(o->root, "spec.podCIDRs");
	const bool has[2] = {has_family(f, 0), has_family(f, 1)};
	size_t n = list && list->kind == NODE_LIST ? list->n : 0;

	for (size_t i = 0; i < n; i++) {
		const char *text = node_str(list->items[i]);

		if (!has[text && strchr(text, ':')])
			add_prefix(f, "podCIDR", text);
	}
	if (n == 0 && node_path(o->root, "spec.podCIDR") && !has[0] && !has[1])
		add_prefix(f, "podCIDR", node_str(node_path(o->root, "spec.podCIDR")));
}

/* ---- addresses */

/* A text of status.addresses, of the type and family; NULL: there is no other one from *i on. */
static const char *next_internal(const struct kube_object *o, unsigned family, size_t *i)
{
	const struct node *list = node_path(o->root, "status.addresses");
	size_t n = !list || list->kind != NODE_LIST ? 0 : list->n < NODE_MAX_ADDRESSES ? list->n : NODE_MAX_ADDRESSES;

	while (*i < n) {
		const struct node *a = list->items[(*i)++];
		const char *type = node_str(node_get(a, "type")), *text = node_str(node_get(a, "address"));

		if (type && text && strcmp(type, "InternalIP") == 0 && (strchr(text, ':') != NULL) == (family == 1))
			return text;
	}
	return NULL;
}

bool node_facts_internal(const struct kube_object *o, unsigned family, struct weir_ip *out)
{
	const char *text;
	size_t i = 0;

	while ((text = next_internal(o, family, &i)))
		if (prefix_read_host(text, out) == 0)
			return true;
	memset(out, 0, sizeof(*out));
	return false;
}

static void read_internal(struct node_facts *f, const struct kube_object *o, unsigned family)
{
	size_t i = 0;
	const char *text = next_internal(o, family, &i);

	if (!node_facts_internal(o, family, &f->internal[family]) && text)
		snprintf(f->fault[family], sizeof(f->fault[family]), "InternalIP %.60s is no address that can be reached", text);
}

/* ---- flannel */

static void read_public(struct node_facts *f, const struct kube_object *o, unsigned family)
{
	static const char *const keys[2] = {FLANNEL "public-ip", FLANNEL "public-ipv6"};
	const char *text = annotation(o, keys[family]);
	struct weir_ip ip;

	if (!text || !*text)
		return;
	if (prefix_read_host(text, &ip) != 0 || ip_is4(&ip) != (family == 0))
		snprintf(f->fault[family], sizeof(f->fault[family]), "%s %.60s is no IPv%c address that can be reached", keys[family],
			 text, family == 0 ? '4' : '6');
	else
		f->public[family] = ip;
}

static void read_data(struct node_facts *f, const struct kube_object *o, unsigned family)
{
	static const char *const keys[2] = {FLANNEL "backend-data", FLANNEL "backend-v6-data"};
	const char *text = annotation(o, keys[family]), *why;

	if (!text || strcmp(text, "null") == 0)
		return;
	why = overlay_read_data(text, &f->end[family]);
	f->has_end[family] = !why;
	if (why)
		snprintf(f->fault[family], sizeof(f->fault[family]), "%s %s", keys[family], why);
}

static void read_flannel(struct node_facts *f, const struct kube_object *o)
{
	const char *backend = annotation(o, FLANNEL "backend-type");

	if (!backend || f->cni == NODE_CNI_CILIUM) /* of before: flannel leaves its annotations behind */
		return;
	f->cni = NODE_CNI_FLANNEL;
	f->backend = backend;
	for (unsigned family = 0; family < 2; family++) {
		read_public(f, o, family);
		if (strcmp(backend, "vxlan") == 0)
			read_data(f, o, family);
	}
}

void node_facts_clean(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

void node_facts_read(const struct kube_object *o, struct node_facts *out)
{
	memset(out, 0, sizeof(*out));
	out->name = o->name;
	out->created_s = o->created_s;
	out->backend = "";
	read_cilium(out, o);
	read_internal(out, o, 0);
	read_internal(out, o, 1);
	read_flannel(out, o);
	if (out->cni == NODE_CNI_UNKNOWN && (annotation(o, "projectcalico.org/IPv4Address") || annotation(o, "projectcalico.org/IPv6Address")))
		out->cni = NODE_CNI_CALICO;
	read_pod_cidrs(out, o);
	node_facts_clean(out->fault[0]);
	node_facts_clean(out->fault[1]);
	node_facts_clean(out->prefix_fault);
}
