/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CA certificates of the machine: one file in PEM, which its owner replaces
 * from time to time (ca-certificates(7) and the like). It is read again when it
 * is seen to be another one.
 */
#ifndef CTRL_SYSTEM_CA_H
#define CTRL_SYSTEM_CA_H

#include <stdbool.h>

struct certificate;
struct system_ca;

/* path: NULL: where OpenSSL looks for it, or else distributions have it. Nothing is read yet. Ends the process without memory. */
struct system_ca *system_ca_create(const char *path);
void system_ca_destroy(struct system_ca *s);
/* Looks at the file, and reads it if it is another one than before. True if what came of that is another thing. */
bool system_ca_look(struct system_ca *s);
/* Valid until the next look; NULL: there are none, and system_ca_fault() says why. */
const struct certificate *system_ca_trust(const struct system_ca *s);
const char *system_ca_fault(const struct system_ca *s);

#endif
