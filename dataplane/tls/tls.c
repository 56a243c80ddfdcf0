/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker has of TLS: made by main before the worker runs, since much of it takes long. */
#include <stdlib.h>

#include <openssl/err.h>
#include <rte_malloc.h>

#include "base/log.h"
#include "tls/tls_pvt.h"

static bool load_provider(struct tls *t)
{
	const struct offload_device *d = t->cfg.offload;

	return !d || d->cfg.kind != OFFLOAD_PROVIDER || offload_load_provider(t->lib, &d->cfg, t->providers);
}

static int init(struct tls *t)
{
	t->sessions = rte_zmalloc("tls sessions", (size_t)t->cfg.n_sessions * sizeof(*t->sessions), RTE_CACHE_LINE_SIZE);
	t->hello = malloc(t->cfg.hello_bytes + 1);
	if (!t->sessions || !t->hello || ready_init(t) != 0 || resume_init(t) != 0 || tls_early_init(t) != 0) {
		log_error("TLS: no memory for %u sessions", t->cfg.n_sessions);
		return -1;
	}
	t->lib = OSSL_LIB_CTX_new();
	t->kdf.tell = tls_carry_note;
	offload_init(t);
	t->bio = tls_bio_create();
	if (t->lib && t->bio && kdf_init(&t->kdf, t->lib) == 0 && record_ciphers_init(&t->ciphers, t->lib) == 0 && load_provider(t) &&
	    tls_ticket_init(t) == 0 && tls_contexts_create(t) == 0 && tls_client_contexts_create(t) == 0 && tls_certificates_init(t) == 0)
		return 0;
	log_error("TLS: OpenSSL cannot be set up: %s", ERR_reason_error_string(ERR_peek_last_error()));
	return -1;
}

struct tls *tls_create(const struct tls_config *config)
{
	struct tls *t = OPENSSL_zalloc(sizeof(*t)); /* where OpenSSL's objects are: it has keys of tickets, and what is sent */

	if (!t)
		return NULL;
	t->cfg = *config;
	ERR_clear_error();
	if (init(t) == 0)
		return t;
	ERR_clear_error();
	tls_destroy(t);
	return NULL;
}

void tls_destroy(struct tls *t)
{
	if (!t)
		return;
	assert(t->n_sessions == 0);
	ready_fini(t);
	resume_fini(t);
	tls_early_fini(t);
	if (!offload_fini(t))
		return;
	tls_contexts_destroy(t);
	tls_client_contexts_destroy(t);
	tls_ticket_fini(t);
	tls_certificates_fini(t);
	BIO_meth_free(t->bio);
	record_ciphers_fini(&t->ciphers);
	kdf_fini(&t->kdf);
	offload_unload_provider(t->providers);
	OSSL_LIB_CTX_free(t->lib);
	OPENSSL_cleanse(t->gathered, sizeof(t->gathered));
	rte_free(t->sessions);
	free(t->hello);
	OPENSSL_free(t);
}

void tls_set_clock(struct tls *t, uint64_t unix_offset_us)
{
}
