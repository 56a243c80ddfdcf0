/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl capture: the filter is compiled here, by libpcap; what runs in the dataplane is checked there. */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <pcap/pcap.h>

#include "cli/cli.h"
#include "token.h"

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

/* Who may read it: root, and its owner if there is one that we can see. */
static void tell_readers(const char *path)
{
	struct stat st;
	const struct passwd *pw = stat(path, &st) == 0 && st.st_uid != 0 ? getpwuid(st.st_uid) : NULL;

	fprintf(stderr, "weirctl: only who started weir-ctrl can capture: run this as root%s%s\n", pw ? ", or as " : "",
		pw ? pw->pw_name : "");
}

static bool has_token(const char *path, char text[TOKEN_CHARS + 1])
{
	int err = token_read(path, text);

	if (err == 0)
		return true;
	if (err == -EINVAL)
		fprintf(stderr, "weirctl: %s is no capture token\n", path);
	else
		fprintf(stderr, "weirctl: capture token %s: %s\n", path, strerror(-err));
	if (err == -EACCES)
		tell_readers(path);
	else
		fprintf(stderr, "weirctl: weir-ctrl writes it when it starts, beside its --socket or to its --capture-token;"
				" name that file with --token\n");
	return false;
}

/* Writes the packets to out. The exit status. */
static int stream(const char *admin, const char *path, const char *token, FILE *out)
{
	struct trailer t = {.packets = ""};
	int rc;

	catch_signals();
	rc = fetch_stream(admin, path, token, out, &is_stopped, take_field, &t) == 0 ? 0 : 1;
	if (t.packets[0])
		fprintf(stderr, "%s packets, %s dropped as there was no room for them\n", t.packets, t.dropped);
	if (rc == 0 && strcmp(t.end, "good") != 0) {
		fprintf(stderr, "weirctl: it ended early: %s\n", t.end[0] ? t.end : "the connection closed");
		rc = 1;
	}
	return rc;
}

int capture(const char *admin, const struct capture_args *args)
{
	char *program = compile(args->filter, args->snaplen);
	char *escaped = program ? fetch_escape(program) : NULL;
	char token[TOKEN_CHARS + 1];
	FILE *out = stdout;
	char *path = NULL;
	int rc = 1;

	free(program);
	if (!escaped)
		return 2;
	if (asprintf(&path, "/api/v1/capture?program=%s%s", escaped, args->query) < 0)
		abort();
	free(escaped);
	if (has_token(args->token, token)) {
		if (args->file)
			out = fopen(args->file, "we");
		if (out)
			rc = stream(admin, path, token, out);
		if (!out || (args->file && fclose(out) != 0 && rc == 0)) {
			fprintf(stderr, "weirctl: %s: %s\n", args->file, strerror(errno));
			rc = 1;
		}
		explicit_bzero(token, sizeof(token));
	}
	free(path);
	return rc;
}
