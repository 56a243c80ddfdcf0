/* SPDX-License-Identifier: Apache-2.0 */
/* The device that TLS gives private-key operations to: opened before the workers, closed behind them, and watched. */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "start.h"
#include "tls/offload.h"

static const char *device_name(const struct offload_config *c)
{
	return c->kind == OFFLOAD_ENGINE ? c->engine_id : c->provider;
}

/* What weirctl tls shows. */
static void describe(struct dataplane *d, const char *why)
{
	const struct offload_config *c = &d->config.offload;
	struct weir_tls_info *info = ctl_stats_tls(d->stats);

	offload_describe_openssl(info->openssl, sizeof(info->openssl), info->groups, sizeof(info->groups), info->no_hybrid,
				 sizeof(info->no_hybrid));
	snprintf(info->offload_kind, sizeof(info->offload_kind), "%s", offload_kind_name(d->offload ? c->kind : OFFLOAD_SOFTWARE));
	snprintf(info->offload_name, sizeof(info->offload_name), "%s", d->offload ? device_name(c) : "");
	snprintf(info->offload_why, sizeof(info->offload_why), "%s", why);
	info->offload_jobs = d->offload ? c->n_jobs : 0;
	info->offload_timeout_ms = d->offload ? c->timeout_ms : 0;
}

int start_offload(struct dataplane *d)
{
	const struct offload_config *c = &d->config.offload;
	char why[sizeof(((struct weir_tls_info *)0)->offload_why)] = "";

	if (c->kind != OFFLOAD_SOFTWARE)
		d->offload = offload_open(c, why, sizeof(why));
	if (d->offload) {
		log_info("tls: offload: %s %s, %u jobs for each worker", offload_kind_name(c->kind), device_name(c), c->n_jobs);
		why[0] = 0;
	} else if (c->kind != OFFLOAD_SOFTWARE && c->required) {
		log_error("tls: offload: %s (required: false goes without)", why);
		return -ENODEV;
	} else if (c->kind != OFFLOAD_SOFTWARE) {
		log_warn("tls: offload: %s; handshakes are done in software", why);
	}
	describe(d, why);
	return 0;
}

void stop_offload(struct dataplane *d)
{
	offload_close(d->offload);
	d->offload = NULL;
}

void dataplane_update_offload(struct dataplane *d)
{
	for (unsigned i = 0; d->offload && i < d->config.n_workers; i++) {
		const struct weir_worker_stats *w = ctl_stats_worker(d->stats, i);
		bool is_up = __atomic_load_n(&w->gauge[WEIR_G_TLS_OFFLOAD_UP], __ATOMIC_RELAXED) != 0;

		if (is_up == !d->is_offload_down[i])
			continue;
		d->is_offload_down[i] = !is_up;
		if (is_up)
			log_info("tls: offload: worker %u: %s lives again; handshakes are given to it", i, device_name(&d->config.offload));
		else
			log_warn("tls: offload: worker %u: %s does not answer, or fails; handshakes are done in software, and it is tried "
				 "again in %u ms", i, device_name(&d->config.offload), d->config.offload.retry_ms);
	}
}
