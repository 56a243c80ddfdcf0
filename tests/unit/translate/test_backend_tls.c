/* SPDX-License-Identifier: Apache-2.0 */
/* TLS to backends, followed from change to change: what a policy says, whom it trusts, and the client certificates of Gateways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pems.h"
#include "translate/translator.h"

#define CLASS \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weir}\n" \
	"spec: {controllerName: weir.dev/ingress-controller}\n"
#define GATEWAY \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: %s, namespace: a}\nspec:\n  gatewayClassName: weir\n" \
	"  listeners: [{name: http, port: %u, protocol: HTTP}]\n"
#define CLIENT "  tls: {backend: {clientCertificateRef: {name: us}}}\n"
#define ROUTE \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: a}\nspec:\n" \
	"  parentRefs: [{name: one}, {name: two}]\n  rules: [{backendRefs: [{name: web, port: 443}]}]\n"
#define SERVICE "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: a}\nspec: {ports: [{name: tls, port: 443}]}\n"
#define SECRET "apiVersion: v1\nkind: Secret\nmetadata: {name: us, namespace: a}\ndata: {tls.crt: " PEM_CRT ", tls.key: " PEM_KEY "}\n"
#define POLICY \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: p, namespace: a}\nspec:\n" \
	"  targetRefs: [{group: '', kind: Service, name: web}]\n  validation: {hostname: %s, %s}\n"
#define SYSTEM "wellKnownCACertificates: System"
#define REF "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]"

struct rig {
	struct store *store;
	struct translate_options options;
	struct translator *translator;
	const struct model *model;
	struct translator_changes changes; /* of the last run */
};

static void put(struct rig *r, const char *file, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) >= 0);
	va_end(ap);
	store_load_yaml(r->store, file, text, strlen(text));
	free(text);
}

static void run(struct rig *r)
{
	size_t n;
	const struct store_change *journal = store_journal(r->store, &n);

	translator_run(r->translator, journal, n, &r->changes);
	store_clear_journal(r->store);
}

static struct rig *rig_create(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->store = store_create();
	store_keep_journal(r->store);
	r->options = (struct translate_options){.controller_name = TRANSLATE_CONTROLLER};
	r->translator = translator_create(r->store, &r->options);
	r->model = translator_model(r->translator);
	put(r, "class", CLASS);
	put(r, "one", GATEWAY, "one", 80u);
	put(r, "two", GATEWAY, "two", 81u);
	put(r, "service", SERVICE);
	put(r, "route", ROUTE);
	put(r, "policy", POLICY, "web.test", SYSTEM);
	return r;
}

static void rig_destroy(struct rig *r)
{
	translator_destroy(r->translator);
	store_destroy(r->store);
	free(r);
}

/* The backend of the route on a port; NULL: its share is answered 500. */
static const struct model_backend *backend_on(const struct rig *r, uint16_t port)
{
	for (size_t i = 0; i < r->model->n_matches; i++) {
		const struct model_match *m = &r->model->matches[i];

		if (r->model->listeners[m->listener].port != port)
			continue;
		assert_int_equal(m->n_splits, 1);
		return m->splits[0].backend < 0 ? NULL : &r->model->backends[m->splits[0].backend];
	}
	fail_msg("nothing is served on port %u", port);
	return NULL;
}

static size_t count_backends(const struct rig *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->model->n_backends; i++)
		n += r->model->backends[i].name != NULL;
	return n;
}

static void policy_that_comes_changes_or_goes_is_followed(void **state)
{
	struct rig *r = rig_create();

	run(r);
	assert_string_equal(backend_on(r, 80)->tls->host, "web.test");
	assert_ptr_equal(backend_on(r, 80), backend_on(r, 81));
	put(r, "policy", POLICY, "other.test", SYSTEM);
	run(r);
	assert_true(r->changes.routes);
	assert_int_equal(r->changes.n_backends, 0);
	assert_string_equal(backend_on(r, 80)->tls->host, "other.test");
	put(r, "policy", POLICY, "'*.other.test'", SYSTEM);
	run(r);
	assert_null(backend_on(r, 80));
	store_forget_file(r->store, "policy");
	run(r);
	assert_null(backend_on(r, 80)->tls);
	rig_destroy(r);
	(void)state;
}

static void ca_certificates_of_a_configmap_are_followed(void **state)
{
	struct rig *r = rig_create();
	const struct certificate *trust;

	put(r, "policy", POLICY, "web.test", REF);
	run(r);
	assert_null(backend_on(r, 80));
	put(r, "ca", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: a}\ndata: {ca.crt: \"" PEM_TEXT "\"}\n");
	run(r);
	trust = backend_on(r, 80)->tls->trust;
	assert_non_null(trust);
	assert_int_equal(trust->blob->kind, WEIR_CERTIFICATE_TRUST);
	put(r, "ca", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: a}\ndata: {ca.crt: nothing}\n");
	run(r);
	assert_null(backend_on(r, 80));
	rig_destroy(r);
	(void)state;
}

static void ca_certificates_of_the_machine_are_followed(void **state)
{
	static const unsigned char der[] = "stands for CA certificates"; /* nobody reads them here */
	struct certificate *machine = certificate_create_trust((struct certificate_part){der, sizeof(der)}, (struct certificate_part){NULL, 0});
	struct rig *r = rig_create();
	bool is_told = false;

	r->options.system_fault = "there is no file";
	run(r);
	assert_null(backend_on(r, 80));
	for (size_t i = 0; i < r->model->n_problems; i++)
		is_told |= strcmp(r->model->problems[i].reason, "NoValidCACertificate") == 0 &&
			   strstr(r->model->problems[i].text, "there is no file");
	assert_true(is_told);
	r->options.system_trust = machine;
	r->options.system_fault = NULL;
	translator_system_changed(r->translator);
	run(r);
	assert_ptr_equal(backend_on(r, 80)->tls->trust, machine);
	r->options.system_trust = NULL;
	r->options.system_fault = "it is gone";
	translator_system_changed(r->translator);
	run(r);
	assert_null(backend_on(r, 80));
	rig_destroy(r);
	certificate_put(machine);
	(void)state;
}

static void gateway_with_a_client_certificate_has_backends_of_its_own(void **state)
{
	struct rig *r = rig_create();

	put(r, "two", GATEWAY CLIENT, "two", 81u);
	run(r);
	assert_string_equal(backend_on(r, 81)->name, "a/web:443"); /* the Secret is not there */
	put(r, "secret", SECRET);
	run(r);
	assert_string_equal(backend_on(r, 80)->name, "a/web:443");
	assert_null(backend_on(r, 80)->tls->client);
	assert_string_equal(backend_on(r, 81)->name, "a/web:443@a/two");
	assert_non_null(backend_on(r, 81)->tls->client);
	assert_int_equal(count_backends(r), 2);
	put(r, "one", GATEWAY CLIENT, "one", 80u);
	run(r);
	assert_string_equal(backend_on(r, 80)->name, "a/web:443@a/one");
	assert_int_equal(count_backends(r), 2);
	store_forget_file(r->store, "policy"); /* in the clear there is nobody to show it to */
	run(r);
	assert_ptr_equal(backend_on(r, 80), backend_on(r, 81));
	assert_string_equal(backend_on(r, 80)->name, "a/web:443");
	assert_int_equal(count_backends(r), 1);
	rig_destroy(r);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(policy_that_comes_changes_or_goes_is_followed),
	    cmocka_unit_test(ca_certificates_of_a_configmap_are_followed),
	    cmocka_unit_test(ca_certificates_of_the_machine_are_followed),
	    cmocka_unit_test(gateway_with_a_client_certificate_has_backends_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
