/* SPDX-License-Identifier: Apache-2.0 */
/* The device, and a worker's use of it. */
#ifndef TLS_OFFLOAD_PVT_H
#define TLS_OFFLOAD_PVT_H

#include <sys/queue.h>

#include <openssl/ssl.h>

#include "tls/offload.h"

struct tls;
struct tls_session;

#define ENGINE_N_IN_FLIGHT 6 /* asymmetric, key derivation, ciphers: as qatengine counts them, in a card and in its own software */

struct offload_device {
	struct offload_config cfg;
	void *engine; /* ENGINE *, initialised; NULL: the device is none */
	int poll_cmd, instance_cmd; /* 0: it has none */
	const int *in_flight[ENGINE_N_IN_FLIGHT]; /* the engine writes them; NULL: it has none */
};

/* offload_engine.c, or offload_no_engine.c where OpenSSL has no engines */
bool engine_open(struct offload_device *d, char *why, size_t n);
void engine_close(struct offload_device *d);
/* Of a worker's thread: which instance it uses from now on. False: the engine refuses. */
bool engine_use_instance(const struct offload_device *d, unsigned worker);
/* Ends what is done. Called while something is under way, of the worker's thread. */
void engine_poll(const struct offload_device *d);
/* A copy of the key whose operations are the engine's. NULL: the engine has none for keys of this kind, or no memory. */
EVP_PKEY *engine_key(const struct offload_device *d, const EVP_PKEY *key);

TAILQ_HEAD(offload_list, tls_session);

enum offload_health {
	OFFLOAD_UP,
	OFFLOAD_DOWN, /* until a handshake that tries it succeeds */
};

/* Where a session's job is. */
enum offload_job {
	JOB_NONE,
	JOB_QUEUED,    /* all jobs are taken: it waits for one, nothing has begun */
	JOB_BOUNCED,   /* paused, and the device had no room: to be resumed with the next poll */
	JOB_SUBMITTED, /* paused: the device has its operation */
	JOB_LATE,      /* likewise, for longer than it may */
	JOB_DONE,      /* paused, and its operation has ended: to be resumed */
};

struct offload {
	struct offload_device *device; /* NULL: software */
	uint64_t now_us;
	enum offload_health health;
	uint64_t retry_us;     /* down: when it is tried again */
	uint64_t last_done_us; /* an operation ended well */
	uint32_t n_failed;     /* since then */
	uint32_t n_in_flight, n_queued, n_orphans;
	uint32_t n_paused; /* jobs that are paused, for whatever reason */
	bool is_ending;
	struct offload_list submitted, late, bounced, queued, woken; /* of sessions, by their jobs; the oldest first */
	SSL **kept; /* what offload_fini() cannot free */
	struct tls_session *done; /* pushed from within the device's callback, of whatever thread */
};

/* What a handshake ended by, whose operation has come to its end. */
enum offload_fault {
	FAULT_NONE,    /* nothing failed, or something else than the operation */
	FAULT_DEVICE,
	FAULT_CLIENT,  /* it gave a key share of which nobody can make a secret: the device did well */
	FAULT_UNKNOWN, /* it may have been either of them */
};

/* offload_fault.c */
/* SSL_do_handshake() returned, and what is SSL_get_error(); OpenSSL's queue of errors may have more behind it. */
enum offload_fault offload_fault(const struct tls_session *s, int what);

/* offload.c */
void offload_init(struct tls *t);
/* False: jobs never ended; what they use has to stay. */
bool offload_fini(struct tls *t);
/* Whether a session that begins its handshake now uses the device. Counted if that is down. */
bool offload_wants(struct tls_session *s);
/* Of a session that does, with its object of OpenSSL just made. */
void offload_begin(struct tls_session *s);
/* SSL_do_handshake() returned, and this is SSL_get_error(): it may end with this call, or else it waits (true). */
bool offload_note(struct tls_session *s, int what);
/* The handshake is complete: from here on nothing is given to the device. */
void offload_complete(struct tls_session *s);
/* Before a session is freed: the device's word on it is heard. */
void offload_hear(struct tls_session *s);
/* A session without a connection whose job is not at its end: it is freed when that is. */
void offload_orphan(struct tls_session *s);
/* The session ends, and waits for no job any more. */
void offload_leave_queue(struct tls_session *s);

#endif
