/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A credential plugin as a child with a pipe, in a process group of its own so
 * that its own children end with it. Its errors go where ours go. Nobody
 * waits: auth.c polls. Kubernetes: KEP-541, client.authentication.k8s.io/v1.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kube/auth_pvt.h"
#include "kube/names.h"

#define REAP_MS 20u /* between two looks whether it has ended: its output may be held open by others */
#define PLUGIN_GRACE_MS 200u /* for its children to write after its end */

static int fail(struct plugin *p, const char *what, int err)
{
	snprintf(p->error, sizeof(p->error), "%s: %s", what, strerror(err));
	return -err;
}

/* Our environment with the plugin's variables before it, so that they are found first. NULL without memory. */
static char **make_environment(const struct kube_exec *exec, char *info)
{
	size_t n = 1, n_ours = 0, k = 0;
	char **env;

	while (exec->env && exec->env[n - 1])
		n++;
	while (environ && environ[n_ours])
		n_ours++;
	env = calloc(n + n_ours + 1, sizeof(*env));
	if (!env)
		return NULL;
	env[k++] = info;
	for (size_t i = 0; i + 1 < n; i++)
		env[k++] = exec->env[i];
	for (size_t i = 0; i < n_ours; i++) {
		size_t name = strcspn(environ[i], "="), j = 0;

		while (j < n && (strncmp(env[j], environ[i], name) != 0 || env[j][name] != '='))
			j++;
		if (j == n)
			env[k++] = environ[i];
	}
	return env;
}

/* posix_spawn(3) with nothing of ours in it: no signal mask, no descriptor but 2. An errno. */
static int spawn(pid_t *pid, const struct kube_exec *exec, char **env, int out)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	if (posix_spawn_file_actions_init(&files) != 0)
		return ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return ENOMEM;
	}
	sigemptyset(&none);
	sigfillset(&all);
	err = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&files, out, 1);
	if (!err)
		err = posix_spawn_file_actions_addclosefrom_np(&files, 3);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	if (!err)
		err = posix_spawnp(pid, exec->command, &files, &attr, exec->args, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return err;
}

int plugin_start(struct plugin *p, const struct kube_exec *exec, uint64_t now_ms)
{
	char info[256], **env;
	int pipe_fds[2], err;

	*p = (struct plugin){.fd = -1};
	snprintf(info, sizeof(info),
		 "KUBERNETES_EXEC_INFO={\"kind\":\"ExecCredential\",\"apiVersion\":\"%.64s\",\"spec\":{\"interactive\":false}}",
		 exec->api_version);
	env = make_environment(exec, info);
	p->out = malloc(PLUGIN_MAX_BYTES + 1);
	if (!env || !p->out || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		err = !env || !p->out ? ENOMEM : errno;
		free(env);
		plugin_stop(p);
		return fail(p, "cannot run the credential plugin", err);
	}
	fcntl(pipe_fds[1], F_SETFL, 0); /* the plugin's end waits as it is used to */
	err = spawn(&p->pid, exec, env, pipe_fds[1]);
	free(env);
	close(pipe_fds[1]);
	p->fd = pipe_fds[0];
	p->deadline_ms = now_ms + PLUGIN_TIMEOUT_MS;
	if (err) {
		p->pid = 0;
		plugin_stop(p);
		snprintf(p->error, sizeof(p->error), "cannot run the credential plugin %.100s: %s", exec->command, strerror(err));
	}
	return -err;
}

/* True at the end of its output, or of our patience. */
static bool read_output(struct plugin *p, bool *is_too_long)
{
	for (;;) {
		ssize_t n = read(p->fd, p->out + p->n_out, PLUGIN_MAX_BYTES + 1 - p->n_out);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0)
			return true;
		p->n_out += (size_t)n;
		if (p->n_out > PLUGIN_MAX_BYTES) {
			*is_too_long = true;
			return true;
		}
	}
}

/* Whether it has ended, which is left to be seen: until it is waited for, its group is nobody else's. */
static bool has_ended(const struct plugin *p)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == p->pid;
}

/* What it has started and left behind ends with it. Returns its status, as of waitpid(2). */
static int reap(struct plugin *p)
{
	int status = 0;

	kill(-p->pid, SIGKILL);
	waitpid(p->pid, &status, 0);
	p->pid = 0;
	return status;
}

