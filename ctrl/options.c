/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "kube/names.h"
#include "resolve/resolver.h"
#include "ticket_secret.h"

#define NAMESPACE_MB_MAX 1024u
#define SAMPLE_MAX 1000000u
#define TICKET_ROTATE_MIN_S 10u
#define TICKET_ROTATE_MAX_S 604800u
#define N_ROWS (sizeof(rows) / sizeof(*rows))

static const char usage[] =
    "usage: weir-ctrl --manifests DIR | --kubeconfig FILE | --in-cluster [options]\n"
    "  --manifests DIR      directory of Kubernetes manifests (*.yaml, *.yml) to follow\n"
    "  --kubeconfig FILE    follow the API server that a kubeconfig names\n"
    "  --kube-context NAME  of this context of it (default its current-context)\n"
    "  --in-cluster         follow the API server of the cluster in whose Pod we run\n"
    "  --namespace NAME     only what is in this namespace; may be given again (default all)\n"
    "  --selector LABELS    only Ingresses, Gateways, ListenerSets and routes with these labels (such as a=b,c!=d)\n"
    "  --allow-unread-policies\n"
    "                       serve although BackendTLSPolicies may not be read (403): Services for which one asks for TLS\n"
    "                       are spoken to in plain text then (default: nothing new is published before they can be)\n"
    "  --ingress-without-class\n"
    "                       serve Ingresses that name no class where no IngressClass is the default, too (default:\n"
    "                       they are nobody's; those of --manifests are served)\n"
    "  --default-certificate NAMESPACE/NAME\n"
    "                       the Secret whose certificate TLS clients of Ingresses are shown where no other one is for the\n"
    "                       name that they ask for (default: they are refused)\n"
    "  --ticket-keys NAMESPACE/NAME\n"
    "                       the Secret with the keys of TLS session tickets that all Weirs share; who holds the Lease makes\n"
    "                       and rotates them (default: each dataplane makes its own)\n"
    "  --ticket-rotate SECONDS\n"
    "                       rotate them so often (default 28800; 0: never write the Secret)\n"
    "  --ca-bundle FILE     the CA certificates that BackendTLSPolicies mean by System, in PEM; read again when the file is\n"
    "                       replaced (default: the machine's, as /etc/ssl/certs/ca-certificates.crt)\n"
    "  --ocsp public|any|off\n"
    "                       ask the OCSP responders that certificates name, to staple their answers: those of public\n"
    "                       addresses on port 80 (default), also others (who may write a Secret then chooses where in\n"
    "                       the network weir-ctrl asks), or none; by http alone\n"
    "  --node NAME          the Node that this runs on, whose zone Services may prefer (default: of NODE_NAME)\n"
    "  --address-pool RANGE addresses of which each Gateway gets its own, as 192.0.2.0/28, 192.0.2.1-192.0.2.9 or\n"
    "                       one address; they must be the dataplane's; may be given again (default: Gateways share\n"
    "                       all addresses of the dataplane)\n"
    "  --namespace-budget MIB\n"
    "                       what the Ingresses and routes of one namespace may take of the routes' memory (default\n"
    "                       32; 0: no bound); beyond that its youngest are not served\n"
    "  --state-dir DIR      keep OCSP responses in this folder, for the next start; and, but with --manifests, the last\n"
    "                       routes and endpoints, which are served at start until the API server has told all\n"
    "                       (default: not kept)\n"
    "  --state-of-any       serve them even if they are of another API server, other namespaces or labels\n"
    "  --status-address ADDRESS\n"
    "                       tell Ingresses, and Gateways that share all addresses, that they are reached at this\n"
    "                       address of the dataplane; may be given again (default: none is told)\n"
    "  --write-status lease|always|never\n"
    "                       write the status of objects back while we hold the Lease (default), always, or never\n"
    "  --lease NAMESPACE/NAME\n"
    "                       the Lease (default weir-system/weir-ctrl)\n"
    "  --events true|false  tell of problems by Events, too, where status is written (default true)\n"
    "  --external-names off|any|ipv4|ipv6\n"
    "                       let Ingresses name Services of type ExternalName, and connect to the addresses of these\n"
    "                       families that their names have (default off: who may write a Service would choose where\n"
    "                       Weir connects to)\n"
    "  --dns-servers LIST   look their names up here, as 192.0.2.53,[2001:db8::53]:5353 (default: those of\n"
    "                       /etc/resolv.conf)\n"
    "  --paths auto|native|vxlan|node-port|none\n"
    "                       how pods are reached that are on no link of the dataplane: as the Nodes show (default),\n"
    "                       routed by their node, through VXLAN, or Services by their nodePort; none: by gateways\n"
    "  --vtep-node NAME     the Node object that stands for our end of VXLAN tunnels, with flannel\n"
    "  --vtep source=ADDRESS,mac=MAC,vni=N,port=N\n"
    "                       our end of VXLAN tunnels, over what that Node says (default vni=1,port=8472); may be given\n"
    "                       again for the other family\n"
    "  --socket PATH        control socket of weir-dataplane (default /run/weir/dataplane.sock)\n"
    "  --admin ADDR:PORT    metrics, health and the API of weirctl (default 127.0.0.1:9901)\n"
    "  --capture-token FILE write the secret here that a capture needs, for who starts weir-ctrl\n"
    "                       only (default capture.token in the folder of --socket)\n"
    "  --remote-capture     let other machines that send the token capture packets too\n"
    "  --access-log FILE|-|off\n"
    "                       write a line of JSON for each request to the file, or to standard output\n"
    "                       (default off); SIGUSR1: the file was renamed, open it again\n"
    "  --access-log-sample N\n"
    "                       for one of N requests only (default 1: for each)\n"
    "  --user NAME          run as this user\n"
    "  --seccomp on|log|off on (default): a system call that Weir does not make ends it; log: it is logged\n"
    "  --log-level LEVEL    error, warn, info or debug (default info)\n"
    "  --version, --help\n";

