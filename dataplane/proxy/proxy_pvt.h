/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of proxy/ share. A client connection is pumped: whatever
 * happened to it or to its upstream connection, client_pump() does all that
 * can be done now and returns. Nothing recurses, and after a call that may end
 * the client (they say so) it is not touched any more.
 */
#ifndef PROXY_PROXY_PVT_H
#define PROXY_PROXY_PVT_H

#include <assert.h>

#include "base/ip.h"
#include "base/wheel.h"
#include "proxy/proxy.h"
#include "route/route.h"
#include "stats/stage.h"
#include "tls/stream.h"

#define PROXY_MAX_LISTENERS 1024
#define LINGER_MS 2000		  /* after our last answer: time for the client to read it */
#define LINGER_BYTES (256u << 10) /* what it may still send meanwhile, and after it has acknowledged our answer */
#define SMALL_RUN 512		  /* body pieces up to this are copied, larger ones handed over */
#define CHUNK_ROOM 32		  /* framing around a chunk */
#define RECORDS_ROOM 128	  /* heads and tags of records of TLS, for a piece and the framing around it */
#define LAST_CHUNK 5		  /* "0", CRLF, CRLF */
#define REQUEST_ID_LEN 32
#define MAX_INTERIM 16		  /* 1xx responses to one request */
#define ANSWER_ROOM 4096	  /* a request is begun only if this much of an answer fits */
#define DRAIN_SLICE 32		  /* clients that the drain looks at in one go: each may send a segment */
#define DRAIN_EVERY_US 250
#define COST_LISTEN 16 /* to open or close a listener, in the units of a budget (upstream.h) */
#define TUNNELS_END_MS 2000	  /* that long before its end, or a tenth of its time, a drain closes tunnels */
#define HANDSHAKE_MS 10000
#define DRAIN_LATE_MS 1000	  /* for the first request of a client whose handshake was under way when the drain began; before it, for that of TLS */
#define CORS_ROOM 2048u		  /* of what a CORS filter adds to its own values */
/* What a request takes along of its filters: those of its rule and those of its split. */
#define FILTER_ROOM (2 * WEIR_MAX_FILTER_BYTES + CORS_ROOM)
#define COOKIE_ROOM (WEIR_MAX_COOKIE_NAME + WEIR_MAX_COOKIE_PATH + 128) /* of affinity, with its attributes */

enum client_state {
	CLIENT_FREE,
	CLIENT_HANDSHAKE, /* of TLS */
	CLIENT_BYTES, /* there will be no request: it has just come, and is to be routed */
	CLIENT_IDLE, /* between requests */
	CLIENT_HEAD, /* a request's head arrives */
	CLIENT_BUSY, /* a request is in hand */
	CLIENT_TUNNEL, /* joined to an endpoint's connection; no requests any more */
	CLIENT_LINGER, /* our side is closed; what still arrives is dropped */
};

struct client {
	struct wheel_timer timer;
	struct proxy *p;
	struct stream io; /* LINGER makes a plain one of it, as soon as all has left the session */
	union {
		struct request *rq;    /* HEAD, BUSY */
		struct tunnel *tunnel; /* TUNNEL */
		struct client *next;   /* FREE: of the free list */
	};
	uint32_t lingered;	    /* bytes dropped in LINGER */
	uint32_t lingering_unacked; /* what the client had not acknowledged at the last look */
	uint16_t listening;	    /* of the proxy: where it came in */
	uint8_t state;
	bool is_early; /* its requests came before its handshake was complete, and that is not yet (early.c) */
	bool is_late; /* its handshakes were under way when a drain began: its first request is waited for */
};

static_assert(sizeof(struct client) == 64, "an idle client is one cache line");

