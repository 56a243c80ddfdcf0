/* SPDX-License-Identifier: Apache-2.0 */
#include "ocsp/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

struct prefix {
	uint8_t bytes[16];
	uint8_t bits;
	bool never; /* not even where any address is allowed */
};

/* IANA's special-purpose addresses (RFC 6890), as far as they lead somewhere else than to the network at large. */
static const struct prefix prefixes4[] = {
    {{0}, 8, true},		 /* this network */
    {{10}, 8, false},
    {{100, 64}, 10, false},	 /* RFC 6598 */
    {{127}, 8, false},
    {{169, 254}, 16, true},	 /* link-local */
    {{172, 16}, 12, false},
    {{192, 0, 0}, 24, false},	 /* RFC 6890 */
    {{192, 88, 99}, 24, false},  /* 6to4 relays */
    {{192, 168}, 16, false},
    {{198, 18}, 15, false},	 /* RFC 2544 */
    {{224}, 3, true},		 /* multicast, and what is reserved with the broadcast */
};

static const struct prefix prefixes6[] = {
    {{0}, 127, false},		 /* loopback; :: is below */
    {{0xfc}, 7, false},		 /* RFC 4193 */
    {{0xfe, 0xc0}, 10, false},	 /* site-local, as it was */
    {{0xfe, 0x80}, 10, true},
    {{0xff}, 8, true},
};

static bool is_within(const uint8_t *a, const struct prefix *p)
{
	unsigned whole = p->bits / 8, rest = p->bits % 8;

	return memcmp(a, p->bytes, whole) == 0 && (!rest || (a[whole] & 0xff << (8 - rest)) == p->bytes[whole]);
}

static bool is_allowed(const uint8_t *a, const struct prefix *list, size_t n, bool any)
{
	for (size_t i = 0; i < n; i++)
		if (is_within(a, &list[i]))
			return any && !list[i].never;
	return true;
}

static bool is_allowed4(const uint8_t a[4], bool any)
{
	return is_allowed(a, prefixes4, sizeof(prefixes4) / sizeof(*prefixes4), any);
}

/* Where it has an IPv4 address in it, that counts: mapped, translated (RFC 6052), 6to4 (RFC 3056). */
static bool is_allowed6(const uint8_t a[16], bool any)
{
	static const uint8_t none[16], mapped[12] = {[10] = 0xff, [11] = 0xff}, translated[12] = {0x00, 0x64, 0xff, 0x9b};

	if (memcmp(a, none, 16) == 0)
		return false;
	if (memcmp(a, mapped, 12) == 0 || memcmp(a, translated, 12) == 0)
		return is_allowed4(a + 12, any);
	if (a[0] == 0x20 && a[1] == 0x02)
		return is_allowed4(a + 2, any);
	return is_allowed(a, prefixes6, sizeof(prefixes6) / sizeof(*prefixes6), any);
}

static bool is_port(uint16_t port)
{
	return port == htons(80);
}

bool ocsp_address_is_allowed(const struct sockaddr *a, bool any)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)a;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a;

	if (a->sa_family == AF_INET)
		return (any || is_port(in4->sin_port)) && is_allowed4((const uint8_t *)&in4->sin_addr, any);
	if (a->sa_family == AF_INET6)
		return (any || is_port(in6->sin6_port)) && is_allowed6(in6->sin6_addr.s6_addr, any);
	return false;
}
