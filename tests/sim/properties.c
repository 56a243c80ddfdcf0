/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of seeded connections between two stacks: every byte arrives once
 * and in order, or the connection ends with a reason; and nothing is left.
 */
#include "world.h"

static struct world world;

static void run(uint64_t seed, int traced, struct run_result *out)
{
	world_run(&world, seed, traced, out);
}

static void print(unsigned conn)
{
	if (conn < world.plan.n_conns)
		plan_print(&world.plan, conn);
}

int main(int argc, char **argv)
{
	return driver_main(argc, argv, run, print);
}
