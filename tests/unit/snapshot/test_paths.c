/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of ways to pods against sets that are wrong in each way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/ip.h"
#include "snapshot/snapshot.h"

#define MAX 4

struct set {
	struct weir_paths head;
	struct weir_pod_path path[MAX];
};
_Static_assert(sizeof(struct set) == sizeof(struct weir_paths) + MAX * sizeof(struct weir_pod_path), "no gap");

static struct weir_ip ip(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

static struct weir_pod_path path(const char *prefix, uint8_t len, const char *via, bool is_tunnel)
{
	struct weir_pod_path p = {.prefix = ip(prefix), .via = ip(via), .prefix_len = len, .kind = WEIR_PATH_ROUTE};

	if (is_tunnel) {
		p.kind = WEIR_PATH_VXLAN;
		p.mac[0] = 2;
	}
	return p;
}

/* Two ends and four paths: an IPv6 one, whose bytes come first or last, and IPv4 ones of equal and different prefixes. */
static struct set make(void)
{
	struct set s = {.head = {.magic = WEIR_PATHS_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR, .n_paths = MAX}};

	s.head.vtep[0] = (struct weir_vtep){.source = ip("10.244.9.0"), .mac = {2, 1}, .port = 8472, .vni = 1};
	s.head.vtep[1] = (struct weir_vtep){.source = ip("fd44:9::"), .mac = {2, 2}, .port = 4789, .vni = 0xffffff};
	s.path[0] = path("10.244.0.0", 16, "192.0.2.1", false);
	s.path[1] = path("10.244.0.0", 24, "192.0.2.2", true);
	s.path[2] = path("10.244.1.0", 24, "2001:db8::2", true);
	s.path[3] = path("fd44:1::", 64, "192.0.2.3", true);
	return s;
}

static void seal(struct weir_paths *s, size_t n)
{
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_paths, checksum), 8, 0);
}

/* In memory of its own size, so that one byte too far is seen. */
static enum weir_refusal check_bytes(const void *bytes, size_t n)
{
	void *copy = malloc(n + !n);
	struct snapshot_error err;
	enum weir_refusal why;

	memcpy(copy, bytes, n);
	why = paths_check(copy, n, &err);
	assert_int_equal(why, err.refusal);
	assert_true((why == WEIR_REFUSED_OK) == (err.text[0] == 0));
	assert_int_equal(paths_check(copy, n, NULL), why);
	free(copy);
	return why;
}

static enum weir_refusal check(struct set s)
{
	size_t n = sizeof(s.head) + s.head.n_paths * sizeof(s.path[0]);

	seal(&s.head, n);
	return check_bytes(&s, n);
}

static void right_ones_are_taken(void **state)
{
	struct set s = make();

	for (uint32_t n = 0; n <= MAX; n++) {
		s.head.n_paths = n;
		assert_int_equal(check(s), WEIR_REFUSED_OK);
	}
	memset(s.head.vtep, 0, sizeof(s.head.vtep)); /* no tunnels */
	s.head.n_paths = 1;
	assert_int_equal(check(s), WEIR_REFUSED_OK);
	s.path[0] = path("0.0.0.0", 0, "192.0.2.1", false);
	assert_int_equal(check(s), WEIR_REFUSED_OK);
	s.path[0] = path("::", 0, "fd00::1", false);
	assert_int_equal(check(s), WEIR_REFUSED_OK);
	s.path[0] = path("fd00::9", 128, "fd00::1", false);
	assert_int_equal(check(s), WEIR_REFUSED_OK);
}

