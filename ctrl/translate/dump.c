/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot as text, in the order in which it is searched. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/ip.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"

static void put(FILE *f, const struct weir_snapshot *s, struct weir_str str)
{
	struct slice t = snapshot_str(s, str);

	fprintf(f, "%.*s", (int)t.n, t.p ? t.p : "");
}

static void dump_host(FILE *f, const struct weir_snapshot *s, uint8_t kind, struct weir_str host)
{
	static const char *const prefix[] = {"?", "", "*.", "*1.", "*"};

	fputs(prefix[kind], f);
	put(f, s, host);
}

static void dump_header_ops(FILE *f, const struct weir_snapshot *s, const struct weir_filter *x)
{
	static const char *const names[] = {"?", "set", "add", "remove"};

	for (uint32_t i = 0; i < x->ops.count; i++) {
		const struct weir_header_op *o = snapshot_header_op(s, x->ops.first + i);

		fprintf(f, " %s ", names[o->kind]);
		put(f, s, o->name);
		if (o->value.len)
			fputc('=', f);
		put(f, s, o->value);
	}
}

static void dump_cors(FILE *f, const struct weir_snapshot *s, const struct weir_filter *x)
{
	static const char *const names[] = {"?", "origin", "methods", "headers", "exposed", "max-age", "credentials"};

	for (uint32_t i = 0; i < x->ops.count; i++) {
		const struct weir_header_op *o = snapshot_header_op(s, x->ops.first + i);

		fprintf(f, " %s=", names[o->kind]);
		put(f, s, o->value);
	}
}

static void dump_url(FILE *f, const struct weir_snapshot *s, const struct weir_filter *x)
{
	static const char *const paths[] = {"", " path ", " prefix "};

	if (x->host.len)
		fputs(" host ", f);
	put(f, s, x->host);
	fputs(paths[x->path_change], f);
	put(f, s, x->path);
	if (x->path_change == WEIR_PATH_REPLACE_PREFIX && !x->path.len)
		fputc('/', f);
}

static void dump_filter(FILE *f, const struct weir_snapshot *s, const struct weir_filter *x)
{
	static const char *const names[] = {"?", "request", "response", "redirect", "rewrite", "mirror", "cors"};

	fprintf(f, " [%s", names[x->kind]);
	if (x->kind == WEIR_FILTER_CORS)
		dump_cors(f, s, x);
	else
		dump_header_ops(f, s, x);
	dump_url(f, s, x);
	if (x->kind == WEIR_FILTER_REDIRECT) {
		fprintf(f, "%s status %u", x->scheme == WEIR_PROTO_HTTPS ? " https" : x->scheme ? " http" : "", x->status);
		if (x->port)
			fprintf(f, " port %u", x->port);
	} else if (x->kind == WEIR_FILTER_MIRROR) {
		fputc(' ', f);
		put(f, s, snapshot_backend(s, x->backend)->name);
		fprintf(f, " %u/%u", x->numerator, x->denominator);
	}
	fputc(']', f);
}

static void dump_filters(FILE *f, const struct weir_snapshot *s, struct weir_range list)
{
	for (uint32_t i = 0; i < list.count; i++)
		dump_filter(f, s, snapshot_filter(s, list.first + i));
}

static void dump_splits(FILE *f, const struct weir_snapshot *s, const struct weir_rule *r)
{
	if (r->action == WEIR_ACTION_STATUS) {
		fprintf(f, " > status %u", r->status);
		return;
	}
	for (uint32_t i = 0; i < r->splits.count; i++) {
		const struct weir_split *p = snapshot_split(s, r->splits.first + i);

		fputs(i ? ", " : " > ", f);
		if (p->backend == WEIR_NONE)
			fprintf(f, "status %u", p->status);
		else
			put(f, s, snapshot_backend(s, p->backend)->name);
		if (r->splits.count > 1 || p->weight != 1)
			fprintf(f, " weight %u", p->weight);
		dump_filters(f, s, p->filters);
	}
}

static void dump_limit(FILE *f, const char *name, uint32_t v)
{
	if (v == WEIR_NO_LIMIT)
		fprintf(f, " %s none", name);
	else if (v)
		fprintf(f, " %s %u", name, v);
}

