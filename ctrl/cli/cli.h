/* SPDX-License-Identifier: Apache-2.0 */
/* What weirctl's files share. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/* Gets "path" from the admin server at ADDR:PORT as JSON. NULL after saying why on stderr. */
json_t *fetch_json(const char *admin, const char *path);
/*
 * Writes what comes from "path" to out as it comes, until the end or until
 * *stop, then asks the server to end and takes what is left. token: the
 * secret that goes with the request. field() is told each field of the
 * trailer. 0, or -1 after saying why on stderr.
 */
typedef void fetch_field_fn(void *ctx, const char *name, const char *value);
int fetch_stream(const char *admin, const char *path, const char *token, FILE *out, const volatile sig_atomic_t *stop,
		 fetch_field_fn *field, void *ctx);
/* text as a query value; malloc'd. */
char *fetch_escape(const char *text);

/* Text for people, from the API's JSON. */
void render_status(FILE *f, const json_t *o);
void render_routes(FILE *f, const json_t *list);
void render_backends(FILE *f, const json_t *list);
void render_certificates(FILE *f, const json_t *list);
void render_stats(FILE *f, const json_t *o);
void render_stages(FILE *f, const json_t *list);
/* The ways to pods. */
void render_paths(FILE *f, const json_t *o);
void render_drops(FILE *f, const json_t *list);
/* What is known of the Secret with ticket keys, each line behind indent. */
void render_ticket_secret(FILE *f, const json_t *secret, const char *indent);
void render_tls(FILE *f, const json_t *o);
void render_ports(FILE *f, const json_t *o);
/* The driver's own counts besides. */
void render_ports_with_all(FILE *f, const json_t *o);
void render_explain(FILE *f, const json_t *o);
void render_connections(FILE *f, const json_t *o);

/* weirctl check: 0 nothing fatal, 1 something is, 2 a file cannot be read. */
int check_files(char **paths, int n, bool as_json);

/* What weirctl capture is told. */
struct capture_args {
	const char *query;  /* the rest of the API's arguments, "&name=value"... */
	const char *filter; /* a tcpdump expression; empty: all packets */
	uint32_t snaplen;
	const char *file;  /* to write; NULL: standard output */
	const char *token; /* file of the capture token */
};

/* weirctl capture: the packets that the filter wants to the file. 0, 1 it failed, 2 the filter is wrong. */
int capture(const char *admin, const struct capture_args *args);

#endif
