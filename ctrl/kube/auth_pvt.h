/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within kube/: the credentials that go with a request, for http.c. Time is
 * now_ms of a monotonic clock. All secrets are wiped when they are replaced.
 */
#ifndef KUBE_AUTH_PVT_H
#define KUBE_AUTH_PVT_H

#include <stdint.h>
#include <sys/types.h>

#include "kube/config.h"

#define PLUGIN_MAX_BYTES (1u << 20) /* of its output */
#define PLUGIN_TIMEOUT_MS 60000u
#define AUTH_FILE_MS 60000u	    /* between two looks at a token file */
#define AUTH_RETRY_MS 5000u	    /* after a plugin that failed */
#define AUTH_REFUSED_MS 10000u	    /* a plugin is not run again sooner because of a 401 */

/* What a plugin gave: a token, or a certificate and its key, or both. */
struct credential {
	char *token, *cert_pem, *key_pem;
	int64_t expires_s; /* Unix time; INT64_MAX: never */
};

struct plugin {
	pid_t pid; /* 0: does not run */
	int fd;	   /* its output, for epoll; -1: none */
	char *out;
	size_t n_out;
	uint64_t deadline_ms;
	uint64_t ended_ms; /* first seen so; 0: it runs */
	char error[256];
};

enum plugin_outcome { PLUGIN_RUNS, PLUGIN_DONE, PLUGIN_FAILED };

/* Starts it. 0, or -errno with p->error. */
int plugin_start(struct plugin *p, const struct kube_exec *exec, uint64_t now_ms);
/* DONE: p->out has its output. FAILED: p->error says why. Both end it; plugin_stop() is to follow. */
enum plugin_outcome plugin_poll(struct plugin *p, uint64_t now_ms);
/* Milliseconds until plugin_poll() must be called though nothing is readable. */
uint64_t plugin_wait_ms(const struct plugin *p, uint64_t now_ms);
/* Kills it if it runs, wipes its output. p->error stays. */
void plugin_stop(struct plugin *p);

/* An ExecCredential in JSON. False with error: what is wrong with it. */
bool credential_parse(struct credential *c, const char *json, size_t n, const char *api_version, char error[256]);
void credential_fini(struct credential *c);

struct auth {
	const struct kube_config *config;
	struct credential now;
	uint64_t generation; /* of what is in now */
	struct plugin plugin;
	uint64_t read_ms;    /* the token file */
	uint64_t started_ms; /* the plugin */
	uint64_t failed_ms;  /* the plugin; its error is in error */
	bool was_read, was_started, has_failed;
	uint64_t n_runs, n_failures;
	char error[512];
};

enum auth_outcome { AUTH_READY, AUTH_WAITS, AUTH_FAILED };

void auth_init(struct auth *a, const struct kube_config *config);
void auth_fini(struct auth *a);
/* READY: a->now is to be used. WAITS: for the plugin; ask again after auth_poll(). FAILED: a->error. */
enum auth_outcome auth_get(struct auth *a, uint64_t now_ms);
/* A request with the credentials of that generation was answered 401. True: auth_get() may have others now. */
bool auth_refused(struct auth *a, uint64_t generation, uint64_t now_ms);
void auth_poll(struct auth *a, uint64_t now_ms);

/* Wipes a string and frees it. NULL: nothing. */
void secret_free(char *s);
/*
 * A whole regular file of at most max bytes, NUL at its end, to be freed. NULL and errno (EFBIG, EINVAL: no regular
 * file). It does not wait, whatever the path leads to.
 */
char *file_read(const char *path, size_t max, size_t *n);

#endif