/* Milliseconds, or bytes a second. */
static void dump_timeouts(FILE *f, const struct weir_timeouts *t)
{
#define X(field, name) dump_limit(f, name, t->field);
	WEIR_TIMEOUTS(X)
#undef X
}

static void dump_rule(FILE *f, const struct weir_snapshot *s, const struct weir_rule *r)
{
	const struct weir_route *o = snapshot_route(s, r->route);

	fputs("        ", f);
	put(f, s, o->kind);
	fputc(' ', f);
	put(f, s, o->ns);
	fputc('/', f);
	put(f, s, o->name);
	fprintf(f, " rule %u", r->rule_index);
	if (r->method.len) {
		fputs(" method ", f);
		put(f, s, r->method);
	}
	for (uint32_t i = 0; i < r->conds.count; i++) {
		const struct weir_cond *c = snapshot_cond(s, r->conds.first + i);

		fputs(c->kind == WEIR_COND_HEADER ? " header " : " query ", f);
		put(f, s, c->name);
		fputc('=', f);
		put(f, s, c->value);
	}
	dump_timeouts(f, &r->timeouts);
	if (r->retry.attempts)
		fprintf(f, " retry %u after %u ms", r->retry.attempts, r->retry.backoff_ms);
	for (uint32_t i = 0; i < r->retry.n_codes; i++)
		fprintf(f, "%c%u", i ? ',' : ' ', r->retry.codes[i]);
	dump_filters(f, s, r->filters);
	dump_splits(f, s, r);
	fputc('\n', f);
}

static void dump_vhost(FILE *f, const struct weir_snapshot *s, const struct weir_vhost *v)
{
	fputs("    host ", f);
	dump_host(f, s, v->host_kind, v->host);
	fputc('\n', f);
	for (uint32_t i = 0; i < v->paths.count; i++) {
		const struct weir_path *p = snapshot_path(s, v->paths.first + i);

		fprintf(f, "      %s ", p->kind == WEIR_PATH_EXACT ? "exact" : "prefix");
		put(f, s, p->path);
		fputs(p->path.len ? "\n" : "/\n", f);
		for (uint32_t k = 0; k < p->rules.count; k++)
			dump_rule(f, s, snapshot_rule(s, p->rules.first + k));
	}
}

static void dump_client_auth(FILE *f, const struct weir_client_auth *a)
{
	static const char *const modes[] = {"required", "optional", "insecure"};

	fprintf(f, ", client certificate %s depth %u", modes[a->mode], a->depth);
	if (a->trust.count == 0)
		fputs(" untrusted", f);
	if (a->fields & WEIR_CLIENT_CERT_XFCC)
		fputs(" xfcc", f);
	if (a->fields & WEIR_CLIENT_CERT_RFC9440)
		fputs(a->fields & WEIR_CLIENT_CERT_CHAIN ? " rfc9440 chain" : " rfc9440", f);
}

/* Without the ids of its certificates, which say nothing to people. */
static void dump_server_name(FILE *f, const struct weir_snapshot *s, const struct weir_bind *b, const struct weir_server_name *n)
{
	fputs("  server name ", f);
	dump_host(f, s, n->host_kind, n->host);
	if (n->mode == WEIR_TLS_PASSTHROUGH)
		fputs(" > passthrough", f);
	else
		fprintf(f, "%s > %u certificate%s", n->profile == WEIR_TLS_STRICT ? " strict" : "", n->certs.count,
			n->certs.count != 1 ? "s" : "");
	if (n->client_auth != WEIR_NONE)
		dump_client_auth(f, snapshot_client_auth(s, n->client_auth));
	if (n->listener != WEIR_NONE) {
		fputs(" of ", f);
		put(f, s, snapshot_listener(s, b->listeners.first + n->listener)->name);
	}
	fputc('\n', f);
}

