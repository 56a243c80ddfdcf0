/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests with real certificates, made in one process: bench_certificates N DIRECTORY. Host h%05u.certs.example.com has an
 * Ingress and a Secret with a certificate of a P-256 key of its own, which it has signed itself; a thousand of them are in a file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define A_FILE 1000u

static void check(int is_ok, const char *what)
{
	if (is_ok)
		return;
	fprintf(stderr, "bench_certificates: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static X509 *make(EVP_PKEY *key, unsigned i)
{
	X509 *x = X509_new();
	char host[64], san[80];
	X509_EXTENSION *e;

	check(x != NULL, "no memory");
	snprintf(host, sizeof(host), "h%05u.certs.example.com", i);
	snprintf(san, sizeof(san), "DNS:%s", host);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), i + 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 90l * 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)host, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	check(e && X509_add_ext(x, e, -1) && X509_sign(x, key, EVP_sha256()) > 0, "a certificate");
	X509_EXTENSION_free(e);
	return x;
}

/* The text in pem, in base64; it is empty then. */
static void put(FILE *f, const char *name, BIO *pem)
{
	static unsigned char out[16384];
	char *text;
	long n = BIO_get_mem_data(pem, &text);

	check(n > 0 && n < 8192, "a text");
	EVP_EncodeBlock(out, (const unsigned char *)text, (int)n);
	fprintf(f, "  %s: %s\n", name, (const char *)out);
	(void)BIO_reset(pem);
}

static void write_host(FILE *f, unsigned i, BIO *pem)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x;

	check(key != NULL, "a key");
	x = make(key, i);
	fprintf(f, "apiVersion: v1\nkind: Secret\nmetadata: {name: h%05u, namespace: demo}\ntype: kubernetes.io/tls\ndata:\n", i);
	check(PEM_write_bio_X509(pem, x), "PEM");
	put(f, "tls.crt", pem);
	check(PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL), "PEM");
	put(f, "tls.key", pem);
	fprintf(f, "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: h%05u, namespace: demo}\nspec:\n"
		   "  tls: [{hosts: [h%05u.certs.example.com], secretName: h%05u}]\n  rules:\n  - host: h%05u.certs.example.com\n"
		   "    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n---\n", i, i, i, i);
	X509_free(x);
	EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
	unsigned n = argc == 3 ? (unsigned)atoi(argv[1]) : 0;
	BIO *pem = BIO_new(BIO_s_mem());
	FILE *f = NULL;

	check(n > 0 && pem, "usage: bench_certificates N DIRECTORY");
	for (unsigned i = 0; i < n; i++) {
		char path[4096];

		if (i % A_FILE == 0) {
			snprintf(path, sizeof(path), "%s/certs-%02u.yaml", argv[2], i / A_FILE);
			check(!f || fclose(f) == 0, "a file");
			f = fopen(path, "w");
			check(f != NULL, path);
		}
		write_host(f, i, pem);
	}
	check(fclose(f) == 0, "a file");
	BIO_free(pem);
	return 0;
}
