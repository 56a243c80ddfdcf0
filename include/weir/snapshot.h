/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled routes: one contiguous blob that weir-ctrl builds
 * (ctrl/translate/compile.c), and that dataplane/snapshot/ checks and reads.
 *
 *   bind (address, port)  >  listener (host name)  >  vhost (host name)
 *     >  path (exact, or prefix by element)  >  rules in order of precedence
 *     >  splits (weighted)  >  backend (a stable 64-bit id)
 *
 * A rule has filters, and so has each of its splits: what is changed in, or
 * done beside, a request that they take. Those of the split come behind those
 * of the rule.
 *
 * Endpoints are not in here: they change often and travel alone, as a
 * struct weir_endpoint_set for one backend id. Nor are certificates and their
 * private keys: each travels alone, as a struct weir_certificate, before the
 * first snapshot that names it.
 *
 *   bind (of HTTPS)  >  server name (SNI)  >  certificates, and what is asked of clients
 *   backend  >  TLS to it  >  CA certificates, and a client certificate
 *
 * Byte streams (TCPRoute, TLSRoute) are carried by the same tree: a listener of kind STREAM has vhosts by server name, or one
 * for ANY where there is none, and below each the one path PREFIX "" with one rule, without method and conditions.
 *
 * Look-up tables are open-addressed (linear probing, power-of-two slots, at
 * most half full) over hash64() of the key, so that a reader needs no
 * building step: it validates and uses the blob where it lies. Its seed is
 * the kind of the key plus hash_seed, which weir-ctrl draws by lot: who may
 * write routes must not know which keys meet in a table.
 *
 * Sections lie in the order of the list, and ranges in the order of their
 * parents: the children of entry i begin where those of entry i - 1 end (of
 * FILTERS: those of a rule, those of each of its splits, those of the next
 * rule; of SLOTS: both tables of each bind, slots before name_slots, then those
 * of the listeners, then those of the vhosts; of CERTS: those of NAMES, of
 * CLIENT_AUTHS, of BACKEND_TLS). That holds for empty ranges,
 * too. So everything is reached exactly once, and a check costs what the blob's
 * size is.
 */
#ifndef WEIR_SNAPSHOT_H
#define WEIR_SNAPSHOT_H

#include "weir/types.h"

#define WEIR_SNAPSHOT_MAGIC 0x50414e5352494557ull /* "WEIRSNAP" */
#define WEIR_ENDPOINTS_MAGIC 0x5344504552494557ull /* "WEIREPDS" */
#define WEIR_CERTIFICATE_MAGIC 0x5452454352494557ull /* "WEIRCERT" */

#define WEIR_SNAPSHOT_MAX_BYTES (1u << 30)
#define WEIR_ENDPOINTS_MAX 65536u /* endpoints of one backend */
#define WEIR_MAX_PATH 4096u	  /* bytes of a path */
#define WEIR_MAX_NAME 1024u	  /* bytes of a method or a backend's name */
#define WEIR_MAX_PROBES 256u	  /* a key is found within so many slots, or it is not there */
#define WEIR_NONE UINT32_MAX	  /* "no entry" where a field holds an index */
#define WEIR_MAX_FILTERS 16u	  /* of one rule, or of one split */
#define WEIR_MAX_HEADER_OPS 48u	  /* of one filter */
#define WEIR_MAX_CORS_OPS 69u	  /* of a CORS filter: 64 origins, and one of each other kind */
#define WEIR_MAX_FIELD_NAME 256u  /* bytes of a header name that a filter changes */
/*
 * What the filters of one rule, or of one split, may hold in all, so that a
 * request can take them along: for each header change this and its name and
 * value, and the hosts and paths.
 */
#define WEIR_MAX_FILTER_BYTES 4096u
#define WEIR_HEADER_OP_COST 8u

