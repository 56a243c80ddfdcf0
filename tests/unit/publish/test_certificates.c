/* SPDX-License-Identifier: Apache-2.0 */
/* How certificates and ticket keys get to a dataplane, which the test plays: what it is sent, in which order, and what stays in the arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pems.h"
#include "rig.h"
#include "saved.h"
#include "snapshot/snapshot.h"

/* A certificate's key, as it lies in the arena, is there no more. */
static void expect_wiped(const struct rig *r, const char *key, size_t n)
{
	assert_null(memmem((const char *)r->region + ARENA_OFF, ARENA_BYTES, key, n));
}

/* Of a snapshot in the arena. */
static uint32_t n_certs(const struct rig *r, const struct weir_msg *m)
{
	return snapshot_count((const struct weir_snapshot *)(const void *)arena(r, m), CERTS);
}

#define CLASS \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: weir}\n" \
	"spec: {controllerName: weir.dev/ingress-controller}\n---\n"
#define GATEWAY \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\nspec:\n  gatewayClassName: weir\n" \
	"  listeners: [{name: l, port: 443, protocol: HTTPS, hostname: a.test, tls: {certificateRefs: [{name: s}]}}, {name: p, port: 80, protocol: HTTP}]\n---\n"
#define SECRET "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\ndata: {tls.crt: " PEM_CRT ", tls.key: " PEM_KEY "}\n"
#define PLAIN \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\nspec:\n  gatewayClassName: weir\n" \
	"  listeners: [{name: p, port: 80, protocol: HTTP}]\n---\n"

static void certificate_goes_before_the_snapshot_and_leaves_nothing_behind(void **state)
{
	struct rig *r = rig_create();
	struct weir_msg c, s;
	const struct weir_certificate *blob;
	char key[256];
	size_t n_key;

	load(r, CLASS GATEWAY SECRET);
	c = expect(r, WEIR_MSG_CERTIFICATE);
	blob = (const void *)arena(r, &c);
	assert_int_equal(certificate_check(blob, c.size, NULL), WEIR_REFUSED_OK);
	assert_int_equal(blob->id.v[0], c.id);
	assert_int_equal(blob->id.v[1], c.version);
	n_key = blob->key.size;
	assert_in_range(n_key, 1, sizeof(key));
	memcpy(key, (const char *)blob + blob->key.off, n_key);
	expect_nothing(r); /* before it is there */
	answer(r, &c, WEIR_REFUSED_OK);
	expect_wiped(r, key, n_key);
	s = expect(r, WEIR_MSG_SNAPSHOT);
	assert_int_equal(n_certs(r, &s), 1);
	go_live(r, &s);
	load(r, CLASS PLAIN SECRET); /* and forgotten with the first snapshot that does not name it */
	s = expect(r, WEIR_MSG_SNAPSHOT);
	assert_int_equal(n_certs(r, &s), 0);
	go_live(r, &s);
	load(r, CLASS GATEWAY SECRET);
	c = expect(r, WEIR_MSG_CERTIFICATE);
	answer(r, &c, WEIR_REFUSED_OK);
	s = expect(r, WEIR_MSG_SNAPSHOT);
	go_live(r, &s);
	expect_nothing(r);
	rig_destroy(r);
	(void)state;
}

static void certificate_that_is_refused_holds_nobody_up(void **state)
{
	struct rig *r = rig_create();
	struct publish_status st;
	struct weir_msg c, s;
	bool is_told = false;

	load(r, CLASS GATEWAY SECRET);
	c = expect(r, WEIR_MSG_CERTIFICATE);
	answer(r, &c, WEIR_REFUSED_BAD_VALUE);
	s = expect(r, WEIR_MSG_SNAPSHOT);
	assert_int_equal(n_certs(r, &s), 0);
	go_live(r, &s);
	for (size_t i = 0; i < r->sync.model->n_problems; i++)
		is_told |= strcmp(r->sync.model->problems[i].reason, "CertificateRefused") == 0;
	assert_true(is_told);
	publish_status(r->publish, &st);
	assert_int_equal(st.n_certificates_refused, 1);
	expect_nothing(r);
	rig_destroy(r);
	(void)state;
}