/* A client's connection joined to an endpoint's. */
struct tunnel {
	union {
		struct client *client;
		struct tunnel *next; /* of the free list */
	};
	struct upstream_conn *uc;
	uint64_t start_us;
	uint64_t active_us; /* a byte, or an end, went one way or the other */
	uint64_t bytes_up, bytes_down;
	uint32_t idle_ms, life_ms;
	bool is_client_done, is_endpoint_done; /* its end was passed on to the other side */
	bool is_stream;	/* of bytes from the beginning, not by Upgrade */
};

static_assert(sizeof(struct tunnel) <= 64, "as much as the start-up's estimate of memory has for it");

/* A copy of a request, on its way to another backend. */
struct mirror {
	struct wheel_timer timer; /* once its request is complete */
	struct proxy *p;
	struct mirror *next; /* of its request, or of the free list */
	struct request *rq;  /* NULL: all of the request was given, or is in waiting */
	struct upstream_conn *uc; /* NULL: free */
	struct rte_mbuf *waiting, *waiting_tail; /* what the connection has not taken yet, single mbufs */
	uint32_t waiting_bytes;
	uint32_t held_bytes; /* of it and of what is not acknowledged, as counted in the proxy's mirror_bytes */
	bool is_connected;
	bool has_response; /* its head is complete */
	uint8_t n_interim;
	uint8_t method; /* enum http_method */
	char *buf;
	struct http1_parser parser;
	struct http1_body body;
	struct http_head response;
};

/* What the access log tells of a request besides what the request needs for itself. */
struct request_log {
	uint64_t head_us, connected_us, first_us; /* 0: not yet */
	uint64_t generation;
	uint64_t request_bytes, response_bytes; /* of bodies */
	uint32_t request_head_bytes, response_head_bytes;
	uint32_t rule;
	uint32_t flags; /* enum weir_log_flag */
	struct weir_ip endpoint;
	uint16_t endpoint_port;
	uint16_t status;
	uint16_t reason_plus1;
	uint8_t n_tries;
	uint8_t n_kind, n_ns, n_name, n_backend; /* bytes in struct request_names */
	uint8_t n_server_name; /* of a connection of bytes: in the request's buf */
	bool is_whole; /* the client got all of its answer */
	bool is_tunnel; /* its record is kept, and written at the tunnel's end */
	struct slice detail;
};

struct request_names {
	char kind[WEIR_LOG_ROUTE_KIND_MAX], ns[WEIR_LOG_ROUTE_NS_MAX], name[WEIR_LOG_ROUTE_NAME_MAX], backend[WEIR_LOG_BACKEND_MAX];
};

/* The worker's ring of the access log. */
struct access_log {
	struct weir_log_worker *shared;
	struct weir_log_record *records;
	uint32_t n_slots; /* 0: there is none */
	uint32_t slot;	  /* of the next record */
	uint64_t n_written;
};

