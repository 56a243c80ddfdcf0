/* SPDX-License-Identifier: Apache-2.0 */
/* The directory on a real file system: what editors, kubectl and ConfigMap mounts do to files. */
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

#include "source_dir.h"

struct fixture {
	char top[64];
	char dir[80];
	struct store *s;
	struct source_dir *d;
};

static void put(const char *dir, const char *file, const char *name)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\n", name);
	fclose(f);
}

static void rename_in(const char *dir, const char *from, const char *to)
{
	char a[256], b[256];

	snprintf(a, sizeof(a), "%s/%s", dir, from);
	snprintf(b, sizeof(b), "%s/%s", dir, to);
	assert_int_equal(rename(a, b), 0);
}

static void remove_in(const char *dir, const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	assert_int_equal(remove(path), 0);
}

static bool has(const struct fixture *f, const char *name)
{
	return store_get(f->s, KUBE_SERVICE, "default", name) != NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->top, "/tmp/weir-test-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->dir, sizeof(f->dir), "%s/manifests", f->top);
	assert_int_equal(mkdir(f->dir, 0700), 0);
	put(f->dir, "a.yaml", "a");
	put(f->dir, "notes.txt", "text");
	put(f->dir, ".hidden.yaml", "hidden");
	f->s = store_create();
	f->d = source_dir_create(f->dir, f->s);
	assert_non_null(f->d);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	source_dir_destroy(f->d);
	store_destroy(f->s);
	snprintf(command, sizeof(command), "rm -rf %s", f->top);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void reads_what_is_there_and_follows_writes_and_removals(void **state)
{
	struct fixture *f = *state;

	assert_true(has(f, "a"));
	assert_false(has(f, "text"));
	assert_false(has(f, "hidden"));
	assert_int_equal(source_dir_poll(f->d), 0);
	put(f->dir, "b.yml", "b");
	assert_int_equal(source_dir_poll(f->d), 1ull << KUBE_SERVICE);
	assert_true(has(f, "b"));
	put(f->dir, "b.yml", "c");
	source_dir_poll(f->d);
	assert_false(has(f, "b"));
	assert_true(has(f, "c"));
	remove_in(f->dir, "a.yaml");
	assert_int_equal(source_dir_poll(f->d), 1ull << KUBE_SERVICE);
	assert_false(has(f, "a"));
}

static void follows_an_editor_that_renames(void **state)
{
	struct fixture *f = *state;

	put(f->dir, ".a.yaml.swp", "new");
	rename_in(f->dir, "a.yaml", "a.yaml~");
	rename_in(f->dir, ".a.yaml.swp", "a.yaml");
	source_dir_poll(f->d);
	assert_true(has(f, "new"));
	assert_false(has(f, "a"));
}

static void follows_the_links_of_a_mounted_config_map(void **state)
{
	struct fixture *f = *state;
	char one[256], two[256], link_path[256], next[256], data[256];

	snprintf(one, sizeof(one), "%s/..1", f->dir);
	snprintf(two, sizeof(two), "%s/..2", f->dir);
	snprintf(data, sizeof(data), "%s/..data", f->dir);
	snprintf(next, sizeof(next), "%s/..next", f->dir);
	snprintf(link_path, sizeof(link_path), "%s/m.yaml", f->dir);
	mkdir(one, 0700);
	mkdir(two, 0700);
	put(one, "m.yaml", "one");
	put(two, "m.yaml", "two");
	assert_int_equal(symlink("..1", data), 0);
	assert_int_equal(symlink("..data/m.yaml", link_path), 0);
	source_dir_poll(f->d);
	assert_true(has(f, "one"));
	assert_int_equal(symlink("..2", next), 0);
	assert_int_equal(rename(next, data), 0);
	source_dir_poll(f->d);
	assert_true(has(f, "two"));
	assert_false(has(f, "one"));
}

static void keeps_its_state_while_the_directory_is_away_and_finds_it_again(void **state)
{
	struct fixture *f = *state;
	char away[128];

	snprintf(away, sizeof(away), "%s/away", f->top);
	assert_int_equal(rename(f->dir, away), 0);
	source_dir_poll(f->d);
	assert_true(has(f, "a"));
	assert_int_equal(mkdir(f->dir, 0700), 0);
	put(f->dir, "b.yaml", "b");
	source_dir_poll(f->d);
	assert_true(has(f, "b"));
	assert_false(has(f, "a"));
	put(f->dir, "c.yaml", "c");
	source_dir_poll(f->d);
	assert_true(has(f, "c"));
}

static void fifo_does_not_stop_it(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/z.yaml", f->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	put(f->dir, "b.yaml", "b");
	source_dir_poll(f->d);
	assert_true(has(f, "b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(reads_what_is_there_and_follows_writes_and_removals, setup, teardown),
	    cmocka_unit_test_setup_teardown(follows_an_editor_that_renames, setup, teardown),
	    cmocka_unit_test_setup_teardown(follows_the_links_of_a_mounted_config_map, setup, teardown),
	    cmocka_unit_test_setup_teardown(keeps_its_state_while_the_directory_is_away_and_finds_it_again, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(fifo_does_not_stop_it, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