/* X(enumerator, element type) in file order; a section's count is in elements. */
#define WEIR_SECTIONS(X) \
	X(STRINGS, char) \
	X(BINDS, struct weir_bind) \
	X(LISTENERS, struct weir_listener) \
	X(VHOSTS, struct weir_vhost) \
	X(PATHS, struct weir_path) \
	X(RULES, struct weir_rule) \
	X(CONDS, struct weir_cond) \
	X(SPLITS, struct weir_split) \
	X(FILTERS, struct weir_filter) \
	X(HEADER_OPS, struct weir_header_op) \
	X(BACKENDS, struct weir_backend) \
	X(ROUTES, struct weir_route) \
	X(SLOTS, struct weir_slot) \
	X(LENGTHS, uint32_t) \
	X(NAMES, struct weir_server_name) \
	X(CERTS, struct weir_cert_id) \
	X(CLIENT_AUTHS, struct weir_client_auth) \
	X(BACKEND_TLS, struct weir_backend_tls) \
	X(SANS, struct weir_san)

enum weir_section {
#define X(name, type) WEIR_SECT_##name,
	WEIR_SECTIONS(X)
#undef X
		WEIR_N_SECTIONS
};

#define WEIR_MAX_SECTIONS 32 /* room for sections to come; unused ones are zero */

struct weir_section_ref {
	uint32_t off;	/* from the start of the blob, multiple of 8 */
	uint32_t count; /* elements */
};

/* The head of the blob. */
struct weir_snapshot {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t size;	     /* bytes of the whole blob, this head included */
	uint64_t generation; /* grows by at least one with each publication of one weir-ctrl */
	uint64_t checksum;   /* hash64() of the whole blob with this field zero */
	uint64_t hash_seed;  /* of the look-up tables */
	uint64_t reserved[3];
	struct weir_section_ref sect[WEIR_MAX_SECTIONS];
};

/* A slot of a look-up table. index is relative to the first entry of the range that the table serves. */
struct weir_slot {
	uint32_t hash;	     /* low 32 bits of hash64() of the key */
	uint32_t index_plus1; /* 0: empty */
};

/* enum weir_host_kind values are also part of the seed of hash64() for a key of that kind. */
enum weir_host_kind {
	WEIR_HOST_EXACT = 1,
	WEIR_HOST_WILDCARD = 2,	    /* "*.example.com", any number of labels (Gateway API) */
	WEIR_HOST_WILDCARD_ONE = 3, /* "*.example.com", exactly one label (Ingress) */
	WEIR_HOST_ANY = 4,	    /* no host name given; key is the empty string */
};

enum weir_proto {
	WEIR_PROTO_HTTP = 1,
	WEIR_PROTO_HTTPS = 2, /* of a bind: TLS; its server names say whether HTTP is in it, and who ends it */
	WEIR_PROTO_TCP = 3,   /* of a bind: bytes, for its one listener, which is of kind STREAM and for ANY host */
};

/*
 * Limits of time, X(field, name for people). In milliseconds, but for
 * body_bytes_per_s. 0: not set, so that of the next wider one counts: the
 * rule's, its listener's, the one of weir.yaml. WEIR_NO_LIMIT: none.
 */
#define WEIR_TIMEOUTS(X) \
	X(header_ms, "header")		 /* from a request's first byte to its whole head; rules: 0, none is known yet */ \
	X(idle_ms, "idle")		 /* keep-alive connection without a request */ \
	X(body_ms, "body")		 /* a body, either way, without any progress */ \
	X(body_bytes_per_s, "body-rate") /* what a client must send of a body, or take of it, at the least */ \
	X(connect_ms, "connect")	 /* opening a connection to an endpoint */ \
	X(first_byte_ms, "first-byte")	 /* from the end of the request to the head of its response */ \
	X(request_ms, "request")	 /* the whole request, from its first byte to the end of its response */ \
	X(backend_ms, "backend")	 /* one try, to the end of the response; listeners: 0 */ \
	X(tunnel_idle_ms, "tunnel-idle") /* a tunnel without a byte either way */ \
	X(tunnel_life_ms, "tunnel-life") /* a tunnel, from its opening */

struct weir_timeouts {
#define X(field, name) uint32_t field;
	WEIR_TIMEOUTS(X)
#undef X
};

#define WEIR_NO_LIMIT UINT32_MAX

