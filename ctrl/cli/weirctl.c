/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl: the operator's tool. Asks weir-ctrl over its admin API; check needs
 * nobody. Exit status: 0 good, 1 no answer, no route or fatal problems, 2 wrong usage.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "cli/cli.h"
#include "token.h"

#define MAX_HEADERS 32

/* Options that are arguments of the API by the same name, and the command that takes each. */
static const struct {
	const char *name;
	const char *commands;
	const char *takes;
} params[] = {
	{"--worker", "connections capture", "a number"},
	{"--state", "connections", "states such as established,close-wait"},
	{"--protocol", "connections", "http, tunnel or none"},
	{"--port", "connections", "a port"},
	{"--peer", "connections", "an address or prefix"},
	{"--sort", "connections", "rtt, cwnd, retransmits, queue or idle"},
	{"--limit", "connections", "a number"},
	{"--count", "capture", "a number"},
	{"--bytes", "capture", "a number"},
	{"--duration", "capture", "seconds"},
};

#define N_PARAMS (sizeof(params) / sizeof(*params))

struct options {
	const char *admin;
	bool as_json;
	const char *params[N_PARAMS]; /* NULL: not given */
	const char *file;	      /* -w */
	const char *token;	      /* NULL: not given */
	bool is_verbose;
	const char *command;
	char **args; /* of argv, in a list of their own */
	int n_args;
	const char *headers[MAX_HEADERS];
	int n_headers;
};

static const char usage[] =
	"Usage: weirctl [options] COMMAND\n"
	"\n"
	"  status                      connection, generation, ports, problems\n"
	"  routes                      every rule, in the order in which it is looked for\n"
	"  backends                    backends and their endpoints\n"
	"  certificates                certificates of TLS: for which names, how long they are valid, and their OCSP responses\n"
	"  paths                       how the pods of each node are reached, and why so\n"
	"  tls                         what TLS uses: OpenSSL, groups, and the device that handshakes are given to\n"
	"  ports                       what each port is, its link, its counts, and who does what: the device or software\n"
	"      -v                      and the driver's own counts that are not zero\n"
	"  stats                       counters of the workers\n"
	"  stages                      where the workers' time goes (weir.yaml: workers: stage_timers)\n"
	"  drops                       why packets, connections and requests ended\n"
	"  connections                 TCP connections as they are now\n"
	"      --worker N --port P --peer PREFIX --state S[,S]... --protocol http|tunnel\n"
	"                              only those of this worker, port (either side's), peer, states, and that carry\n"
	"                              requests, or what a client has upgraded to\n"
	"      --sort KEY --limit N    the N (100) largest by rtt, cwnd, retransmits, queue or idle\n"
	"  capture [FILTER]            packets of running workers as a pcap file; FILTER is tcpdump's\n"
	"      -w FILE                 where to (-: standard output, which a terminal must not be)\n"
	"      --token FILE            the secret that weir-ctrl wrote at its start, for root and who started it\n"
	"                              (" TOKEN_DEFAULT ")\n"
	"      --worker N --count N --bytes N --duration SECONDS\n"
	"                              of this worker only; ends after N packets or so long; N bytes of each\n"
	"  explain METHOD URL [-H 'name: value']...\n"
	"                              which rule would take this request, and why\n"
	"  explain tls://[NAME][:PORT][@ADDRESS]\n"
	"  explain tcp://[ADDRESS]:PORT\n"
	"                              who would take this connection of TLS, by its server name, or of bytes; who ends its TLS\n"
	"  check FILE|DIR...           validate manifests; needs no running program\n"
	"\n"
	"  -o json|text        how to print (text)\n"
	"      --admin ADDR    weir-ctrl's admin address (127.0.0.1:9901, or $WEIR_ADMIN)\n"
	"      --version, --help\n";

static int wrong(const char *what, const char *arg)
{
	fprintf(stderr, "weirctl: %s%s\n\n%s", what, arg, usage);
	return 2;
}

/*
 * True if argument *i is this option. *value is what follows it: "-ojson", "--admin=ADDR", or the next argument
 * (then *i moves on; NULL if there is none).
 */
static bool is_option(const char *name, int argc, char **argv, int *i, const char **value)
{
	const char *a = argv[*i];
	size_t n = strlen(name);
	bool is_long = name[1] == '-';

	if (strncmp(a, name, n) != 0 || (is_long && a[n] && a[n] != '='))
		return false;
	if (a[n])
		*value = a + n + is_long;
	else
		*value = ++*i < argc ? argv[*i] : NULL;
	return true;
}

