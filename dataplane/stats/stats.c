/* SPDX-License-Identifier: Apache-2.0 */
/* Names of what is counted, from the one list in weir/stats.h. No DPDK: weir-ctrl links it too. */
#include "stats/stats.h"

const char *const stat_counter_names[WEIR_N_COUNTERS] = {
#define X(id, name, help) [WEIR_C_##id] = name,
	WEIR_COUNTERS(X)
#undef X
};

const char *const stat_counter_help[WEIR_N_COUNTERS] = {
#define X(id, name, help) [WEIR_C_##id] = help,
	WEIR_COUNTERS(X)
#undef X
};

const char *const stat_gauge_names[WEIR_N_GAUGES] = {
#define X(id, name, help) [WEIR_G_##id] = name,
	WEIR_GAUGES(X)
#undef X
};

const char *const stat_gauge_help[WEIR_N_GAUGES] = {
#define X(id, name, help) [WEIR_G_##id] = help,
	WEIR_GAUGES(X)
#undef X
};

const char *const stat_reason_names[WEIR_N_REASONS] = {
#define X(id, name, help) [WEIR_R_##id] = name,
	WEIR_REASONS(X)
#undef X
};

const char *const stat_reason_help[WEIR_N_REASONS] = {
#define X(id, name, help) [WEIR_R_##id] = help,
	WEIR_REASONS(X)
#undef X
};

enum weir_reason_kind stat_reason_kind(enum weir_reason r)
{
	static const uint8_t kinds[WEIR_N_REASONS] = {
#define X(id, name, help) [WEIR_R_##id] = WEIR_KIND_PACKET,
		WEIR_REASONS_PACKET(X)
#undef X
#define X(id, name, help) [WEIR_R_##id] = WEIR_KIND_CONNECTION,
		WEIR_REASONS_CONNECTION(X)
#undef X
#define X(id, name, help) [WEIR_R_##id] = WEIR_KIND_TLS,
		WEIR_REASONS_TLS(X)
#undef X
#define X(id, name, help) [WEIR_R_##id] = WEIR_KIND_REQUEST,
		WEIR_REASONS_REQUEST(X)
#undef X
	};
	return (enum weir_reason_kind)kinds[r];
}

const char *stat_reason_kind_name(enum weir_reason r)
{
	static const char *const names[] = {
		[WEIR_KIND_PACKET] = "packet",
		[WEIR_KIND_CONNECTION] = "connection",
		[WEIR_KIND_TLS] = "tls",
		[WEIR_KIND_REQUEST] = "request",
	};

	return names[stat_reason_kind(r)];
}