/* One address and port on which the workers listen. Sorted by (port, address); no two alike. */
struct weir_bind {
	struct weir_ip addr; /* zero: every address that weir.yaml lists under listen */
	uint16_t port;
	uint8_t proto; /* enum weir_proto */
	uint8_t reserved0;
	uint32_t header_ms; /* while no request has said which listener it means: the least that one of them sets; 0: none does */
	struct weir_range listeners; /* in LISTENERS */
	struct weir_range slots;     /* in SLOTS: (kind, host) of listeners; count 0 or a power of two */
	uint32_t idle_ms;	     /* likewise */
	uint32_t reserved1;	     /* 0 */
	struct weir_range names;     /* in NAMES; of HTTPS only. Without any, every handshake is refused */
	struct weir_range name_slots; /* in SLOTS: (kind, host) of names */
};

/* The rules by which TLS is spoken: versions, cipher suites, groups. */
enum weir_tls_profile {
	WEIR_TLS_INTERMEDIATE = 0, /* TLS 1.2 and 1.3, as Mozilla's profile of that name (version 5.7) */
	WEIR_TLS_STRICT = 1,	   /* TLS 1.3 alone, as Mozilla's "modern" */
};

/*
 * What a client's server name (RFC 6066 3) means: which certificates it is shown. The most specific one that fits counts:
 * EXACT, then the longest WILDCARD or WILDCARD_ONE, then ANY, which also stands for a client that gives no name. None: the
 * handshake is refused (unrecognized_name), never served by another name's certificate.
 */
struct weir_server_name {
	struct weir_str host; /* lower case, without "*." */
	uint8_t host_kind;
	uint8_t profile; /* enum weir_tls_profile */
	uint8_t mode;	 /* enum weir_tls_mode */
	uint8_t reserved0[5];
	/*
	 * In CERTS; up to WEIR_MAX_CERTS_OF_NAME, each with another type of key. None: of TERMINATE, that none can be used, and the
	 * handshake is refused; of PASSTHROUGH always.
	 */
	struct weir_range certs;
	/*
	 * Relative to the bind's listeners. One of kind HTTP: requests whose Host means another listener are answered 421 (RFC 9110
	 * 7.4); WEIR_NONE: any Host may come. One of kind STREAM, as PASSTHROUGH needs it: what is inside goes where this says.
	 */
	uint32_t listener;
	uint32_t client_auth; /* in CLIENT_AUTHS; WEIR_NONE: clients are not asked for certificates */
};

/* Who ends TLS. */
enum weir_tls_mode {
	WEIR_TLS_TERMINATE = 0,
	WEIR_TLS_PASSTHROUGH = 1, /* a backend: the ClientHello is looked at, and sent on */
};

enum weir_client_auth_mode {
	WEIR_CLIENT_AUTH_REQUIRED = 0, /* a valid one, or the handshake fails */
	WEIR_CLIENT_AUTH_OPTIONAL = 1, /* a valid one, or none */
	WEIR_CLIENT_AUTH_INSECURE = 2, /* any or none is let through; what is not valid is not passed on (Gateway API: AllowInsecureFallback) */
};

/* What of a valid client certificate backends are told. Fields of these names that a client sends are removed in any case. */
enum weir_client_cert_field {
	WEIR_CLIENT_CERT_XFCC = 1,	  /* X-Forwarded-Client-Cert: Hash, Subject, URI, DNS */
	WEIR_CLIENT_CERT_RFC9440 = 2,	  /* Client-Cert */
	WEIR_CLIENT_CERT_CHAIN = 4,	  /* Client-Cert-Chain (RFC 9440 2.3); with Client-Cert alone */
};

#define WEIR_MAX_CLIENT_AUTH_DEPTH 10u
#define WEIR_MAX_CLIENT_CERT_FIELD 6144u /* bytes of each such field; one that is longer is left out */
#define WEIR_MAX_CLIENT_CERT_BYTES (3 * WEIR_MAX_CLIENT_CERT_FIELD + 128) /* that all of them add to a head */

