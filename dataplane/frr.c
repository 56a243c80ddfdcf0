/* SPDX-License-Identifier: Apache-2.0 */
/* From the section `bgp` of weir.yaml to a configuration of FRR: `weir-dataplane --print-frr`. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "announce.h"
#include "base/log.h"

#define PASSWORD_MAX 80 /* RFC 2385 4.5, and what FRR takes */

static bool is_of(const struct weir_ip *ip, bool is4)
{
	return ip_is4(ip) == is4;
}

static unsigned count(const struct config_bgp *b, bool is4)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n_announce; i++)
		n += is_of(&b->announce[i], is4);
	return n;
}

static unsigned count_neighbors(const struct config_bgp *b, bool is4)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n_neighbors; i++)
		n += is_of(&b->neighbors[i].address, is4);
	return n;
}

/* The first line of the file. */
static int read_password(const char *path, char out[PASSWORD_MAX + 2])
{
	FILE *f = fopen(path, "r");
	int rc = f ? 0 : -errno;

	if (f && !fgets(out, PASSWORD_MAX + 2, f))
		rc = -EINVAL;
	if (f)
		fclose(f);
	if (rc == 0)
		out[strcspn(out, "\r\n")] = 0;
	if (rc == 0 && (!out[0] || strlen(out) > PASSWORD_MAX || strchr(out, ' ')))
		rc = -EINVAL;
	if (rc)
		log_error("bgp: password_file %s: %s; expected a line of 1 to %u characters without a space", path, strerror(-rc), PASSWORD_MAX);
	return rc;
}

/* What may be announced: nothing else that the kernel has. */
static void write_filter(const struct config_bgp *b, bool is4, FILE *f)
{
	const char *family = is4 ? "ip" : "ipv6";
	char text[IP_TEXT_MAX];
	unsigned seq = 0;

	for (unsigned i = 0; i < b->n_announce; i++)
		if (is_of(&b->announce[i], is4))
			fprintf(f, "%s prefix-list weir-%s seq %u permit %s/%d\n", family, family, seq += 5, ip_format(&b->announce[i], text),
				is4 ? 32 : 128);
	fprintf(f, "!\nroute-map weir-%s permit 10\n match %s address prefix-list weir-%s\nexit\n!\n", family, family, family);
}

static int write_neighbor(const struct config_bgp *b, const struct config_neighbor *n, FILE *f)
{
	char password[PASSWORD_MAX + 2];
	char text[IP_TEXT_MAX];
	int rc;

	ip_format(&n->address, text);
	fprintf(f, " neighbor %s remote-as %" PRIu32 "\n neighbor %s timers %" PRIu32 " %" PRIu32 "\n", text, n->asn, text, b->keepalive_s,
		b->hold_s);
	fprintf(f, " neighbor %s timers connect 2\n", text); /* back soon after a restart */
	if (n->multihop && n->asn != b->asn)
		fprintf(f, " neighbor %s ebgp-multihop\n", text);
	if (n->bfd)
		fprintf(f, " neighbor %s bfd\n", text);
	if (!n->password_file[0])
		return 0;
	rc = read_password(n->password_file, password);
	if (rc == 0)
		fprintf(f, " neighbor %s password %s\n", text, password);
	explicit_bzero(password, sizeof(password));
	return rc;
}

static bool learns(const struct config *c)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (c->ports[i].kernel.learns)
			return true;
	return false;
}

static void write_family(const struct config_bgp *b, bool is4, FILE *f)
{
	const char *family = is4 ? "ip" : "ipv6";
	char text[IP_TEXT_MAX];

	fprintf(f, " address-family %s unicast\n  redistribute kernel route-map weir-%s\n", is4 ? "ipv4" : "ipv6", family);
	for (unsigned i = 0; i < b->n_neighbors; i++) {
		if (!is_of(&b->neighbors[i].address, is4))
			continue;
		ip_format(&b->neighbors[i].address, text);
		fprintf(f, "  neighbor %s activate\n  neighbor %s route-map weir-%s out\n  neighbor %s route-map weir-in in\n", text, text,
			family, text);
	}
	fprintf(f, " exit-address-family\n");
}

int frr_write(const struct config *config, FILE *f)
{
	const struct config_bgp *b = &config->bgp;
	char text[IP_TEXT_MAX];
	int rc = 0;

	fprintf(f, "! Made by weir-dataplane --print-frr from the section bgp of weir.yaml. zebra and bgpd read it%s.\n!\n",
		", and bfdd where BFD is used");
	fprintf(f, "frr defaults traditional\n!\n");
	for (int is4 = 1; is4 >= 0; is4--) {
		if (!count(b, is4))
			continue;
		if (!count_neighbors(b, is4))
			fprintf(f, "! No neighbor has an %s address, so nothing of that family is announced.\n", is4 ? "IPv4" : "IPv6");
		write_filter(b, is4, f);
	}
	fprintf(f, "route-map weir-in %s 10\nexit\n!\nrouter bgp %" PRIu32 "\n bgp router-id %s\n no bgp default ipv4-unicast\n"
		" bgp bestpath as-path multipath-relax\n", learns(config) ? "permit" : "deny", b->asn, ip_format(&b->router_id, text));
	for (unsigned i = 0; i < b->n_neighbors && rc == 0; i++)
		rc = write_neighbor(b, &b->neighbors[i], f);
	for (int is4 = 1; is4 >= 0; is4--)
		if (count(b, is4))
			write_family(b, is4, f);
	fprintf(f, "exit\n!\n");
	return rc;
}
