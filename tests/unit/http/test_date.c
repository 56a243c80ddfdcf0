/* SPDX-License-Identifier: Apache-2.0 */
/* Dates as HTTP writes them, against the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "http/http.h"

static void check(uint64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	char want[64], got[HTTP_DATE_LEN + 1] = {0};

	gmtime_r(&t, &tm);
	strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	http_date_format(got, unix_s);
	assert_string_equal(got, want);
}

static void dates_are_those_of_the_c_library(void **state)
{
	char got[HTTP_DATE_LEN + 1] = {0};

	http_date_format(got, 784111777);
	assert_string_equal(got, "Sun, 06 Nov 1994 08:49:37 GMT"); /* of RFC 9110 */
	for (uint64_t day = 0; day < 400u * 366; day++) {
		check(day * 86400);
		check(day * 86400 + 86399);
		check(day * 86400 + day % 86400);
	}
	check(253402300799); /* the last second of 9999 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(dates_are_those_of_the_c_library)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
