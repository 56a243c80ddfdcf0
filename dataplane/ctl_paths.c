/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to pods: those of weir.yaml, of weir-ctrl and of the host's kernel make
 * one forwarding table, which all workers read. Where two have the same prefix
 * the first of them counts. weir-ctrl's stay when it goes, until it sends
 * others. A table is freed when every worker has a later one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ctl_pvt.h"
#include "snapshot/snapshot.h"

#define PATHS_MAX_BYTES (sizeof(struct weir_paths) + WEIR_MAX_PATHS * sizeof(struct weir_pod_path))

/* What a table is being made of. */
struct parts {
	size_t n;
	struct fib_route *routes;
	struct fib_hop *hops; /* one for each of those that are not the kernel's */
	unsigned n_vteps;
	struct weir_vtep vteps[FIB_MAX_VTEPS];
};

static void add_vteps(struct parts *p, const struct weir_vtep vtep[2], uint8_t index[2])
{
	for (unsigned f = 0; f < 2; f++)
		if (paths_has_vtep(&vtep[f])) {
			index[f] = (uint8_t)p->n_vteps;
			p->vteps[p->n_vteps++] = vtep[f];
		}
}

static void add_paths(struct parts *p, const struct weir_pod_path *paths, size_t n, const struct weir_vtep vtep[2])
{
	uint8_t index[2] = {0, 0};

	add_vteps(p, vtep, index);
	for (size_t i = 0; i < n; i++, p->n++) {
		struct fib_hop *h = &p->hops[p->n];

		*h = (struct fib_hop){.via = paths[i].via, .kind = paths[i].kind, .iface = FIB_ANY_IFACE};
		h->vtep = index[ip_is4(&paths[i].prefix) ? 0 : 1];
		memcpy(h->mac, paths[i].mac, sizeof(h->mac));
		p->routes[p->n] = (struct fib_route){.prefix = paths[i].prefix, .len = paths[i].prefix_len, .n_hops = 1, .hops = h};
	}
}

/*
 * Of all sources, but with these of weir-ctrl. Nothing goes by former ends, but what comes to them is taken: connections
 * that began there go on by other ways, and their answers come as before. NULL: there is no memory.
 */
static struct fib *make_fib(const struct ctl *c, const struct weir_paths *sent, const struct weir_vtep former[2])
{
	const struct ctl_paths *all = &c->paths;
	size_t n_paths = all->n_fixed + (sent ? sent->n_paths : 0);
	size_t n = n_paths + all->n_kernels;
	struct parts p = {.routes = calloc(n + 1, sizeof(*p.routes)), .hops = calloc(n_paths + 1, sizeof(*p.hops))};
	uint8_t unused[2];
	struct fib *f = NULL;

	if (p.routes && p.hops) {
		add_paths(&p, all->fixed, all->n_fixed, all->fixed_vtep);
		if (sent)
			add_paths(&p, (const struct weir_pod_path *)(sent + 1), sent->n_paths, sent->vtep);
		add_vteps(&p, former, unused);
		for (size_t i = 0; i < all->n_kernels; i++)
			p.routes[p.n++] = all->kernels[i];
		f = fib_create(p.routes, p.n, p.vteps, p.n_vteps);
	}
	free(p.routes);
	free(p.hops);
	return f;
}

static void set_due(struct ctl *c, struct fib *f)
{
	fib_destroy(c->paths.due);
	c->paths.due = f;
	c->paths.is_due = true;
	__atomic_store_n(&c->stats->n_paths, (uint32_t)fib_n_entries(f), __ATOMIC_RELAXED);
}

int ctl_paths_init(struct ctl *c, const struct ctl_config *config)
{
	struct fib *f;

	c->paths.fixed = config->paths;
	c->paths.n_fixed = config->n_paths;
	memcpy(c->paths.fixed_vtep, config->vtep, sizeof(config->vtep));
	if (!config->n_paths)
		return 0;
	f = make_fib(c, NULL, c->paths.former_vtep);
	if (!f)
		return -ENOMEM;
	set_due(c, f); /* the workers have it before their first packet: it waits in their rings */
	(void)ctl_paths_poll(c);
	return 0;
}

void ctl_paths_fini(struct ctl *c)
{
	fib_destroy(c->paths.due);
	fib_destroy(c->paths.current);
	fib_destroy(c->paths.former);
	free(c->paths.sent);
	free(c->paths.kernels);
}

