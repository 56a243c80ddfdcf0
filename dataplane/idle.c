/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's rest: system calls, interrupts of ports, and the CPU's own sleep. */
#include "idle.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ALLOW_EXPERIMENTAL_API /* rte_power_pause() and rte_power_monitor(), in DPDK 22.11 */
#include <rte_cpuflags.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_pause.h>
#include <rte_power_intrinsics.h>

#include "base/log.h"
#include "base/wake.h"
#include "net/net.h"
#include "stats/stats.h"

/* Drivers' descriptors are eventfds, but that of a TAP, which is the device itself: to read it would take a packet. */
static bool is_eventfd(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && !S_ISCHR(st.st_mode);
}

static bool add_port(struct idle *i, const struct net_port *port)
{
	int fd = port->has_rx_intr ? rte_eth_dev_rx_intr_ctl_q_get_fd(port->port_id, i->cfg.queue) : -1;

	/* net_e1000_igb_vf has descriptors, and no function that switches its interrupts on. */
	if (fd >= 0 && is_eventfd(fd) && rte_eth_dev_rx_intr_disable(port->port_id, i->cfg.queue) == -ENOTSUP)
		fd = -1;
	if (fd < 0) {
		if (i->cfg.queue == 0)
			log_info("port %s has no receive interrupts: workers without work look at it every %u us", port->name, i->cfg.latency_us);
		return false;
	}
	i->is_counter[i->n_fds] = is_eventfd(fd);
	i->fds[i->n_fds++] = (struct pollfd){.fd = fd, .events = POLLIN};
	return true;
}

static void find_sources(struct idle *i)
{
	i->can_deep = i->cfg.wake != NULL;
	if (!i->can_deep)
		return;
	i->fds[i->n_fds++] = (struct pollfd){.fd = i->cfg.wake->fd, .events = POLLIN};
	for (unsigned p = 0; p < i->cfg.n_ports; p++)
		if (!add_port(i, &i->cfg.ports[p]))
			i->can_deep = false;
}

static void find_power(struct idle *i)
{
	struct rte_power_monitor_cond cond;
	struct rte_cpu_intrinsics can;

	rte_cpu_get_intrinsics_support(&can);
	i->ladder.has_pause = can.power_pause;
	i->has_monitor = can.power_monitor && i->cfg.n_ports == 1 &&
			 rte_eth_get_monitor_addr(i->cfg.ports[0].port_id, i->cfg.queue, &cond) == 0;
	if (i->cfg.queue == 0 && i->cfg.mode == IDLE_MODE_PAUSE && !can.power_pause)
		log_info("workers: idle: pause: this CPU has no light sleep (WAITPKG): workers without work spin");
}

void idle_init(struct idle *i, const struct idle_config *config)
{
	*i = (struct idle){
		.cfg = *config,
		.ladder = {.mode = config->mode, .latency_us = config->latency_us},
		.may_enable = true,
	};
	if (config->mode >= IDLE_MODE_PAUSE)
		find_power(i);
	if (config->mode == IDLE_MODE_INTERRUPT)
		find_sources(i);
}

void idle_begin(struct idle *i)
{
	/* The kernel rounds the end of a thread's sleep by 50 us else. */
	if (i->cfg.mode >= IDLE_MODE_SLEEP)
		(void)prctl(PR_SET_TIMERSLACK, 1);
}

/* A TAP's descriptor needs no enabling, so its driver has no function for that. */
static void set_interrupts(struct idle *i, bool on)
{
	bool is_done = false;

	for (unsigned p = 0; i->may_enable && p < i->cfg.n_ports; p++) {
		uint16_t id = i->cfg.ports[p].port_id;
		int rc = on ? rte_eth_dev_rx_intr_enable(id, i->cfg.queue) : rte_eth_dev_rx_intr_disable(id, i->cfg.queue);

		is_done = is_done || rc != -ENOTSUP;
	}
	i->may_enable = is_done;
}

static void arm(struct idle *i)
{
	i->is_armed = true;
	set_interrupts(i, true);
	wake_arm(i->cfg.wake);
}

void idle_disarm(struct idle *i)
{
	i->is_armed = false;
	wake_disarm(i->cfg.wake);
	set_interrupts(i, false);
}

