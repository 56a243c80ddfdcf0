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

static inline struct model_filter random_filter(struct model *m, struct prng *r, uint8_t kind, bool is_prefix)
{
	static const char *const names[] = {"X-A", "x-b", "Server", "Via"};
	struct model_filter f = {.kind = kind};
	struct model_header_op *ops = model_alloc(m, COUNT(names) * sizeof(*ops));

	if (kind == WEIR_FILTER_REQUEST_HEADERS || kind == WEIR_FILTER_RESPONSE_HEADERS) {
		f.n_ops = pick(r, COUNT(names) + 1);
		f.ops = ops;
		for (size_t i = 0; i < f.n_ops; i++) {
			ops[i] = (struct model_header_op){.kind = (uint8_t)(1 + pick(r, 3)), .name = names[i]};
			ops[i].value = ops[i].kind == WEIR_HEADER_REMOVE ? NULL : pick(r, 2) ? "one" : "two, three";
		}
		if (kind == WEIR_FILTER_REQUEST_HEADERS && pick(r, 3) == 0)
			f.host = "h.example:81";
	} else if (kind == WEIR_FILTER_MIRROR) {
		f.backend = (int32_t)pick(r, (uint32_t)m->n_backends);
		f.denominator = 1 + pick(r, 4);
		f.numerator = pick(r, f.denominator + 1);
	} else {
		f.host = pick(r, 2) ? "h.example" : NULL;
		f.path_change = (uint8_t)pick(r, is_prefix ? 3 : 2);
		if (f.path_change)
			f.path = f.path_change == WEIR_PATH_REPLACE ? "/full" : pick(r, 2) ? "/new" : "";
	}
	if (kind == WEIR_FILTER_REDIRECT) {
		f.status = pick(r, 2) ? 301 : 308;
		f.scheme = (uint8_t)pick(r, 3);
		f.port = pick(r, 2) ? 8443 : 0;
	}
	return f;
}

static inline struct model_filter random_cors(struct model *m, struct prng *r)
{
	static const char *const origins[] = {"*", "https://a.example", "https://*.example:8443"};
	struct model_header_op *ops = model_alloc(m, 6 * sizeof(*ops));
	struct model_filter f = {.kind = WEIR_FILTER_CORS, .ops = ops};

	for (uint32_t k = pick(r, COUNT(origins) + 1); k > 0; k--)
		ops[f.n_ops++] = (struct model_header_op){WEIR_CORS_ORIGIN, "", origins[pick(r, COUNT(origins))]};
	if (pick(r, 2))
		ops[f.n_ops++] = (struct model_header_op){WEIR_CORS_METHODS, "", "GET, PUT"};
	ops[f.n_ops++] = (struct model_header_op){WEIR_CORS_MAX_AGE, "", "5"};
	if (pick(r, 2))
		ops[f.n_ops++] = (struct model_header_op){WEIR_CORS_CREDENTIALS, "", "true"};
	return f;
}

/* Each kind once at most, a mirror twice; a redirect only if it is asked for. */
static inline struct model_filters random_filters(struct model *m, struct prng *r, bool is_prefix, bool is_redirect)
{
	struct model_filter *f = model_alloc(m, 6 * sizeof(*f));
	struct prng cors = *r; /* so that models stay what they are */
	size_t n = 0;

	if (pick(r, 2))
		f[n++] = random_filter(m, r, WEIR_FILTER_REQUEST_HEADERS, is_prefix);
	if (pick(r, 2))
		f[n++] = random_filter(m, r, WEIR_FILTER_RESPONSE_HEADERS, is_prefix);
	if (is_redirect)
		f[n++] = random_filter(m, r, WEIR_FILTER_REDIRECT, is_prefix);
	else if (pick(r, 2))
		f[n++] = random_filter(m, r, WEIR_FILTER_REWRITE, is_prefix);
	for (uint32_t k = is_redirect ? 0 : pick(r, 3); k > 0; k--)
		f[n++] = random_filter(m, r, WEIR_FILTER_MIRROR, is_prefix);
	if (pick(&cors, 3) == 0)
		f[n++] = random_cors(m, &cors);
	return (struct model_filters){n, f};
}

/* Some of the limits that rules and listeners may both have; by a generator of its own, so that models stay what they are. */
static inline struct weir_timeouts random_limits(struct prng at)
{
	struct prng *r = &at;

	return (struct weir_timeouts){.idle_ms = pick(r, 3), .body_bytes_per_s = pick(r, 2) ? WEIR_NO_LIMIT : pick(r, 100),
				      .first_byte_ms = pick(r, 2), .tunnel_life_ms = pick(r, 5)};
}

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
	if (pick(r, 3) == 0)
		x->action = WEIR_ACTION_REDIRECT;
	if (x->action == WEIR_ACTION_REDIRECT)
		x->n_splits = 0;
	if (x->action != WEIR_ACTION_STATUS && pick(r, 2))
		x->filters = random_filters(m, r, x->path_kind == WEIR_PATH_PREFIX, x->action == WEIR_ACTION_REDIRECT);
	else if (x->action == WEIR_ACTION_REDIRECT)
		x->action = WEIR_ACTION_FORWARD;
	for (size_t k = 0; k < x->n_splits; k++)
		if (x->splits[k].backend >= 0 && pick(r, 2))
			x->splits[k].filters = random_filters(m, r, x->path_kind == WEIR_PATH_PREFIX, pick(r, 4) == 0);
	x->kind = "HTTPRoute";
	x->ns = pick(r, 2) ? "n" : "n-a";
	x->name = model_printf(m, "r%u", i);
	x->created_s = (int64_t)pick(r, 3);
	x->rule_index = i;
	x->timeouts = random_limits(*r);
	x->timeouts.backend_ms = i % 2;
}

static inline void random_model(struct model *m, struct prng *r, uint32_t n_matches)
{
	static const struct model_balance balances[3] = {
		{.fixed = {.balance = WEIR_BALANCE_MAGLEV, .hash_on = WEIR_HASH_HEADER, .affinity = WEIR_AFFINITY_COOKIE,
			   .same_site = WEIR_SAME_SITE_LAX, .cookie_max_age_s = 60, .max_connections = 5, .max_requests = 7},
		 .hash_name = "x-user", .cookie_name = "node", .cookie_path = "/p"},
		{.fixed = {.balance = WEIR_BALANCE_LEAST_REQUEST, .slow_start_ms = 30000, .max_ejected_percent = 50, .eject_failures = 5,
			   .eject_base_ms = 1000, .eject_max_ms = 9000, .success_window_ms = 10000, .success_deviations = 1900,
			   .success_requests = 100}},
	};

	model_init(m);
	for (uint32_t i = 0; i < 3; i++) {
		struct model_listener *l = model_add_listener(m);

		l->port = i == 2 ? 81 : 80;
		l->proto = WEIR_PROTO_HTTP;
		l->host = model_listener_hosts[pick(r, COUNT(model_listener_hosts))];
		l->name = model_printf(m, "l%u", i);
		l->timeouts = random_limits(*r);
		l->timeouts.header_ms = i;
		if (i == 1 && pick(r, 2))
			l->addr.b[15] = 1;
	}
	for (uint32_t i = 0; i < 3; i++) {
		struct model_backend *b = model_add_backend(m);

		b->name = model_printf(m, "n/s%u:80", i);
		b->balance = balances[i];
	}
	for (uint32_t i = 0; i < n_matches; i++)
		random_match(m, r, i);
}

#endif
