/* SPDX-License-Identifier: Apache-2.0 */
/* See ticket_keys.h. */
#include "ticket_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "snapshot/snapshot.h"
#include "translate/base64.h"

#define JSON_BYTES 2048u
#define BASE64_BYTES ((TICKET_KEY_BYTES + 2) / 3 * 4 + 1)

_Static_assert(sizeof(struct weir_ticket_key) == TICKET_KEY_BYTES, "a key in a Secret is copied as it is");

static const char *const key_names[WEIR_MAX_TICKET_KEYS] = {"0", "1", "2"};

struct weir_ticket_keys ticket_keys_none(void)
{
	return (struct weir_ticket_keys){
	    .magic = WEIR_TICKET_KEYS_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR};
}

static enum ticket_keys_outcome wrong(char *why, const char *key, const char *what)
{
	snprintf(why, TICKET_KEYS_FAULT_BYTES, "%.64s %s", key, what);
	return TICKET_KEYS_WRONG;
}

static int place_of(const char *name)
{
	for (unsigned i = 0; i < WEIR_MAX_TICKET_KEYS; i++)
		if (strcmp(name, key_names[i]) == 0)
			return (int)i;
	return -1;
}

/* One entry of data; false: it is not 80 bytes. */
static bool take_entry(struct weir_ticket_key *out, const struct node *value)
{
	const char *text = node_str(value);
	struct bytes b = text ? base64_decode(text, strlen(text), "\r\n") : (struct bytes){NULL, 0};
	bool fits = b.p && b.n == TICKET_KEY_BYTES;

	if (fits)
		memcpy(out, b.p, TICKET_KEY_BYTES);
	bytes_fini(&b);
	return fits;
}

static enum ticket_keys_outcome read_data(const struct node *data, struct weir_ticket_keys *out, char *why)
{
	bool is_there[WEIR_MAX_TICKET_KEYS] = {false};
	struct snapshot_error err;

	for (size_t i = 0; i < data->n; i++) {
		int at = place_of(data->keys[i]);

		if (at < 0)
			return wrong(why, data->keys[i], "is none of 0, 1 and 2");
		if (!take_entry(&out->key[at], data->items[i]))
			return wrong(why, data->keys[i], "is not 80 bytes in base64");
		is_there[at] = true;
	}
	while (out->n < WEIR_MAX_TICKET_KEYS && is_there[out->n])
		out->n++;
	for (unsigned i = out->n; i < WEIR_MAX_TICKET_KEYS; i++)
		if (is_there[i])
			return wrong(why, key_names[out->n], "is not there, but one behind it is");
	if (ticket_keys_check(out, sizeof(*out), &err) == WEIR_REFUSED_OK)
		return TICKET_KEYS_GOOD;
	snprintf(why, TICKET_KEYS_FAULT_BYTES, "%s", err.text);
	return TICKET_KEYS_WRONG;
}

enum ticket_keys_outcome ticket_keys_read(const struct node *secret, struct weir_ticket_keys *out, char why[TICKET_KEYS_FAULT_BYTES])
{
	const struct node *data = node_get(secret, "data");
	enum ticket_keys_outcome o;

	*out = ticket_keys_none();
	why[0] = 0;
	if (node_get(secret, "stringData")) { /* of a manifest: no bytes can be written there that are a key */
		snprintf(why, TICKET_KEYS_FAULT_BYTES, "it has stringData; keys are bytes, in base64 under data");
		return TICKET_KEYS_WRONG;
	}
	if (!data || data->kind == NODE_NULL || (data->kind == NODE_MAP && data->n == 0)) {
		snprintf(why, TICKET_KEYS_FAULT_BYTES, "it has no keys");
		return TICKET_KEYS_EMPTY;
	}
	if (data->kind != NODE_MAP)
		return wrong(why, "data", "is no map");
	o = read_data(data, out, why);
	if (o != TICKET_KEYS_GOOD)
		explicit_bzero(out, sizeof(*out));
	return o;
}

int64_t ticket_keys_rotated_s(const struct node *secret)
{
	const char *text = node_str(node_get(node_path(secret, "metadata.annotations"), TICKET_KEYS_ROTATED));
	struct tm tm = {0};
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	time_t t = end && !*end ? timegm(&tm) : 0;

	return t > 0 ? (int64_t)t : 0;
}

bool ticket_keys_rotate(struct weir_ticket_keys *k)
{
	struct weir_ticket_key fresh[2];
	bool is_random = getrandom(fresh, sizeof(fresh), 0) == sizeof(fresh);

	if (is_random && k->n == 0) {
		memcpy(k->key, fresh, sizeof(fresh));
		k->n = 2;
	} else if (is_random && k->n == 1) {
		k->key[1] = fresh[0];
		k->n = 2;
	} else if (is_random) {
		k->key[2] = k->key[0];
		k->key[0] = k->key[1];
		k->key[1] = fresh[0];
		k->n = 3;
	}
	explicit_bzero(fresh, sizeof(fresh));
	return is_random;
}

static void encode(const struct weir_ticket_key *key, char out[BASE64_BYTES])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *b = (const uint8_t *)key;
	char *o = out;

	for (size_t i = 0; i < TICKET_KEY_BYTES; i += 3) {
		size_t left = TICKET_KEY_BYTES - i;
		uint32_t bits = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);

		*o++ = digits[bits >> 18];
		*o++ = digits[bits >> 12 & 63];
		*o++ = left > 1 ? digits[bits >> 6 & 63] : '=';
		*o++ = left > 2 ? digits[bits & 63] : '=';
	}
	*o = 0;
}

/* "0":"..."; keys that are not there any more are null, which a merge patch takes away. */
static void print_data(FILE *f, const struct weir_ticket_keys *k, bool is_patch)
{
	char text[BASE64_BYTES];

	fputs("\"data\":{", f);
	for (unsigned i = 0; i < (is_patch ? WEIR_MAX_TICKET_KEYS : k->n); i++) {
		fprintf(f, "%s\"%s\":", i ? "," : "", key_names[i]);
		if (i < k->n) {
			encode(&k->key[i], text);
			fprintf(f, "\"%s\"", text);
		} else {
			fputs("null", f);
		}
	}
	fputs("}", f);
	explicit_bzero(text, sizeof(text));
}

char *ticket_keys_json(const struct weir_ticket_keys *k, const char *ns, const char *name, const char *version, int64_t now_s)
{
	char *out = calloc(1, JSON_BYTES);
	FILE *f = out ? fmemopen(out, JSON_BYTES, "w") : NULL;
	time_t t = (time_t)now_s;
	char when[32];
	struct tm tm;

	if (!f) {
		free(out);
		return NULL;
	}
	setvbuf(f, NULL, _IONBF, 0); /* or a copy would stay behind */
	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (version)
		fprintf(f, "{\"metadata\":{\"resourceVersion\":\"%s\",", version);
	else
		fprintf(f, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\",\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\",",
			ns, name);
	fprintf(f, "\"annotations\":{\"" TICKET_KEYS_ROTATED "\":\"%s\"}},", when);
	print_data(f, k, version != NULL);
	fputs("}", f);
	fclose(f);
	return out;
}

void ticket_keys_forget(char *json)
{
	if (json)
		explicit_bzero(json, JSON_BYTES);
	free(json);
}
