/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ways through a view, for tests: each waits for the catalogs that it needs, and fails the test if
 * there is no way. */
#pragma once

#include "cache/view/view.h"

struct view_node root_node(struct view *view);
struct view_dir enter(struct view *view, const struct view_node *node);

/* "npm/left/lib"; "" is the root. */
struct view_node walk(struct view *view, const char *path);