/* Is argument *i one of params? Then *rc is 0, or the exit status. */
static bool is_param(int argc, char **argv, int *i, struct options *o, int *rc)
{
	for (size_t k = 0; k < N_PARAMS; k++) {
		const char *v;

		if (!is_option(params[k].name, argc, argv, i, &v))
			continue;
		o->params[k] = v;
		*rc = 0;
		if (!v) {
			char text[100];

			snprintf(text, sizeof(text), "%s takes %s", params[k].name, params[k].takes);
			*rc = wrong(text, "");
		}
		return true;
	}
	return false;
}

/* -1: go on; else the exit status. Options may stand anywhere. */
static int parse(int argc, char **argv, struct options *o)
{
	bool has_ended = false; /* "--": what follows is no option */
	int rc;

	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		const char *v;

		if (has_ended || a[0] != '-' || !a[1]) {
			if (!o->command)
				o->command = a;
			else
				o->args[o->n_args++] = argv[i];
			continue;
		}
		if (strcmp(a, "--") == 0) {
			has_ended = true;
			continue;
		}
		if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			fputs(usage, stdout);
			return 0;
		}
		if (strcmp(a, "--version") == 0) {
			puts("weirctl " WEIR_VERSION);
			return 0;
		}
		if (strcmp(a, "-v") == 0) {
			o->is_verbose = true;
		} else if (is_option("-o", argc, argv, &i, &v)) {
			if (!v || (strcmp(v, "json") != 0 && strcmp(v, "text") != 0))
				return wrong("-o takes json or text", "");
			o->as_json = v[0] == 'j';
		} else if (is_option("--admin", argc, argv, &i, &v)) {
			o->admin = v;
			if (!v)
				return wrong("--admin takes an address", "");
		} else if (is_option("-H", argc, argv, &i, &v)) {
			if (!v || !strchr(v, ':'))
				return wrong("-H takes 'name: value'", "");
			if (o->n_headers == MAX_HEADERS)
				return wrong("too many -H", "");
			o->headers[o->n_headers++] = v;
		} else if (is_option("-w", argc, argv, &i, &v)) {
			o->file = v;
			if (!v)
				return wrong("-w takes a file", "");
		} else if (is_option("--token", argc, argv, &i, &v)) {
			o->token = v;
			if (!v)
				return wrong("--token takes a file", "");
		} else if (is_param(argc, argv, &i, o, &rc)) {
			if (rc)
				return rc;
		} else {
			return wrong("unknown option ", a);
		}
	}
	return o->command ? -1 : wrong("no command", "");
}

/* "/api/v1/explain?url=...&method=...&header=..."; bytes have no method. */
static char *explain_path(const struct options *o)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	const char *names[] = {"url", "method"};

	if (!f)
		abort();
	fputs("/api/v1/explain", f);
	for (int i = 0; i < o->n_args + o->n_headers; i++) {
		char *v = fetch_escape(i < o->n_args ? o->args[o->n_args - 1 - i] : o->headers[i - o->n_args]);

		fprintf(f, "%c%s=%s", i ? '&' : '?', i < o->n_args ? names[i] : "header", v ? v : "");
		free(v);
	}
	fclose(f);
	return text;
}

/* "&worker=0&port=80": the options that are the API's, escaped; malloc'd. NULL: one is not this command's. */
static char *query_of(const struct options *o)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	bool is_wrong = false;

	if (!f)
		abort();
	for (size_t k = 0; k < N_PARAMS && !is_wrong; k++) {
		char *v;

		if (!o->params[k])
			continue;
		is_wrong = !strstr(params[k].commands, o->command);
		if (is_wrong) {
			fprintf(stderr, "weirctl: %s takes no %s\n\n%s", o->command, params[k].name, usage);
			continue;
		}
		v = fetch_escape(o->params[k]);
		fprintf(f, "&%s=%s", params[k].name + 2, v ? v : "");
		free(v);
	}
	fclose(f);
	if (!is_wrong)
		return text;
	free(text);
	return NULL;
}

/* The arguments joined by spaces: a filter need not be quoted. */
static char *join(char **args, int n_args)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		abort();
	for (int i = 0; i < n_args; i++)
		fprintf(f, "%s%s", i ? " " : "", args[i]);
	fclose(f);
	return text;
}

