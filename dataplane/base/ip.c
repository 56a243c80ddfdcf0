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

char *ip_format(const struct weir_ip *a, char *buf)
{
	if (ip_is4(a))
		inet_ntop(AF_INET, a->b + 12, buf, IP_TEXT_MAX);
	else
		inet_ntop(AF_INET6, a->b, buf, IP_TEXT_MAX);
	return buf;
}
