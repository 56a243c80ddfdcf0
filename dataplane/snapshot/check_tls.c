/* SPDX-License-Identifier: Apache-2.0 */
/* Who has to show a certificate: clients, and the endpoints of backends. */
#include "snapshot/check_pvt.h"

static bool are_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static enum weir_refusal check_client_auth(const struct check *c, const struct weir_client_auth *a, uint32_t i)
{
	const uint8_t all = WEIR_CLIENT_CERT_XFCC | WEIR_CLIENT_CERT_RFC9440 | WEIR_CLIENT_CERT_CHAIN;

	if (a->trust.count > 1)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "client authentication %u has %u sets of CA certificates", i,
				    a->trust.count);
	if (a->mode > WEIR_CLIENT_AUTH_INSECURE || a->depth > WEIR_MAX_CLIENT_AUTH_DEPTH)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "client authentication %u has mode %u, depth %u", i, a->mode, a->depth);
	if (a->fields & ~all || ((a->fields & WEIR_CLIENT_CERT_CHAIN) && !(a->fields & WEIR_CLIENT_CERT_RFC9440)))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "client authentication %u passes on %02x", i, a->fields);
	if (!are_zero(a->reserved0, sizeof(a->reserved0)))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "client authentication %u: reserved fields are set", i);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_client_auths(const struct check *c, uint64_t *certs)
{
	for (uint32_t i = 0; i < snapshot_count(c->s, CLIENT_AUTHS); i++) {
		const struct weir_client_auth *a = snapshot_client_auth(c->s, i);

		TRY(check_client_auth(c, a, i));
		TRY(check_range(c, a->trust, WEIR_SECT_CERTS, certs, "CA certificates of client authentication", i));
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_san(const struct check *c, const struct weir_san *san, uint32_t i)
{
	struct slice value;

	TRY(check_text(c, san->value, WEIR_MAX_NAME, "subject alternative name", i));
	value = snapshot_str(c->s, san->value);
	if ((san->kind != WEIR_SAN_DNS && san->kind != WEIR_SAN_URI) || !are_zero(san->reserved0, sizeof(san->reserved0)))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "subject alternative name %u is of kind %u", i, san->kind);
	if (value.n > 2 && san->kind == WEIR_SAN_DNS && value.p[0] == '*' && value.p[1] == '.')
		value = slice_of(value.p + 2, value.n - 2);
	if (value.n == 0 || (san->kind == WEIR_SAN_DNS && !snapshot_is_server_name(value)))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "subject alternative name %u is none", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_one(const struct check *c, const struct weir_backend_tls *b, uint32_t i)
{
	struct slice host;

	TRY(check_text(c, b->host, 255, "host of TLS", i));
	host = snapshot_str(c->s, b->host);
	if (!host.n || !snapshot_is_server_name(host))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "TLS %u: its host is no server name", i);
	if (b->certs.count > 2 || b->sans.count > WEIR_MAX_SANS)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "TLS %u has %u certificates, %u names", i, b->certs.count, b->sans.count);
	if (b->profile > WEIR_TLS_STRICT || !are_zero(b->reserved0, sizeof(b->reserved0)))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "TLS %u has profile %u", i, b->profile);
	return WEIR_REFUSED_OK;
}

enum weir_refusal check_backend_tls(const struct check *c, uint64_t *certs)
{
	uint64_t sans = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, BACKEND_TLS); i++) {
		const struct weir_backend_tls *b = snapshot_backend_tls(c->s, i);

		TRY(check_one(c, b, i));
		TRY(check_range(c, b->sans, WEIR_SECT_SANS, &sans, "names of TLS", i));
		TRY(check_range(c, b->certs, WEIR_SECT_CERTS, certs, "certificates of TLS", i));
	}
	for (uint32_t i = 0; i < snapshot_count(c->s, SANS); i++)
		TRY(check_san(c, snapshot_san(c->s, i), i));
	return check_all_used(c, WEIR_SECT_SANS, sans);
}
