/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of OCSP responses: the snapshot names certificates that have them, and owners are told what they have to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/pem.h>

#include "../ocsp/authority.h"
#include "snapshot/snapshot.h"
#include "sync.h"

struct rig {
	struct authority a;
	struct holder leaf;
	struct store *store;
	struct publish *publish;
	struct staples *staples;
	struct sync s;
};

/* As lines of a block in YAML. */
static size_t put_pem(char *out, BIO *b)
{
	char line[256];
	size_t n = 0;

	while (BIO_gets(b, line, sizeof(line)) > 0)
		n += (size_t)sprintf(out + n, "    %s", line);
	BIO_free(b);
	return n;
}

static void load(struct rig *r)
{
	BIO *crt = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
	char text[16384];
	size_t n;

	PEM_write_bio_X509(crt, r->leaf.x);
	PEM_write_bio_X509(crt, r->a.ca.x);
	PEM_write_bio_PKCS8PrivateKey(key, r->leaf.key, NULL, NULL, 0, NULL, NULL);
	n = (size_t)sprintf(text, "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop, namespace: demo}\nspec:\n"
				  "  tls: [{hosts: [shop.test], secretName: shop}]\n  rules:\n  - host: shop.test\n    http: {paths: [{path: /, "
				  "pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n---\n"
				  "apiVersion: v1\nkind: Secret\nmetadata: {name: shop, namespace: demo}\ntype: kubernetes.io/tls\nstringData:\n"
				  "  tls.crt: |\n");
	n += put_pem(text + n, crt);
	n += (size_t)sprintf(text + n, "  tls.key: |\n");
	n += put_pem(text + n, key);
	sync_run(&r->s, store_load_yaml(r->store, "f", text, n));
}

static int open_rig(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	authority_open(&r->a);
	r->leaf = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "leaf", .purpose = OF_SERVER, .url = "http://a.test", .must_staple = true});
	r->store = store_create();
	r->publish = publish_create("/nonexistent/dataplane.sock");
	r->staples = staples_create();
	sync_init(&r->s, r->store, r->publish);
	r->s.staples = r->staples;
	r->s.options.staples = r->staples;
	load(r);
	assert_int_equal(snapshot_count(r->s.snapshot, CERTS), 1);
	*state = r;
	return 0;
}

static int close_rig(void **state)
{
	struct rig *r = *state;

	sync_fini(&r->s);
	staples_destroy(r->staples);
	publish_destroy(r->publish);
	store_destroy(r->store);
	holder_close(&r->leaf);
	authority_close(&r->a);
	free(r);
	return 0;
}

static const struct certificate *own(const struct rig *r)
{
	return r->s.model->names[0].certs[0];
}

static bool serves(const struct rig *r, const struct certificate *c)
{
	return certificate_compare_ids(snapshot_cert(r->s.snapshot, 0), &c->blob->id) == 0;
}

/* The table has it from then on. */
static const struct certificate *set(struct rig *r, const char *response, enum staple_state state, const char *why)
{
	const struct certificate_part part = {(const unsigned char *)response, response ? strlen(response) : 0};
	const struct certificate *stapled = response ? certificate_with_ocsp(own(r), part) : NULL;

	staples_set(r->staples, &own(r)->blob->id,
		    &(struct staple){.state = state, .must_staple = true, .why = why, .reason = "", .stapled = stapled});
	sync_staple(&r->s);
	return stapled;
}

static const char *problem(const struct rig *r, const char *reason)
{
	for (size_t i = 0; i < r->s.model->n_problems; i++)
		if (strcmp(r->s.model->problems[i].reason, reason) == 0)
			return r->s.model->problems[i].text;
	return "";
}

static void snapshot_names_the_certificate_with_its_response(void **state)
{
	struct rig *r = *state;
	const uint64_t generation = r->s.generation;
	const struct certificate *stapled;

	assert_true(serves(r, own(r)));
	stapled = set(r, "one", STAPLE_GOOD, NULL);
	assert_true(serves(r, stapled));
	assert_int_equal(r->s.generation, generation + 1);
	stapled = set(r, "two", STAPLE_GOOD, NULL);
	assert_true(serves(r, stapled));
	sync_run(&r->s, UINT64_MAX); /* translated anew, it is the same */
	assert_true(serves(r, stapled));
	assert_int_equal(r->s.generation, generation + 2);
	set(r, NULL, STAPLE_FAILED, "nobody answers");
	assert_true(serves(r, own(r)));
}

static void response_that_the_dataplane_does_not_take_is_left_out_alone(void **state)
{
	struct rig *r = *state;
	const struct certificate *stapled = set(r, "one", STAPLE_GOOD, NULL);

	r->s.refused = malloc(sizeof(*r->s.refused));
	r->s.refused[0] = stapled->blob->id;
	r->s.n_refused = 1;
	r->s.refused_s = time(NULL);
	sync_run(&r->s, UINT64_MAX);
	assert_true(serves(r, own(r)));
	assert_string_equal(problem(r, "CertificateRefused"), "");
}

static void owner_is_told_what_he_has_to_do(void **state)
{
	struct rig *r = *state;

	set(r, NULL, STAPLE_PENDING, NULL); /* it may come in a moment */
	assert_string_equal(problem(r, "MustStaple"), "");
	set(r, NULL, STAPLE_FAILED, "nobody answers");
	assert_non_null(strstr(problem(r, "MustStaple"), "nobody answers"));
	set(r, NULL, STAPLE_OFF, NULL);
	assert_non_null(strstr(problem(r, "MustStaple"), "--ocsp off"));
	set(r, NULL, STAPLE_HTTPS, NULL);
	assert_non_null(strstr(problem(r, "MustStaple"), "http was expected"));
	set(r, NULL, STAPLE_NO_ISSUER, NULL);
	assert_non_null(strstr(problem(r, "MustStaple"), "tls.crt"));
	set(r, "one", STAPLE_GOOD, "nobody answers"); /* the last one lasts */
	assert_string_equal(problem(r, "MustStaple"), "");
	set(r, NULL, STAPLE_REVOKED, NULL);
	assert_non_null(strstr(problem(r, "CertificateRevoked"), "demo/shop was revoked"));
	assert_string_equal(problem(r, "MustStaple"), ""); /* which is the least of it */
	set(r, "one", STAPLE_GOOD, NULL);
	assert_string_equal(problem(r, "CertificateRevoked"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
	    T(snapshot_names_the_certificate_with_its_response),
	    T(response_that_the_dataplane_does_not_take_is_left_out_alone),
	    T(owner_is_told_what_he_has_to_do),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
