/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types that both programs and both directions of the contract use.
 *
 * Everything under include/weir/ is shared between weir-dataplane and
 * weir-ctrl, which are built, started and upgraded apart: fixed-width fields
 * in host byte order, offsets instead of pointers, no DPDK types. A change
 * that an older reader would misread raises WEIR_ABI_MAJOR.
 */
#ifndef WEIR_TYPES_H
#define WEIR_TYPES_H

#include <stdint.h>

#define WEIR_ABI_MAJOR 7 /* differs: refused. 2: filters, which an older reader would leave out; 3: time limits, balancing (snapshot.h); 4: ids of backends, filters for CORS; 5: hash_seed, retry of rules; 6: TLS; 7: certificates of clients and backends, byte streams */
#define WEIR_ABI_MINOR 4 /* newer: new fields stand in what was reserved, or at the end, where a reader looks by this number. 4: xstats_off (stats.h) */

/* An IPv4 (as ::ffff:a.b.c.d, RFC 4291 2.5.5.2) or IPv6 address, network order. All zero: any. */
struct weir_ip {
	uint8_t b[16];
};

/* Bytes in the string section of the blob that holds this field; not NUL terminated. */
struct weir_str {
	uint32_t off;
	uint32_t len;
};

/* Entries first .. first + count - 1 of the section that the field's comment names. */
struct weir_range {
	uint32_t first;
	uint32_t count;
};

#endif
