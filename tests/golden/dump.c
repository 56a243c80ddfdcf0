/* SPDX-License-Identifier: Apache-2.0 */
/* A model as text, line by line in its own order. See dump.h. */
#include "dump.h"

#include <stdlib.h>
#include <string.h>

#include "base/ip.h"

char *read_all(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *data = NULL;
	size_t cap = 0;

	*n = 0;
	if (!f) {
		perror(path);
		exit(1);
	}
	do {
		cap += 65536;
		data = realloc(data, cap + 1);
		if (!data)
			exit(1);
		*n += fread(data + *n, 1, cap - *n, f);
	} while (*n == cap);
	fclose(f);
	data[*n] = 0;
	return data;
}

void load(struct store *s, const char *path, const char *as)
{
	size_t n;
	char *data = read_all(path, &n);

	store_load_yaml(s, as, data, n);
	free(data);
}

void translate_all(const struct store *s, struct model *m)
{
	translate_with(s, "", NULL, m);
}

/* "example.net answered 192.0.2.1 2001:db8::1": what is known of a name. Ends the program if it is wrong. */
static void read_name(struct known_names *names, char *line)
{
	struct known_name k = {.state = NAME_PENDING};
	char *name = strtok(line, " "), *state = strtok(NULL, " "), *word;

	while (state && k.state < NAME_NOT_ASKED && strcmp(known_state_name(k.state), state) != 0)
		k.state++;
	while ((word = strtok(NULL, " ")) != NULL) {
		if (strcmp(word, "more") == 0)
			k.has_more = true;
		else if (word[0] == '!')
			k.why = "no name server answers in time";
		else if (k.n == KNOWN_NAME_ADDRS_MAX || ip_parse(word, strlen(word), &k.addrs[k.n++]) != 0)
			exit(1);
	}
	if (!name || !state || strcmp(known_state_name(k.state), state) != 0)
		exit(1);
	known_names_set(names, name, &k);
}

struct known_names *read_names(const char *text)
{
	static const char mark[] = "# name: ";
	struct known_names *names = NULL;

	for (const char *p = text; (p = strstr(p, mark)) != NULL;) {
		char line[512];

		p += strlen(mark);
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(p, "\n"), p);
		names = names ? names : known_names_create();
		read_name(names, line);
	}
	return names;
}

void translate_with(const struct store *s, const char *text, const struct known_names *names, struct model *m)
{
	const struct translate_options options = {
	    .controller_name = TRANSLATE_CONTROLLER, .node = "here", .takes_external_names = names != NULL, .names = names,
	    .node_ports = strstr(text, "# node-ports\n") != NULL};

	model_init(m);
	translate(s, &options, m);
}

static void dump_splits(FILE *out, const struct model *m, const struct model_match *match)
{
	for (size_t i = 0; i < match->n_splits; i++) {
		const struct model_split *s = &match->splits[i];

		fprintf(out, "%s%s*%u", i ? "," : " > ", s->backend < 0 ? "(500)" : m->backends[s->backend].name,
			s->weight);
		for (size_t j = 0; s->backend >= 0 && j < m->backends[s->backend].n_endpoints; j++) {
			const struct weir_endpoint *e = &m->backends[s->backend].endpoints[j];
			char text[IP_TEXT_MAX];

			fprintf(out, "%s[%s]:%u%s%s%s", j ? " " : " (", ip_format(&e->addr, text), e->port,
				e->flags & WEIR_EP_READY ? "" : "/unready",
				e->flags & WEIR_EP_TERMINATING ? "/terminating" : "",
				(e->flags & WEIR_EP_TERMINATING) && !(e->flags & WEIR_EP_SERVING) ? "/never" : "");
		}
		if (s->backend >= 0 && m->backends[s->backend].n_endpoints)
			fputc(')', out);
	}
}

/* Those that are set, as "name=value". */
static void dump_timeouts(FILE *out, const char *before, const struct weir_timeouts *t)
{
#define X(field, name) \
	if (t->field == WEIR_NO_LIMIT) \
		fprintf(out, "%s%s=none", before, name); \
	else if (t->field) \
		fprintf(out, "%s%s=%u", before, name, t->field);
	WEIR_TIMEOUTS(X)
#undef X
}

