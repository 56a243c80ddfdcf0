/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned tables for people, from the same JSON that -o json prints. */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/render_pvt.h"

/* -- status */

static void render_problems(FILE *f, const json_t *list)
{
	const json_t *p;
	size_t i;

	json_array_foreach(list, i, p) {
		fprintf(f, "  ");
		if (str(p, "file")[0]) /* else of the API server */
			fprintf(f, "%s:%lld:%lld: ", str(p, "file"), num(p, "line"), num(p, "column"));
		fprintf(f, "%s %s/%s %s: %s: %s%s\n", str(p, "kind"), str(p, "namespace"), str(p, "name"), str(p, "field"),
			str(p, "reason"), str(p, "text"), flag(p, "fatal") ? "" : " (served all the same)");
	}
}

static void render_announcing(FILE *f, const json_t *a)
{
	if (strcmp(str(a, "state"), "off") != 0)
		fprintf(f, "bgp          %lld addresses announced: %s\n", num(a, "addresses"), str(a, "text"));
}

static void render_energy(FILE *f, const json_t *e)
{
	if (json_is_object(e))
		fprintf(f, "energy       %.0f J of the CPU packages, of which about %.0f J for the workers' work: %.3f mJ a request\n",
			json_real_value(json_object_get(e, "packages")), json_real_value(json_object_get(e, "workers")),
			1e3 * json_real_value(json_object_get(e, "request")));
}

/* Nothing for the first dataplane of a machine. */
static void render_life(FILE *f, const json_t *l)
{
	json_t *ends = json_object_get(l, "ends"), *v;
	const char *name, *before = "";

	if (!num(l, "restarts"))
		return;
	fprintf(f, "restarts     %lld (", num(l, "restarts"));
	json_object_foreach(ends, name, v) {
		if (!json_integer_value(v))
			continue;
		fprintf(f, "%s%lld %s", before, (long long)json_integer_value(v), name);
		before = ", ";
	}
	fprintf(f, "); the last end %lld s ago: %s", (long long)time(NULL) - num(l, "last_s"), str(l, "last"));
	if (str(l, "signal")[0])
		fprintf(f, " by SIG%s", str(l, "signal"));
	if (json_object_get(l, "worker"))
		fprintf(f, ", worker %lld", num(l, "worker"));
	fputc('\n', f);
}

static void render_dataplane(FILE *f, const json_t *d)
{
	const json_t *p;
	size_t i;

	fprintf(f, "dataplane    version %s, up %lld s%s\n", str(d, "version"), num(d, "uptime_s"),
		flag(d, "draining") ? ", draining" : "");
	render_life(f, json_object_get(d, "life"));
	json_array_foreach(json_object_get(d, "ports"), i, p)
		fprintf(f, "port         %s %s MTU %lld, %lld queues, link %s\n", str(p, "name"), str(p, "mac"), num(p, "mtu"),
			num(p, "queues"), flag(p, "link") ? "up" : "down");
	render_announcing(f, json_object_get(d, "announcing"));
	fprintf(f, "taken        %lld snapshots, %lld endpoint sets, %lld certificates; refused %lld, %lld and %lld\n",
		num(d, "snapshots_taken"), num(d, "endpoint_sets_taken"), num(d, "certificates_taken"), num(d, "snapshots_refused"),
		num(d, "endpoint_sets_refused"), num(d, "certificates_refused"));
	fprintf(f, "certificates %lld held\n", num(d, "certificates"));
	render_energy(f, json_object_get(d, "energy_joules"));
}

/* Secrets and ConfigMaps, if any are referred to. */
static void render_named(FILE *f, const json_t *n)
{
	static const char *const states[] = {"absent", "pending", "forbidden"};
	const char *before = ": ";

	if (!num(n, "followed"))
		return;
	fprintf(f, "             %lld Secrets and ConfigMaps referred to", num(n, "followed") + num(n, "beyond"));
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		if (!num(n, states[i]))
			continue;
		fprintf(f, "%s%lld %s", before, num(n, states[i]), states[i]);
		before = ", ";
	}
	if (num(n, "beyond"))
		fprintf(f, "%s%lld too many to be followed", before, num(n, "beyond"));
	fputc('\n', f);
}

