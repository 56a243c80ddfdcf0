/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program tells the service manager that started it: sd_notify(3)'s protocol, datagrams to the socket that
 * NOTIFY_SOCKET names. Without that variable nothing is done.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <stdint.h>

/*
 * Opens the way, and takes the variables out of the environment, so that programs that this one starts do not speak
 * for it. Once, early: before rights are given up.
 */
void notify_open(void);
/* One message, such as "READY=1\nSTATUS=serves". What cannot be sent is not sent. */
void notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/*
 * The program's main loop goes round, and all is well: tells so when a third of the time that the manager waits for it
 * (WatchdogSec=) has passed since the last time. now_ms: of any monotonic clock. Returns the milliseconds until the next call is due; -1: never.
 */
int notify_alive(uint64_t now_ms);

#endif
