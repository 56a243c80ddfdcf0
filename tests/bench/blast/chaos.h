/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load with faults: what the two ends do while it is on, and the judge. The
 * plan of a request (plan.h) follows from its id; what the origin really did to
 * it is recorded, so that the client knows which outcomes are right:
 *
 *   an answer of the origin   it sent one whole, and each byte is that one's
 *   502                       as many tries failed as there may be, or one that HTTP does not allow again,
 *                             or an answer's head was cut
 *   504                       the origin was silent for longer than Weir waits
 *   a cut connection          the origin cut a body, or stopped within it
 *
 * All else is an error. A POST that comes twice to the origin is one, too.
 */
#ifndef BLAST_CHAOS_H
#define BLAST_CHAOS_H

#include "blast.h"
#include "plan.h"

#define CHAOS_TRIES 3 /* Weir's limits.tries */
#define CHAOS_RECORDS (1u << 23) /* ids from one that still waits to the latest: a minute of them and more */
#define N_DELAYS 4

/* What became of a request at the origin. */
struct chaos_record {
	uint32_t id;
	uint8_t seen;	  /* times that its head came */
	uint8_t hit;	  /* of them met by its fault */
	uint8_t failed;	  /* ended without a byte of an answer */
	uint8_t cut_head, cut_body, stalled, whole;
};

/* Beside a tconn, while there are faults. */
struct chaos_conn {
	struct body_reader in; /* of the request at the origin, of the answer at the client */
	uint16_t status;       /* client */
	uint8_t fault;	       /* origin: of the answer */
	uint8_t doom;	       /* origin: F_STALE_RST, F_STALE_FIN: what the next request meets */
	uint16_t n_probes;     /* client: without an answer to this request */
	uint32_t watched;      /* client: the request at the last look */
	bool is_watched : 1;   /* client: it is in the list of those looked at */
	bool is_reading : 1;   /* origin: the body of a request */
	bool is_deaf : 1;      /* origin: closed; what still comes is dropped */
	bool is_waiting : 1;   /* origin: the answer is delayed */
	bool has_told : 1;     /* origin: that this was the last answer */
	bool wants_rst : 1;    /* origin: behind what is being sent */
	bool rst_late : 1;     /* once that is acknowledged */
};

struct chaos_counts {
	uint64_t posts, bad_gateway, timeouts, cuts; /* outcomes that the origin explains */
	uint64_t by_refusal;			     /* of the 502: refused connections explain them, with other failures or alone */
	uint64_t refusals_used;
	uint64_t mirrored; /* connections that brought something to the mirror */
	uint64_t unseen; /* answered without having come to the origin */
	uint64_t seen_again, stale, refused_syns;
	uint64_t fired[N_FAULTS];
};

struct chaos {
	struct plan_rates rates;
	struct chaos_conn *client, *origin;
	struct chaos_record *records;
	struct due delay[N_DELAYS];
	uint32_t long_ms; /* of the longest delay */
	bool has_mirror;  /* the last address of the origin is a mirror: nobody looks at what comes there */
	struct due watch; /* clients */
	struct chaos_counts n;
	unsigned n_told; /* errors explained on standard error */
};

/* Begins, or changes the rates. stall_s: of an answer that never comes. False: no memory. */
bool chaos_begin(struct blast *b, const struct plan_rates *rates, double stall_s, bool has_mirror);
/* Delayed answers and closes that are due. */
void chaos_step(struct blast *b);

/* The origin refuses this new connection. */
bool chaos_refuses(struct blast *b);
void chaos_on_open(struct blast *b, const struct end *e, uint32_t index);
/* The client is about to ask; returns the length of the request. */
uint32_t chaos_ask(struct blast *b, uint32_t index);
void chaos_data(struct blast *b, struct end *e, uint32_t index, const uint8_t *p, uint32_t n);
/* A client's connection ends with a request in hand: true if that is right. */
bool chaos_is_right_cut(struct blast *b, uint32_t index, enum blast_error why);
/* All that can be sent was; a reset that is to follow may be due. */
void chaos_on_sent(struct blast *b, struct end *e, uint32_t index);
/* True if this connection sends byte by byte. */
bool chaos_is_slow(const struct blast *b, const struct end *e, uint32_t index);
void chaos_fill(const struct blast *b, const struct end *e, const struct tconn *c, uint32_t off, uint32_t n, uint8_t *out);

/* ends.c, for chaos.c: the head that comes in pieces, in one; NULL: too long, or no room. */
struct piece {
	const uint8_t *p;
	uint32_t n;
};
struct piece ends_keep(struct blast *b, struct tconn *c, const uint8_t *p, uint32_t n);
bool ends_has_kept(const struct tconn *c);
void ends_drop(struct blast *b, struct tconn *c);
void ends_fail(struct blast *b, uint32_t index, enum blast_error why);

#endif
