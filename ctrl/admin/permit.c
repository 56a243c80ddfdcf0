/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may capture. Packets are other people's: they go to this machine only,
 * unless --remote-capture says else, and always only to who has the token.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "admin/admin_pvt.h"
#include "base/log.h"

#define LOG_MS 10000u /* a line each that long at most: anybody can be refused as often as he likes */

static const char *const names[N_PERMITS] = {"ok", "not-local", "no-token", "token-missing", "token-wrong"};

const char *permit_name(enum permit_result why)
{
	return names[why];
}

static bool is_local(struct MHD_Connection *c)
{
	const struct sockaddr *a = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
	return a->sa_family == AF_INET6 && (IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127));
}

/* What "Authorization: Bearer TOKEN" has (RFC 6750, 2.1; the scheme's case does not matter, RFC 9110, 11.1); NULL: no such field. */
static const char *bearer(struct MHD_Connection *c)
{
	const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);

	return v && strncasecmp(v, "Bearer ", 7) == 0 ? v + 7 + strspn(v + 7, " ") : NULL;
}

static enum permit_result judge(const struct permit *x, struct MHD_Connection *c)
{
	const char *text;

	if (!x->is_remote_allowed && !is_local(c))
		return PERMIT_NOT_LOCAL;
	if (x->token->err)
		return PERMIT_NO_TOKEN;
	text = bearer(c);
	if (!text)
		return PERMIT_TOKEN_MISSING;
	return token_is(x->token, text) ? PERMIT_OK : PERMIT_TOKEN_WRONG;
}

static void tell(struct permit *x, enum permit_result why)
{
	uint64_t now_ms = admin_now_ms(), n = 0;

	for (unsigned i = 0; i < N_PERMITS; i++)
		n += x->refused[i];
	if (n > 1 && now_ms - x->told_ms < LOG_MS)
		return;
	x->told_ms = now_ms;
	log_warn("a capture is refused: %s (%" PRIu64 " so far)", permit_name(why), n);
}

enum permit_result permit_check(struct permit *x, struct MHD_Connection *c)
{
	enum permit_result why = judge(x, c);

	if (why != PERMIT_OK) {
		x->refused[why]++;
		tell(x, why);
	}
	return why;
}

enum MHD_Result permit_reply(const struct permit *x, struct MHD_Connection *c, enum permit_result why)
{
	char text[512];

	if (why == PERMIT_NOT_LOCAL)
		return admin_reply_error(c, MHD_HTTP_FORBIDDEN,
					 "packets are given to this machine only, unless weir-ctrl has --remote-capture");
	if (why == PERMIT_NO_TOKEN) {
		snprintf(text, sizeof(text), "weir-ctrl gives no packets: it could not write its capture token to %s: %s; "
			 "see --capture-token, and start it again", x->token->path, strerror(-x->token->err));
		return admin_reply_error(c, MHD_HTTP_FORBIDDEN, text);
	}
	snprintf(text, sizeof(text), "%s: send Authorization: Bearer and what weir-ctrl wrote to %s when it started "
		 "(weirctl capture --token FILE does), which root can read and who started it",
		 why == PERMIT_TOKEN_MISSING ? "a capture needs the capture token" : "that is not the capture token", x->token->path);
	return admin_reply_error(c, MHD_HTTP_UNAUTHORIZED, text);
}
