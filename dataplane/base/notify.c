/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager's socket. See notify.h. */
#include "base/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fd = -1;
static uint64_t period_ms; /* 0: nobody waits for us */
static uint64_t next_ms;

static void connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t n = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || n >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, n);
	if (path[0] == '@') /* the abstract namespace */
		addr.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) != 0) {
		close(fd);
		fd = -1;
	}
}

void notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	const char *us = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (path)
		connect_to(path);
	if (fd >= 0 && us && (!pid || strtol(pid, NULL, 10) == (long)getpid()))
		period_ms = strtoull(us, NULL, 10) / 3000;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	if (fd < 0)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		(void)!send(fd, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int notify_alive(uint64_t now_ms)
{
	if (!period_ms)
		return -1;
	if (now_ms >= next_ms) {
		notify("WATCHDOG=1");
		next_ms = now_ms + period_ms;
	}
	return (int)(next_ms - now_ms);
}
