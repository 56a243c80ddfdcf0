/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services of type ExternalName as backends of Ingresses: whether one may be
 * used, at which port, and which of the addresses that its name has now.
 *
 * Whoever may write such a Service chooses where Weir connects to. So it is off
 * unless weir-ctrl is told otherwise, and some addresses are never used.
 */
#include <stdio.h>
#include <string.h>

#include "base/ip.h"
#include "kube/names.h"
#include "translate/translate_pvt.h"

#define NAME_MAX_CHARS 253u

bool external_is(const struct kube_object *service)
{
	const char *type = node_str(node_path(service->root, "spec.type"));

	return type && strcmp(type, "ExternalName") == 0;
}

/* Looks like an address, in any form of inet_aton(): its last label is a number, as no top-level domain is (RFC 3696 2). */
static bool is_address(const char *name)
{
	const char *last = strrchr(name, '.');

	last = last ? last + 1 : name;
	if (last[0] == '0' && last[1] == 'x')
		return true;
	return strspn(last, "0123456789") == strlen(last);
}

bool external_name(const struct kube_object *service, char out[EXTERNAL_NAME_MAX])
{
	const char *text = node_str(node_path(service->root, "spec.externalName"));
	size_t n = text ? strlen(text) : 0;

	if (n > 0 && text[n - 1] == '.') /* it is fully qualified in any case */
		n--;
	if (n == 0 || n > NAME_MAX_CHARS)
		return false;
	memcpy(out, text, n);
	out[n] = 0;
	return names_is_subdomain(out) && !is_address(out);
}

static const struct node *ports_of(const struct kube_object *service)
{
	const struct node *ports = node_path(service->root, "spec.ports");

	return ports && ports->kind == NODE_LIST && ports->n > 0 ? ports : NULL;
}

bool external_has_ports(const struct kube_object *service)
{
	return ports_of(service) != NULL;
}

/* Where to connect: targetPort of the port, or else its number; without any, the one that the Ingress names. 0: nowhere. */
static uint16_t target_of(const struct node *declared, uint16_t port)
{
	const struct node *target = node_get(declared, "targetPort");
	int64_t number = port;

	if (target && target->kind != NODE_NULL && !node_int(target, 1, 65535, &number))
		return 0;
	return (uint16_t)number;
}

bool external_check(struct translation *t, const struct kube_object *o, const struct cursor *at,
		    const struct kube_object *s)
{
	const char *text = node_str(node_path(s->root, "spec.externalName"));
	char name[EXTERNAL_NAME_MAX];

	text = text && *text ? text : NULL;
	if (o->kind != KUBE_INGRESS) {
		report(t, o, at, true, "UnsupportedService",
		       "a Service with endpoints was expected: %s/%s is an ExternalName, to which only Ingresses may refer", s->ns,
		       s->name);
	} else if (!t->options->takes_external_names) {
		report(t, o, at, true, "ExternalNamesOff",
		       "a Service with endpoints was expected: %s/%s is an ExternalName, and weir-ctrl was started without "
		       "--external-names", s->ns, s->name);
	} else if (!external_name(s, name)) {
		report(t, o, at, true, "InvalidExternalName",
		       "a Service with a DNS name was expected: the externalName of %s/%s is %s%.100s%s", s->ns, s->name,
		       text ? "\"" : "not there", text ? text : "",
		       !text ? "" : is_address(text) ? "\", an address, which counts as no name" : "\"");
	} else {
		return true;
	}
	return false;
}

bool external_check_port(struct translation *t, const struct kube_object *o, const struct cursor *at,
			 const struct kube_object *s, const struct node *declared)
{
	if (!declared || target_of(declared, 1) > 0)
		return true;
	report(t, o, at, true, "PortNotFound",
	       "a port with a number as targetPort was expected: ExternalName %s/%s has no Pods that could have one of a name",
	       s->ns, s->name);
	return false;
}

/* ---- addresses */

static const char *special_v4(const uint8_t *b)
{
	if (b[0] == 0)
		return "an unspecified address";
	if (b[0] == 127)
		return "a loopback address";
	if (b[0] == 169 && b[1] == 254)
		return "a link-local address";
	if (b[0] >= 224 && b[0] < 240)
		return "a multicast address";
	return b[0] >= 240 ? "a broadcast or reserved address" : NULL;
}

/* An IPv4 address within one of IPv6: by itself (::/96), or beside NAT64 (RFC 6052). */
static const char *special_inner(const struct weir_ip *a)
{
	static const struct weir_ip nat64 = {{0x00, 0x64, 0xff, 0x9b}};

	if (ip_in_prefix(a, &(struct weir_ip){{0}}, 96))
		return special_v4(a->b + 12) ? special_v4(a->b + 12) : "an IPv4 address in a form that nobody routes";
	return ip_in_prefix(a, &nat64, 96) ? special_v4(a->b + 12) : NULL;
}