static void render_kubernetes(FILE *f, const json_t *k)
{
	const json_t *problem;
	size_t i;

	fprintf(f, "kubernetes   %s, %lld of %lld kinds up to date", str(k, "server"), num(k, "kinds_healthy"), num(k, "kinds"));
	if (num(k, "age_ms"))
		fprintf(f, ", the oldest since %lld s", num(k, "age_ms") / 1000);
	fprintf(f, "%s\n", flag(k, "synced") ? "" : "; NOT all listed yet");
	json_array_foreach(json_object_get(k, "problems"), i, problem)
		fprintf(f, "             %s\n", json_string_value(problem));
	render_named(f, json_object_get(k, "named"));
}

static void render_saved(FILE *f, const json_t *s)
{
	if (flag(s, "serving"))
		fprintf(f, "saved        SERVING FROM DISK, of age %lld s, until all of Kubernetes is listed\n", num(s, "age_s"));
	else if (flag(s, "waiting"))
		fprintf(f, "saved        of age %lld s, in case that the dataplane loses its routes\n", num(s, "age_s"));
	else if (num(s, "writes"))
		fprintf(f, "saved        %lld bytes in %s\n", num(s, "bytes"), str(s, "file"));
	if (strcmp(str(s, "refused"), "ok") != 0)
		fprintf(f, "             what %s had at start was refused: %s\n", str(s, "file"), str(s, "refused"));
	if (str(s, "problem")[0])
		fprintf(f, "             %s cannot be written: %s\n", str(s, "file"), str(s, "problem"));
}

void render_status(FILE *f, const json_t *o)
{
	fprintf(f, "weir-ctrl    version %s, %s\n", str(o, "version"),
		flag(o, "connected") ? "connected to the dataplane" : "NOT connected to the dataplane");
	fprintf(f, "routes       generation %lld, live %lld in all of %lld workers (swapped in %lld us)\n", num(o, "generation"),
		num(o, "live_generation"), num(o, "workers"), num(o, "live_us"));
	fprintf(f, "endpoints    %lld sets, %lld not live yet\n", num(o, "endpoint_sets"), num(o, "endpoint_sets_waiting"));
	if (num(o, "refused"))
		fprintf(f, "refused      %lld blobs, the last one: %s\n", num(o, "refused"), str(o, "last_refusal"));
	if (json_object_get(o, "kubernetes"))
		render_kubernetes(f, json_object_get(o, "kubernetes"));
	if (json_object_get(o, "ticket_secret"))
		render_ticket_secret(f, json_object_get(o, "ticket_secret"), "ticket keys  ");
	if (json_object_get(o, "saved"))
		render_saved(f, json_object_get(o, "saved"));
	if (json_object_get(o, "dataplane"))
		render_dataplane(f, json_object_get(o, "dataplane"));
	fprintf(f, "problems     %lld\n", num(o, "problems"));
	render_problems(f, json_object_get(o, "problem_list"));
}

/* -- routes, backends */

/* A text that is put together in memory that somebody else owns; what does not fit is left out. */
struct text {
	char *p;
	size_t n, cap;
};

static void say(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *t, const char *fmt, ...)
{
	va_list ap;

	if (t->n >= t->cap)
		return;
	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
	va_end(ap);
}

static void say_headers(struct text *t, const json_t *f, const char *what)
{
	static const char *const actions[] = {"set", "add"};
	const char *space = "";
	const json_t *v;
	size_t i;

	for (size_t k = 0; k < 2; k++)
		json_array_foreach(json_object_get(f, actions[k]), i, v) {
			say(t, "%s%s %s %s=%s", space, what, actions[k], str(v, "name"), str(v, "value"));
			space = "; ";
		}
	json_array_foreach(json_object_get(f, "remove"), i, v) {
		say(t, "%s%s remove %s", space, what, json_string_value(v));
		space = "; ";
	}
}

