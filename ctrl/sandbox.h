/* SPDX-License-Identifier: Apache-2.0 */
/* weir-ctrl gives up what it does not need. */
#ifndef CTRL_SANDBOX_H
#define CTRL_SANDBOX_H

#include "base/sandbox.h"

/*
 * Once all is opened: no capabilities, and system calls of a list only; or all but an intruder's, where the kubeconfig has a
 * credential plugin to be started. 0, or -errno after logging.
 */
int ctrl_sandbox(enum sandbox_mode mode, bool starts_programs);

#endif
