/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capture token: a secret in a file that only who started weir-ctrl (and
 * root) can read. Packets are other people's, and any user of the machine
 * reaches the admin address: who sends the token has shown that the file is
 * open to him. weir-ctrl makes a new one at each start; weirctl reads it.
 */
#ifndef CTRL_TOKEN_H
#define CTRL_TOKEN_H

#include <stdbool.h>

#define TOKEN_FILE "capture.token"		/* in the folder of the control socket, if nothing else is said */
#define TOKEN_DEFAULT "/run/weir/" TOKEN_FILE	/* where that is by default */
#define TOKEN_BYTES 32u				/* of getrandom(2) */
#define TOKEN_CHARS (2 * TOKEN_BYTES)		/* lower-case hex; in the file a newline follows */

struct token {
	char *path;
	int err; /* 0; else -errno: why there is none */
	char text[TOKEN_CHARS + 1];
	int fd; /* the file that was made: while it is open, no other one has its inode's number */
};

/*
 * Makes a secret and writes it to path, mode 0600, in place of what a weir-ctrl
 * before left there; a larger file, or what is no file, is somebody else's and
 * stays (-EEXIST). path NULL: TOKEN_FILE beside the socket. To be called
 * before weir-ctrl becomes another user. 0 or -errno, which it keeps:
 * without a token token_is() takes nothing.
 */
int token_create(struct token *t, const char *path, const char *socket);
/* Removes the file, if it is still ours and the folder allows it, and forgets the secret. */
void token_destroy(struct token *t);
/* True if text is the token. The time it takes does not depend on what is wrong with it. */
bool token_is(const struct token *t, const char *text);

/* weirctl's side: 0, -errno, or -EINVAL if what path has is no token. */
int token_read(const char *path, char text[TOKEN_CHARS + 1]);

#endif
