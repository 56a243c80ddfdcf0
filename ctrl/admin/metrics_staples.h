/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ADMIN_METRICS_STAPLES_H
#define ADMIN_METRICS_STAPLES_H

#include <stdio.h>

#include "stapling.h"

void metrics_staples(FILE *f, const struct stapling *x);

#endif
