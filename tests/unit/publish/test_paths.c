/* SPDX-License-Identifier: Apache-2.0 */
/* How ways to pods get to a dataplane, which the test plays: from Nodes as an API server gives them, when, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rig.h"

#include "kube/json.h"
#include "pathing.h"
#include "paths/blob.h"
#include "saved.h"

#define CLASS \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weir}\n" \
	"spec: {controllerName: weir.dev/ingress-controller}\n---\n"
#define GATEWAY(port) \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\nspec:\n  gatewayClassName: weir\n" \
	"  listeners: [{name: p, port: " port ", protocol: HTTP}]\n---\n"
/* As a kubelet writes it; %s: name, resourceVersion, podCIDR, InternalIP, time of the heartbeat. */
#define NODE \
	"{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"%s\",\"labels\":{\"a\":\"b\"}," \
	"\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"0\"}},\"spec\":{\"podCIDR\":\"%s\",\"podCIDRs\":[\"%s\"],\"taints\":[]}," \
	"\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"%s\"}],\"conditions\":[{\"type\":\"Ready\"," \
	"\"lastHeartbeatTime\":\"%s\"}],\"images\":[{\"names\":[\"x\"],\"sizeBytes\":1}]}}"

static const struct paths_options automatic;

struct world {
	struct rig *r;
	struct pathing *paths;
};

static struct world world_create(const struct paths_options *o)
{
	struct world w = {.r = rig_create()};

	w.paths = pathing_create(o, &w.r->sync);
	assert_non_null(w.paths);
	return w;
}

static void world_destroy(struct world *w)
{
	rig_destroy(w->r);
	pathing_destroy(w->paths);
}

/* True: something changed that matters. */
static bool put_node(struct world *w, const char *name, const char *version, const char *cidr, const char *ip, const char *beat)
{
	char json[2048];
	int n = snprintf(json, sizeof(json), NODE, name, version, cidr, cidr, ip, beat);
	uint64_t mask = store_put_json(w->r->store, KUBE_NODE, json, (size_t)n);

	pathing_run(w->paths, mask);
	store_clear_journal(w->r->store);
	return mask != 0;
}

static struct weir_msg expect_paths(struct world *w, uint32_t n)
{
	struct weir_msg m = expect(w->r, WEIR_MSG_PATHS);
	const struct weir_paths *p = (const void *)arena(w->r, &m);

	assert_int_equal(paths_blob_check(p, m.size), WEIR_REFUSED_OK);
	assert_int_equal(p->n_paths, n);
	return m;
}

static struct publish_status status(const struct world *w)
{
	struct publish_status st;

	publish_status(w->r->publish, &st);
	return st;
}

static void ways_go_before_the_first_snapshot_and_again_on_each_connection(void **state)
{
	struct world w = world_create(&automatic);
	struct weir_msg m, s;

	hang_up(w.r);
	put_node(&w, "n1", "1", "10.244.1.0/24", "192.0.2.1", "t1");
	load(w.r, CLASS GATEWAY("80"));
	for (unsigned i = 0; i < 2; i++) {
		take_connection(w.r);
		m = expect_paths(&w, 1);
		s = expect(w.r, WEIR_MSG_SNAPSHOT);
		expect_nothing(w.r);
		assert_int_equal(status(&w).paths_state, PUBLISH_PATHS_SENT);
		answer(w.r, &m, WEIR_REFUSED_OK);
		go_live(w.r, &s);
		assert_int_equal(status(&w).paths_state, PUBLISH_PATHS_TAKEN);
		expect_nothing(w.r);
		hang_up(w.r);
	}
	take_connection(w.r);
	assert_int_equal(status(&w).paths_state, PUBLISH_PATHS_NOT_SENT);
	world_destroy(&w);
	(void)state;
}

static void a_heartbeat_tells_nothing_and_a_change_does(void **state)
{
	struct world w = world_create(&automatic);
	const struct kube_object *o;
	struct weir_msg m;

	put_node(&w, "n1", "1", "10.244.1.0/24", "192.0.2.1", "t1");
	m = expect_paths(&w, 1);
	answer(w.r, &m, WEIR_REFUSED_OK);
	o = store_get(w.r->store, KUBE_NODE, "", "n1");
	assert_null(node_path(o->root, "status.images")); /* none of what is large, or changes, is kept */
	assert_null(node_path(o->root, "status.conditions"));
	assert_null(node_path(o->root, "spec.taints"));
	assert_int_equal(node_path(o->root, "metadata.annotations")->n, 0);
	assert_false(put_node(&w, "n1", "2", "10.244.1.0/24", "192.0.2.1", "t2"));
	expect_nothing(w.r);
	assert_true(put_node(&w, "n1", "3", "10.244.1.0/24", "192.0.2.99", "t3")); /* it has moved: its status alone says so */
	m = expect_paths(&w, 1);
	answer(w.r, &m, WEIR_REFUSED_OK);
	put_node(&w, "n2", "4", "10.244.2.0/24", "192.0.2.2", "t1");
	m = expect_paths(&w, 2);
	put_node(&w, "n3", "5", "10.244.3.0/24", "192.0.2.3", "t1"); /* one set at a time, and the newest wins */
	put_node(&w, "n4", "5", "10.244.4.0/24", "192.0.2.4", "t1");
	expect_nothing(w.r);
	answer(w.r, &m, WEIR_REFUSED_OK);
	m = expect_paths(&w, 4);
	answer(w.r, &m, WEIR_REFUSED_OK);
	put_node(&w, "n5", "6", "", "192.0.2.5", "t1"); /* wrong, and nothing new for the dataplane */
	expect_nothing(w.r);
	assert_int_equal(pathing_now(w.paths)->n_wrong, 1);
	world_destroy(&w);
	(void)state;
}

