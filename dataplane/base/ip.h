/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, prefixes and connection tuples in the contract's form (struct weir_ip). */
#ifndef BASE_IP_H
#define BASE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weir/types.h"

#define IP_TEXT_MAX 48 /* an address as text with its NUL */

/* Bytes of headers without options or extensions. */
#define IP4_HEADER 20
#define IP6_HEADER 40
#define TCP_HEADER_MIN 20

/* No path is believed to take less: so much every host takes (RFC 791 3.1), and every link (RFC 8200 5). */
#define IP4_MTU_MIN 576
#define IP6_MTU_MIN 1280

/* A TCP connection as this host sees it. Ports in host order. No padding: it may be hashed and compared as bytes. */
struct ip_flow {
	struct weir_ip local;
	struct weir_ip remote;
	uint16_t local_port;
	uint16_t remote_port;
};

/* Addresses that agree in the first len bits, which count in the address's own family (0-32 or 0-128). */
struct ip_prefix {
	struct weir_ip ip;
	uint8_t len;
};

static inline bool ip_eq(const struct weir_ip *a, const struct weir_ip *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static inline bool ip_is4(const struct weir_ip *a)
{
	static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	return memcmp(a->b, prefix, sizeof(prefix)) == 0;
}

static inline bool ip_is_any(const struct weir_ip *a)
{
	static const struct weir_ip any;
	return ip_eq(a, &any);
}

static inline uint16_t ip_header_bytes(const struct weir_ip *a)
{
	return ip_is4(a) ? IP4_HEADER : IP6_HEADER;
}

static inline uint16_t ip_mtu_min(const struct weir_ip *a)
{
	return ip_is4(a) ? IP4_MTU_MIN : IP6_MTU_MIN;
}

/* What the MTU towards an address has more than its MSS: both headers (RFC 9293 3.7.1). */
static inline uint16_t ip_mss_overhead(const struct weir_ip *a)
{
	return (uint16_t)(ip_header_bytes(a) + TCP_HEADER_MIN);
}

/* From an IPv4 address in network order. */
static inline struct weir_ip ip_from4(uint32_t be)
{
	struct weir_ip a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
	memcpy(a.b + 12, &be, 4);
	return a;
}

/* The IPv4 address in network order; only where ip_is4(). */
static inline uint32_t ip_to4(const struct weir_ip *a)
{
	uint32_t be;
	memcpy(&be, a->b + 12, 4);
	return be;
}

/* True if a and b agree in the first len bits; len counts in the address's own family (0-32 or 0-128). */
bool ip_in_prefix(const struct weir_ip *a, const struct weir_ip *prefix, unsigned len);

/* Reads n bytes of text ("10.0.0.1", "fd00::1"; no brackets, no zone). 0 or -EINVAL. */
int ip_parse(const char *text, size_t n, struct weir_ip *out);

/* Writes text with NUL into buf (at least IP_TEXT_MAX bytes); returns buf. */
char *ip_format(const struct weir_ip *a, char *buf);

#endif
