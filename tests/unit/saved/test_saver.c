/* SPDX-License-Identifier: Apache-2.0 */
/* When the file is written, and what is found in it, with a dataplane that is not there. Time is the test's; the disk is real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "objects.h"
#include "saver.h"

#define SOURCE 77u

struct rig {
	char folder[64], file[128];
	struct store *store;
	struct publish *publish;
	struct sync sync;
	struct saver *saver;
	uint64_t now_ms;
};

static void load(struct rig *r, const char *text)
{
	sync_run(&r->sync, store_load_yaml(r->store, "a.yaml", text, strlen(text)));
}

static struct rig *rig_create(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	snprintf(r->folder, sizeof(r->folder), "/tmp/weir-test-saver-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->file, sizeof(r->file), "%s/%s", r->folder, SAVER_FILE);
	r->store = store_create();
	r->publish = publish_create("/nonexistent/dataplane.sock");
	assert_non_null(r->publish);
	sync_init(&r->sync, r->store, r->publish);
	load(r, OBJECTS("shop.example.com"));
	r->now_ms = 1000000;
	r->saver = saver_create(r->folder, SOURCE, false);
	return r;
}

static void rig_destroy(struct rig *r)
{
	saver_destroy(r->saver);
	sync_fini(&r->sync);
	publish_destroy(r->publish);
	store_destroy(r->store);
	unlink(r->file);
	assert_int_equal(rmdir(r->folder), 0); /* nothing else is in it */
	free(r);
}

static struct saver_status status(const struct rig *r)
{
	struct saver_status st;

	saver_status(r->saver, &st);
	return st;
}

/* Until nothing is left to do within a minute; returns the time that passed. */
static uint64_t settle(struct rig *r)
{
	const uint64_t began_ms = r->now_ms;
	uint64_t next_ms = saver_update(r->saver, &r->sync, true, r->now_ms);

	for (unsigned i = 0; next_ms < began_ms + 50000 && i < 2000; i++) {
		usleep(20000); /* for the thread, and a slow disk */
		r->now_ms = next_ms;
		next_ms = saver_update(r->saver, &r->sync, true, r->now_ms);
	}
	return r->now_ms - began_ms;
}

