/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests in the clear at a rate, on a few connections that stay. How long one took counts from when it was due, so that what
 * waits behind a slow one is not forgiven.
 */
#include "tlsload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct plain {
	struct watched w;
	bool is_open, is_asking;
	double due;
	struct response r;
};

static struct plain plains[MAX_PLAIN];
static struct load *load;

static void give_up(struct plain *p, const char *what)
{
	note_error(load, what);
	close(p->w.fd);
	memset(p, 0, sizeof(*p));
	p->w.fd = -1;
}

static void ready(struct watched *w, uint32_t events)
{
	struct plain *p = (struct plain *)w;
	static char buf[IO_BYTES];
	uint64_t n_body = 0;
	ssize_t n;
	int rc;

	if (!p->is_open) {
		p->is_open = true;
		rewatch(load, w, EPOLLIN);
		return;
	}
	n = read(w->fd, buf, sizeof(buf));
	if (n < 0 && errno == EAGAIN)
		return;
	rc = n > 0 && p->is_asking ? response_take(&p->r, buf, (size_t)n, &n_body) : -1;
	if (rc < 0) {
		give_up(p, "an answer in the clear is none, or the connection ended");
	} else if (rc == 1) {
		hist_add(&load->plain, (uint64_t)((now_s() - p->due) * 1e9));
		memset(&p->r, 0, sizeof(p->r));
		p->is_asking = false;
	}
}

void plain_begin(struct load *l)
{
	load = l;
	for (unsigned i = 0; i < MAX_PLAIN && l->work.plain_rate > 0; i++) {
		plains[i] = (struct plain){.w = {ready, connect_to(l, l->work.plain_port)}};
		if (plains[i].w.fd >= 0)
			watch(l, &plains[i].w, EPOLLOUT);
	}
	l->plain_next = now_s() + 0.2;
}

static void ask(struct plain *p)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "GET /128 HTTP/1.1\r\nHost: %s\r\n\r\n", load->host);

	p->is_asking = true;
	p->due = load->plain_next;
	if (write(p->w.fd, text, (size_t)n) != n)
		give_up(p, "a request in the clear could not be written");
}

void plain_step(struct load *l)
{
	double now = now_s();

	while (l->is_running && l->work.plain_rate > 0 && now >= l->plain_next) {
		struct plain *p = NULL;

		for (unsigned i = 0; i < MAX_PLAIN && !p; i++)
			if (plains[i].is_open && !plains[i].is_asking)
				p = &plains[i];
		if (p)
			ask(p);
		else
			l->plain_late++;
		l->plain_next += 1 / l->work.plain_rate;
	}
}

void plain_end(struct load *l)
{
	for (unsigned i = 0; i < MAX_PLAIN; i++)
		if (plains[i].w.ready && plains[i].w.fd >= 0)
			close(plains[i].w.fd);
	memset(plains, 0, sizeof(plains));
}
