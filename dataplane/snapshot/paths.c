/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of the ways to pods, which travel alone. */
#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "base/ip.h"
#include "snapshot/check_pvt.h"

#define VNI_MAX 0xffffffu

static bool is_zero(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return any == 0;
}

/* Packets may come from it, and go to it. */
static bool is_host(const struct weir_ip *ip)
{
	static const struct weir_ip loopback = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

	if (ip_is4(ip))
		return ip->b[12] != 0 && ip->b[12] != 127 && ip->b[12] < 224;
	return !ip_is_any(ip) && ip->b[0] != 0xff && !ip_eq(ip, &loopback);
}

/* Of one host. */
static bool is_mac(const uint8_t mac[6])
{
	return !(mac[0] & 1) && !is_zero(mac, 6);
}

static bool is_zero_behind(const struct weir_ip *ip, unsigned len)
{
	static const struct weir_ip any4 = {{[10] = 0xff, [11] = 0xff}}, any;
	struct weir_ip p = ip_is4(ip) ? any4 : any;
	unsigned bits = ip_is4(ip) ? len + 96 : len;

	memcpy(p.b, ip->b, bits / 8);
	if (bits % 8)
		p.b[bits / 8] = (uint8_t)(ip->b[bits / 8] & (0xff00u >> (bits % 8)));
	return ip_eq(ip, &p);
}

bool paths_has_vtep(const struct weir_vtep *v)
{
	return !is_zero(v, sizeof(*v));
}

const char *paths_vtep_fault(const struct weir_vtep *v, bool is4)
{
	if (ip_is4(&v->source) != is4)
		return "its source is of the other family";
	if (!is_host(&v->source))
		return "its source is not the address of a host";
	if (!is_mac(v->mac))
		return "its link address is not that of a host";
	if (v->port == 0)
		return "it has no port";
	if (v->vni > VNI_MAX)
		return "its VNI has more than 24 bits";
	if (v->flags & ~(uint32_t)WEIR_VTEP_ANY_VNI)
		return "it has a flag that nobody knows";
	return NULL;
}

const char *paths_fault(const struct weir_pod_path *p, const struct weir_vtep *vtep)
{
	bool is4 = ip_is4(&p->prefix);

	if (p->prefix_len > (is4 ? 32 : 128))
		return "its prefix is longer than an address";
	if (!is_zero_behind(&p->prefix, p->prefix_len))
		return "its prefix has bits beyond its length";
	if (!is_host(&p->via))
		return "what it goes by is not the address of a host";
	switch (p->kind) {
	case WEIR_PATH_ROUTE:
		if (ip_is4(&p->via) != is4)
			return "its next hop is of the other family";
		return is_zero(p->mac, sizeof(p->mac)) ? NULL : "it has a link address, but no tunnel";
	case WEIR_PATH_VXLAN:
		if (!vtep)
			return "its family has no near end of a tunnel";
		return is_mac(p->mac) ? NULL : "its link address is not that of a host";
	default:
		return "it is of a kind that nobody knows";
	}
}

static enum weir_refusal check_head(const struct check *c, const struct weir_paths *s, size_t n)
{
	size_t wanted;

	if (n < sizeof(*s))
		return check_refuse(c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head has %zu", n, sizeof(*s));
	if (s->magic != WEIR_PATHS_MAGIC)
		return check_refuse(c, WEIR_REFUSED_BAD_MAGIC, "magic is %016" PRIx64, s->magic);
	if (s->abi_major != WEIR_ABI_MAJOR)
		return check_refuse(c, WEIR_REFUSED_BAD_ABI, "major version %u, spoken here is %u", s->abi_major, WEIR_ABI_MAJOR);
	if (s->n_paths > WEIR_MAX_PATHS)
		return check_refuse(c, WEIR_REFUSED_BAD_RANGE, "%u paths, at most %u", s->n_paths, WEIR_MAX_PATHS);
	wanted = sizeof(*s) + s->n_paths * sizeof(struct weir_pod_path);
	if (n != wanted)
		return check_refuse(c, n < wanted ? WEIR_REFUSED_TRUNCATED : WEIR_REFUSED_TOO_BIG, "%zu bytes, %u paths have %zu", n,
				    s->n_paths, wanted);
	if (s->checksum != hash64_zeroed(s, n, offsetof(struct weir_paths, checksum), sizeof(s->checksum), 0))
		return check_refuse(c, WEIR_REFUSED_BAD_CHECKSUM, "the bytes are not those that were sealed");
	return WEIR_REFUSED_OK;
}

static int compare(const struct weir_pod_path *a, const struct weir_pod_path *b)
{
	int d = memcmp(a->prefix.b, b->prefix.b, sizeof(a->prefix.b));

	return d ? d : a->prefix_len - b->prefix_len;
}

enum weir_refusal paths_check(const void *blob, size_t n, struct snapshot_error *err)
{
	const struct check c = {.err = err};
	const struct weir_paths *s = blob;
	const struct weir_pod_path *path = (const struct weir_pod_path *)(s + 1);
	const char *fault;

	if (err)
		*err = (struct snapshot_error){0};
	TRY(check_head(&c, s, n));
	for (unsigned f = 0; f < 2; f++) {
		fault = paths_has_vtep(&s->vtep[f]) ? paths_vtep_fault(&s->vtep[f], f == 0) : NULL;
		if (fault)
			return check_refuse(&c, WEIR_REFUSED_BAD_VALUE, "near end for IPv%c: %s", f == 0 ? '4' : '6', fault);
	}
	for (uint32_t i = 0; i < s->n_paths; i++) {
		const struct weir_vtep *v = &s->vtep[ip_is4(&path[i].prefix) ? 0 : 1];

		fault = paths_fault(&path[i], paths_has_vtep(v) ? v : NULL);
		if (fault)
			return check_refuse(&c, WEIR_REFUSED_BAD_VALUE, "path %u: %s", i, fault);
		if (i > 0 && compare(&path[i - 1], &path[i]) >= 0)
			return check_refuse(&c, WEIR_REFUSED_BAD_ORDER, "paths %u and %u are not in order", i - 1, i);
	}
	return WEIR_REFUSED_OK;
}
