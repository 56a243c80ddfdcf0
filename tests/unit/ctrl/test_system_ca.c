/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pems.h"
#include "system_ca.h"

static const char pem[] = PEM_TEXT;

/* As who replaces a bundle does it: another file takes the name. */
static void replace(const char *path, const char *text)
{
	char other[128];
	FILE *f;

	snprintf(other, sizeof(other), "%s.new", path);
	f = fopen(other, "w");
	assert_non_null(f);
	for (const char *p = text; *p; p++) { /* pems.h has it as it stands in JSON */
		bool is_line_end = p[0] == '\\' && p[1] == 'n';

		fputc(is_line_end ? '\n' : *p, f);
		p += is_line_end;
	}
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(other, path), 0);
}

static void bundle_is_read_again_when_it_is_another_one(void **state)
{
	char folder[] = "/tmp/weir-system-ca-XXXXXX";
	char path[64];
	struct system_ca *s;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/bundle.crt", folder);
	s = system_ca_create(path);
	assert_true(system_ca_look(s));
	assert_null(system_ca_trust(s));
	assert_non_null(strstr(system_ca_fault(s), "bundle.crt is not there"));
	assert_false(system_ca_look(s));
	replace(path, pem);
	assert_true(system_ca_look(s));
	assert_non_null(system_ca_trust(s));
	assert_null(system_ca_fault(s));
	assert_false(system_ca_look(s));
	replace(path, pem); /* the same certificates */
	assert_false(system_ca_look(s));
	replace(path, "nothing");
	assert_true(system_ca_look(s));
	assert_null(system_ca_trust(s));
	assert_non_null(strstr(system_ca_fault(s), "bundle.crt has no certificates in PEM"));
	unlink(path);
	assert_true(system_ca_look(s));
	assert_non_null(strstr(system_ca_fault(s), "is not there"));
	system_ca_destroy(s);
	rmdir(folder);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(bundle_is_read_again_when_it_is_another_one)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
