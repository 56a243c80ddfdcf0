/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack under test as those who run scripts see it: it is given segments
 * and calls, and gives segments back; its clock begins at 0 with the script.
 * backend_weir.c runs Weir's own TCP in virtual time; linux.c the kernel's.
 */
#ifndef SCRIPT_BACKEND_H
#define SCRIPT_BACKEND_H

#include "script.h"

/* How a script is run: the same script must hold for each. */
struct backend_pass {
	const char *name;
	bool is_ip6;
	uint32_t isn;	   /* base of the peer's sequence numbers */
	uint32_t ts;	   /* base of its time stamps */
	uint64_t start_us; /* of the stack's clock */
};

/* A segment that the stack sent, to the peer's address `addr`. */
struct backend_packet {
	uint64_t at_us;
	unsigned addr;
	uint8_t ecn;
	size_t n;
	uint8_t bytes[SEG_MAX_BYTES];
};

struct backend;

/* Opens a stack with the script's configuration. NULL with *why. */
struct backend *backend_open(const struct script *s, const struct backend_pass *pass, char *why);
/* Ends it. False with why: something was left behind. */
bool backend_close(struct backend *b, char *why);
/* Lets time pass up to at_us; stops when a segment came out, if asked to. */
void backend_run(struct backend *b, uint64_t at_us, bool stops_at_output);
uint64_t backend_now(const struct backend *b);
/* The oldest segment that came out and was not yet taken. */
bool backend_next(struct backend *b, struct backend_packet *out);
/* A segment of n bytes (TCP header first) from connection conn's peer. is_burst: more come in the same iteration. */
void backend_inject(struct backend *b, unsigned conn, const uint8_t *p, size_t n, uint8_t ecn, bool is_burst);
/* An ICMP error about what the stack sent; seq is absolute. False: unknown kind. */
bool backend_icmp(struct backend *b, unsigned conn, const char *what, uint32_t seq, uint32_t mtu);
/* The stack's port of a connection; 0 while unknown. */
uint16_t backend_local_port(const struct backend *b, unsigned conn);
/* Which connection owns this tuple now: the one that spoke of it last. -1: none. */
int backend_find(const struct backend *b, unsigned addr, uint16_t peer_port, uint16_t local_port);
/* The stack's name of the connection's state, "CLOSED" if there is none. */
const char *backend_state(struct backend *b, unsigned conn);
/* Writes as much as the send queue takes. */
void backend_feed(struct backend *b, unsigned conn);
/* Does what a call says. False with why (SEG_TEXT_MAX bytes): not as the script has it. */
bool backend_call(struct backend *b, const struct script_step *st, char *why);

#endif
