/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/snapshot.h"
