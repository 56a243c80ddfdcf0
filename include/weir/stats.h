/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the dataplane counts, and the shared region in which it counts.
 *
 * One X-macro list per layer gives the enum, the name and the help text. Each
 * worker adds to a block of its own (worker: w, everyone else: r), with plain
 * 64-bit stores that readers load whole; reading costs the workers nothing.
 * weir-ctrl maps the region read-only.
 *
 * Counters only grow, gauges are set. A reason says why one packet,
 * connection or request was dropped, refused or closed: each such event
 * counts under exactly one reason.
 */
#ifndef WEIR_STATS_H
#define WEIR_STATS_H

#include "weir/ports.h"
#include "weir/types.h"

#define WEIR_STATS_MAGIC 0x5441545352494557ull /* "WEIRSTAT" */
#define WEIR_MAX_WORKERS 128u

/* X(enumerator, prometheus name without weir_ and _total, help) */
#define WEIR_COUNTERS_WORKER(X) \
	X(LOOPS, "worker_loops", "iterations of the worker's loop") \
	X(BUSY_LOOPS, "worker_busy_loops", "iterations that found work") \
	X(BUSY_CYCLES, "worker_busy_cycles", "time stamp counter cycles of iterations that found work") \
	X(TOTAL_CYCLES, "worker_cycles", "time stamp counter cycles of all iterations") \
	X(SNAPSHOT_SWAPS, "snapshot_swaps", "snapshots that the worker switched to") \
	X(ENDPOINT_SWAPS, "endpoint_swaps", "endpoint sets that the worker switched to") \
	X(WALKED, "connections_walked", "connections looked at for a list of connections") \
	X(SLEEP_CYCLES, "worker_sleep_cycles", "time stamp counter cycles given away while there was nothing to do") \
	X(SLEEP_DEEP_CYCLES, "worker_sleep_deep_cycles", "of those: in sleeps that an interrupt, another thread or the next timer ends") \
	X(PAUSE_CYCLES, "worker_pause_cycles", "time stamp counter cycles in light sleeps of the core itself (TPAUSE, UMWAIT), which keep it") \
	X(SLEEPS, "worker_sleeps", "short sleeps, each of which the bound of added latency ends (workers.idle_latency_us)") \
	X(WAKES_PORT, "worker_wakes_port", "deep sleeps that a packet of a port ended") \
	X(WAKES_CALL, "worker_wakes_call", "deep sleeps that main or another worker ended, having something for the worker") \
	X(WAKES_TIMER, "worker_wakes_timer", "deep sleeps that the next timer ended") \
	X(WAKES_MISSED, "worker_wakes_missed", "of those: a packet was there, whose interrupt had not come; after three the worker trusts its ports' interrupts no more and sleeps shortly") \
	X(WAKES_SIGNAL, "worker_wakes_signal", "deep sleeps that a signal ended, as the driver of a TAP sends them for its packets") \
	X(STARVED, "workers_starved", "times that main saw a worker without a CPU for longer than workers.watchdog_ms")

#define WEIR_COUNTERS_NET(X) \
	X(RX_PACKETS, "rx_packets", "packets received from the port") \
	X(RX_BYTES, "rx_bytes", "bytes received from the port") \
	X(TX_PACKETS, "tx_packets", "packets given to the port") \
	X(TX_BYTES, "tx_bytes", "bytes given to the port") \
	X(STEERED_OUT, "steered_out_packets", "packets redirected to the worker that owns them") \
	X(STEERED_IN, "steered_in_packets", "packets that other workers redirected to this one") \
	X(ARP_RX, "arp_rx", "ARP packets received") \
	X(ARP_TX, "arp_tx", "ARP packets sent") \
	X(NDP_RX, "ndp_rx", "neighbour discovery packets received") \
	X(NDP_TX, "ndp_tx", "neighbour discovery packets sent") \
	X(ICMP_ECHO, "icmp_echo", "ICMP and ICMPv6 echo requests answered") \
	X(ICMP_ERRORS_RX, "icmp_errors_rx", "ICMP and ICMPv6 errors received for our packets") \
	X(ICMP_ERRORS_TX, "icmp_errors_tx", "ICMP and ICMPv6 errors sent") \
	X(NEIGHBOURS_RESOLVED, "neighbours_resolved", "next hops whose link address became known") \
	X(TX_TSO, "tx_tso_segments", "long TCP segments given to a port that cuts them") \
	X(TX_GSO, "tx_gso_segments", "long TCP segments cut in software") \
	X(RX_MERGED, "rx_merged_segments", "TCP segments merged into the one before them") \
	X(PMTU_LEARNED, "pmtu_learned", "paths whose MTU was reduced by what a router said") \
	X(CAPTURED, "captured_packets", "packets copied for a capture") \
	X(CAPTURE_DROPS, "capture_drops", "packets that a capture wanted and its ring had no room for") \
	X(PUNTED_ROUTING, "kernel_routing_packets", "packets of routing protocols (BGP, BFD, OSPF, IS-IS, VRRP, IGMP) given to the kernel") \
	X(PUNTED_NEIGHBOUR, "kernel_neighbour_packets", "ARP and neighbour discovery given to the kernel") \
	X(PUNTED_MANAGEMENT, "kernel_management_packets", "packets of ssh and DHCP given to the kernel") \
	X(PUNTED_ICMP, "kernel_icmp_packets", "ICMP messages given to the kernel") \
	X(PUNTED_OTHER, "kernel_other_packets", "other packets given to the kernel") \
	X(PUNTED_LOCAL, "kernel_local_packets", "packets of Weir's own for addresses of the kernel on the same port") \
	X(HANDED_ON, "handover_forwarded_packets", "segments of connections of another dataplane, or to be, sent on to it") \
	X(ADDRESS_CLAIMS, "address_claims", "times that another host said that it has an address of ours") \
	X(KERNEL_TX, "kernel_sent_packets", "packets of the kernel sent by the port") \
	X(KERNEL_RX_LOCAL, "kernel_received_packets", "packets of the kernel for addresses of Weir's") \
	X(VXLAN_RX, "vxlan_rx_packets", "packets taken out of VXLAN tunnels") \
	X(VXLAN_TX, "vxlan_tx_packets", "packets put into VXLAN tunnels")