/* The index of a name in a list that ends with NULL; -1: none. */
static int index_of(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static bool read_level(struct options *o, const char *text)
{
	static const char *const names[] = {"error", "warn", "info", "debug", NULL};
	int i = index_of(names, text);

	o->level = i < 0 ? LOG_LEVEL_INFO : (enum log_level)i;
	return i >= 0;
}

static bool read_write_status(struct options *o, const char *text)
{
	static const char *const names[] = {"lease", "always", "never", NULL}; /* as in the enum */
	int i = index_of(names, text);

	o->write_status = i < 0 ? STATUS_WRITE_NEVER : (enum status_write)i;
	return i >= 0;
}

static bool read_events(struct options *o, const char *text)
{
	static const char *const names[] = {"false", "true", NULL};
	int i = index_of(names, text);

	o->events = i == 1;
	return i >= 0;
}

/* "NAMESPACE/NAME" */
static bool read_object(const char *text, char ns[OPTIONS_NS_BYTES], char name[OPTIONS_NAME_BYTES])
{
	const char *slash = strchr(text, '/');
	size_t n_ns = slash ? (size_t)(slash - text) : 0;

	if (n_ns == 0 || n_ns >= OPTIONS_NS_BYTES || strlen(slash + 1) >= OPTIONS_NAME_BYTES)
		return false;
	memcpy(ns, text, n_ns);
	ns[n_ns] = 0;
	memcpy(name, slash + 1, strlen(slash + 1) + 1);
	return names_is_label(ns) && names_is_subdomain(name);
}

static bool read_lease(struct options *o, const char *text)
{
	return read_object(text, o->lease_ns, o->lease_name);
}

static bool read_default_certificate(struct options *o, const char *text)
{
	return read_object(text, o->default_ns, o->default_name);
}

static bool read_ticket_keys(struct options *o, const char *text)
{
	return read_object(text, o->tickets_ns, o->tickets_name);
}

static bool read_ticket_rotate(struct options *o, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	o->ticket_rotate_s = (uint32_t)n;
	return *text >= '0' && *text <= '9' && !*end && (n == 0 || n >= TICKET_ROTATE_MIN_S) && n <= TICKET_ROTATE_MAX_S;
}

static bool read_namespace(struct options *o, const char *text)
{
	if (o->n_namespaces == OPTIONS_MAX_NAMESPACES || !names_is_label(text))
		return false;
	o->namespaces[o->n_namespaces++] = text;
	return true;
}

/* "": not known */
static bool read_node(struct options *o, const char *text)
{
	o->node = *text ? text : NULL;
	return !*text || names_is_subdomain(text);
}

static bool read_pool(struct options *o, const char *text)
{
	return address_pool_add(&o->pool, text) == 0;
}

static bool read_status_address(struct options *o, const char *text)
{
	return o->n_status_addrs < OPTIONS_MAX_STATUS_ADDRS &&
	       ip_parse(text, strlen(text), &o->status_addrs[o->n_status_addrs++]) == 0;
}

static bool read_namespace_budget(struct options *o, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	o->namespace_mb = (uint32_t)n;
	return *text >= '0' && *text <= '9' && !*end && n <= NAMESPACE_MB_MAX;
}

static bool read_sample(struct options *o, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	o->access_log_sample = (uint32_t)n;
	return *text && !*end && n > 0 && n <= SAMPLE_MAX;
}

static bool read_external_names(struct options *o, const char *text)
{
	static const char *const names[] = {"off", "ipv4", "ipv6", "any", NULL}; /* as the bits of families */
	int i = index_of(names, text);

	o->external_names = i < 0 ? 0 : (unsigned)i;
	return i >= 0;
}

/* n bytes: "192.0.2.53", "2001:db8::53", "[2001:db8::53]", and the first and the last with ":53" */
static bool is_server(const char *s, size_t n)
{
	bool is_bracketed = n > 0 && s[0] == '[';
	const char *end = is_bracketed ? memchr(s, ']', n) : memchr(s, ':', n);
	struct weir_ip ip;
	unsigned port = 0;

	if (is_bracketed && !end)
		return false;
	if (!is_bracketed && end && memchr(end + 1, ':', n - (size_t)(end + 1 - s))) /* without a port */
		return ip_parse(s, n, &ip) == 0;
	if (!end)
		return ip_parse(s, n, &ip) == 0;
	if (ip_parse(s + is_bracketed, (size_t)(end - s) - is_bracketed, &ip) != 0)
		return false;
	end += is_bracketed;
	if (end == s + n)
		return is_bracketed;
	if (*end++ != ':' || end == s + n)
		return false;
	for (; end < s + n && port <= 65535; end++) {
		if (*end < '0' || *end > '9')
			return false;
		port = 10 * port + (unsigned)(*end - '0');
	}
	return port > 0 && port <= 65535;
}

static bool read_dns_servers(struct options *o, const char *text)
{
	o->dns_servers = text;
	for (const char *s = text;; s++) {
		size_t n = strcspn(s, ",");

		if (!is_server(s, n))
			return false;
		s += n;
		if (!*s)
			return true;
	}
}

static bool read_ocsp(struct options *o, const char *text)
{
	static const char *const names[] = {"public", "any", "off", NULL}; /* as in the enum */
	int i = index_of(names, text);

	o->ocsp = i < 0 ? OCSP_OFF : (enum ocsp_mode)i;
	return i >= 0;
}

static bool read_paths(struct options *o, const char *text)
{
	return paths_mode_read(text, &o->paths.mode);
}

static bool read_vtep_node(struct options *o, const char *text)
{
	o->paths.vtep_node = text;
	return names_is_subdomain(text);
}

static bool read_vtep(struct options *o, const char *text)
{
	const unsigned max = sizeof(o->paths.given) / sizeof(*o->paths.given);

	return o->paths.n_given < max && overlay_read_given(text, &o->paths.given[o->paths.n_given++]);
}

static bool read_access_log(struct options *o, const char *text)
{
	o->access_log = strcmp(text, "off") == 0 ? NULL : text;
	return true;
}

static bool read_seccomp(struct options *o, const char *text)
{
	return sandbox_read_mode(text, &o->seccomp);
}

/* For which source it is. */
enum of { OF_ALL, OF_KUBE, OF_KUBECONFIG };

static const struct row {
	const char *name;
	enum of of;
	size_t text, flag;		       /* where it goes as it is: offset + 1, 0: not at all */
	bool (*read)(struct options *o, const char *text); /* what else is to be done with it */
	const char *expected;
} rows[] = {
#define TEXT(field) .text = offsetof(struct options, field) + 1
#define FLAG(field) .flag = offsetof(struct options, field) + 1
    {"manifests", TEXT(manifests)},
    {"kubeconfig", TEXT(kubeconfig)},
    {"kube-context", OF_KUBECONFIG, TEXT(kube_context)},
    {"in-cluster", FLAG(in_cluster)},
    {"namespace", OF_KUBE, .read = read_namespace, .expected = "the name of a namespace, at most 64 of them"},
    {"selector", OF_KUBE, TEXT(selector)},
    {"allow-unread-policies", OF_KUBE, FLAG(allow_unread_policies)},
    {"ingress-without-class", OF_KUBE, FLAG(ingress_without_class)},
    {"default-certificate", .read = read_default_certificate, .expected = "NAMESPACE/NAME"},
    {"ticket-keys", .read = read_ticket_keys, .expected = "NAMESPACE/NAME"},
    {"ticket-rotate", OF_KUBE, .read = read_ticket_rotate, .expected = "0, or a number of seconds from 10 to 604800"},
    {"ca-bundle", TEXT(ca_bundle)},
    {"node", .read = read_node, .expected = "the name of a Node"},
    {"address-pool", .read = read_pool, .expected = "a prefix, a range or an address"},
    {"namespace-budget", .read = read_namespace_budget, .expected = "a number of MiB from 0 to 1024"},
    {"state-dir", TEXT(state_dir)},
    {"state-of-any", OF_KUBE, FLAG(state_of_any)},
    {"status-address", OF_KUBE, .read = read_status_address, .expected = "an IPv4 or IPv6 address, at most 16 of them"},
    {"write-status", OF_KUBE, .read = read_write_status, .expected = "lease, always or never"},
    {"lease", OF_KUBE, .read = read_lease, .expected = "NAMESPACE/NAME"},
    {"events", OF_KUBE, .read = read_events, .expected = "true or false"},
    {"external-names", .read = read_external_names, .expected = "off, any, ipv4 or ipv6"},
    {"dns-servers", .read = read_dns_servers, .expected = "a list of addresses, each with a port or without"},
    {"ocsp", .read = read_ocsp, .expected = "public, any or off"},
    {"paths", .read = read_paths, .expected = "auto, native, vxlan, node-port or none"},
    {"vtep-node", .read = read_vtep_node, .expected = "the name of a Node"},
    {"vtep", .read = read_vtep, .expected = "source=ADDRESS, mac=MAC, vni=N or port=N, parted by commas, at most twice"},
    {"socket", TEXT(socket)},
    {"admin", TEXT(admin)},
    {"capture-token", TEXT(capture_token)},
    {"remote-capture", FLAG(remote_capture)},
    {"access-log", .read = read_access_log},
    {"access-log-sample", .read = read_sample, .expected = "a number from 1 to 1000000"},
    {"user", TEXT(user)},
    {"seccomp", .read = read_seccomp, .expected = "on, log or off"},
    {"log-level", .read = read_level, .expected = "error, warn, info or debug"},
    {.name = "version"},
    {.name = "help"},
#undef TEXT
#undef FLAG
};

static void __attribute__((noreturn, format(printf, 1, 2))) refuse(const char *fmt, ...)
{
	va_list ap;

	fputs("weir-ctrl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\nTry weir-ctrl --help.\n", stderr);
	exit(2);
}

static void take(struct options *o, const struct row *r, const char *text)
{
	if (strcmp(r->name, "version") == 0) {
		puts("weir-ctrl " WEIR_VERSION);
		exit(0);
	}
	if (strcmp(r->name, "help") == 0) {
		fputs(usage, stdout);
		exit(0);
	}
	if (r->text)
		*(const char **)((char *)o + r->text - 1) = text;
	if (r->flag)
		*(bool *)((char *)o + r->flag - 1) = true;
	if (r->read && !r->read(o, text))
		refuse("--%s %s: %s was expected", r->name, text, r->expected);
}

/* Exactly one source, and what belongs to another one not at all. */
static void check(const struct options *o, uint64_t given)
{
	if ((o->manifests != NULL) + (o->kubeconfig != NULL) + o->in_cluster != 1)
		refuse("one of --manifests, --kubeconfig and --in-cluster was expected");
	if (o->state_of_any && !o->state_dir)
		refuse("--state-of-any is for --state-dir");
	if (o->ticket_rotate_s != TICKET_SECRET_ROTATE_S && !*o->tickets_name)
		refuse("--ticket-rotate is for --ticket-keys");
	if ((o->paths.vtep_node || o->paths.n_given) && o->paths.mode != PATHS_AUTO && o->paths.mode != PATHS_VXLAN)
		refuse("--vtep-node and --vtep are for --paths auto and --paths vxlan");
	if (o->dns_servers && !o->external_names)
		refuse("--dns-servers is for --external-names");
	for (size_t i = 0; i < N_ROWS; i++) {
		if (!(given & 1ull << i))
			continue;
		if (rows[i].of == OF_KUBE && o->manifests)
			refuse("--%s is for --kubeconfig and --in-cluster: with --manifests there is no API server", rows[i].name);
		if (rows[i].of == OF_KUBECONFIG && !o->kubeconfig)
			refuse("--%s is for --kubeconfig", rows[i].name);
	}
}

void options_read(int argc, char **argv, struct options *o)
{
	struct option longs[N_ROWS + 1] = {{0}};
	uint64_t given = 0; /* rows */
	int c, i;

	_Static_assert(N_ROWS <= 64, "bits of given");
	for (i = 0; i < (int)N_ROWS; i++) {
		bool is_plain = !rows[i].text && !rows[i].read;

		longs[i] = (struct option){rows[i].name, is_plain ? no_argument : required_argument, NULL, 0};
	}
	*o = (struct options){.socket = "/run/weir/dataplane.sock",
			      .admin = "127.0.0.1:9901",
			      .access_log_sample = 1,
			      .namespace_mb = TRANSLATE_NAMESPACE_BYTES >> 20,
			      .lease_ns = "weir-system",
			      .lease_name = "weir-ctrl",
			      .ticket_rotate_s = TICKET_SECRET_ROTATE_S,
			      .events = true,
			      .seccomp = sandbox_default(),
			      .level = LOG_LEVEL_INFO};
	if (getenv("NODE_NAME") && !read_node(o, getenv("NODE_NAME")))
		refuse("NODE_NAME %s: the name of a Node was expected", getenv("NODE_NAME"));
	while ((c = getopt_long(argc, argv, "", longs, &i)) != -1) {
		if (c != 0) {
			fputs("Try weir-ctrl --help.\n", stderr); /* getopt has said what is wrong */
			exit(2);
		}
		given |= 1ull << i;
		take(o, &rows[i], optarg);
	}
	if (optind != argc)
		refuse("%s: only options were expected", argv[optind]);
	check(o, given);
}

void options_fini(struct options *o)
{
	address_pool_fini(&o->pool);
}
