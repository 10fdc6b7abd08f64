# SPDX-License-Identifier: GPL-3.0-or-later
# prefetch: 100,000 small files made complete in an empty cache, loopback. The limit is one archive of
# them, unpacked into an empty directory of the same disk.
# shellcheck shell=bash disable=SC2034,SC2154

time_prefetch_depotfs()
{
	forget
	settle
	: >"$request_log"
	seconds prefetch_depot "$prefetch_name"
	local time=$elapsed
	sleep 0.2 # a request is logged when it ends
	requests=$(request_count)
	if [ -z "${prefetch_checked:-}" ]; then
		must_be_served_alone "$wanted"
		prefetch_checked=1
	fi
	umount_depot
	elapsed=$time
}

time_prefetch_tar()
{
	fresh out
	settle
	seconds bounded bash -c "set -o pipefail; curl -sS '$url/trees/$prefetch_name-9.tar.zst' |
		zstd -dc | tar -x -C '$fresh'"
}

workload_prefetch()
{
	prefetch_name=pieces${quick:+-quick}
	need_pieces "$prefetch_name" "${quick:+10}"
	need_archive "$trees/$prefetch_name" "$prefetch_name" 9
	need_depot "$prefetch_name" "$trees/$prefetch_name" --packages '*'
	serve
	link 0 0
	read_files "$trees/$prefetch_name"
	wanted=$digest
	begin_line "$files small files ($((bytes / 1000000)) MB) prefetched, loopback" \
		"mount with an empty cache and depotfs sync MNT --prefetch all --wait; curl URL/pieces.tar.zst | zstd -dc | tar -x"
	pairs time_prefetch_depotfs time_prefetch_tar
	say "  requests: $requests"
	end_line 'curl, zstd, tar' at_most 1.5
}
