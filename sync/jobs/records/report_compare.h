/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whether two catalogs say the same of a package's own entries. */
#pragma once

#include "cache/catalog/catalog.h"

#include <stdbool.h>

/* Compares names, attributes and contents of all entries but those of `view` that are stale; a nested
 * directory counts by its own attributes, not by what is below. *out_same is set if 0 is returned;
 * else -ENOMEM. */
int report_compare(const struct catalog *view, const struct catalog *head,
	bool *out_same) WARN_UNUSED;
