/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ingress and IngressClass (networking.k8s.io/v1). All Ingresses share one
 * listener, 0 of the whole: port 80 of every listen address; what it has is served
 * on port 443 over TLS, too, once there is a certificate for some name. A path whose Service is not there
 * answers 503 until it comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/names.h"
#include "translate/translate_pvt.h"

#define CLASS_ANNOTATION "kubernetes.io/ingress.class"
#define FOREIGN_NAMED 4u /* of annotations that are ignored: so many by name */

/* ---- classes ---- */

bool ingress_is_our_class(const struct translation *t, const struct kube_object *class)
{
	return strcmp(node_str(node_path(class->root, "spec.controller")), t->options->controller_name) == 0;
}

bool ingress_is_default_class(const struct translation *t, const struct kube_object *class)
{
	const char *v = node_str(node_get(node_path(class->root, "metadata.annotations"), INGRESS_DEFAULT_CLASS));

	return v && strcmp(v, "true") == 0 && is_usable(t, class);
}

const struct kube_object *ingress_default_class(const struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_INGRESS_CLASS, &n);
	const struct kube_object *found = NULL;

	for (size_t i = 0; i < n; i++)
		if (ingress_is_default_class(t, list[i]) && (!found || list[i]->created_s > found->created_s))
			found = list[i];
	return found;
}

static bool is_ours(struct translation *t, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor at = cursor_get(&spec, "ingressClassName");
	const char *annotation = node_str(node_get(node_path(o->root, "metadata.annotations"), CLASS_ANNOTATION));
	const char *name = cursor_str(&at, annotation);
	const struct kube_object *class = name ? store_get(t->store, KUBE_INGRESS_CLASS, "", name) : ingress_default_class(t);

	if (!name && !class)
		return !t->options->needs_class;
	if (class && is_usable(t, class))
		return ingress_is_our_class(t, class);
	if (at.n) /* by annotation it may be a class of somebody who has no object for it */
		report(t, o, &at, true, "IngressClassNotFound", "an IngressClass was expected: %.100s %s", name,
		       class ? "is refused for problems of its own" : "is not there");
	return false;
}

/* ---- what a path does ---- */

static void status_503(struct model_match *out)
{
	out->action = WEIR_ACTION_STATUS;
	out->status = 503;
}

static void read_backend(struct translation *t, const struct kube_object *o, const struct cursor *backend,
			 struct model_match *out)
{
	struct cursor resource = cursor_get(backend, "resource");
	struct cursor service = cursor_get(backend, "service");
	struct cursor name = cursor_get(&service, "name");
	struct cursor port = cursor_get(&service, "port");
	struct cursor number = cursor_get(&port, "number");
	struct cursor port_name = cursor_get(&port, "name");
	int64_t n = 0;
	int32_t found;

	status_503(out);
	if (resource.n) {
		report(t, o, &resource, true, "UnsupportedBackend",
		       "a service was expected: Weir serves no other resources");
		return;
	}
	if (!service.n) {
		report(t, o, &service, true, "MissingField", "a service with name and port was expected");
		return;
	}
	if (!number.n == !port_name.n) {
		report(t, o, &port, true, port.n ? "InvalidValue" : "MissingField",
		       "either a name or a number was expected");
		return;
	}
	node_int(number.n, 1, 65535, &n);
	found = translate_backend(t, o, &name, o->ns, cursor_str(&name, ""), (uint16_t)n, cursor_str(&port_name, ""));
	if (found < 0)
		return;
	out->action = WEIR_ACTION_FORWARD;
	out->status = 0;
	out->n_splits = 1;
	out->splits = model_alloc(t->m, sizeof(*out->splits));
	out->splits[0] = (struct model_split){.backend = found, .weight = 1};
}

/* ---- rules ---- */

static void add_match(struct translation *t, const struct model_match *proto, const char *host, const char *path)
{
	struct model_match *m = model_add_match(t->m);

	*m = *proto;
	m->host = model_str(t->m, host);
	m->host_one_label = host[0] == '*';
	m->path = path;
	m->method = "";
}

static bool read_path(struct translation *t, const struct kube_object *o, const struct cursor *p,
		      struct model_match *out)
{
	struct cursor type = cursor_get(p, "pathType");
	struct cursor path = cursor_get(p, "path");
	const char *kind = cursor_str(&type, "");
	const char *text = cursor_str(&path, "");
	bool is_exact = strcmp(kind, "Exact") == 0;
	bool is_free = strcmp(kind, "ImplementationSpecific") == 0; /* read as Prefix */

