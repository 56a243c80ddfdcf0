/* SPDX-License-Identifier: Apache-2.0 */
/* The certificates that TLS clients, and backends, are shown, each once: for weirctl and the metrics. Nothing of a key is told. */
#include "admin/view_certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/view.h"
#include "admin/view_staples.h"
#include "snapshot/snapshot.h"

static int by_secret(const void *pa, const void *pb)
{
	const struct certificate *a = *(const struct certificate *const *)pa;
	const struct certificate *b = *(const struct certificate *const *)pb;
	int d = strcmp(a->ns, b->ns);

	return d ? d : strcmp(a->name, b->name);
}

const struct certificate **view_list_certificates(const struct sync *s, size_t *n)
{
	const struct model *m = s->model;
	const struct certificate **list;
	size_t n_all = 0;

	for (size_t i = 0; i < m->n_names; i++)
		n_all += m->names[i].n_certs;
	list = calloc(n_all + m->n_backends + 1, sizeof(*list));
	*n = n_all = 0;
	for (size_t i = 0; list && i < m->n_names; i++)
		for (size_t k = 0; k < m->names[i].n_certs; k++)
			list[n_all++] = m->names[i].certs[k];
	for (size_t i = 0; list && i < m->n_backends; i++)
		if (m->backends[i].name && m->backends[i].tls && m->backends[i].tls->client)
			list[n_all++] = m->backends[i].tls->client;
	if (n_all)
		qsort(list, n_all, sizeof(*list), by_secret);
	for (size_t i = 0; i < n_all; i++)
		if (*n == 0 || by_secret(&list[*n - 1], &list[i]) != 0)
			list[(*n)++] = list[i];
	return list;
}

static int id_order(const void *a, const void *b)
{
	return certificate_compare_ids(a, b);
}

static json_t *problems_of(const struct sync *s, const struct certificate *c, int64_t now_s)
{
	const struct staple *staple = staples_get(s->staples, &c->blob->id);
	json_t *list = json_array();

	if (s->n_refused && bsearch(&c->blob->id, s->refused, s->n_refused, sizeof(*s->refused), id_order))
		json_array_append_new(list, json_string("refused by the dataplane"));
	if (c->not_after_s < now_s)
		json_array_append_new(list, json_string("has expired"));
	else if (c->not_before_s > now_s)
		json_array_append_new(list, json_string("not yet valid"));
	else if (c->not_after_s - now_s < CERTIFICATE_SOON_S)
		json_array_append_new(list, json_string("expires soon"));
	if (staple && staple->state == STAPLE_REVOKED)
		json_array_append_new(list, json_string("revoked by its issuer"));
	else if (staple && staple->must_staple && !staple->stapled)
		json_array_append_new(list, json_string("clients refuse it without an OCSP response"));
	if (c->is_out_of_order)
		json_array_append_new(list, json_string("chain out of order"));
	return list;
}

static json_t *view_one(const struct sync *s, const struct certificate *c, int64_t now_s)
{
	const time_t end = (time_t)c->not_after_s;
	json_t *names = json_array();
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&end, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	for (size_t i = 0; i < c->n_names; i++)
		json_array_append_new(names, json_string(c->names[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:I, s:o, s:o}", "kind", "identity", "namespace", c->ns, "name", c->name, "key",
			 certificate_key_name(c->key), "names", names, "hosts", json_array(), "not_after", text, "days_left",
			 (json_int_t)((c->not_after_s - now_s) / 86400), "ocsp", view_staple(s, c), "problems",
			 problems_of(s, c, now_s));
}

/* What a snapshot names a certificate by, with an OCSP response or without. */
struct named {
	struct weir_cert_id id;
	size_t at; /* in the list */
};

static int by_id(const void *pa, const void *pb)
{
	return certificate_compare_ids(&((const struct named *)pa)->id, &((const struct named *)pb)->id);
}

static int id_of(const void *id, const void *x)
{
	return certificate_compare_ids(id, &((const struct named *)x)->id);
}

static void add_host(json_t *hosts, const struct weir_snapshot *s, const struct weir_server_name *n)
{
	const char *prefix = n->host_kind == WEIR_HOST_ANY ? "*" : n->host_kind == WEIR_HOST_EXACT ? "" : "*.";
	const char *last = json_string_value(json_array_get(hosts, json_array_size(hosts) - 1));
	const struct slice host = snapshot_str(s, n->host);
	char text[300];

	snprintf(text, sizeof(text), "%s%.*s", prefix, (int)host.n, host.n ? host.p : "");
	if (!last || strcmp(last, text) != 0) /* or it is that of another port */
		json_array_append_new(hosts, json_string(text));
}

/* For what they are shown, by the routes that are served. list: by Secret; out has the same order. */
static void add_hosts(json_t *out, const struct sync *sync, const struct certificate *const *list, size_t n)
{
	const struct weir_snapshot *s = sync->snapshot;
	struct named *ids = calloc(2 * n + 1, sizeof(*ids));

	for (size_t i = 0; ids && i < n; i++) {
		ids[2 * i] = (struct named){list[i]->blob->id, i};
		ids[2 * i + 1] = (struct named){staples_served(sync->staples, list[i])->blob->id, i};
	}
	if (ids)
		qsort(ids, 2 * n, sizeof(*ids), by_id);
	for (uint32_t i = 0; ids && i < snapshot_count(s, NAMES); i++) {
		const struct weir_server_name *name = snapshot_name(s, i);

		for (uint32_t k = 0; k < name->certs.count; k++) {
			const struct named *x = bsearch(snapshot_cert(s, name->certs.first + k), ids, 2 * n, sizeof(*ids), id_of);

			if (x)
				add_host(json_object_get(json_array_get(out, x->at), "hosts"), s, name);
		}
	}
	free(ids);
}

json_t *view_certificates(const struct sync *s)
{
	const int64_t now_s = time(NULL);
	json_t *out = json_array();
	size_t n;
	const struct certificate **list = view_list_certificates(s, &n);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, view_one(s, list[i], now_s));
	if (list && s->snapshot)
		add_hosts(out, s, list, n);
	free(list);
	view_trusts(s, now_s, out);
	return out;
}