static void file_has_what_was_published_and_only_its_user_reads_it(void **state)
{
	struct rig *r = rig_create();
	struct saver *again;
	struct saver_status st;
	struct stat info;

	settle(r);
	st = status(r);
	assert_int_equal(st.n_writes, 1);
	assert_int_equal(st.n_failures, 0);
	assert_int_equal(stat(r->file, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
	assert_int_equal(info.st_size, st.file_bytes);
	again = saver_create(r->folder, SOURCE, false);
	saver_status(again, &st);
	assert_int_equal(st.refused, SAVED_OK);
	saver_destroy(again);
	again = saver_create(r->folder, SOURCE + 1, false);
	saver_status(again, &st);
	assert_int_equal(st.refused, SAVED_SOURCE);
	saver_destroy(again);
	rig_destroy(r);
}

static void file_that_another_could_have_written_is_not_used(void **state)
{
	struct rig *r = rig_create();
	struct saver_status st;
	struct saver *again;

	settle(r);
	assert_int_equal(chmod(r->file, 0660), 0);
	again = saver_create(r->folder, SOURCE, false);
	saver_status(again, &st);
	assert_int_equal(st.refused, SAVED_OK);
	saver_destroy(again);
	assert_int_equal(chmod(r->file, 0606), 0);
	again = saver_create(r->folder, SOURCE, false);
	saver_status(again, &st);
	assert_int_equal(st.refused, SAVED_OWNER);
	saver_destroy(again);
	assert_int_equal(chmod(r->file, 0600), 0);
	if (chown(r->file, 65534, 65534) == 0) { /* only root may */
		again = saver_create(r->folder, SOURCE, false);
		saver_status(again, &st);
		assert_int_equal(st.refused, SAVED_OWNER);
		saver_destroy(again);
	}
	rig_destroy(r);
}

static void changes_in_a_row_are_one_write_a_second_later(void **state)
{
	struct rig *r = rig_create();

	settle(r);
	assert_int_equal(status(r).n_writes, 1);
	for (unsigned i = 0; i < 9; i++) {
		load(r, i % 2 ? OBJECTS("shop.example.com") : OBJECTS("other.example.com"));
		assert_true(saver_update(r->saver, &r->sync, true, r->now_ms) > r->now_ms);
		r->now_ms += 100;
	}
	assert_int_equal(status(r).n_writes, 1);
	settle(r);
	assert_int_equal(status(r).n_writes, 2);
	settle(r);
	assert_int_equal(status(r).n_writes, 2);
	rig_destroy(r);
}

static void file_that_cannot_be_written_is_tried_again(void **state)
{
	struct rig *r = rig_create();
	char away[80];

	snprintf(away, sizeof(away), "%s.away", r->folder);
	assert_int_equal(rename(r->folder, away), 0);
	for (unsigned i = 0; i < 2000 && status(r).n_failures < 3; i++) {
		usleep(5000);
		r->now_ms += 1000;
		saver_update(r->saver, &r->sync, true, r->now_ms);
	}
	assert_int_equal(status(r).n_failures, 3);
	assert_string_equal(status(r).problem, "No such file or directory");
	assert_int_equal(rename(away, r->folder), 0);
	for (unsigned i = 0; i < 2000 && status(r).n_writes < 1; i++) {
		usleep(5000);
		r->now_ms += 1000;
		saver_update(r->saver, &r->sync, true, r->now_ms);
	}
	assert_int_equal(status(r).n_writes, 1);
	assert_null(status(r).problem);
	rig_destroy(r);
}

static void end_writes_what_is_not_written_yet(void **state)
{
	struct rig *r = rig_create();

	saver_update(r->saver, &r->sync, true, r->now_ms);
	assert_int_equal(access(r->file, F_OK), -1);
	saver_finish(r->saver, &r->sync);
	assert_int_equal(access(r->file, F_OK), 0);
	assert_int_equal(status(r).n_writes, 1);
	saver_finish(r->saver, &r->sync); /* again: nothing to do */
	assert_int_equal(status(r).n_writes, 1);
	rig_destroy(r);
}

/* Meanwhile the Lease is given back. */
static void near_the_end_it_is_written_without_waiting_for_it(void **state)
{
	struct rig *r = rig_create();

	saver_hasten(r->saver, &r->sync);
	saver_hasten(r->saver, &r->sync); /* once */
	for (unsigned i = 0; i < 12000 && access(r->file, F_OK) != 0; i++)
		usleep(5000);
	assert_int_equal(access(r->file, F_OK), 0);
	load(r, OBJECTS("other.example.com")); /* the last state is what counts */
	saver_finish(r->saver, &r->sync);
	assert_int_equal(status(r).n_writes, 2);
	rig_destroy(r);
}

static void file_that_stays_right_gets_a_new_time(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct rig *r = rig_create();
	struct stat info;

	settle(r);
	assert_int_equal(utimensat(AT_FDCWD, r->file, old, 0), 0);
	for (unsigned i = 0; i < 200; i++) {
		usleep(1000);
		r->now_ms += 1000;
		saver_update(r->saver, &r->sync, false, r->now_ms);
	}
	assert_int_equal(stat(r->file, &info), 0);
	assert_int_equal(info.st_mtim.tv_sec, 1000); /* not known to be right */
	for (unsigned i = 0; i < 2000 && info.st_mtim.tv_sec == 1000; i++) {
		usleep(5000);
		r->now_ms += 1000;
		saver_update(r->saver, &r->sync, true, r->now_ms);
		assert_int_equal(stat(r->file, &info), 0);
	}
	assert_true(info.st_mtim.tv_sec > 1000);
	assert_int_equal(status(r).n_writes, 1);
	rig_destroy(r);
}

static void restored_routes_go_on_where_they_were(void **state)
{
	struct rig *r = rig_create();
	const uint64_t generation = r->sync.generation, version = r->sync.version;
	struct saver *again;
	struct sync s;
	struct publish *p = publish_create("/nonexistent/dataplane.sock");
	void *bytes = malloc(1 << 20);
	struct saved saved;
	size_t n;
	FILE *f;

	settle(r);
	again = saver_create(r->folder, SOURCE, false);
	sync_init(&s, r->store, p);
	saver_serve(again, &s); /* nothing: there is no dataplane that has no routes */
	assert_null(s.snapshot);
	f = fopen(r->file, "rb");
	assert_non_null(f);
	n = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	assert_int_equal(saved_check(bytes, n, SOURCE, false, &saved), SAVED_OK);
	assert_int_equal(sync_restore(&s, &saved), 0);
	assert_int_equal(s.generation, generation);
	assert_int_equal(s.version, version);
	sync_run(&s, UINT64_MAX); /* the same objects: nothing is sent again */
	assert_int_equal(s.generation, generation);
	assert_int_equal(s.version, version);
	load(r, OBJECTS("other.example.com"));
	sync_run(&s, UINT64_MAX);
	assert_int_equal(s.generation, generation + 1);
	assert_int_equal(s.version, version);
	free(bytes);
	saver_destroy(again);
	sync_fini(&s);
	publish_destroy(p);
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(file_has_what_was_published_and_only_its_user_reads_it),
	    cmocka_unit_test(file_that_another_could_have_written_is_not_used),
	    cmocka_unit_test(changes_in_a_row_are_one_write_a_second_later),
	    cmocka_unit_test(file_that_cannot_be_written_is_tried_again),
	    cmocka_unit_test(end_writes_what_is_not_written_yet),
	    cmocka_unit_test(near_the_end_it_is_written_without_waiting_for_it),
	    cmocka_unit_test(file_that_stays_right_gets_a_new_time),
	    cmocka_unit_test(restored_routes_go_on_where_they_were),
	};
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