static void certificate_without_room_is_tried_again(void **state)
{
	struct rig *r = rig_create();
	struct weir_msg m;

	load(r, CLASS GATEWAY SECRET);
	for (unsigned i = 0; i < 10; i++) { /* each after a while: another one is to go before there is room */
		m = expect(r, WEIR_MSG_CERTIFICATE);
		answer(r, &m, WEIR_REFUSED_NO_MEMORY);
	}
	m = expect(r, WEIR_MSG_SNAPSHOT);
	assert_int_equal(n_certs(r, &m), 0);
	go_live(r, &m);
	sync_age(&r->sync);
	expect_nothing(r);
	r->sync.refused_s -= 3600; /* and with no other change of routes */
	sync_age(&r->sync);
	m = expect(r, WEIR_MSG_CERTIFICATE);
	answer(r, &m, WEIR_REFUSED_OK);
	m = expect(r, WEIR_MSG_SNAPSHOT);
	assert_int_equal(n_certs(r, &m), 1);
	go_live(r, &m);
	assert_false(r->sync.refused_may_pass);
	rig_destroy(r);
	(void)state;
}

static void all_are_sent_once_more_if_one_is_not_there(void **state)
{
	struct rig *r = rig_create();
	struct weir_msg m;

	load(r, CLASS GATEWAY SECRET);
	m = expect(r, WEIR_MSG_CERTIFICATE);
	answer(r, &m, WEIR_REFUSED_OK);
	m = expect(r, WEIR_MSG_SNAPSHOT);
	answer(r, &m, WEIR_REFUSED_NO_CERTIFICATE);
	m = expect(r, WEIR_MSG_CERTIFICATE);
	answer(r, &m, WEIR_REFUSED_BUSY); /* which passes */
	m = expect(r, WEIR_MSG_CERTIFICATE);
	answer(r, &m, WEIR_REFUSED_OK);
	m = expect(r, WEIR_MSG_SNAPSHOT);
	answer(r, &m, WEIR_REFUSED_NO_CERTIFICATE);
	expect_nothing(r);
	rig_destroy(r);
	(void)state;
}

static void each_connection_is_sent_all_of_them(void **state)
{
	struct rig *r = rig_create();
	struct weir_msg m;

	load(r, CLASS GATEWAY SECRET);
	m = expect(r, WEIR_MSG_CERTIFICATE);
	hang_up(r); /* while it is on its way */
	for (unsigned i = 0; i < 2; i++) {
		take_connection(r);
		m = expect(r, WEIR_MSG_CERTIFICATE);
		answer(r, &m, WEIR_REFUSED_OK);
		m = expect(r, WEIR_MSG_SNAPSHOT);
		go_live(r, &m);
		if (i == 0)
			hang_up(r);
	}
	rig_destroy(r);
	(void)state;
}

static const struct weir_endpoint_set *no_set(const void *ctx, uint64_t id)
{
	(void)ctx;
	(void)id;
	return NULL;
}

/* On disk there are no keys, so no names that would need them. All else is as it was. */
static void what_is_saved_names_no_certificate(void **state)
{
	struct rig *r = rig_create();
	struct saved saved;
	void *bytes;
	size_t n;

	load(r, CLASS GATEWAY SECRET);
	assert_int_equal(snapshot_count(r->sync.snapshot, NAMES), 1);
	assert_int_equal(saved_make(&(struct saved_parts){.snapshot = r->sync.snapshot, .find = no_set}, 1, &bytes, &n), 0);
	saved_seal(bytes, n);
	assert_int_equal(saved_check(bytes, n, 1, false, &saved), SAVED_OK);
	assert_int_equal(snapshot_count(saved.snapshot, NAMES), 1);
	assert_int_equal(snapshot_name(saved.snapshot, 0)->certs.count, 0);
	assert_int_equal(snapshot_count(saved.snapshot, CERTS), 0);
	assert_int_equal(snapshot_count(saved.snapshot, BINDS), 2);
	assert_int_equal(snapshot_count(saved.snapshot, LISTENERS), 2);
	free(bytes);
	rig_destroy(r);
	(void)state;
}

/* -- ticket keys */

static struct weir_ticket_keys make_keys(uint32_t n, uint8_t first)
{
	struct weir_ticket_keys k = {.magic = WEIR_TICKET_KEYS_MAGIC, .abi_major = WEIR_ABI_MAJOR, .n = n};

