/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of the kernel: what a question that failed leaves behind is not taken for the answer to the next one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>

#include "ctl.h"
#include "kernel_routes.h"

static unsigned n_set, n_questions, n_to_fail;
static bool was_behind;

unsigned exception_ifindex(const struct exception *x, unsigned port)
{
	return 1;
}

int ctl_set_kernel_routes(struct ctl *c, const struct fib_route *routes, size_t n)
{
	n_set++;
	return 0;
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t n);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *s, const void *buf, size_t n)
{
	char c;

	n_questions++;
	was_behind |= recv(mnl_socket_get_fd(s), &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
	return send(mnl_socket_get_fd(s), buf, n, 0);
}

ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t n);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t n);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t n)
{
	if (n_to_fail > 0) {
		n_to_fail--;
		errno = ENOBUFS;
		return -1;
	}
	return __real_mnl_socket_recvfrom(s, buf, n);
}

static void asks_anew_after_a_failure(void **state)
{
	static struct config config = {.n_ports = 1};
	struct kernel_routes *k;

	config.ports[0].kernel.learns = true;
	assert_int_equal(kernel_routes_create(&config, NULL, NULL, &k), 0);
	n_to_fail = 1;
	kernel_routes_update(k);
	assert_int_equal(n_set, 0);
	kernel_routes_update(k);
	assert_int_equal(n_set, 1);
	assert_int_equal(n_questions, 2);
	assert_false(was_behind);
	kernel_routes_destroy(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(asks_anew_after_a_failure)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
