/* SPDX-License-Identifier: Apache-2.0 */
/* Server names of TLS, and the certificates that they name. */
#include "snapshot/check_pvt.h"

static enum weir_refusal check_certs(const struct check *c, const struct weir_server_name *name, uint32_t i)
{
	if (name->certs.count > (name->mode == WEIR_TLS_PASSTHROUGH ? 0 : WEIR_MAX_CERTS_OF_NAME))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "server name %u has %u certificates", i, name->certs.count);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_ids(const struct check *c)
{
	for (uint32_t k = 0; k < snapshot_count(c->s, CERTS); k++) {
		const struct weir_cert_id *id = snapshot_cert(c->s, k);

		if (id->v[0] == 0 || id->v[1] == 0)
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "id of certificate %u is none", k);
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_host_of_name(const struct check *c, const struct weir_server_name *name, uint32_t i)
{
	struct slice host;

	TRY(check_host(c, name->host, name->host_kind, "host of server name", i));
	host = snapshot_str(c->s, name->host);
	if (host.n && !snapshot_is_server_name(host))
		return check_refuse(c, WEIR_REFUSED_BAD_STRING, "host of server name %u is none that a client could send", i);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal check_name(const struct check *c, const struct weir_bind *b, uint32_t i)
{
	static const uint8_t zeros[sizeof(((struct weir_server_name *)0)->reserved0)];
	const struct weir_server_name *name = snapshot_name(c->s, i);

	TRY(check_host_of_name(c, name, i));
	if (name->profile > WEIR_TLS_STRICT)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "server name %u has profile %u", i, name->profile);
	if (name->listener != WEIR_NONE && name->listener >= b->listeners.count)
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "server name %u: listener %u of %u", i, name->listener,
				    b->listeners.count);
	if (name->mode > WEIR_TLS_PASSTHROUGH)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "server name %u has mode %u", i, name->mode);
	if (name->client_auth != WEIR_NONE &&
	    (name->client_auth >= snapshot_count(c->s, CLIENT_AUTHS) || name->mode == WEIR_TLS_PASSTHROUGH))
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "server name %u: client authentication %u", i, name->client_auth);
	if (name->mode == WEIR_TLS_PASSTHROUGH &&
	    (name->listener == WEIR_NONE || snapshot_listener(c->s, b->listeners.first + name->listener)->kind != WEIR_LISTENER_STREAM))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "server name %u passes through to no listener of streams", i);
	if (memcmp(name->reserved0, zeros, sizeof(zeros)) != 0)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "server name %u: reserved fields are set", i);
	return check_certs(c, name, i);
}

enum weir_refusal check_names(const struct check *c)
{
	uint64_t certs = 0;

	for (uint32_t i = 0; i < snapshot_count(c->s, BINDS); i++) {
		const struct weir_bind *b = snapshot_bind(c->s, i);

		if (b->proto != WEIR_PROTO_HTTPS && (b->names.count || b->name_slots.count))
			return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "bind %u has server names, and no TLS", i);
		for (uint32_t k = b->names.first; k < b->names.first + b->names.count; k++) {
			TRY(check_range(c, snapshot_name(c->s, k)->certs, WEIR_SECT_CERTS, &certs, "certificates of server name",
					k));
			TRY(check_name(c, b, k));
		}
	}
	TRY(check_ids(c));
	TRY(check_client_auths(c, &certs));
	TRY(check_backend_tls(c, &certs));
	return check_all_used(c, WEIR_SECT_CERTS, certs);
}
