/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of weir-blast. */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "main.h"

static const char usage[] =
	"Usage: weir-blast --port DEVICE [options] [PHASE...]\n"
	"\n"
	"Clients and an origin in one process; the proxy is between them, or nothing.\n"
	"A PHASE is one argument; its report is printed when it has ended:\n"
	"  'connect n=N [rate=PER_SECOND] [opening=N] [owner=WORKER] [seconds=AT_MOST]'\n"
	"  'hold seconds=S [n=LEFT] [tell=0|1]'\n"
	"  'load seconds=S [warmup=S] [active=N] [rate=PER_SECOND] [size=B[,B...]]\n"
	"        [flood=PER_SECOND|max] [new=PER_SECOND | shots=AT_ONE_TIME] [owner=WORKER]\n"
	"        [timeout=S] [burst=N] [scatter=0|1] [requests=N] [hosts=N paths=N]\n"
	"        [faults=SHARE] [posts=SHARE] [seed=N] [stall=S] [mirror=0|1]'\n"
	"  'close [n=LEFT] [seconds=AT_MOST]'\n"
	"\n"
	"  burst: what comes at a rate comes so many at a time;\n"
	"  owner: new connections are that worker's only, not all workers' in turn;\n"
	"  hosts, paths: requests are spread over so many;\n"
	"  faults, posts: so many requests meet a fault of the origin, or are a POST; outcomes are judged by what the origin did;\n"
	"  scatter=1: each frame to any queue, not to the one that the connection's last frame came from\n"
	"\n"
	"Phases:\n"
	"  -i                      read phases from standard input, a line each; at its end wait for a signal\n"
	"  --connections N         short for: connect, then load with\n"
	"    --active N --seconds S --rate R --size B --flood R|max --new-rate R\n"
	"  -o json|text            how to print (text)\n"
	"\n"
	"Where:\n"
	"  --port DEVICE           a DPDK virtual device, such as net_memif0,role=client,socket=/run/x.sock;\n"
	"                          given twice: clients on the first one, the origin on the second\n"
	"  --queues N              queue pairs of each port (1)\n"
	"  --target ADDR:PORT      the proxy, or the origin itself (10.1.0.1:80)\n"
	"  --origin ADDR:PORT      first address of the origin (10.1.0.16:8080)\n"
	"  --origins N             addresses of the origin (1)\n"
	"  --source ADDR           address from which the proxy reaches the origin, where that is not the target's\n"
	"  --gateway ADDR          our address through which clients are reached (10.1.0.254)\n"
	"  --clients ADDR          first address of clients (10.64.0.0)\n"
	"  --ports-per-client N    connections of an address, a power of two (16)\n"
	"  --slots N               connections at most (1048576)\n"
	"  --host NAME             of the Host field (blast.example.com)\n"
	"\n"
	"How:\n"
	"  --core N                (1)        --memory MB             (512)\n"
	"  --descriptors N         (1024)     --file-prefix NAME      (blast-PID)\n"
	"  --mtu BYTES             of the ports: frames of so many bytes of IP (1500)\n"
	"  --window BYTES          receive window (262144)\n"
	"  --flight BYTES          unacknowledged bytes of a connection, where the queues lose what is too much for them (any)\n"
	"  --ack-ms N              delay of acknowledgements that nothing carries (20)\n"
	"  --idle-us N             sleep so long when there is nothing to do; 0: never, for a core of its own (0)\n"
	"  --drop PPM              lose so many of a million received frames (0)\n"
	"  --steered               the first frame of a client's connection to the queue of the worker that owns it\n"
	"  --no-timestamps         without the TCP option\n"
	"  --no-verify             do not check the checksums of what arrives\n"
	"  --help\n";

enum {
	OPT_PORT = 256, OPT_QUEUES, OPT_TARGET, OPT_ORIGIN, OPT_ORIGINS, OPT_SOURCE, OPT_GATEWAY, OPT_CLIENTS, OPT_PORTS_PER, OPT_SLOTS,
	OPT_HOST, OPT_CORE, OPT_MEMORY, OPT_HUGE, OPT_DESC, OPT_PREFIX, OPT_MTU, OPT_WINDOW, OPT_FLIGHT, OPT_ACK, OPT_IDLE, OPT_DROP, OPT_STEERED, OPT_NO_TS, OPT_NO_VERIFY,
	OPT_CONNECTIONS, OPT_ACTIVE, OPT_SECONDS, OPT_RATE, OPT_SIZE, OPT_FLOOD, OPT_NEW, OPT_HELP,
};

