/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bench_tls_memory and bench_tls_threads share, where both ends of TLS are in one process. Nothing returns an error: die() ends the program.
 */
#ifndef WEIR_BENCH_TLS_ENDS_H
#define WEIR_BENCH_TLS_ENDS_H

#include <stdbool.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

/* Ends the program: its name, what went wrong, and OpenSSL's errors. */
__attribute__((noreturn)) void die(const char *what);
/* p, which is not NULL. */
void *must(void *p, const char *what);
/* A certificate for a day that this key (P-256 or RSA) has signed itself, made in this library context; NULL is the process' own. The caller's. */
X509 *make_certificate(OSSL_LIB_CTX *lib, EVP_PKEY *key);
/* Goes on with the handshake as far as the bytes go. True: it is complete. */
bool go_on(SSL *s);
/* Of qsort(), for double. */
int compare(const void *a, const void *b);

#endif
