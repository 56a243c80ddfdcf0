/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of TLS until that is there: every session fails. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls/stream.h"

struct tls {
	struct tls_config cfg;
};

struct tls *tls_create(const struct tls_config *config)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (t)
		t->cfg = *config;
	return t;
}

void tls_destroy(struct tls *t) { free(t); }
struct tls_certificate *tls_certificate_create(struct tls *t, const struct weir_certificate *blob, char *why, size_t n)
{
	snprintf(why, n, "TLS is not there");
	return NULL;
}
void tls_certificate_destroy(struct tls_certificate *cert) {}
const struct weir_cert_id *tls_certificate_id(const struct tls_certificate *cert) { return NULL; }
void tls_take_certificate(struct tls *t, const struct weir_cert_id *id, struct tls_certificate *cert, uint64_t now_us) {}
void tls_retain(struct tls *t, const struct weir_snapshot *s) {}
bool tls_step(struct tls *t, int *budget) { return true; }
void tls_set_ticket_keys(struct tls *t, const struct tls_ticket_keys *keys) {}
void tls_set_clock(struct tls *t, uint64_t unix_offset_us) {}
struct tls_session *tls_accept(struct tls *t, struct tcp_conn *c) { return NULL; }
void tls_free(struct tls_session *s) {}
enum tls_outcome tls_handshake(struct tls_session *s, const struct weir_snapshot *snapshot, uint64_t now_us) { return TLS_FAILED; }
bool tls_is_ready(const struct tls_session *s) { return false; }
enum weir_reason tls_reason(const struct tls_session *s) { return WEIR_R_TLS_NO_MEMORY; }
void tls_fail(struct tls_session *s, enum weir_reason why) {}
void tls_get_info(const struct tls_session *s, struct tls_info *out) { *out = (struct tls_info){.cipher = "", .group = "", .alpn = ""}; }
struct slice tls_server_name(const struct tls_session *s) { return slice_of("", 0); }
struct tcp_conn *tls_tcp(const struct tls_session *s) { return NULL; }
size_t tls_readable(struct tls_session *s) { return 0; }
bool tls_is_eof(struct tls_session *s) { return true; }
struct slice tls_peek(struct tls_session *s) { return slice_of(NULL, 0); }
void tls_consume(struct tls_session *s, size_t n) {}
struct rte_mbuf *tls_hold(struct tls_session *s, size_t n) { return NULL; }
struct rte_mbuf *tls_recv(struct tls_session *s, size_t max_bytes) { return NULL; }
size_t tls_send_room(struct tls_session *s) { return 0; }
int tls_send(struct tls_session *s, const void *data, size_t n) { return -EPIPE; }
int tls_send_mbufs(struct tls_session *s, struct rte_mbuf *chain) { return -EPIPE; }
void tls_flush(struct tls_session *s) {}
void tls_shutdown(struct tls_session *s) {}
