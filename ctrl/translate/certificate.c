/* SPDX-License-Identifier: Apache-2.0 */
/* See certificate.h. */
#include "translate/certificate.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/hash.h"
#include "translate/translate_pvt.h"

/* The first 16 bytes of SHA-256; 0, which is no id, becomes 1. */
static struct weir_cert_id id_of(const struct weir_certificate *b)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	struct weir_cert_id id;
	const size_t from = offsetof(struct weir_certificate, n_chain);

	SHA256((const unsigned char *)b + from, b->size - from, digest);
	memcpy(&id, digest, sizeof(id));
	OPENSSL_cleanse(digest, sizeof(digest));
	for (unsigned i = 0; i < 2; i++)
		id.v[i] = id.v[i] ? id.v[i] : 1;
	return id;
}

static struct weir_part lay(struct weir_certificate *b, struct certificate_part from, uint32_t *end)
{
	struct weir_part part = {*end, (uint32_t)from.n};

	memcpy((char *)b + *end, from.p, from.n);
	*end += (uint32_t)from.n;
	return part;
}

/* A blob with room for so many bytes behind its head, to be filled and then sealed; NULL: it would be too large. */
static struct certificate *begin(enum weir_certificate_kind kind, size_t n_bytes)
{
	const size_t size = sizeof(struct weir_certificate) + n_bytes;
	struct certificate *c;
	struct weir_certificate *b;

	if (n_bytes > WEIR_CERTIFICATE_MAX_BYTES || size > WEIR_CERTIFICATE_MAX_BYTES)
		return NULL;
	c = translate_must(calloc(1, sizeof(*c)));
	c->n_refs = 1;
	c->ns = c->name = NULL;
	c->blob = b = translate_must(calloc(1, size));
	b->magic = WEIR_CERTIFICATE_MAGIC;
	b->abi_major = WEIR_ABI_MAJOR;
	b->abi_minor = WEIR_ABI_MINOR;
	b->size = (uint32_t)size;
	b->kind = (uint32_t)kind;
	return c;
}

static struct certificate *seal(struct certificate *c)
{
	struct weir_certificate *b = c->blob;

	b->id = id_of(b);
	b->checksum = hash64_zeroed(b, b->size, offsetof(struct weir_certificate, checksum), 8, 0);
	return c;
}

struct certificate *certificate_create(const struct certificate_part *chain, size_t n_chain, struct certificate_part key)
{
	struct certificate *c;
	size_t n_bytes = key.n;
	uint32_t end = sizeof(*c->blob);

	for (size_t i = 0; i < n_chain; i++)
		n_bytes += chain[i].n;
	c = begin(WEIR_CERTIFICATE_IDENTITY, n_bytes);
	if (!c)
		return NULL;
	c->blob->n_chain = (uint32_t)n_chain;
	for (size_t i = 0; i < n_chain; i++)
		c->blob->chain[i] = lay(c->blob, chain[i], &end);
	c->blob->key = lay(c->blob, key, &end);
	return seal(c);
}

struct certificate *certificate_with_ocsp(const struct certificate *c, struct certificate_part ocsp)
{
	const struct weir_certificate *b = c->blob;
	const size_t n_old = b->key.off + b->key.size - sizeof(*b); /* the chain and the key */
	struct certificate *out = begin(WEIR_CERTIFICATE_IDENTITY, n_old + ocsp.n);
	uint32_t end = (uint32_t)(sizeof(*b) + n_old);

	if (!out)
		return NULL;
	memcpy(out->blob + 1, b + 1, n_old);
	out->blob->n_chain = b->n_chain;
	memcpy(out->blob->chain, b->chain, sizeof(b->chain));
	out->blob->key = b->key;
	out->blob->ocsp = lay(out->blob, ocsp, &end);
	out->ns = c->ns ? translate_must(strdup(c->ns)) : NULL;
	out->name = c->name ? translate_must(strdup(c->name)) : NULL;
	out->key = c->key;
	out->not_before_s = c->not_before_s;
	out->not_after_s = c->not_after_s;
	return seal(out);
}

struct certificate *certificate_create_trust(struct certificate_part cas, struct certificate_part crls)
{
	struct certificate *c = cas.n <= WEIR_CERTIFICATE_MAX_BYTES ? begin(WEIR_CERTIFICATE_TRUST, cas.n + crls.n) : NULL;
	uint32_t end = sizeof(*c->blob);

	if (!c)
		return NULL;
	c->blob->n_chain = 1;
	c->blob->chain[0] = lay(c->blob, cas, &end);
	if (crls.n)
		c->blob->crls = lay(c->blob, crls, &end);
	return seal(c);
}

struct certificate *certificate_read_trust(const char *pem, size_t n)
{
	struct certificate *c;

	trust_read(pem, n, NULL, 0, &c);
	return c;
}

void certificate_add_name(struct certificate *c, const char *name, size_t n)
{
	c->names = translate_must(realloc(c->names, (c->n_names + 1) * sizeof(*c->names)));
	c->names[c->n_names++] = translate_must(strndup(name, n));
}

bool certificate_facts(const struct certificate *c, struct ocsp_facts *out)
{
	if (!c->facts)
		return ocsp_facts_read(c->blob, out);
	memcpy(out, c->facts, offsetof(struct ocsp_facts, url) + strlen(c->facts->url) + 1);
	return true;
}

struct certificate *certificate_get(const struct certificate *c)
{
	struct certificate *own = (struct certificate *)(uintptr_t)c; /* the count is no part of what it is */

	own->n_refs++;
	return own;
}

void certificate_put(struct certificate *c)
{
	if (!c || --c->n_refs > 0)
		return;
	OPENSSL_cleanse(c->blob, c->blob->size);
	free(c->blob);
	for (size_t i = 0; i < c->n_names; i++)
		free(c->names[i]);
	free(c->names);
	free(c->facts);
	free((char *)(uintptr_t)c->ns);
	free((char *)(uintptr_t)c->name);
	free(c);
}

bool certificate_covers(const struct certificate *c, const char *host)
{
	const char *dot = strchr(host, '.');

	if (!*host)
		return true;
	for (size_t i = 0; i < c->n_names; i++) {
		const char *own = c->names[i];

		if (strcmp(own, host) == 0 || (dot && own[0] == '*' && host[0] != '*' && strcmp(own + 1, dot) == 0))
			return true;
	}
	return false;
}

const char *certificate_key_name(enum certificate_key key)
{
	static const char *const names[] = {
#define X(id, name) name,
		CERTIFICATE_KEYS(X)
#undef X
	};
	return names[key];
}

int certificate_compare_ids(const struct weir_cert_id *a, const struct weir_cert_id *b)
{
	return memcmp(a, b, sizeof(*a));
}
