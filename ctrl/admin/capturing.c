/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/v1/capture: packets as a pcap file, for as long as the capture runs.
 * While there are none the connection is suspended, and the server does not
 * look at its socket: that is done here. A client that closes or half-closes
 * its side ends the capture; one that half-closed gets what was captured and
 * the trailer.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_pvt.h"
#include "base/filter.h"

#define BLOCK 65536u /* bytes that the server asks for at most */

/* -- the request's arguments */

struct args {
	struct weir_capture_spec spec;
	char wrong[200]; /* empty: nothing */
};

/* One number of a program; what follows it must be `end`. */
static bool take_field(const char **text, uint32_t max, char end, uint32_t *out)
{
	char *rest;
	unsigned long v;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	v = strtoul(*text, &rest, 10);
	if (errno || v > max || *rest != end)
		return false;
	*text = rest + (end != 0);
	*out = (uint32_t)v;
	return true;
}

/* "2,6 0 0 65535,6 0 0 0": what tcpdump -ddd prints, its lines joined by commas. */
static bool parse_program(const char *text, struct weir_capture_spec *s)
{
	uint32_t code, jt, jf, k;

	if (!take_field(&text, WEIR_FILTER_MAX, ',', &s->n_insns) || s->n_insns == 0)
		return false;
	for (uint32_t i = 0; i < s->n_insns; i++) {
		if (!take_field(&text, UINT16_MAX, ' ', &code) || !take_field(&text, UINT8_MAX, ' ', &jt) ||
		    !take_field(&text, UINT8_MAX, ' ', &jf) ||
		    !take_field(&text, UINT32_MAX, i + 1 < s->n_insns ? ',' : 0, &k))
			return false;
		s->insns[i] =
		    (struct weir_bpf_insn){.code = (uint16_t)code, .jt = (uint8_t)jt, .jf = (uint8_t)jf, .k = k};
	}
	return true;
}

static bool take(struct weir_capture_spec *s, const char *key, const char *value)
{
	uint64_t v;

	if (strcmp(key, "program") == 0)
		return parse_program(value, s);
	if (!admin_number(value, UINT32_MAX - 1, &v))
		return false;
	if (strcmp(key, "worker") == 0)
		s->worker = (uint32_t)v;
	else if (strcmp(key, "count") == 0 && v >= 1)
		s->count = v;
	else if (strcmp(key, "bytes") == 0 && v >= 1 && v <= WEIR_CAPTURE_BYTES_MAX)
		s->snaplen = (uint32_t)v;
	else if (strcmp(key, "duration") == 0 && v >= 1 && v <= WEIR_CAPTURE_MAX_US / 1000000)
		s->duration_us = v * 1000000;
	else
		return false;
	return true;
}

static enum MHD_Result take_argument(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct args *a = cls;

	(void)kind;
	if (!take(&a->spec, key, value ? value : "") && !a->wrong[0])
		admin_not_understood(a->wrong, sizeof(a->wrong), key, value);
	return MHD_YES;
}

/* -- the stream */

static void suspend(struct capturing *x)
{
	MHD_suspend_connection(x->asker);
	x->is_suspended = true;
}

static void add_trailer(struct capturing *x)
{
	struct diag_totals t = diag_capture_totals(x->diag);
	int rc;
	char n[24];

	diag_capture_state(x->diag, &rc);
	snprintf(n, sizeof(n), "%" PRIu64, t.n_packets);
	MHD_add_response_footer(x->response, "Weir-Packets", n);
	snprintf(n, sizeof(n), "%" PRIu64, t.n_dropped);
	MHD_add_response_footer(x->response, "Weir-Dropped", n);
	MHD_add_response_footer(x->response, "Weir-End", diag_result_text(rc));
}

static ssize_t read_block(void *cls, uint64_t pos, char *out, size_t cap)
{
	struct capturing *x = cls;
	size_t n = diag_capture_read(x->diag, out, cap);

	(void)pos;
	if (n > 0)
		return (ssize_t)n;
	if (diag_capture_is_over(x->diag)) {
		add_trailer(x);
		return MHD_CONTENT_READER_END_OF_STREAM;
	}
	suspend(x);
	return 0;
}

/* The response is not needed any more: the client has all of it, or has gone. */
static void end(void *cls)
{
	struct capturing *x = cls;

	diag_capture_end(x->diag, admin_now_ms());
	x->asker = NULL;
	x->response = NULL;
}

static enum MHD_Result begin_stream(struct capturing *x, struct MHD_Connection *c)
{
	enum MHD_Result result;

	x->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_block, x, end);
	if (!x->response)
		return MHD_NO; /* the connection is closed, and capturing_gone() follows */
	MHD_add_response_header(x->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/vnd.tcpdump.pcap");
	MHD_add_response_header(x->response, MHD_HTTP_HEADER_TRAILER, "Weir-Packets, Weir-Dropped, Weir-End");
	result = MHD_queue_response(c, MHD_HTTP_OK, x->response);
	MHD_destroy_response(x->response);
	return result;
}

static enum MHD_Result begin(struct capturing *x, struct MHD_Connection *c)
{
	struct args a = {.spec = {.worker = WEIR_ALL_WORKERS, .snaplen = WEIR_CAPTURE_BYTES_MAX, .duration_us = WEIR_CAPTURE_MAX_US}};
	enum permit_result why = permit_check(&x->permit, c);
	enum filter_fault fault;
	int rc;

	if (why != PERMIT_OK)
		return permit_reply(&x->permit, c, why);
	MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, take_argument, &a);
	if (a.wrong[0])
		return admin_reply_error(c, MHD_HTTP_BAD_REQUEST, a.wrong);
	fault = a.spec.n_insns ? filter_check(a.spec.insns, a.spec.n_insns) : FILTER_OK;
	if (fault != FILTER_OK)
		return admin_reply_error(c, MHD_HTTP_BAD_REQUEST, filter_fault_text(fault));
	rc = diag_capture(x->diag, &a.spec, admin_now_ms());
	if (rc)
		return admin_reply_result(c, rc);
	x->asker = c;
	x->response = NULL;
	x->has_left = false;
	suspend(x);
	return MHD_YES;
}

enum MHD_Result capturing_handle(struct capturing *x, struct MHD_Connection *c)
{
	int rc;

	if (x->asker != c)
		return begin(x, c);
	switch (diag_capture_state(x->diag, &rc)) {
	case DIAG_WAITING:
		suspend(x);
		return MHD_YES;
	case DIAG_READY:
		return begin_stream(x, c);
	default:
		diag_capture_end(x->diag, admin_now_ms());
		x->asker = NULL;
		return admin_reply_result(c, rc);
	}
}

void capturing_resume(struct capturing *x)
{
	if (x->is_suspended)
		MHD_resume_connection(x->asker);
	x->is_suspended = false;
}

static bool has_left(struct MHD_Connection *c)
{
	struct pollfd p = {.fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}

void capturing_poll(struct capturing *x)
{
	bool is_waiting;
	int rc;

	if (!x->asker)
		return;
	is_waiting = diag_capture_state(x->diag, &rc) == DIAG_WAITING;
	if (!is_waiting && !x->has_left && has_left(x->asker)) {
		x->has_left = true;
		diag_capture_stop(x->diag, admin_now_ms());
	}
	if (!is_waiting && (!x->response || diag_capture_has_bytes(x->diag) || diag_capture_is_over(x->diag)))
		capturing_resume(x);
}

void capturing_gone(struct capturing *x, const struct MHD_Connection *c)
{
	if (x->asker == c && !x->response)
		end(x);
}
