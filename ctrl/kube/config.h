/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to reach an API server and as whom: from a kubeconfig, or from what a
 * Pod finds in its container. Nothing is sent here; http.h does that.
 *
 * Files that a kubeconfig names (certificates, keys, tokens) are checked to be
 * readable, but stay paths: who renews them renews them for new connections.
 * Tokens, passwords and keys are never logged, and wiped when they are freed.
 */
#ifndef KUBE_CONFIG_H
#define KUBE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define KUBE_IN_CLUSTER_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

/* The plugin that gives credentials (client.authentication.k8s.io/v1 and v1beta1). */
struct kube_exec {
	char *api_version; /* "client.authentication.k8s.io/v1" */
	char *command;	   /* a path, or a name to be looked up in PATH */
	char **args;	   /* with command as args[0]; NULL at the end */
	char **env;	   /* "NAME=value", added to our own environment; NULL at the end */
	char *install_hint; /* NULL: none */
};

/* Strings that are not there are NULL. Of *_file and *_pem one is there at most: data wins, as with kubectl. */
struct kube_config {
	char *context;	 /* its name; NULL in a cluster */
	char *ns;	 /* namespace of the context or the Pod; "default" where none is given */
	char *server;	 /* "https://HOST[:PORT][/PATH]" or http, no '/' at its end */
	char *proxy_url; /* NULL: what the environment says */
	char *ca_file, *ca_pem;	 /* both NULL: the system's */
	char *tls_server_name;	 /* name in the certificate, NULL: of the URL */
	bool insecure_skip_tls_verify;
	char *cert_file, *cert_pem, *key_file, *key_pem;
	char *token, *token_file; /* if both: the file, the token until it can be read */
	char *username, *password;
	struct kube_exec *exec;
};

/* "FILE:LINE: what is wrong", or without a place where there is none. Never has a secret in it. */
struct kube_config_error {
	char text[512];
};

/*
 * Reads a kubeconfig. context NULL: its current-context. 0; -errno if a file
 * cannot be read; -EINVAL for its content. On failure *c is empty. Warns (in
 * the log) about what it ignores.
 */
int kube_config_read(struct kube_config *c, const char *file, const char *context, struct kube_config_error *err);
/* The same for its text; file is its name, by whose folder relative paths go. Opens nothing. */
int kube_config_parse(struct kube_config *c, const char *file, const char *data, size_t n, const char *context,
		      struct kube_config_error *err);
/*
 * From KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and the files token,
 * ca.crt and namespace of the folder. -ENOENT: this is no Pod, or it has no
 * service account token.
 */
int kube_config_in_cluster(struct kube_config *c, const char *folder, struct kube_config_error *err);
/* Wipes the secrets. *c is empty afterwards; may be called again. */
void kube_config_fini(struct kube_config *c);

#endif
