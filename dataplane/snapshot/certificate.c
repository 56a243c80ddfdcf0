/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of certificates with their keys, which travel alone: their frame. What the parts hold, TLS finds out. */
#include <inttypes.h>

#include "base/hash.h"
#include "snapshot/check_pvt.h"

static enum weir_refusal check_head(const struct check *c, const struct weir_certificate *s, size_t n)
{
	if (n < sizeof(*s))
		return check_refuse(c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head alone has %zu", n, sizeof(*s));
	if (s->magic != WEIR_CERTIFICATE_MAGIC)
		return check_refuse(c, WEIR_REFUSED_BAD_MAGIC, "magic is %016" PRIx64, s->magic);
	if (s->abi_major != WEIR_ABI_MAJOR)
		return check_refuse(c, WEIR_REFUSED_BAD_ABI, "major version %u, spoken here is %u", s->abi_major, WEIR_ABI_MAJOR);
	if (n > WEIR_CERTIFICATE_MAX_BYTES)
		return check_refuse(c, WEIR_REFUSED_TOO_BIG, "%zu bytes, at most %u", n, WEIR_CERTIFICATE_MAX_BYTES);
	if (s->size != n)
		return check_refuse(c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head says %u", n, s->size);
	if (hash64_zeroed(s, n, offsetof(struct weir_certificate, checksum), 8, 0) != s->checksum)
		return check_refuse(c, WEIR_REFUSED_BAD_CHECKSUM, "checksum does not fit");
	if (s->id.v[0] == 0 || s->id.v[1] == 0)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "the id is none");
	if (s->n_chain < 1 || s->n_chain > WEIR_MAX_CHAIN)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "a chain of %u, at most %u", s->n_chain, WEIR_MAX_CHAIN);
	if (s->kind > WEIR_CERTIFICATE_TRUST || (s->kind == WEIR_CERTIFICATE_TRUST && s->n_chain > 1))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "kind %u with a chain of %u", s->kind, s->n_chain);
	if (s->reserved1)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "reserved fields are set");
	return WEIR_REFUSED_OK;
}

/* A part that is there, and begins where the one before it ended; *next moves on. */
static enum weir_refusal check_part(const struct check *c, struct weir_part part, uint32_t size, uint64_t *next, const char *what)
{
	if (part.size == 0)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "%s is empty", what);
	if (part.off != *next || (uint64_t)part.off + part.size > size)
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "%s: %u + %u of %u, expected to begin at %" PRIu64, what, part.off,
				    part.size, size, *next);
	*next += part.size;
	return WEIR_REFUSED_OK;
}

/* None has no place either, or the one where it would be. */
static enum weir_refusal check_optional(const struct check *c, struct weir_part part, uint32_t size, uint64_t *next, const char *what)
{
	return part.size || (part.off && part.off != *next) ? check_part(c, part, size, next, what) : WEIR_REFUSED_OK;
}

enum weir_refusal certificate_check(const void *blob, size_t n, struct snapshot_error *err)
{
	struct check c = {.err = err};
	const struct weir_certificate *s = blob;
	uint64_t next = sizeof(*s);

	if (err)
		*err = (struct snapshot_error){0};
	TRY(check_head(&c, s, n));
	for (uint32_t i = 0; i < WEIR_MAX_CHAIN; i++) {
		if (i < s->n_chain)
			TRY(check_part(&c, s->chain[i], s->size, &next, "a certificate of the chain"));
		else if (s->chain[i].off || s->chain[i].size)
			return check_refuse(&c, WEIR_REFUSED_BAD_VALUE, "certificate %u stands behind the chain", i);
	}
	if (s->kind == WEIR_CERTIFICATE_TRUST ? s->key.size || s->ocsp.size : s->crls.size)
		return check_refuse(&c, WEIR_REFUSED_BAD_VALUE, "parts that are not of kind %u", s->kind);
	if (s->kind == WEIR_CERTIFICATE_IDENTITY)
		TRY(check_part(&c, s->key, s->size, &next, "the key"));
	else
		TRY(check_optional(&c, s->key, s->size, &next, "the key"));
	TRY(check_optional(&c, s->ocsp, s->size, &next, "the OCSP response"));
	TRY(check_optional(&c, s->crls, s->size, &next, "the CRLs"));
	if (next != s->size)
		return check_refuse(&c, WEIR_REFUSED_BAD_RANGE, "parts end at %" PRIu64 " of %u", next, s->size);
	return WEIR_REFUSED_OK;
}
