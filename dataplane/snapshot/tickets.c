/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of shared keys of session tickets, which travel alone. */
#include <inttypes.h>
#include <string.h>

#include "snapshot/check_pvt.h"

static bool is_zero(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return any == 0;
}

/* A key of zeros is none: whoever made it forgot to fill it in, and everyone could open what it seals. */
static enum weir_refusal check_key(const struct check *c, const struct weir_ticket_keys *s, uint32_t i)
{
	const struct weir_ticket_key *key = &s->key[i];

	if (is_zero(key->cipher, sizeof(key->cipher)) || is_zero(key->mac, sizeof(key->mac)))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "key %u is all zero", i);
	for (uint32_t k = 0; k < i; k++)
		if (memcmp(key->name, s->key[k].name, sizeof(key->name)) == 0)
			return check_refuse(c, WEIR_REFUSED_BAD_ORDER, "keys %u and %u have the same name", k, i);
	return WEIR_REFUSED_OK;
}

enum weir_refusal ticket_keys_check(const void *blob, size_t n, struct snapshot_error *err)
{
	const struct check c = {.err = err};
	const struct weir_ticket_keys *s = blob;

	if (err)
		*err = (struct snapshot_error){0};
	if (n < sizeof(*s))
		return check_refuse(&c, WEIR_REFUSED_TRUNCATED, "%zu bytes, it has %zu", n, sizeof(*s));
	if (n > sizeof(*s))
		return check_refuse(&c, WEIR_REFUSED_TOO_BIG, "%zu bytes, it has %zu", n, sizeof(*s));
	if (s->magic != WEIR_TICKET_KEYS_MAGIC)
		return check_refuse(&c, WEIR_REFUSED_BAD_MAGIC, "magic is %016" PRIx64, s->magic);
	if (s->abi_major != WEIR_ABI_MAJOR)
		return check_refuse(&c, WEIR_REFUSED_BAD_ABI, "major version %u, spoken here is %u", s->abi_major, WEIR_ABI_MAJOR);
	if (s->n > WEIR_MAX_TICKET_KEYS)
		return check_refuse(&c, WEIR_REFUSED_BAD_RANGE, "%u keys, at most %u", s->n, WEIR_MAX_TICKET_KEYS);
	for (uint32_t i = 0; i < s->n; i++)
		TRY(check_key(&c, s, i));
	if (!is_zero(&s->key[s->n], (WEIR_MAX_TICKET_KEYS - s->n) * sizeof(s->key[0])))
		return check_refuse(&c, WEIR_REFUSED_BAD_VALUE, "something stands behind the last of %u keys", s->n);
	return WEIR_REFUSED_OK;
}
