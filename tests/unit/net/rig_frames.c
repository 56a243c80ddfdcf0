/* SPDX-License-Identifier: Apache-2.0 */
/* Frames built and taken apart; see rig.h. */
#include "rig.h"

const uint8_t rig_us[6] = {2, 0, 0, 0, 0, 1}, rig_him[6] = {2, 0, 0, 0, 0, 9};

struct weir_ip rig_ip(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

uint16_t rig_sum(const uint8_t *p, unsigned n, uint32_t sum)
{
	for (unsigned i = 0; i < n; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)sum;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

static uint32_t pseudo(const struct weir_ip *a, const struct weir_ip *b, uint8_t proto, unsigned n)
{
	unsigned k = ip_is4(a) ? 4 : 16;

	return rig_sum(b->b + 16 - k, k, rig_sum(a->b + 16 - k, k, proto + n));
}

/* Header and payload; the payload's checksum is the caller's. */
static unsigned wrap(uint8_t *f, const struct weir_ip *s, const struct weir_ip *d, uint8_t proto, uint8_t ecn, unsigned n)
{
	memcpy(f, rig_us, 6);
	memcpy(f + 6, rig_him, 6);
	if (ip_is4(s)) {
		uint8_t *p = f + 14;

		put16(f + 12, ETHERTYPE_IP4);
		memset(p, 0, 20);
		p[0] = 0x45;
		p[1] = ecn;
		put16(p + 2, 20 + n);
		p[6] = 0x40;
		p[8] = 64;
		p[9] = proto;
		memcpy(p + 12, s->b + 12, 4);
		memcpy(p + 16, d->b + 12, 4);
		put16(p + 10, (uint16_t)~rig_sum(p, 20, 0));
		return 34;
	}
	put16(f + 12, ETHERTYPE_IP6);
	memset(f + 14, 0, 40);
	f[14] = 0x60;
	f[15] = (uint8_t)(ecn << 4);
	put16(f + 18, n);
	f[20] = proto;
	f[21] = 64;
	memcpy(f + 22, s->b, 16);
	memcpy(f + 38, d->b, 16);
	return 54;
}

unsigned rig_build(uint8_t *frame, const struct rig_segment *s)
{
	struct weir_ip src = rig_ip(s->src), dst = rig_ip(s->dst);
	unsigned n = 20 + s->n_options + s->n_payload;
	unsigned at = wrap(frame, &src, &dst, PROTO_TCP, s->ecn, n);
	uint8_t *t = frame + at;

	memset(t, 0, 20);
	put16(t, s->sport);
	put16(t + 2, s->dport);
	put32(t + 4, s->seq);
	put32(t + 8, s->ack);
	t[12] = (uint8_t)((20 + s->n_options) / 4 << 4);
	t[13] = s->flags;
	put16(t + 14, s->wnd);
	if (s->n_options)
		memcpy(t + 20, s->options, s->n_options);
	for (unsigned i = 0; i < s->n_payload; i++)
		t[20 + s->n_options + i] = rig_byte(s->seq + i);
	put16(t + 16, (uint16_t)~rig_sum(t, n, pseudo(&src, &dst, PROTO_TCP, n)));
	return at + n;
}

unsigned rig_build_ip(uint8_t *frame, const char *src_text, const char *dst_text, uint8_t proto, const uint8_t *payload,
		      unsigned n)
{
	struct weir_ip src = rig_ip(src_text), dst = rig_ip(dst_text);
	unsigned at = wrap(frame, &src, &dst, proto, 0, n);

	memcpy(frame + at, payload, n);
	if (proto == PROTO_ICMP || proto == PROTO_ICMP6) {
		put16(frame + at + 2, 0);
		put16(frame + at + 2,
		      (uint16_t)~rig_sum(frame + at, n, proto == PROTO_ICMP ? 0 : pseudo(&src, &dst, PROTO_ICMP6, n)));
	}
	return at + n;
}

struct rig_parsed rig_parse(const struct rig_frame *f)
{
	struct rig_parsed r = {.is4 = get16(f->data + 12) == ETHERTYPE_IP4};
	const uint8_t *ip = f->data + 14;
	struct weir_ip src, dst;
	unsigned n;
	uint32_t be;

	if (r.is4) {
		assert_int_equal(get16(ip + 2), f->len - 14);
		if (!(f->ol_flags & RTE_MBUF_F_TX_IP_CKSUM))
			assert_int_equal(rig_sum(ip, 20, 0), 0xffff);
		else
			assert_int_equal(get16(ip + 10), 0);
		assert_int_equal(ip[9], PROTO_TCP);
		assert_int_equal(ip[6], 0x40);
		r.ecn = ip[1] & 3;
		memcpy(&be, ip + 12, 4);
		src = ip_from4(be);
		memcpy(&be, ip + 16, 4);
		dst = ip_from4(be);
		r.tcp = ip + 20;
	} else {
		assert_int_equal(get16(f->data + 12), ETHERTYPE_IP6);
		assert_int_equal(get16(ip + 4), f->len - 54);
		assert_int_equal(ip[6], PROTO_TCP);
		r.ecn = (ip[1] >> 4) & 3;
		memcpy(src.b, ip + 8, 16);
		memcpy(dst.b, ip + 24, 16);
		r.tcp = ip + 40;
	}
	n = f->len - (unsigned)(r.tcp - f->data);
	r.n_header = (r.tcp[12] >> 4) * 4u;
	r.n_payload = n - r.n_header;
	r.seq = get32(r.tcp + 4);
	r.flags = r.tcp[13];
	if (!(f->ol_flags & RTE_MBUF_F_TX_L4_MASK))
		assert_int_equal(rig_sum(r.tcp, n, pseudo(&src, &dst, PROTO_TCP, n)), 0xffff);
	else /* what a device adds to: the pseudo-header's sum, of a long segment without its length */
		assert_int_equal(get16(r.tcp + 16), pseudo(&src, &dst, PROTO_TCP, f->tso_segsz ? 0 : n));
	return r;
}
