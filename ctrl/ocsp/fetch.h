/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to OCSP responders by libcurl, over an epoll descriptor of their
 * own, without waiting, over http alone (facts.c says why): GET where the URL stays short, so that caches answer,
 * else POST (RFC 5019 5). No credentials, cookies, proxies; a few redirects;
 * bounds of time, bytes and connections. See address.h for whom may be asked.
 */
#ifndef OCSP_FETCH_H
#define OCSP_FETCH_H

#include "ocsp/stapler.h"

#define FETCH_TIMEOUT_MS 10000u
#define FETCH_CONNECT_MS 5000u
#define FETCH_REDIRECTS 3
#define FETCH_GET_MAX 255u /* bytes of a URL with the request in it */

struct fetch;

typedef void fetch_answer_fn(void *ctx, void *question, const struct stapler_answer *a);

/* any: as ocsp_address_is_allowed(). NULL and errno. */
struct fetch *fetch_create(bool any, fetch_answer_fn *answered, void *ctx);
/* What is under way is not answered any more. */
void fetch_destroy(struct fetch *f);
/* Readable when fetch_poll() has something to do, beside its time. */
int fetch_fd(const struct fetch *f);
/* A stapler_ask_fn: the bytes are copied. */
void fetch_ask(void *f, const char *url, const unsigned char *der, size_t n, void *question);
/* Answers what is known by now. Returns when to call it again; UINT64_MAX: when the descriptor says so. */
uint64_t fetch_poll(struct fetch *f, uint64_t now_ms);

#endif
