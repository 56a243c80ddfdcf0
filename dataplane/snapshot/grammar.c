/* SPDX-License-Identifier: Apache-2.0 */
/* What strings of a snapshot may be: host names, header names and values, paths; and names of its values. For the checker and for weir-ctrl. */
#include "snapshot/snapshot.h"

static bool is_host_byte(char b)
{
	return (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-' || b == '.' || b == '_' || b == ':' || b == '[' ||
	       b == ']';
}

bool snapshot_is_host(struct slice host)
{
	for (size_t i = 0; i < host.n; i++)
		if (!is_host_byte(host.p[i]) || (host.p[i] == '[' && i != 0))
			return false;
	return host.n > 0;
}

/* As tls/hello.c has it: letters, digits, '-', '_' in labels of 1 to 63 bytes. */
bool snapshot_is_server_name(struct slice host)
{
	size_t label = 0;

	for (size_t i = 0; i < host.n; i++) {
		char b = host.p[i];

		if (b == '.' ? label == 0 : !is_host_byte(b) || b == ':' || b == '[' || b == ']')
			return false;
		label = b == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0 && host.n <= 255;
}

bool snapshot_is_protected_field(struct slice name)
{
	static const struct slice fields[] = {
		SLICE("connection"), SLICE("content-length"), SLICE("transfer-encoding"), SLICE("host"),
		SLICE("keep-alive"), SLICE("proxy-connection"), SLICE("te"), SLICE("trailer"), SLICE("upgrade"), SLICE("expect"),
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (slice_eq_nocase(fields[i], name))
			return true;
	return false;
}

/* RFC 9110 5.6.2 */
static bool is_token_byte(char b)
{
	return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || (b && strchr("!#$%&'*+-.^_`|~", b));
}

bool snapshot_is_field_name(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!is_token_byte(name.p[i]))
			return false;
	return name.n > 0 && name.n <= WEIR_MAX_FIELD_NAME;
}

static bool is_visible(char b)
{
	return (uint8_t)b > 0x20 && b != 0x7f;
}

bool snapshot_is_field_value(struct slice value)
{
	for (size_t i = 0; i < value.n; i++)
		if (!is_visible(value.p[i]) && value.p[i] != ' ' && value.p[i] != '\t')
			return false;
	return value.n > 0 && is_visible(value.p[0]) && is_visible(value.p[value.n - 1]);
}

bool snapshot_is_target_path(struct slice path)
{
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] < 0x21 || path.p[i] > 0x7e || path.p[i] == '?' || path.p[i] == '#')
			return false;
	return path.n > 0 && path.p[0] == '/';
}

bool snapshot_is_cookie_path(struct slice path)
{
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] < 0x21 || path.p[i] > 0x7e || path.p[i] == ';')
			return false;
	return path.n > 0 && path.n <= WEIR_MAX_COOKIE_PATH && path.p[0] == '/';
}

const char *snapshot_balance_name(uint8_t balance)
{
	static const char *const names[] = {
		[WEIR_BALANCE_ROUND_ROBIN] = "round-robin", [WEIR_BALANCE_LEAST_REQUEST] = "least-request",
		[WEIR_BALANCE_RANDOM] = "random", [WEIR_BALANCE_MAGLEV] = "maglev", [WEIR_BALANCE_RING_HASH] = "ring-hash",
	};

	return names[balance];
}

const char *snapshot_hash_on_name(uint8_t hash_on)
{
	static const char *const names[] = {
		[WEIR_HASH_SOURCE] = "source-address", [WEIR_HASH_HEADER] = "header", [WEIR_HASH_COOKIE] = "cookie"};

	return names[hash_on];
}
