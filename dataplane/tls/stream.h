/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream: a TCP connection, or a TLS session over one. One word, so
 * that who holds one needs no more room than for a connection; functions as in
 * tcp.h, where it says what each does. Plain streams cost one branch more.
 */
#ifndef TLS_STREAM_H
#define TLS_STREAM_H

#include "tls/tls.h"

struct stream {
	uintptr_t v; /* a struct tcp_conn *, or a struct tls_session * plus 1; 0: none */
};

#define STREAM_NONE ((struct stream){0})

static inline struct stream stream_of_tcp(struct tcp_conn *c)
{
	return (struct stream){(uintptr_t)c};
}

static inline struct stream stream_of_tls(struct tls_session *s)
{
	return (struct stream){(uintptr_t)s + 1};
}

/* NULL: it is plain. */
static inline struct tls_session *stream_tls(struct stream s)
{
	return s.v & 1 ? (struct tls_session *)(s.v - 1) : NULL;
}

static inline struct tcp_conn *stream_tcp(struct stream s)
{
	return s.v & 1 ? tls_tcp((struct tls_session *)(s.v - 1)) : (struct tcp_conn *)s.v;
}

#define STREAM_CALL(type, name) \
	static inline type stream_##name(struct stream s) \
	{ \
		return s.v & 1 ? tls_##name(stream_tls(s)) : tcp_##name(stream_tcp(s)); \
	}

STREAM_CALL(size_t, readable)
STREAM_CALL(bool, is_eof)
STREAM_CALL(struct slice, peek)
STREAM_CALL(size_t, send_room)
STREAM_CALL(void, shutdown)

static inline void stream_consume(struct stream s, size_t n)
{
	if (s.v & 1)
		tls_consume(stream_tls(s), n);
	else
		tcp_consume(stream_tcp(s), n);
}

static inline struct rte_mbuf *stream_hold(struct stream s, size_t n)
{
	return s.v & 1 ? tls_hold(stream_tls(s), n) : tcp_hold(stream_tcp(s), n);
}

static inline struct rte_mbuf *stream_recv(struct stream s, size_t max_bytes)
{
	return s.v & 1 ? tls_recv(stream_tls(s), max_bytes) : tcp_recv(stream_tcp(s), max_bytes);
}

static inline int stream_send(struct stream s, const void *data, size_t n)
{
	return s.v & 1 ? tls_send(stream_tls(s), data, n) : tcp_send(stream_tcp(s), data, n);
}

static inline int stream_send_mbufs(struct stream s, struct rte_mbuf *chain)
{
	return s.v & 1 ? tls_send_mbufs(stream_tls(s), chain) : tcp_send_mbufs(stream_tcp(s), chain);
}

static inline size_t stream_unacked(struct stream s)
{
	return s.v & 1 ? tls_unacked(stream_tls(s)) : tcp_unacked(stream_tcp(s));
}

static inline void stream_flush(struct stream s)
{
	if (s.v & 1)
		tls_flush(stream_tls(s));
}

#undef STREAM_CALL

#endif
