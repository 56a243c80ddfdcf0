/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "tls_ends.h"

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

void *must(void *p, const char *what)
{
	if (!p)
		die(what);
	return p;
}

X509 *make_certificate(OSSL_LIB_CTX *lib, EVP_PKEY *key)
{
	X509 *x = must(X509_new_ex(lib, NULL), "X509_new");
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"bench.example.com", -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	if (X509_sign(x, key, EVP_sha256()) <= 0)
		die("X509_sign");
	return x;
}

bool go_on(SSL *s)
{
	int rc = SSL_do_handshake(s);

	if (rc != 1 && SSL_get_error(s, rc) != SSL_ERROR_WANT_READ)
		die("handshake");
	return rc == 1;
}

int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}
