/* SPDX-License-Identifier: Apache-2.0 */
/* Kubeconfigs as people write them, and what is wrong with them by file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kube/config.h"

#define HEAD "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
#define CLUSTER "clusters: [{name: c, cluster: {server: 'https://h:6443'}}]\n"
/* "-----BEGIN CERTIFICATE-----\n", "-----BEGIN EC PRIVATE KEY-----\n" */
#define CERT64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="
#define KEY64 "LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCg=="

static struct kube_config c;
static struct kube_config_error err;

static int parse(const char *text, const char *context)
{
	return kube_config_parse(&c, "/etc/weir/k.yaml", text, strlen(text), context, &err);
}

static void assert_fails(const char *text, const char *why)
{
	assert_int_equal(parse(text, NULL), -EINVAL);
	assert_string_equal(err.text, why);
	assert_null(c.server);
}

static void assert_server(const char *server, bool is_right)
{
	char text[512];

	snprintf(text, sizeof(text), HEAD "users: [{name: u}]\nclusters: [{name: c, cluster: {server: '%s'}}]\n", server);
	if ((parse(text, NULL) == 0) != is_right)
		fail_msg("%s: %s", server, err.text);
	kube_config_fini(&c);
}

static void reads_the_current_context(void **state)
{
	assert_int_equal(parse(HEAD "users: [{name: u, user: {token: t}}]\n" CLUSTER, NULL), 0);
	assert_string_equal(c.context, "x");
	assert_string_equal(c.server, "https://h:6443");
	assert_string_equal(c.token, "t");
	assert_string_equal(c.ns, "default");
	kube_config_fini(&c);
	assert_null(c.token);
}

static void reads_another_context(void **state)
{
	static const char text[] = "current-context: x\n"
				   "contexts:\n"
				   "- {name: x, context: {cluster: none}}\n"
				   "- {name: other, context: {cluster: d, namespace: ns}}\n"
				   "clusters: [{name: d, cluster: {server: 'http://[::1]:8080/a/', proxy-url: 'http://p:1',"
				   " tls-server-name: s.test, certificate-authority-data: " CERT64 "}}]\n";

	assert_int_equal(parse(text, "other"), 0);
	assert_string_equal(c.server, "http://[::1]:8080/a");
	assert_string_equal(c.proxy_url, "http://p:1");
	assert_string_equal(c.tls_server_name, "s.test");
	assert_string_equal(c.ca_pem, "-----BEGIN CERTIFICATE-----\n");
	assert_string_equal(c.ns, "ns");
	kube_config_fini(&c);
	assert_fails(text, "/etc/weir/k.yaml:3: no entry \"none\" in clusters");
}

static void takes_data_before_a_path(void **state)
{
	assert_int_equal(parse(HEAD CLUSTER "users: [{name: u, user: {client-certificate: a.pem, client-certificate-data: " CERT64
					    ", client-key: keys/k.pem}}]\n",
			       NULL),
			 0);
	assert_string_equal(c.cert_pem, "-----BEGIN CERTIFICATE-----\n");
	assert_null(c.cert_file);
	assert_string_equal(c.key_file, "/etc/weir/keys/k.pem"); /* from where the kubeconfig is */
	kube_config_fini(&c);
	assert_int_equal(parse(HEAD CLUSTER "users: [{name: u, user: {client-certificate: /a.pem, client-key-data: " KEY64 "}}]\n", NULL), 0);
	assert_string_equal(c.cert_file, "/a.pem");
	assert_string_equal(c.key_pem, "-----BEGIN EC PRIVATE KEY-----\n");
	kube_config_fini(&c);
}

static void reads_a_plugin(void **state)
{
	assert_int_equal(parse(HEAD CLUSTER "users:\n- name: u\n  user:\n    exec:\n"
					    "      apiVersion: client.authentication.k8s.io/v1beta1\n"
					    "      command: aws\n      args: [eks, get-token]\n"
					    "      env: [{name: A, value: b=c}]\n      installHint: get it\n",
			       NULL),
			 0);
	assert_string_equal(c.exec->command, "aws");
	assert_string_equal(c.exec->args[0], "aws");
	assert_string_equal(c.exec->args[2], "get-token");
	assert_null(c.exec->args[3]);
	assert_string_equal(c.exec->env[0], "A=b=c");
	assert_null(c.exec->env[1]);
	assert_string_equal(c.exec->install_hint, "get it");
	kube_config_fini(&c);
}

