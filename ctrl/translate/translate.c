/* SPDX-License-Identifier: Apache-2.0 */
#include "translate/compile.h"
#include "translate/translate.h"