static void that_there_are_none_is_told_only_if_there_were_some_or_it_is_wanted(void **state)
{
	const struct paths_options off = {.mode = PATHS_OFF};
	struct world w = world_create(&automatic);
	struct weir_msg m;

	pathing_run(w.paths, UINT64_MAX); /* no Nodes, or none that may be read */
	expect_nothing(w.r);
	put_node(&w, "n1", "1", "10.244.1.0/24", "192.0.2.1", "t1");
	m = expect_paths(&w, 1);
	answer(w.r, &m, WEIR_REFUSED_OK);
	pathing_run(w.paths, store_remove(w.r->store, KUBE_NODE, "", "n1"));
	m = expect_paths(&w, 0);
	answer(w.r, &m, WEIR_REFUSED_OK);
	world_destroy(&w);
	w = world_create(&off);
	pathing_run(w.paths, UINT64_MAX);
	m = expect_paths(&w, 0);
	answer(w.r, &m, WEIR_REFUSED_OK);
	put_node(&w, "n1", "1", "10.244.1.0/24", "192.0.2.1", "t1");
	expect_nothing(w.r);
	world_destroy(&w);
	(void)state;
}

static void a_refusal_is_counted_and_tried_again_for_want_of_room_alone(void **state)
{
	struct world w = world_create(&automatic);
	struct weir_msg m;

	put_node(&w, "n1", "1", "10.244.1.0/24", "192.0.2.1", "t1");
	m = expect_paths(&w, 1);
	answer(w.r, &m, WEIR_REFUSED_NO_MEMORY);
	m = expect_paths(&w, 1);
	answer(w.r, &m, WEIR_REFUSED_BAD_VALUE);
	expect_nothing(w.r);
	assert_int_equal(status(&w).n_paths_refused, 2);
	assert_int_equal(status(&w).paths_refused, WEIR_REFUSED_BAD_VALUE);
	assert_int_equal(status(&w).paths_state, PUBLISH_PATHS_REFUSED);
	load(w.r, CLASS GATEWAY("80"));
	expect(w.r, WEIR_MSG_SNAPSHOT); /* which does not wait for them */
	world_destroy(&w);
	(void)state;
}

static void an_older_dataplane_is_told_none(void **state)
{
	struct world w;

	abi_minor = 1;
	w = world_create(&automatic);
	put_node(&w, "n1", "1", "10.244.1.0/24", "192.0.2.1", "t1");
	load(w.r, CLASS GATEWAY("80"));
	expect(w.r, WEIR_MSG_SNAPSHOT);
	expect_nothing(w.r);
	assert_int_equal(status(&w).paths_state, PUBLISH_PATHS_TOO_OLD);
	abi_minor = WEIR_ABI_MINOR;
	hang_up(w.r);
	take_connection(w.r); /* it was upgraded */
	expect_paths(&w, 1);
	world_destroy(&w);
	(void)state;
}

static const struct weir_endpoint_set *no_set(const void *ctx, uint64_t id)
{
	(void)ctx;
	(void)id;
	return NULL;
}

static void saved_ways_are_restored_before_the_snapshot_and_given_up_when_there_are_none(void **state)
{
	struct world w = world_create(&automatic);
	struct saved saved;
	struct weir_msg m, s;
	void *bytes;
	size_t n;

	put_node(&w, "n1", "1", "10.244.1.0/24", "192.0.2.1", "t1");
	load(w.r, CLASS GATEWAY("80"));
	assert_int_equal(saved_make(&(struct saved_parts){.snapshot = w.r->sync.snapshot,
							  .find = no_set,
							  .paths = pathing_now(w.paths)->blob,
							  .paths_bytes = pathing_now(w.paths)->blob_bytes},
				    1, &bytes, &n), 0);
	saved_seal(bytes, n);
	world_destroy(&w);
	assert_int_equal(saved_check(bytes, n, 1, false, &saved), SAVED_OK);
	w = world_create(&automatic);
	assert_int_equal(sync_restore(&w.r->sync, &saved), 0);
	m = expect_paths(&w, 1);
	s = expect(w.r, WEIR_MSG_SNAPSHOT);
	answer(w.r, &m, WEIR_REFUSED_OK);
	go_live(w.r, &s);
	pathing_run(w.paths, UINT64_MAX); /* all is listed, and there are no Nodes */
	m = expect_paths(&w, 0);
	answer(w.r, &m, WEIR_REFUSED_OK);
	expect_nothing(w.r);
	free(bytes);
	world_destroy(&w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ways_go_before_the_first_snapshot_and_again_on_each_connection),
	    cmocka_unit_test(a_heartbeat_tells_nothing_and_a_change_does),
	    cmocka_unit_test(that_there_are_none_is_told_only_if_there_were_some_or_it_is_wanted),
	    cmocka_unit_test(a_refusal_is_counted_and_tried_again_for_want_of_room_alone),
	    cmocka_unit_test(an_older_dataplane_is_told_none),
	    cmocka_unit_test(saved_ways_are_restored_before_the_snapshot_and_given_up_when_there_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
