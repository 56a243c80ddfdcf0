/* SPDX-License-Identifier: Apache-2.0 */
#include "http1/http1.h"
