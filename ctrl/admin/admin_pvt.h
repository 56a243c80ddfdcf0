/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the admin server share. connections.c and capturing.c
 * answer requests that the dataplane must be asked about: one of each kind at
 * a time, suspended while it waits.
 */
#ifndef ADMIN_ADMIN_PVT_H
#define ADMIN_ADMIN_PVT_H

#include <jansson.h>
#include <microhttpd.h>

#include "admin/admin.h"
#include "diag.h"
#include "token.h"

uint64_t admin_now_ms(void);
/* Takes o over; NULL: no memory. */
enum MHD_Result admin_reply_json(struct MHD_Connection *c, unsigned status, json_t *o);
/* {"error": what} */
enum MHD_Result admin_reply_error(struct MHD_Connection *c, unsigned status, const char *what);
/* The same for a result of diag.h that is not 0. */
enum MHD_Result admin_reply_result(struct MHD_Connection *c, int result);
/* True if text is a decimal number up to max. */
bool admin_number(const char *text, uint64_t max, uint64_t *out);

/* Says in out (NUL terminated) that an argument of a query has no meaning; in ASCII, whatever the client sent. */
void admin_not_understood(char *out, size_t size, const char *key, const char *value);

/* GET /api/v1/connections */
struct connections {
	struct diag *diag;
	struct MHD_Connection *asker; /* NULL: none */
	bool is_suspended;
};

enum MHD_Result connections_handle(struct connections *x, struct MHD_Connection *c);
/* The dataplane may have answered. */
void connections_poll(struct connections *x);
/* The request of c has ended. */
void connections_gone(struct connections *x, const struct MHD_Connection *c);
void connections_resume(struct connections *x);

/* Who may capture. */
enum permit_result {
	PERMIT_OK,
	PERMIT_NOT_LOCAL,
	PERMIT_NO_TOKEN, /* weir-ctrl could not make one */
	PERMIT_TOKEN_MISSING,
	PERMIT_TOKEN_WRONG,
	N_PERMITS
};

struct permit {
	const struct token *token;
	bool is_remote_allowed; /* else the asker must be on this machine */
	uint64_t refused[N_PERMITS]; /* [PERMIT_OK] stays 0 */
	uint64_t told_ms;	     /* when a refusal was logged last */
};

/* May c capture? A refusal is counted and logged; permit_reply() then tells why and what to do. */
enum permit_result permit_check(struct permit *x, struct MHD_Connection *c);
enum MHD_Result permit_reply(const struct permit *x, struct MHD_Connection *c, enum permit_result why);
const char *permit_name(enum permit_result why);

/* The body of /metrics: malloc'd, NUL terminated, or NULL without memory. */
char *admin_metrics(const struct sync *sync, const struct permit *permit, const struct access_log *access_log);

/* GET /api/v1/capture: a pcap file for as long as it runs. Its end and its drops stand in the trailer. */
struct capturing {
	struct diag *diag;
	struct MHD_Connection *asker; /* NULL: none */
	struct MHD_Response *response; /* NULL: not begun */
	bool is_suspended;
	struct permit permit;
	bool has_left; /* the client sends nothing more: it wants the end */
};

enum MHD_Result capturing_handle(struct capturing *x, struct MHD_Connection *c);
void capturing_poll(struct capturing *x);
void capturing_gone(struct capturing *x, const struct MHD_Connection *c);
void capturing_resume(struct capturing *x);

#endif
