# SPDX-License-Identifier: GPL-3.0-or-later
# publish: a first publish of real packages at level 3, against an archive of them at the same
# level.
# shellcheck shell=bash disable=SC2034,SC2154

time_publish()
{
	fresh publish
	make_depot "$fresh" first
	settle
	seconds publish "$fresh/first" "$whole" --level 3 "${package_globs[@]}"
}

time_tar()
{
	settle
	seconds bounded bash -c "set -o pipefail; tar -c -C '$whole' . | zstd -q -3 -T2 >/dev/null"
}

workload_publish()
{
	need_whole_tree
	time_tar # the pages of the tree are in memory for both
	begin_line "first publish --level 3 of packages (throughput)" \
		"depotfs publish DEPOT TREE --level 3 ${package_globs[*]@Q}; tar -c -C TREE . | zstd -q -3 -T2 >/dev/null"
	pairs time_publish time_tar
	end_line 'tar, zstd -3 -T2' at_least 0.8
}