enum plugin_outcome plugin_poll(struct plugin *p, uint64_t now_ms)
{
	bool is_too_long = false;
	bool is_over = has_ended(p); /* before its output is read: what it wrote is all there then */
	int status;

	if (p->fd >= 0 && read_output(p, &is_too_long)) {
		close(p->fd);
		p->fd = -1;
	}
	if (is_too_long) {
		snprintf(p->error, sizeof(p->error), "the credential plugin wrote more than 1 MiB");
		return PLUGIN_FAILED;
	}
	if (is_over && !p->ended_ms)
		p->ended_ms = now_ms;
	if (is_over && (p->fd < 0 || now_ms - p->ended_ms >= PLUGIN_GRACE_MS)) {
		status = reap(p);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return PLUGIN_DONE;
		snprintf(p->error, sizeof(p->error), "the credential plugin ended with %s %d",
			 WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		return PLUGIN_FAILED;
	}
	if (now_ms >= p->deadline_ms) {
		snprintf(p->error, sizeof(p->error), "the credential plugin did not end within %u s", PLUGIN_TIMEOUT_MS / 1000);
		return PLUGIN_FAILED;
	}
	return PLUGIN_RUNS;
}

uint64_t plugin_wait_ms(const struct plugin *p, uint64_t now_ms)
{
	uint64_t left_ms = p->deadline_ms > now_ms ? p->deadline_ms - now_ms : 0;

	return left_ms > REAP_MS ? REAP_MS : left_ms;
}

void plugin_stop(struct plugin *p)
{
	if (p->pid > 0)
		reap(p);
	if (p->fd >= 0)
		close(p->fd);
	if (p->out)
		explicit_bzero(p->out, p->n_out);
	free(p->out);
	p->fd = -1;
	p->out = NULL;
	p->n_out = 0;
}

static char *copy_member(const json_t *object, const char *name, bool *is_wrong)
{
	const json_t *v = json_object_get(object, name);
	const char *s = json_string_value(v);

	if (!v || json_is_null(v))
		return NULL;
	if (!s)
		*is_wrong = true;
	return s && *s ? strdup(s) : NULL;
}

/* It goes into a header: RFC 6750's characters, and whatever else is visible. */
static bool is_visible(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s == 0x7f)
			return false;
	return true;
}

static const char *take_status(struct credential *c, const json_t *root, const char *api_version)
{
	const char *kind = json_string_value(json_object_get(root, "kind"));
	const char *version = json_string_value(json_object_get(root, "apiVersion"));
	const json_t *status = json_object_get(root, "status");
	bool is_wrong = false;
	char *expires;

	if (!kind || strcmp(kind, "ExecCredential") != 0)
		return "an object of kind ExecCredential was expected";
	if (!version || strcmp(version, api_version) != 0)
		return "the apiVersion that the kubeconfig asks for was expected";
	if (!json_is_object(status))
		return "an object as status was expected";
	c->token = copy_member(status, "token", &is_wrong);
	c->cert_pem = copy_member(status, "clientCertificateData", &is_wrong);
	c->key_pem = copy_member(status, "clientKeyData", &is_wrong);
	expires = copy_member(status, "expirationTimestamp", &is_wrong);
	if (expires && !names_parse_time(expires, &c->expires_s))
		is_wrong = true;
	free(expires);
	if (is_wrong)
		return "strings, and an RFC 3339 time as expirationTimestamp, were expected";
	if (!c->cert_pem != !c->key_pem)
		return "clientCertificateData and clientKeyData were expected together";
	if (!c->token && !c->cert_pem)
		return "a token or a client certificate was expected";
	return c->token && !is_visible(c->token) ? "a token without spaces and control characters was expected" : NULL;
}

bool credential_parse(struct credential *c, const char *json, size_t n, const char *api_version, char error[256])
{
	json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL); /* its own error text may quote the input */
	const char *why;

	*c = (struct credential){.expires_s = INT64_MAX};
	why = json_is_object(root) ? take_status(c, root, api_version) : "JSON was expected";
	json_decref(root);
	if (!why)
		return true;
	credential_fini(c);
	snprintf(error, 256, "the credential plugin's output: %s", why);
	return false;
}

void credential_fini(struct credential *c)
{
	secret_free(c->token);
	secret_free(c->cert_pem);
	secret_free(c->key_pem);
	*c = (struct credential){.expires_s = INT64_MAX};
}