static void say_url(struct text *t, const json_t *f)
{
	if (*str(f, "scheme"))
		say(t, " scheme %s", str(f, "scheme"));
	if (*str(f, "hostname"))
		say(t, " host %s", str(f, "hostname"));
	if (num(f, "port"))
		say(t, " port %lld", num(f, "port"));
	if (*str(f, "replaceFullPath"))
		say(t, " path %s", str(f, "replaceFullPath"));
	if (*str(f, "replacePrefixMatch"))
		say(t, " prefix %s", str(f, "replacePrefixMatch"));
}

static void say_cors(struct text *t, const json_t *f)
{
	const json_t *origin;
	size_t i;

	say(t, "cors");
	json_array_foreach(json_object_get(f, "allowOrigins"), i, origin)
		say(t, "%s %s", i ? "," : "", json_string_value(origin));
	if (*str(f, "allowMethods"))
		say(t, " methods %s", str(f, "allowMethods"));
	if (*str(f, "allowCredentials"))
		say(t, " with credentials");
}

static void say_filter(struct text *t, const json_t *f)
{
	const char *type = str(f, "type");

	if (strcmp(type, "RequestRedirect") == 0) {
		say(t, "redirect %lld", num(f, "statusCode"));
		say_url(t, f);
	} else if (strcmp(type, "URLRewrite") == 0) {
		say(t, "rewrite");
		say_url(t, f);
	} else if (strcmp(type, "RequestMirror") == 0) {
		say(t, "mirror %s %lld/%lld", str(f, "backend"), num(f, "numerator"), num(f, "denominator"));
	} else if (strcmp(type, "CORS") == 0) {
		say_cors(t, f);
	} else {
		say_headers(t, f, strcmp(type, "RequestHeaderModifier") == 0 ? "request" : "response");
	}
}

static void say_filters(struct text *t, const json_t *list)
{
	const json_t *f;
	size_t i;

	json_array_foreach(list, i, f) {
		say(t, "%s", i ? "; " : "");
		say_filter(t, f);
	}
}

void put_filters(char *out, size_t cap, const json_t *list)
{
	struct text t = {.p = out, .cap = cap};

	out[0] = 0;
	say_filters(&t, list);
}

/* "connect 2000 ms, body-rate 100 B/s, idle none" */
void put_limits(char *out, size_t cap, json_t *limits)
{
	struct text t = {.p = out, .cap = cap};
	const char *name;
	json_t *v;

	out[0] = 0;
	json_object_foreach(limits, name, v) {
		say(&t, "%s%s ", t.n ? ", " : "", name);
		if (json_is_integer(v))
			say(&t, "%lld %s", (long long)json_integer_value(v), strcmp(name, "body-rate") == 0 ? "B/s" : "ms");
		else
			say(&t, "%s", json_string_value(v) ? json_string_value(v) : "?");
	}
}