struct request {
	struct request *next; /* free list */
	struct client *client;
	struct upstream_conn *uc; /* NULL: no try under way */
	struct mirror *mirrors;	  /* those that its body still goes to */
	struct tunnel *tunnel;	  /* kept for the case that its Upgrade is accepted; NULL: none is asked for */
	struct upstream_tried tried;
	struct upstream_want want;
	uint64_t backend_id;
	struct weir_ip client_addr; /* the connection's peer; from the complete head on whom trusted hops say it is */
	uint32_t believed;	    /* fields of a trusted hop that are taken over: http_field_bit() */
	uint64_t start_us;
	uint64_t sent_us;     /* the whole request went to the endpoint */
	uint64_t progress_us; /* last movement of anything */
	uint64_t try_us;      /* beginning of the last try */
	struct weir_timeouts limits; /* the worker's; from the route on, what counts for it */
	struct weir_retry retry;     /* of its rule */
	uint64_t retry_us;	     /* when it is sent again; 0: it does not wait for that; UINT64_MAX: once the client's handshake is complete */
	/*
	 * The stretch over which rates are taken: its beginning (0: none), what the
	 * endpoint was given in it of the body, and the client, and what that had
	 * yet to acknowledge when it began.
	 */
	uint64_t rate_us, rate_up, rate_down, rate_unacked;
	uint32_t received, rate_received; /* tcp_received() of a TLS client: at the last look, and when the stretch began */
	uint8_t n_tries;   /* since it was first sent, or sent again */
	uint8_t n_retries; /* sent again for what was answered */
	uint8_t n_interim; /* 1xx responses so far */
	bool is_stream : 1;	 /* no request: a connection of bytes that an endpoint is connected to for (l4.c) */
	bool has_head : 1;	 /* its own head is complete */
	uint8_t cookie_token_at; /* in cookie */
	bool is_broken : 1;	 /* relaying failed midway: neither connection can go on */
	bool is_connected : 1;
	bool head_sent : 1;	 /* to the endpoint */
	bool body_begun : 1;	 /* a byte of the request's body went to the endpoint */
	bool body_sent : 1;	 /* the whole request did */
	bool continue_sent : 1;
	bool has_response : 1;	 /* its head is complete */
	bool response_begun : 1; /* a byte of it arrived */
	bool response_sent : 1;	 /* its head went to the client */
	bool response_done : 1;
	bool keep : 1;		 /* the client's connection goes on afterwards */
	bool to_chunked : 1;	 /* the client gets the body chunked */
	bool is_trusted : 1;	 /* it came from a trusted hop */
	bool is_up_blocked : 1;	 /* in the stretch of rate_us the endpoint did not take all that the client had sent */
	bool is_early : 1;	 /* it came as early data, and its backends are told so */
	bool is_held : 1;	 /* it waits in HEAD until its client's handshake is complete */
	bool has_path : 1;	 /* path_head and path_tail take the place of the head's path */
	char id[REQUEST_ID_LEN];
	struct slice request_id;
	/* What its filters change: copies in filter_mem, but for path_tail, which is a part of the head's path. */
	struct slice changes, response_changes; /* as http1_change_add() packs them */
	struct slice host, path_head, path_tail;
	struct request_log log;
	struct slice cookie; /* behind them: what binds the client to its endpoint; empty: nothing does */
	struct http1_parser parser, response_parser;
	struct http1_body body, response_body;
	struct http_head head, response;
	char *buf, *response_buf, *filter_mem;
	struct request_names names;
	struct rte_mbuf *held, *response_held; /* in which the heads lie that were parsed in place */
};

/* Its place stays the same while it listens, and until the last client that came in here is gone. */
struct listening {
	struct proxy *p;
	struct tcp_listener *l; /* NULL: closed */
	uint32_t n_clients;
	uint32_t header_ms, idle_ms; /* of the bind; 0: not set */
	struct weir_ip addr;
	uint16_t port;
	uint8_t proto; /* enum weir_proto of the bind */
	uint32_t mark; /* as proxy.listen_mark: the snapshot asks for it */
};

enum listen_phase { LISTEN_DONE, LISTEN_OPEN, LISTEN_CLOSE };

struct proxy {
	struct proxy_config cfg;
	struct weir_worker_stats *stats;
	struct client *clients, *free_clients;
	uint32_t n_fresh_clients; /* of clients: those from here on were never used, and their memory not touched */
	uint32_t auth_at, auth_end; /* of clients: the next one that client_certs_step() looks at, and the first that it does not */
	uint32_t drain_at;	  /* of clients: the next one that the drain looks at */
	struct wheel_timer drain;
	struct request *requests, *free_requests;
	char *buffers;
	char *scratch; /* for heads that are being written */
	size_t scratch_size;
	uint32_t n_clients, n_requests;
	struct mirror *mirrors, *free_mirrors;
	char *mirror_buffers;
	uint32_t n_fresh_mirrors; /* as n_fresh_clients */
	uint32_t n_mirrors;
	uint64_t mirror_bytes; /* in their queues; no less than there are */
	struct tunnel *tunnels, *free_tunnels;
	struct weir_log_record *tunnel_records; /* of each of tunnels, to be written when it ends; NULL: there is no access log */
	uint32_t n_fresh_tunnels; /* as n_fresh_clients */
	uint32_t n_tunnels;	  /* open */
	uint64_t prng;
	uint64_t unix_offset_us;
	uint64_t date_from_us; /* date is right for a second from here on */
	char date[HTTP_DATE_LEN];
	char via_text[2][PROXY_MAX_VIA + 4];
	struct slice via[2]; /* what is appended to Via, by the minor version that the request came with */
	char port_text[5]; /* of port */
	uint16_t port;
	size_t n_port_text;
	bool is_draining;
	bool closes_tunnels;	 /* the drain's time is nearly up */
	uint64_t tunnels_end_us; /* when that begins */
	struct access_log log;
	const struct weir_snapshot *current; /* NULL: none yet */
	uint8_t listen_phase; /* of listeners_step() */
	uint32_t listen_at, listen_mark;
	unsigned n_listening; /* places in use, or once used */
	struct listening listening[PROXY_MAX_LISTENERS];
};

