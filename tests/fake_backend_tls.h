/* SPDX-License-Identifier: Apache-2.0 */
/* What upstream/ needs of tls/ where TCP is a stand-in: backends are spoken to in the clear there, so none of it is called. */
#ifndef TESTS_FAKE_BACKEND_TLS_H
#define TESTS_FAKE_BACKEND_TLS_H

#include <stdlib.h>

#include "tls/stream.h"

#define NEVER_CALLED(type, name, ...) \
	type name(__VA_ARGS__) \
	{ \
		abort(); \
	}

NEVER_CALLED(struct tls_session *, tls_connect, struct tls *t, struct tcp_conn *c, const struct weir_snapshot *s,
	     const struct weir_backend_tls *b, uint64_t settings)
NEVER_CALLED(uint64_t, tls_backend_hash, const struct weir_snapshot *s, const struct weir_backend_tls *b)
NEVER_CALLED(enum tls_outcome, tls_handshake, struct tls_session *s, const struct weir_snapshot *snapshot, uint64_t now_us)
NEVER_CALLED(bool, tls_is_ready, const struct tls_session *s)
NEVER_CALLED(bool, tls_is_truncated, const struct tls_session *s)
NEVER_CALLED(enum weir_reason, tls_reason, const struct tls_session *s)
NEVER_CALLED(void, tls_fail, struct tls_session *s, enum weir_reason why)
NEVER_CALLED(void, tls_free, struct tls_session *s)
NEVER_CALLED(struct tcp_conn *, tls_tcp, const struct tls_session *s)
NEVER_CALLED(size_t, tls_readable, struct tls_session *s)
NEVER_CALLED(bool, tls_is_eof, struct tls_session *s)
NEVER_CALLED(void, tls_flush, struct tls_session *s)
NEVER_CALLED(bool, tls_is_flushed, struct tls_session *s)
NEVER_CALLED(void, tls_shutdown, struct tls_session *s)

#endif
