/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Hard links: which names of the tree are one file. Every such name is published with the
 * inode number of the group's first path and the number of names within the tree, so that
 * links from outside change nothing.
 */
#pragma once

#include "sync/master/walk/tree.h"

/* Finds the groups among entries flagged TREE_ENTRY_LINKED by the walk and sets their `ino`,
 * `nlink`, `links` and `fingerprint` (0 where the walk found two states of one file); the flag stays on those with a second name in the tree.
 * Returns 0 or -ENOMEM. */
int links_resolve(struct tree *tree) WARN_UNUSED;
