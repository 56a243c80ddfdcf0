/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has to show a certificate: clients, and the endpoints of backends. What is the same for several stands once. Their
 * certificates stand behind those of the server names, so they come when these are complete.
 */
#include "translate/compile_pvt.h"

#include <stdlib.h>
#include <string.h>

bool compile_is_same_auth(const struct model_client_auth *a, const struct model_client_auth *b)
{
	return a == b || (a && b && a->mode == b->mode && a->depth == b->depth && a->fields == b->fields && !a->trust == !b->trust &&
			  (!a->trust || certificate_compare_ids(&a->trust->blob->id, &b->trust->blob->id) == 0));
}

uint32_t compile_client_auth(struct compiler *c, const struct model_client_auth *auth)
{
	uint32_t n = compile_count(c, CLIENT_AUTHS);
	const struct model_client_auth **grown;
	struct weir_client_auth *out;

	if (!auth)
		return WEIR_NONE;
	for (uint32_t i = n; i-- > 0;) /* names of one Gateway follow each other */
		if (compile_is_same_auth(c->auths[i], auth))
			return i;
	grown = realloc(c->auths, (n + 1) * sizeof(*grown));
	out = grown ? compile_push(c, WEIR_SECT_CLIENT_AUTHS, 1) : NULL;
	c->auths = grown ? grown : c->auths;
	if (!out) {
		c->no_memory = true;
		return WEIR_NONE;
	}
	c->auths[n] = auth;
	out->mode = auth->mode;
	out->depth = auth->depth;
	out->fields = auth->fields;
	return n;
}

/* One that the dataplane does not take is left out: then nobody is trusted. False: it is not there. */
static bool add_cert(struct compiler *c, const struct certificate *x, struct weir_range *range)
{
	struct weir_cert_id *id = x && !compile_is_refused(c, x) ? compile_push(c, WEIR_SECT_CERTS, 1) : NULL;

	if (!id)
		return false;
	*id = x->blob->id;
	range->count++;
	return true;
}

static void add_backend_tls(struct compiler *c, const struct model_backend_tls *tls, uint32_t backend)
{
	struct weir_backend_tls *out = compile_push(c, WEIR_SECT_BACKEND_TLS, 1);
	uint32_t index = compile_count(c, BACKEND_TLS) - 1;
	struct weir_range sans = {compile_count(c, SANS), (uint32_t)tls->n_sans};
	struct weir_range certs = {compile_count(c, CERTS), 0};

	if (!out)
		return;
	out->host = compile_intern(c, tls->host, strlen(tls->host));
	out->profile = tls->profile;
	for (size_t i = 0; i < tls->n_sans; i++) {
		struct weir_str value = compile_intern(c, tls->sans[i].value, strlen(tls->sans[i].value));
		struct weir_san *san = compile_push(c, WEIR_SECT_SANS, 1);

		if (!san)
			return;
		san->kind = tls->sans[i].kind;
		san->value = value;
	}
	if (add_cert(c, tls->trust, &certs))
		add_cert(c, tls->client, &certs);
	out = compile_at(c, BACKEND_TLS, struct weir_backend_tls, index);
	out->sans = sans;
	out->certs = certs;
	compile_at(c, BACKENDS, struct weir_backend, backend)->tls = index;
}

/* In the order of the snapshot, whatever that of the model is. */
static void add_backends_tls(struct compiler *c)
{
	const struct model *m = c->m;
	const struct model_backend_tls **all = calloc(compile_count(c, BACKENDS) + 1, sizeof(*all));

	if (!all) {
		c->no_memory = true;
		return;
	}
	for (size_t i = 0; i < m->n_backends; i++)
		if (m->backends[i].name && c->backend_order[i] != WEIR_NONE)
			all[c->backend_order[i]] = m->backends[i].tls;
	for (uint32_t i = 0; i < compile_count(c, BACKENDS) && !c->no_memory; i++)
		if (all[i])
			add_backend_tls(c, all[i], i);
	free(all);
}

void compile_trust(struct compiler *c)
{
	for (uint32_t i = 0; i < compile_count(c, CLIENT_AUTHS); i++) {
		struct weir_range trust = {compile_count(c, CERTS), 0};

		add_cert(c, c->auths[i]->trust, &trust);
		compile_at(c, CLIENT_AUTHS, struct weir_client_auth, i)->trust = trust;
	}
	add_backends_tls(c);
}
