# SPDX-License-Identifier: GPL-3.0-or-later
# find_cold: the walk over the million by a client that has no catalog yet, over 40 ms and
# 100 Mbit/s; the limit is one download of as many bytes.
# shellcheck shell=bash disable=SC2034,SC2154

time_find_cold_depotfs()
{
	forget
	mount_depot "$million_name"
	drop_caches
	: >"$request_log"
	seconds bounded find "$mnt" -size +1M -fprint "$dir/found"
	local time=$elapsed
	[ "$(wc -l <"$dir/found")" -eq "${million_shape[0]}" ] || die "find does not find what is there"
	sleep 0.2
	requests=$(request_count)
	sent=$(request_bytes)
	umount_depot
	elapsed=$time
}

time_find_cold_curl() { seconds bounded curl -sS -o "$dir/catalogs" "$url/${depots#"$served/"}/catalogs"; }

workload_find_cold()
{
	need_million
	find "$depots/$million_name/catalog" -type f -exec cat {} + >"$depots/catalogs"
	serve
	link 40 100
	begin_line "find -size +1M, ${million_shape[0]} packages, cold client, 40 ms, 100 Mbit/s" \
		"mount with an empty cache; find MNT -size +1M; curl of one file as large as all catalogs"
	pairs time_find_cold_depotfs time_find_cold_curl
	say "  requests: $requests, bytes: $sent"
	rm -f "$depots/catalogs"
	end_line 'curl of the bytes' at_most 2
}
