/* SPDX-License-Identifier: Apache-2.0 */
/* Arbitrary bytes as a kubeconfig, of which nothing is opened or run, and as the output of a credential plugin. */
#undef NDEBUG /* in a release, too: these are the checks */
#include <assert.h>
#include <string.h>

#include "kube/auth_pvt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_line(const char *s)
{
	for (; *s; s++)
		if (*s == '\n' || *s == '\r')
			return false;
	return true;
}

static void check_config(const char *data, size_t n, const char *context)
{
	struct kube_config c, empty = {0};
	struct kube_config_error err;

	if (kube_config_parse(&c, "/x/k", data, n, context, &err) != 0) {
		assert(memcmp(&c, &empty, sizeof(c)) == 0);
		assert(strncmp(err.text, "/x/k:", 5) == 0);
		return;
	}
	assert(strncmp(c.server, "http", 4) == 0 && is_line(c.server) && c.server[strlen(c.server) - 1] != '/');
	assert(!c.token || is_line(c.token));
	assert(!(c.ca_pem && c.ca_file) && !(c.cert_pem && c.cert_file) && !(c.key_pem && c.key_file));
	assert((c.cert_pem || c.cert_file) == (c.key_pem || c.key_file));
	assert(!c.exec || (c.exec->command && strcmp(c.exec->args[0], c.exec->command) == 0 && c.exec->env));
	assert(c.ns && c.context);
	kube_config_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct credential cred;
	char error[256];

	check_config((const char *)data, n, NULL);
	check_config((const char *)data, n, "other");
	if (credential_parse(&cred, (const char *)data, n, "client.authentication.k8s.io/v1", error)) {
		assert(cred.token || (cred.cert_pem && cred.key_pem));
		assert(!cred.token || is_line(cred.token));
		credential_fini(&cred);
	}
	return 0;
}
