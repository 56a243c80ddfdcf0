/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl tls, for people. */
#include <string.h>
#include <time.h>

#include "cli/render_pvt.h"

static const char *state(const json_t *w)
{
	return json_is_true(json_object_get(w, "up")) ? "in use" : "down: handshakes are done in software";
}

static void render_worker(FILE *f, size_t i, const json_t *w)
{
	long long n = num(w, "completed") + num(w, "failed");

	fprintf(f, "worker %zu        %s\n", i, state(w));
	fprintf(f, "  in flight     %lld, %lld wait for a job, %lld without a connection\n", num(w, "in_flight"), num(w, "queued"),
		num(w, "orphans"));
	fprintf(f, "  submitted     %lld: %lld completed, %lld failed, %lld too late\n", num(w, "submitted"), num(w, "completed"),
		num(w, "failed"), num(w, "timeouts"));
	fprintf(f, "  retried       %lld\n", num(w, "retried"));
	fprintf(f, "  fallbacks     %lld, down %lld times\n", num(w, "fallbacks"), num(w, "down"));
	fprintf(f, "  mean time     %lld us\n", n ? num(w, "us") / n : 0);
}

static const char *source(const json_t *t)
{
	if (strcmp(str(t, "source"), "shared") == 0)
		return "keys of the Secret, the same in all nodes";
	return strcmp(str(t, "source"), "own") == 0 ? "keys of this dataplane alone" : "none";
}

void render_ticket_secret(FILE *f, const json_t *secret, const char *indent)
{
	const char *state = str(secret, "state");
	long long rotated = num(secret, "rotated");

	fprintf(f, "%sSecret %s/%s, ", indent, str(secret, "namespace"), str(secret, "name"));
	if (strcmp(state, "good") == 0)
		fprintf(f, "%lld keys", num(secret, "keys"));
	else
		fprintf(f, "which is %s%s%s; %s", state, *str(secret, "why") ? ": " : "", str(secret, "why"),
			json_is_true(json_object_get(secret, "given_up")) ? "keys of the dataplane's own are used" : "the last keys stay");
	if (rotated)
		fprintf(f, ", rotated %lld s ago", (long long)time(NULL) - rotated);
	if (json_is_true(json_object_get(secret, "writing")))
		fprintf(f, "; every %lld s they are rotated here", num(secret, "rotate_s"));
	fputc('\n', f);
}

static void render_tickets(FILE *f, const json_t *t)
{
	long long since = num(t, "sealing_since");

	fprintf(f, "tickets         %s\n", source(t));
	if (num(t, "keys"))
		fprintf(f, "  keys          %lld; one seals since %lld s, the others only open\n", num(t, "keys"),
			(long long)time(NULL) - since);
}

static void render_early_data(FILE *f, const json_t *e)
{
	if (json_is_true(json_object_get(e, "on")))
		fprintf(f, "early data      safe: %lld handshakes accepted, %lld rejected; %lld requests served, %lld held\n", num(e, "accepted"),
			num(e, "rejected"), num(e, "served"), num(e, "held"));
	else
		fputs("early data      off\n", f);
}

void render_tls(FILE *f, const json_t *o)
{
	const json_t *offload = json_object_get(o, "offload");
	const json_t *w;
	size_t i;

	if (!offload) {
		fputs("no dataplane is connected\n", f);
		return;
	}
	fprintf(f, "openssl         %s\n", str(o, "openssl"));
	fprintf(f, "groups          %s\n", str(o, "groups"));
	if (*str(o, "no_hybrid"))
		fprintf(f, "post-quantum    none: %s\n", str(o, "no_hybrid"));
	else
		fprintf(f, "post-quantum    %lld of %lld handshakes of clients\n", num(o, "post_quantum"), num(o, "handshakes"));
	if (json_object_get(o, "tickets"))
		render_tickets(f, json_object_get(o, "tickets"));
	if (json_object_get(o, "ticket_secret"))
		render_ticket_secret(f, json_object_get(o, "ticket_secret"), "  from          ");
	if (json_object_get(o, "early_data"))
		render_early_data(f, json_object_get(o, "early_data"));
	fprintf(f, "offload         %s%s%s\n", str(offload, "kind"), *str(offload, "name") ? " " : "", str(offload, "name"));
	if (*str(offload, "why"))
		fprintf(f, "  because       %s\n", str(offload, "why"));
	if (num(offload, "jobs") == 0)
		return;
	fprintf(f, "  bounds        %lld jobs for each worker, %lld ms for an operation\n", num(offload, "jobs"),
		num(offload, "timeout_ms"));
	json_array_foreach(json_object_get(offload, "workers"), i, w)
		render_worker(f, i, w);
}