	for (uint32_t i = 0; i < n; i++)
		memset(&k.key[i], first + (int)i, sizeof(k.key[i]));
	return k;
}

static struct weir_msg expect_keys(struct rig *r, const struct weir_ticket_keys *k)
{
	struct weir_msg m = expect(r, WEIR_MSG_TICKET_KEYS);

	assert_int_equal(m.size, sizeof(*k));
	assert_memory_equal(arena(r, &m), k, sizeof(*k));
	return m;
}

static void ticket_keys_are_sent_on_each_connection_and_leave_nothing_behind(void **state)
{
	struct rig *r = rig_create();
	const struct weir_ticket_keys a = make_keys(2, 1), b = make_keys(3, 11), c = make_keys(3, 21);
	struct weir_msg m;

	publish_ticket_keys(r->publish, &a);
	m = expect_keys(r, &a);
	publish_ticket_keys(r->publish, &b); /* one set at a time, and the newest wins */
	publish_ticket_keys(r->publish, &c);
	expect_nothing(r);
	answer(r, &m, WEIR_REFUSED_OK);
	expect_wiped(r, (const char *)a.key[1].mac, 32);
	m = expect_keys(r, &c);
	answer(r, &m, WEIR_REFUSED_OK);
	expect_wiped(r, (const char *)c.key[0].cipher, 32);
	expect_nothing(r);
	for (unsigned i = 0; i < 2; i++) {
		hang_up(r); /* the second time while they are on their way */
		take_connection(r);
		m = expect_keys(r, &c);
	}
	answer(r, &m, WEIR_REFUSED_OK);
	expect_nothing(r);
	rig_destroy(r);
	(void)state;
}

static void ticket_keys_that_are_refused_are_tried_again_for_want_of_memory_alone(void **state)
{
	struct rig *r = rig_create();
	const struct weir_ticket_keys k = make_keys(2, 1);
	struct publish_status st;
	struct weir_msg m;

	publish_ticket_keys(r->publish, &k);
	m = expect_keys(r, &k);
	answer(r, &m, WEIR_REFUSED_NO_MEMORY);
	m = expect_keys(r, &k);
	answer(r, &m, WEIR_REFUSED_SWITCHED_OFF);
	expect_wiped(r, (const char *)k.key[0].cipher, 32);
	expect_nothing(r);
	publish_status(r->publish, &st);
	assert_int_equal(st.n_tickets_refused, 2);
	assert_int_equal(st.tickets_refused, WEIR_REFUSED_SWITCHED_OFF);
	rig_destroy(r);
	(void)state;
}

static void that_there_are_none_is_told_only_to_who_has_some(void **state)
{
	struct rig *r = rig_create();
	const struct weir_ticket_keys some = make_keys(2, 1), none = make_keys(0, 0);
	struct weir_msg m;

	publish_ticket_keys(r->publish, &none);
	expect_nothing(r);
	publish_ticket_keys(r->publish, &some);
	m = expect_keys(r, &some);
	publish_ticket_keys(r->publish, &none); /* before its statistics say that it has them */
	answer(r, &m, WEIR_REFUSED_OK);
	m = expect_keys(r, &none);
	answer(r, &m, WEIR_REFUSED_OK);
	hang_up(r);
	ticket_source = WEIR_TICKETS_SHARED; /* of an earlier weir-ctrl */
	take_connection(r);
	ticket_source = WEIR_TICKETS_NONE;
	m = expect_keys(r, &none);
	answer(r, &m, WEIR_REFUSED_OK);
	expect_nothing(r);
	rig_destroy(r);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificate_goes_before_the_snapshot_and_leaves_nothing_behind),
		cmocka_unit_test(certificate_that_is_refused_holds_nobody_up),
		cmocka_unit_test(certificate_without_room_is_tried_again),
		cmocka_unit_test(all_are_sent_once_more_if_one_is_not_there),
		cmocka_unit_test(each_connection_is_sent_all_of_them),
		cmocka_unit_test(what_is_saved_names_no_certificate),
		cmocka_unit_test(ticket_keys_are_sent_on_each_connection_and_leave_nothing_behind),
		cmocka_unit_test(ticket_keys_that_are_refused_are_tried_again_for_want_of_memory_alone),
		cmocka_unit_test(that_there_are_none_is_told_only_to_who_has_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