	if (!is_exact && !is_free && strcmp(kind, "Prefix") != 0) {
		report(t, o, &type, true, "InvalidValue", "Exact, Prefix or ImplementationSpecific was expected");
		return false;
	}
	if (is_free && !*text)
		text = "/";
	if (!is_path(text)) {
		report(t, o, &path, true, path.n ? "InvalidPath" : "MissingField",
		       "a path that begins with '/', without empty or dot segments and escaped slashes, was expected");
		return false;
	}
	out->path_kind = is_exact ? WEIR_PATH_EXACT : WEIR_PATH_PREFIX;
	out->path = model_path(t, out->path_kind, text);
	return true;
}

static void read_rule(struct translation *t, const struct kube_object *o, const struct cursor *rule,
		      struct model_match *proto)
{
	struct cursor host = cursor_get(rule, "host");
	struct cursor http = cursor_get(rule, "http");
	struct cursor paths = cursor_get(&http, "paths");
	const char *name = cursor_str(&host, "");

	if (*name && !names_is_host(name)) {
		report(t, o, &host, true, "InvalidHostname",
		       "a host name in lower case, or \"*.\" and one, was expected");
		return;
	}
	for (size_t i = 0; i < cursor_count(&paths); i++) {
		struct cursor p = cursor_at(&paths, i);
		struct cursor backend = cursor_get(&p, "backend");
		struct model_match m = *proto;

		m.match_index = (uint32_t)i;
		if (!read_path(t, o, &p, &m))
			continue;
		read_backend(t, o, &backend, &m);
		add_match(t, &m, name, m.path);
		if (!t->is_trial && m.path_kind == WEIR_PATH_PREFIX && strcmp(m.path, "/") == 0)
			ingress_add_root(t, name);
	}
}

static void check_tls(struct translation *t, const struct kube_object *o, const struct cursor *spec,
		      const struct model_client_auth *auth)
{
	struct cursor tls = cursor_get(spec, "tls");

	for (size_t i = 0; i < cursor_count(&tls); i++) {
		struct cursor entry = cursor_at(&tls, i);
		struct cursor hosts = cursor_get(&entry, "hosts");

		for (size_t j = 0; j < cursor_count(&hosts); j++) {
			struct cursor h = cursor_at(&hosts, j);

			if (!names_is_host(cursor_str(&h, "")))
				report(t, o, &h, true, "InvalidHostname",
				       "a host name in lower case, or \"*.\" and one, was expected");
		}
	}
	server_names_of_ingress(t, o, spec, auth);
	if (auth && auth->mode == WEIR_CLIENT_AUTH_REQUIRED)
		ingress_auth_check(t, o, spec);
}

/* ---- annotations of other controllers ---- */

