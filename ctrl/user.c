/* SPDX-License-Identifier: Apache-2.0 */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Folders of who started us, by the XDG Base Directory Specification. */
static void forget_folders(void)
{
	char name[64];

	for (char **e = environ; e && *e;) {
		size_t n = strcspn(*e, "=");

		if (strncmp(*e, "XDG_", 4) != 0 || n >= sizeof(name)) {
			e++;
			continue;
		}
		memcpy(name, *e, n);
		name[n] = 0;
		unsetenv(name); /* the next one is here then */
	}
}

static int take_environment(const struct passwd *pw)
{
	forget_folders();
	if (setenv("HOME", pw->pw_dir, 1) != 0 || setenv("USER", pw->pw_name, 1) != 0 || setenv("LOGNAME", pw->pw_name, 1) != 0 ||
	    setenv("SHELL", pw->pw_shell, 1) != 0)
		return -ENOMEM;
	return 0;
}

int user_become(const char *name)
{
	const struct passwd *pw = getpwnam(name);
	int err;

	if (!pw) {
		log_error("user %s is not known", name);
		return -ENOENT;
	}
	if (geteuid() == pw->pw_uid)
		return 0;
	if (setgroups(0, NULL) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		err = -errno;
	else
		err = take_environment(pw);
	if (err)
		log_error("cannot become user %s: %s", name, strerror(-err));
	return err;
}