void put_targets(char *out, size_t cap, const json_t *rule)
{
	const json_t *list = json_object_get(rule, "backends");
	const bool is_stream = strcmp(str(rule, "path_type"), "Stream") == 0;
	const json_t *b;
	size_t n = 0;
	size_t i;

	out[0] = 0;
	json_array_foreach(list, i, b) {
		char what[600];

		if (json_object_get(b, "backend"))
			snprintf(what, sizeof(what), "%s", str(b, "backend"));
		else if (is_stream)
			snprintf(what, sizeof(what), "refused");
		else
			snprintf(what, sizeof(what), "status %lld", num(b, "status"));
		if (n < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", what);
		if (json_array_size(list) > 1 && n < cap)
			n += (size_t)snprintf(out + n, cap - n, " (%lld)", num(b, "weight"));
		if (json_object_get(b, "reason") && n < cap)
			n += (size_t)snprintf(out + n, cap - n, " [%s]", str(b, "reason"));
		if (json_array_size(json_object_get(b, "filters")) && n < cap) {
			char filters[4096];

			put_filters(filters, sizeof(filters), json_object_get(b, "filters"));
			n += (size_t)snprintf(out + n, cap - n, " [%s]", filters);
		}
	}
	if (json_array_size(list) == 0)
		snprintf(out, cap, "-");
}

void put_conditions(char *out, size_t cap, const json_t *r)
{
	const json_t *c;
	size_t n = (size_t)snprintf(out, cap, "%s", str(r, "method"));
	size_t i;

	json_array_foreach(json_object_get(r, "conditions"), i, c)
		if (n < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%s %s=%s", n ? " " : "", str(c, "kind"), str(c, "name"),
					      str(c, "value"));
	if (n == 0)
		snprintf(out, cap, "-");
}

void render_routes(FILE *f, const json_t *list)
{
	struct table t = {.n_columns = 9};
	const json_t *r;
	size_t i;

	cell(&t, "PORT");
	cell(&t, "HOST");
	cell(&t, "TYPE");
	cell(&t, "PATH");
	cell(&t, "WHEN");
	cell(&t, "TO");
	cell(&t, "FROM");
	cell(&t, "FILTERS");
	cell(&t, "LIMITS");
	json_array_foreach(list, i, r) {
		char targets[4096];
		char when[1200];
		char filters[4096];
		char limits[400];

		put_targets(targets, sizeof(targets), r);
		put_conditions(when, sizeof(when), r);
		cell(&t, "%lld", num(r, "port"));
		cell(&t, "%s", str(r, "host"));
		cell(&t, "%s", str(r, "path_type"));
		cell(&t, "%s", *str(r, "path") ? str(r, "path") : "-");
		cell(&t, "%s", when);
		cell(&t, "%s", targets);
		cell(&t, "%s %s/%s rule %lld", str(r, "kind"), str(r, "namespace"), str(r, "name"), num(r, "rule"));
		put_filters(filters, sizeof(filters), json_object_get(r, "filters"));
		cell(&t, "%s", *filters ? filters : "-");
		put_limits(limits, sizeof(limits), json_object_get(r, "limits"));
		cell(&t, "%s", *limits ? limits : "-");
	}
	table_print(f, &t);
}

const char *endpoint_state(const json_t *e)
{
	if (flag(e, "terminating"))
		return flag(e, "serving") ? "terminating, serving" : "terminating";
	return flag(e, "ready") ? "ready" : "not ready";
}

/* "maglev header:x-user, cookie weir-affinity, slow start 30 s, ..." */
static void put_settings(char *out, size_t cap, const json_t *b)
{
	static const struct {
		const char *key, *text;
	} numbers[] = {
		{"slow_start_ms", "slow start %lld ms"}, {"max_connections", "at most %lld connections"},
		{"max_requests", "%lld requests a connection"}, {"eject_failures", "ejects after %lld failures"},
	};
	const json_t *s = json_object_get(b, "balance");
	const json_t *rate = json_object_get(s, "success_rate");
	const json_t *cookie = json_object_get(s, "cookie");
	FILE *f = fmemopen(out, cap, "w");

	if (!f)
		return;
	fputs(str(s, "algorithm"), f);
	if (json_object_get(s, "hash_key"))
		fprintf(f, " %s%s%s", str(s, "hash_key"), json_object_get(s, "hash_name") ? ":" : "",
			json_object_get(s, "hash_name") ? str(s, "hash_name") : "");
	if (cookie)
		fprintf(f, ", cookie %s", str(cookie, "name"));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (num(s, numbers[i].key) == 0)
			continue;
		fputs(", ", f);
		fprintf(f, numbers[i].text, num(s, numbers[i].key));
	}
	if (rate)
		fprintf(f, ", ejects by success rate");
	fclose(f);
}

/* "a, b +3": the first few texts of a list. */
static const char *few(char *out, size_t size, const json_t *list)
{
	size_t n = json_array_size(list), len = 0;

	snprintf(out, size, "%s", n ? "" : "-");
	for (size_t i = 0; i < n && i < 3 && len < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "", json_string_value(json_array_get(list, i)));
	if (n > 3 && len < size)
		snprintf(out + len, size - len, " +%zu", n - 3);
	return out;
}