#define WEIR_COUNTERS_TCP(X) \
	X(TCP_RX_SEGMENTS, "tcp_rx_segments", "TCP segments received") \
	X(TCP_TX_SEGMENTS, "tcp_tx_segments", "TCP segments sent") \
	X(TCP_ACCEPTED, "tcp_accepted", "connections accepted") \
	X(TCP_CONNECTED, "tcp_connected", "connections opened to backends") \
	X(TCP_CLOSED, "tcp_closed", "connections ended") \
	X(TCP_RETRANSMITS, "tcp_retransmits", "segments sent again") \
	X(TCP_RTO, "tcp_rto", "retransmission timeouts") \
	X(TCP_FAST_RETRANSMITS, "tcp_fast_retransmits", "retransmissions begun by duplicate acknowledgements") \
	X(TCP_DUP_ACKS, "tcp_dup_acks", "duplicate acknowledgements received") \
	X(TCP_OUT_OF_ORDER, "tcp_out_of_order", "segments received out of order") \
	X(TCP_ZERO_WINDOW_PROBES, "tcp_zero_window_probes", "zero-window probes sent") \
	X(TCP_RST_TX, "tcp_rst_tx", "RST segments sent") \
	X(TCP_RST_RX, "tcp_rst_rx", "RST segments accepted") \
	X(TCP_SEGMENTS_LOST, "tcp_segments_lost", "segments sent that were believed lost") \
	X(TCP_TAIL_PROBES, "tcp_tail_probes", "tail loss probes sent (RFC 8985)") \
	X(TCP_TLP_RECOVERED, "tcp_tail_losses_repaired", "losses that a tail loss probe alone repaired") \
	X(TCP_SPURIOUS, "tcp_spurious_recoveries", "reactions to loss that were taken back: nothing was lost") \
	X(TCP_SACK_BAD, "tcp_sack_blocks_bad", "SACK blocks received that cannot be true") \
	X(TCP_SACK_RENEGED, "tcp_sack_reneged", "peers that took back what they had selectively acknowledged") \
	X(TCP_DSACK_RX, "tcp_dsack_rx", "duplicates of ours that peers reported (RFC 2883)") \
	X(TCP_DUPLICATES, "tcp_duplicates_rx", "segments received with data that were there already") \
	X(TCP_ECN_CE_RX, "tcp_ecn_ce_rx", "segments received with Congestion Experienced (RFC 3168)") \
	X(TCP_ECN_REDUCED, "tcp_ecn_reductions", "windows reduced because a peer reported ECN marks") \
	X(TCP_MTU_REDUCED, "tcp_mtu_reduced", "connections whose segments became smaller by ICMP") \
	X(TCP_BLACK_HOLES, "tcp_black_holes", "connections whose segments became smaller because large ones never arrived") \
	X(TCP_FLIGHT_FULL, "tcp_flight_full", "segments held back because the pool of records in flight was empty") \
	X(TCP_CC_FALLBACKS, "tcp_cc_fallbacks", "connections that got the default congestion control because the pool of BBR was empty") \
	X(TCP_PORT_PROBES, "tcp_port_probes", "local ports looked at when connections were opened") \
	X(TCP_SYN_ACK_RETRANSMITS, "tcp_syn_ack_retransmits", "SYN-ACKs sent again") \
	X(TCP_COOKIES_SENT, "tcp_cookies_sent", "SYNs answered by a cookie, because the SYN queue was full") \
	X(TCP_COOKIES_ACCEPTED, "tcp_cookies_accepted", "connections established by a cookie") \
	X(TCP_COOKIES_REFUSED, "tcp_cookies_refused", "wrong or expired cookies, while some were being sent") \
	X(TCP_RST_WITHHELD, "tcp_rst_withheld", "RST replies withheld by their rate limit") \
	X(TCP_ACK_WITHHELD, "tcp_ack_withheld", "ACKs withheld by their rate limit: of segments that are unacceptable, bring nothing new, or had no memory") \
	X(TCP_TIME_WAIT_EVICTED, "tcp_time_wait_evicted", "TIME-WAITs that ended early because their pool was full") \
	X(TCP_TIME_WAIT_REUSED, "tcp_time_wait_reused", "TIME-WAITs that ended early for a new connection of the same tuple") \
	X(TCP_SHARES, "tcp_memory_shares", "times that packet buffers became short, and receive windows were bounded by a fair share of them")

#define WEIR_COUNTERS_TLS(X) \
	X(TLS_HANDSHAKES, "tls_handshakes", "TLS handshakes of clients completed, resumed ones included") \
	X(TLS_RESUMED, "tls_handshakes_resumed", "TLS handshakes of clients completed by a ticket of an earlier one") \
	X(TLS_HANDSHAKES_12, "tls_handshakes_tls12", "TLS handshakes of clients completed in version 1.2; the others are of 1.3") \
	X(TLS_HANDSHAKES_HYBRID, "tls_handshakes_post_quantum", "TLS handshakes of clients completed with keys agreed on by X25519MLKEM768; the others are by elliptic curves alone") \
	X(TLS_TICKETS_UNKNOWN, "tls_tickets_unknown", "session tickets that no key of ours opens; the handshake went on in full") \
	X(TLS_EARLY_DATA, "tls_early_data_accepted", "handshakes of clients whose early data (0-RTT, RFC 8446 2.3) were accepted") \
	X(TLS_EARLY_DATA_REJECTED, "tls_early_data_rejected", "handshakes of clients that announced early data, which were not accepted, for whatever reason; they went on in full or by the ticket alone, and the client sends its data again") \
	X(TLS_EARLY_DATA_REPLAYED, "tls_early_data_rejected_replayed", "of those: the worker had seen the same ClientHello before") \
	X(TLS_EARLY_DATA_UNKNOWN, "tls_early_data_rejected_unknown", "of those: whether the ClientHello came before cannot be known, since the worker has run for too short a time") \
	X(TLS_EARLY_DATA_FULL, "tls_early_data_rejected_full", "of those: likewise, since the worker has seen more ClientHellos of the last seconds than its filter of replays has places for") \
	X(TLS_EARLY_DATA_NO_TICKET, "tls_early_data_rejected_no_ticket", "of those: nothing is resumed, such as by a ticket whose key is not known any more, or of another server name") \
	X(TLS_EARLY_DATA_STALE, "tls_early_data_rejected_stale", "of those: the ticket is good, but its age is not what the client says, or it allows no early data") \
	X(TLS_EARLY_DATA_RETRY, "tls_early_data_rejected_retry", "of those: the client was asked for another key share (HelloRetryRequest, RFC 8446 4.1.4)") \
	X(TLS_EARLY_DATA_NO_MEMORY, "tls_early_data_rejected_no_memory", "of those: memory is short") \
	X(TLS_EARLY_DATA_OFF, "tls_early_data_rejected_off", "of those: early data are switched off, or the server name takes none (it asks for client certificates, or is no HTTP)") \
	X(TLS_KEY_UPDATES, "tls_key_updates", "KeyUpdate messages that clients and endpoints sent (RFC 8446 4.6.3)") \
	X(TLS_CERTIFICATE_WAITS, "tls_certificate_waits", "handshakes that waited until their certificate was made ready for the worker") \
	X(TLS_TURN_WAITS, "tls_turn_waits", "steps of TLS handshakes that waited for a later iteration of the worker, since that one had had a step of another") \
	X(TLS_KEPT_IN_LIBSSL, "tls_kept_in_libssl", "TLS connections whose records stay libssl's after the handshake, since something was under way there") \
	X(TLS_TRUNCATED, "tls_truncated", "TLS connections that the client ended without close_notify") \
	X(TLS_CLIENT_CERTS, "tls_client_certs", "TLS handshakes with a valid certificate of the client") \
	X(TLS_CLIENT_CERTS_INVALID, "tls_client_certs_invalid", "TLS handshakes with a client certificate that is not valid, where any is let through; backends are not told of it") \
	X(TLS_CLIENT_CERT_LEFT_OUT, "tls_client_cert_left_out", "fields about client certificates, or names in them, that backends were not told: too long, or with bytes that a field may not have") \
	X(BACKEND_TLS_HANDSHAKES, "backend_tls_handshakes", "TLS handshakes with endpoints completed, resumed ones included") \
	X(BACKEND_TLS_RESUMED, "backend_tls_handshakes_resumed", "TLS handshakes with endpoints completed by a ticket of an earlier one") \
	X(BACKEND_TLS_HANDSHAKES_12, "backend_tls_handshakes_tls12", "TLS handshakes with endpoints completed in version 1.2; the others are of 1.3") \
	X(BACKEND_TLS_HANDSHAKES_HYBRID, "backend_tls_handshakes_post_quantum", "TLS handshakes with endpoints completed with keys agreed on by X25519MLKEM768") \
	X(BACKEND_TLS_TRUNCATED, "backend_tls_truncated", "TLS connections that the endpoint ended without close_notify") \
	X(TLS_OFFLOAD_SUBMITTED, "tls_offload_submitted", "private-key operations given to the device") \
	X(TLS_OFFLOAD_COMPLETED, "tls_offload_completed", "private-key operations that the device ended well") \
	X(TLS_OFFLOAD_FAILED, "tls_offload_failed", "private-key operations that the device ended by an error") \
	X(TLS_OFFLOAD_RETRIED, "tls_offload_retried", "times that a handshake had to wait because all jobs were taken or the device's queue was full") \
	X(TLS_OFFLOAD_TIMEOUTS, "tls_offload_timeouts", "private-key operations that the device did not end in time; each may end later") \
	X(TLS_OFFLOAD_FALLBACKS, "tls_offload_fallbacks", "handshakes in software because the device was down") \
	X(TLS_OFFLOAD_DOWN, "tls_offload_down", "times that the device was taken for dead") \
	X(TLS_OFFLOAD_ORPHANED, "tls_offload_orphaned", "connections that ended while the device had an operation of theirs") \
	X(TLS_OFFLOAD_US, "tls_offload_us", "time that private-key operations were in the device, in microseconds, as the worker saw it")

