/* SPDX-License-Identifier: Apache-2.0 */
/* Who weir-ctrl runs as. */
#ifndef CTRL_USER_H
#define CTRL_USER_H

/*
 * Becomes the user of this name, for good, with his group and no other, and
 * with his environment: HOME, USER, LOGNAME and SHELL as passwd(5) has them,
 * no XDG_*. What is started later (a credential plugin) would else look for its
 * configuration where he may not read, or in that of another. Nothing is done
 * if we are that user already. 0, or -errno after logging.
 */
int user_become(const char *name) __attribute__((warn_unused_result));

#endif
