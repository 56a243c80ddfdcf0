/* SPDX-License-Identifier: Apache-2.0 */
/* What weirctl explain prints for people: of a request, or of a connection of bytes. */
#include <string.h>

#include "cli/render_pvt.h"

static void render_list(FILE *f, const char *label, const json_t *list)
{
	const json_t *v;
	size_t i;

	if (!list)
		return;
	fprintf(f, "%s", label);
	json_array_foreach(list, i, v)
		fprintf(f, "%s%s", i ? ", " : "", json_string_value(v));
	fputc('\n', f);
}

/* Of each backend; otherwise: what happens if it has no endpoint. */
static void render_endpoints(FILE *f, const json_t *o, const char *otherwise)
{
	json_t *endpoints = json_object_get(o, "endpoints");
	const char *backend;
	json_t *list;

	json_object_foreach(endpoints, backend, list) {
		const json_t *e;
		char tls[800] = "";
		size_t i;

		put_tls(tls, sizeof(tls), json_object_get(json_object_get(o, "tls"), backend));
		if (*tls)
			fprintf(f, "over         %s: %s\n", backend, tls);
		fprintf(f, "endpoints    %s:", backend);
		json_array_foreach(list, i, e)
			fprintf(f, "%s %s port %lld %s", i ? "," : "", str(e, "address"), num(e, "port"), endpoint_state(e));
		if (json_array_size(list) == 0)
			fprintf(f, " none: %s", otherwise);
		fputc('\n', f);
	}
}

static void render_hit(FILE *f, const json_t *o)
{
	const json_t *r = json_object_get(o, "rule");
	char when[1200];
	char targets[4096];
	char filters[4096];
	char limits[400];

	put_conditions(when, sizeof(when), r);
	put_targets(targets, sizeof(targets), r);
	fprintf(f, "listener     %s port %lld, host %s (%s)\n", str(r, "address"), num(r, "port"), str(r, "listener_host"),
		str(r, "listener"));
	fprintf(f, "host         %s\n", str(r, "host"));
	fprintf(f, "path         %s %s\n", str(r, "path_type"), str(r, "path"));
	fprintf(f, "when         %s\n", when);
	fprintf(f, "by           %s %s/%s rule %lld\n", str(r, "kind"), str(r, "namespace"), str(r, "name"), num(r, "rule"));
	put_filters(filters, sizeof(filters), json_object_get(r, "filters"));
	if (*filters)
		fprintf(f, "filters      %s\n", filters);
	put_limits(limits, sizeof(limits), json_object_get(r, "limits"));
	if (*limits)
		fprintf(f, "limits       %s\n", limits);
	fprintf(f, "to           %s\n", targets);
	render_endpoints(f, o, "answered 503");
}

/* ---- connections of bytes */

/* Who ends TLS, and by which server name that is so. */
static void render_mode(FILE *f, const json_t *o)
{
	static const struct {
		const char *mode, *text;
	} modes[] = {
		{"tcp", "bytes as they come; if there is TLS in them, it is the backend's"},
		{"passthrough", "TLS is passed through: the backend ends it"},
		{"terminate", "TLS ends here, with bytes in it"},
		{"http", "TLS ends here, with requests in it"},
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(modes[i].mode, str(o, "mode")) == 0)
			fprintf(f, "mode         %s (%s)\n", modes[i].mode, modes[i].text);
	if (json_object_get(o, "by_name"))
		fprintf(f, "by name      %s\n", str(o, "by_name"));
	if (strcmp(str(o, "mode"), "http") == 0 && flag(o, "matched"))
		fprintf(f, "requests     each has a rule of its own: weirctl explain GET https://HOST:%lld/PATH\n", num(o, "port"));
}

static void render_stream_rule(FILE *f, const json_t *o)
{
	const json_t *r = json_object_get(o, "rule");
	char targets[4096];
	char limits[400];

	fprintf(f, "host         %s\n", str(r, "host"));
	fprintf(f, "by           %s %s/%s rule %lld\n", str(r, "kind"), str(r, "namespace"), str(r, "name"), num(r, "rule"));
	put_limits(limits, sizeof(limits), json_object_get(r, "limits"));
	if (*limits)
		fprintf(f, "limits       %s\n", limits);
	put_targets(targets, sizeof(targets), r);
	fprintf(f, "to           %s\n", targets);
	render_endpoints(f, o, "the connection is reset");
}

static void render_stream(FILE *f, const json_t *o)
{
	const json_t *reason = json_object_get(o, "reason");

	if (!flag(o, "matched")) {
		fprintf(f, "no route: %s (", str(o, "why"));
		if (json_object_get(o, "server_name"))
			fprintf(f, "server name %s, ", str(o, "server_name")[0] ? str(o, "server_name") : "none");
		fprintf(f, "port %lld)\n", num(o, "port"));
	}
	if (json_object_get(o, "address")) {
		fprintf(f, "listener     %s port %lld", str(o, "address"), num(o, "port"));
		if (json_object_get(o, "listener"))
			fprintf(f, " (%s)", str(o, "listener"));
		fputc('\n', f);
	}
	render_mode(f, o);
	if (json_object_get(o, "rule"))
		render_stream_rule(f, o);
	if (reason)
		fprintf(f, "refused      %s: %s\n", str(reason, "name"), str(reason, "help"));
	render_list(f, "names there  ", json_object_get(o, "names"));
	render_list(f, "hosts there  ", json_object_get(o, "hosts"));
}

void render_explain(FILE *f, const json_t *o)
{
	if (json_object_get(o, "error")) {
		fprintf(f, "%s\n", str(o, "error"));
		return;
	}
	if (json_object_get(o, "protocol")) {
		render_stream(f, o);
		return;
	}
	if (flag(o, "matched")) {
		render_hit(f, o);
		return;
	}
	fprintf(f, "no route: %s (host %s, port %lld, path %s)\n", str(o, "why"), str(o, "host"), num(o, "port"), str(o, "path"));
	if (json_object_get(o, "stream"))
		fprintf(f, "bytes there  %s: whatever they are, no request is answered\n", str(o, "stream"));
	render_list(f, "hosts there  ", json_object_get(o, "hosts"));
	render_list(f, "paths there  ", json_object_get(o, "paths"));
}
