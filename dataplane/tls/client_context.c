/* SPDX-License-Identifier: Apache-2.0 */
/* What sessions to backends have in common, by profile: made once, as that of clients' (context.c). */
#include <openssl/err.h>

#include "tls/tls_pvt.h"

/* The ClientHello has a share (*) of both: an endpoint that does not know the first one asks for nothing, and costs no round trip. */
#define GROUPS "*" TLS_GROUP_PQ ":*" TLS_GROUPS

static SSL_CTX *create(struct tls *t, enum weir_tls_profile profile)
{
	static const unsigned char alpn[] = "\x08http/1.1";
	SSL_CTX *ctx = SSL_CTX_new_ex(t->lib, KDF_PROPERTIES, TLS_client_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tls_connect_verify);
	/* Kept in resume.c, which is called for each. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, resume_on_session);
	if (tls_context_set(ctx, profile, GROUPS) && SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

int tls_client_contexts_create(struct tls *t)
{
	for (unsigned i = 0; i < TLS_N_PROFILES; i++) {
		t->client_ctx[i] = create(t, (enum weir_tls_profile)i);
		if (!t->client_ctx[i])
			return -1;
	}
	ERR_clear_error(); /* of the group that may not be there */
	return 0;
}

void tls_client_contexts_destroy(struct tls *t)
{
	for (unsigned i = 0; i < TLS_N_PROFILES; i++)
		SSL_CTX_free(t->client_ctx[i]);
}