/* n_requests or n_tunnels has changed: each of them may hold data of one side that the other does not take. */
static inline void proxy_count_relays(struct proxy *p)
{
	stat_set(p->stats, WEIR_G_REQUESTS_ACTIVE, p->n_requests);
	stat_set(p->stats, WEIR_G_TUNNELS, p->n_tunnels);
	tcp_set_relays(p->cfg.tcp, p->n_requests + p->n_tunnels);
}

/* proxy.c */
uint64_t proxy_random(struct proxy *p);
/* The value of Date; good until the next call. */
struct slice proxy_date(struct proxy *p, uint64_t now_us);
/* Opens and closes listeners so that they fit the snapshot, in slices; see proxy_step(). */
void listeners_begin(struct proxy *p);
bool listeners_step(struct proxy *p, int *budget, uint64_t now_us);

/* ahead.c: what tcp_run() tells before it delivers events of these connections */
void proxy_look_ahead(void *ctx, struct tcp_conn *const *conns, unsigned n);

/* client.c */
int client_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us);
void client_on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us);
void client_on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us);
/* Its requests come by https. */
static inline bool client_is_tls(const struct client *c)
{
	return stream_tls(c->io) != NULL;
}

/* Does all that can be done, and seals what was sent. May end the client. */
void client_pump(struct client *c, uint64_t now_us);
/* Ends the client: reset if abort, else in order (a TLS session is ended by client_linger() first). */
void client_end(struct client *c, bool abort, uint64_t now_us);
/* Ends the client within a request or tunnel, by a reset; but one whose TLS session has failed in order, so that it gets the alert. */
void client_cut(struct client *c, uint64_t now_us);
/*
 * It has closed its side and waits for nothing: ends in order. What TLS has not read behind that end (RFC 8446 6.1) must not turn
 * our close_notify into a RST, so a TLS client lingers. True: it does, and the pump may go on.
 */
bool client_leave(struct client *c, uint64_t now_us);
/* No more requests, and no TLS session: closes our side and drops what still comes, for a while. */
void client_linger(struct client *c, uint64_t now_us);
/*
 * A drain closes this idle client. A request may cross our FIN on the way, and
 * must not be answered by a RST (RFC 9112 9.6): so our side is closed, and what
 * still comes dropped, for as long as the drain lets it. One that has just come is served.
 */
void client_drain(struct client *c, uint64_t now_us);
/* Closes one that is IDLE, counted; a request that has just come is answered first. */
void client_end_idle(struct client *c, enum weir_reason why, uint64_t now_us);
/* One within its TLS handshake may finish that, and is served then. */
void client_drain_handshake(struct client *c, uint64_t now_us);
/* UINT64_MAX: never. */
void client_arm(struct client *c, uint64_t at_us);
/* The request is answered and gone: the next one, within idle_ms, or the end. */
void client_go_on(struct client *c, bool keep, uint32_t idle_ms, uint64_t now_us);

/* The client's TLS session has failed: nothing can be sent any more, and what is asked for may never come. */
void client_failed(struct client *c, uint64_t now_us);