#define WEIR_COUNTERS_HTTP(X) \
	X(REQUESTS, "http_requests", "requests of which a whole head arrived") \
	X(LISTENERS_REFUSED, "listeners_refused", "listeners of a snapshot that could not be opened: table full") \
	X(RESPONSES_1XX, "http_responses_1xx", "interim responses sent") \
	X(RESPONSES_2XX, "http_responses_2xx", "responses sent with a 2xx status") \
	X(RESPONSES_3XX, "http_responses_3xx", "responses sent with a 3xx status") \
	X(RESPONSES_4XX, "http_responses_4xx", "responses sent with a 4xx status") \
	X(RESPONSES_5XX, "http_responses_5xx", "responses sent with a 5xx status") \
	X(BODY_BYTES_UP, "http_body_bytes_up", "body bytes relayed to backends") \
	X(BODY_BYTES_DOWN, "http_body_bytes_down", "body bytes relayed to clients") \
	X(FORWARDED_BAD, "http_forwarded_bad", "forwarding fields of a trusted hop that were not believed: malformed, or too many entries") \
	X(TRAILERS_DROPPED, "http_trailer_fields_dropped", "trailer fields not passed on: such as no trailer may have, or to a client that takes none") \
	X(REDIRECTS, "http_redirects", "requests that a filter of their route answered by a redirect") \
	X(PREFLIGHTS, "http_cors_preflights", "preflights of CORS that a filter of their route answered") \
	X(MIRRORED, "http_mirrored", "copies of requests begun to be sent to a mirror; those that were cut have a reason") \
	X(TUNNELS, "http_tunnels", "connections that became a tunnel to an endpoint, by Upgrade") \
	X(TUNNEL_BYTES_UP, "http_tunnel_bytes_up", "bytes that tunnels brought to endpoints") \
	X(TUNNEL_BYTES_DOWN, "http_tunnel_bytes_down", "bytes that tunnels brought to clients") \
	X(STREAMS, "streams", "connections of bytes (TCPRoute, TLSRoute) that were joined to an endpoint's") \
	X(STREAM_BYTES_UP, "stream_bytes_up", "bytes that they brought to endpoints") \
	X(STREAM_BYTES_DOWN, "stream_bytes_down", "bytes that they brought to clients") \
	X(LOG_RECORDS, "access_log_records", "records written to the ring of the access log: one for each request that ended")

#define WEIR_COUNTERS_UPSTREAM(X) \
	X(UPSTREAM_CONNECTS, "upstream_connects", "connections begun to endpoints") \
	X(UPSTREAM_REUSED, "upstream_reused", "requests that took an idle connection") \
	X(EARLY_REQUESTS, "http_early_data_requests", "requests served as early data, before the client's TLS handshake was complete") \
	X(EARLY_HELD, "http_early_data_held", "requests in early data that were held until the handshake was complete, since they may not be done twice") \
	X(EARLY_REFUSED, "http_early_data_refused", "requests in early data that an endpoint answered by 425; they were sent again once the handshake was complete") \
	X(UPSTREAM_RETRIES, "upstream_retries", "requests tried again on another connection") \
	X(UPSTREAM_SETS_NO_ROOM, "upstream_sets_no_room", "endpoint sets not taken: more backends or endpoints than the pools hold") \
	X(UPSTREAM_EVICTED, "upstream_evicted", "idle connections closed by limit, age or removal of the endpoint") \
	X(UPSTREAM_CAPPED, "upstream_capped", "connections not opened: the backend has as many as it may have over all workers") \
	X(UPSTREAM_CAPS_FULL, "upstream_caps_full", "backends whose bound of connections is divided among workers: no counter is left that they could share") \
	X(UPSTREAM_WORN, "upstream_worn", "connections closed because they had carried as many requests as they may") \
	X(BALANCE_NO_KEY, "balance_no_key", "requests without the header or cookie that chooses an endpoint; one was chosen at random") \
	X(BALANCE_NO_ROOM, "balance_no_room", "tables for the choice of an endpoint not made: pools.balance_kb is used up; plain round robin goes on") \
	X(AFFINITY_KEPT, "affinity_kept", "requests that went to the endpoint that their cookie names") \
	X(AFFINITY_LOST, "affinity_lost", "requests whose cookie names no endpoint, or one that is gone or ejected; another one was chosen") \
	X(AFFINITY_SET, "affinity_set", "responses with a cookie that names the endpoint") \
	X(EJECTIONS_BY_FAILURES, "ejections_by_failures", "endpoints ejected for failures on end") \
	X(EJECTIONS_BY_RATE, "ejections_by_rate", "endpoints ejected for their rate of successes") \
	X(EJECTIONS_WITHHELD, "ejections_withheld", "endpoints not ejected: too many are already, or it is the last one")

/*
 * Where a worker's time goes (weir.yaml: stage_timers): each cycle of an
 * iteration belongs to one stage. S(X, enumerator, name, help)
 */
#define WEIR_STAGES(S, X) \
	S(X, RX, "rx", "packets out of the driver") \
	S(X, TCP_IN, "tcp_in", "Ethernet, IP and TCP of what came in") \
	S(X, TIMERS, "timers", "timers of all layers") \
	S(X, TLS, "tls", "TLS: handshakes and records") \
	S(X, PARSE, "parse", "heads of requests and responses read") \
	S(X, ROUTE, "route", "routes looked up, filters and mirrors begun") \
	S(X, UPSTREAM, "upstream", "endpoints chosen, connections taken from the pools and given back") \
	S(X, PROXY, "proxy", "the rest of a request: heads written, bodies relayed, answers, states") \
	S(X, TCP_OUT, "tcp_out", "TCP, IP and Ethernet of what goes out") \
	S(X, TX, "tx", "packets into the driver, and to other workers") \
	S(X, OTHER, "other", "messages of main, lists of connections, the loop itself") \
	S(X, IDLE, "idle", "iterations that found no work, sleep included")

