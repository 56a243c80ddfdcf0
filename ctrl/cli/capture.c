/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl capture: the filter is compiled here, by libpcap; what runs in the dataplane is checked there. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <pcap/pcap.h>

#include "cli/cli.h"

static volatile sig_atomic_t is_stopped;

static void on_signal(int sig)
{
	(void)sig;
	is_stopped = 1;
}

struct trailer {
	char packets[24], dropped[24], end[128];
};

static void take_field(void *ctx, const char *name, const char *value)
{
	struct trailer *t = ctx;

	if (strcasecmp(name, "Weir-Packets") == 0)
		snprintf(t->packets, sizeof(t->packets), "%s", value);
	else if (strcasecmp(name, "Weir-Dropped") == 0)
		snprintf(t->dropped, sizeof(t->dropped), "%s", value);
	else if (strcasecmp(name, "Weir-End") == 0)
		snprintf(t->end, sizeof(t->end), "%s", value);
}

/* "N,code jt jf k,...", malloc'd; "" for no filter. NULL after saying what is wrong with it. */
static char *compile(const char *filter, uint32_t snaplen)
{
	pcap_t *p = pcap_open_dead(DLT_EN10MB, (int)snaplen);
	struct bpf_program program;
	char *text = NULL;
	size_t n;
	FILE *f;

	if (!p)
		abort();
	if (pcap_compile(p, &program, filter, 1, PCAP_NETMASK_UNKNOWN) != 0) {
		fprintf(stderr, "weirctl: filter: %s\n", pcap_geterr(p));
		pcap_close(p);
		return NULL;
	}
	f = open_memstream(&text, &n);
	if (!f)
		abort();
	fprintf(f, "%u", program.bf_len);
	for (unsigned i = 0; i < program.bf_len; i++) {
		const struct bpf_insn *b = &program.bf_insns[i];

		fprintf(f, ",%u %u %u %u", b->code, b->jt, b->jf, b->k);
	}
	fclose(f);
	pcap_freecode(&program);
	pcap_close(p);
	return text;
}

static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sa.sa_handler = SIG_IGN; /* a reader that goes is a write that fails */
	sigaction(SIGPIPE, &sa, NULL);
}

int capture(const char *admin, const char *query, const char *filter, uint32_t snaplen, const char *file)
{
	char *program = compile(filter, snaplen);
	char *escaped = program ? fetch_escape(program) : NULL;
	struct trailer t = {.packets = ""};
	FILE *out = stdout;
	char *path = NULL;
	int rc = 1;

	free(program);
	if (!escaped)
		return 2;
	if (asprintf(&path, "/api/v1/capture?program=%s%s", escaped, query) < 0)
		abort();
	free(escaped);
	if (file)
		out = fopen(file, "we");
	if (!out) {
		fprintf(stderr, "weirctl: %s: %s\n", file, strerror(errno));
	} else {
		catch_signals();
		rc = fetch_stream(admin, path, out, &is_stopped, take_field, &t) == 0 ? 0 : 1;
		if (t.packets[0])
			fprintf(stderr, "%s packets, %s dropped as there was no room for them\n", t.packets, t.dropped);
		if (rc == 0 && strcmp(t.end, "good") != 0) {
			fprintf(stderr, "weirctl: it ended early: %s\n", t.end[0] ? t.end : "the connection closed");
			rc = 1;
		}
		if (file && fclose(out) != 0 && rc == 0) {
			fprintf(stderr, "weirctl: %s: %s\n", file, strerror(errno));
			rc = 1;
		}
	}
	free(path);
	return rc;
}
