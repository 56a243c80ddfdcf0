/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the store at what an API server has of one kind: finds the version in
 * which it is served, lists it, watches it from there, and begins again where
 * that is no longer possible. The list comes as the beginning of the watch
 * where the server can do that (sendInitialEvents), else page by page. Whatever goes wrong, what is known
 * stays in the store, until a complete list says otherwise.
 *
 * It reads no clock and opens no socket: time is a parameter, and requests go
 * through a table of functions. The callbacks of a request only take note;
 * what follows from them is done in reflector_poll().
 */
#ifndef KUBE_REFLECTOR_H
#define KUBE_REFLECTOR_H

#include "kube/http.h"
#include "kube/json.h"
#include "kube/store.h"

#define REFLECTOR_PAGE 500u		/* objects of a page of a list */
#define REFLECTOR_MAX_PAGES 2000u	/* of one list: it has no end otherwise */
#define REFLECTOR_DISCOVERY_MS 10000u	/* between two looks for a kind that is not served */
#define REFLECTOR_ABSENT_LOOKS 3u	/* so often a kind that was served is not, and for so long, before its objects are given up */
#define REFLECTOR_FORBIDDEN_LOOKS 3u	/* so often an optional kind is answered 403 before Weir does without it */
#define REFLECTOR_ABSENT_MS 20000u
#define REFLECTOR_ABSENT_SOON_MS 1000u	/* between two looks at first: a server that has just started has it soon */
#define REFLECTOR_BACKOFF_MIN_MS 500u
/*
 * Bounds of the backoff: where answers make no sense; where the server has
 * failed (5xx) or knows us not (401 and 403: a server that has just started
 * says so); where there is no answer at all.
 */
#define REFLECTOR_BACKOFF_MAX_MS 30000u
#define REFLECTOR_FAILURE_MAX_MS 5000u
#define REFLECTOR_RETRY_MAX_MS 3000u
#define REFLECTOR_STALL_MS 30000u	/* without a byte, of any request but a watch that is answered */
#define REFLECTOR_STREAM_STALL_MS 10000u /* the same for a list that comes as a watch, once that is open */
#define REFLECTOR_WATCH_MIN_S 300u	/* timeoutSeconds of a watch: at random */
#define REFLECTOR_WATCH_MAX_S 600u
#define REFLECTOR_BOOKMARK_STALL_MS 180000u /* the same for a watch that had a bookmark: they come once a minute */
#define REFLECTOR_WATCH_GRACE_MS 10000u /* a watch without a byte for its timeout and this is given up */

/* How requests are made: kube_http_request() and kube_http_cancel(), or those of a test. */
struct reflector_http {
	void *ctx;
	struct kube_call *(*request)(void *ctx, const struct kube_request *r);
	void (*cancel)(void *ctx, struct kube_call *call);
};

/* X(name, help) */
#define REFLECTOR_COUNTERS(X) \
	X(lists, "Lists of a kind begun") \
	X(lists_complete, "Lists of a kind that were complete") \
	X(streamed, "Lists of a kind that came complete as the beginning of a watch") \
	X(stream_refused, "Times that the server would not give a list as a watch, and was asked for pages") \
	X(watches, "Watches begun") \
	X(events, "Events of watches, but for bookmarks") \
	X(bookmarks, "Bookmarks of watches") \
	X(expired, "Times that the server no longer knew our place (410)") \
	X(throttled, "Answers 429") \
	X(failed, "Requests that failed: no answer, or an error") \
	X(malformed, "Answers and streams that could not be read") \
	X(too_large, "Objects passed over since they are too large") \
	X(refused, "Objects of lists and watches that were not taken: what was known of them stays") \
	X(unswept, "Complete lists that took nothing away, since the name of an object in them could not be read") \
	X(endless, "Lists given up since their pages had no end") \
	X(stalled, "Requests ended since no byte came for too long") \
	X(absent, "Times that the kind was not served")

struct reflector_counters {
#define X(name, help) uint64_t name;
	REFLECTOR_COUNTERS(X)
#undef X
};

/* REFLECTOR_STREAM: a watch that begins with all there is. */
enum reflector_step { REFLECTOR_DISCOVERY, REFLECTOR_STREAM, REFLECTOR_LIST, REFLECTOR_WATCH };

