/* SPDX-License-Identifier: Apache-2.0 */
/* The vectorised scans against their scalar twin, at every place of a vector and of a page, with nothing behind the page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>

#include "http1/scan.h"

#define LONGEST 100

static const struct {
	size_t (*scan)(const char *p, size_t n);
	unsigned class;
	char good;
} scans[] = {{scan_token, CLASS_TOKEN, 'a'}, {scan_value, CLASS_VALUE, '\t'}, {scan_target, CLASS_TARGET, '~'}};

/* A page behind which there is none; the address of its end. */
static char *page_end(void)
{
	char *p = mmap(NULL, 2 * SCAN_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(munmap(p + SCAN_PAGE, SCAN_PAGE), 0);
	return p + SCAN_PAGE;
}

/* Each byte at each place of strings of each length, at distance `before` from the page's end. */
static void compare(char *end, size_t before)
{
	for (unsigned k = 0; k < sizeof(scans) / sizeof(*scans); k++)
		for (size_t n = 0; n <= LONGEST && n <= before; n++) {
			char *s = end - before;

			memset(s, scans[k].good, before);
			assert_int_equal(scans[k].scan(s, n), n);
			if (n == 0)
				continue;
			for (unsigned c = 0; c < 256; c++) {
				size_t at = (n * 7 + c) % n;

				s[at] = (char)c;
				assert_int_equal(scans[k].scan(s, n), scan_scalar(s, n, scans[k].class));
				s[at] = scans[k].good;
			}
		}
}

static void scans_agree_with_their_twin(void **state)
{
	char *end = page_end();

	for (size_t before = 0; before <= LONGEST; before++)
		compare(end, before);
	compare(end, SCAN_PAGE - 64);
	munmap(end - SCAN_PAGE, SCAN_PAGE);
}

static void every_byte_is_in_its_classes(void **state)
{
	for (unsigned k = 0; k < sizeof(scans) / sizeof(*scans); k++)
		for (unsigned c = 0; c < 256; c++) {
			char s[64] __attribute__((aligned(64)));

			memset(s, (int)c, sizeof(s));
			assert_int_equal(scans[k].scan(s, 1) == 1, is_class((char)c, scans[k].class));
			assert_int_equal(scans[k].scan(s, sizeof(s)), scan_scalar(s, sizeof(s), scans[k].class));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scans_agree_with_their_twin),
		cmocka_unit_test(every_byte_is_in_its_classes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
