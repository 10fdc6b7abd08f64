/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Is this directory one to mount on? */
#pragma once

#include "cache/base/cleanup.h"

/* Takes away what a killed daemon left there, then checks that `path` is an empty directory on
 * which nothing is mounted by us. Returns 0, or -errno after a message with the remedy. */
int mountpoint_prepare(const char *path) WARN_UNUSED;