static const struct {
	const char *name;
	const char *path;
	void (*render)(FILE *f, const json_t *o);
} commands[] = {
	{"status", "/api/v1/status", render_status},	   {"routes", "/api/v1/routes", render_routes},
	{"backends", "/api/v1/backends", render_backends}, {"stats", "/api/v1/stats", render_stats},
	{"certificates", "/api/v1/certificates", render_certificates}, {"tls", "/api/v1/tls", render_tls},
	{"paths", "/api/v1/paths", render_paths},
	{"ports", "/api/v1/ports", render_ports},
	{"stages", "/api/v1/stages", render_stages},	   {"drops", "/api/v1/drops", render_drops},
	{"explain", NULL, render_explain},
};

static int ask(const struct options *o, const char *path, void (*render)(FILE *f, const json_t *o))
{
	json_t *answer = fetch_json(o->admin, path);
	int rc = 0;

	if (!answer)
		return 1;
	if (json_object_get(answer, "error"))
		rc = 2;
	else if (json_is_false(json_object_get(answer, "matched")))
		rc = 1;
	if (o->as_json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		render(stdout, answer);
	}
	json_decref(answer);
	return rc;
}

static int list_connections(const struct options *o, const char *query)
{
	char *path = NULL;
	int rc;

	if (o->n_args)
		return wrong("connections takes options only, not ", o->args[0]);
	if (asprintf(&path, "/api/v1/connections%s%s", *query ? "?" : "", *query ? query + 1 : "") < 0)
		abort();
	rc = ask(o, path, render_connections);
	free(path);
	return rc;
}

static int capture_packets(const struct options *o, const char *query)
{
	struct capture_args args = {.query = query, .token = o->token ? o->token : TOKEN_DEFAULT};
	long snaplen = 65535;
	char *filter;
	int rc;

	for (size_t k = 0; k < N_PARAMS; k++)
		if (o->params[k] && strcmp(params[k].name, "--bytes") == 0)
			snaplen = strtol(o->params[k], NULL, 10);
	if (snaplen < 1 || snaplen > 65535)
		return wrong("--bytes takes 1 to 65535", "");
	if (!o->file && isatty(STDOUT_FILENO))
		return wrong("capture needs -w FILE, or standard output to go elsewhere than to a terminal", "");
	filter = join(o->args, o->n_args);
	args.filter = filter;
	args.snaplen = (uint32_t)snaplen;
	args.file = o->file && strcmp(o->file, "-") != 0 ? o->file : NULL;
	rc = capture(o->admin, &args);
	free(filter);
	return rc;
}

/* explain is asked of a connection, not of a request. */
static bool is_stream_url(const struct options *o)
{
	return o->n_args == 1 && (strncmp(o->args[0], "tls://", 6) == 0 || strncmp(o->args[0], "tcp://", 6) == 0);
}

static int run(struct options *o)
{
	char *query = query_of(o);
	size_t i = 0;
	char *path;
	int rc;

	if (!query)
		return 2;
	if ((o->file || o->token) && strcmp(o->command, "capture") != 0) {
		free(query);
		return wrong(o->file ? "-w" : "--token", " is for capture");
	}
	if (o->is_verbose && strcmp(o->command, "ports") != 0) {
		free(query);
		return wrong("-v is for ports", "");
	}
	if (strcmp(o->command, "connections") == 0 || strcmp(o->command, "capture") == 0) {
		rc = o->command[1] == 'o' ? list_connections(o, query) : capture_packets(o, query);
		free(query);
		return rc;
	}
	free(query);
	if (strcmp(o->command, "check") == 0)
		return o->n_args ? check_files(o->args, o->n_args, o->as_json) : wrong("check takes files or folders", "");
	while (i < sizeof(commands) / sizeof(*commands) && strcmp(commands[i].name, o->command) != 0)
		i++;
	if (i == sizeof(commands) / sizeof(*commands))
		return wrong("unknown command ", o->command);
	if (commands[i].path)
		return o->n_args ? wrong("takes no arguments: ", o->command)
				 : ask(o, commands[i].path, o->is_verbose ? render_ports_with_all : commands[i].render);
	if (o->n_args != 2 && !is_stream_url(o))
		return wrong("explain takes METHOD and URL, or a URL of tls or tcp", "");
	path = explain_path(o);
	rc = ask(o, path, commands[i].render);
	free(path);
	return rc;
}

int main(int argc, char **argv)
{
	struct options o = {.admin = getenv("WEIR_ADMIN")};
	int rc;

	if (!o.admin)
		o.admin = "127.0.0.1:9901";
	o.args = calloc((size_t)argc, sizeof(*o.args));
	if (!o.args)
		abort();
	rc = parse(argc, argv, &o);
	if (rc < 0) {
		curl_global_init(CURL_GLOBAL_DEFAULT);
		rc = run(&o);
		curl_global_cleanup();
	}
	free(o.args);
	return rc;
}
