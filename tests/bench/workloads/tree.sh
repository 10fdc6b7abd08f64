# SPDX-License-Identifier: GPL-3.0-or-later
# tree: all packages prefetched, and read cold, over 40 ms and 100 Mbit/s: time and bytes.
# shellcheck shell=bash disable=SC2034,SC2154

time_tree_prefetch()
{
	forget
	settle
	: >"$request_log"
	seconds prefetch_depot "$tree_name"
	local time=$elapsed
	sleep 0.2
	tree_bytes=$(request_bytes)
	tree_requests=$(request_count)
	if [ -z "$tree_checked" ]; then
		must_be_served_alone "$wanted"
		tree_checked=1
	fi
	umount_depot
	elapsed=$time
}

time_tree_read()
{
	forget
	mount_depot "$tree_name"
	settle
	: >"$request_log"
	read_files "$mnt" --threads 16
	must_equal "$wanted"
	sleep 0.2
	tree_bytes=$(request_bytes)
	tree_requests=$(request_count)
	umount_depot
}

time_tree_tar()
{
	fresh out
	settle
	seconds bounded bash -c "set -o pipefail; curl -sS '$url/trees/$tree_name-9.tar.zst' |
		zstd -dc | tar -x -C '$fresh'"
}

write_tree_bytes()
{
	local archive
	archive=$(stat -c %s "$trees/$tree_name-3.tar.zst")
	begin_line "the same, bytes on the wire" "the sum of \$bytes_sent in nginx's log; tar -c | zstd -3 | wc -c"
	# 125 MB where tar.zst took 209 MB
	ratio=$(calculate "$tree_bytes / $archive")
	write_line "$((tree_bytes / 1000)) kB" "$((archive / 1000)) kB (tar, zstd -3)" \
		"$(awk -v v="$ratio" 'BEGIN { printf "%.2f", v }')" '≤ 0.6' "$(verdict "$ratio" at_most 0.6)"
}

# tree_lines NAME TREE
tree_lines()
{
	tree_name=$1
	need_archive "$2" "$tree_name" 9
	need_archive "$2" "$tree_name" 3
	need_depot "$tree_name" "$2" "${package_globs[@]}"
	read_files "$2"
	wanted=$digest
	tree_checked=
	local what="$files files of packages ($((bytes / 1000000)) MB)" tar="curl URL/packages.tar.zst | zstd -dc | tar -x"
	begin_line "$what prefetched, 40 ms, 100 Mbit/s" \
		"mount with an empty cache and depotfs sync MNT --prefetch all --wait; $tar"
	pairs time_tree_prefetch time_tree_tar
	say "  requests: $tree_requests"
	end_line 'curl, zstd -9, tar' at_most 1.0
	write_tree_bytes
	begin_line "$what read cold, 40 ms, 100 Mbit/s, 16 readers" \
		"mount with an empty cache, then reader read --threads 16 MNT; $tar"
	pairs time_tree_read time_tree_tar
	say "  requests: $tree_requests"
	end_line 'curl, zstd -9, tar' at_most 1.0
	write_tree_bytes
}

workload_tree()
{
	need_whole_tree
	serve
	link 40 100
	tree_lines "whole${quick:+-quick}" "$whole"
}
