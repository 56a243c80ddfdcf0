/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer that is no stack: it knows the connection's numbers, and sends what
 * is almost valid. Each has a few tricks of its own, chosen by its seed, so
 * that they are seen alone and together.
 */
#ifndef SIM_FOE_H
#define SIM_FOE_H

#include "app.h"
#include "wire_check.h"

/* X(enumerator, name for a trace) */
#define FOE_TRICKS(X) \
	X(ACKS, "acknowledges") X(DIVIDES, "divides its acknowledgements") X(OPTIMIST, "acknowledges what has not come") \
	X(IMPOSSIBLE, "acknowledges what was never sent") X(STALE, "acknowledges again") \
	X(SACKS, "reports blocks") X(LIES_IN_SACK, "reports impossible blocks") X(RENEGES, "takes a report back") \
	X(SENDS, "sends in order") X(HOLES, "sends with holes") X(OVERLAPS, "sends again, and more") \
	X(FLOODS, "sends tiny segments") X(BEYOND, "sends beyond the window") X(SHUTS, "shuts its window") \
	X(SHRINKS, "shrinks its window") X(OPENS, "opens its window") X(FINISHES, "sends FIN") X(ODD_FIN, "sends FIN elsewhere") \
	X(RESETS, "resets") X(NEAR_RESET, "resets nearly") X(SYNS, "sends SYN") X(TIME_JUMPS, "lets its clock jump") \
	X(NO_TIME, "leaves out its time stamp") X(OLD, "sends wrong bytes with an old time stamp") X(URGENT, "sends urgent data") X(FLAGS, "sets odd flags") \
	X(MALFORMED, "sends a broken header") X(MARKS, "marks congestion") X(ICMP, "has ICMP errors sent") X(PAUSES, "pauses")

enum foe_trick {
#define X(name, str) FOE_##name,
	FOE_TRICKS(X)
#undef X
		FOE_N_TRICKS
};

extern const char *const foe_trick_names[];

struct foe {
	struct sim *sim;
	uint64_t prng;
	uint32_t tricks; /* bit mask of enum foe_trick: what it is fond of */
	unsigned n_acts; /* that it will still do */
	bool opens;	 /* it connects to the victim, not the other way */
	bool is_odd;	 /* its handshake is strange, or its headers are; nothing is checked on the wire then */
	bool is_liar;	 /* sends other bytes for the same numbers: the application's bytes are not checked then */
	bool is_traced, is_silent;
	int index;

	struct weir_ip ip, victim_ip;
	uint16_t port, victim_port;
	/* what it offers */
	struct wire_seg syn;
	bool uses_ts;
	uint32_t ts_now;

	bool is_up; /* the handshake is done, as far as it knows */
	uint32_t iss, nxt, fin_at;
	uint32_t irs, rcv_nxt, rcv_max; /* rcv_nxt: all before it came; rcv_max: furthest seen */
	bool has_irs;
	uint32_t acked; /* it has acknowledged so far */
	uint16_t wnd;
	uint32_t ts_echo;

	struct wire_conn wire; /* the victim's behaviour is judged */
	struct app app;	       /* of the victim */
	struct side_plan plan[2]; /* the victim's application, and the text that the foe sends */
	unsigned n_injected;
};

/* Draws everything about it. client: it opens. */
void foe_init(struct foe *f, struct sim *sim, int index, uint64_t seed);
/* Begins: sends its SYN, if it is the one that opens. */
void foe_start(struct foe *f, uint64_t now_us);
/* The victim sent this. */
void foe_hear(struct foe *f, const struct wire_seg *s, uint64_t now_us);

/* foe_tricks.c: does one of its tricks. */
void foe_act(struct foe *f, uint64_t now_us);

/* For the tricks: a segment with its ports, next numbers, window and time stamp; sent with len bytes of the text from seq on. */
struct wire_seg foe_segment(struct foe *f, uint8_t flags);
void foe_send(struct foe *f, const struct wire_seg *s);
uint32_t foe_draw(struct foe *f, uint32_t n); /* 0 .. n - 1 */

#endif
