/* SPDX-License-Identifier: Apache-2.0 */
/* The small grammars of Kubernetes objects. See names.h. */
#include "kube/names.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c);
}

static bool is_label(const char *s, size_t n)
{
	if (n == 0 || n > 63 || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

bool names_is_label(const char *s)
{
	return is_label(s, strlen(s));
}

bool names_is_subdomain(const char *s)
{
	if (strlen(s) > 253)
		return false;
	for (;;) {
		size_t n = strcspn(s, ".");

		if (!is_label(s, n))
			return false;
		if (s[n] == 0)
			return true;
		s += n + 1;
	}
}

bool names_is_host(const char *s)
{
	struct in_addr v4;

	if (strlen(s) > 253)
		return false;
	if (s[0] == '*' && s[1] == '.')
		s += 2;
	return names_is_subdomain(s) && inet_pton(AF_INET, s, &v4) != 1;
}

bool names_is_token(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!is_alnum(*s) && !(*s >= 'A' && *s <= 'Z') && !strchr("!#$%&'*+-.^_`|~", *s))
			return false;
	return true;
}

/* Digits of a fixed width. */
static bool number(const char **s, unsigned width, int *out)
{
	*out = 0;
	for (unsigned i = 0; i < width; i++) {
		if (!is_digit((*s)[i]))
			return false;
		*out = *out * 10 + ((*s)[i] - '0');
	}
	*s += width;
	return true;
}

static bool literal(const char **s, const char *any)
{
	if (!**s || !strchr(any, **s))
		return false;
	(*s)++;
	return true;
}

static bool zone(const char **s, int64_t *offset_s)
{
	bool is_west = **s == '-';
	int hour;
	int min;

	*offset_s = 0;
	if (literal(s, "Zz"))
		return true;
	if (!literal(s, "+-") || !number(s, 2, &hour) || !literal(s, ":") || !number(s, 2, &min) || hour > 23 ||
	    min > 59)
		return false;
	*offset_s = (is_west ? -1 : 1) * (hour * 3600 + min * 60);
	return true;
}

static int days_of(int year, int mon)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[mon - 1] + (mon == 2 && is_leap ? 1 : 0);
}

bool names_parse_time(const char *s, int64_t *out)
{
	struct tm tm = {0};
	int64_t offset_s;
	int year;
	int mon;

	if (!number(&s, 4, &year) || !literal(&s, "-") || !number(&s, 2, &mon) || !literal(&s, "-") ||
	    !number(&s, 2, &tm.tm_mday) || !literal(&s, "Tt") || !number(&s, 2, &tm.tm_hour) || !literal(&s, ":") ||
	    !number(&s, 2, &tm.tm_min) || !literal(&s, ":") || !number(&s, 2, &tm.tm_sec))
		return false;
	if (*s == '.') {
		if (!is_digit(*++s))
			return false;
		while (is_digit(*s))
			s++;
	}
	if (!zone(&s, &offset_s) || *s)
		return false;
	if (mon < 1 || mon > 12 || tm.tm_mday < 1 || tm.tm_mday > days_of(year, mon) || tm.tm_hour > 23 ||
	    tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = mon - 1;
	*out = (int64_t)timegm(&tm) - offset_s;
	return true;
}

bool names_parse_duration(const char *s, uint64_t *ms)
{
	unsigned n_parts = 0;

	*ms = 0;
	do {
		uint64_t v = 0;
		unsigned digits = 0;

		for (; is_digit(*s); s++, digits++) {
			if (digits == 5)
				return false;
			v = v * 10 + (uint64_t)(*s - '0');
		}
		if (digits == 0 || ++n_parts > 4)
			return false;
		if (s[0] == 'm' && s[1] == 's') {
			*ms += v;
			s += 2;
		} else if (*s == 'h' || *s == 'm' || *s == 's') {
			*ms += v * (*s == 'h' ? 3600000u : *s == 'm' ? 60000u : 1000u);
			s++;
		} else {
			return false;
		}
	} while (*s);
	return true;
}