static void frame_is_checked(void **state)
{
	struct set s = make();

	seal(&s.head, sizeof(s));
	for (size_t n = 0; n < sizeof(s); n++)
		assert_int_equal(check_bytes(&s, n), WEIR_REFUSED_TRUNCATED);
	s.head.n_paths--;
	assert_int_equal(check_bytes(&s, sizeof(s)), WEIR_REFUSED_TOO_BIG);
	s = make();
	s.head.magic++;
	assert_int_equal(check(s), WEIR_REFUSED_BAD_MAGIC);
	s = make();
	s.head.abi_major++;
	assert_int_equal(check(s), WEIR_REFUSED_BAD_ABI);
	s = make();
	s.head.n_paths = UINT32_MAX;
	assert_int_equal(check_bytes(&s, sizeof(s)), WEIR_REFUSED_BAD_RANGE);
	s.head.n_paths = WEIR_MAX_PATHS + 1;
	assert_int_equal(check_bytes(&s, sizeof(s)), WEIR_REFUSED_BAD_RANGE);
	s = make();
	seal(&s.head, sizeof(s));
	for (size_t at = offsetof(struct weir_paths, checksum); at < sizeof(s); at++) {
		((uint8_t *)&s)[at] ^= 1;
		assert_int_equal(check_bytes(&s, sizeof(s)), WEIR_REFUSED_BAD_CHECKSUM);
		((uint8_t *)&s)[at] ^= 1;
	}
	assert_int_equal(check_bytes(&s, sizeof(s)), WEIR_REFUSED_OK);
}

#define REFUSED(field, value, why) \
	do { \
		struct set s_ = make(); \
		s_.field = (value); \
		assert_int_equal(check(s_), why); \
	} while (0)

static void ends_are_checked(void **state)
{
	REFUSED(head.vtep[0].source, ip("fd44::1"), WEIR_REFUSED_BAD_VALUE); /* the other family */
	REFUSED(head.vtep[1].source, ip("10.0.0.1"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[0].source, ip("224.0.0.1"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[0].source, ip("127.0.0.1"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[0].source, ip("0.0.0.0"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[1].source, ip("ff02::1"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[1].source, ip("::1"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[1].source, ip("::"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[0].mac[0], 3, WEIR_REFUSED_BAD_VALUE); /* of a group */
	REFUSED(head.vtep[0].port, 0, WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[1].vni, 0x1000000, WEIR_REFUSED_BAD_VALUE);
	REFUSED(head.vtep[1].flags, WEIR_VTEP_ANY_VNI, WEIR_REFUSED_OK);
	REFUSED(head.vtep[1].flags, 2, WEIR_REFUSED_BAD_VALUE);
	{
		struct set s = make();

		memset(s.head.vtep[0].mac, 0, 6);
		assert_int_equal(check(s), WEIR_REFUSED_BAD_VALUE);
		s = make();
		memset(&s.head.vtep[1], 0, sizeof(s.head.vtep[1])); /* a tunnel without an end */
		assert_int_equal(check(s), WEIR_REFUSED_BAD_VALUE);
	}
}

static void paths_are_checked(void **state)
{
	REFUSED(path[0].kind, 0, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[0].kind, 3, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[0].prefix_len, 33, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[3].prefix_len, 129, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[0].prefix_len, 13, WEIR_REFUSED_BAD_VALUE); /* bits beyond it */
	REFUSED(path[3].prefix_len, 31, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[3].prefix_len, 32, WEIR_REFUSED_OK);
	REFUSED(path[0].mac[5], 1, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[1].mac[0], 1, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[1].mac[0], 0, WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[0].via, ip("fd00::1"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[1].via, ip("fd00::1"), WEIR_REFUSED_OK);
	REFUSED(path[0].via, ip("0.0.0.0"), WEIR_REFUSED_BAD_VALUE);
	REFUSED(path[3].via, ip("ff02::1"), WEIR_REFUSED_BAD_VALUE);
}

static void order_is_strict(void **state)
{
	for (unsigned i = 0; i + 1 < MAX; i++) {
		struct set s = make();
		struct weir_pod_path p = s.path[i];

		s.path[i] = s.path[i + 1];
		s.path[i + 1] = p;
		assert_int_equal(check(s), WEIR_REFUSED_BAD_ORDER);
		s.path[i] = p;
		assert_int_equal(check(s), WEIR_REFUSED_BAD_ORDER); /* twice */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_ones_are_taken), cmocka_unit_test(frame_is_checked), cmocka_unit_test(ends_are_checked),
		cmocka_unit_test(paths_are_checked),	cmocka_unit_test(order_is_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