/* CA certificates: whose they are, how many, and who is judged by them. */
static void put_trust(struct table *t, const json_t *c)
{
	const json_t *hosts = json_object_get(c, "hosts"), *backends = json_object_get(c, "backends");
	char text[900], more[900];
	long long n_crls = num(c, "crls");

	cell(t, "%s", few(text, sizeof(text), json_object_get(c, "objects")));
	if (n_crls)
		cell(t, "%lld CAs, %lld CRLs", num(c, "cas"), n_crls);
	else
		cell(t, "%lld CAs", num(c, "cas"));
	if (json_array_size(hosts) && json_array_size(backends))
		cell(t, "clients of %s; backends %s", few(text, sizeof(text), hosts), few(more, sizeof(more), backends));
	else if (json_array_size(backends))
		cell(t, "backends %s", few(text, sizeof(text), backends));
	else
		cell(t, "clients of %s", few(text, sizeof(text), hosts));
}

/* As "stapled until 2026-01-01T00:00:00Z"; why not, or why not any longer. */
static void put_ocsp(struct table *t, const json_t *o)
{
	const char *state = str(o, "state"), *why = str(o, "why"), *until = str(o, "until");

	if (flag(o, "stapled") && *why)
		cell(t, "stapled until %s: %s", until, why);
	else if (flag(o, "stapled"))
		cell(t, "stapled until %s", until);
	else if (strcmp(state, "revoked") == 0)
		cell(t, "REVOKED%s%s", *str(o, "reason") ? ": " : "", str(o, "reason"));
	else if (strcmp(state, "no-issuer") == 0)
		cell(t, "none: its issuer is not in tls.crt");
	else if (strcmp(state, "https-responder") == 0)
		cell(t, "none: its responder has a URL of https, which is not asked");
	else if (strcmp(state, "off") == 0)
		cell(t, "none: --ocsp off");
	else if (strcmp(state, "pending") == 0)
		cell(t, "%s", *str(o, "waits") ? str(o, "waits") : "asked for");
	else if (strcmp(state, "failed") == 0)
		cell(t, "none: %s", why);
	else
		cell(t, "-"); /* it names no responder, or is not shown to clients */
}

void render_certificates(FILE *f, const json_t *list)
{
	struct table t = {.n_columns = 7};
	char text[900];
	const json_t *c;
	size_t i;

	cell(&t, "SECRET, OR OF CAS");
	cell(&t, "KEY");
	cell(&t, "SHOWN FOR, OR JUDGES");
	cell(&t, "VALID UNTIL");
	cell(&t, "DAYS");
	cell(&t, "OCSP");
	cell(&t, "PROBLEMS");
	json_array_foreach(list, i, c) {
		if (strcmp(str(c, "kind"), "trust") == 0) {
			put_trust(&t, c);
		} else {
			cell(&t, "%s/%s", str(c, "namespace"), str(c, "name"));
			cell(&t, "%s", str(c, "key"));
			cell(&t, "%s", few(text, sizeof(text), json_object_get(c, "hosts")));
		}
		cell(&t, "%s", str(c, "not_after"));
		cell(&t, "%lld", num(c, "days_left"));
		put_ocsp(&t, json_object_get(c, "ocsp"));
		cell(&t, "%s", few(text, sizeof(text), json_object_get(c, "problems")));
	}
	table_print(f, &t);
}

/* As "TLS (strict) to web.test, who has to be a.test, b.test, with a client certificate"; in the clear: nothing. */
void put_tls(char *text, size_t n, const json_t *tls)
{
	char names[320];
	size_t at = strlen(text);

	if (!json_is_object(tls))
		return;
	snprintf(text + at, n - at, "%sTLS (%s) to %s, who has to be %s%s%s", at ? ", " : "", str(tls, "profile"),
		 str(tls, "server_name"), few(names, sizeof(names), json_object_get(tls, "names")),
		 flag(tls, "has_client_certificate") ? ", with a client certificate" : "",
		 flag(tls, "has_trust") ? "" : ", but no CA is trusted");
}