void ctl_paths_taken(struct ctl *c, const struct fib *former)
{
	struct ctl_paths *p = &c->paths;

	if (p->n_untaken == 0 || former != p->former) {
		log_error("control: a worker gives back a forwarding table that it was not given");
		return;
	}
	if (--p->n_untaken > 0)
		return;
	fib_destroy(p->former);
	p->former = NULL;
}

bool ctl_paths_poll(struct ctl *c)
{
	struct ctl_paths *p = &c->paths;

	if (p->n_untaken > 0)
		return true;
	if (!p->is_due)
		return false;
	p->former = p->current;
	p->current = p->due;
	p->due = NULL;
	p->is_due = false;
	p->n_untaken = c->n_workers;
	for (unsigned i = 0; i < c->n_workers; i++) {
		const struct worker_msg m = {.type = WORKER_FIB, .worker = i, .ptr = p->current};

		ctl_worker_send(&c->workers[i], &m);
	}
	return true;
}

int ctl_set_kernel_routes(struct ctl *c, const struct fib_route *routes, size_t n)
{
	const struct ctl_paths before = c->paths;
	struct fib_hop *hops;
	size_t n_hops = 0;
	struct fib *f;

	for (size_t i = 0; i < n; i++)
		n_hops += routes[i].n_hops;
	c->paths.n_kernels = n;
	c->paths.kernels = calloc(1, n * sizeof(*routes) + n_hops * sizeof(*hops) + 1);
	if (!c->paths.kernels) {
		c->paths = before;
		return -ENOMEM;
	}
	hops = (struct fib_hop *)(c->paths.kernels + n);
	for (size_t i = 0; i < n; i++) {
		memcpy(hops, routes[i].hops, routes[i].n_hops * sizeof(*hops));
		c->paths.kernels[i] = routes[i];
		c->paths.kernels[i].hops = hops;
		hops += routes[i].n_hops;
	}
	f = make_fib(c, c->paths.sent, c->paths.former_vtep);
	if (!f) {
		free(c->paths.kernels);
		c->paths = before;
		return -ENOMEM;
	}
	free(before.kernels);
	set_due(c, f);
	return 0;
}

/* -- from weir-ctrl */

/* Those that the new set has not any more, or the former ones still. */
static void find_former(const struct ctl *c, const struct weir_paths *in, struct weir_vtep former[2])
{
	const struct weir_paths *sent = c->paths.sent;

	for (unsigned f = 0; f < 2; f++) {
		bool is_other = sent && paths_has_vtep(&sent->vtep[f]) && memcmp(&sent->vtep[f], &in->vtep[f], sizeof(in->vtep[f])) != 0;

		former[f] = is_other ? sent->vtep[f] : c->paths.former_vtep[f];
	}
}

static void say(const struct weir_paths *s)
{
	log_info("control: %u ways to pods, tunnels for IPv4: %s, IPv6: %s", s->n_paths, paths_has_vtep(&s->vtep[0]) ? "yes" : "no",
		 paths_has_vtep(&s->vtep[1]) ? "yes" : "no");
}

static enum weir_refusal read_blob(struct ctl *c, const struct weir_msg *m, struct snapshot_error *err)
{
	struct weir_vtep former[2];
	struct weir_paths *in;
	enum weir_refusal r;
	struct fib *f = NULL;

	if (m->size > PATHS_MAX_BYTES)
		return WEIR_REFUSED_TOO_BIG;
	if (!ctl_is_in_arena(c, m))
		return WEIR_REFUSED_BAD_PLACE;
	if (m->size < sizeof(*in))
		return WEIR_REFUSED_TRUNCATED;
	in = malloc(m->size);
	if (!in)
		return WEIR_REFUSED_NO_MEMORY;
	memcpy(in, c->conn.arena + m->off, m->size);
	r = paths_check(in, m->size, err);
	if (r == WEIR_REFUSED_OK) {
		find_former(c, in, former);
		f = make_fib(c, in, former);
		r = f ? r : WEIR_REFUSED_NO_MEMORY;
	}
	if (r != WEIR_REFUSED_OK) {
		free(in);
		return r;
	}
	free(c->paths.sent);
	c->paths.sent = in;
	memcpy(c->paths.former_vtep, former, sizeof(former));
	say(in);
	set_due(c, f);
	return WEIR_REFUSED_OK;
}

void ctl_paths_take(struct ctl *c, const struct weir_msg *m)
{
	struct snapshot_error err = {.text = ""};
	enum weir_refusal r = read_blob(c, m, &err);

	*(r ? &c->stats->paths_refused : &c->stats->paths_taken) += 1;
	ctl_blob_answer(c, m, r, "set of ways to pods", err.text);
}