/* early.c: early data are accepted. False: there is none to be read yet. */
bool early_begin(struct client *c, uint64_t now_us);
/* An event of a client that is_early: its handshake goes on. */
void early_go_on(struct client *c, uint64_t now_us);
/* The earlier of at_us and the time at which that has to be complete. */
uint64_t early_bound(const struct client *c, uint64_t at_us);
/* True: it was not, in time, and the client was dealt with. */
bool early_on_timer(struct client *c, uint64_t now_us);
/* The request's head is complete. True: it is to wait until is_early is not set any more. */
bool early_holds(struct request *rq);
/*
 * A response's head is complete: if it refuses the request because it came as early data, it is dropped, and the request is sent
 * again once the handshake is complete. False: it is the answer.
 */
bool early_retry(struct request *rq, uint64_t now_us);

struct filter_source;

/* request.c */
struct request *request_create(struct client *c, uint64_t now_us);
/*
 * Parses what the stream has of a head: in place if it is whole; *held is then where it
 * lies, until request_let_go(). MORE: that was all. Adds to *bytes what it took.
 */
enum http1_outcome request_parse(struct http1_parser *parser, struct stream in, struct rte_mbuf **held,
				 struct stage_clock *stages, uint32_t *bytes);
void request_let_go(struct request *rq, struct rte_mbuf **held);
/* The trailer fields of this body are to be passed on; they are kept in what the head left of its buffer. */
void request_keep_trailers(struct http1_body *body, const struct http_head *head, const struct http1_parser *parser);
/* Why it ends, counted; the first reason is the one that the access log tells. */
void request_reason(struct request *rq, enum weir_reason why);
void request_client_gone(struct request *rq);
/* The first field of that name in a struct http_head; empty: there is none. */
struct slice request_field(const void *head, struct slice name);
/* Frees it, after its record was written; the upstream connection, if any, is aborted. */
void request_free(struct request *rq, uint64_t now_us);
/* The head is complete, and by s (NULL: no) it has a route that may mirror it. */
bool request_is_mirrored(const struct request *rq, const struct weir_snapshot *s);
/* The head is complete: finds the route and begins the first try, or answers. */
void request_route(struct request *rq, uint64_t now_us);
/* The try failed: another one, or the answer. why, status: for the client if it is the last. */
void request_try_failed(struct request *rq, enum weir_reason why, unsigned status, const char *detail, uint64_t now_us);
/*
 * A response's head is complete: if the rule wants such a request to be sent again, and it can be, the response is dropped,
 * and retry_us set. False: it is the answer.
 */
bool request_retry_later(struct request *rq, uint64_t now_us);
/* The response is dropped with its connection, and any endpoint may be tried anew. */
void request_drop_answer(struct request *rq, uint64_t now_us);
/* That time has come. */
void request_retry(struct request *rq, uint64_t now_us);
void upstream_on_event(struct upstream_conn *uc, void *user, unsigned events, uint64_t now_us);

/* Its route and split are known (from): a backend is chosen, and the first try begun. */
void request_begin(struct request *rq, const struct filter_source *from, uint64_t now_us);

/* l4.c: no request will come: the connection itself is routed. False: the client is gone. */
bool l4_begin(struct client *c, enum route_stream how, struct slice server_name, uint64_t now_us);
/* True: it has a tunnel in the place of its request. */
bool l4_pump(struct client *c, uint64_t now_us);
/* In the place of reply_error(), for such a one: ends the client by a reset. */
void l4_fail(struct request *rq, enum weir_reason why, struct slice detail, uint64_t now_us);