/* Whoever woke the worker; empties what counts. A port whose descriptor fails is polled from now on. */
static enum weir_counter note_wakes(struct idle *i, int n)
{
	enum weir_counter why = n == 0 ? WEIR_C_WAKES_TIMER : WEIR_C_WAKES_SIGNAL;

	for (unsigned k = 0; n > 0 && k < i->n_fds; k++) {
		uint64_t count;

		if (i->fds[k].revents == 0)
			continue;
		why = k == 0 ? WEIR_C_WAKES_CALL : WEIR_C_WAKES_PORT;
		if (k == 0)
			wake_take(i->cfg.wake);
		else if (i->is_counter[k])
			(void)!read(i->fds[k].fd, &count, sizeof(count));
		if (i->fds[k].revents & (POLLERR | POLLNVAL))
			i->can_deep = false;
	}
	stat_inc(i->cfg.stats, why);
	return why;
}

static uint64_t n_received(const struct idle *i)
{
	return i->cfg.stats->counter[WEIR_C_RX_PACKETS];
}

void idle_judge(struct idle *i)
{
	i->was_timer = false;
	if (n_received(i) == i->n_rx)
		return;
	stat_inc(i->cfg.stats, WEIR_C_WAKES_MISSED);
	idle_ladder_woken(&i->ladder, false);
}

static void sleep_deep(struct idle *i, uint64_t ns)
{
	const struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
	uint64_t tsc = rte_rdtsc();
	enum weir_counter why = note_wakes(i, ppoll(i->fds, i->n_fds, &t, NULL));

	i->was_timer = why == WEIR_C_WAKES_TIMER;
	i->n_rx = n_received(i);
	if (why == WEIR_C_WAKES_PORT)
		idle_ladder_woken(&i->ladder, true);
	if (!i->was_timer)
		idle_ladder_reset(&i->ladder); /* even if nothing is found at once: the driver of a TAP receives only after a signal, which may be later than we are */
	idle_disarm(i);
	tsc = rte_rdtsc() - tsc;
	stat_add(i->cfg.stats, WEIR_C_SLEEP_CYCLES, tsc);
	stat_add(i->cfg.stats, WEIR_C_SLEEP_DEEP_CYCLES, tsc);
}

static void sleep_shortly(struct idle *i, uint64_t ns)
{
	const struct timespec t = {.tv_nsec = (long)ns};
	uint64_t tsc = rte_rdtsc();

	nanosleep(&t, NULL);
	tsc = rte_rdtsc() - tsc;
	stat_inc(i->cfg.stats, WEIR_C_SLEEPS);
	stat_add(i->cfg.stats, WEIR_C_SLEEP_CYCLES, tsc);
	idle_ladder_slept(&i->ladder, ns, (uint64_t)((double)tsc * 1e9 / (double)i->cfg.tsc_hz));
}

static void pause_core(struct idle *i, uint64_t ns)
{
	struct rte_power_monitor_cond cond;
	uint64_t tsc = rte_rdtsc();
	uint64_t end = tsc + (uint64_t)((double)ns * 1e-9 * (double)i->cfg.tsc_hz);

	if (i->has_monitor && rte_eth_get_monitor_addr(i->cfg.ports[0].port_id, i->cfg.queue, &cond) == 0)
		rte_power_monitor(&cond, end);
	else
		rte_power_pause(end);
	stat_add(i->cfg.stats, WEIR_C_PAUSE_CYCLES, rte_rdtsc() - tsc);
}

void idle_rest(struct idle *i, uint64_t now_us, uint64_t next_us, bool may_deep)
{
	enum idle_rung rung = idle_ladder_climb(&i->ladder, now_us, may_deep && i->can_deep);
	uint64_t ns = rung == IDLE_SPINS ? 0 : idle_ladder_span(&i->ladder, &rung, now_us, next_us);

	i->was_timer = false;
	if (unlikely(i->is_armed && rung != IDLE_DEEP))
		idle_disarm(i);
	switch (rung) {
	case IDLE_SPINS:
		rte_pause();
		break;
	case IDLE_PAUSES:
		pause_core(i, ns);
		break;
	case IDLE_SLEEPS:
		sleep_shortly(i, ns);
		break;
	case IDLE_DEEP:
		if (i->is_armed)
			sleep_deep(i, ns);
		else
			arm(i);
		break;
	}
}
