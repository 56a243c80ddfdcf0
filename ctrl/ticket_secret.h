/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Secret with the keys of session tickets (ticket_keys.h) that all Weirs
 * share: each reads it again and again, and hands what it holds to its
 * dataplane. One of them, who may write, fills it and rotates the keys, by its
 * own clock against the time that stands in the Secret; the others only take the order in which the keys
 * stand there, so that no two clocks have to agree.
 *
 * What is wrong with it changes nothing, for a while: the last good keys stay.
 * After two rotations' time without good ones the dataplane is told to make
 * its own: keys that nobody can rotate any more would open what was sealed for ever, and
 * own ones cost no more than full handshakes of clients that come to another node.
 *
 * It reads no clock and opens no socket; see kube/reflector.h.
 */
#ifndef CTRL_TICKET_SECRET_H
#define CTRL_TICKET_SECRET_H

#include "kube/reflector.h"
#include "ticket_keys.h"

#define TICKET_SECRET_READ_MS 15000u   /* between two looks; less where keys rotate sooner */
#define TICKET_SECRET_RETRY_MS 2000u   /* after no answer, or a conflict */
#define TICKET_SECRET_REFUSED_MS 60000u /* after the API server refused to let us write */
#define TICKET_SECRET_HOLD_MS 60000u   /* at most; so long keys are not rotated after they were seen first: all are to know them */
#define TICKET_SECRET_ROTATE_S 28800u  /* the default */
#define TICKET_SECRET_MAX_BYTES (256u << 10)

/* X(name, help) */
#define TICKET_SECRET_COUNTERS(X) \
	X(reads, "Answers with the Secret of ticket keys") \
	X(wrong, "Times that it held what are no keys") \
	X(created, "Times that it was made or filled here") \
	X(rotated, "Times that its keys were rotated here") \
	X(conflicts, "Times that it was not written, since it had changed (409)") \
	X(refused, "Times that the API server would not let it be read or written (401, 403, other 4xx)") \
	X(failed, "Requests for it that failed otherwise")

struct ticket_secret_counters {
#define X(name, help) uint64_t name;
	TICKET_SECRET_COUNTERS(X)
#undef X
};

enum ticket_secret_state {
	TICKET_SECRET_UNKNOWN, /* not answered yet */
	TICKET_SECRET_GOOD,
	TICKET_SECRET_ABSENT,
	TICKET_SECRET_EMPTY,
	TICKET_SECRET_WRONG,
	TICKET_SECRET_FORBIDDEN,
};

struct ticket_secret_options {
	const char *ns, *name;
	uint32_t rotate_s; /* 0: it is never written here */
};

struct ticket_secret_status {
	const char *ns, *name;
	enum ticket_secret_state state;
	const char *why;   /* of WRONG; else "" */
	const char *uid, *version; /* as last read; "": there is none, or it is not known */
	unsigned n_keys;   /* that were handed over last */
	int64_t rotated_s; /* as the Secret says; 0: it does not */
	uint32_t rotate_s;
	bool may_write;	   /* at the last poll */
	bool is_given_up;  /* there were no good keys for too long */
};

struct ticket_secret;

/* The dataplane is to use these. */
typedef void ticket_secret_give_fn(void *ctx, const struct weir_ticket_keys *keys);

/*
 * http NULL: it comes by ticket_secret_take() alone. The strings, and what http and ctx have, must outlive it. seed: for jitter.
 * NULL: no memory.
 */
struct ticket_secret *ticket_secret_create(const struct ticket_secret_options *options, const struct reflector_http *http,
					   ticket_secret_give_fn *give, void *ctx, uint64_t seed);
void ticket_secret_destroy(struct ticket_secret *t);
/* Of a source without an API server: what it has, NULL: nothing. */
void ticket_secret_take(struct ticket_secret *t, const struct node *secret, uint64_t now_ms);
/*
 * Does what there is to do. may_write: it is us who writes, of all Weirs. now_s: Unix seconds. Returns the time (of now_ms)
 * at which it wants to be called at the latest.
 */
uint64_t ticket_secret_poll(struct ticket_secret *t, bool may_write, uint64_t now_ms, int64_t now_s);
void ticket_secret_status(const struct ticket_secret *t, struct ticket_secret_status *out);
const struct ticket_secret_counters *ticket_secret_counters(const struct ticket_secret *t);
/* "good", "absent", ... */
const char *ticket_secret_state_name(enum ticket_secret_state s);

#endif
