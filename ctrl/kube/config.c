/* SPDX-License-Identifier: Apache-2.0 */
/* Kubeconfigs, and what a Pod finds in its container, as a struct kube_config. See config.h. */
#include "kube/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kube/auth_pvt.h"
#include "kube/kube_pvt.h"

#define CONFIG_MAX_BYTES KUBE_MAX_DOC_BYTES
#define NAMED_MAX_BYTES (1u << 20) /* a certificate, key or token file */

/* One reading. err holds the first thing that was wrong; code 0: nothing was. */
struct reading {
	const char *file;
	struct kube_config *c;
	struct kube_config_error *err;
	int code;
	bool checks_files;
};

__attribute__((format(printf, 3, 4))) static bool fail(struct reading *r, const struct node *at, const char *fmt, ...)
{
	va_list ap;
	int n = 0;

	if (r->code)
		return false;
	r->code = -EINVAL;
	if (at)
		n = snprintf(r->err->text, sizeof(r->err->text), "%.300s:%u: ", r->file, at->line);
	else
		n = snprintf(r->err->text, sizeof(r->err->text), "%.300s: ", r->file);
	va_start(ap, fmt);
	vsnprintf(r->err->text + n, sizeof(r->err->text) - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

static bool has_text(const struct node *n)
{
	return n && n->kind != NODE_NULL && !(n->kind == NODE_STRING && !n->text[0]);
}

/* A string of the map, copied; *out stays NULL where there is none. An empty one is none, as with kubectl. */
static bool take_string(struct reading *r, const struct node *map, const char *key, char **out)
{
	const struct node *n = node_get(map, key);

	if (!has_text(n))
		return true;
	if (n->kind != NODE_STRING)
		return fail(r, n, "%s: a string was expected (in quotes, if it is a number)", key);
	*out = strdup(n->text);
	return *out || fail(r, n, "out of memory");
}

static bool take_bool(struct reading *r, const struct node *map, const char *key, bool *out)
{
	const struct node *n = node_get(map, key);

	return !has_text(n) || node_bool(n, out) || fail(r, n, "%s: true or false was expected", key);
}

/* A path as it is meant: relative ones begin where the kubeconfig is. */
static char *resolve(const char *file, const char *path)
{
	const char *slash = strrchr(file, '/');
	char *out;

	if (path[0] == '/' || !slash)
		return strdup(path);
	return asprintf(&out, "%.*s%s", (int)(slash - file) + 1, file, path) < 0 ? NULL : out;
}

static int digit_of(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* RFC 4648 section 4; line ends are passed over, as Go does. NULL: it is none, or has a NUL in it. */
static char *decode_base64(const char *s)
{
	size_t n = strlen(s), k = 0, n_digits = 0, n_pads = 0;
	char *out = calloc(1, n / 4 * 3 + 4);
	uint32_t bits = 0;

	for (size_t i = 0; out && i < n; i++) {
		int d = digit_of(s[i]);

		if (s[i] == '\n' || s[i] == '\r')
			continue;
		if (s[i] == '=' ? ++n_pads > 2 : d < 0 || n_pads > 0) {
			n_digits = 1; /* not a multiple of four */
			n_pads = 0;
			break;
		}
		if (s[i] == '=')
			continue;
		bits = bits << 6 | (uint32_t)d;
		if (++n_digits % 4 != 1)
			out[k++] = (char)(bits >> (6 - 2 * ((n_digits - 1) % 4)));
	}
	if (out && ((n_digits + n_pads) % 4 != 0 || memchr(out, 0, k))) {
		explicit_bzero(out, k);
		free(out);
		return NULL;
	}
	return out;
}

/* Is there a PEM block of the kind in it? RFC 7468. */
static bool is_pem(const char *text, const char *kind)
{
	for (const char *at = text; (at = strstr(at, "-----BEGIN ")); at++) {
		const char *end = strstr(at + 11, "-----"), *found = strstr(at, kind);

		if (end && found && found < end)
			return true;
	}
	return false;
}

/* That the file can be read, and is what it should be (pem NULL: anything). Nothing of it is kept. */
static bool check_file(struct reading *r, const struct node *at, const char *key, const char *path, const char *pem)
{
	size_t n = 0;
	char *text;
	bool is_right;

	if (!r->checks_files)
		return true;
	text = file_read(path, NAMED_MAX_BYTES, &n);
	if (!text) {
		int err = errno;

		fail(r, at, "%s: %s: %s", key, path, strerror(err));
		r->code = -err;
		return false;
	}
	is_right = !pem || is_pem(text, pem);
	explicit_bzero(text, n);
	free(text);
	return is_right || fail(r, at, "%s: %s: a %s in PEM was expected", key, path, pem);
}

/* KEY-data in base64, or KEY as a path; either, both or none may be there. */
static bool take_pem(struct reading *r, const struct node *map, const char *key, const char *kind, char **pem, char **path)
{
	const struct node *file = node_get(map, key), *data;
	char *text = NULL, data_key[64];

	snprintf(data_key, sizeof(data_key), "%s-data", key);
	data = node_get(map, data_key);
	if (!take_string(r, map, data_key, &text))
		return false;
	if (text) {
		*pem = decode_base64(text);
		secret_free(text);
		if (!*pem || !is_pem(*pem, kind))
			return fail(r, data, "%s: a %s in PEM, in base64, was expected", data_key, kind);
		return true;
	}
	if (!take_string(r, map, key, &text) || !text)
		return r->code == 0;
	*path = resolve(r->file, text);
	free(text);
	return *path ? check_file(r, file, key, *path, kind) : fail(r, file, "out of memory");
}

static bool is_printable(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s >= 0x7f)
			return false;
	return true;
}

static bool is_port(const char *s, size_t n)
{
	unsigned long port = strtoul(s, NULL, 10);

	return n > 0 && n <= 5 && strspn(s, "0123456789") == n && port > 0 && port < 65536;
}

/* scheme://HOST[:PORT][/PATH], nothing else of RFC 3986: no user, no query. */
static bool is_server(const char *s)
{
	size_t n, host;

	if (strncmp(s, "https://", 8) != 0 && strncmp(s, "http://", 7) != 0)
		return false;
	if (!is_printable(s) || strpbrk(s, "@?#\\\"<>^`{|}"))
		return false;
	s = strstr(s, "://") + 3;
	n = strcspn(s, "/");
	host = *s == '[' ? strspn(s + 1, "0123456789abcdefABCDEF:.") + 1 : strcspn(s, ":/[]");
	if (*s == '[' && s[host] != ']')
		return false;
	host += *s == '[';
	if (host == 0 || (*s == '[' && host < 4))
		return false;
	return host == n || (s[host] == ':' && is_port(s + host + 1, n - host - 1));
}

/* A number of slashes at the end would stand twice before a path. */
static void cut_slashes(char *server)
{
	size_t n = strlen(server);

	while (n > 0 && server[n - 1] == '/')
		server[--n] = 0;
}

static bool read_cluster(struct reading *r, const struct node *entry)
{
	struct kube_config *c = r->c;
	const struct node *cluster = node_get(entry, "cluster");
	const struct node *server = node_get(cluster, "server");

	if (!cluster || cluster->kind != NODE_MAP)
		return fail(r, cluster ? cluster : entry, "cluster: a map was expected");
	if (!take_string(r, cluster, "server", &c->server) || !take_string(r, cluster, "proxy-url", &c->proxy_url) ||
	    !take_string(r, cluster, "tls-server-name", &c->tls_server_name) ||
	    !take_bool(r, cluster, "insecure-skip-tls-verify", &c->insecure_skip_tls_verify) ||
	    !take_pem(r, cluster, "certificate-authority", "CERTIFICATE", &c->ca_pem, &c->ca_file))
		return false;
	if (!c->server || !is_server(c->server))
		return fail(r, server ? server : cluster, "server: https://HOST[:PORT][/PATH] was expected");
	cut_slashes(c->server);
	if (c->proxy_url && (!is_printable(c->proxy_url) || !strstr(c->proxy_url, "://")))
		return fail(r, node_get(cluster, "proxy-url"), "proxy-url: http, https or socks5://HOST:PORT was expected");
	if (c->tls_server_name && c->tls_server_name[strspn(c->tls_server_name, "abcdefghijklmnopqrstuvwxyz"
										  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")])
		return fail(r, node_get(cluster, "tls-server-name"), "tls-server-name: a DNS name was expected");
	if (c->insecure_skip_tls_verify && (c->ca_pem || c->ca_file))
		return fail(r, node_get(cluster, "insecure-skip-tls-verify"),
			    "insecure-skip-tls-verify: not together with certificate-authority");
	return true;
}

/* A list of strings that ends with NULL, with room for one before; items give the text. */
static char **new_strings(const struct node *list)
{
	return calloc((list && list->kind == NODE_LIST ? list->n : 0) + 2, sizeof(char *));
}

static bool read_args(struct reading *r, struct kube_exec *x, const struct node *args)
{
	if (has_text(args) && args->kind != NODE_LIST)
		return fail(r, args, "args: a list was expected");
	x->args = new_strings(args);
	if (!x->args || !(x->args[0] = strdup(x->command)))
		return fail(r, args, "out of memory");
	for (size_t i = 0; has_text(args) && i < args->n; i++) {
		if (!node_str(args->items[i]))
			return fail(r, args->items[i], "args: a string was expected");
		if (!(x->args[i + 1] = strdup(args->items[i]->text)))
			return fail(r, args, "out of memory");
	}
	return true;
}

static bool read_env(struct reading *r, struct kube_exec *x, const struct node *env)
{
	if (has_text(env) && env->kind != NODE_LIST)
		return fail(r, env, "env: a list was expected");
	x->env = new_strings(env);
	if (!x->env)
		return fail(r, env, "out of memory");
	for (size_t i = 0; has_text(env) && i < env->n; i++) {
		const char *name = node_str(node_get(env->items[i], "name"));
		const char *value = node_str(node_get(env->items[i], "value"));

		if (!name || !*name || strchr(name, '=') || !value)
			return fail(r, env->items[i], "env: name and value were expected, both strings");
		if (asprintf(&x->env[i], "%s=%s", name, value) < 0) {
			x->env[i] = NULL;
			return fail(r, env, "out of memory");
		}
	}
	return true;
}

/* As kubectl: with a '/' it is a path, where relative from the kubeconfig; without, it is looked up. */
static bool read_command(struct reading *r, struct kube_exec *x, const struct node *exec)
{
	char *text = NULL;

	if (!take_string(r, exec, "command", &text))
		return false;
	if (!text)
		return fail(r, exec, "exec: a command was expected");
	x->command = strchr(text, '/') ? resolve(r->file, text) : strdup(text);
	free(text);
	return x->command || fail(r, exec, "out of memory");
}

static bool read_exec(struct reading *r, const struct node *exec)
{
	const struct node *mode = node_get(exec, "interactiveMode");
	struct kube_exec *x = calloc(1, sizeof(*x));
	bool wants_cluster = false;

	r->c->exec = x;
	if (!x)
		return fail(r, exec, "out of memory");
	if (exec->kind != NODE_MAP)
		return fail(r, exec, "exec: a map was expected");
	if (!take_string(r, exec, "apiVersion", &x->api_version) || !read_command(r, x, exec) ||
	    !take_string(r, exec, "installHint", &x->install_hint) || !read_args(r, x, node_get(exec, "args")) ||
	    !read_env(r, x, node_get(exec, "env")) || !take_bool(r, exec, "provideClusterInfo", &wants_cluster))
		return false;
	if (!x->api_version || (strcmp(x->api_version, "client.authentication.k8s.io/v1") != 0 &&
				strcmp(x->api_version, "client.authentication.k8s.io/v1beta1") != 0))
		return fail(r, node_get(exec, "apiVersion") ? node_get(exec, "apiVersion") : exec,
			    "apiVersion: client.authentication.k8s.io/v1 or v1beta1 was expected");
	if (node_str(mode) && strcmp(mode->text, "Always") == 0)
		return fail(r, mode, "interactiveMode: Never or IfAvailable was expected: there is nobody to be asked");
	if (wants_cluster)
		log_warn("%s:%u: provideClusterInfo is ignored: the plugin is told nothing of the cluster", r->file,
			 node_get(exec, "provideClusterInfo")->line);
	return true;
}

/* What would make us another user than the configuration says, if it were passed over. */
static bool refuse_unsupported(struct reading *r, const struct node *user)
{
	static const char *const keys[] = {"as", "as-uid", "as-groups", "as-user-extra", "auth-provider"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (has_text(node_get(user, keys[i])))
			return fail(r, node_get(user, keys[i]), "%s: not supported", keys[i]);
	return true;
}

static bool check_user(struct reading *r, const struct node *user)
{
	const struct kube_config *c = r->c;
	bool has_cert = c->cert_pem || c->cert_file, has_key = c->key_pem || c->key_file;
	bool has_token = c->token || c->token_file;

	if (has_cert != has_key)
		return fail(r, user, "client-certificate and client-key were expected together");
	if (has_token + (c->username != NULL) + (c->exec != NULL) > 1)
		return fail(r, user, "one of token, username and exec was expected, not several");
	if (c->token && !is_printable(c->token))
		return fail(r, node_get(user, "token"), "token: text without spaces was expected");
	if (c->password && !c->username)
		return fail(r, node_get(user, "password"), "password: a username beside it was expected");
	return true;
}

static bool read_user(struct reading *r, const struct node *user)
{
	struct kube_config *c = r->c;
	const struct node *exec = node_get(user, "exec");
	char *token_file = NULL;

	if (!has_text(user))
		return true;
	if (user->kind != NODE_MAP)
		return fail(r, user, "user: a map was expected");
	if (!refuse_unsupported(r, user) ||
	    !take_pem(r, user, "client-certificate", "CERTIFICATE", &c->cert_pem, &c->cert_file) ||
	    !take_pem(r, user, "client-key", "PRIVATE KEY", &c->key_pem, &c->key_file) ||
	    !take_string(r, user, "token", &c->token) || !take_string(r, user, "tokenFile", &token_file) ||
	    !take_string(r, user, "username", &c->username) || !take_string(r, user, "password", &c->password) ||
	    (has_text(exec) && !read_exec(r, exec))) {
		free(token_file);
		return false;
	}
	if (token_file) {
		c->token_file = resolve(r->file, token_file);
		free(token_file);
		if (!c->token_file)
			return fail(r, user, "out of memory");
		if (!check_file(r, node_get(user, "tokenFile"), "tokenFile", c->token_file, NULL))
			return false;
	}
	return check_user(r, user);
}

/* The entry with that name in a list of {name, KEY: {...}}. NULL after a failure, whose place is `at`. */
static const struct node *find_named(struct reading *r, const struct node *root, const char *list_key, const char *name,
				     const struct node *at)
{
	const struct node *list = node_get(root, list_key);

	if (has_text(list) && list->kind != NODE_LIST) {
		fail(r, list, "%s: a list was expected", list_key);
		return NULL;
	}
	for (size_t i = 0; has_text(list) && i < list->n; i++) {
		const char *its = node_str(node_get(list->items[i], "name"));

		if (its && strcmp(its, name) == 0)
			return list->items[i];
	}
	fail(r, at, "no entry \"%.100s\" in %s", name, list_key);
	return NULL;
}

static bool read_root(struct reading *r, const struct node *root, const char *name)
{
	const struct node *current = node_get(root, "current-context"), *kind = node_get(root, "kind");
	const struct node *entry, *context;
	const char *cluster, *user;

	if (!root || root->kind != NODE_MAP)
		return fail(r, root, "a kubeconfig was expected");
	if (has_text(kind) && (!node_str(kind) || strcmp(kind->text, "Config") != 0))
		return fail(r, kind, "kind: Config was expected");
	if (!name)
		name = has_text(current) ? node_str(current) : NULL;
	if (!name)
		return fail(r, current ? current : root, "current-context: the name of a context was expected");
	entry = find_named(r, root, "contexts", name, current ? current : root);
	if (!entry)
		return false;
	r->c->context = strdup(name);
	context = node_get(entry, "context");
	cluster = node_str(node_get(context, "cluster"));
	user = node_str(node_get(context, "user"));
	if (!cluster || !*cluster)
		return fail(r, context ? context : entry, "cluster: the name of a cluster was expected");
	if (!take_string(r, context, "namespace", &r->c->ns))
		return false;
	entry = find_named(r, root, "clusters", cluster, node_get(context, "cluster"));
	if (!entry || !read_cluster(r, entry))
		return false;
	if (!user || !*user)
		return true; /* nobody: the server may let anonymous users in */
	entry = find_named(r, root, "users", user, node_get(context, "user"));
	return entry && read_user(r, node_get(entry, "user"));
}

static void warn(const struct kube_config *c)
{
	if (c->insecure_skip_tls_verify)
		log_warn("the API server's certificate is not checked (insecure-skip-tls-verify)");
	if (strncmp(c->server, "http://", 7) == 0 && (c->token || c->token_file || c->username || c->exec))
		log_warn("credentials go to %s unencrypted", c->server);
}

/* What all configurations end with. */
static int finish(struct reading *r)
{
	struct kube_config *c = r->c;

	if (!r->code && !c->ns && !(c->ns = strdup("default")))
		fail(r, NULL, "out of memory");
	if (r->code)
		kube_config_fini(c);
	else if (r->checks_files)
		warn(c);
	return r->code;
}

static int read_text(struct reading *r, const char *data, size_t n, const char *context)
{
	struct arena arena = {0};
	struct node *root = NULL;
	struct yaml_reader y;
	struct node at = {0};

	*r->c = (struct kube_config){0};
	r->err->text[0] = 0;
	yaml_reader_init(&y, &arena, data, n);
	if (yaml_reader_next(&y, &root) == YAML_END)
		root = NULL;
	if (y.fault.reason) {
		at.line = y.fault.line;
		fail(r, &at, "%s%s%s", y.fault.field, y.fault.field[0] ? ": " : "", y.fault.text);
	} else {
		read_root(r, root, context);
	}
	yaml_reader_fini(&y);
	arena_wipe(&arena);
	return finish(r);
}

int kube_config_parse(struct kube_config *c, const char *file, const char *data, size_t n, const char *context,
		      struct kube_config_error *err)
{
	struct reading r = {.file = file, .c = c, .err = err};

	return read_text(&r, data, n, context);
}

int kube_config_read(struct kube_config *c, const char *file, const char *context, struct kube_config_error *err)
{
	struct reading r = {.file = file, .c = c, .err = err, .checks_files = true};
	size_t n = 0;
	char *text = file_read(file, CONFIG_MAX_BYTES, &n);
	int code;

	if (!text) {
		code = errno;
		*c = (struct kube_config){0};
		fail(&r, NULL, "%s", strerror(code));
		return -code;
	}
	code = read_text(&r, text, n, context);
	explicit_bzero(text, n);
	free(text);
	return code;
}

/* "HOST:PORT" of two variables; an IPv6 address gets its brackets. */
static char *make_server(const char *host, const char *port)
{
	bool is_ipv6 = strchr(host, ':');
	char *server;

	return asprintf(&server, "https://%s%s%s:%s", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port) < 0 ? NULL : server;
}

static char *read_namespace(const char *folder)
{
	char path[4096], *text;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/namespace", folder);
	text = file_read(path, 256, &n);
	if (text)
		text[strcspn(text, " \t\r\n")] = 0;
	return text;
}

int kube_config_in_cluster(struct kube_config *c, const char *folder, struct kube_config_error *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	struct reading r = {.file = folder, .c = c, .err = err, .checks_files = true};

	*c = (struct kube_config){0};
	if (!host || !*host || !port || !*port) {
		snprintf(err->text, sizeof(err->text),
			 "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
		return -ENOENT;
	}
	c->server = make_server(host, port);
	if (!c->server || asprintf(&c->token_file, "%s/token", folder) < 0 || asprintf(&c->ca_file, "%s/ca.crt", folder) < 0)
		fail(&r, NULL, "out of memory");
	else if (!is_server(c->server))
		fail(&r, NULL, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: an address and a port were expected");
	else if (check_file(&r, NULL, "token", c->token_file, NULL))
		check_file(&r, NULL, "ca.crt", c->ca_file, "CERTIFICATE");
	if (!r.code)
		c->ns = read_namespace(folder);
	return finish(&r);
}

static void free_strings(char **strings)
{
	for (size_t i = 0; strings && strings[i]; i++)
		secret_free(strings[i]);
	free(strings);
}

static void exec_free(struct kube_exec *x)
{
	if (!x)
		return;
	free(x->api_version);
	free(x->command);
	free(x->install_hint);
	free_strings(x->args);
	free_strings(x->env);
	free(x);
}

void kube_config_fini(struct kube_config *c)
{
	char *const strings[] = {c->context, c->ns, c->server, c->proxy_url, c->ca_file, c->ca_pem, c->tls_server_name,
				 c->cert_file, c->cert_pem, c->key_file, c->key_pem, c->token, c->token_file, c->username,
				 c->password};

	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		secret_free(strings[i]);
	exec_free(c->exec);
	*c = (struct kube_config){0};
}
