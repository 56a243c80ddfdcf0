/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of OpenSSL, at the cost of what is asked of them. For one thread alone. */
#ifndef TRANSLATE_X509_H
#define TRANSLATE_X509_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

/*
 * A certificate of which all but the public key is looked at: X509_get0_pubkey() has none, and signatures cannot be verified by
 * it. It may be the subject of X509_check_issued(), not the issuer. For X509_free(); NULL: it cannot be read.
 */
X509 *x509_read_leaf(const unsigned char *der, size_t n);
/* A certificate in whole; those that come again and again are read once. For X509_free(); NULL: it cannot be read. */
X509 *x509_read_issuer(const unsigned char *der, size_t n);
/* As X509_check_private_key(), of a certificate that was read either way. */
bool x509_has_key(X509 *x, EVP_PKEY *k);

#endif
