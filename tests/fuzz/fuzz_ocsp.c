/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCSP: what is read of a certificate whoever made it, and responses whoever
 * sent them. The input: the length of the leaf and of its issuer, 2 bytes each
 * in big-endian, these two, and the response. The clock stands still, so that
 * what the corpus has of good responses stays good.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ocsp/check.h"
#include "snapshot/snapshot.h"
#include "translate/certificate.h"

#define NOW_S 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void judge(const struct certificate *c, unsigned issuer, const uint8_t *bytes, size_t n)
{
	struct ocsp_verdict v = {.reason = NULL};
	enum ocsp_outcome o = ocsp_response_judge(c->blob, issuer, bytes, n, NOW_S, &v);

	if ((o == OCSP_GOOD || o == OCSP_REVOKED) &&
	    (v.this_s > NOW_S + OCSP_SKEW_S || v.until_s <= NOW_S || v.until_s < v.this_s || !v.reason))
		abort();
	if (o == OCSP_GOOD) {
		struct certificate *stapled = certificate_with_ocsp(c, (struct certificate_part){bytes, n});

		if (!stapled || certificate_check(stapled->blob, stapled->blob->size, NULL) != WEIR_REFUSED_OK)
			abort();
		certificate_put(stapled);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct certificate_part parts[2];
	struct ocsp_facts f;
	struct certificate *c;
	size_t n_request = 0;
	unsigned char *request;

	if (n < 4)
		return 0;
	parts[0].n = (size_t)(bytes[0] << 8 | bytes[1]);
	parts[1].n = (size_t)(bytes[2] << 8 | bytes[3]);
	if (n - 4 < parts[0].n + parts[1].n || parts[0].n == 0 || parts[1].n == 0)
		return 0;
	parts[0].p = bytes + 4;
	parts[1].p = parts[0].p + parts[0].n;
	c = certificate_create(parts, 2, (struct certificate_part){(const unsigned char *)"key", 3});
	if (!c)
		return 0;
	if (ocsp_facts_read(c->blob, &f)) {
		if (memchr(f.url, 0, sizeof(f.url)) == NULL || f.issuer > 1)
			abort();
		request = ocsp_request_make(c->blob, 1, &n_request);
		if (f.issuer && (!request || n_request == 0))
			abort();
		free(request);
		judge(c, 1, parts[1].p + parts[1].n, n - 4 - parts[0].n - parts[1].n);
	}
	certificate_put(c);
	return 0;
}
