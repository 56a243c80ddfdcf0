/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines on stderr: "LEVEL program: text". For start-up, the main lcore
 * and weir-ctrl; never in a worker's loop.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Name at the head of each line, and the level up to which lines are written. program must live on. */
void log_init(const char *program, enum log_level level);

/* One line; no newline needed in fmt. Thread safe (one write(2) a line). */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