/* limit.c: us and ms later; WEIR_NO_LIMIT: never, UINT64_MAX. */
uint64_t limit_after(uint64_t us, uint32_t ms);
void limit_arm_idle(struct client *c, uint64_t now_us);
void limit_arm_header(struct client *c, uint64_t now_us);
/* A body begins to go one way or the other: from here on its rate is taken. */
void limit_begin_rate(struct request *rq, uint64_t now_us);
/* True: the client's connection brought bytes since the last call, though TLS may show none of them yet. Of plain ones false: there content tells. */
bool limit_note_received(struct request *rq);
/* The client's timer comes when one of the request's limits does, or before. */
void limit_arm_request(struct request *rq, uint64_t now_us);
bool limit_is_due(const struct request *rq, uint64_t now_us);
/* A limit is due. May end the client. */
void limit_on_deadline(struct request *rq, uint64_t now_us);

/* forwarded.c: the head is complete: sets client_addr, is_trusted and believed. */
void forwarded_take(struct request *rq);
/* forwarded.c: what a backend is told of a request's way. ip_text: IP_TEXT_MAX bytes that f points into. */
void forwarded_fill(const struct request *rq, struct http1_forward *f, char *ip_text);

/*
 * client_cert.c: true if the connection's client was not asked for what the name that it was opened for asks for now (then the
 * connection ends, too), or for what the name of the request's host does: the request is not for here (RFC 9110 7.4).
 */
bool client_cert_is_other(struct request *rq, const struct weir_snapshot *s, const struct weir_server_name *name);
/*
 * A snapshot has taken the place of old (NULL: there was none). Connections whose name asks something else of clients now, in
 * slices, as proxy_step(): idle ones are closed, others once the request in hand is answered.
 */
void client_certs_begin(struct proxy *p, const struct weir_snapshot *old);
bool client_certs_step(struct proxy *p, int *budget, uint64_t now_us);
/* Values of Client-Cert, Client-Cert-Chain (RFC 9440) and X-Forwarded-Client-Cert that can be passed on. */
bool client_cert_is_field(struct slice value);
bool client_cert_is_chain(struct slice value);
bool client_cert_is_xfcc(struct slice value); /* no quoted string that does not end */
/* What a backend is told of the client's certificate. */
void client_cert_fill(const struct request *rq, struct http1_forward *f);

/*
 * record.c. The record of a request that ends now; of one that was answered
 * 503, or reset, without a request object (n_sent: bytes of the answer, 0: none was
 * sent; flags: OWN, or STREAM of a connection of bytes). The others note what only they know: the route, the backend that a
 * split chose, and that a try was begun.
 */
void record_init(struct access_log *l, struct weir_log_region *region, unsigned worker);
void record_request(const struct request *rq, uint64_t now_us);
/*
 * The request becomes t: its record is kept. t ends, for this reason
 * (WEIR_N_REASONS: both sides have closed); is_cut: by a reset.
 */
void record_tunnel_open(struct request *rq, const struct tunnel *t, uint64_t now_us);
void record_tunnel_end(struct proxy *p, const struct tunnel *t, enum weir_reason why, bool is_cut, uint64_t now_us);
void record_busy(struct client *c, enum weir_reason why, uint32_t n_sent, uint32_t flags, uint64_t now_us);
void record_route(struct request *rq, const struct weir_snapshot *s, const struct weir_rule *rule);
void record_backend(struct request *rq, const struct weir_snapshot *s, const struct weir_backend *b);
void record_try(struct request *rq);

/* filters.c: what a request takes along of the filters of its rule and of its split (NULL: there is none). */
struct filter_source {
	const struct weir_snapshot *s;
	const struct weir_rule *rule;
	const struct weir_split *split;
	const struct weir_bind *bind;
	uint32_t n_prefix; /* bytes of the path that the rule's prefix covers */
};

/*
 * Copies into the request what the filters change, or answers the redirect
 * that is among them, or a preflight of CORS. False: it did, and the request is gone.
 */
bool filters_take(struct request *rq, const struct filter_source *from, uint64_t now_us);

/*
 * cors.c: what the CORS filter of the rule, or else of the split, says to the request; false: there is none. Then what changes in
 * the response, appended to a list of changes; and the answer to a preflight, which frees the request.
 */
