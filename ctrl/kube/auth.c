/* SPDX-License-Identifier: Apache-2.0 */
/* Which credentials a request has: those of the configuration, a token file's as it rotates, a plugin's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "kube/auth_pvt.h"

#define TOKEN_MAX_BYTES 65536u

void secret_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static int read_whole(int fd, char *buf, size_t size)
{
	for (size_t have = 0; have < size;) {
		ssize_t n = read(fd, buf + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0) {
			errno = EAGAIN; /* cut short while we read: the next time */
			return -1;
		}
		have += (size_t)n;
	}
	return 0;
}

char *file_read(const char *path, size_t max, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	char *buf = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) != 0)
		err = errno;
	else if (!S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	else if ((uint64_t)st.st_size > max)
		err = EFBIG;
	else if (!(buf = calloc(1, (size_t)st.st_size + 1)))
		err = ENOMEM;
	else if (read_whole(fd, buf, (size_t)st.st_size) != 0)
		err = errno;
	close(fd);
	if (!err) {
		*n = (size_t)st.st_size;
		return buf;
	}
	if (buf)
		explicit_bzero(buf, (size_t)st.st_size);
	free(buf);
	errno = err;
	return NULL;
}

void auth_init(struct auth *a, const struct kube_config *config)
{
	*a = (struct auth){.config = config, .now.expires_s = INT64_MAX, .plugin.fd = -1};
	if (config->token)
		a->now.token = strdup(config->token);
}

void auth_fini(struct auth *a)
{
	plugin_stop(&a->plugin);
	credential_fini(&a->now);
}

/* The text without the white space around it, in place; NULL: not a token. */
static char *trim_token(char *s)
{
	size_t n;

	s += strspn(s, " \t\r\n");
	n = strlen(s);
	while (n > 0 && strchr(" \t\r\n", s[n - 1]))
		s[--n] = 0;
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] == 0x7f)
			return NULL;
	return n > 0 ? s : NULL;
}

/* An unreadable file leaves the token that we have: it may still be good. */
static void read_token(struct auth *a, uint64_t now_ms)
{
	const char *path = a->config->token_file;
	size_t n = 0;
	char *text = file_read(path, TOKEN_MAX_BYTES, &n), *token = NULL;

	a->read_ms = now_ms;
	a->was_read = true;
	if (text)
		token = trim_token(text);
	if (!token) {
		snprintf(a->error, sizeof(a->error), "%s: %s", path, text ? "a token was expected" : strerror(errno));
		if (a->now.token)
			log_warn("%s; the token read before is used", a->error);
	} else if (!a->now.token || strcmp(token, a->now.token) != 0) {
		secret_free(a->now.token);
		a->now.token = strdup(token);
		a->generation++;
	}
	if (text)
		explicit_bzero(text, n);
	free(text);
}

/* What a plugin gave a moment ago is used even if it says that it has expired: to run it at once again would not end. */
static bool is_expired(const struct auth *a, uint64_t now_ms)
{
	if (!a->now.token && !a->now.cert_pem)
		return true;
	return time(NULL) >= a->now.expires_s && now_ms - a->started_ms >= AUTH_REFUSED_MS;
}

static void note_failure(struct auth *a, const char *why, uint64_t now_ms)
{
	a->n_failures++;
	a->failed_ms = now_ms;
	a->has_failed = true;
	if (a->config->exec->install_hint)
		snprintf(a->error, sizeof(a->error), "%s (%.200s)", why, a->config->exec->install_hint);
	else
		snprintf(a->error, sizeof(a->error), "%s", why);
}

static enum auth_outcome get_from_plugin(struct auth *a, uint64_t now_ms)
{
	if (a->plugin.pid)
		return AUTH_WAITS;
	if (!is_expired(a, now_ms))
		return AUTH_READY;
	if (a->has_failed && now_ms - a->failed_ms < AUTH_RETRY_MS)
		return AUTH_FAILED;
	a->started_ms = now_ms;
	a->was_started = true;
	a->n_runs++;
	if (plugin_start(&a->plugin, a->config->exec, now_ms) == 0)
		return AUTH_WAITS;
	note_failure(a, a->plugin.error, now_ms);
	return AUTH_FAILED;
}

enum auth_outcome auth_get(struct auth *a, uint64_t now_ms)
{
	if (a->config->exec)
		return get_from_plugin(a, now_ms);
	if (!a->config->token_file)
		return AUTH_READY;
	if (!a->was_read || now_ms - a->read_ms >= AUTH_FILE_MS)
		read_token(a, now_ms);
	return a->now.token ? AUTH_READY : AUTH_FAILED;
}

bool auth_refused(struct auth *a, uint64_t generation, uint64_t now_ms)
{
	if (a->generation != generation)
		return true;
	if (a->config->exec) {
		if (a->plugin.pid)
			return true;
		if (a->was_started && now_ms - a->started_ms < AUTH_REFUSED_MS)
			return false;
		a->now.expires_s = 0;
		return true;
	}
	if (a->config->token_file)
		read_token(a, now_ms);
	return a->generation != generation;
}

void auth_poll(struct auth *a, uint64_t now_ms)
{
	enum plugin_outcome outcome;
	struct credential fresh;

	if (!a->plugin.pid)
		return;
	outcome = plugin_poll(&a->plugin, now_ms);
	if (outcome == PLUGIN_RUNS)
		return;
	if (outcome == PLUGIN_DONE && credential_parse(&fresh, a->plugin.out, a->plugin.n_out,
						       a->config->exec->api_version, a->plugin.error)) {
		credential_fini(&a->now);
		a->now = fresh;
		a->generation++;
		a->has_failed = false;
	} else {
		note_failure(a, a->plugin.error, now_ms);
	}
	plugin_stop(&a->plugin);
}