/* What the callbacks of the request under way have noted. */
struct reflector_notes {
	bool is_done;	     /* on_done was called */
	bool has_bytes;	     /* since the last poll */
	bool is_malformed;   /* nothing more of it is read */
	bool is_expired;     /* an ERROR event 410 */
	bool has_failed;     /* another ERROR event */
	bool is_ignored;     /* a watch that was asked to begin with a list does not */
	bool has_events;     /* a watch gave something */
	int status;
	char error[160]; /* "" without */
	uint32_t retry_after_s;
};

struct reflector {
	/* as given to reflector_init() */
	enum kube_kind kind;
	const char *ns;	      /* NULL: all */
	const char *only;     /* reflector_init_named(): the name of this object alone; NULL: all */
	const char *selector; /* of labels, NULL: all */
	const char *fields;   /* fieldSelector, NULL: all; set by who wants one, after reflector_init() */
	bool is_required;     /* waited for where it is forbidden (403), even if it is optional; of policies, unless cleared */
	struct store *store;
	struct reflector_http http;
	char name[160]; /* plural of the kind, and the namespace: for whom it may concern */

	enum reflector_step step;
	struct kube_call *call; /* NULL: waiting until next_ms */
	struct reflector_notes notes;
	uint64_t next_ms, heard_ms;
	uint64_t stall_ms;	/* of the request under way */
	uint64_t open_stall_ms; /* the same once it is answered: a watch may be silent for long then, but not before */
	uint64_t watch_stall_ms; /* the same for a list that has become a watch */
	uint64_t began_ms;
	uint32_t backoff_ms;
	uint64_t random;

	unsigned version;	    /* candidate: of kube_kind_version() */
	bool lists_plainly; /* page by page: the other way is refused, or fails */
	unsigned n_stream_failures; /* in a row */
	unsigned n_watch_failures;
	unsigned n_absent;	    /* looks in a row that found nothing */
	uint64_t absent_ms;	    /* the first of them */
	bool is_gone;		    /* not served, and that is believed */
	unsigned n_forbidden;	    /* answers 403 in a row */
	bool is_forbidden;	    /* which is believed, and a problem (of a name: until it is answered otherwise) */
	char resource_version[128]; /* from which to watch */
	char *continue_token;	    /* of the next page, NULL: none */
	char *asked_token;	    /* of this page, NULL: it is the first */
	unsigned n_pages;	    /* of this list */
	struct json_split split;
	char *body; /* of a discovery */
	size_t body_bytes;
	bool is_list_of_kind; /* the page said so */
	bool is_unswept; /* since the list began there was an object whose name could not be read */
	char page_version[128];

	bool is_synced;	    /* was listed completely once, or is not served, or is optional and forbidden */
	bool is_healthy;    /* the last request went well: what is in the store is new */
	bool has_no_answer; /* the last request had none */
	bool is_ill;	    /* the last answer was one of a server that has just started, or is not well */
	bool is_reached;    /* the server has answered: others may try too; cleared by who reads it */
	bool has_recovered; /* what was not up to date is again; likewise */
	uint64_t synced_ms; /* when last known to be up to date */
	uint64_t changed;   /* mask, until reflector_take() */
	struct reflector_counters counters;
	char problem[384]; /* why it is not healthy, with kind and namespace */
};

/* The strings, the store and what http has must outlive it. seed: for jitter. It begins with the first poll. */
void reflector_init(struct reflector *r, enum kube_kind kind, const char *ns, const char *selector, struct store *store,
		    const struct reflector_http *http, uint64_t seed);
/*
 * For one object of a core kind, by fieldSelector, without a look whether the
 * kind is served. What is answered of another one is not taken. It says
 * nothing in the log, and a 403 is not a problem: r->is_forbidden tells.
 */
void reflector_init_named(struct reflector *r, enum kube_kind kind, const char *ns, const char *name, const char *fields,
			  struct store *store, const struct reflector_http *http, uint64_t seed);
void reflector_fini(struct reflector *r);

/* Does what there is to do. Returns the time (not the milliseconds) at which it wants to be called at the latest. */
uint64_t reflector_poll(struct reflector *r, uint64_t now_ms);
/*
 * Another one has just reached the server, or, is_well, is up to date again: if
 * it waits since there was no answer, or since the server was not well, it tries soon.
 */
void reflector_hurry(struct reflector *r, bool is_well, uint64_t now_ms);
/* The mask of the store's changes since the last time. */
uint64_t reflector_take(struct reflector *r);

#endif