/* In words what it is that keeps an address from being used; NULL: nothing does. */
static const char *special(const struct weir_ip *a)
{
	static const struct weir_ip loopback = {{[15] = 1}}, local = {{0xfe, 0x80}}, multicast = {{0xff}};

	if (ip_is4(a)) /* or an IPv4 address mapped to IPv6, which is the same to us */
		return special_v4(a->b + 12);
	if (ip_is_any(a))
		return "an unspecified address";
	if (ip_eq(a, &loopback))
		return "a loopback address";
	if (ip_in_prefix(a, &local, 10))
		return "a link-local address";
	if (ip_in_prefix(a, &multicast, 8))
		return "a multicast address";
	return special_inner(a);
}

/* As far as weir-ctrl knows them. */
static bool is_own(const struct translation *t, const struct weir_ip *a)
{
	for (size_t i = 0; i < t->options->n_listen; i++)
		if (ip_eq(&t->options->listen[i], a))
			return true;
	for (size_t i = 0; i < t->n_gateways; i++)
		for (size_t k = 0; k < t->gateways[i].n_addrs; k++)
			if (ip_eq(&t->gateways[i].addrs[k], a))
				return true;
	return t->options->pool && address_pool_has(t->options->pool, a);
}

static void add_addresses(struct translation *t, const struct kube_object *s, const struct cursor *at, const char *name,
			  const struct known_name *known, uint16_t port, struct model_backend *b)
{
	b->endpoints = model_alloc(t->m, known->n * sizeof(*b->endpoints));
	for (size_t i = 0; i < known->n; i++) {
		const struct weir_ip *a = &known->addrs[i];
		const char *what = special(a);
		char text[IP_TEXT_MAX];

		if (!what && is_own(t, a))
			what = "an address of Weir's own";
		if (what)
			report(t, s, at, true, "AddressRefused", "%s has the address %s, %s: it is never used", name,
			       ip_format(a, text), what);
		else
			b->endpoints[b->n_endpoints++] = (struct weir_endpoint){
			    .addr = *a, .port = port, .weight = 1, .flags = WEIR_EP_READY | WEIR_EP_SERVING};
	}
	if (known->has_more)
		report(t, s, at, false, "TooManyAddresses", "%s has more addresses than %u: the lowest of them are used", name,
		       KNOWN_NAME_ADDRS_MAX);
}

static void report_state(struct translation *t, const struct kube_object *s, const struct cursor *at, const char *name,
			 const struct known_name *known)
{
	switch (known->state) {
	case NAME_ANSWERED:
		break;
	case NAME_PENDING:
		if (known->why)
			report(t, s, at, true, "NameServersFail",
			       "%s was never answered: %s; what was served before stays for an hour", name, known->why);
		break;
	case NAME_KEPT:
		report(t, s, at, false, "NameServersFail",
		       "%s is not answered any more: %s; its last addresses are used for an hour", name, known->why);
		break;
	case NAME_FAILED:
		report(t, s, at, true, "NameServersFail", "%s was not answered for an hour: %s; no address of it is used", name,
		       known->why);
		break;
	case NAME_NOT_FOUND:
		report(t, s, at, true, "NameNotFound", "there is no name %s in DNS: requests for it are answered 503", name);
		break;
	case NAME_NO_ADDRESS:
		report(t, s, at, true, "NameNotFound",
		       "%s has no address in DNS of a family that is looked up: requests for it are answered 503", name);
		break;
	case NAME_NOT_ASKED:
		report(t, s, at, true, "TooManyNames", "%s is not looked up: %u other names are, and no more", name,
		       KNOWN_NAMES_MAX);
		break;
	}
}

void external_read(struct translation *t, const struct kube_object *service, const struct node *declared, uint16_t port,
		   struct model_backend *b)
{
	static const struct known_name nothing = {.state = NAME_PENDING};
	struct cursor root = cursor_root(service);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor at = cursor_get(&spec, "externalName");
	const struct known_name *known = NULL;
	char name[EXTERNAL_NAME_MAX];
	uint16_t target = external_has_ports(service) && !declared ? 0 : target_of(declared, port);

	if (!t->options->takes_external_names || !external_name(service, name) || target == 0)
		return;
	b->external = model_str(t->m, name);
	if (!t->options->names) {
		report(t, service, &at, false, "NameNotLookedUp",
		       "%s is looked up by weir-ctrl alone, if it is started with --external-names", name);
		return;
	}
	external_depend(t, name);
	known = known_names_get(t->options->names, name);
	known = known ? known : &nothing;
	b->is_pending = known->state == NAME_PENDING;
	report_state(t, service, &at, name, known);
	if (known->n)
		add_addresses(t, service, &at, name, known, target, b);
}
