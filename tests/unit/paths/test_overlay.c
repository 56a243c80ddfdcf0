/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of overlays, and prefixes: what is read, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "paths/overlay.h"
#include "paths/prefix.h"

static void reads_what_flannel_writes(void **state)
{
	static const uint8_t mac[6] = {0xfa, 0x16, 0x3e, 0xd5, 0x28, 0x07};
	struct overlay_end e;

	assert_null(overlay_read_data("{\"VNI\":1,\"VtepMAC\":\"fa:16:3e:d5:28:07\"}", &e));
	assert_memory_equal(e.mac, mac, 6);
	assert_int_equal(e.vni, 1);
	assert_null(overlay_read_data(" {\"VtepMAC\" : \"FA:16:3E:D5:28:07\", \"New\": [{}]}", &e)); /* of a device: without VNI */
	assert_memory_equal(e.mac, mac, 6);
	assert_int_equal(e.vni, 1);
	assert_null(overlay_read_data("{\"VNI\":4096,\"VtepMAC\":\"fa:16:3e:d5:28:07\"}", &e));
	assert_int_equal(e.vni, 4096);
	(void)state;
}

static void says_what_is_wrong_with_backend_data(void **state)
{
	static const char *const cases[][2] = {
	    {"", "is no JSON"},
	    {"null", "is no JSON object"},
	    {"[]", "is no JSON object"},
	    {"{}", "has no VtepMAC"},
	    {"{\"VtepMAC\":7}", "has no VtepMAC"},
	    {"{\"VtepMAC\":\"\"}", "has a VtepMAC that is none of one host"},
	    {"{\"VtepMAC\":\"fa:16:3e:d5:28\"}", "has a VtepMAC that is none of one host"},
	    {"{\"VtepMAC\":\"fa-16-3e-d5-28-07\"}", "has a VtepMAC that is none of one host"},
	    {"{\"VtepMAC\":\"fa:16:3e:d5:28:0g\"}", "has a VtepMAC that is none of one host"},
	    {"{\"VtepMAC\":\"00:00:00:00:00:00\"}", "has a VtepMAC that is none of one host"},
	    {"{\"VtepMAC\":\"01:00:5e:00:00:01\"}", "has a VtepMAC that is none of one host"},
	    {"{\"VNI\":16777216,\"VtepMAC\":\"fa:16:3e:d5:28:07\"}", "has a VNI that is no number of 24 bits"},
	    {"{\"VNI\":-1,\"VtepMAC\":\"fa:16:3e:d5:28:07\"}", "has a VNI that is no number of 24 bits"},
	    {"{\"VNI\":\"1\",\"VtepMAC\":\"fa:16:3e:d5:28:07\"}", "has a VNI that is no number of 24 bits"},
	    {"{\"VtepMAC\":\"fa:16:3e:d5:28:07\"}}", "is no JSON"},
	};
	char large[OVERLAY_DATA_MAX + 2];
	struct overlay_end e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(overlay_read_data(cases[i][0], &e), cases[i][1]);
	memset(large, ' ', sizeof(large) - 1);
	large[sizeof(large) - 1] = 0;
	assert_string_equal(overlay_read_data(large, &e), "is too long");
	(void)state;
}

static void reads_an_end_that_is_given(void **state)
{
	static const char *const wrong[] = {"", ",", "source", "source=", "source=10.0.0.1,", "source=10.0.0.1,source=10.0.0.2",
					    "source=127.0.0.1", "mac=1", "vni=x", "vni=16777216", "port=0", "port=65536", "name=a", "vni=-1"};
	struct overlay_given g;

	assert_true(overlay_read_given("source=10.244.7.0,mac=02:00:00:00:00:07,vni=5,port=4789", &g));
	assert_true(g.has_source && g.has_mac && g.has_vni && g.has_port);
	assert_int_equal(g.vtep.vni, 5);
	assert_int_equal(g.vtep.port, 4789);
	assert_int_equal(g.vtep.mac[5], 7);
	assert_true(ip_is4(&g.vtep.source));
	assert_true(overlay_read_given("port=4789", &g));
	assert_false(g.has_source || g.has_mac || g.has_vni);
	assert_true(overlay_read_given("mac=02:00:00:00:00:07,source=fd00:7::", &g));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		if (overlay_read_given(wrong[i], &g))
			fail_msg("took %s", wrong[i]);
	(void)state;
}

static void prefixes_are_those_that_pods_can_have(void **state)
{
	static const struct {
		const char *text, *is;
		int err;
	} cases[] = {
	    {"10.244.1.0/24", "10.244.1.0/24", 0},
	    {"10.0.0.1/27", "10.0.0.0/27", 0}, /* as Cilium writes it */
	    {"10.9.9.9/32", "10.9.9.9/32", 0},
	    {"fd00:1::5/64", "fd00:1::/64", 0},
	    {"10.0.0.0/8", "10.0.0.0/8", 0},
	    {"8.0.0.0/7", NULL, -ERANGE},
	    {"0.0.0.0/0", NULL, -ERANGE},
	    {"::/0", NULL, -ERANGE},
	    {"2000::/3", NULL, -ERANGE},
	    {"127.0.0.0/24", NULL, -ERANGE},
	    {"169.254.1.0/24", NULL, -ERANGE},
	    {"224.0.0.0/24", NULL, -ERANGE},
	    {"fe80::/64", NULL, -ERANGE},
	    {"ff02::/64", NULL, -ERANGE},
	    {"64:ff9b::/96", NULL, -ERANGE},
	    {"::ffff:10.0.0.0/120", NULL, -EINVAL},
	    {"10.0.0.0/33", NULL, -EINVAL},
	    {"fd00::/129", NULL, -EINVAL},
	    {"10.0.0.0/", NULL, -EINVAL},
	    {"10.0.0.0/0024", NULL, -EINVAL},
	    {"10.0.0.0/-1", NULL, -EINVAL},
	    {"10.0.0.0/2x", NULL, -EINVAL},
	    {"10.0.0.0", NULL, -EINVAL},
	    {"10.0.0/24", NULL, -EINVAL},
	    {"", NULL, -EINVAL},
	};
	char text[PREFIX_TEXT_MAX];
	struct ip_prefix p;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (prefix_read(cases[i].text, &p) != cases[i].err)
			fail_msg("%s", cases[i].text);
		if (cases[i].is)
			assert_string_equal(prefix_format(&p, text), cases[i].is);
	}
	assert_int_equal(prefix_read(NULL, &p), -EINVAL);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_flannel_writes),
	    cmocka_unit_test(says_what_is_wrong_with_backend_data),
	    cmocka_unit_test(reads_an_end_that_is_given),
	    cmocka_unit_test(prefixes_are_those_that_pods_can_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
