/* SPDX-License-Identifier: Apache-2.0 */
/* What weir-blast takes for a connection's owner is what Weir's steering says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "net/net_pvt.h"
#include "net/steer.h"
#include "owner.h"

#define N_WORKERS_MAX 8

static const struct tuple first = {.local = 0x0a400000, .remote = 0x0a010001, .local_port = 32768, .remote_port = 80};

/* The n-th client as weir-blast numbers them: 16 ports of each address. */
static struct tuple client(unsigned n)
{
	struct tuple t = first;

	t.local += n / 16;
	t.local_port = (uint16_t)(t.local_port + n % 16);
	return t;
}

static void the_owner_is_the_worker_that_steering_names(void **state)
{
	struct steer s;
	struct net_port port = {0};
	struct net n = {.cfg = {.steer = &s}};

	for (uint16_t workers = 1; workers <= N_WORKERS_MAX; workers++) {
		steer_init(&s, workers, 1024, 32767);
		n.cfg.n_workers = workers;
		for (unsigned i = 0; i < 5000; i++) {
			struct tuple t = client(i);
			struct ip_flow f = {.local = ip_from4(htonl(t.remote)), .remote = ip_from4(htonl(t.local)),
					    .local_port = t.remote_port, .remote_port = t.local_port};

			assert_int_equal(owner_of(&t, workers), steer_owner(&n, &port, &f));
		}
	}
}

static void clients_are_spread_evenly_over_the_owners(void **state)
{
	for (unsigned workers = 2; workers <= N_WORKERS_MAX; workers++) {
		unsigned n[N_WORKERS_MAX] = {0};

		for (unsigned i = 0; i < 8000; i++) {
			struct tuple t = client(i);

			n[owner_of(&t, workers)]++;
		}
		for (unsigned w = 0; w < workers; w++)
			assert_in_range(n[w], 7200 / workers, 8800 / workers);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_owner_is_the_worker_that_steering_names),
		cmocka_unit_test(clients_are_spread_evenly_over_the_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
