/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack that plays a script for the comparison with Linux (diff.c): segments
 * in, calls of a user, segments out, and what the user has seen. The two
 * players are Weir's TCP and, behind a TUN device, the kernel's.
 */
#ifndef SCRIPT_PLAYER_H
#define SCRIPT_PLAYER_H

#include "backend.h"
#include "script.h"

/* What the user of a connection has seen by now. */
struct player_view {
	bool is_there;	   /* accepted or connected once */
	uint64_t n_read;   /* bytes */
	uint64_t hash;	   /* of them */
	uint64_t readable; /* bytes that are there */
	bool is_eof;	   /* all is read and the peer has closed */
	const char *error; /* "", "reset", "refused", "other" */
};

struct player {
	const char *name;
	/* number: of the run, no two alike; it gives the peer its addresses. NULL with why. */
	void *(*open)(const struct script *s, unsigned number, char *why);
	void (*close)(void *p);
	void (*inject)(void *p, unsigned conn, const uint8_t *bytes, size_t n, uint8_t ecn);
	void (*icmp)(void *p, unsigned conn, const char *what, uint32_t seq, uint32_t mtu);
	/* A step that is a call; what cannot be done is not done. */
	void (*call)(void *p, const struct script_step *st);
	/* What came out, oldest first; the addr is that of the script. */
	bool (*next)(void *p, struct backend_packet *out);
	uint16_t (*local_port)(void *p, unsigned conn);
	const char *(*state)(void *p, unsigned conn); /* NULL: it does not say */
	/* Before a segment: lets the limits of replies pass, of a connection that is not yet, or no more. NULL: no need. */
	void (*settle)(void *p, unsigned conn);
	void (*look)(void *p, unsigned conn, struct player_view *out);
};

extern const struct player player_weir;
extern const struct player player_linux;

/* A namespace with a TUN device, once per process. Needs root. False with why: not to be had here. */
bool player_linux_begin(char *why);

static inline uint64_t player_hash(uint64_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ull; /* FNV-1a */
	return h;
}

#define PLAYER_HASH_BEGIN 0xcbf29ce484222325ull

#endif
