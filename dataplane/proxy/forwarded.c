/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to believe about where a request came from. A trusted hop is a proxy of
 * ours in front of Weir, told apart by its address or by its mere number: what
 * it says of the client is taken over, what anybody else says is dropped.
 */
#include "proxy/proxy_pvt.h"

#define MAX_HOPS 64 /* entries of X-Forwarded-For that are looked at */

static bool is_in_prefixes(const struct proxy_forwarding *f, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < f->n_trusted_prefixes; i++)
		if (ip_in_prefix(ip, &f->trusted_prefixes[i].ip, f->trusted_prefixes[i].len))
			return true;
	return false;
}

static bool is_trusted(const struct proxy_forwarding *f, const struct weir_ip *peer)
{
	return f->n_trusted_prefixes ? is_in_prefixes(f, peer) : f->trusted_hops > 0;
}

static bool is_port(struct slice s)
{
	unsigned v = 0;

	if (s.n == 0 || s.n > 5)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s.p[i] - '0');
	}
	return v >= 1 && v <= 65535;
}

static bool is_proto(struct slice s)
{
	return slice_eq_nocase(s, SLICE("http")) || slice_eq_nocase(s, SLICE("https"));
}

static bool parse_host(struct slice s, struct weir_ip *ip)
{
	return ip_parse(s.p, s.n, ip) == 0 && !ip_is_any(ip) && !(ip_is4(ip) && ip_to4(ip) == 0);
}

/* An address; IPv6 in brackets or without; with a port behind it where that can be told apart. */
static bool parse_hop(struct slice s, struct weir_ip *ip)
{
	const char *end = s.p + s.n;
	const char *colon = memchr(s.p, ':', s.n);
	const char *at = end; /* of the address */

	if (s.p[0] == '[') {
		at = memchr(s.p, ']', s.n);
		if (!at || !colon || colon > at || (at + 1 < end && (at[1] != ':' || !is_port(slice_of(at + 2, (size_t)(end - at) - 2)))))
			return false;
		return parse_host(slice_of(s.p + 1, (size_t)(at - s.p) - 1), ip);
	}
	if (colon && !memchr(colon + 1, ':', (size_t)(end - colon) - 1)) {
		if (!is_port(slice_of(colon + 1, (size_t)(end - colon) - 1)))
			return false;
		at = colon;
	}
	return parse_host(slice_of(s.p, (size_t)(at - s.p)), ip);
}

/* Takes the last element off the list, without the white space around it. */
static struct slice take_last(struct slice *list)
{
	size_t end = list->n, start = end;

	while (start && list->p[start - 1] != ',')
		start--;
	list->n = start ? start - 1 : 0;
	while (start < end && (list->p[start] == ' ' || list->p[start] == '\t'))
		start++;
	while (end > start && (list->p[end - 1] == ' ' || list->p[end - 1] == '\t'))
		end--;
	return slice_of(list->p + start, end - start);
}

/* The n-th entry from the right, from 1 on. True: the one to the left of it is to be looked at, too. */
static bool take_hop(struct request *rq, struct slice entry, unsigned n)
{
	const struct proxy_forwarding *f = &rq->client->p->cfg.forwarding;
	struct weir_ip ip;

	if (n > MAX_HOPS || !parse_hop(entry, &ip)) {
		stat_inc(rq->client->p->stats, WEIR_C_FORWARDED_BAD);
		return false;
	}
	rq->client_addr = ip;
	return f->trusted_hops ? n < f->trusted_hops : is_in_prefixes(f, &ip);
}

static void find_client(struct request *rq)
{
	const struct http_head *h = &rq->head;
	unsigned n = 0;

	for (unsigned i = h->n_fields; i-- > 0;) {
		struct slice list = h->fields[i].value;

		if (h->fields[i].id != HTTP_FIELD_X_FORWARDED_FOR)
			continue;
		while (list.n) {
			struct slice entry = take_last(&list);

			if (entry.n && !take_hop(rq, entry, ++n))
				return;
		}
	}
}

