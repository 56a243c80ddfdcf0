/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a Secret or a ConfigMap (first byte 0 and 1: its JSON), or as
 * what a ConfigMap holds (3: CA certificates, NUL, CRLs) or a Secret (else:
 * certificate, NUL, key): put beside a Gateway that refers to it, changed,
 * removed. Whoever refers to it is told one thing, and clients are never served
 * without being asked for a certificate, as the Gateway demands.
 */
#undef NDEBUG /* in a release, too: these are the checks */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "../unit/translate/pems.h"
#include "status/status.h"
#include "translate/translator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char gateway[] =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weir}\n"
    "spec: {controllerName: weir.dev/ingress-controller}\n---\n"
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\nspec:\n  gatewayClassName: weir\n"
    "  listeners: [{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s}]}}]\n"
    "  tls: {frontend: {default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: s}]}}}}\n";

/* For a ConfigMap to be of use. */
static const char secret[] = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\n"
			     "data: {tls.crt: " PEM_CRT ", tls.key: " PEM_KEY "}\n";

static void check_names(const struct model *m)
{
	for (size_t i = 0; i < m->n_names; i++) {
		const struct model_client_auth *a = m->names[i].client_auth;

		assert(a && a->mode == WEIR_CLIENT_AUTH_REQUIRED && a->trust && a->trust->n_cas > 0);
		assert(a->trust->blob->size <= WEIR_CERTIFICATE_MAX_BYTES && !a->trust->n_crls == !a->trust->blob->crls.size);
	}
}

static void check(const struct model *m)
{
	size_t n_found = 0;

	check_names(m);

	for (size_t i = 0; i < m->n_statuses; i++)
		for (size_t k = 0; k < m->statuses[i].n_sections; k++) {
			const struct model_conditions *c = &m->statuses[i].sections[k].conditions;

			n_found++;
			assert(c->n == 4);
			for (size_t j = 0; j < c->n; j++)
				assert(c->c[j].reason[0] && c->c[j].message[0] && strlen(c->c[j].message) < 1024);
		}
	assert(n_found == 1);
}

static void run(struct translator *tr, struct store *s)
{
	struct translator_changes c;
	size_t n;
	const struct store_change *journal = store_journal(s, &n);

	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
	check(translator_model(tr));
	translator_references(tr, &n);
	assert(n == 2);
}

static char *encode(const uint8_t *data, size_t n)
{
	char *text = malloc(4 * (n / 3 + 1) + 1);

	assert(text);
	EVP_EncodeBlock((unsigned char *)text, data, (int)n);
	return text;
}

/* The JSON of a ConfigMap that holds these bytes, as far as they are text. */
static char *map_of(const uint8_t *data, size_t n, size_t *n_json)
{
	const uint8_t *end = memchr(data, 0, n);
	size_t n_crt = end ? (size_t)(end - data) : n;
	char *json = malloc(6 * n + 256), *at = json;

	assert(json);
	at += sprintf(at, "{\"metadata\":{\"name\":\"s\",\"namespace\":\"a\"},\"data\":{\"ca.crt\":\"");
	for (size_t i = 0; i < n; i++)
		if (i == n_crt)
			at += sprintf(at, "\",\"ca.crl\":\"");
		else
			at += sprintf(at, data[i] < 0x20 || data[i] > 0x7e || data[i] == '"' || data[i] == '\\' ? "\\u%04x" : "%c", data[i]);
	at += sprintf(at, "\"}}");
	*n_json = (size_t)(at - json);
	return json;
}

/* The JSON of a Secret that holds these bytes. */
static char *secret_of(const uint8_t *data, size_t n, size_t *n_json)
{
	const uint8_t *end = memchr(data, 0, n);
	size_t n_crt = end ? (size_t)(end - data) : n;
	char *crt = encode(data, n_crt);
	char *key = encode(data + n_crt, n - n_crt);
	char *json = malloc(strlen(crt) + strlen(key) + 256);
	static const char form[] = "{\"metadata\":{\"name\":\"s\",\"namespace\":\"a\"},\"data\":{\"tls.crt\":\"%s\",\"tls.key\":\"%s\"}}";

	assert(json);
	*n_json = (size_t)sprintf(json, form, crt, key);
	free(crt);
	free(key);
	return json;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &options);
	enum kube_kind kind = n && (data[0] == 1 || data[0] == 3) ? KUBE_CONFIG_MAP : KUBE_SECRET;
	char *made = NULL;
	const char *json = (const char *)data + 1;
	size_t n_json = n ? n - 1 : 0;

	store_keep_journal(s);
	store_expect_named(s);
	store_load_yaml(s, "gateway.yaml", gateway, sizeof(gateway) - 1);
	if (kind == KUBE_CONFIG_MAP)
		store_load_yaml(s, "secret.yaml", secret, sizeof(secret) - 1);
	run(tr, s);
	if (n && data[0] > 1)
		json = made = data[0] == 3 ? map_of(data + 1, n - 1, &n_json) : secret_of(data + 1, n - 1, &n_json);
	if (n) {
		store_put_json(s, kind, json, n_json);
		run(tr, s);
		store_put_json(s, kind, json, n_json / 2);
		store_set_absence(s, kind, "a", "s", STORE_FORBIDDEN);
		run(tr, s);
		store_remove(s, kind, "a", "s");
		run(tr, s);
	}
	free(made);
	translator_destroy(tr);
	store_destroy(s);
	return 0;
}
