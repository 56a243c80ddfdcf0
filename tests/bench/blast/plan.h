/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and answers of a load with faults, as pure functions of a request's
 * id (see content.h): its method, what it carries, what becomes of it at the
 * origin. Bodies in any framing, both ways; and the reader of such bodies.
 *
 *   GET|POST /SSSSSSSS/IIIIIIII HTTP/1.1
 */
#ifndef BLAST_PLAN_H
#define BLAST_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "content.h"

/*
 * What the origin does to a request. X(enumerator, name, share): of so many faults this is one so often.
 * A fault that is no answer is done to the first tries of the request only, one to three of them.
 */
#define BLAST_FAULTS(X) \
	X(NONE, "none", 0) \
	X(CLOSE, "close", 120)		    /* "Connection: close", then FIN */ \
	X(CLOSE_UNTOLD, "close_untold", 120) /* FIN with the answer's end, without a word before */ \
	X(CLOSE_LATER, "close_later", 100)  /* FIN a little after the answer: perhaps just as a request comes */ \
	X(STALE_RST, "stale_rst", 80)	    /* the connection is reset by the next request on it */ \
	X(STALE_FIN, "stale_fin", 80)	    /* and likewise closed */ \
	X(RST_AT_ONCE, "rst_at_once", 60)   /* nothing is answered */ \
	X(FIN_AT_ONCE, "fin_at_once", 60) \
	X(RST_IN_HEAD, "rst_in_head", 30) \
	X(FIN_IN_HEAD, "fin_in_head", 30) \
	X(RST_IN_BODY, "rst_in_body", 40) \
	X(FIN_IN_BODY, "fin_in_body", 40) \
	X(STALL, "stall", 60)		   /* some milliseconds, then the answer */ \
	X(STALL_LONG, "stall_long", 1)	   /* longer than Weir waits for an answer */ \
	X(STALL_IN_BODY, "stall_in_body", 1) /* longer than it waits for more of a body */ \
	X(BYTE_BY_BYTE, "byte_by_byte", 30) \
	X(UNTIL_CLOSE, "until_close", 60)  /* a body that ends by close */ \
	X(CHUNKED, "chunked", 120) \
	X(INTERIM, "interim", 60)	   /* 1xx before the answer */ \
	X(EARLY, "early", 60)		   /* the answer begins before the request's body has come */

enum fault {
#define X(name, str, share) F_##name,
	BLAST_FAULTS(X)
#undef X
	N_FAULTS
};

extern const char *const fault_names[N_FAULTS];

struct plan {
	uint64_t hash; /* for all that is left to chance */
	uint32_t id;
	uint32_t size; /* of the answer's body */
	uint32_t post; /* of the request's */
	bool is_post, is_chunked; /* the request */
	uint8_t fault; /* enum fault */
	uint8_t depth; /* so many tries of it are hit by a fault that is no answer */
};

struct plan_rates {
	double faults, posts; /* shares of all requests */
	uint64_t seed;
	uint32_t size; /* of all bodies; UINT32_MAX: mixed, 0 to 1 MiB, most of them small */
};

/* What request id is, and what is done to it. */
struct plan plan_of(const struct plan_rates *r, uint32_t id);
/* Where the answer is cut, if it is: so many of its bytes go out. Without a cut: its length. */
uint32_t plan_cut(const struct content *c, const struct plan *p, uint8_t fault);

/* Bytes off .. off + n - 1 of the request, or of its answer as fault changes it, to out. Returns the length of the whole. */
size_t plan_request(const struct content *c, const struct plan *p, bool is_last, size_t off, size_t n, uint8_t *out);
size_t plan_answer(const struct content *c, const struct plan *p, uint8_t fault, size_t off, size_t n, uint8_t *out);

/* A body that arrives. */
enum framing { BODY_NONE, BODY_SIZED, BODY_CHUNKED };
enum body_state { BODY_MORE, BODY_DONE, BODY_WRONG_FRAMING, BODY_WRONG_BYTES, BODY_WRONG_LENGTH };

struct body_reader {
	uint32_t size; /* that it has to have */
	uint32_t got;
	uint32_t left;	/* of the chunk */
	uint8_t framing;
	uint8_t state;	/* within chunked framing */
	bool is_checked; /* its bytes are those of its id */
};

void body_begin(struct body_reader *r, enum framing framing, uint32_t size, bool is_checked);
/* Takes what of p[0 .. n - 1] is the body's; *used says how much. */
enum body_state body_take(struct body_reader *r, const struct content *c, uint32_t id, const uint8_t *p, uint32_t n, uint32_t *used);

#endif
