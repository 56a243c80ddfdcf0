/* SPDX-License-Identifier: Apache-2.0 */
/* TLS to a backend as JSON: who its endpoints have to be, and who we are. */
#include "admin/view_pvt.h"
#include "snapshot/snapshot.h"

json_t *view_backend_tls(const struct weir_snapshot *s, const struct weir_backend *b)
{
	const struct weir_backend_tls *tls = b->tls == WEIR_NONE ? NULL : snapshot_backend_tls(s, b->tls);
	json_t *names;

	if (!tls)
		return json_null();
	names = json_array();
	for (uint32_t i = tls->sans.first; i < tls->sans.first + tls->sans.count; i++)
		json_array_append_new(names, view_str(s, snapshot_san(s, i)->value));
	if (tls->sans.count == 0)
		json_array_append_new(names, view_str(s, tls->host));
	return json_pack("{s:o, s:o, s:s, s:b, s:b}", "server_name", view_str(s, tls->host), "names", names, "profile",
			 tls->profile == WEIR_TLS_STRICT ? "strict" : "intermediate", "has_trust", tls->certs.count > 0,
			 "has_client_certificate", tls->certs.count > 1);
}
