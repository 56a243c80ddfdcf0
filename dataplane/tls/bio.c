/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OpenSSL reads from and writes to: the queues of a TCP connection. The end of what the peer sends is never told as
 * such: without close_notify OpenSSL would take it for an error behind which nothing can be sent, yet a client may
 * have closed its side alone. read.c and session.c look at TCP themselves.
 */
#include <errno.h>

#include "tls/tls_pvt.h"

/* OpenSSL ends a job of this session's, and that is all. */
static bool has_ended(const struct tls_session *s)
{
	return s->state == TLS_ENDED || s->is_orphan || s->t->offload.is_ending;
}

static int bio_read(BIO *b, char *out, int n)
{
	const struct tls_session *s = BIO_get_data(b);
	int done = 0;

	BIO_clear_retry_flags(b);
	if (has_ended(s))
		return -1;
	/* Messages between two pieces of content are taken in by OpenSSL without an end: a flood of them stops here. */
	while (done < n && !tls_floods(s)) {
		struct slice in = tcp_peek(s->tcp);
		size_t k = in.n < (size_t)(n - done) ? in.n : (size_t)(n - done);

		if (k == 0)
			break;
		memcpy(out + done, in.p, k);
		tcp_consume(s->tcp, k);
		done += (int)k;
	}
	if (done)
		return done;
	BIO_set_retry_read(b);
	return -1;
}

static int bio_write(BIO *b, const char *data, int n)
{
	struct tls_session *s = BIO_get_data(b);
	int rc;

	BIO_clear_retry_flags(b);
	if (has_ended(s))
		return -1;
	if (n <= 0)
		return 0;
	if (s->early && s->early->unsent && tls_early_keep(s, data, (size_t)n)) /* behind what is there already */
		return n;
	rc = tcp_send(s->tcp, data, (size_t)n);
	if (rc == -EAGAIN) {
		size_t room = tcp_send_room(s->tcp);

		if (room && room < (size_t)n) {
			n = (int)room;
			rc = tcp_send(s->tcp, data, room);
		}
	}
	if (rc == 0)
		return n;
	if (rc == -EAGAIN && tls_early_keep(s, data, (size_t)n))
		return n;
	if (rc == -EPIPE)
		s->is_broken = true;
	else
		BIO_set_retry_write(b);
	return -1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

BIO_METHOD *tls_bio_create(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tcp");

	if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) && BIO_meth_set_ctrl(m, bio_ctrl) &&
	    BIO_meth_set_create(m, bio_create))
		return m;
	BIO_meth_free(m);
	return NULL;
}

struct tls_session *tls_bio_session(const SSL *ssl)
{
	return BIO_get_data(SSL_get_rbio(ssl));
}