bool cors_find(const struct request *rq, const struct filter_source *from, struct route_cors *out);
void cors_change(struct buf *list, const struct route_cors *c);
bool cors_is_preflight(const struct request *rq);
void cors_answer(struct request *rq, const struct route_cors *c, uint64_t now_us);

/*
 * session.c: what of the request chooses an endpoint of the backend; and the
 * value of Set-Cookie for its answer, once a response has come: empty if the client
 * has that cookie already, or the backend has no affinity.
 */
void session_take(struct request *rq, const struct filter_source *from, const struct weir_backend *b);
struct slice session_cookie(struct request *rq);

/*
 * mirror.c. Copies of a request that goes to a backend, as the filters say: of
 * its head at once, of its body as mirrors_copy() and mirrors_share() are told
 * of the bytes that go to the backend. None of these can fail for the request.
 */
/* A request by this rule may be mirrored: where the filters mean a share, or one of several backends, chance decides. */
bool mirrors_are_wanted(const struct weir_snapshot *s, const struct weir_rule *rule);
void mirrors_start(struct request *rq, const struct filter_source *from, uint64_t now_us);
void mirrors_copy(struct request *rq, const void *data, size_t n, uint64_t now_us);
/* References to the chain, which stays the caller's; its bytes are not changed any more by anybody. */
void mirrors_share(struct request *rq, struct rte_mbuf *chain, uint64_t now_us);
/* The whole body has gone by. */
void mirrors_complete(struct request *rq, uint64_t now_us);
/* The request ends before its body did. */
void mirrors_cut(struct request *rq, uint64_t now_us);
/* Ends all of the worker. */
void mirrors_end(struct proxy *p, uint64_t now_us);
void mirror_on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us);

/* tunnel.c: keeps one for the request. False: the pool is empty. */
bool tunnel_reserve(struct request *rq);
void tunnel_put_back(struct proxy *p, struct tunnel *t);
/*
 * True if bytes came behind a request with Upgrade before its answer: they may
 * be meant for the other protocol, so nobody may take them for a request.
 */
bool tunnel_has_early_bytes(const struct request *rq);
/* The 101 was sent: the client has a tunnel in the place of its request, which is gone. */
void tunnel_open(struct request *rq, uint64_t now_us);
/* Does all that can be done. May end the client. */
void tunnel_pump(struct client *c, uint64_t now_us);
/* May end the client. */
void tunnel_on_timer(struct client *c, uint64_t now_us);
/* Ends the endpoint's side; the caller ends the client. why: for the record; WEIR_N_REASONS: both sides have closed. */
void tunnel_let_go(struct client *c, enum weir_reason why, bool abort, uint64_t now_us);
/* The client's connection has ended otherwise than in order. */
void tunnel_on_client_closed(struct client *c, uint64_t now_us);

/* relay.c: the head for the backend; upgrade: with the Upgrade of the request. */
void request_write_head(const struct request *rq, bool upgrade, struct buf *out);
/* relay.c: true if something moved. Errors are answered or end the client: then c->rq is NULL or c is free. */
bool relay_request(struct request *rq, uint64_t now_us);
bool relay_response(struct request *rq, uint64_t now_us);

/*
 * reply.c: an answer of Weir's own, counted under why (WEIR_N_REASONS: under
 * none); frees the request. If a response had begun already, the client is reset instead.
 */
void reply_error(struct request *rq, enum weir_reason why, unsigned status, struct slice detail, uint64_t now_us);
/* A redirect of the route's, counted; frees the request. */
void reply_redirect(struct request *rq, struct http1_redirect *r, uint64_t now_us);
/* "204 No Content", the answer to OPTIONS, with these lines of its head besides; frees the request. */
void reply_no_content(struct request *rq, struct slice fields, uint64_t now_us);
void reply_count(struct proxy *p, unsigned status);
/* 503 without a request object: there is none, or no memory for one more. */
void reply_busy(struct client *c, enum weir_reason why, uint64_t now_us);

#endif
