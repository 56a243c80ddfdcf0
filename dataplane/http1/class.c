/* SPDX-License-Identifier: Apache-2.0 */
/* Byte classes of HTTP/1.1: RFC 9110 5.5 and 5.6.2, RFC 3986 2. */
#include "http1/scan.h"

/*
 * A target may also have '^', '`', '{', '|' and '}', which RFC 3986 wants
 * encoded and browsers send as they are; no reader takes them for anything else.
 *
 * A host may have what a reg-name of RFC 3986 3.2.2 has, but for ',': who
 * merges two Host lines makes a list of them, and it is read in two ways.
 */
const uint8_t http1_class[256] = {
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
	 2, 15,  2,  3, 15, 15, 15, 15, 14, 14, 15, 15,  6, 15, 15,  6,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63,  6, 14,  2, 14,  2,  6,
	 6, 31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  2,  6,  7, 15,
	 7, 31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  7,  6, 15,  0,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
	 2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
};

/* The columns for CLASS_TOKEN and CLASS_TARGET again, as scan.h reads them. */
const struct scan_set scan_set_token = {
	{0xe8, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xf8, 0xf8, 0xf4, 0x54, 0xd0, 0x54, 0xf4, 0x70}};
const struct scan_set scan_set_target = {
	{0xf8, 0xfc, 0xf8, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xd4, 0xfc, 0xf4, 0x7c}};
