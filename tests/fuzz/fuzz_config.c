/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as weir.yaml: taken or refused with at least one error, never more than that. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct config c;
	char *text = NULL;
	size_t n_text = 0;
	FILE *f = open_memstream(&text, &n_text);
	int rc = config_parse("fuzz", (const char *)data, n, &c, f);

	fclose(f);
	if ((rc == 0) != (n_text == 0)) /* silence means taken */
		abort();
	if (rc == 0 && (c.n_ports == 0 || c.n_workers == 0 || c.port_lo > c.port_hi))
		abort();
	free(text);
	return 0;
}
