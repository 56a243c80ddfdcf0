/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/proxy.h"