static void names_the_line_of_what_is_wrong(void **state)
{
#define AT "/etc/weir/k.yaml:"
	assert_fails("", "/etc/weir/k.yaml: a kubeconfig was expected");
	assert_fails("kind: Pod\n", AT "1: kind: Config was expected");
	assert_fails("kind: Config\n", AT "1: current-context: the name of a context was expected");
	assert_fails("current-context: z\ncontexts: []\n", AT "1: no entry \"z\" in contexts");
	assert_fails(HEAD "clusters:\n- name: c\n  cluster:\n    server: h:1\n",
		     AT "6: server: https://HOST[:PORT][/PATH] was expected");
	assert_fails(HEAD CLUSTER, AT "2: no entry \"u\" in users");
	assert_fails(HEAD CLUSTER "users:\n- name: u\n  user:\n    token: 12\n",
		     AT "7: token: a string was expected (in quotes, if it is a number)");
	assert_fails(HEAD CLUSTER "users:\n- name: u\n  user: {client-certificate-data: " CERT64 "}\n",
		     AT "6: client-certificate and client-key were expected together");
	assert_fails(HEAD CLUSTER "users:\n- name: u\n  user: {client-key-data: " CERT64 "}\n",
		     AT "6: client-key-data: a PRIVATE KEY in PEM, in base64, was expected");
	assert_fails(HEAD CLUSTER "users:\n- name: u\n  user: {token: t, username: bob}\n",
		     AT "6: one of token, username and exec was expected, not several");
	assert_fails(HEAD CLUSTER "users:\n- name: u\n  user: {token: t, as: root}\n", AT "6: as: not supported");
	assert_fails(HEAD CLUSTER "users:\n- name: u\n  user: {exec: {command: x, apiVersion: v1}}\n",
		     AT "6: apiVersion: client.authentication.k8s.io/v1 or v1beta1 was expected");
	assert_fails("a: [\n", AT "2: not YAML: did not find expected node content, while parsing a flow node");
#undef AT
}

static void takes_no_secret_into_an_error(void **state)
{
	assert_int_equal(parse(HEAD CLUSTER "users: [{name: u, user: {token: 'sec ret'}}]\n", NULL), -EINVAL);
	assert_null(strstr(err.text, "sec"));
	assert_int_equal(parse(HEAD CLUSTER "users: [{name: u, user: {client-key-data: c2VjcmV0}}]\n", NULL), -EINVAL);
	assert_null(strstr(err.text, "c2Vj"));
}

static void takes_a_server_by_the_rules_of_urls(void **state)
{
	assert_server("https://a", true);
	assert_server("http://127.0.0.1:80", true);
	assert_server("https://[fd00::1]", true);
	assert_server("https://[fd00::1]:6443/k8s/", true);
	assert_server("https://", false);
	assert_server("https:///x", false);
	assert_server("ftp://a", false);
	assert_server("https://u:p@a", false);
	assert_server("https://a:0", false);
	assert_server("https://a:65536", false);
	assert_server("https://a:", false);
	assert_server("https://a?x", false);
	assert_server("https://[fd00::1", false);
	assert_server("https://[]:1", false);
	assert_server("https://a b", false);
}

static void takes_base64_as_it_is_defined(void **state)
{
	static const char *const wrong[] = {"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tC",
					    "LS0t=LS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg", "*", "===="};
	char text[512];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		snprintf(text, sizeof(text), HEAD "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: '%s'}}]\n",
			 wrong[i]);
		assert_int_equal(parse(text, NULL), -EINVAL);
		assert_string_equal(err.text, "/etc/weir/k.yaml:3: certificate-authority-data: a CERTIFICATE in PEM, in base64, was expected");
	}
}

static void write_to(const char *folder, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void reads_what_a_pod_has(void **state)
{
	char folder[] = "/tmp/weir-test-config-XXXXXX", command[64], path[256];

	assert_non_null(mkdtemp(folder));
	unsetenv("KUBERNETES_SERVICE_HOST");
	assert_int_equal(kube_config_in_cluster(&c, folder, &err), -ENOENT);
	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	assert_int_equal(kube_config_in_cluster(&c, folder, &err), -ENOENT); /* no token */
	write_to(folder, "token", "t\n");
	write_to(folder, "ca.crt", "-----BEGIN CERTIFICATE-----\n");
	write_to(folder, "namespace", "weir\n");
	assert_int_equal(kube_config_in_cluster(&c, folder, &err), 0);
	assert_string_equal(c.server, "https://[fd00::1]:443");
	assert_string_equal(c.ns, "weir");
	snprintf(path, sizeof(path), "%s/token", folder);
	assert_string_equal(c.token_file, path);
	kube_config_fini(&c);
	write_to(folder, "k.yaml", HEAD CLUSTER "users:\n- name: u\n  user: {tokenFile: none}\n");
	snprintf(path, sizeof(path), "%s/k.yaml", folder);
	assert_int_equal(kube_config_read(&c, path, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "k.yaml:6: tokenFile: "));
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_the_current_context),
	    cmocka_unit_test(reads_another_context),
	    cmocka_unit_test(takes_data_before_a_path),
	    cmocka_unit_test(reads_a_plugin),
	    cmocka_unit_test(names_the_line_of_what_is_wrong),
	    cmocka_unit_test(takes_no_secret_into_an_error),
	    cmocka_unit_test(takes_a_server_by_the_rules_of_urls),
	    cmocka_unit_test(takes_base64_as_it_is_defined),
	    cmocka_unit_test(reads_what_a_pod_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