/* Who writes them expects something. Those of cert-manager, external-dns and the like are for these, who read them. */
static bool is_foreign(const char *key)
{
	static const char *const prefixes[] = {
	    "nginx.ingress.kubernetes.io/", "ingress.kubernetes.io/", "nginx.org/", "nginx.com/", "haproxy.org/",
	    "haproxy-ingress.github.io/", "haproxy.router.openshift.io/", "traefik.ingress.kubernetes.io/",
	    "traefik.frontend.", "projectcontour.io/", "konghq.com/", "ingress.cilium.io/", "getambassador.io/",
	    "alb.ingress.kubernetes.io/", "appgw.ingress.kubernetes.io/", "networking.gke.io/",
	    "kubernetes.io/ingress.allow-http", "kubernetes.io/ingress.global-static-ip-name"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* One problem for all of them, which names the first few. */
static void check_foreign(struct translation *t, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor metadata = cursor_get(&root, "metadata");
	struct cursor list = cursor_get(&metadata, "annotations");
	char names[FOREIGN_NAMED * 80 + 1] = "";
	struct cursor first = list;
	size_t n_text = 0;
	size_t n = 0;

	for (size_t i = 0; list.n && i < list.n->n; i++) {
		struct cursor at = cursor_value(&list, i);

		if (!is_foreign(at.key))
			continue;
		if (n++ == 0)
			first = at;
		if (n <= FOREIGN_NAMED)
			n_text += (size_t)snprintf(names + n_text, sizeof(names) - n_text, "%s%.70s", n > 1 ? ", " : "", at.key);
	}
	if (n == 0)
		return;
	if (n > FOREIGN_NAMED)
		snprintf(names + n_text, sizeof(names) - n_text, " +%zu", n - FOREIGN_NAMED);
	report(t, o, &first, false, "ForeignAnnotations", "ignored: Weir reads no annotations of other controllers: %s", names);
}

/* Where it is reached, if that is known. */
static void tell_addresses(struct translation *t, const struct kube_object *o)
{
	size_t n = t->options->n_listen;
	struct weir_ip *addrs;
	struct model_status *s;

	if (n == 0)
		return;
	addrs = model_alloc(t->m, n * sizeof(*addrs));
	memcpy(addrs, t->options->listen, n * sizeof(*addrs));
	s = verdict_add(t, o);
	s->addrs = addrs;
	s->n_addrs = n;
}

/* The default backend costs as much as if it had each host to itself. */
static uint64_t default_cost(const struct cursor *rules, const struct model_match *action)
{
	struct model_match m = *action;
	uint64_t cost;

	m.host = m.method = "";
	m.path = "/";
	cost = budget_cost(&m) * (cursor_count(rules) + 1);
	for (size_t i = 0; i < cursor_count(rules); i++) {
		struct cursor rule = cursor_at(rules, i);
		struct cursor host = cursor_get(&rule, "host");

		cost += strlen(cursor_str(&host, ""));
	}
	return cost;
}

static void read_all(struct translation *t, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor rules = cursor_get(&spec, "rules");
	struct cursor backend = cursor_get(&spec, "defaultBackend");
	struct model_match proto = {.kind = "Ingress", .created_s = o->created_s};
	const char *refused = budget_refusal(t);
	const struct model_client_auth *auth = ingress_auth_read(t, o);
	uint64_t cost = server_names_ingress_cost(&spec);

	proto.ns = model_str(t->m, o->ns);
	proto.name = model_str(t->m, o->name);
	if (!backend.n && cursor_count(&rules) == 0)
		report(t, o, &spec, true, "MissingField", "rules or a defaultBackend were expected");
	check_foreign(t, o);
	if (!refused) /* or it could still refer to as many Secrets as it likes */
		check_tls(t, o, &spec, auth);
	if (auth && auth->mode == WEIR_CLIENT_AUTH_REQUIRED)
		proto.client_auth = auth;
	if (auth) /* a redirect for each match is below */
		cost += sizeof(struct weir_client_auth) + sizeof(struct weir_cert_id);
	if (refused)
		report(t, o, &spec, true, BUDGET_REASON, "%s", refused);
	else
		tell_addresses(t, o);
	t->is_trial = refused;
	timeouts_read(t, o, &proto.timeouts);
	for (size_t i = 0; i < cursor_count(&rules); i++) {
		struct cursor rule = cursor_at(&rules, i);

		proto.rule_index = (uint32_t)i;
		read_rule(t, o, &rule, &proto);
	}
	if (backend.n) {
		struct model_match action = proto;

		action.rule_index = (uint32_t)cursor_count(&rules);
		action.path_kind = WEIR_PATH_PREFIX;
		read_backend(t, o, &backend, &action);
		cost += 2 * default_cost(&rules, &action);
		if (!refused)
			ingress_add_default(t, &action);
	}
	t->is_trial = false;
	for (size_t i = 0; i < t->m->n_matches; i++) /* over TLS once more, as soon as any Ingress has a certificate */
		cost += budget_cost(&t->m->matches[i]) + (auth ? 2 * sizeof(struct weir_filter) : 0);
	budget_charge(t, cost);
}

void ingress_read(struct translation *t, const struct kube_object *o)
{
	if (is_usable(t, o) && is_ours(t, o))
		read_all(t, o);
}

/* ---- default backends ---- */

static int compare_hosts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What no path of the Ingress's own hosts takes goes to its default backend, and so does every other host. */
void ingress_read_default(struct translation *t, const struct kube_object *o, const struct model_match *action)
{
	const struct node *rules = node_path(o->root, "spec.rules");
	size_t n = rules && rules->kind == NODE_LIST ? rules->n : 0;
	const char **hosts = translate_must(calloc(n + 1, sizeof(*hosts)));
	struct model_match m = *action;
	size_t n_hosts = 0;

	hosts[n_hosts++] = "";
	for (size_t i = 0; i < n; i++) {
		const char *host = node_str(node_get(rules->items[i], "host"));

		if (host && names_is_host(host))
			hosts[n_hosts++] = host;
	}
	qsort(hosts, n_hosts, sizeof(*hosts), compare_hosts);
	for (size_t i = 0; i < n_hosts; i++) {
		/* an explicit prefix "/" of any Ingress comes before it */
		if ((i > 0 && strcmp(hosts[i], hosts[i - 1]) == 0) || ingress_has_root(t, hosts[i]))
			continue;
		add_match(t, &m, hosts[i], "/");
		m.match_index++;
	}
	free(hosts);
}
