/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server for tests, over UDP and TCP on a port of 127.0.0.1, in a
 * thread. What it answers follows from the name's first label; see dns_server.c.
 */
#ifndef TEST_DNS_SERVER_H
#define TEST_DNS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct dns_server;

struct dns_server *dns_server_start(void);
void dns_server_stop(struct dns_server *s);
uint16_t dns_server_port(const struct dns_server *s);
/* Queries that it has got, over UDP or TCP. */
unsigned dns_server_count(const struct dns_server *s, bool is_tcp);

#endif
