/* SPDX-License-Identifier: Apache-2.0 */
/* From the store to the dataplane: translate, compile, publish what differs from the last time. */
#ifndef CTRL_SYNC_H
#define CTRL_SYNC_H

#include "kube/store.h"
#include "publish.h"
#include "translate/translator.h"

struct external_names;
struct pathing;
struct saved;
struct saver;
struct source_kube;
struct stapling;
struct status_writer;
struct system_ca;
struct ticket_secret;

struct sync {
	struct store *store;
	struct publish *publish;
	const struct source_kube *kube; /* what fills the store, NULL: manifests; for who asks how it is */
	const struct status_writer *writer; /* NULL: none; likewise */
	const struct saver *saver; /* NULL: nothing is kept on disk; likewise */
	const struct external_names *names; /* NULL: no name is looked up; likewise */
	const struct ticket_secret *tickets; /* NULL: none is followed; likewise */
	struct pathing *paths; /* ways to pods, NULL: none are looked for; for who asks how it is, and who saves them */
	struct system_ca *system_ca;	    /* the machine's CA certificates, looked at by each run; NULL: nobody asks for them */
	struct known_names *known_names;    /* what is known of names, NULL: of none; its changes are taken by sync_run() */
	struct staples *staples;	    /* OCSP responses, NULL: none; what is news in it is taken by sync_run() */
	struct stapling *stapling;	    /* who asks for them, told of other certificates, and for who asks how it is; NULL: nobody does */
	struct translator *translator;
	struct model *model; /* the translator's, as of the last run */
	struct marks *marks; /* likewise, to be emptied by who writes statuses */
	bool has_references; /* to Secrets and ConfigMaps, others than when who follows them has cleared this */
	bool has_other_names; /* translator_names() are others than when who looks them up has cleared this */
	bool has_news; /* statuses or problems are others than when who writes them has cleared this */
	uint64_t generation;
	uint64_t version;		/* of the last endpoint set */
	struct weir_snapshot *snapshot; /* as last published, or NULL */
	size_t snapshot_size;
	bool has_failed; /* the last run did not get everything across */
	bool wants_prune; /* there may be endpoints of backends that are in no snapshot */
	uint64_t *told;	 /* hashes of problems that were logged already; of which the compiler's, and store_problems_turn() then */
	size_t n_told, n_compiled;
	size_t n_own_problems; /* of the model, before the compiler adds some */
	bool has_other_problems; /* the translator has told so since they were logged */
	uint64_t told_turn;
	uint64_t room_bytes;  /* for all routes: of the dataplane, or of the last one that was connected */
	uint64_t guard_bytes; /* bound of all routes, where what was reckoned has turned out to be too much; 0: none */
	uint64_t n_guarded; /* how often */
	struct weir_cert_id *refused; /* certificates that the dataplane did not take, sorted: names are served without them */
	size_t n_refused;
	int64_t refused_s; /* when the last one was refused */
	bool refused_may_pass; /* one was refused for want of room: it is tried again, whether routes change or not */
	int64_t aged_s;	   /* when they were looked at last, whether they end */
	struct translate_options options; /* main may set more of them before the first run; what they point to must live on */
};

void sync_init(struct sync *s, struct store *store, struct publish *publish);
void sync_fini(struct sync *s);
/* After changes of the store, of which the mask tells, as store_load_yaml() has it; UINT64_MAX: all anew. Failures are logged. */
void sync_run(struct sync *s, uint64_t changed);
/* After publish_poll(): what the dataplane does not take is left out of the routes, or all of them would wait for it. */
void sync_take_refusals(struct sync *s);
/*
 * Once in a while: certificates begin and end while nothing else changes, and their owners are told; and for those that were
 * refused there may be room by now. Returns after how many milliseconds the next time is.
 */
int sync_age(struct sync *s);
#define SYNC_AGE_S 600
/* Other OCSP responses are to be stapled: the same routes, with other certificates. */
void sync_staple(struct sync *s);
/* Before the first run: finds out to what Secrets and ConfigMaps the objects refer, and publishes nothing. */
void sync_prepare(struct sync *s);
/*
 * Before the first run: publishes what an earlier weir-ctrl saved. Numbers go
 * on from there, and the first run sends what differs. 0 or -ENOMEM.
 */
int sync_restore(struct sync *s, const struct saved *saved);
/* The dataplane has room for more, or less, than routes were chosen for: call sync_run(s, 0). */
bool sync_has_other_room(const struct sync *s);
/* Problems of the source and of the objects now, fatal ones or the others. */
size_t sync_n_problems(const struct sync *s, bool fatal);
/* A failure is waiting to be tried again: call sync_run(s, UINT64_MAX) within a second or so. */
bool sync_wants_retry(const struct sync *s);

#endif
