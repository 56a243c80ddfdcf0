/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos of real clients, whole, in pieces and damaged; and ones made here, for what no client sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "hellos.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define RECORD_HEAD 5u
#define MAX 16384u

struct bytes {
	size_t n;
	uint8_t p[160000];
};

static void put(struct bytes *b, const void *p, size_t n)
{
	assert_true(b->n + n <= sizeof(b->p));
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void put_int(struct bytes *b, size_t v, unsigned n_bytes)
{
	while (n_bytes--)
		put(b, (uint8_t[]){(uint8_t)(v >> 8 * n_bytes)}, 1);
}

static void put_hex(struct bytes *b, const char *hex)
{
	for (; *hex; hex += 2)
		put_int(b, strtoul((char[]){hex[0], hex[1], 0}, NULL, 16), 1);
}

static void set16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static size_t get16(const uint8_t *p)
{
	return (size_t)p[0] << 8 | p[1];
}

/* From bytes of just this size: a sanitizer sees one too far. */
static enum hello_outcome read_n(const uint8_t *p, size_t n, size_t max, struct hello *out)
{
	uint8_t *copy = malloc(n ? n : 1);
	enum hello_outcome o;
	size_t wants;

	memcpy(copy, p, n);
	memset(out, 0x5a, sizeof(*out));
	o = hello_read(copy, n, max, out);
	wants = hello_wants(copy, n, max);
	free(copy);
	if (o == HELLO_MORE)
		assert_true(wants > n && wants <= max);
	else
		assert_int_equal(wants, n);
	return o;
}

static enum hello_outcome outcome(const struct bytes *b)
{
	struct hello h;

	return read_n(b->p, b->n, MAX, &h);
}

/* Message bytes in records of these many bytes; 0 for last: all that are left. */
static void put_records(struct bytes *b, const uint8_t *message, size_t n, size_t first, size_t others)
{
	for (size_t i = 0, k = first; i < n; i += k, k = others) {
		if (k > n - i)
			k = n - i;
		put_hex(b, "160301");
		put_int(b, k, 2);
		put(b, message + i, k);
	}
}

/* A hello with these extensions, length included; NULL: without any. */
static void make_hello(struct bytes *b, const struct bytes *extensions)
{
	size_t n = 2 + 32 + 1 + 4 + 2 + (extensions ? 2 + extensions->n : 0);

	b->n = 0;
	put_hex(b, "160301");
	put_int(b, 4 + n, 2);
	put_int(b, 1, 1);
	put_int(b, n, 3);
	put_hex(b, "0303");
	for (unsigned i = 0; i < 32; i++)
		put_int(b, i, 1);
	put_hex(b, "00" "00021301" "0100");
	if (!extensions)
		return;
	put_int(b, extensions->n, 2);
	put(b, extensions->p, extensions->n);
}

static void make_hello_hex(struct bytes *b, const char *extensions)
{
	static struct bytes e;

	e.n = 0;
	put_hex(&e, extensions);
	make_hello(b, &e);
}

static void put_server_name(struct bytes *e, const void *name, size_t n)
{
	put_hex(e, "0000");
	put_int(e, n + 5, 2);
	put_int(e, n + 3, 2);
	put_int(e, 0, 1);
	put_int(e, n, 2);
	put(e, name, n);
}

static void make_hello_named(struct bytes *b, const void *name, size_t n)
{
	static struct bytes e;

	e.n = 0;
	put_server_name(&e, name, n);
	make_hello(b, &e);
}

static void real_hello(struct bytes *b, size_t i)
{
	b->n = 0;
	put_hex(b, hellos[i].hex);
}

/* -- whole, and in pieces */

static void hellos_of_clients_are_read(void **state)
{
	static struct bytes b;
	struct hello h;

	for (size_t i = 0; i < COUNT(hellos); i++) {
		real_hello(&b, i);
		if (read_n(b.p, b.n, MAX, &h) != HELLO_DONE)
			fail_msg("%s", hellos[i].client);
		if (memcmp(&h, &hellos[i].says, sizeof(h)) != 0)
			fail_msg("%s: %s (%u), TLS 1.3 %d, ALPN %d, %d, %d", hellos[i].client, h.server_name, h.n_server_name,
				 h.has_tls13, h.has_alpn, h.has_http1, h.has_h2);
	}
}

/* Each prefix needs more; waiting for what is wanted leads to the end, and soon. */
static void check_prefixes(const struct bytes *b, unsigned max_steps)
{
	unsigned steps = 0;
	size_t n = 0;
	struct hello h;

	for (size_t k = 0; k < b->n; k++) {
		assert_int_equal(read_n(b->p, k, MAX, &h), HELLO_MORE);
		assert_true(hello_wants(b->p, k, MAX) <= b->n);
	}
	for (; n < b->n; n = hello_wants(b->p, n, MAX))
		steps++;
	assert_int_equal(n, b->n);
	assert_true(steps <= max_steps);
	assert_int_equal(read_n(b->p, n, MAX, &h), HELLO_DONE);
}

static void a_truncated_hello_wants_more_and_no_more_than_that(void **state)
{
	static struct bytes b;

	for (size_t i = 0; i < COUNT(hellos); i++) {
		real_hello(&b, i);
		check_prefixes(&b, 4);
	}
}

static void records_make_no_difference(void **state)
{
	static struct bytes whole, b;
	struct hello h;

	for (size_t i = 0; i < COUNT(hellos); i++) {
		const uint8_t *message = whole.p + RECORD_HEAD;
		size_t n;

		real_hello(&whole, i);
		n = whole.n - RECORD_HEAD;
		for (size_t cut = 1; cut < n; cut++)
			for (unsigned k = 0; k < 2; k++) { /* in two there; and all of that size */
				b.n = 0;
				put_records(&b, message, n, cut, k ? cut : n);
				assert_int_equal(read_n(b.p, b.n, MAX, &h), HELLO_DONE);
				assert_memory_equal(&h, &hellos[i].says, sizeof(h));
			}
		for (size_t cut = 1; cut < n; cut = cut * 2 + 1) {
			b.n = 0;
			put_records(&b, message, n, cut, cut);
			check_prefixes(&b, 60);
		}
	}
}

static void what_comes_behind_the_hello_is_not_looked_at(void **state)
{
	static struct bytes b;
	struct hello h;

	for (size_t i = 0; i < COUNT(hellos); i++) {
		size_t n;

		real_hello(&b, i);
		n = b.n;
		put_hex(&b, "140303000101170303ffff00");
		for (; n <= b.n; n++) {
			assert_int_equal(read_n(b.p, n, MAX, &h), HELLO_DONE);
			assert_memory_equal(&h, &hellos[i].says, sizeof(h));
		}
	}
}

/* -- records */

static void other_protocols_are_told_by_their_first_byte(void **state)
{
	struct hello h;
	uint8_t first = 0;

	assert_int_equal(hello_wants(&first, 0, MAX), 1);
	do {
		assert_int_equal(read_n(&first, 1, MAX, &h), first == 22 ? HELLO_MORE : HELLO_NOT_TLS);
	} while (++first);
	assert_int_equal(read_n((const uint8_t *)"GET / HTTP/1.1\r\n", 16, MAX, &h), HELLO_NOT_TLS);
	assert_int_equal(read_n((const uint8_t *)"\x15\x03\x01\x00\x02\x01\x00", 7, MAX, &h), HELLO_NOT_TLS);
}

static void wrong_records_are_bad(void **state)
{
	static const struct {
		const char *hex;
		enum hello_outcome o;
	} cases[] = {
		{"1602", HELLO_BAD},	     /* version */
		{"1604", HELLO_BAD},
		{"1603ff", HELLO_MORE},	     /* of which the minor part is to be ignored (RFC 8446 5.1) */
		{"1603010000", HELLO_BAD},   /* empty */
		{"1603014001", HELLO_BAD},   /* larger than any */
		{"1603014000", HELLO_TOO_LARGE}, /* with its head more than MAX */
		{"160301000402000000", HELLO_BAD}, /* another message */
		{"16030100010216", HELLO_BAD},
		{"160301000101" "1503010002", HELLO_BAD}, /* an alert in between */
		{"160301000101" "17", HELLO_BAD},
		{"160301000101" "1602", HELLO_BAD},
		{"160301000101" "1603010000", HELLO_BAD},
		{"160301000101" "1603010003000000", HELLO_BAD}, /* an empty hello */
		{"160301000101" "160301000400000101", HELLO_BAD}, /* more in the record than the hello */
		{"160301000501000000", HELLO_BAD},
		{"160301000401ffffff", HELLO_TOO_LARGE},
		{"160301000401003f00", HELLO_MORE},
		{"160301000401004000", HELLO_TOO_LARGE},
	};
	static struct bytes b;

	for (size_t i = 0; i < COUNT(cases); i++) {
		enum hello_outcome o;

		b.n = 0;
		put_hex(&b, cases[i].hex);
		o = outcome(&b);
		if (o != cases[i].o)
			fail_msg("%s: %d, wanted %d", cases[i].hex, (int)o, (int)cases[i].o);
	}
}

static void max_bytes_bounds_hello_and_records(void **state)
{
	static struct bytes whole, b;
	struct hello h;

	for (size_t i = 0; i < COUNT(hellos); i++) {
		real_hello(&whole, i);
		for (size_t cut = 20; cut < whole.n; cut += 37) {
			b.n = 0;
			put_records(&b, whole.p + RECORD_HEAD, whole.n - RECORD_HEAD, cut, cut);
			assert_int_equal(read_n(b.p, b.n, b.n, &h), HELLO_DONE);
			assert_int_equal(read_n(b.p, b.n, b.n - 1, &h), HELLO_TOO_LARGE);
			assert_int_equal(read_n(b.p, b.n, 0, &h), HELLO_TOO_LARGE);
		}
		/* In one record: said by the first bytes. */
		assert_int_equal(read_n(whole.p, RECORD_HEAD, whole.n, &h), HELLO_MORE);
		assert_int_equal(read_n(whole.p, RECORD_HEAD, whole.n - 1, &h), HELLO_TOO_LARGE);
	}
}

/* Larger than a record may be. */
static void a_hello_of_several_full_records_is_read(void **state)
{
	static struct bytes e, b, whole;
	static uint8_t zeros[40000];
	struct hello h;

	e.n = 0;
	put_server_name(&e, "a.example", 9);
	put_hex(&e, "0015");
	put_int(&e, sizeof(zeros), 2);
	put(&e, zeros, sizeof(zeros));
	put_hex(&e, "002b0003020304");
	make_hello(&whole, &e);
	b.n = 0;
	put_records(&b, whole.p + RECORD_HEAD, whole.n - RECORD_HEAD, 16384, 16384);
	assert_int_equal(read_n(b.p, b.n, b.n, &h), HELLO_DONE);
	assert_string_equal(h.server_name, "a.example");
	assert_true(h.has_tls13);
	assert_int_equal(hello_wants(b.p, 9, b.n), b.n);
	assert_int_equal(read_n(b.p, 9, b.n - 1, &h), HELLO_TOO_LARGE);
}

/* -- lengths */

struct length {
	size_t at;
	unsigned n_bytes;
};

/* Where each length in a real hello stands: found by a walk of the test's own. */
static size_t find_lengths(const struct bytes *b, struct length *out)
{
	size_t n = 0;
	size_t at = RECORD_HEAD + 4 + 2 + 32;
	size_t end;

	out[n++] = (struct length){3, 2};
	out[n++] = (struct length){6, 3};
	out[n++] = (struct length){at, 1};
	at += 1u + b->p[at];
	out[n++] = (struct length){at, 2};
	at += 2 + get16(b->p + at);
	out[n++] = (struct length){at, 1};
	at += 1u + b->p[at];
	out[n++] = (struct length){at, 2};
	for (at += 2; at < b->n; at = end) {
		size_t type = get16(b->p + at);

		end = at + 4 + get16(b->p + at + 2);
		out[n++] = (struct length){at + 2, 2};
		if (type == 0 || type == 16)
			out[n++] = (struct length){at + 4, 2};
		if (type == 0)
			out[n++] = (struct length){at + 7, 2};
		if (type == 43)
			out[n++] = (struct length){at + 4, 1};
		if (type == 16)
			for (size_t k = at + 6; k < end; k += 1u + b->p[k])
				out[n++] = (struct length){k, 1};
	}
	return n;
}

static void a_length_that_does_not_fit_is_never_taken(void **state)
{
	static const int by[] = {-1, 1};
	static struct bytes b;
	struct length lengths[100];

	for (size_t i = 0; i < COUNT(hellos); i++) {
		size_t n;

		real_hello(&b, i);
		n = find_lengths(&b, lengths);
		for (size_t k = 0; k < n; k++)
			for (size_t x = 0; x < COUNT(by); x++) {
				size_t at = lengths[k].at + lengths[k].n_bytes - 1;

				b.p[at] = (uint8_t)(b.p[at] + by[x]);
				if (outcome(&b) == HELLO_DONE)
					fail_msg("%s: length at %zu, %+d", hellos[i].client, lengths[k].at, by[x]);
				b.p[at] = (uint8_t)(b.p[at] - by[x]);
			}
		assert_int_equal(outcome(&b), HELLO_DONE);
	}
}

/* Whatever one byte is changed to, the outcome does not depend on the records, and what is done is well formed. */
static void a_changed_byte_breaks_nothing(void **state)
{
	static struct bytes b, pieces;
	struct hello one, many;

	for (size_t i = 0; i < COUNT(hellos); i++) {
		real_hello(&b, i);
		for (size_t at = RECORD_HEAD + 4; at < b.n; at++)
			for (unsigned bit = 0; bit < 8; bit++) {
				enum hello_outcome o;

				b.p[at] ^= (uint8_t)(1u << bit);
				o = read_n(b.p, b.n, MAX, &one);
				pieces.n = 0;
				put_records(&pieces, b.p + RECORD_HEAD, b.n - RECORD_HEAD, 1 + at % 60, 1 + at % 60);
				assert_int_equal(read_n(pieces.p, pieces.n, MAX, &many), o);
				assert_memory_equal(&one, &many, sizeof(one));
				assert_true(o == HELLO_DONE || o == HELLO_BAD);
				b.p[at] ^= (uint8_t)(1u << bit);
			}
	}
}

static void each_part_has_its_bounds(void **state)
{
	static struct bytes b;
	struct hello h;

	make_hello(&b, NULL);
	assert_int_equal(read_n(b.p, b.n, MAX, &h), HELLO_DONE);
	assert_int_equal(h.legacy_version, 0x0303);
	assert_false(h.has_tls13 || h.has_alpn || h.n_server_name);
	make_hello_hex(&b, "");
	assert_int_equal(outcome(&b), HELLO_DONE);
	make_hello(&b, NULL);
	put_int(&b, 0, 1); /* trailing: half a length */
	set16(b.p + 3, b.n - RECORD_HEAD);
	set16(b.p + 7, b.n - RECORD_HEAD - 4);
	assert_int_equal(outcome(&b), HELLO_BAD);
	make_hello_hex(&b, "00170000");
	put_int(&b, 0, 1); /* behind the extensions */
	set16(b.p + 3, b.n - RECORD_HEAD);
	set16(b.p + 7, b.n - RECORD_HEAD - 4);
	assert_int_equal(outcome(&b), HELLO_BAD);
}

/* -- extensions */

static void extensions_are_well_formed_or_bad(void **state)
{
	static const struct {
		const char *hex;
		bool is_good;
	} cases[] = {
		{"00170000" "00230000", true},
		{"00170000" "00170000", false}, /* twice */
		{"fafa0000" "fafa0000", false}, /* of any type */
		{"ffff0000" "00230000" "ffff0000", false},
		{"0017", false},
		{"001700", false},
		{"00170001", false},
		/* server_name */
		{"00000000", false},
		{"000000020000", false},
		{"0000000500030000" "00", false},
		{"000000060004000001" "61", true},
		{"000000060004010001" "61", false},	/* another type of name */
		{"0000000a0008000001" "6100000162", false}, /* two names */
		{"000000070004000001" "6100", false},	/* trailing */
		{"000000070005000001" "6100", false},
		/* supported_versions */
		{"002b0003020304", true},
		{"002b0005040304" "0303", true},
		{"002b00020103", false},
		{"002b000403030403", false},
		{"002b000100", false},
		{"002b0000", false},
		{"002b000402030400", false},
		{"002b00020304", false},
		/* ALPN */
		{"001000050003026832", true},
		{"0010000a0008" "0268320461626364", true},
		{"00100002" "0000", false},
		{"00100000", false},
		{"00100003000100", false},	 /* an empty name */
		{"001000060004" "02683200", false},
		{"001000050003036832", false}, /* beyond the list */
		{"001000060003026832" "00", false},
		{"001000050004026832", false},
	};
	static struct bytes b;

	for (size_t i = 0; i < COUNT(cases); i++) {
		make_hello_hex(&b, cases[i].hex);
		if (outcome(&b) != (cases[i].is_good ? HELLO_DONE : HELLO_BAD))
			fail_msg("%s: %d", cases[i].hex, (int)outcome(&b));
	}
}

static void alpn_and_versions_are_told_apart(void **state)
{
	static const struct {
		const char *hex;
		bool tls13, alpn, http1, h2;
	} cases[] = {
		{"", false, false, false, false},
		{"002b0003020303", false, false, false, false},
		{"002b0007060a0a03040303", true, false, false, false},
		{"002b0003027f1c", false, false, false, false}, /* a draft's */
		{"001000050003026832", false, true, false, true},
		{"0010000b000908687474702f312e31", false, true, true, false},
		{"0010000b000908687474702f312e30", false, true, false, false}, /* http/1.0 */
		{"0010000c000a09687474702f312e3178", false, true, false, false},
		{"0010000e000c08687474702f312e3102" "6832", false, true, true, true},
		{"0010000500030268" "33", false, true, false, false},
		{"00100004000201" "68", false, true, false, false},
		{"00100006000403683263", false, true, false, false}, /* h2c */
	};
	static struct bytes b;
	struct hello h;

	for (size_t i = 0; i < COUNT(cases); i++) {
		make_hello_hex(&b, cases[i].hex);
		if (read_n(b.p, b.n, MAX, &h) != HELLO_DONE || h.has_tls13 != cases[i].tls13 || h.has_alpn != cases[i].alpn ||
		    h.has_http1 != cases[i].http1 || h.has_h2 != cases[i].h2)
			fail_msg("%s", cases[i].hex);
	}
}

/* -- names */

#define LABEL63 "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij-12"

static void names_are_checked_and_made_one_form(void **state)
{
	static const struct {
		const char *name, *want; /* NULL: bad */
	} cases[] = {
		{"a", "a"},
		{"Shop.EXAMPLE.com", "shop.example.com"},
		{"shop.example.com.", "shop.example.com"},
		{"_dmarc.x--n.0-9", "_dmarc.x--n.0-9"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{LABEL63, LABEL63},
		{LABEL63 ".example", LABEL63 ".example"},
		{LABEL63 "x", NULL},
		{"a." LABEL63 "x", NULL},
		{".", NULL},
		{"..", NULL},
		{"a..", NULL},
		{".a", NULL},
		{"a..b", NULL},
		{"a b", NULL},
		{"*.example.com", NULL},
		{"a/b", NULL},
		{"a:443", NULL},
		{"a@b", NULL},
		{"a\n", NULL},
		{"a%62", NULL},
		{"b\xc3\xbc", NULL},
		/* addresses: none is given */
		{"192.0.2.1", ""},
		{"192.0.2.1.", ""},
		{"2001:db8::1", ""},
		{"::ffff:192.0.2.1", ""},
		{"[2001:db8::1]", ""},
		{"2001:db8::g", NULL},
		{"[a]", NULL},
		{"fe80::1%eth0", NULL},
		{"1.2.3", "1.2.3"},
		{"1.2.3.4.5", "1.2.3.4.5"},
		{"999.1.1.1", "999.1.1.1"},
	};
	static struct bytes b;
	struct hello h;

	for (size_t i = 0; i < COUNT(cases); i++) {
		enum hello_outcome o;

		make_hello_named(&b, cases[i].name, strlen(cases[i].name));
		o = read_n(b.p, b.n, MAX, &h);
		if (o != (cases[i].want ? HELLO_DONE : HELLO_BAD))
			fail_msg("%s: %d", cases[i].name, (int)o);
		if (o == HELLO_DONE)
			assert_string_equal(h.server_name, cases[i].want);
		if (o == HELLO_DONE)
			assert_int_equal(h.n_server_name, strlen(cases[i].want));
	}
	make_hello_named(&b, "a\0b", 3);
	assert_int_equal(outcome(&b), HELLO_BAD);
	make_hello_named(&b, "a\0", 2);
	assert_int_equal(outcome(&b), HELLO_BAD);
}

static void names_have_at_most_255_bytes(void **state)
{
	static struct bytes b;
	char name[300];
	struct hello h;

	for (size_t n = 1; n <= sizeof(name); n++) {
		for (size_t i = 0; i < n; i++)
			name[i] = i % 40 == 39 && i != n - 1 ? '.' : 'A';
		make_hello_named(&b, name, n);
		assert_int_equal(read_n(b.p, b.n, MAX, &h), n <= HELLO_NAME_MAX ? HELLO_DONE : HELLO_BAD);
		if (n <= HELLO_NAME_MAX)
			assert_int_equal(strlen(h.server_name), n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hellos_of_clients_are_read),
		cmocka_unit_test(a_truncated_hello_wants_more_and_no_more_than_that),
		cmocka_unit_test(records_make_no_difference),
		cmocka_unit_test(what_comes_behind_the_hello_is_not_looked_at),
		cmocka_unit_test(other_protocols_are_told_by_their_first_byte),
		cmocka_unit_test(wrong_records_are_bad),
		cmocka_unit_test(max_bytes_bounds_hello_and_records),
		cmocka_unit_test(a_hello_of_several_full_records_is_read),
		cmocka_unit_test(a_length_that_does_not_fit_is_never_taken),
		cmocka_unit_test(a_changed_byte_breaks_nothing),
		cmocka_unit_test(each_part_has_its_bounds),
		cmocka_unit_test(extensions_are_well_formed_or_bad),
		cmocka_unit_test(alpn_and_versions_are_told_apart),
		cmocka_unit_test(names_are_checked_and_made_one_form),
		cmocka_unit_test(names_have_at_most_255_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