#define WEIR_STAGE_COUNTERS(X, id, name, help) \
	X(STAGE_##id##_CYCLES, "stage_" name "_cycles", "time stamp counter cycles, if stage_timers is on: " help) \
	X(STAGE_##id##_ENTRIES, "stage_" name "_entries", "times that this stage was entered: " help)

enum weir_stage {
#define S(X, id, name, help) WEIR_STAGE_##id,
	WEIR_STAGES(S, 0)
#undef S
		WEIR_N_STAGES
};

/*
 * How long the iterations that found work took: each counts under the first bound that it did not exceed. What arrives meanwhile
 * waits for so long. B(X, enumerator, bound in microseconds, the same in seconds)
 */
#define WEIR_LOOP_TIMES(B, X) \
	B(X, 10, "0.00001") \
	B(X, 20, "0.00002") \
	B(X, 50, "0.00005") \
	B(X, 100, "0.0001") \
	B(X, 200, "0.0002") \
	B(X, 500, "0.0005") \
	B(X, 1000, "0.001") \
	B(X, 2000, "0.002") \
	B(X, 5000, "0.005") \
	B(X, 10000, "0.01")

#define WEIR_LOOP_COUNTER(X, us, seconds) X(LOOPS_##us##_US, "worker_loops_" #us "_us", "busy iterations of at most " #us " microseconds")

enum {
#define B(X, us, seconds) +1
	WEIR_N_LOOP_TIMES = 1 WEIR_LOOP_TIMES(B, 0) /* the last one: longer than all */
#undef B
};

#define WEIR_COUNTERS_LOOP(X) \
	WEIR_LOOP_TIMES(WEIR_LOOP_COUNTER, X) \
	X(LOOPS_LONGER, "worker_loops_longer", "busy iterations that took longer")

#define WEIR_COUNTERS(X) \
	WEIR_COUNTERS_WORKER(X) \
	WEIR_COUNTERS_NET(X) \
	WEIR_COUNTERS_TCP(X) \
	WEIR_COUNTERS_TLS(X) \
	WEIR_COUNTERS_HTTP(X) \
	WEIR_COUNTERS_UPSTREAM(X) \
	WEIR_STAGES(WEIR_STAGE_COUNTERS, X) \
	WEIR_COUNTERS_LOOP(X)

enum weir_counter {
#define X(name, str, help) WEIR_C_##name,
	WEIR_COUNTERS(X)
#undef X
		WEIR_N_COUNTERS
};

/* Gauges of one worker. X(enumerator, name, help) */
#define WEIR_GAUGES(X) \
	X(SNAPSHOT_GENERATION, "snapshot_generation", "generation that the worker serves") \
	X(TCP_CONNECTIONS, "tcp_connections", "connections, SYN-RECEIVED and TIME-WAIT included") \
	X(CLIENT_CONNECTIONS, "client_connections", "client connections of the proxy") \
	X(REQUESTS_ACTIVE, "http_requests_active", "requests in hand") \
	X(UPSTREAM_IDLE, "upstream_idle", "idle connections to endpoints") \
	X(UPSTREAM_EJECTED, "upstream_ejected", "endpoints that the worker has ejected and not taken back") \
	X(MBUFS_USED, "mbufs_used", "packet buffers in use, of the worker's pool") \
	X(NEIGHBOURS, "neighbours", "entries of the next-hop table") \
	X(TCP_PRESSURE, "tcp_memory_pressure", "0: none; n: receive windows are divided by 2^n") \
	X(LISTENERS, "listeners", "addresses and ports that the worker listens on") \
	X(TCP_SYN_RECEIVED, "tcp_syn_received", "handshakes of peers that are not complete") \
	X(TCP_TIME_WAIT, "tcp_time_wait", "connections in TIME-WAIT") \
	X(TCP_HELD, "tcp_mbufs_held", "packet buffers in send and receive queues") \
	X(MIRRORS, "http_mirrors", "mirrored requests in hand") \
	X(MIRROR_BYTES, "http_mirror_bytes", "bytes in the queues of mirrored requests; what was acknowledged since one was last looked at counts still") \
	X(TUNNELS, "http_tunnels_open", "tunnels that are open") \
	X(TCP_SHARE, "tcp_memory_share_bytes", "the fair share of packet buffers by which receive windows are bounded now; 0: they are not") \
	X(TLS_SESSIONS, "tls_sessions", "TLS sessions of clients and to endpoints, handshakes included") \
	X(TLS_HANDSHAKING, "tls_sessions_handshaking", "TLS sessions whose handshake is not complete") \
	X(TLS_EARLY_DATA, "tls_early_data", "1: early data are accepted; 0: never") \
	X(TLS_CERTIFICATES, "tls_certificates_ready", "certificates that are ready in the worker; others are made ready when they are first asked for") \
	X(BACKEND_TLS_TICKETS, "backend_tls_tickets", "TLS sessions with endpoints that are kept to be resumed") \
	X(TLS_OFFLOAD_UP, "tls_offload_up", "1: handshakes are given to a device; 0: there is none, or it is down") \
	X(TLS_OFFLOAD_IN_FLIGHT, "tls_offload_in_flight", "private-key operations that the device has") \
	X(TLS_OFFLOAD_QUEUED, "tls_offload_queued", "handshakes that wait because all jobs are taken") \
	X(TLS_OFFLOAD_ORPHANS, "tls_offload_orphans", "sessions whose connection has ended, kept until the device ends their operation") \
	X(SLICE_MAX_US, "worker_control_slice_max_us", "longest that an iteration spent on what the main lcore asked for, in microseconds")

enum weir_gauge {
#define X(name, str, help) WEIR_G_##name,
	WEIR_GAUGES(X)
#undef X
		WEIR_N_GAUGES
};

/* What a reason speaks of. */
enum weir_reason_kind {
	WEIR_KIND_PACKET,
	WEIR_KIND_CONNECTION,
	WEIR_KIND_TLS,
	WEIR_KIND_REQUEST,
};

/* X(enumerator, name, help) */
#define WEIR_REASONS_PACKET(X) \
	X(RX_TRUNCATED, "rx_truncated", "shorter than its headers say") \
	X(RX_UNKNOWN_ETHERTYPE, "rx_unknown_ethertype", "neither ARP, IPv4 nor IPv6") \
	X(RX_OTHER_VLAN, "rx_other_vlan", "VLAN that no interface of ours has") \
	X(RX_OTHER_MAC, "rx_other_mac", "link address of another host") \
	X(ARP_BAD, "arp_bad", "malformed ARP packet") \
	X(ARP_NOT_OURS, "arp_not_ours", "ARP for an address of another host") \
	X(NDP_BAD, "ndp_bad", "neighbour discovery that RFC 4861 tells to discard") \
	X(NDP_NOT_OURS, "ndp_not_ours", "neighbour discovery for an address of another host") \
	X(IP_BAD_VERSION, "ip_bad_version", "IP version does not fit the EtherType") \
	X(IP_BAD_HEADER, "ip_bad_header", "IP header length or total length is wrong") \
	X(IP_BAD_CHECKSUM, "ip_bad_checksum", "IPv4 header checksum is wrong") \
	X(IP_FRAGMENT, "ip_fragment", "fragment; Weir does not reassemble") \
	X(IP_SOURCE_ROUTE, "ip_source_route", "source-routed packet") \
	X(IP_BAD_SOURCE, "ip_bad_source", "source address that no packet may have") \
	X(IP_NOT_OURS, "ip_not_ours", "destination is an address of another host") \
	X(IP_UNKNOWN_PROTOCOL, "ip_unknown_protocol", "neither TCP nor ICMP") \
	X(IP6_BAD_EXTENSION, "ip6_bad_extension", "IPv6 extension header chain too long or malformed") \
	X(ICMP_BAD, "icmp_bad", "malformed ICMP message or wrong checksum") \
	X(ICMP_UNKNOWN, "icmp_unknown", "ICMP type that is not handled") \
	X(ICMP_RATE, "icmp_rate", "ICMP reply withheld by its rate limit") \
	X(PUNT_RATE_ROUTING, "kernel_rate_routing", "not given to the kernel: more packets of routing protocols than their rate") \
	X(PUNT_RATE_NEIGHBOUR, "kernel_rate_neighbour", "not given to the kernel: more ARP and neighbour discovery than their rate") \
	X(PUNT_RATE_MANAGEMENT, "kernel_rate_management", "not given to the kernel: more packets of ssh and DHCP than their rate") \
	X(PUNT_RATE_ICMP, "kernel_rate_icmp", "not given to the kernel: more ICMP messages than their rate") \
	X(PUNT_RATE_OTHER, "kernel_rate_other", "not given to the kernel: more of other packets than their rate") \
	X(PUNT_RING_FULL, "kernel_ring_full", "not given to the kernel: it takes none fast enough") \
	X(PUNT_LOOP, "kernel_loop", "packet of the kernel for an address of Weir's, which is not Weir's to handle") \
	X(TCP_BAD_HEADER, "tcp_bad_header", "TCP header length or option length is wrong") \
	X(TCP_BAD_CHECKSUM, "tcp_bad_checksum", "TCP checksum is wrong") \
	X(TCP_NO_LISTENER, "tcp_no_listener", "no listener on this port; RST sent") \
	X(TCP_NO_CONNECTION, "tcp_no_connection", "no connection has this segment; RST sent") \
	X(TCP_OUT_OF_WINDOW, "tcp_out_of_window", "sequence number outside the window") \
	X(TCP_BAD_ACK, "tcp_bad_ack", "acknowledges what was never sent") \
	X(TCP_PAWS, "tcp_paws", "time stamp older than the last one (PAWS)") \
	X(TCP_BAD_FLAGS, "tcp_bad_flags", "flags that make no sense in this state") \
	X(TCP_REASSEMBLY_FULL, "tcp_reassembly_full", "out-of-order queue at its bound") \
	X(TCP_RX_BUFFER_FULL, "tcp_rx_buffer_full", "data beyond the receive buffer") \
	X(TCP_SYN_QUEUE_FULL, "tcp_syn_queue_full", "SYN while the SYN queue is full and cookies are off") \
	X(TCP_TABLE_FULL, "tcp_table_full", "new connection while the connection table is full") \
	X(TCP_REFUSED, "tcp_refused", "SYN that the listener refused; RST sent") \
	X(STEER_RING_FULL, "steer_ring_full", "ring to the owning worker is full") \
	X(NEIGHBOUR_QUEUE_FULL, "neighbour_queue_full", "too many packets wait for this next hop") \
	X(NEIGHBOUR_TABLE_FULL, "neighbour_table_full", "next-hop table is full") \
	X(NEIGHBOUR_FAILED, "neighbour_failed", "next hop did not answer") \
	X(NO_ROUTE, "no_route", "no interface or gateway leads to the destination") \
	X(NO_MBUF, "no_mbuf", "packet buffer pool is empty") \
	X(TX_FULL, "tx_full", "transmit queue of the port is full") \
	X(TX_PORT_DOWN, "tx_port_down", "link of the port is down, or its device is gone") \
	X(TX_TOO_LONG, "tx_too_long", "packet longer than the MTU") \
	X(TCP_NO_TIME_STAMP, "tcp_no_time_stamp", "segment without the time stamp that was agreed on") \
	X(RX_DROPPED_BY_DRAIN, "rx_dropped_by_drain", "new connection while draining; RST sent") \
	X(TX_REFUSED, "tx_refused", "packet that the driver of the port refuses to send") \
	X(TCP_NO_LISTENER_RATE, "tcp_no_listener_rate", "no listener on this port, or draining; RST withheld by its rate limit") \
	X(TCP_NO_CONNECTION_RATE, "tcp_no_connection_rate", "no connection has this segment; RST withheld by its rate limit") \
	X(TCP_LISTENER_FULL, "tcp_listener_full", "the listener has as many connections as it may have") \
	X(TCP_LISTENER_RATE, "tcp_listener_rate", "the listener has accepted as many connections in this second as it may") \
	X(TCP_PREFIX_FULL, "tcp_prefix_full", "the source prefix has as many connections as it may have") \
	X(TCP_PREFIX_RATE, "tcp_prefix_rate", "the source prefix has opened as many connections in this second as it may") \
	X(TCP_SYN_RECEIVED, "tcp_syn_received", "segment that does not complete the handshake that it belongs to") \
	X(TCP_TIME_WAIT, "tcp_time_wait", "segment of a connection in TIME-WAIT") \
	X(TCP_MEMORY, "tcp_memory", "data for a connection with unread data, while queues hold all the packet buffers they may") \
	X(TCP_DATA_AFTER_FIN, "tcp_data_after_fin", "data behind the FIN of their own sender") \
	X(ICMP_NOT_IN_FLIGHT, "icmp_not_in_flight", "ICMP error about a segment that no connection has in flight") \
	X(ICMP_SPREAD_RATE, "icmp_spread_rate", "ICMP error not shown to the other workers, by its rate limit") \
	X(VXLAN_BAD_LENGTH, "vxlan_bad_length", "packet of a tunnel whose lengths do not fit one another") \
	X(VXLAN_BAD_CHECKSUM, "vxlan_bad_checksum", "UDP checksum of a tunnel's packet is wrong, or missing over IPv6") \
	X(VXLAN_UNKNOWN_PEER, "vxlan_unknown_peer", "packet of a tunnel from an address that is no far end of one") \
	X(VXLAN_NO_VNI, "vxlan_no_vni", "packet of a tunnel without the flag that it has a VNI") \
	X(VXLAN_OTHER_VNI, "vxlan_other_vni", "packet of a tunnel with another VNI than ours") \
	X(VXLAN_OTHER_MAC, "vxlan_other_mac", "frame in a tunnel for the link address of another host") \
	X(VXLAN_UNKNOWN_ETHERTYPE, "vxlan_unknown_ethertype", "frame in a tunnel that is neither IPv4 nor IPv6") \
	X(VXLAN_NOT_OURS, "vxlan_not_ours", "packet in a tunnel for another address than that of our end") \
	X(VXLAN_BAD_ECN, "vxlan_bad_ecn", "congestion was marked on the outside of a packet that has no mark for it (RFC 6040)")

/* Why a TCP connection ended. */
#define WEIR_REASONS_CONNECTION(X) \
	X(CLOSE_NORMAL, "close_normal", "both sides closed in order") \
	X(CLOSE_RESET_BY_PEER, "close_reset_by_peer", "the peer sent RST") \
	X(CLOSE_REFUSED, "close_refused", "the peer refused the connection") \
	X(CLOSE_CONNECT_TIMEOUT, "close_connect_timeout", "the peer did not answer the SYN in time") \
	X(CLOSE_RETRANSMIT_TIMEOUT, "close_retransmit_timeout", "the peer did not acknowledge in time") \
	X(CLOSE_ZERO_WINDOW_TIMEOUT, "close_zero_window_timeout", "the peer kept its window closed too long") \
	X(CLOSE_FIN_TIMEOUT, "close_fin_timeout", "the peer did not close its side in time") \
	X(CLOSE_UNREACHABLE, "close_unreachable", "the network says that the peer cannot be reached") \
	X(CLOSE_ABORTED, "close_aborted", "Weir aborted the connection") \
	X(CLOSE_DATA_AFTER_CLOSE, "close_data_after_close", "the peer sent data that nobody reads any more") \
	X(CLOSE_NO_MEMORY, "close_no_memory", "no packet buffer for what had to be sent") \
	X(CLOSE_NO_PORTS, "close_no_ports", "no local port left to open a connection from") \
	X(CLOSE_TABLE_FULL, "close_table_full", "connection table full when opening a connection") \
	X(CLOSE_SHUTDOWN, "close_shutdown", "the dataplane stops") \
	X(CLOSE_SYN_TIMEOUT, "close_syn_timeout", "the peer never completed the handshake that it began") \
	X(CLOSE_SYN_AGAIN, "close_syn_again", "the peer began another handshake before the first was complete")

/* Why a TLS session could not begin, or was ended early. The TCP connection below it has a reason of its own. */
#define WEIR_REASONS_TLS(X) \
	X(TLS_NOT_TLS, "tls_not_tls", "what the client sent first is no TLS record, such as plain HTTP") \
	X(TLS_HELLO_TOO_LARGE, "tls_hello_too_large", "the ClientHello is larger than it may be") \
	X(TLS_BAD_HELLO, "tls_bad_hello", "the ClientHello is malformed") \
	X(TLS_UNRECOGNIZED_NAME, "tls_unrecognized_name", "no certificate is configured for the server name that the client asked for, or for clients that give none") \
	X(TLS_NO_CERTIFICATE, "tls_no_certificate", "the certificate for the server name cannot be used; the log of the dataplane says why") \
	X(TLS_NO_VERSION, "tls_no_version", "the client speaks no version of TLS that may be spoken here") \
	X(TLS_NO_CIPHER, "tls_no_cipher", "the client offers no cipher suite, group or signature algorithm that may be used here") \
	X(TLS_NO_APPLICATION_PROTOCOL, "tls_no_application_protocol", "the client offers application protocols (ALPN), and HTTP/1.1 is not among them") \
	X(TLS_PEER_ALERT, "tls_peer_alert", "the client refused the handshake by an alert, such as an unknown certificate authority") \
	X(TLS_PROTOCOL, "tls_protocol", "the client broke the protocol within the handshake") \
	X(TLS_CLIENT_GONE, "tls_client_gone", "the client closed or reset the connection within the handshake") \
	X(TLS_EARLY_DATA_TOO_LONG, "tls_early_data_too_long", "the client sent more early data than its ticket allows, or than are skipped where they are not accepted") \
	X(TLS_HANDSHAKE_TIMEOUT, "tls_handshake_timeout", "the handshake was not complete in time") \
	X(TLS_CLIENT_NO_TRUST, "tls_client_no_trust", "a client certificate came, and the CA certificates by which it were to be judged are missing or cannot be used") \
	X(TLS_CLIENT_CERT_NONE, "tls_client_cert_none", "the client gave no certificate, and the server name requires one") \
	X(TLS_CLIENT_CERT_UNKNOWN_CA, "tls_client_cert_unknown_ca", "the client's certificate leads to none of the CA certificates of the server name") \
	X(TLS_CLIENT_CERT_EXPIRED, "tls_client_cert_expired", "the client's certificate, or one above it, has expired") \
	X(TLS_CLIENT_CERT_NOT_YET_VALID, "tls_client_cert_not_yet_valid", "the client's certificate, or one above it, is not valid yet") \
	X(TLS_CLIENT_CERT_REVOKED, "tls_client_cert_revoked", "the client's certificate, or one above it, is revoked by a CRL") \
	X(TLS_CLIENT_CRL_EXPIRED, "tls_client_crl_expired", "the CRL of an issuer of the client's certificate has expired: nobody knows what is revoked") \
	X(TLS_CLIENT_CERT_PURPOSE, "tls_client_cert_purpose", "the client's certificate is not for clients of TLS (key usage, extended key usage)") \
	X(TLS_CLIENT_CERT_CHAIN, "tls_client_cert_chain", "more certificates are between the client's and its root than the server name allows") \
	X(TLS_CLIENT_CERT_SIGNATURE, "tls_client_cert_signature", "the signature of the client's certificate, or the one that proves that it has the key, is wrong") \
	X(TLS_CLIENT_CERT_BAD, "tls_client_cert_bad", "the client's certificate is not valid for another reason, such as a weak key or a CRL that is not about it") \
	X(TLS_CLIENT_AUTH_CHANGED, "tls_client_auth_changed", "what the server name asks of its clients has changed: an idle connection was closed") \
	X(TLS_BAD_RECORD, "tls_bad_record", "a record behind the handshake that cannot be decrypted, or breaks the protocol") \
	X(TLS_RENEGOTIATION, "tls_renegotiation", "the client asked for another handshake too often (TLS 1.2)") \
	X(TLS_KEY_UPDATE_FLOOD, "tls_key_update_flood", "the client changed its keys more often than its data give reason for") \
	X(TLS_SESSIONS_FULL, "tls_sessions_full", "as many TLS sessions are open as the worker has room for") \
	X(TLS_OFFLOAD_FAILED, "tls_offload_failed", "the device failed in the operation that the handshake needs") \
	X(TLS_OFFLOAD_TIMEOUT, "tls_offload_timeout", "the device did not end the operation that the handshake needs in time") \
	X(TLS_NO_MEMORY, "tls_no_memory", "no memory or packet buffer for what TLS had to keep or send") \
	X(BACKEND_TLS_NO_TRUST, "backend_tls_no_trust", "to an endpoint: no CA certificates by which it could be judged; the log of the dataplane says why") \
	X(BACKEND_TLS_NO_CERTIFICATE, "backend_tls_no_certificate", "to an endpoint: our client certificate cannot be used; the log of the dataplane says why") \
	X(BACKEND_TLS_UNTRUSTED, "backend_tls_untrusted", "the endpoint's certificate is not valid, or of no CA that is trusted") \
	X(BACKEND_TLS_WRONG_NAME, "backend_tls_wrong_name", "the endpoint's certificate has none of the names that are asked for") \
	X(BACKEND_TLS_EXPIRED, "backend_tls_expired", "a certificate of the endpoint's chain has expired, or is not valid yet") \
	X(BACKEND_TLS_REVOKED, "backend_tls_revoked", "a certificate of the endpoint's chain is revoked, or the list that would tell is not good") \
	X(BACKEND_TLS_NOT_AGREED, "backend_tls_not_agreed", "the endpoint speaks no version of TLS, cipher suite or group that may be spoken") \
	X(BACKEND_TLS_ALERT, "backend_tls_alert", "the endpoint ended TLS by an alert, such as that it wants a client certificate") \
	X(BACKEND_TLS_PROTOCOL, "backend_tls_protocol", "the endpoint broke the protocol within the handshake, or speaks no TLS") \
	X(BACKEND_TLS_GONE, "backend_tls_gone", "the endpoint closed or reset the connection within the TLS handshake") \
	X(BACKEND_TLS_TIMEOUT, "backend_tls_timeout", "the TLS handshake with the endpoint was not complete within the time for connecting") \
	X(BACKEND_TLS_BAD_RECORD, "backend_tls_bad_record", "the endpoint sent a record that cannot be decrypted, or changes keys too often") \
	X(BACKEND_TLS_TICKET_FLOOD, "backend_tls_ticket_flood", "the endpoint sent TLS session tickets without end") \
	X(BACKEND_TLS_NO_MEMORY, "backend_tls_no_memory", "to an endpoint: no memory for what TLS had to keep or send")

/* Why a request was refused, failed or cut. The status that the client sees stands in the help text. */
#define WEIR_REASONS_REQUEST(X) \
	X(REQ_BAD, "req_bad", "400: the request breaks RFC 9110 or 9112 (http_bad_* tells how)") \
	X(REQ_TOO_LARGE, "req_too_large", "414 or 431: request line, headers or their count over the limit") \
	X(REQ_HEADER_TIMEOUT, "req_header_timeout", "408: the head did not arrive in time") \
	X(REQ_BODY_TIMEOUT, "req_body_timeout", "408: the body stopped arriving") \
	X(REQ_BODY_SLOW, "req_body_slow", "408: the body arrived more slowly than it may") \
	X(REQ_READ_SLOW, "req_read_slow", "the client read its response more slowly than it may, or not at all; reset") \
	X(REQ_TIMEOUT, "req_timeout", "504: the whole request, or one try of it, took longer than it may") \
	X(REQ_IDLE_TIMEOUT, "req_idle_timeout", "keep-alive connection idle too long; closed") \
	X(REQ_NO_ROUTE, "req_no_route", "404: no route takes this host and path") \
	X(REQ_BAD_BACKEND_REF, "req_bad_backend_ref", "500: the route refers to a backend that is not there") \
	X(REQ_NO_ENDPOINT, "req_no_endpoint", "503: the backend has no ready endpoint") \
	X(REQ_UPSTREAM_REFUSED, "req_upstream_refused", "502: the endpoint refused or reset the connection") \
	X(REQ_UPSTREAM_UNREACHABLE, "req_upstream_unreachable", "502: the endpoint cannot be reached") \
	X(REQ_UPSTREAM_TLS, "req_upstream_tls", "502: no TLS with the endpoint; the detail, and a reason backend_tls_*, tell why") \
	X(REQ_UPSTREAM_CLOSED, "req_upstream_closed", "502: the endpoint closed before it answered") \
	X(REQ_UPSTREAM_BAD, "req_upstream_bad", "502: the endpoint's answer is not HTTP/1.1") \
	X(REQ_UPSTREAM_TRUNCATED, "req_upstream_truncated", "the endpoint closed within the body; client connection reset") \
	X(REQ_CONNECT_TIMEOUT, "req_connect_timeout", "504: no connection to the endpoint in time") \
	X(REQ_RESPONSE_TIMEOUT, "req_response_timeout", "504: no answer of the endpoint in time") \
	X(REQ_POOL_EMPTY, "req_pool_empty", "503: request pool of the worker is empty") \
	X(REQ_UPSTREAM_LIMIT, "req_upstream_limit", "503: connection limit to the backend reached") \
	X(REQ_NO_SNAPSHOT, "req_no_snapshot", "503: no routes yet") \
	X(REQ_CLIENT_GONE, "req_client_gone", "the client went away before its answer was complete") \
	X(REQ_METHOD, "req_method", "501 or 405: CONNECT, or a method that cannot be carried") \
	X(REQ_NO_MEMORY, "req_no_memory", "503: queues hold so many packet buffers that work in hand needs the rest") \
	X(MIRROR_POOL_EMPTY, "mirror_pool_empty", "not mirrored: as many mirrored requests are in hand as the worker has room for") \
	X(MIRROR_NO_MEMORY, "mirror_no_memory", "not mirrored, or the copy cut: no packet buffers to spare") \
	X(MIRROR_NO_ENDPOINT, "mirror_no_endpoint", "not mirrored: no endpoint of the mirror's backend is ready, or none more can be connected to") \
	X(MIRROR_SLOW, "mirror_slow", "mirrored request cut: its endpoint takes the body more slowly than the client sends it") \
	X(MIRROR_FAILED, "mirror_failed", "mirrored request cut: its endpoint refused, closed or broke the connection, or answered no HTTP/1.1") \
	X(MIRROR_TIMEOUT, "mirror_timeout", "mirrored request cut: no answer of its endpoint in time") \
	X(MIRROR_CUT, "mirror_cut", "mirrored request cut: the request itself ended before its body was complete, or the dataplane drains") \
	X(REQ_MISDIRECTED, "req_misdirected", "421: an https URI over a connection without TLS, a host that is not of the server name that the connection was opened for, or a port that has changed its protocol since") \
	X(TUNNEL_POOL_EMPTY, "tunnel_pool_empty", "503: an Upgrade while as many tunnels are open, or asked for, as the worker has room for") \
	X(TUNNEL_IDLE, "tunnel_idle", "tunnel without a byte for too long; closed") \
	X(TUNNEL_LIFE, "tunnel_life", "tunnel open for as long as it may; closed") \
	X(TUNNEL_CLIENT_GONE, "tunnel_client_gone", "the client reset the tunnel, or did not answer; the endpoint's connection reset") \
	X(TUNNEL_ENDPOINT_GONE, "tunnel_endpoint_gone", "the endpoint reset the tunnel, or did not answer; the client's connection reset") \
	X(TUNNEL_NO_MEMORY, "tunnel_no_memory", "tunnel cut: no packet buffers for what it carries") \
	X(TUNNEL_DRAINED, "tunnel_drained", "tunnel closed because the dataplane drains and its time is up") \
	X(STREAM_POOL_EMPTY, "stream_pool_empty", "connection of bytes reset: as many requests are in hand, or tunnels open, as the worker has room for") \
	X(STREAM_NO_MEMORY, "stream_no_memory", "connection of bytes reset: queues hold so many packet buffers that work in hand needs the rest") \
	X(STREAM_NO_ROUTE, "stream_no_route", "connection of bytes reset: no route takes it") \
	X(STREAM_BAD_BACKEND_REF, "stream_bad_backend_ref", "connection of bytes reset: the route refers to a backend that is not there") \
	X(STREAM_NO_ENDPOINT, "stream_no_endpoint", "connection of bytes reset: the backend has no ready endpoint") \
	X(STREAM_UPSTREAM_LIMIT, "stream_upstream_limit", "connection of bytes reset: as many connections to the backend as may be") \
	X(STREAM_UPSTREAM_REFUSED, "stream_upstream_refused", "connection of bytes reset: the endpoint refused the connection") \
	X(STREAM_UPSTREAM_UNREACHABLE, "stream_upstream_unreachable", "connection of bytes reset: the endpoint cannot be reached") \
	X(STREAM_UPSTREAM_CLOSED, "stream_upstream_closed", "connection of bytes reset: the endpoint closed the connection as it was made") \
	X(STREAM_UPSTREAM_TLS, "stream_upstream_tls", "connection of bytes reset: TLS to the endpoint failed, as the detail says") \
	X(STREAM_CONNECT_TIMEOUT, "stream_connect_timeout", "connection of bytes reset: no connection to the endpoint in time") \
	X(STREAM_CLIENT_GONE, "stream_client_gone", "the client reset its connection of bytes before there was one to an endpoint")

#define WEIR_REASONS(X) \
	WEIR_REASONS_PACKET(X) \
	WEIR_REASONS_CONNECTION(X) \
	WEIR_REASONS_TLS(X) \
	WEIR_REASONS_REQUEST(X)

enum weir_reason {
#define X(name, str, help) WEIR_R_##name,
	WEIR_REASONS(X)
#undef X
		WEIR_N_REASONS
};

/* worker: w, all others: r. Each block has cache lines of its own. */
struct weir_worker_stats {
	uint64_t counter[WEIR_N_COUNTERS];
	uint64_t gauge[WEIR_N_GAUGES];
	uint64_t reason[WEIR_N_REASONS];
} __attribute__((aligned(128)));

struct weir_port_info {
	char name[32]; /* NUL terminated */
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t link_up;
	uint32_t n_queues;
	uint64_t offloads; /* as the port reports, for people */
};

/* The head of the statistics region. main: w. worker blocks follow at workers_off. */
struct weir_stats_region {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t n_workers;
	uint64_t size;
	uint64_t workers_off; /* of struct weir_worker_stats[n_workers + 1]; the last block is the main lcore's */
	uint32_t n_counters;  /* as compiled in: a reader of another version reads the smaller number */
	uint32_t n_gauges;
	uint32_t n_reasons;
	uint32_t n_ports;
	uint64_t start_time_s; /* Unix time */
	uint64_t tsc_hz;
	uint64_t snapshots_taken;
	uint64_t snapshots_refused;
	uint64_t endpoint_sets_taken;
	uint64_t endpoint_sets_refused;
	uint64_t live_generation; /* that every worker serves */
	uint64_t draining;
	char version[32];
	struct weir_port_info port[WEIR_MAX_PORTS];
	uint64_t ctrl_connects;	 /* connections of a weir-ctrl taken */
	uint64_t ctrl_refused;	 /* connections refused: wrong uid, or one was there */
	uint64_t ctrl_protocol_errors; /* connections ended because the peer broke the contract */
	uint64_t conn_lists;   /* lists of connections made */
	uint64_t captures;     /* captures begun */
	uint64_t diag_refused; /* requests for either that were refused */
	uint64_t certificates_taken;
	uint64_t certificates_refused;
	uint64_t certificates; /* that main holds */
	uint64_t tls_off;      /* of struct weir_tls_info; 0: none */
	uint64_t ticket_keys_taken; /* sets of shared keys */
	uint64_t ticket_keys_refused;
	uint32_t ticket_source; /* enum weir_ticket_source: of the keys that are in use */
	uint32_t n_ticket_keys;
	uint64_t ticket_sealing_s; /* Unix time since which the one that seals does so here; 0: none */
	uint32_t paths_taken; /* sets of ways to pods */
	uint32_t paths_refused;
	uint32_t n_paths; /* prefixes that have one, of all sources */
	uint32_t reserved;
	uint64_t kernel_lost; /* frames that were to be given to the kernel, which did not take them */
	uint32_t announce_state; /* enum weir_announce_state */
	uint32_t n_announced;	 /* addresses */
	uint64_t announce_changes; /* announcements and withdrawals */
	uint64_t energy_packages_uj; /* of the CPU packages since the start; 0: the machine does not tell */
	uint64_t energy_workers_uj;  /* of that, by estimate: for what workers did, their waiting left out */
	uint64_t ports_off; /* of struct weir_port_details[WEIR_MAX_PORTS] (ports.h); 0: none */
	uint64_t life_off; /* of struct weir_life_info; 0: none */
	uint64_t xstats_off; /* from abi_minor 4: of struct weir_port_xstats[WEIR_MAX_PORTS] (ports.h); 0: none */
};

/* X(enumerator, name, help): how a dataplane ended. */
#define WEIR_ENDS(X) \
	X(STOPPED, "stopped", "as it was told to, by SIGTERM or SIGINT") \
	X(START_FAILED, "start_failed", "it could not start, or was killed while it did") \
	X(KILLED, "killed", "without a word: by SIGKILL, for want of memory, or by a signal that nobody handles") \
	X(CRASHED, "crashed", "by SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGABRT") \
	X(STUCK, "worker_stuck", "by its own watchdog: a worker did not go on")

enum weir_end {
#define X(name, str, help) WEIR_END_##name,
	WEIR_ENDS(X)
#undef X
		WEIR_N_ENDS
};

/* How the dataplanes before this one ended that had the same control socket, since the machine (or Pod) started. main: w, before a reader has the region. */
struct weir_life_info {
	uint64_t ends[WEIR_N_ENDS];
	uint64_t last_s;  /* Unix time of the last end, give or take a second; 0: this is the first one */
	uint32_t last;	  /* enum weir_end */
	int32_t signal;	  /* that it crashed by */
	int32_t worker;	  /* that was stuck or crashed; -1: none, or main */
	uint32_t reserved;
};

/* X(enumerator, name, help): whether Weir's addresses are announced by routes in the kernel, or why not */
#define WEIR_ANNOUNCE_STATES(X) \
	X(OFF, "off", "nothing is to be announced") \
	X(ANNOUNCED, "announced", "Weir serves, and its addresses are announced") \
	X(STARTING, "starting", "no routes have come from weir-ctrl yet") \
	X(LINK_DOWN, "link-down", "the port has no link") \
	X(DRAINING, "draining", "the dataplane is draining") \
	X(STILL, "worker-still", "a worker does not go on, or did not a moment ago") \
	X(REFUSED, "refused", "the kernel does not take the route, such as where somebody deleted the port's interface")

enum weir_announce_state {
#define X(name, str, help) WEIR_ANNOUNCE_##name,
	WEIR_ANNOUNCE_STATES(X)
#undef X
};

enum weir_ticket_source { WEIR_TICKETS_NONE, WEIR_TICKETS_OWN, WEIR_TICKETS_SHARED };

/* What TLS uses, in words. main: w, before a reader has the region. */
struct weir_tls_info {
	char openssl[64];     /* its version, as it says it */
	char groups[128];     /* of key exchange, in the order of preference */
	char no_hybrid[96];   /* why there is no group that resists quantum computers; "": there is */
	char offload_kind[16]; /* software, engine, provider: what is in use */
	char offload_name[64];
	char offload_why[256]; /* why it is software although another kind is configured */
	uint64_t offload_jobs; /* of a worker */
	uint64_t offload_timeout_ms;
};

#endif
