/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the checker share. Every function returns WEIR_REFUSED_OK, or tells *err and returns why. */
#ifndef SNAPSHOT_CHECK_PVT_H
#define SNAPSHOT_CHECK_PVT_H

#include "snapshot/snapshot.h"

struct check {
	const struct weir_snapshot *s;
	struct snapshot_error *err;
	uint64_t *n_scanned; /* bytes of strings looked at; strings may be shared, so this is bounded */
};

/* Ends the function with the refusal, if there is one. */
#define TRY(x) \
	do { \
		enum weir_refusal try_ = (x); \
		if (try_ != WEIR_REFUSED_OK) \
			return try_; \
	} while (0)

enum weir_refusal check_refuse(const struct check *c, enum weir_refusal why, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* -- fields; "what" of entry i in the text of a refusal */

enum weir_refusal check_str(const struct check *c, struct weir_str str, const char *what, uint32_t i);
/* Strings may be shared: without this, many entries with one long string would cost its square. */
enum weir_refusal check_cost(const struct check *c, struct weir_str str, uint32_t max, const char *what, uint32_t i);
/* Visible ASCII without space; paths, names. */
enum weir_refusal check_text(const struct check *c, struct weir_str str, uint32_t max, const char *what, uint32_t i);
enum weir_refusal check_host(const struct check *c, struct weir_str str, uint8_t kind, const char *what, uint32_t i);
/* A range that begins where the one before it ended; *next moves on. */
enum weir_refusal check_range(const struct check *c, struct weir_range r, enum weir_section section, uint64_t *next,
			      const char *what, uint32_t i);
enum weir_refusal check_all_used(const struct check *c, enum weir_section section, uint64_t next);

/* -- entries */

enum weir_refusal check_filters(const struct check *c);
enum weir_refusal check_backends(const struct check *c);
/* Server names, what is asked of clients, TLS to backends, and the certificates of all these, where the ranges of binds hold. */
enum weir_refusal check_names(const struct check *c);
enum weir_refusal check_client_auths(const struct check *c, uint64_t *certs);
enum weir_refusal check_backend_tls(const struct check *c, uint64_t *certs);
/* What is below listeners of kind STREAM, and that they stand only where bytes can be. */
enum weir_refusal check_streams(const struct check *c);

#endif
