/* SPDX-License-Identifier: Apache-2.0 */
/* The capture token's file: made by weir-ctrl, read by weirctl. */
#include "token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES (TOKEN_CHARS + 1)

static char *path_beside(const char *socket)
{
	const char *slash = strrchr(socket, '/');
	char *path;

	return asprintf(&path, "%.*s" TOKEN_FILE, slash ? (int)(slash - socket) + 1 : 0, socket) < 0 ? NULL : path;
}

static int make_text(char text[TOKEN_CHARS + 1])
{
	unsigned char bytes[TOKEN_BYTES];

	/* So few bytes come whole, and no signal interrupts them (getrandom(2)). */
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	for (unsigned i = 0; i < TOKEN_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}

/* Is it a file of ours, whole or cut short? Only then may it go. */
static bool has_token(const char *path, off_t size)
{
	char line[FILE_BYTES];
	ssize_t n;
	int fd;

	if (size > (off_t)FILE_BYTES)
		return false;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	n = read(fd, line, sizeof(line));
	close(fd);
	if (n < 0)
		return false;
	if (n == (ssize_t)FILE_BYTES && line[--n] != '\n')
		return false;
	for (ssize_t i = 0; i < n; i++)
		if (!memchr("0123456789abcdef", line[i], 16))
			return false;
	return true;
}

/* Room for a new file: what a weir-ctrl before left, whole or cut, and a link go; whatever else was named by mistake stays. */
static int make_room(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISLNK(st.st_mode) && (!S_ISREG(st.st_mode) || !has_token(path, st.st_size)))
		return -EEXIST;
	return unlink(path) == 0 ? 0 : -errno;
}

/* A new file only: one that is there may be open to others, or lead elsewhere. A descriptor, or -errno. */
static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), err = 0;
	char line[FILE_BYTES + 1];
	ssize_t n;

	if (fd < 0)
		return -errno;
	snprintf(line, sizeof(line), "%s\n", text);
	n = write(fd, line, FILE_BYTES);
	if (n != (ssize_t)FILE_BYTES)
		err = n < 0 ? -errno : -ENOSPC;
	else if (fchmod(fd, 0600) != 0) /* whatever the umask */
		err = -errno;
	explicit_bzero(line, sizeof(line));
	if (!err)
		return fd;
	unlink(path);
	close(fd);
	return err;
}

int token_create(struct token *t, const char *path, const char *socket)
{
	*t = (struct token){.path = path ? strdup(path) : path_beside(socket), .fd = -1};
	t->err = t->path ? make_room(t->path) : -ENOMEM;
	if (!t->err)
		t->err = make_text(t->text);
	if (!t->err)
		t->fd = write_file(t->path, t->text);
	if (!t->err && t->fd < 0)
		t->err = t->fd;
	if (t->err)
		explicit_bzero(t->text, sizeof(t->text));
	return t->err;
}

void token_destroy(struct token *t)
{
	struct stat ours, there;

	/* Another weir-ctrl may have put its own there since. */
	if (!t->err && fstat(t->fd, &ours) == 0 && lstat(t->path, &there) == 0 && ours.st_dev == there.st_dev &&
	    ours.st_ino == there.st_ino)
		unlink(t->path); /* may fail: the folder is that of who started us */
	if (t->fd >= 0)
		close(t->fd);
	explicit_bzero(t->text, sizeof(t->text));
	free(t->path);
	*t = (struct token){.err = -ENOENT, .fd = -1};
}

bool token_is(const struct token *t, const char *text)
{
	volatile unsigned char differs = 0; /* volatile: no compiler may end the loop early */

	if (t->err || strnlen(text, TOKEN_CHARS + 1) != TOKEN_CHARS)
		return false;
	for (unsigned i = 0; i < TOKEN_CHARS; i++)
		differs |= (unsigned char)(t->text[i] ^ text[i]);
	return differs == 0;
}

int token_read(const char *path, char text[TOKEN_CHARS + 1])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
	char line[FILE_BYTES + 1];
	ssize_t n;
	int err = 0;

	if (fd < 0)
		return -errno;
	n = read(fd, line, sizeof(line));
	if (n < 0)
		err = -errno;
	else if (n != (ssize_t)FILE_BYTES || line[TOKEN_CHARS] != '\n')
		err = -EINVAL;
	close(fd);
	if (err)
		return err;
	line[TOKEN_CHARS] = 0;
	if (strspn(line, "0123456789abcdef") != TOKEN_CHARS)
		return -EINVAL; /* not to be sent anywhere: it is some other file of the reader's */
	memcpy(text, line, TOKEN_CHARS + 1);
	return 0;
}
