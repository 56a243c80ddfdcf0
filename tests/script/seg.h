/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP segment in its three forms: as a script writes it (seg_spec: numbers
 * relative to the connection's beginning, fields that do not matter), as it
 * stands on the wire (bytes from the TCP header on), and as a person reads it.
 * Nothing here knows a stack or a network.
 */
#ifndef SCRIPT_SEG_H
#define SCRIPT_SEG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEG_MAX_OPTIONS 12
#define SEG_MAX_BYTES 65536
#define SEG_TEXT_MAX 512

#define SEG_FIN 0x001
#define SEG_SYN 0x002
#define SEG_RST 0x004
#define SEG_PSH 0x008
#define SEG_ACK 0x010
#define SEG_URG 0x020
#define SEG_ECE 0x040
#define SEG_CWR 0x080
#define SEG_AE 0x100

/* A number of a script: relative to the connection's base, absolute ("=5"), anything, or not written. */
enum seg_num_kind { SEG_NONE, SEG_REL, SEG_ABS, SEG_ANY };

struct seg_num {
	enum seg_num_kind kind;
	uint32_t v;
};

enum seg_cmp { SEG_EQ, SEG_NE, SEG_LT, SEG_LE, SEG_GT, SEG_GE };

enum seg_option_kind {
	SEG_OPT_EOL = 0,
	SEG_OPT_NOP = 1,
	SEG_OPT_MSS = 2,
	SEG_OPT_WSCALE = 3,
	SEG_OPT_SACK_OK = 4,
	SEG_OPT_SACK = 5,
	SEG_OPT_TS = 8,
	SEG_OPT_RAW = 256, /* bytes as they are */
};

struct seg_option {
	int kind;
	unsigned n; /* values, or raw bytes */
	union {
		struct seg_num v[8]; /* MSS, WSCALE: 1; TS: value and echo; SACK: pairs */
		uint8_t raw[40];
	};
};

/* A segment as written: to be sent, or to be expected. */
struct seg_spec {
	uint16_t flags;
	bool psh_any;
	struct seg_num seq, ack;
	uint32_t len; /* payload bytes */
	bool len_any;
	struct seg_num win; /* as in the header: SEG_ABS, SEG_ANY or SEG_NONE */
	enum seg_cmp win_cmp;
	uint16_t urg;
	int ecn;  /* the two bits of the IP header; -1: not written */
	int fill; /* payload is this byte; -1: the pattern */
	bool has_options, options_any;
	unsigned n_options;
	struct seg_option options[SEG_MAX_OPTIONS];
	uint8_t doff;	/* data offset in words; 0: the right one */
	uint16_t trunc; /* bytes of the segment that are sent; 0: all */
	bool bad_checksum;
};

/* What a script's numbers of one connection are relative to. Ours: of the stack under test. */
struct seg_map {
	uint32_t peer_isn, peer_ts;
	bool has_iss, has_ts; /* else ours are absolute */
	uint32_t iss, ts;
};

/* A segment read from the wire. payload points into what was read. */
struct seg_got {
	uint16_t src_port, dst_port;
	uint32_t seq, ack;
	uint16_t flags, win, urg;
	uint32_t len;
	const uint8_t *payload;
	uint8_t ecn;
	unsigned n_options; /* without NOP and EOL; values are SEG_ABS */
	struct seg_option options[SEG_MAX_OPTIONS];
};

/* Byte i of the stream of the peer or of the stack under test. */
uint8_t seg_pattern(bool is_peer, uint32_t i);

/* seg_text.c: reads a segment's text from FLAGS on. False with *why set. */
bool seg_parse(const char *text, bool is_inject, struct seg_spec *out, const char **why);
bool seg_parse_cmp(const char *word, enum seg_cmp *out);
bool seg_compare_numbers(int64_t a, enum seg_cmp cmp, int64_t b);
const char *seg_cmp_text(enum seg_cmp cmp);

/* Writes header and payload, checksum zero. Returns the length, 0 if it does not fit. */
size_t seg_write(const struct seg_spec *s, const struct seg_map *map, uint16_t src_port, uint16_t dst_port, uint8_t *out,
		 size_t size);

/* Reads header and options. False: malformed. */
bool seg_read(const uint8_t *p, size_t n, uint8_t ecn, struct seg_got *out);

const struct seg_option *seg_find_option(const struct seg_got *g, int kind);

/* As a script would write it. is_peer: the peer sent it. Returns buf. */
char *seg_format(const struct seg_got *g, const struct seg_map *map, bool is_peer, char *buf, size_t size);

/* What both sides agreed on, by which the options of a segment that a script does not write are judged. */
struct seg_agreed {
	bool ts;
	uint32_t ts_slack_ms; /* by which a time stamp's value may be later than written */
};

/* True if g is what s says; else *why tells the difference (SEG_TEXT_MAX bytes). */
bool seg_match(const struct seg_spec *s, const struct seg_got *g, const struct seg_map *map, const struct seg_agreed *agreed,
	       char *why);

#endif
