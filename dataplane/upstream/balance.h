/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of an endpoint. Each algorithm is a file, balance_*.c: a pick that
 * costs the same for two endpoints and for thousands, from a table, and the
 * steps that build the table.
 *
 * A table is built in small steps, slice by slice (upstream_work()), so that
 * no set, however large, stalls the worker. Until it is
 * complete the one before it serves, or, if there is none, plain round robin, which
 * needs none. A table names endpoints by their place among all of the worker's; whoever
 * reads it asks whether that one still belongs to the backend.
 */
#ifndef UPSTREAM_BALANCE_H
#define UPSTREAM_BALANCE_H

#include "upstream/pages.h"
#include "upstream/upstream.h"

struct backend;
struct endpoint;
struct table;
struct build;

/* What a choice depends on. */
struct choice {
	const struct upstream_tried *tried; /* these are not chosen again */
	uint64_t key;			    /* of the request; random if it has none */
	uint64_t now_us;
};

struct balance_algo {
	/* Takes the memory for a table of the build's candidates. False: there is not enough. */
	bool (*begin)(struct upstream *u, struct build *w);
	/* One step. True: it was the last one. */
	bool (*step)(struct upstream *u, struct build *w);
	/* An endpoint of the backend's table that is healthy and was not tried; NULL: none was found in a bounded number of looks. */
	struct endpoint *(*pick)(struct upstream *u, struct backend *b, const struct choice *c);
	int cost; /* of a step, in the units of a budget */
};

struct table {
	const struct balance_algo *algo; /* NULL: no table */
	uint32_t n;
	struct paged e;
};

/* A table that is being built; one at a time. */
struct build {
	struct backend *b; /* NULL: none */
	const struct balance_algo *algo;
	struct table table;
	struct paged scratch;
	const struct endpoint *next; /* of the backend's list; NULL: it has ended */
	uint32_t n;		     /* candidates */
	uint8_t phase;
	uint32_t i, j, k; /* what the phases count */
	uint64_t sum;
};

extern const struct balance_algo balance_weighted, balance_random, balance_least, balance_maglev, balance_ring;

/* Who gets the request; NULL: nobody is left. */
struct endpoint *balance_pick(struct upstream *u, struct backend *b, const struct choice *c);
/* Endpoints, weights or settings of the backend changed: its table is built anew, by and by. */
void balance_changed(struct upstream *u, struct backend *b, uint64_t now_us);
/* The backend goes. */
void balance_forget(struct upstream *u, struct backend *b);
/* The backend needs a table or a scan, which upstream_work() makes. */
void balance_queue(struct upstream *u, struct backend *b, uint64_t now_us);

/* For the algorithms. */
uint64_t balance_random64(struct upstream *u);
/* The next endpoint of the build's list (while next is not NULL: else all were met); NULL: it is no candidate. */
const struct endpoint *build_next(struct build *w);
/* The endpoint at a place if it is the backend's, healthy and not tried; else NULL. */
struct endpoint *balance_at(struct upstream *u, const struct backend *b, const struct choice *c, uint32_t place);
/* Of its weight, in thousandths: less than all during slow start. */
uint32_t balance_share(const struct backend *b, struct endpoint *e, uint64_t now_us);

#endif