/* Certificates of clients (RFC 8446 4.3.2). */
struct weir_client_auth {
	struct weir_range trust; /* in CERTS: one, of kind TRUST; of REQUIRED and OPTIONAL it may be none: nobody's is valid */
	uint8_t mode;		 /* enum weir_client_auth_mode */
	uint8_t depth;		 /* so many certificates between the client's and its root at most, up to WEIR_MAX_CLIENT_AUTH_DEPTH */
	uint8_t fields;		 /* enum weir_client_cert_field, several */
	uint8_t reserved0[5];
};

#define WEIR_MAX_CERTS_OF_NAME 4u

/* Of what travels as a struct weir_certificate: the first 16 bytes of the SHA-256 of the blob from its field n_chain on. */
struct weir_cert_id {
	uint64_t v[2]; /* neither is 0 */
};

enum weir_listener_kind {
	WEIR_LISTENER_HTTP = 0,
	WEIR_LISTENER_STREAM = 1, /* bytes: no request is ever its */
};

/* Host names of listeners isolate (Gateway API): the most specific one that fits takes the request. */
struct weir_listener {
	struct weir_str host; /* lower case, without "*." */
	uint8_t host_kind;
	uint8_t kind; /* enum weir_listener_kind */
	uint8_t reserved0[6];
	struct weir_str name;	  /* "Gateway ns/name listener", or "Ingress", for people */
	struct weir_range vhosts; /* in VHOSTS */
	struct weir_range slots;  /* in SLOTS: (kind, host) of vhosts */
	struct weir_timeouts timeouts;
};

struct weir_vhost {
	struct weir_str host; /* lower case, without "*." */
	uint8_t host_kind;
	uint8_t reserved0[7];
	struct weir_range paths; /* in PATHS */
	struct weir_range slots; /* in SLOTS: (kind, path) of paths */
	/*
	 * In LENGTHS: the lengths that PREFIX paths have, longest first, each
	 * once. Only these are looked up, so that a request's path cannot make
	 * more work than the routes have.
	 */
	struct weir_range lengths;
};

/* enum weir_path_kind values are also part of the seed of hash64() for a key of that kind. */
enum weir_path_kind {
	WEIR_PATH_EXACT = 17,
	WEIR_PATH_PREFIX = 18, /* by element; key without a trailing slash, "" for "/" */
	WEIR_PATH_REGEX = 19,  /* has its place; not yet accepted by the checker */
};

struct weir_path {
	struct weir_str path;
	uint8_t kind;
	uint8_t reserved0[7];
	struct weir_range rules; /* in RULES, highest precedence first */
};

enum weir_action {
	WEIR_ACTION_FORWARD = 1, /* to one of splits, by weight */
	WEIR_ACTION_STATUS = 2,	 /* answer status */
	WEIR_ACTION_REDIRECT = 3, /* answer what the one REDIRECT among filters says; no splits */
};

#define WEIR_MAX_RETRY_CODES 8u

/* Answers for which a request without a body is sent again (HTTPRouteRule.retry). All 0: there are none. */
struct weir_retry {
	uint32_t backoff_ms; /* at least so long after the answer */
	uint8_t attempts;    /* so often, beside the first time */
	uint8_t n_codes;     /* 0 exactly where attempts is */
	uint16_t reserved0;
	uint16_t codes[WEIR_MAX_RETRY_CODES]; /* statuses from 400 to 599; 0 from n_codes on */
};

struct weir_rule {
	struct weir_str method;	   /* empty: any */
	struct weir_range conds;   /* in CONDS; all must hold */
	struct weir_range splits;  /* in SPLITS; action FORWARD: at least one */
	uint32_t total_weight;	   /* sum of the splits' weights; 0: answered 500 */
	uint32_t route;		   /* in ROUTES */
	uint32_t rule_index;	   /* of the rule within its object, from 0 */
	uint8_t action;		   /* enum weir_action */
	uint8_t reserved0;
	uint16_t status;	   /* action STATUS */
	struct weir_timeouts timeouts;
	struct weir_range filters;   /* in FILTERS; action STATUS: none */
	struct weir_retry retry;     /* action FORWARD only */
};

enum weir_cond_kind {
	WEIR_COND_HEADER = 1, /* name in lower case */
	WEIR_COND_QUERY = 2,
};

