/* SPDX-License-Identifier: Apache-2.0 */
/* A list and a capture that are asked for as they should be: for a test to change what it is about. */
#ifndef TESTS_CTL_DIAG_ARGS_H
#define TESTS_CTL_DIAG_ARGS_H

#include "weir/diag.h"

static inline struct weir_conn_query good_query(void)
{
	return (struct weir_conn_query){.worker = WEIR_ALL_WORKERS, .states = 1u << WEIR_CONN_ESTABLISHED, .limit = 10};
}

static inline struct weir_capture_spec good_spec(void)
{
	return (struct weir_capture_spec){.worker = WEIR_ALL_WORKERS, .snaplen = 100, .duration_us = WEIR_CAPTURE_MAX_US,
					  .n_insns = 1, .insns = {{.code = 0x06, .k = 60}}};
}

#endif
