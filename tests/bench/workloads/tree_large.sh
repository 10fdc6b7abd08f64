# SPDX-License-Identifier: GPL-3.0-or-later
# tree_large: as tree, of more and larger packages.
# shellcheck shell=bash source=tree.sh
. "$here/workloads/tree.sh"

workload_tree_large()
{
	if [ -n "$quick" ]; then
		say "not with --quick: tree does the same"
		return
	fi
	need_packages --large
	serve
	link 40 100
	tree_lines large "$packages"
}
