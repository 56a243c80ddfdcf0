/* SPDX-License-Identifier: Apache-2.0 */
/* Backends: their ids, how their endpoints are chosen, and when one is left out. */
#include "base/hash.h"
#include "snapshot/check_pvt.h"

static enum weir_refusal check_cookie(const struct check *c, const struct weir_backend *b, uint32_t i)
{
	bool has_cookie = b->affinity == WEIR_AFFINITY_COOKIE;
	struct slice path;

	TRY(check_text(c, b->cookie_name, WEIR_MAX_COOKIE_NAME, "cookie of backend", i));
	TRY(check_text(c, b->cookie_path, WEIR_MAX_COOKIE_PATH, "path of the cookie of backend", i));
	if (b->affinity > WEIR_AFFINITY_COOKIE || b->same_site > WEIR_SAME_SITE_NONE)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u has affinity %u, SameSite %u", i, b->affinity,
				    b->same_site);
	path = snapshot_str(c->s, b->cookie_path);
	if (has_cookie ? !snapshot_is_field_name(snapshot_str(c->s, b->cookie_name)) || !snapshot_is_cookie_path(path)
		       : b->cookie_name.len || path.n || b->cookie_max_age_s || b->same_site)
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "backend %u: its cookie is none", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_balance(const struct check *c, const struct weir_backend *b, uint32_t i)
{
	TRY(check_text(c, b->hash_name, b->hash_on == WEIR_HASH_COOKIE ? WEIR_MAX_COOKIE_NAME : WEIR_MAX_FIELD_NAME,
		       "hashed name of backend", i));
	if (b->balance > WEIR_BALANCE_RING_HASH || b->hash_on > WEIR_HASH_COOKIE)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u is balanced by %u, %u", i, b->balance, b->hash_on);
	if (b->hash_on == WEIR_HASH_SOURCE ? b->hash_name.len : !snapshot_is_field_name(snapshot_str(c->s, b->hash_name)))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "backend %u hashes what has no name", i);
	if (b->slow_start_ms > WEIR_MAX_SLOW_START_MS)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u: slow start of %u ms", i, b->slow_start_ms);
	if (b->tls == WEIR_NONE ? b->proto == WEIR_PROTO_HTTPS
				: b->proto != WEIR_PROTO_HTTPS || b->tls >= snapshot_count(c->s, BACKEND_TLS))
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "backend %u of protocol %u: TLS %u", i, b->proto, b->tls);
	if (b->reserved0)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u: reserved fields are set", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_ejection(const struct check *c, const struct weir_backend *b, uint32_t i)
{
	if (b->max_ejected_percent > 100)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u ejects %u %%", i, b->max_ejected_percent);
	if ((b->eject_failures || b->success_window_ms) && (b->eject_base_ms == 0 || b->eject_max_ms < b->eject_base_ms))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u ejects for %u to %u ms", i, b->eject_base_ms,
				    b->eject_max_ms);
	if (b->eject_max_ms > WEIR_MAX_EJECTION_MS || b->success_window_ms > WEIR_MAX_EJECTION_MS)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u ejects for %u ms, by %u ms", i, b->eject_max_ms,
				    b->success_window_ms);
	if (b->success_window_ms && b->success_requests == 0)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u judges endpoints without requests", i);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_backends(const struct check *c)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, BACKENDS); i++) {
		const struct weir_backend *b = snapshot_backend(c->s, i);
		struct slice name;

		TRY(check_text(c, b->name, WEIR_MAX_NAME, "name of backend", i));
		name = snapshot_str(c->s, b->name);
		if (b->id != hash_backend_n(name.p, name.n))
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u: the id is not its name's", i);
		if (i && b[-1].id >= b->id)
			return check_refuse(c, WEIR_REFUSED_BAD_ORDER, "backend %u is not behind the one before it", i);
		if (b->proto != WEIR_PROTO_HTTP && b->proto != WEIR_PROTO_HTTPS)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "backend %u has protocol %u", i, b->proto);
		TRY(check_balance(c, b, i));
		TRY(check_cookie(c, b, i));
		TRY(check_ejection(c, b, i));
	}
	return WEIR_REFUSED_OK;
}
