/* SPDX-License-Identifier: Apache-2.0 */
/* Which of Weir's workers owns a client's connection, on a port where no device says it. */
#ifndef BLAST_OWNER_H
#define BLAST_OWNER_H

#include "frame.h"

/* t: as the client sees it. The same as steer_owner() of dataplane/net/steer.h. */
unsigned owner_of(const struct tuple *t, unsigned n_workers);

#endif
