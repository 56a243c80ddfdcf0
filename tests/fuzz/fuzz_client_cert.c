/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a name within a client's certificate, and as the fields about one that a trusted hop sends. Whatever a name is,
 * what is written of it is printable and stays within its quotes; a field that is believed leaves no quoted string open.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/proxy_pvt.h"
#include "tls/tls_pvt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) \
	do { \
		if (!(x)) \
			abort(); \
	} while (0)

static void check_name(struct slice in)
{
	static char mem[4 * 4096];
	struct buf out;

	buf_init(&out, mem, sizeof(mem));
	tls_client_cert_quote_name(&out, in);
	CHECK(!out.overflow && out.n >= 2 && mem[0] == '"' && mem[out.n - 1] == '"');
	for (size_t i = 1; i + 1 < out.n; i++) {
		CHECK(mem[i] >= ' ' && mem[i] < 0x7f && mem[i] != '"' && mem[i] != ';');
		if (mem[i] == '\\') {
			CHECK(i + 3 < out.n && isxdigit((unsigned char)mem[i + 1]) && isxdigit((unsigned char)mem[i + 2]));
			i += 2;
		}
	}
	CHECK(client_cert_is_xfcc(buf_get(&out)));
}

static void check_san(struct slice in)
{
	static char mem[2 * 4096];
	struct buf out;
	size_t n_quotes = 0, n_ends = 0;

	buf_init(&out, mem, sizeof(mem));
	if (!tls_client_cert_put_san(&out, "URI", in)) {
		CHECK(out.n == 0);
		return;
	}
	CHECK(!out.overflow);
	for (size_t i = 0; i < out.n; i++) {
		CHECK(mem[i] > ' ' && mem[i] < 0x7f && mem[i] != '\\');
		n_quotes += mem[i] == '"';
		n_ends += n_quotes % 2 == 0 && (mem[i] == ';' || mem[i] == ',' || mem[i] == '=');
	}
	CHECK((n_quotes == 0 || n_quotes == 2) && n_ends == 2); /* those before the value */
	CHECK(client_cert_is_xfcc(buf_get(&out)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *copy; /* of just this size: a sanitizer sees one too far */
	struct slice in;

	if (n > 4000)
		return 0;
	copy = malloc(n ? n : 1);
	CHECK(copy);
	if (n)
		memcpy(copy, data, n);
	in = slice_of(copy, n);
	check_name(in);
	check_san(in);
	client_cert_is_xfcc(in);
	if (client_cert_is_field(in))
		CHECK(n > 2 && client_cert_is_chain(in));
	client_cert_is_chain(in);
	free(copy);
	return 0;
}
