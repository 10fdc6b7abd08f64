# SPDX-License-Identifier: GPL-3.0-or-later
# unchanged: a publish when nothing has changed, against find(1).
# shellcheck shell=bash disable=SC2034,SC2154

time_unchanged() { seconds publish "$depots/$unchanged" "$tree" "${globs[@]}"; }
time_find_printf() { seconds bounded find "$tree" -fprintf /dev/null '%s %T@ %C@ %i\n'; }

unchanged_line()
{
	unchanged=$1
	tree=$2
	shift 2
	globs=("$@")
	need_depot "$unchanged" "$tree" "$@"
	time_unchanged
	time_find_printf
	begin_line "publish of ${unchanged%%-*}, unchanged" \
		"depotfs publish DEPOT TREE ${globs[*]@Q}; find TREE -printf '%s %T@ %C@ %i\\\\n' >/dev/null"
	pairs time_unchanged time_find_printf
	end_line 'find -printf' at_most 1.5
}

workload_unchanged()
{
	need_whole_tree
	unchanged_line "whole${quick:+-quick}" "$whole" "${package_globs[@]}"
	need_million
	unchanged_line "$million_name" "$million" --packages 'pkg/*'
}
