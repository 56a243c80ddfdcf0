/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/upstream.h"