enum weir_cond_op {
	WEIR_OP_EXACT = 1,
	WEIR_OP_REGEX = 2, /* has its place; not yet accepted by the checker */
};

struct weir_cond {
	uint8_t kind;
	uint8_t op;
	uint8_t reserved0[6];
	struct weir_str name;
	struct weir_str value;
};

struct weir_split {
	uint32_t backend; /* in BACKENDS; WEIR_NONE: answer status for this share */
	uint32_t weight;
	uint16_t status; /* where backend is WEIR_NONE: 500 (bad reference) */
	uint16_t reserved0;
	uint32_t reserved1;
	struct weir_range filters; /* in FILTERS; for what goes to this backend, behind those of the rule */
};

/*
 * In a list of filters, each kind but MIRROR stands once at most, and REDIRECT
 * and REWRITE not together. Names and values of header changes, hosts and
 * paths can stand in a message as they are.
 */
enum weir_filter_kind {
	WEIR_FILTER_REQUEST_HEADERS = 1,
	WEIR_FILTER_RESPONSE_HEADERS = 2, /* of what a backend answers, and of redirects */
	WEIR_FILTER_REDIRECT = 3,	  /* answered in the place of the backend */
	WEIR_FILTER_REWRITE = 4,
	WEIR_FILTER_MIRROR = 5, /* a copy of the request goes to another backend, whose answer nobody sees */
	WEIR_FILTER_CORS = 6,	/* which origins' scripts may read answers (Fetch 3.3); a preflight is answered in the backend's place */
};

enum weir_path_change {
	WEIR_PATH_KEEP = 0,
	WEIR_PATH_REPLACE = 1,	      /* by path */
	WEIR_PATH_REPLACE_PREFIX = 2, /* what the rule's prefix matched, by path; only under PREFIX paths */
};

struct weir_filter {
	uint8_t kind;	     /* enum weir_filter_kind */
	uint8_t path_change; /* REDIRECT, REWRITE: enum weir_path_change */
	uint8_t scheme;	     /* REDIRECT: enum weir_proto; 0: the one of the bind */
	uint8_t reserved0;
	uint16_t status; /* REDIRECT: 301, 302, 303, 307, 308 */
	uint16_t port;	 /* REDIRECT; 0: the usual one of scheme, or the one of the bind where scheme is 0 */
	/*
	 * REDIRECT, REWRITE: a host name, for Location and Host; empty: the one
	 * of the request. REQUEST_HEADERS: a new Host, perhaps with a port.
	 * Of several, the last counts; so it is with changes of the path.
	 */
	struct weir_str host;
	struct weir_str path;	/* REPLACE: begins with a slash; REPLACE_PREFIX: likewise, no slash at its end; or "" */
	/* in HEADER_OPS; ..._HEADERS: in any order, one for each name; CORS: of enum weir_cors_kind, in any order, names empty */
	struct weir_range ops;
	uint32_t backend;	/* MIRROR: in BACKENDS */
	uint32_t numerator;	/* MIRROR: of so many in denominator requests; the latter at least 1 */
	uint32_t denominator;
	uint32_t reserved1;
};

enum weir_header_op_kind {
	WEIR_HEADER_SET = 1, /* in the place of all that have this name */
	WEIR_HEADER_ADD = 2, /* beside them */
	WEIR_HEADER_REMOVE = 3,
};

/* What a CORS filter says, as the values of response fields; but for ORIGIN, each kind stands once at most. */
enum weir_cors_kind {
	/* "*", or as "https://shop.example.com:8443", where "*." may stand for all that is in front, and "*" for any host */
	WEIR_CORS_ORIGIN = 1,
	WEIR_CORS_METHODS = 2, /* "GET, PUT"; "*": any */
	WEIR_CORS_HEADERS = 3, /* likewise */
	WEIR_CORS_EXPOSED = 4,
	WEIR_CORS_MAX_AGE = 5,	   /* seconds */
	WEIR_CORS_CREDENTIALS = 6, /* "true" */
};

struct weir_header_op {
	uint8_t kind; /* enum weir_header_op_kind, or of a CORS filter enum weir_cors_kind */
	uint8_t reserved0[7];
	struct weir_str name;  /* none that snapshot_is_protected_field() names */
	struct weir_str value; /* empty for REMOVE, and for it alone */
};

