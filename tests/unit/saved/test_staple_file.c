/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCSP responses over a restart: what is written, what is found, and what of it is believed. Time is the test's; the disk is real.
 * With WEIR_SEEDS=DIR it also writes inputs of fuzz_staples there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ocsp.h>

#include "../ocsp/authority.h"
#include "base/log.h"
#include "staple_file.h"

#define N 3u /* certificates; the last one is must-staple */
#define HEAD_BYTES 24u
#define KEY_BYTES 32u

struct rig {
	char folder[64], path[128];
	struct authority a;
	struct holder leaf[N];
	struct certificate *c[N];
	struct staple_file_limits limits;
	/* of one life of weir-ctrl */
	struct staple_file *file;
	struct staples *staples;
	struct stapler *s;
	uint64_t now_ms;
	void *asked[16];
	size_t n_asked;
};

static void ask(void *ctx, const char *url, const unsigned char *der, size_t n, void *question)
{
	struct rig *r = ctx;

	assert_true(r->n_asked < 16);
	r->asked[r->n_asked++] = question;
}

static int64_t now_s(const struct rig *r)
{
	return TEST_NOW_S + (int64_t)(r->now_ms / 1000);
}

static void begin_life(struct rig *r)
{
	r->n_asked = 0;
	r->file = staple_file_create(r->folder, &r->limits, r->now_ms);
	r->staples = staples_create();
	r->s = stapler_create(&(struct stapler_options){
	    .staples = r->staples, .ask = ask, .ctx = r, .recall = staple_file_find, .recall_ctx = r->file, .seed = 7});
}

static void end_life(struct rig *r)
{
	staple_file_destroy(r->file);
	stapler_destroy(r->s);
	staples_destroy(r->staples);
}

static struct staple_file_status status(const struct rig *r)
{
	struct staple_file_status st;

	staple_file_status(r->file, &st);
	return st;
}

/* The first n certificates are wanted, and what was kept of them is taken. */
static void want(struct rig *r, unsigned n)
{
	stapler_want_begin(r->s);
	for (unsigned i = 0; i < n; i++)
		stapler_want(r->s, r->c[i], r->now_ms);
	stapler_want_end(r->s);
	stapler_recall(r->s, r->now_ms, now_s(r));
}

static const struct staple *known(const struct rig *r, unsigned i)
{
	return staples_get(r->staples, &r->c[i]->blob->id);
}

static bool is_stapled(const struct rig *r, unsigned i)
{
	return staples_served(r->staples, r->c[i]) != r->c[i];
}

/* All that was asked, in the order of the certificates; revoked: one of them. */
static void answer(struct rig *r, unsigned n, int64_t for_s, unsigned revoked)
{
	stapler_poll(r->s, r->now_ms, now_s(r));
	assert_int_equal(r->n_asked, n);
	for (unsigned i = 0; i < n; i++) {
		struct said said = {.this_s = now_s(r) - 60, .next_s = now_s(r) + for_s, .signer = &r->a.ca, .about = &r->leaf[i], .issuer = &r->a.ca};
		struct stapler_answer a = {.outcome = OCSP_GOOD, .max_age_s = UINT32_MAX};
		unsigned char *der;

		if (i == revoked) {
			said.status = V_OCSP_CERTSTATUS_REVOKED;
			said.reason = OCSP_REVOKED_STATUS_KEYCOMPROMISE;
		}
		der = authority_response(&said, &a.n);
		a.der = der;
		stapler_answered(r->s, r->asked[i], &a, r->now_ms, now_s(r));
		free(der);
	}
	r->n_asked = 0;
}

/* Until nothing is left to write. */
static void settle(struct rig *r)
{
	uint64_t next_ms = staple_file_update(r->file, r->s, r->now_ms);

	for (unsigned i = 0; next_ms != UINT64_MAX; i++) {
		assert_true(i < 5000);
		usleep(2000); /* for the thread, and a slow disk */
		r->now_ms = next_ms;
		next_ms = staple_file_update(r->file, r->s, r->now_ms);
	}
}

static int open_rig(void **state)
{
	static const char *const names[N] = {"one", "two", "must"};
	struct rig *r = calloc(1, sizeof(*r));

	log_init("test", LOG_LEVEL_ERROR);
	snprintf(r->folder, sizeof(r->folder), "/tmp/weir-test-staples-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->path, sizeof(r->path), "%s/%s", r->folder, STAPLE_FILE);
	r->limits = (struct staple_file_limits){STAPLE_FILE_MAX, STAPLE_FILE_MAX_BYTES};
	authority_open(&r->a);
	for (unsigned i = 0; i < N; i++) {
		r->leaf[i] = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = names[i], .purpose = OF_SERVER, .url = "http://a.test/x",
									     .must_staple = i == N - 1});
		r->c[i] = authority_certificate(&r->leaf[i], (const struct holder *const[]){&r->a.ca}, 1);
		r->c[i]->ns = strdup("demo");
		r->c[i]->name = strdup(names[i]);
	}
	r->now_ms = 1000000;
	begin_life(r);
	*state = r;
	return 0;
}