static const struct option long_options[] = {
	{"port", required_argument, NULL, OPT_PORT},
	{"queues", required_argument, NULL, OPT_QUEUES},
	{"target", required_argument, NULL, OPT_TARGET},
	{"origin", required_argument, NULL, OPT_ORIGIN},
	{"origins", required_argument, NULL, OPT_ORIGINS},
	{"source", required_argument, NULL, OPT_SOURCE},
	{"gateway", required_argument, NULL, OPT_GATEWAY},
	{"clients", required_argument, NULL, OPT_CLIENTS},
	{"ports-per-client", required_argument, NULL, OPT_PORTS_PER},
	{"slots", required_argument, NULL, OPT_SLOTS},
	{"host", required_argument, NULL, OPT_HOST},
	{"core", required_argument, NULL, OPT_CORE},
	{"memory", required_argument, NULL, OPT_MEMORY},
	{"hugepages", no_argument, NULL, OPT_HUGE},
	{"descriptors", required_argument, NULL, OPT_DESC},
	{"file-prefix", required_argument, NULL, OPT_PREFIX},
	{"mtu", required_argument, NULL, OPT_MTU},
	{"window", required_argument, NULL, OPT_WINDOW},
	{"flight", required_argument, NULL, OPT_FLIGHT},
	{"ack-ms", required_argument, NULL, OPT_ACK},
	{"idle-us", required_argument, NULL, OPT_IDLE},
	{"drop", required_argument, NULL, OPT_DROP},
	{"steered", no_argument, NULL, OPT_STEERED},
	{"no-timestamps", no_argument, NULL, OPT_NO_TS},
	{"no-verify", no_argument, NULL, OPT_NO_VERIFY},
	{"connections", required_argument, NULL, OPT_CONNECTIONS},
	{"active", required_argument, NULL, OPT_ACTIVE},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"rate", required_argument, NULL, OPT_RATE},
	{"size", required_argument, NULL, OPT_SIZE},
	{"flood", required_argument, NULL, OPT_FLOOD},
	{"new-rate", required_argument, NULL, OPT_NEW},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static bool read_count(const char *text, uint64_t lo, uint64_t hi, uint64_t *out)
{
	char *end;

	*out = strtoull(text, &end, 10);
	return end != text && !*end && *out >= lo && *out <= hi;
}

