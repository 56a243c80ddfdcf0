/* SPDX-License-Identifier: Apache-2.0 */
/* The admin server: /metrics, /healthz, /api/v1/ as JSON, and captures as pcap. Driven by the caller's epoll. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "access_log.h"
#include "sync.h"
#include "token.h"

struct admin;

/*
 * Listens on "ADDR:PORT" or "[ADDR6]:PORT". token, which outlives it: who
 * captures must send it; if there is none, nobody can. remote_capture: packets
 * may be captured over other than loopback connections too. access_log (NULL:
 * none) is for its counters. NULL after logging.
 */
struct admin *admin_create(const char *listen, const struct token *token, bool remote_capture, const struct sync *sync,
			   const struct access_log *access_log);
void admin_destroy(struct admin *a);
/* For epoll. */
int admin_fd(const struct admin *a);
/* Serves what is ready; returns milliseconds until it must be called again, or -1. */
int admin_poll(struct admin *a);

#endif