static int close_rig(void **state)
{
	struct rig *r = *state;

	end_life(r);
	unlink(r->path);
	assert_int_equal(rmdir(r->folder), 0); /* nothing else is in it */
	for (unsigned i = 0; i < N; i++) {
		certificate_put(r->c[i]);
		holder_close(&r->leaf[i]);
	}
	authority_close(&r->a);
	free(r);
	return 0;
}

/* A life in which all had a response; 0: and none was revoked. Another begins. */
static void live(struct rig *r, unsigned revoked)
{
	want(r, N);
	answer(r, N, 3600, revoked);
	settle(r);
	end_life(r);
	begin_life(r);
}

#define NONE 99u

/* ---- */

static void responses_are_stapled_before_anybody_is_asked(void **state)
{
	struct rig *r = *state;
	struct stapler_status st;
	struct stat file;

	live(r, NONE);
	assert_int_equal(stat(r->path, &file), 0);
	assert_int_equal(file.st_mode & 07777, 0600);
	assert_int_equal(status(r).refused, STAPLE_FILE_OK);
	assert_int_equal(status(r).n_found, N);
	want(r, N);
	for (unsigned i = 0; i < N; i++)
		assert_true(is_stapled(r, i) && known(r, i)->state == STAPLE_GOOD);
	assert_int_equal(r->n_asked, 0);
	stapler_poll(r->s, r->now_ms, now_s(r));
	assert_int_equal(r->n_asked, N); /* all the same */
	for (unsigned i = 0; i < N; i++)
		stapler_answered(r->s, r->asked[i], &(struct stapler_answer){.outcome = OCSP_UNREACHABLE}, r->now_ms, now_s(r));
	for (unsigned i = 0; i < N; i++)
		assert_true(is_stapled(r, i));
	stapler_status(r->s, &st);
	assert_int_equal(st.recalled[OCSP_GOOD], N);
	settle(r);
	end_life(r);
	begin_life(r); /* they outlast restarts without an answer */
	want(r, N);
	assert_true(is_stapled(r, 0));
}

static void revocation_is_remembered(void **state)
{
	struct rig *r = *state;

	live(r, 1);
	want(r, N);
	assert_int_equal(known(r, 1)->state, STAPLE_REVOKED);
	assert_string_equal(known(r, 1)->reason, "keyCompromise");
	assert_true(is_stapled(r, 0) && !is_stapled(r, 1));
}

static void response_whose_time_is_over_is_refused(void **state)
{
	struct rig *r = *state;
	struct stapler_status st;

	live(r, NONE);
	r->now_ms += 3600 * 1000ull + 1000;
	want(r, N);
	for (unsigned i = 0; i < N; i++)
		assert_true(!is_stapled(r, i) && known(r, i)->state == STAPLE_PENDING);
	stapler_status(r->s, &st);
	assert_int_equal(st.recalled[OCSP_STALE], N);
	settle(r);
	end_life(r);
	begin_life(r);
	assert_int_equal(status(r).n_found, 0);
}

static void what_nobody_needs_goes_but_not_at_once(void **state)
{
	struct rig *r = *state;
	uint64_t began_ms;

	live(r, NONE);
	began_ms = r->now_ms;
	want(r, 1);
	staple_file_update(r->file, r->s, r->now_ms);
	staple_file_finish(r->file, r->s); /* a short life takes nothing from those that come late */
	end_life(r);
	begin_life(r);
	assert_int_equal(status(r).n_found, N);
	want(r, 1);
	staple_file_update(r->file, r->s, r->now_ms + 100);
	want(r, 2); /* comes late */
	assert_true(is_stapled(r, 1));
	settle(r);
	assert_true(r->now_ms - began_ms >= STAPLE_FILE_SETTLE_MS);
	assert_int_equal(status(r).n_saved, 2);
	want(r, 0);
	settle(r);
	end_life(r);
	begin_life(r);
	assert_int_equal(status(r).n_found, 0);
	assert_int_equal(status(r).refused, STAPLE_FILE_OK);
}

static void end_writes_what_is_not_written_yet(void **state)
{
	struct rig *r = *state;

	want(r, N);
	answer(r, N, 3600, NONE);
	staple_file_finish(r->file, r->s); /* no certificate is known as far as the file was told */
	assert_int_not_equal(access(r->path, F_OK), 0);
	staple_file_update(r->file, r->s, r->now_ms);
	staple_file_finish(r->file, r->s);
	end_life(r);
	begin_life(r);
	assert_int_equal(status(r).n_found, N);
}

