/* SPDX-License-Identifier: Apache-2.0 */
/* Random small models over few names, so that matches overlap in every way; the same seed gives the same model. */
#ifndef TESTS_RANDOM_MODEL_H
#define TESTS_RANDOM_MODEL_H

#include "translate/model.h"

struct prng {
	uint64_t s;
};

static inline uint32_t pick(struct prng *r, uint32_t n)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) % n);
}

static const char *const model_hosts[] = {"", "a.example", "b.example", "*.example", "x.a.example", "*.a.example", "*.x.a.example"};
static const char *const model_paths[] = {"/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/b"};
static const char *const model_methods[] = {"", "", "GET", "POST"};
static const char *const model_listener_hosts[] = {"", "", "*.example", "a.example"};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static inline void random_match(struct model *m, struct prng *r, uint32_t i)
{
	struct model_match *x = model_add_match(m);

	x->listener = pick(r, (uint32_t)m->n_listeners);
	x->host = model_hosts[pick(r, COUNT(model_hosts))];
	x->host_one_label = pick(r, 2);
	x->path_kind = pick(r, 3) ? WEIR_PATH_PREFIX : WEIR_PATH_EXACT;
	x->path = model_paths[pick(r, COUNT(model_paths))];
	x->method = model_methods[pick(r, COUNT(model_methods))];
	x->n_conds = pick(r, 4) ? 0 : 1 + pick(r, 2);
	x->conds = model_alloc(m, 2 * sizeof(*x->conds));
	for (size_t k = 0; k < x->n_conds; k++)
		x->conds[k] = (struct model_cond){.kind = (uint8_t)(1 + pick(r, 2)), .name = pick(r, 2) ? "k" : "j",
						  .value = pick(r, 2) ? "v" : "w"};
	x->action = pick(r, 8) ? WEIR_ACTION_FORWARD : WEIR_ACTION_STATUS;
	x->status = 503;
	x->n_splits = pick(r, 3);
	x->splits = model_alloc(m, 2 * sizeof(*x->splits));
	for (size_t k = 0; k < x->n_splits; k++)
		x->splits[k] = (struct model_split){.backend = (int32_t)pick(r, (uint32_t)m->n_backends + 1) - 1, .weight = pick(r, 4)};
	x->kind = "HTTPRoute";
	x->ns = pick(r, 2) ? "n" : "o";
	x->name = model_printf(m, "r%u", i);
	x->created_s = (int64_t)pick(r, 3);
	x->rule_index = i;
}

static inline void random_model(struct model *m, struct prng *r, uint32_t n_matches)
{
	model_init(m);
	for (uint32_t i = 0; i < 3; i++) {
		struct model_listener *l = model_add_listener(m);

		l->port = i == 2 ? 81 : 80;
		l->proto = WEIR_PROTO_HTTP;
		l->host = model_listener_hosts[pick(r, COUNT(model_listener_hosts))];
		l->name = model_printf(m, "l%u", i);
		if (i == 1 && pick(r, 2))
			l->addr.b[15] = 1;
	}
	for (uint32_t i = 0; i < 3; i++) {
		struct model_backend *b = model_add_backend(m);

		b->name = model_printf(m, "n/s%u:80", i);
		b->proto = WEIR_PROTO_HTTP;
	}
	for (uint32_t i = 0; i < n_matches; i++)
		random_match(m, r, i);
}

#endif
