/* SPDX-License-Identifier: Apache-2.0 */
/* A record of the access log as a line of JSON: docs/access-log.md. */
#ifndef CTRL_LOG_LINE_H
#define CTRL_LOG_LINE_H

#include "base/buf.h"
#include "weir/accesslog.h"

#define LOG_LINE_MAX 8192u /* bytes of a line at most: each byte of the texts as \u00XX, and the rest */

/* Appends the line, newline included, to out, which has room for LOG_LINE_MAX bytes. The lengths were checked. */
void log_line_write(struct buf *out, const struct weir_log_record *r, unsigned worker);

#endif