static void bounds_keep_must_staple_first(void **state)
{
	struct rig *r = *state;
	struct stat st;

	r->limits.n = 1;
	end_life(r);
	begin_life(r);
	want(r, N);
	answer(r, N, 3600, NONE);
	settle(r);
	assert_true(status(r).n_saved == 1 && status(r).n_left_out == N - 1);
	assert_int_equal(stat(r->path, &st), 0);
	/* Too little for two: signatures of ECDSA differ by a few bytes. */
	r->limits = (struct staple_file_limits){STAPLE_FILE_MAX, (size_t)st.st_size * 2 - HEAD_BYTES - 32};
	end_life(r);
	begin_life(r);
	want(r, N);
	assert_true(is_stapled(r, 2) && !is_stapled(r, 0));
	answer(r, N, 7200, NONE);
	settle(r);
	assert_true(status(r).n_saved == 1 && status(r).n_left_out == N - 1);
}

static uint8_t *read_file(const struct rig *r, size_t *n)
{
	FILE *f = fopen(r->path, "rb");
	uint8_t *p = malloc(1 << 20);

	assert_non_null(f);
	*n = fread(p, 1, 1 << 20, f);
	fclose(f);
	return p;
}

static void write_file(const struct rig *r, const uint8_t *p, size_t n)
{
	FILE *f = fopen(r->path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

/* A life that finds this; how many are stapled by it. */
static unsigned n_stapled_of(struct rig *r, const uint8_t *p, size_t n, enum staple_file_refusal *refused)
{
	unsigned n_stapled = 0;

	write_file(r, p, n);
	end_life(r);
	begin_life(r);
	want(r, N);
	for (unsigned i = 0; i < N; i++)
		n_stapled += is_stapled(r, i);
	*refused = status(r).refused;
	return n_stapled;
}

static void whatever_is_cut_off_the_rest_is_found(void **state)
{
	struct rig *r = *state;
	enum staple_file_refusal refused;
	unsigned n_least = 0;
	uint8_t *p;
	size_t n;

	live(r, NONE);
	p = read_file(r, &n);
	for (size_t cut = 0; cut < n; cut += 7) {
		unsigned n_stapled = n_stapled_of(r, p, cut, &refused);

		assert_true(n_stapled >= n_least && n_stapled < N);
		n_least = n_stapled;
		assert_int_equal(refused, STAPLE_FILE_TRUNCATED);
	}
	assert_int_equal(n_least, N - 1);
	p[n] = 0;
	assert_int_equal(n_stapled_of(r, p, n + 1, &refused), N);
	assert_int_equal(refused, STAPLE_FILE_TRUNCATED);
	free(p);
}

static void damage_costs_what_is_damaged_and_is_named(void **state)
{
	struct rig *r = *state;
	enum staple_file_refusal refused;
	struct stapler_status st;
	uint64_t n_named = 0;
	uint32_t size;
	uint8_t *p;
	size_t n;

	live(r, NONE);
	p = read_file(r, &n);
	memcpy(&size, p + HEAD_BYTES + KEY_BYTES, sizeof(size));
	for (size_t i = 0; i < size; i++) { /* of the first response: the others are not its neighbours' business */
		size_t at = HEAD_BYTES + KEY_BYTES + 4 + i;

		p[at] ^= 0x20;
		/* Names inside of it that nobody signs or compares, such as of an algorithm's parameters, may pass, as they would from a responder. */
		assert_true(n_stapled_of(r, p, n, &refused) >= N - 1);
		assert_int_equal(refused, STAPLE_FILE_OK);
		p[at] ^= 0x20;
		stapler_status(r->s, &st);
		for (unsigned o = 0; o < OCSP_N_OUTCOMES; o++)
			n_named += o != OCSP_GOOD ? st.recalled[o] : 0;
	}
	assert_true(n_named > size * 9 / 10);
	p[HEAD_BYTES] ^= 1; /* the key: it is nobody's */
	assert_int_equal(n_stapled_of(r, p, n, &refused), N - 1);
	p[HEAD_BYTES] ^= 1;
	free(p);
}

/* A response that is good, but in another one's place. */
static void response_about_another_certificate_is_refused(void **state)
{
	struct rig *r = *state;
	enum staple_file_refusal refused;
	struct stapler_status st;
	uint8_t key[KEY_BYTES], *p, *second;
	uint32_t size;
	size_t n;

	live(r, NONE);
	p = read_file(r, &n);
	memcpy(&size, p + HEAD_BYTES + KEY_BYTES, sizeof(size));
	second = p + HEAD_BYTES + KEY_BYTES + 4 + size;
	memcpy(key, second, KEY_BYTES);
	memcpy(second, p + HEAD_BYTES, KEY_BYTES);
	memcpy(p + HEAD_BYTES, key, KEY_BYTES);
	assert_int_equal(n_stapled_of(r, p, n, &refused), N - 2);
	stapler_status(r->s, &st);
	assert_int_equal(st.recalled[OCSP_OTHER_CERTIFICATE], 2);
	free(p);
}

static void file_that_is_none_of_ours_is_refused_by_name(void **state)
{
	struct rig *r = *state;
	enum staple_file_refusal refused;
	uint8_t *p;
	size_t n;

	live(r, NONE);
	p = read_file(r, &n);
	p[0] ^= 1;
	assert_int_equal(n_stapled_of(r, p, n, &refused), 0);
	assert_int_equal(refused, STAPLE_FILE_FOREIGN);
	p[0] ^= 1;
	p[8] ^= 2;
	n_stapled_of(r, p, n, &refused);
	assert_int_equal(refused, STAPLE_FILE_OTHER_VERSION);
	p[8] ^= 2;
	memset(p + HEAD_BYTES + KEY_BYTES, 0xff, 4);
	n_stapled_of(r, p, n, &refused);
	assert_int_equal(refused, STAPLE_FILE_MALFORMED);
	assert_int_equal(chmod(r->path, 0606), 0);
	end_life(r);
	begin_life(r);
	assert_int_equal(status(r).refused, STAPLE_FILE_OWNER);
	assert_int_equal(truncate(r->path, STAPLE_FILE_MAX_BYTES + 1), 0);
	assert_int_equal(chmod(r->path, 0600), 0);
	end_life(r);
	begin_life(r);
	assert_int_equal(status(r).refused, STAPLE_FILE_TOO_LARGE);
	want(r, N); /* and what is fetched takes its place */
	answer(r, N, 3600, NONE);
	settle(r);
	end_life(r);
	begin_life(r);
	assert_true(status(r).refused == STAPLE_FILE_OK && status(r).n_found == N);
	free(p);
}

static void folder_that_is_away_is_tried_again(void **state)
{
	struct rig *r = *state;
	char away[80];

	snprintf(away, sizeof(away), "%s.away", r->folder);
	assert_int_equal(rename(r->folder, away), 0);
	want(r, N);
	answer(r, N, 3600, NONE);
	for (unsigned i = 0; i < 5000 && !status(r).n_failures; i++) {
		r->now_ms = staple_file_update(r->file, r->s, r->now_ms);
		usleep(2000);
	}
	assert_int_equal(status(r).n_failures, 1);
	assert_non_null(status(r).problem);
	assert_int_equal(rename(away, r->folder), 0);
	settle(r);
	assert_null(status(r).problem);
	assert_int_equal(status(r).n_saved, N);
}

static void write_seed(const char *name, uint8_t mend, const uint8_t *p, size_t n)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", getenv("WEIR_SEEDS"), name);
	f = fopen(path, "wb");
	assert_non_null(f);
	fputc(mend, f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

/* First bytes: see fuzz_staples.c. */
static void seeds_are_written(void **state)
{
	struct rig *r = *state;
	size_t first, n;
	uint8_t *p;

	live(r, NONE);
	p = read_file(r, &n);
	p[n] = 0;
	first = HEAD_BYTES + KEY_BYTES;
	write_seed("whole", 0, p, n);
	write_seed("cut-everywhere", 4, p, n);
	write_seed("oversized", 8, p, n);
	write_seed("longer", 0, p, n + 1);
	write_seed("cut", 0, p, n - 40);
	write_seed("cut-mended", 3, p, n - 40);
	write_seed("no-responses", 3, p, HEAD_BYTES);
	memcpy(p + n, p + HEAD_BYTES, n - HEAD_BYTES); /* each key twice */
	write_seed("twice", 3, p, 2 * n - HEAD_BYTES);
	p[16] ^= 1;
	write_seed("another-size", 0, p, n);
	memset(p + first, 0xff, 4);
	write_seed("response-too-large", 1, p, n);
	memset(p + first, 0, 4);
	write_seed("response-empty", 1, p, n);
	memset(p + 12, 0xff, 4);
	write_seed("number-too-large", 1, p, n);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
	    T(responses_are_stapled_before_anybody_is_asked),
	    T(revocation_is_remembered),
	    T(response_whose_time_is_over_is_refused),
	    T(what_nobody_needs_goes_but_not_at_once),
	    T(end_writes_what_is_not_written_yet),
	    T(bounds_keep_must_staple_first),
	    T(whatever_is_cut_off_the_rest_is_found),
	    T(damage_costs_what_is_damaged_and_is_named),
	    T(response_about_another_certificate_is_refused),
	    T(file_that_is_none_of_ours_is_refused_by_name),
	    T(folder_that_is_away_is_tried_again),
	};
	const struct CMUnitTest seeds[] = {T(seeds_are_written)};
#undef T

	if (getenv("WEIR_SEEDS"))
		return cmocka_run_group_tests(seeds, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