void dump_matches(FILE *out, const struct model *m, const char *ns)
{
	for (size_t i = 0; i < m->n_matches; i++) {
		const struct model_match *x = &m->matches[i];
		const struct model_listener *l = &m->listeners[x->listener];
		char addr[IP_TEXT_MAX];

		if (ns && (strcmp(x->ns, ns) != 0 || l->proto == WEIR_PROTO_HTTPS))
			continue; /* Ingresses are served over TLS too once any of them has a certificate */
		fprintf(out, "%s/%s[%u.%u] on [%s]:%u \"%s\" (%s): ", x->ns, x->name, x->rule_index, x->match_index,
			ip_format(&l->addr, addr), l->port, l->host, l->name);
		fprintf(out, "%s \"%s\"%s %s %s", *x->method ? x->method : "any", x->host,
			x->host_one_label ? " one-label" : "", x->path_kind == WEIR_PATH_EXACT ? "exact" : "prefix",
			x->path);
		for (size_t j = 0; j < x->n_conds; j++)
			fprintf(out, " %s %s=%s", x->conds[j].kind == WEIR_COND_HEADER ? "header" : "query",
				x->conds[j].name, x->conds[j].value);
		dump_timeouts(out, " ", &x->timeouts);
		if (x->action == WEIR_ACTION_STATUS)
			fprintf(out, " > status %u", x->status);
		dump_splits(out, m, x);
		fputc('\n', out);
	}
}

static void dump_problem(FILE *out, const char *file, unsigned line, unsigned column, const char *kind, const char *ns,
			 const char *name, const char *field, const char *reason, const char *text, bool is_fatal)
{
	fprintf(out, "%s:%u:%u: %s %s/%s %s: %s %s(%s)\n", file, line, column, *kind ? kind : "-", *ns ? ns : "-",
		*name ? name : "-", *field ? field : "-", reason, is_fatal ? "" : "note ", text);
}

void dump_problems(FILE *out, const struct store *s, const struct model *m)
{
	size_t n;
	const struct store_problem *p = store_problems(s, &n);

	for (size_t i = 0; i < n; i++)
		dump_problem(out, p[i].file, p[i].line, p[i].column, p[i].kind, p[i].ns, p[i].name, p[i].field,
			     p[i].reason, p[i].text, p[i].is_fatal);
	for (size_t i = 0; i < m->n_problems; i++) {
		const struct model_problem *q = &m->problems[i];

		dump_problem(out, q->file, q->line, q->column, q->kind, q->ns, q->name, q->field, q->reason, q->text,
			     q->is_fatal);
	}
}

static void dump_trust(FILE *out, const struct certificate *trust)
{
	for (size_t i = 0; i < trust->n_names; i++)
		fprintf(out, "%s %s", i ? "," : "; clients by", trust->names[i]);
	fprintf(out, ": %zu CA%s", trust->n_cas, trust->n_cas != 1 ? "s" : "");
	if (trust->n_crls)
		fprintf(out, ", %zu CRL%s", trust->n_crls, trust->n_crls != 1 ? "s" : "");
}

void dump_names(FILE *out, const struct model *m)
{
	for (size_t i = 0; i < m->n_names; i++) {
		const struct model_server_name *n = &m->names[i];

		fprintf(out, "server name %s%s%s%s (%s) >", *n->host ? n->host : "*", n->host_one_label && *n->host == '*' ? " one label" : "",
			n->profile == WEIR_TLS_STRICT ? " strict" : "", n->is_derived ? " by certificate" : "", n->owner);
		for (size_t k = 0; k < n->n_certs; k++)
			fprintf(out, "%s Secret %s/%s %s", k ? "," : "", n->certs[k]->ns, n->certs[k]->name, certificate_key_name(n->certs[k]->key));
		if (n->client_auth && n->client_auth->trust)
			dump_trust(out, n->client_auth->trust);
		fputc('\n', out);
	}
}