/* A field of which there may be one, if it is good. */
static void believe(struct request *rq, enum http_field_id id, bool (*is_good)(struct slice value))
{
	const struct http_head *h = &rq->head;
	uint32_t bit = http_field_bit(id);

	if (!(h->seen & bit))
		return;
	if (!(h->seen_again & bit) && is_good(http_head_get(h, id)->value))
		rq->believed |= bit;
	else
		stat_inc(rq->client->p->stats, WEIR_C_FORWARDED_BAD);
}

/* Any number of fields, all of them good: else what is appended could end up within a quoted string. */
static void believe_list(struct request *rq, enum http_field_id id, bool (*is_good)(struct slice value))
{
	const struct http_head *h = &rq->head;
	uint32_t bit = http_field_bit(id);

	if (!(h->seen & bit))
		return;
	rq->believed |= bit;
	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == id && !is_good(h->fields[i].value))
			rq->believed &= ~bit;
	if (!(rq->believed & bit))
		stat_inc(rq->client->p->stats, WEIR_C_FORWARDED_BAD);
}

void forwarded_take(struct request *rq)
{
	rq->is_trusted = is_trusted(&rq->client->p->cfg.forwarding, &rq->client_addr);
	if (!rq->is_trusted)
		return;
	if (rq->head.seen & http_field_bit(HTTP_FIELD_X_FORWARDED_FOR)) {
		rq->believed |= http_field_bit(HTTP_FIELD_X_FORWARDED_FOR);
		find_client(rq);
	}
	believe(rq, HTTP_FIELD_X_FORWARDED_PROTO, is_proto);
	believe(rq, HTTP_FIELD_X_FORWARDED_HOST, http1_is_authority);
	believe(rq, HTTP_FIELD_X_FORWARDED_PORT, is_port);
	believe_list(rq, HTTP_FIELD_FORWARDED, http1_is_forwarded);
	believe_list(rq, HTTP_FIELD_X_FORWARDED_CLIENT_CERT, client_cert_is_xfcc);
	believe(rq, HTTP_FIELD_CLIENT_CERT, client_cert_is_field);
	believe(rq, HTTP_FIELD_CLIENT_CERT_CHAIN, client_cert_is_chain);
}

/* What a trusted hop says, or else own. */
static struct slice field_of(const struct request *rq, enum http_field_id id, struct slice own)
{
	return rq->believed & http_field_bit(id) ? http_head_get(&rq->head, id)->value : own;
}

/* The text of a port. Nearly always it is the same as the last time. */
static struct slice port_text(struct proxy *p, uint16_t port)
{
	if (port != p->port) {
		struct buf b;

		buf_init(&b, p->port_text, sizeof(p->port_text));
		buf_uint(&b, port, 10);
		p->port = port;
		p->n_port_text = b.n;
	}
	return slice_of(p->port_text, p->n_port_text);
}

void forwarded_fill(const struct request *rq, struct http1_forward *f, char *ip_text)
{
	const struct ip_flow *flow = tcp_flow(stream_tcp(rq->client->io));
	struct proxy *p = rq->client->p;

	f->client_ip = slice_str(ip_format(&flow->remote, ip_text));
	f->scheme = client_is_tls(rq->client) ? SLICE("https") : SLICE("http");
	f->forwarded_proto = f->scheme;
	f->forwarded_host = rq->head.authority;
	f->forwarded_port = port_text(p, flow->local_port);
	f->via = p->via[rq->head.minor];
	f->add_forwarded = p->cfg.forwarding.add_forwarded;
	client_cert_fill(rq, f);
	if (!rq->believed)
		return;
	f->keep_forwarded_for = rq->believed & http_field_bit(HTTP_FIELD_X_FORWARDED_FOR);
	f->keep_forwarded = rq->believed & http_field_bit(HTTP_FIELD_FORWARDED);
	f->forwarded_proto = field_of(rq, HTTP_FIELD_X_FORWARDED_PROTO, f->forwarded_proto);
	f->forwarded_host = field_of(rq, HTTP_FIELD_X_FORWARDED_HOST, f->forwarded_host);
	f->forwarded_port = field_of(rq, HTTP_FIELD_X_FORWARDED_PORT, f->forwarded_port);
}
