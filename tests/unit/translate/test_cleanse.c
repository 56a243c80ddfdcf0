/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Secret holds is not left in memory that was freed. Each free() of the
 * program passes through here, and what it frees is searched for pieces of a key.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/log.h"
#include "kube/named.h"
#include "pems.h"
#include "translate/translator.h"

/* ---- all that is freed ---- */

#define MAX_MARKS 4u

static char marks[MAX_MARKS][24];
static unsigned n_marks;
static bool is_watching;
static bool is_wiping; /* what others leave must not be found in memory that is given out again */
static unsigned n_found, n_looked;

static void look(void *p, size_t n)
{
	if (is_wiping)
		explicit_bzero(p, n);
	if (!is_watching)
		return;
	n_looked++;
	for (unsigned i = 0; i < n_marks; i++)
		n_found += memmem(p, n, marks[i], strlen(marks[i])) != NULL;
}

#ifdef __SANITIZE_ADDRESS__
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t), void (*)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *);

static void on_malloc(const volatile void *p, size_t n)
{
}

static void on_free(const volatile void *p)
{
	if (p)
		look((void *)p, __sanitizer_get_allocated_size(p));
}

static void install(void)
{
	__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}
#else
void __libc_free(void *p);

void free(void *p)
{
	if (p)
		look(p, malloc_usable_size(p));
	__libc_free(p);
}

/* That of the C library would free without us. */
void *realloc(void *p, size_t n)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q = malloc(n);

	if (q && p)
		memcpy(q, p, old < n ? old : n);
	if (q)
		free(p);
	return q;
}

static void install(void)
{
}
#endif

static void mark(const char *text, size_t at)
{
	snprintf(marks[n_marks++], sizeof(marks[0]), "%.20s", text + at);
}

/* Pieces of the key as it stands in the Secret, and as PEM. */
static void begin(void)
{
	static char pem[sizeof(PEM_KEY)];

	EVP_DecodeBlock((unsigned char *)pem, (const unsigned char *)PEM_KEY, sizeof(PEM_KEY) - 1);
	n_marks = 0;
	mark(PEM_KEY, 60);
	mark(PEM_KEY, 100);
	mark(pem, 40); /* behind "-----BEGIN PRIVATE KEY-----" */
	mark(pem, 60);
	n_found = n_looked = 0;
	is_watching = true;
}

static void end(void)
{
	is_watching = false;
	assert_true(n_looked > 0);
	assert_int_equal(n_found, 0);
}

/* ---- the ways that it takes ---- */

#define DATA "\"data\":{\"tls.crt\":\"" PEM_CRT "\",\"tls.key\":\"" PEM_KEY "\"}"
#define SECRET(version, more) \
	"{\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"namespace\":\"a\",\"resourceVersion\":\"" version "\",\"annotations\":" \
	"{\"last-applied\":\"" PEM_KEY "\"}}," more DATA "}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define END_OF_LIST \
	EVENT("BOOKMARK", "{\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"9\"," \
	      "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}")

static const char gateway[] =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weir}\n"
    "spec: {controllerName: weir.dev/ingress-controller}\n---\n"
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\nspec:\n  gatewayClassName: weir\n"
    "  listeners: [{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s}]}}]\n";
static const char manifest[] =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\ndata: {tls.crt: " PEM_CRT ", tls.key: " PEM_KEY "}\n";

static struct kube_request call;
static bool is_open;

static struct kube_call *take_request(void *ctx, const struct kube_request *q)
{
	call = *q;
	is_open = true;
	return (struct kube_call *)&call;
}

static void take_cancel(void *ctx, struct kube_call *c)
{
	is_open = false;
}

/* In pieces, so that what is kept of one grows. */
static void give(const char *text)
{
	size_t n = strlen(text);

	call.on_headers(call.ctx, 200);
	for (size_t at = 0; at < n && is_open; at += 50)
		call.on_data(call.ctx, text + at, n - at < 50 ? n - at : 50);
}

static void poll(struct named *n, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;

	named_poll(n, now_ms, &next_ms);
}

static void translate_now(struct translator *tr, struct store *s, const char *wanted)
{
	struct translator_changes c;
	size_t n;
	const struct store_change *journal = store_journal(s, &n);
	const struct model *m;

	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
	m = translator_model(tr);
	for (size_t i = 0; i < m->n_statuses; i++)
		for (size_t k = 0; k < m->statuses[i].n_sections; k++)
			assert_string_equal(m->statuses[i].sections[k].conditions.c[3].status, wanted);
}

static void secret_of_an_api_server_is_overwritten(void **state)
{
	const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};
	const struct named_ref ref = {KUBE_SECRET, "a", "s"};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &options);
	struct named *n = named_create(s, &(struct reflector_http){.request = take_request, .cancel = take_cancel}, 1);

	store_keep_journal(s);
	store_expect_named(s);
	store_load_yaml(s, "gateway.yaml", gateway, sizeof(gateway) - 1);
	begin();
	named_want(n, &ref, 1);
	poll(n, 1000);
	give(EVENT("ADDED", SECRET("5", "")) END_OF_LIST);
	poll(n, 1000);
	translate_now(tr, s, "True");
	give(EVENT("MODIFIED", SECRET("6", "\"type\":\"kubernetes.io/tls\",")));
	poll(n, 1000);
	translate_now(tr, s, "True");
	give(EVENT("MODIFIED", "{\"metadata\":{\"name\":\"s\",\"namespace\":7,\"resourceVersion\":\"7\"}," DATA "}"));
	poll(n, 1000);
	poll(n, 10000);
	give(EVENT("ADDED", SECRET("8", "")) EVENT("DELETED", SECRET("9", "")) END_OF_LIST EVENT("ADDED", SECRET("10", "")));
	poll(n, 10000);
	named_want(n, NULL, 0);
	translate_now(tr, s, "Unknown");
	translator_destroy(tr);
	named_destroy(n);
	store_destroy(s);
	end();
}

static void secret_of_a_manifest_is_overwritten(void **state)
{
	const struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &options);

	store_keep_journal(s);
	is_wiping = true; /* libyaml's own memory is not ours */
	store_load_yaml(s, "gateway.yaml", gateway, sizeof(gateway) - 1);
	store_load_yaml(s, "s.yaml", manifest, sizeof(manifest) - 1);
	translate_now(tr, s, "True");
	store_load_yaml(s, "s.yaml", manifest, sizeof(manifest) - 1);
	is_wiping = false;
	begin();
	translate_now(tr, s, "True");
	store_forget_file(s, "s.yaml");
	translate_now(tr, s, "False");
	translator_destroy(tr);
	store_destroy(s);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(secret_of_an_api_server_is_overwritten),
	    cmocka_unit_test(secret_of_a_manifest_is_overwritten),
	};

	log_init("test", LOG_LEVEL_ERROR);
	install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
