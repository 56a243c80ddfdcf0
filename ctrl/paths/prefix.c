/* SPDX-License-Identifier: Apache-2.0 */
#include "paths/prefix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static unsigned bits_of(const struct ip_prefix *p)
{
	return p->len + (ip_is4(&p->ip) ? 96u : 0);
}

/* Where no way leads to: of loopback, link-local, multicast, or nobody's. */
static bool is_special(const struct weir_ip *a)
{
	if (ip_is4(a)) {
		const uint8_t *b = a->b + 12;

		return b[0] == 0 || b[0] == 127 || (b[0] == 169 && b[1] == 254) || b[0] >= 224;
	}
	return a->b[0] == 0 || a->b[0] == 0xff || (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80);
}

static void clear_host(struct ip_prefix *p)
{
	for (unsigned i = bits_of(p); i < 128; i++)
		p->ip.b[i / 8] &= (uint8_t)~(0x80u >> i % 8);
}

int prefix_read(const char *text, struct ip_prefix *out)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	bool is4;
	unsigned len = 0;

	if (!slash || ip_parse(text, (size_t)(slash - text), &out->ip) != 0 || !slash[1] || strlen(slash) > 4)
		return -EINVAL;
	is4 = ip_is4(&out->ip);
	if (is4 != (memchr(text, ':', (size_t)(slash - text)) == NULL)) /* ::ffff:10.0.0.0 is text of the one, and means the other */
		return -EINVAL;
	for (const char *p = slash + 1; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		len = 10 * len + (unsigned)(*p - '0');
	}
	if (len > (is4 ? 32 : 128))
		return -EINVAL;
	out->len = (uint8_t)len;
	clear_host(out);
	return len < (is4 ? PREFIX_MIN4 : PREFIX_MIN6) || is_special(&out->ip) ? -ERANGE : 0;
}

bool prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return ip_is4(&a->ip) == ip_is4(&b->ip) && ip_in_prefix(&a->ip, &b->ip, a->len < b->len ? a->len : b->len);
}

int prefix_compare(const struct ip_prefix *a, const struct ip_prefix *b)
{
	int d = memcmp(a->ip.b, b->ip.b, sizeof(a->ip.b));

	return d ? d : (int)a->len - (int)b->len;
}

char *prefix_format(const struct ip_prefix *p, char *out)
{
	char ip[IP_TEXT_MAX];

	snprintf(out, PREFIX_TEXT_MAX, "%s/%u", ip_format(&p->ip, ip), p->len);
	return out;
}

int prefix_read_host(const char *text, struct weir_ip *out)
{
	if (!text || ip_parse(text, strlen(text), out) != 0 || is_special(out) || ip_is4(out) != (strchr(text, ':') == NULL))
		return -EINVAL;
	return 0;
}