static void dump_bind(FILE *f, const struct weir_snapshot *s, const struct weir_bind *b)
{
	char text[IP_TEXT_MAX];

	fprintf(f, "bind %s port %u %s", ip_is_any(&b->addr) ? "any" : ip_format(&b->addr, text), b->port,
		b->proto == WEIR_PROTO_HTTP ? "http" : b->proto == WEIR_PROTO_HTTPS ? "https" : "tcp");
	dump_limit(f, "header", b->header_ms);
	dump_limit(f, "idle", b->idle_ms);
	fputc('\n', f);
	for (uint32_t i = 0; i < b->names.count; i++)
		dump_server_name(f, s, b, snapshot_name(s, b->names.first + i));
	for (uint32_t i = 0; i < b->listeners.count; i++) {
		const struct weir_listener *l = snapshot_listener(s, b->listeners.first + i);

		fputs("  listener ", f);
		dump_host(f, s, l->host_kind, l->host);
		if (l->kind == WEIR_LISTENER_STREAM)
			fputs(" stream", f);
		fputs(" (", f);
		put(f, s, l->name);
		fputc(')', f);
		dump_timeouts(f, &l->timeouts);
		fputc('\n', f);
		for (uint32_t k = 0; k < l->vhosts.count; k++)
			dump_vhost(f, s, snapshot_vhost(s, l->vhosts.first + k));
	}
}

static void dump_number(FILE *f, const char *name, uint32_t v)
{
	if (v)
		fprintf(f, " %s=%u", name, v);
}

static void dump_name(FILE *f, const struct weir_snapshot *s, const char *name, struct weir_str v)
{
	if (!v.len)
		return;
	fprintf(f, " %s=", name);
	put(f, s, v);
}

static void dump_backend_tls(FILE *f, const struct weir_snapshot *s, const struct weir_backend_tls *tls)
{
	dump_name(f, s, "tls", tls->host);
	for (uint32_t i = tls->sans.first; i < tls->sans.first + tls->sans.count; i++)
		dump_name(f, s, snapshot_san(s, i)->kind == WEIR_SAN_DNS ? "dns" : "uri", snapshot_san(s, i)->value);
	if (tls->profile == WEIR_TLS_STRICT)
		fputs(" strict", f);
	if (tls->certs.count > 1)
		fputs(" with a client certificate", f);
}

/* Settings that are other than the defaults. */
static void dump_backend(FILE *f, const struct weir_snapshot *s, const struct weir_backend *b)
{
	static const char *const sites[] = {"", "lax", "strict", "none"};
	bool ejects = b->eject_failures || b->success_window_ms;

	fputs("backend ", f);
	put(f, s, b->name);
	if (b->balance)
		fprintf(f, " %s", snapshot_balance_name(b->balance));
	if (b->balance == WEIR_BALANCE_MAGLEV || b->balance == WEIR_BALANCE_RING_HASH)
		fprintf(f, " by %s", snapshot_hash_on_name(b->hash_on));
	dump_name(f, s, "key", b->hash_name);
	dump_number(f, "slow_start_ms", b->slow_start_ms);
	dump_name(f, s, "cookie", b->cookie_name);
	dump_name(f, s, "path", b->cookie_path);
	dump_number(f, "max_age_s", b->cookie_max_age_s);
	if (b->same_site)
		fprintf(f, " same_site=%s", sites[b->same_site]);
	dump_number(f, "max_connections", b->max_connections);
	dump_number(f, "max_requests", b->max_requests);
	dump_number(f, "eject_failures", b->eject_failures);
	if (b->success_window_ms)
		fprintf(f, " success_window_ms=%u deviations=%u requests=%u", b->success_window_ms, b->success_deviations,
			b->success_requests);
	if (ejects)
		fprintf(f, " eject_ms=%u..%u at_most=%u%%", b->eject_base_ms, b->eject_max_ms, b->max_ejected_percent);
	if (b->tls != WEIR_NONE)
		dump_backend_tls(f, s, snapshot_backend_tls(s, b->tls));
	fputc('\n', f);
}

int compile_dump(const struct weir_snapshot *s, char **text)
{
	size_t n;
	FILE *f = open_memstream(text, &n);

	if (!f)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot_count(s, BINDS); i++)
		dump_bind(f, s, snapshot_bind(s, i));
	for (uint32_t i = 0; i < snapshot_count(s, BACKENDS); i++)
		dump_backend(f, s, snapshot_backend(s, i));
	return fclose(f) == 0 ? 0 : -ENOMEM;
}
