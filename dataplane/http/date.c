/* SPDX-License-Identifier: Apache-2.0 */
/* Times as HTTP writes them (RFC 9110 5.6.7). */
#include "http/http.h"

/* Days since 1970-01-01 as year, month (1 .. 12) and day (Hinnant, "chrono-compatible low-level date algorithms"). */
static void split_days(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	uint64_t z = days + 719468; /* since 0000-03-01 */
	uint64_t era = z / 146097;
	unsigned of_era = (unsigned)(z % 146097);
	unsigned y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * y + y / 4 - y / 100);
	unsigned m = (5 * of_year + 2) / 153; /* from March on */

	*day = of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = (unsigned)(era * 400) + y + (*month <= 2);
}

static char *put_text(char *p, const char *text, size_t n)
{
	memcpy(p, text, n);
	return p + n;
}

static char *put_two(char *p, unsigned v)
{
	*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

void http_date_format(char out[HTTP_DATE_LEN], uint64_t unix_s)
{
	static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	uint64_t days = unix_s / 86400;
	unsigned s = (unsigned)(unix_s % 86400);
	unsigned year, month, day;
	char *p = out;

	split_days(days, &year, &month, &day);
	p = put_text(p, weekdays + days % 7 * 3, 3);
	p = put_text(p, ", ", 2);
	p = put_two(p, day);
	*p++ = ' ';
	p = put_text(p, months + (month - 1) * 3, 3);
	*p++ = ' ';
	p = put_two(p, year / 100);
	p = put_two(p, year % 100);
	*p++ = ' ';
	p = put_two(p, s / 3600);
	*p++ = ':';
	p = put_two(p, s / 60 % 60);
	*p++ = ':';
	p = put_two(p, s % 60);
	put_text(p, " GMT", 4);
}
