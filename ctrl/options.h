/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of weir-ctrl. */
#ifndef CTRL_OPTIONS_H
#define CTRL_OPTIONS_H

#include "base/log.h"
#include "base/sandbox.h"
#include "ocsp/ocsp.h"
#include "paths/choose.h"
#include "status/writer.h"
#include "translate/translate.h"

#define OPTIONS_MAX_NAMESPACES 64u
#define OPTIONS_MAX_STATUS_ADDRS 16u
#define OPTIONS_NS_BYTES 64u /* of the name of a namespace, or of an object in it, with NUL */
#define OPTIONS_NAME_BYTES 254u

/* The texts are those of argv. */
struct options {
	const char *manifests, *kubeconfig, *kube_context; /* NULL: not given */
	bool in_cluster;
	const char *namespaces[OPTIONS_MAX_NAMESPACES];
	size_t n_namespaces;  /* 0: all */
	const char *selector; /* NULL: all */
	bool allow_unread_policies;
	bool ingress_without_class;
	const char *node;     /* NULL: not known */
	struct address_pool pool;
	uint32_t namespace_mb; /* of a snapshot, for the routes of one namespace; 0: no bound */
	const char *state_dir; /* NULL: nothing is kept on disk */
	bool state_of_any;
	struct weir_ip status_addrs[OPTIONS_MAX_STATUS_ADDRS]; /* where Weir is reached, for statuses */
	size_t n_status_addrs;
	enum status_write write_status;
	bool events;
	char lease_ns[OPTIONS_NS_BYTES], lease_name[OPTIONS_NAME_BYTES];
	char default_ns[OPTIONS_NS_BYTES], default_name[OPTIONS_NAME_BYTES]; /* of a certificate; "": none */
	char tickets_ns[OPTIONS_NS_BYTES], tickets_name[OPTIONS_NAME_BYTES]; /* of the Secret with ticket keys; "": none */
	uint32_t ticket_rotate_s; /* 0: it is never written */
	const char *ca_bundle; /* NULL: that of the machine */
	const char *socket, *admin, *user, *capture_token;
	const char *access_log; /* NULL: off */
	uint32_t access_log_sample;
	bool remote_capture;
	unsigned external_names; /* families of addresses (RESOLVE_IP4, ...) of ExternalName Services; 0: they are refused */
	const char *dns_servers; /* NULL: those of /etc/resolv.conf */
	enum ocsp_mode ocsp;
	struct paths_options paths;
	enum sandbox_mode seccomp;
	enum log_level level;
};

/*
 * Ends the program for --help and --version (0), and for wrong options (2),
 * after saying which. What it found is to be given to options_fini().
 */
void options_read(int argc, char **argv, struct options *o);
void options_fini(struct options *o);

#endif
