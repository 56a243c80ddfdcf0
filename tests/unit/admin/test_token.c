/* SPDX-License-Identifier: Apache-2.0 */
/* The capture token on a real file system: what it replaces, who can read it, what is taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "token.h"

#define NOBODY 65534u

struct fixture {
	char dir[64];
	char path[96];	/* of the token */
	char other[96]; /* of another file */
};

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/weir-tk-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(chmod(f->dir, 0755), 0);
	snprintf(f->path, sizeof(f->path), "%s/t", f->dir);
	snprintf(f->other, sizeof(f->other), "%s/other", f->dir);
	*state = f;
	return 0;
}

static int finish(void **state)
{
	struct fixture *f = *state;
	int rc;

	unlink(f->path);
	unlink(f->other);
	rc = rmdir(f->dir); /* nothing else is there */
	free(f);
	return rc;
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void expect_content(const char *path, const char *text)
{
	char got[256] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_true(fread(got, 1, sizeof(got) - 1, f) > 0);
	fclose(f);
	assert_string_equal(got, text);
}

static void each_start_has_a_token_of_its_own_that_is_read_back(void **state)
{
	const struct fixture *f = *state;
	char first[TOKEN_CHARS + 1], second[TOKEN_CHARS + 1];
	struct token t;

	assert_int_equal(token_create(&t, f->path, "unused"), 0);
	assert_int_equal(token_read(f->path, first), 0);
	assert_true(token_is(&t, first));
	token_destroy(&t);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(token_create(&t, f->path, "unused"), 0);
	assert_int_equal(token_read(f->path, second), 0);
	assert_true(token_is(&t, second));
	assert_false(token_is(&t, first));
	assert_int_equal(strlen(second), 64);
	token_destroy(&t);
}

static void only_the_whole_token_is_taken(void **state)
{
	const struct fixture *f = *state;
	char text[TOKEN_CHARS + 2] = "";
	struct token t;

	assert_int_equal(token_create(&t, f->path, "unused"), 0);
	assert_false(token_is(&t, ""));
	for (unsigned i = 0; i < TOKEN_CHARS; i++) {
		strcpy(text, t.text);
		text[i] = text[i] == '0' ? '1' : '0';
		assert_false(token_is(&t, text)); /* one wrong, wherever */
		strcpy(text, t.text);
		text[i] = 0;
		assert_false(token_is(&t, text)); /* a part */
	}
	snprintf(text, sizeof(text), "%s0", t.text);
	assert_false(token_is(&t, text));
	snprintf(text, sizeof(text), " %.63s", t.text);
	assert_false(token_is(&t, text));
	assert_true(token_is(&t, t.text));
	token_destroy(&t);
	assert_false(token_is(&t, ""));
}

/* As another user: 0, or errno of opening it. */
static int open_as_nobody(const char *path)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
			_exit(255);
		_exit(open(path, O_RDONLY) >= 0 ? 0 : errno);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void other_users_cannot_read_it(void **state)
{
	const struct fixture *f = *state;
	mode_t old = umask(0);
	struct token t;
	struct stat st;
	char byte;
	int fd;

	/* Left by somebody, open to all, and held open by him: the token does not go into that file. */
	put(f->path, "");
	assert_int_equal(chmod(f->path, 0666), 0);
	fd = open(f->path, O_RDWR);
	assert_int_equal(token_create(&t, f->path, "unused"), 0);
	umask(old);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
	if (geteuid() == 0)
		assert_int_equal(open_as_nobody(f->path), EACCES);
	token_destroy(&t);
}

static void a_link_is_replaced_and_not_followed(void **state)
{
	const struct fixture *f = *state;
	struct token t;
	struct stat st;

	put(f->other, "precious");
	assert_int_equal(symlink(f->other, f->path), 0);
	assert_int_equal(token_create(&t, f->path, "unused"), 0);
	expect_content(f->other, "precious");
	assert_int_equal(lstat(f->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	token_destroy(&t);
	expect_content(f->other, "precious");
}

static void what_a_crash_left_is_replaced(void **state)
{
	const struct fixture *f = *state;
	char text[TOKEN_CHARS + 1];
	struct token crashed, t;

	assert_int_equal(token_create(&crashed, f->path, "unused"), 0);
	assert_int_equal(token_create(&t, f->path, "unused"), 0);
	assert_int_equal(token_read(f->path, text), 0);
	assert_true(token_is(&t, text));
	assert_false(token_is(&crashed, text));
	/* The one before goes late: it takes nothing from its successor. */
	token_destroy(&crashed);
	assert_int_equal(token_read(f->path, text), 0);
	token_destroy(&t);
}

static void a_file_that_is_no_token_stays(void **state)
{
	const struct fixture *f = *state;
	static const char text[] = "a file of more bytes than a token has, which was named by a slip of the operator's hand";
	struct token t;

	put(f->path, text);
	assert_int_equal(token_create(&t, f->path, "unused"), -EEXIST);
	assert_false(token_is(&t, ""));
	token_destroy(&t);
	expect_content(f->path, text);
	assert_int_equal(unlink(f->path), 0);
	put(f->path, "a short note");
	assert_int_equal(token_create(&t, f->path, "unused"), -EEXIST);
	token_destroy(&t);
	expect_content(f->path, "a short note");
	assert_int_equal(token_create(&t, f->dir, "unused"), -EEXIST);
	token_destroy(&t);
}

static void without_a_file_there_is_no_token(void **state)
{
	const struct fixture *f = *state;
	static const char zeros[TOKEN_CHARS + 1] = "0000000000000000000000000000000000000000000000000000000000000000";
	char missing[128];
	struct token t;

	snprintf(missing, sizeof(missing), "%s/no/t", f->dir);
	assert_int_equal(token_create(&t, missing, "unused"), -ENOENT);
	assert_int_equal(t.err, -ENOENT);
	assert_string_equal(t.path, missing);
	assert_false(token_is(&t, ""));
	assert_false(token_is(&t, zeros));
	token_destroy(&t);
}

static void it_lies_beside_the_socket(void **state)
{
	struct token t;

	assert_string_equal(TOKEN_DEFAULT, "/run/weir/capture.token"); /* weirctl's; weir-ctrl's socket is there by default */
	token_create(&t, NULL, "/nonexistent/run/dataplane.sock");
	assert_string_equal(t.path, "/nonexistent/run/capture.token");
	token_destroy(&t);
}

static void what_is_no_token_is_not_read_as_one(void **state)
{
	const struct fixture *f = *state;
	char good[TOKEN_CHARS + 2] = "", text[TOKEN_CHARS + 1], wrong[TOKEN_CHARS + 8];

	memset(good, 'a', TOKEN_CHARS);
	good[TOKEN_CHARS] = '\n';
	put(f->path, good);
	assert_int_equal(token_read(f->path, text), 0);
	put(f->path, "");
	assert_int_equal(token_read(f->path, text), -EINVAL);
	put(f->path, good + 1);
	assert_int_equal(token_read(f->path, text), -EINVAL);
	snprintf(wrong, sizeof(wrong), "%s\n", good);
	put(f->path, wrong);
	assert_int_equal(token_read(f->path, text), -EINVAL);
	good[10] = '\r'; /* would be a field of its own in a request */
	put(f->path, good);
	assert_int_equal(token_read(f->path, text), -EINVAL);
	good[10] = 'A';
	put(f->path, good);
	assert_int_equal(token_read(f->path, text), -EINVAL);
	assert_int_equal(token_read(f->other, text), -ENOENT);
	assert_int_equal(token_read(f->dir, text), -EISDIR);
	unlink(f->path);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(token_read(f->path, text), -EINVAL); /* and at once */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(each_start_has_a_token_of_its_own_that_is_read_back, begin, finish),
	    cmocka_unit_test_setup_teardown(only_the_whole_token_is_taken, begin, finish),
	    cmocka_unit_test_setup_teardown(other_users_cannot_read_it, begin, finish),
	    cmocka_unit_test_setup_teardown(a_link_is_replaced_and_not_followed, begin, finish),
	    cmocka_unit_test_setup_teardown(what_a_crash_left_is_replaced, begin, finish),
	    cmocka_unit_test_setup_teardown(a_file_that_is_no_token_stays, begin, finish),
	    cmocka_unit_test_setup_teardown(without_a_file_there_is_no_token, begin, finish),
	    cmocka_unit_test(it_lies_beside_the_socket),
	    cmocka_unit_test_setup_teardown(what_is_no_token_is_not_read_as_one, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