/* How an endpoint is chosen. */
enum weir_balance {
	WEIR_BALANCE_ROUND_ROBIN = 0,
	WEIR_BALANCE_LEAST_REQUEST = 1, /* the one of two with fewer requests in hand */
	WEIR_BALANCE_RANDOM = 2,
	WEIR_BALANCE_MAGLEV = 3,
	WEIR_BALANCE_RING_HASH = 4,
};

/* What MAGLEV and RING_HASH hash. */
enum weir_hash_on {
	WEIR_HASH_SOURCE = 0, /* the client's address */
	WEIR_HASH_HEADER = 1, /* the first field of that name */
	WEIR_HASH_COOKIE = 2,
};

enum weir_affinity {
	WEIR_AFFINITY_NONE = 0,
	WEIR_AFFINITY_COOKIE = 1, /* a cookie of Weir's names the endpoint */
};

enum weir_same_site {
	WEIR_SAME_SITE_UNSET = 0, /* no such attribute */
	WEIR_SAME_SITE_LAX = 1,
	WEIR_SAME_SITE_STRICT = 2,
	WEIR_SAME_SITE_NONE = 3,
};

#define WEIR_MAX_COOKIE_NAME 64u  /* bytes of the name of a cookie, one of ours or one that is hashed */
#define WEIR_MAX_COOKIE_PATH 256u /* bytes */
#define WEIR_MAX_SLOW_START_MS 86400000u
#define WEIR_MAX_EJECTION_MS 86400000u

struct weir_backend {
	uint64_t id;	      /* hash_backend() of name: stable over restarts of weir-ctrl; never 0 */
	struct weir_str name; /* "namespace/service:port" */
	uint8_t proto;	      /* enum weir_proto: HTTP, also where only bytes go to it; HTTPS exactly where tls is set */
	uint8_t balance;      /* enum weir_balance */
	uint8_t hash_on;      /* enum weir_hash_on */
	uint8_t affinity;     /* enum weir_affinity */
	uint8_t same_site;    /* of the cookie: enum weir_same_site */
	uint8_t max_ejected_percent; /* of the endpoints, at one time; 0 to 100 */
	uint16_t reserved0;
	uint32_t connect_timeout_ms; /* 0: the dataplane's default */
	uint32_t slow_start_ms;	     /* of an endpoint that joins; 0: none */
	struct weir_str hash_name;   /* HEADER: in lower case, or COOKIE; empty for SOURCE, and for it alone */
	struct weir_str cookie_name; /* affinity: a token; else empty */
	struct weir_str cookie_path; /* affinity: begins with a slash; else empty */
	uint32_t cookie_max_age_s;   /* 0: until the browser ends */
	uint32_t max_connections;    /* of all workers together; 0: no bound */
	uint32_t max_requests;	     /* of one connection to an endpoint; 0: no bound */
	/* Ejection: by failures on end, and by a share of successes that is far below the others'. */
	uint32_t eject_failures;     /* on end; 0: not by these */
	uint32_t eject_base_ms;	     /* the first time; n times as long the n-th time */
	uint32_t eject_max_ms;	     /* at least eject_base_ms */
	uint32_t success_window_ms;  /* in which successes are counted; 0: not by these */
	uint32_t success_deviations; /* so many thousandths of a standard deviation below the mean */
	uint32_t success_requests;   /* of an endpoint in a window, with which it is judged; at least 1 where there is a window */
	uint32_t tls;		     /* in BACKEND_TLS; WEIR_NONE: it is spoken to in the clear */
};

enum weir_san_kind {
	WEIR_SAN_DNS = 1, /* a host name, or "*." and one */
	WEIR_SAN_URI = 2,
};

struct weir_san {
	uint8_t kind; /* enum weir_san_kind */
	uint8_t reserved0[7];
	struct weir_str value;
};

#define WEIR_MAX_SANS 16u /* of one backend */

