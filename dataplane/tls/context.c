/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sessions of a profile have in common (Mozilla's server side TLS guidelines, version 5.7): made once, since it
 * takes long.
 */
#include <openssl/err.h>
#include <openssl/kdf.h>

#include "base/log.h"
#include "tls/tls_pvt.h"

/* "intermediate" without DHE: finite fields cost a server much, and nobody needs them who speaks TLS 1.2 today. */
#define CIPHERS_12 \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/*
 * A client that knows the first one is asked for a share of it, if it sent none (a round trip more; who knows it mostly sends one):
 * what is before the slash is agreed on before what is behind it (OpenSSL 3.5).
 */
#define GROUPS TLS_GROUP_PQ "/" TLS_GROUPS

/* The client's order of cipher suites counts in both profiles: it knows whether it has AES in hardware. */
#define OPTIONS (SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION)
#define MODES \
	(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN)

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n_out, const unsigned char *in, unsigned n_in, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *chosen;

	if (tls_bio_session(ssl)->is_stream) /* whoever is behind knows, and is not asked */
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_select_next_proto(&chosen, n_out, ours, sizeof(ours) - 1, in, n_in) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* Each message, alert and head of a record, of both sides, as it passes. */
static void on_message(int write_p, int version, int type, const void *data, size_t n, SSL *ssl, void *arg)
{
	const uint8_t *p = data;
	struct tls_session *s;

	if (type == SSL3_RT_HEADER && n > 0)
		tls_carry_note_record(ssl, write_p, p[0]);
	else if (type == SSL3_RT_HANDSHAKE && !write_p && n > 0 && p[0] == SSL3_MT_KEY_UPDATE) {
		s = tls_bio_session(ssl);
		s->n_key_updates++;
		stat_inc(s->t->cfg.stats, WEIR_C_TLS_KEY_UPDATES);
	} else if (type == SSL3_RT_HANDSHAKE && !write_p && n > 0 && p[0] == SSL3_MT_NEWSESSION_TICKET) {
		s = tls_bio_session(ssl);
		if (s->is_backend && s->peer->n_messages < UINT16_MAX)
			s->peer->n_messages++;
	} else if (type == SSL3_RT_ALERT && write_p && n == 2 && p[1] == SSL_AD_NO_RENEGOTIATION) {
		s = tls_bio_session(ssl);
		if (s->n_renegotiations < UINT8_MAX)
			s->n_renegotiations++;
	}
}

bool tls_context_set(SSL_CTX *ctx, enum weir_tls_profile profile, const char *groups)
{
	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_options(ctx, OPTIONS);
	SSL_CTX_set_mode(ctx, MODES);
	SSL_CTX_set_msg_callback(ctx, on_message);
	return SSL_CTX_set_min_proto_version(ctx, profile == WEIR_TLS_STRICT ? TLS1_3_VERSION : TLS1_2_VERSION) &&
	       SSL_CTX_set_cipher_list(ctx, CIPHERS_12) && SSL_CTX_set_ciphersuites(ctx, CIPHERS_13) &&
	       (SSL_CTX_set1_groups_list(ctx, groups) || SSL_CTX_set1_groups_list(ctx, TLS_GROUPS));
}

/* With a device's properties it may be another provider's key schedule, which tells nothing (kdf.h). */
static void tell_who_derives(struct tls *t, const char *properties)
{
	EVP_KDF *kdf = EVP_KDF_fetch(t->lib, "TLS13-KDF", properties);
	const char *name = kdf ? OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)) : "nobody";

	if (strcmp(name, "weir") != 0)
		log_info("TLS: with the properties '%s' keys are derived by provider %s: libssl carries the records of sessions that use the device", properties, name);
	EVP_KDF_free(kdf);
}

static SSL_CTX *create(struct tls *t, enum weir_tls_profile profile, const char *properties)
{
	char all[sizeof(t->cfg.offload->cfg.properties) + sizeof(KDF_PROPERTIES ",")];
	SSL_CTX *ctx;

	snprintf(all, sizeof(all), KDF_PROPERTIES "%s%s", properties ? "," : "", properties ? properties : "");
	ctx = SSL_CTX_new_ex(t->lib, all, TLS_server_method());
	if (!ctx)
		return NULL;
	if (properties)
		tell_who_derives(t, all);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	tls_certificate_staple(ctx);
	tls_ticket_register(ctx);
	if (tls_context_set(ctx, profile, GROUPS) && SSL_CTX_set_num_tickets(ctx, 1) && tls_early_register(t, ctx))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

int tls_contexts_create(struct tls *t)
{
	const struct offload_device *d = t->cfg.offload;

	for (unsigned i = 0; i < TLS_N_PROFILES; i++) {
		t->ctx[i] = create(t, (enum weir_tls_profile)i, NULL);
		if (d && d->cfg.kind == OFFLOAD_PROVIDER)
			t->device_ctx[i] = create(t, (enum weir_tls_profile)i, d->cfg.properties[0] ? d->cfg.properties : NULL);
		if (!t->ctx[i] || (d && d->cfg.kind == OFFLOAD_PROVIDER && !t->device_ctx[i]))
			return -1;
	}
	ERR_clear_error(); /* of the group that may not be there */
	return 0;
}

void tls_contexts_destroy(struct tls *t)
{
	for (unsigned i = 0; i < TLS_N_PROFILES; i++) {
		SSL_CTX_free(t->ctx[i]);
		SSL_CTX_free(t->device_ctx[i]);
	}
}
