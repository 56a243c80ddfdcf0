/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as text, and prefixes. See ip.h. */
#include "base/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

bool ip_in_prefix(const struct weir_ip *a, const struct weir_ip *prefix, unsigned len)
{
	if (ip_is4(a) != ip_is4(prefix))
		return false;
	if (ip_is4(a))
		len += 96;
	if (len > 128)
		return false;
	if (memcmp(a->b, prefix->b, len / 8) != 0)
		return false;
	if (len % 8 == 0)
		return true;
	return ((a->b[len / 8] ^ prefix->b[len / 8]) >> (8 - len % 8)) == 0;
}

int ip_parse(const char *text, size_t n, struct weir_ip *out)
{
	char buf[IP_TEXT_MAX];
	struct in_addr v4;
	struct in6_addr v6;

	if (n == 0 || n >= sizeof(buf) || memchr(text, 0, n))
		return -EINVAL;
	memcpy(buf, text, n);
	buf[n] = 0;
	if (inet_pton(AF_INET, buf, &v4) == 1) {
		*out = ip_from4(v4.s_addr);
		return 0;
	}
	if (inet_pton(AF_INET6, buf, &v6) == 1) {
		memcpy(out->b, &v6, 16);
		return 0;
	}
	return -EINVAL;
}

/* Decimal, without leading zeros; where it ends. */
static char *put_byte(char *p, unsigned v)
{
	if (v >= 100)
		*p++ = (char)('0' + v / 100);
	if (v >= 10)
		*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

/* By hand for IPv4: it is wanted for each request, and inet_ntop() prints by way of a format. */
char *ip_format(const struct weir_ip *a, char *buf)
{
	char *p = buf;

	if (!ip_is4(a)) {
		inet_ntop(AF_INET6, a->b, buf, IP_TEXT_MAX);
		return buf;
	}
	for (unsigned i = 12; i < 16; i++) {
		p = put_byte(p, a->b[i]);
		*p++ = i < 15 ? '.' : '\0';
	}
	return buf;
}