void render_backends(FILE *f, const json_t *list)
{
	struct table t = {.n_columns = 4};
	const json_t *b;
	size_t i;

	cell(&t, "BACKEND");
	cell(&t, "ENDPOINT");
	cell(&t, "STATE");
	cell(&t, "BALANCING");
	json_array_foreach(list, i, b) {
		const json_t *endpoints = json_object_get(b, "endpoints");
		const json_t *e;
		char settings[1200] = "";
		size_t k;

		put_settings(settings, sizeof(settings), b);
		if (json_object_get(b, "external_name"))
			snprintf(settings + strlen(settings), sizeof(settings) - strlen(settings), ", of %s (%s)",
				 str(b, "external_name"), str(b, "external_state"));
		put_tls(settings, sizeof(settings), json_object_get(b, "tls"));
		if (json_array_size(endpoints) == 0) {
			cell(&t, "%s", str(b, "name"));
			cell(&t, "-");
			cell(&t, "no endpoint");
			cell(&t, "%s", settings);
		}
		json_array_foreach(endpoints, k, e) {
			bool is_v6 = strchr(str(e, "address"), ':') != NULL;

			cell(&t, "%s", k ? "" : str(b, "name"));
			cell(&t, "%s%s%s:%lld", is_v6 ? "[" : "", str(e, "address"), is_v6 ? "]" : "", num(e, "port"));
			cell(&t, "%s", endpoint_state(e));
			cell(&t, "%s", k ? "" : settings);
		}
	}
	table_print(f, &t);
}

/* -- counters */

void render_stats(FILE *f, const json_t *o)
{
	struct table t = {.n_columns = 3};
	const char *key;
	json_t *v;

	cell(&t, "COUNTER");
	cell(&t, "SUM");
	cell(&t, "BY WORKER");
	json_object_foreach((json_t *)(uintptr_t)o, key, v) {
		char workers[2048] = "";
		size_t n = 0;
		const json_t *w;
		size_t i;

		json_array_foreach(json_object_get(v, "workers"), i, w)
			if (n < sizeof(workers))
				n += (size_t)snprintf(workers + n, sizeof(workers) - n, "%s%lld", i ? " " : "",
						      (long long)json_integer_value(w));
		cell(&t, "%s", key);
		cell(&t, "%lld", num(v, "sum"));
		cell(&t, "%s", workers);
	}
	table_print(f, &t);
}

/* A share is of the time in which there was work. */
void render_stages(FILE *f, const json_t *list)
{
	struct table t = {.n_columns = 5};
	const json_t *e;
	double busy = 0;
	size_t i;

	json_array_foreach(list, i, e)
		if (strcmp(str(e, "stage"), "idle") != 0)
			busy += (double)num(e, "cycles");
	if (busy == 0) {
		fputs("no stage timers: workers: stage_timers is off in weir.yaml, or there is no dataplane\n", f);
		return;
	}
	cell(&t, "STAGE");
	cell(&t, "CYCLES");
	cell(&t, "A REQUEST");
	cell(&t, "SHARE");
	cell(&t, "MEANING");
	json_array_foreach(list, i, e) {
		double cycles = (double)num(e, "cycles");

		cell(&t, "%s", str(e, "stage"));
		cell(&t, "%lld", num(e, "cycles"));
		if (num(e, "requests"))
			cell(&t, "%.0f", cycles / (double)num(e, "requests"));
		else
			cell(&t, "-");
		if (strcmp(str(e, "stage"), "idle") != 0)
			cell(&t, "%.1f %%", 100 * cycles / busy);
		else
			cell(&t, "-");
		cell(&t, "%s", str(e, "help"));
	}
	table_print(f, &t);
}

void render_drops(FILE *f, const json_t *list)
{
	struct table t = {.n_columns = 4};
	const json_t *d;
	size_t i;

	cell(&t, "REASON");
	cell(&t, "OF");
	cell(&t, "COUNT");
	cell(&t, "MEANING");
	json_array_foreach(list, i, d) {
		cell(&t, "%s", str(d, "reason"));
		cell(&t, "%s", str(d, "kind"));
		cell(&t, "%lld", num(d, "count"));
		cell(&t, "%s", str(d, "help"));
	}
	table_print(f, &t);
}