static bool read_u32(const char *text, uint32_t lo, uint32_t hi, uint32_t *out)
{
	uint64_t v;

	if (!read_count(text, lo, hi, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool read_addr(const char *text, uint32_t *out)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		return false;
	*out = ntohl(a.s_addr);
	return true;
}

static bool read_addr_port(const char *text, uint32_t *addr, uint16_t *port)
{
	const char *colon = strchr(text, ':');
	char part[32];
	uint32_t v;

	if (!colon || (size_t)(colon - text) >= sizeof(part) || !read_u32(colon + 1, 1, UINT16_MAX, &v))
		return false;
	snprintf(part, sizeof(part), "%.*s", (int)(colon - text), text);
	*port = (uint16_t)v;
	return read_addr(part, addr);
}

static bool read_power(const char *text, unsigned *bits)
{
	uint32_t v;

	if (!read_u32(text, 1, 32768, &v) || (v & (v - 1)))
		return false;
	*bits = (unsigned)__builtin_ctz(v);
	return true;
}

static bool add_port(struct options *o, const char *device)
{
	if (o->ports[1])
		return false;
	o->ports[o->ports[0] ? 1 : 0] = device;
	return true;
}

/* The options that make up the short form. */
static bool take_short(struct command_line *c, int opt)
{
	static const char *const names[] = {"active", "seconds", "rate", "size", "flood", "new"};
	size_t n = strlen(c->load);

	if (opt == OPT_CONNECTIONS) {
		snprintf(c->connect, sizeof(c->connect), "connect n=%s", optarg);
		return true;
	}
	if (opt < OPT_ACTIVE || opt > OPT_NEW)
		return false;
	snprintf(c->load + n, sizeof(c->load) - n, "%s %s=%s", n ? "" : "load", names[opt - OPT_ACTIVE], optarg);
	return true;
}

static bool take_flag(struct command_line *c, int opt)
{
	switch (opt) {
	case 'i':
		c->is_interactive = true;
		return true;
	case 'o':
		c->o.is_json = strcmp(optarg, "json") == 0;
		return c->o.is_json || strcmp(optarg, "text") == 0;
	case OPT_STEERED:
		c->o.steered = true;
		return true;
	case OPT_NO_TS:
		c->o.timestamps = false;
		return true;
	case OPT_NO_VERIFY:
		c->o.verify = false;
		return true;
	case OPT_HOST:
		c->o.host = optarg;
		return true;
	case OPT_PREFIX:
		c->o.file_prefix = optarg;
		return true;
	default:
		return take_short(c, opt);
	}
}

static bool take(struct command_line *c, int opt)
{
	struct options *o = &c->o;

	switch (opt) {
	case OPT_PORT:
		return add_port(o, optarg);
	case OPT_QUEUES:
		return read_u32(optarg, 1, MAX_QUEUES, &o->n_queues);
	case OPT_TARGET:
		return read_addr_port(optarg, &o->target, &o->target_port);
	case OPT_ORIGIN:
		return read_addr_port(optarg, &o->origin_base, &o->origin_port);
	case OPT_ORIGINS:
		return read_u32(optarg, 1, 64, &o->n_origins);
	case OPT_SOURCE:
		return read_addr(optarg, &o->source);
	case OPT_GATEWAY:
		return read_addr(optarg, &o->gateway);
	case OPT_CLIENTS:
		return read_addr(optarg, &o->client_base);
	case OPT_PORTS_PER:
		return read_power(optarg, &o->port_bits);
	case OPT_SLOTS:
		return read_u32(optarg, 1, 1u << 26, &o->n_slots);
	case OPT_CORE:
		return read_u32(optarg, 0, 1023, &o->core);
	case OPT_MEMORY:
		return read_u32(optarg, 64, 65536, &o->memory_mb);
	case OPT_HUGE:
		o->hugepages = true;
		return true;
	case OPT_DESC:
		return read_u32(optarg, 64, 16384, &o->n_desc);
	case OPT_MTU:
		return read_u32(optarg, 576, MTU_MAX, &o->mtu);
	case OPT_WINDOW:
		return read_u32(optarg, 4096, 8u << 20, &o->window);
	case OPT_FLIGHT:
		return read_u32(optarg, 4096, UINT32_MAX, &o->flight);
	case OPT_ACK:
		return read_u32(optarg, 0, 500, &o->ack_ms);
	case OPT_IDLE:
		return read_u32(optarg, 0, 10000, &o->idle_us);
	case OPT_DROP:
		return read_u32(optarg, 0, 500000, &o->drop_ppm);
	default:
		return take_flag(c, opt);
	}
}

int options_parse(int argc, char **argv, struct command_line *c)
{
	int opt;

	*c = (struct command_line){.o = {
		.n_queues = 1,
		.core = 1,
		.memory_mb = 512,
		.n_desc = 1024,
		.client_base = 10u << 24 | 64u << 16,
		.target = 10u << 24 | 1u << 16 | 1,
		.target_port = 80,
		.gateway = 10u << 24 | 1u << 16 | 254,
		.origin_base = 10u << 24 | 1u << 16 | 16,
		.origin_port = 8080,
		.n_origins = 1,
		.port_bits = 4,
		.n_slots = 1u << 20,
		.host = "blast.example.com",
		.mtu = 1500,
		.window = 256u << 10,
		.flight = UINT32_MAX,
		.ack_ms = 20,
		.timestamps = true,
		.verify = true,
	}};
	while ((opt = getopt_long(argc, argv, "io:h", long_options, NULL)) != -1) {
		if (opt == 'h' || opt == OPT_HELP) {
			fputs(usage, stdout);
			return 0;
		}
		if (opt == '?' || !take(c, opt)) {
			if (opt != '?')
				fprintf(stderr, "weir-blast: %s: not a value of this option\n", optarg ? optarg : argv[optind - 1]);
			return 2;
		}
	}
	c->phases = argv + optind;
	if (c->o.ports[0] && (c->is_interactive || *c->phases || c->connect[0]))
		return -1;
	fputs(usage, stderr);
	return 2;
}