/* TLS to the endpoints of a backend: who they have to be, and who we are. */
struct weir_backend_tls {
	struct weir_str host; /* the server name that is sent; a host name in lower case */
	/* In SANS: a certificate must have one of these (RFC 5280 4.2.1.6); none: it must be host's. */
	struct weir_range sans;
	/* In CERTS: first the one of kind TRUST by which certificates are judged, then our own, if there is one. None: nobody is trusted */
	struct weir_range certs;
	uint8_t profile; /* enum weir_tls_profile */
	uint8_t reserved0[7];
};

/* The Kubernetes object that a rule came from: for explain, metrics and the access log. */
struct weir_route {
	struct weir_str kind; /* "Ingress", "HTTPRoute" */
	struct weir_str ns;
	struct weir_str name;
};

/* enum weir_endpoint_flag: conditions of an EndpointSlice's endpoint. */
enum weir_endpoint_flag {
	WEIR_EP_READY = 1,
	WEIR_EP_SERVING = 2,
	WEIR_EP_TERMINATING = 4,
};

struct weir_endpoint {
	struct weir_ip addr;
	uint16_t port;
	uint8_t flags;
	uint8_t reserved0;
	uint32_t weight; /* at least 1 */
	uint64_t reserved1;
};

/* All endpoints of one backend, in one blob: this head, then n_endpoints entries. */
struct weir_endpoint_set {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t size; /* bytes, head included */
	uint64_t backend_id;
	uint64_t version;  /* grows with each publication of one weir-ctrl */
	uint64_t checksum; /* hash64() of the blob with this field zero */
	uint32_t n_endpoints;
	uint32_t reserved0;
	uint64_t reserved1[2];
	struct weir_endpoint ep[];
};

#define WEIR_MAX_CHAIN 10u /* certificates of one chain, the leaf included */
#define WEIR_CERTIFICATE_MAX_BYTES 1048576u /* CA bundles are as large as a ConfigMap may be */

/* Bytes of the blob, from its beginning. */
struct weir_part {
	uint32_t off, size;
};

enum weir_certificate_kind {
	WEIR_CERTIFICATE_IDENTITY = 0, /* a certificate with its chain and its private key */
	WEIR_CERTIFICATE_TRUST = 1,    /* CA certificates, and what they have revoked */
};

/*
 * A certificate with its chain and its private key, or CA certificates, in one blob: this head, then the parts in the order of their fields, one
 * behind the other, without a gap. Whoever holds one wipes it before the memory is freed, and keeps it out of core dumps.
 */
struct weir_certificate {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t size; /* bytes, head included */
	struct weir_cert_id id;
	uint64_t checksum; /* hash64() of the blob with this field zero */
	uint32_t n_chain; /* at least 1; TRUST: 1 */
	uint32_t kind;	  /* enum weir_certificate_kind */
	/* X.509 in DER (RFC 5280), the leaf first; 0 from n_chain on. TRUST: all CA certificates, one behind the other. */
	struct weir_part chain[WEIR_MAX_CHAIN];
	struct weir_part key;  /* PKCS #8 in DER (RFC 5958), not encrypted; TRUST: size 0 */
	struct weir_part ocsp; /* an OCSP response in DER (RFC 6960) to be stapled; size 0: none; TRUST: none */
	/* TRUST: CRLs in DER, one behind the other. Where there is one, certificates of that issuer alone are looked for in it. Size 0: none */
	struct weir_part crls;
	uint64_t reserved1;
};

/*
 * Keys of session tickets (RFC 5077 4), the same for all nodes that share them: the first one seals, all of them open. It travels
 * as the message TICKET_KEYS. From then on the dataplane makes no keys of its own, until it is told of none.
 */
#define WEIR_TICKET_KEYS_MAGIC 0x4b43495452494557ull /* "WEIRTICK" */
#define WEIR_MAX_TICKET_KEYS 3u

struct weir_ticket_key {
	uint8_t name[16], cipher[32], mac[32];
};

struct weir_ticket_keys {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t n; /* up to WEIR_MAX_TICKET_KEYS; 0: the dataplane is to make its own again */
	struct weir_ticket_key key[WEIR_MAX_TICKET_KEYS]; /* 0 from n on */
};

#endif
