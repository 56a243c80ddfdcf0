/* SPDX-License-Identifier: Apache-2.0 */
/* Becoming another user, in a child of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "user.h"

static bool is_set(const char *name, const char *value)
{
	const char *is = getenv(name);

	return is && strcmp(is, value) == 0;
}

/* What is not as it should be; 0: nothing. */
static int become_nobody(void)
{
	const struct passwd *pw;

	setenv("HOME", "/root", 1);
	setenv("USER", "root", 1);
	setenv("LOGNAME", "root", 1);
	setenv("XDG_CONFIG_HOME", "/root/.config", 1);
	setenv("XDG_CACHE_HOME", "/root/.cache", 1);
	setenv("XDG_RUNTIME_DIR", "/run/user/0", 1);
	setenv("AWS_PROFILE", "weir", 1);
	if (user_become("nobody") != 0)
		return 1;
	pw = getpwnam("nobody");
	if (getuid() != pw->pw_uid || geteuid() != pw->pw_uid || getgid() != pw->pw_gid || getgroups(0, NULL) != 0)
		return 2;
	if (!is_set("HOME", pw->pw_dir) || !is_set("USER", "nobody") || !is_set("LOGNAME", "nobody"))
		return 3;
	if (getenv("XDG_CONFIG_HOME") || getenv("XDG_CACHE_HOME") || getenv("XDG_RUNTIME_DIR"))
		return 4;
	return is_set("AWS_PROFILE", "weir") ? 0 : 5; /* what the operator gave us stays */
}

static void another_user_has_his_own_environment(void **state)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0)
		_exit(become_nobody());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void who_we_are_already_keeps_what_he_has(void **state)
{
	const struct passwd *pw = getpwuid(geteuid());

	if (!pw)
		skip();
	setenv("HOME", "/elsewhere", 1);
	assert_int_equal(user_become(pw->pw_name), 0);
	assert_true(is_set("HOME", "/elsewhere"));
}

static void unknown_user_is_refused(void **state)
{
	assert_true(user_become("no-such-user-here") < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(another_user_has_his_own_environment),
	    cmocka_unit_test(who_we_are_already_keeps_what_he_has),
	    cmocka_unit_test(unknown_user_is_refused),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
