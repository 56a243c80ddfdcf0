/* SPDX-License-Identifier: Apache-2.0 */
/* The eventfd behind wake.h. */
#include "base/wake.h"

#include <errno.h>
#include <sys/eventfd.h>

int wake_init(struct wake *w)
{
	w->is_asleep = 0;
	w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return w->fd < 0 ? -errno : 0;
}

void wake_fini(struct wake *w)
{
	if (w->fd > 0)
		close(w->fd);
	w->fd = 0;
}

void wake_take(struct wake *w)
{
	uint64_t n;

	(void)!read(w->fd, &n, sizeof(n));
}
