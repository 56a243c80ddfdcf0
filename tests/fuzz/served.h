/* SPDX-License-Identifier: Apache-2.0 */
/* A user of TCP that reads all, answers something, and closes behind the peer. */
#ifndef TESTS_FUZZ_SERVED_H
#define TESTS_FUZZ_SERVED_H

#include "tcp/tcp.h"

static inline void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	if (events & TCP_EV_CLOSED)
		return;
	while (tcp_readable(c))
		tcp_consume(c, tcp_peek(c).n);
	if (tcp_is_eof(c))
		tcp_close(c, now_us);
	else if (events & TCP_EV_READABLE)
		tcp_send(c, "some answer", 11);
}

#endif
