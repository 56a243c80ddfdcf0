/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2) says before TLS proper begins: enough to choose a certificate, or
 * a backend, without spending a TLS session on it. The bytes stay where they are.
 */
#ifndef TLS_HELLO_H
#define TLS_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define HELLO_NAME_MAX 255u /* bytes of a server name */

enum hello_outcome {
	HELLO_DONE,
	HELLO_MORE,
	HELLO_NOT_TLS,	 /* no handshake record is what the bytes begin with */
	HELLO_TOO_LARGE, /* more than max_bytes, records included */
	HELLO_BAD,	 /* malformed: lengths that do not fit, a name that is none, an extension that stands twice */
};

struct hello {
	char server_name[HELLO_NAME_MAX + 1]; /* lower case, without a dot at its end, NUL terminated; "": none is given */
	uint8_t n_server_name;
	bool has_tls13; /* among supported_versions */
	bool has_early_data; /* announced (RFC 8446 4.2.10) */
	bool has_http1, has_h2, has_alpn; /* in ALPN (RFC 7301); has_alpn: there is such an extension */
	uint16_t legacy_version;
};

/*
 * Bytes that have to be there until more can be said, for the first n bytes of a connection: as many as there are (n): look now.
 * Costs next to nothing, so a peer that sends byte by byte makes no work.
 */
size_t hello_wants(const uint8_t *bytes, size_t n, size_t max_bytes);

/* Reads the first n bytes of a connection, in one piece. *out is filled in for DONE only. */
enum hello_outcome hello_read(const uint8_t *bytes, size_t n, size_t max_bytes, struct hello *out);

#endif
