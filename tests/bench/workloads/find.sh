# SPDX-License-Identifier: GPL-3.0-or-later
# find: a walk over the million and random stats with cold kernel caches, the catalogs here;
# against a file system that makes all of it up.
# shellcheck shell=bash disable=SC2034,SC2154

find_big()
{
	seconds bounded find "$1" -size +1M -fprint "$dir/found"
	[ "$(wc -l <"$dir/found")" -eq "${million_shape[0]}" ] || die "find does not find what is there"
}

time_find_mount() { drop_caches; find_big "$mnt"; }
time_find_invented() { drop_caches; find_big "$invented"; }

stat_all()
{
	local result
	drop_caches
	result=$(bounded "$tools/bench/reader" stat --suffix "$suffix" "$1" "$dir/list") ||
		die "cannot look up the names in $1"
	take_result "$result"
	[ "$((suffix_is_missing ? missing : files))" -eq "$stats" ] || die "not all names were found"
}

time_stat_mount() { stat_all "$mnt"; }
time_stat_invented() { stat_all "$invented"; }

time_find_peer()
{
	"$@"
	local start=$EPOCHREALTIME r=0
	timeout --foreground "$peer_limit_s" find "$mnt" -size +1M >"$dir/found" || r=$?
	elapsed=$(since "$start")
	[ "$r" -ne 124 ] || approximate=longer
	[ "$r" -eq 0 ] || [ "$r" -eq 124 ] || die "find fails"
}

workload_find()
{
	need_million
	serve
	link 0 0
	mount_depot "$million_name"
	mount_invented
	find_big "$mnt" # the catalogs come
	begin_line "find -size +1M over $((million_shape[0] * million_shape[1])) files, cold kernel caches" \
		"echo 3 >/proc/sys/vm/drop_caches; find MNT -size +1M; the same on invent_fs"
	pairs time_find_mount time_find_invented
	if [ -z "$no_peers" ]; then
		need_squashfs "$million_name" "$million"
		peer squashfuse time_find_peer peer_squashfuse "$million_name"
		peer sshfs time_find_peer peer_sshfs trees/million
		peer rclone time_find_peer peer_rclone trees/million
	fi
	end_line invent_fs at_most 1.2

	stats=200000
	[ -z "$quick" ] || stats=20000
	(cd "$million" && LC_ALL=C find pkg -name '*.txt' | LC_ALL=C sort |
		shuf -n "$stats" --random-source=<(openssl enc -aes-128-ctr -nosalt \
			-K 00 -iv 0 </dev/zero 2>/dev/null)) >"$dir/list"
	suffix='' suffix_is_missing=0
	begin_line "$stats random stats, existing, cold kernel caches" \
		"echo 3 >/proc/sys/vm/drop_caches; reader stat MNT LIST; the same on invent_fs"
	pairs time_stat_mount time_stat_invented
	end_line invent_fs at_most 1.2
	suffix=.none suffix_is_missing=1
	begin_line "$stats random stats, missing, cold kernel caches" \
		"echo 3 >/proc/sys/vm/drop_caches; reader stat --suffix .none MNT LIST; the same on invent_fs"
	pairs time_stat_mount time_stat_invented
	end_line invent_fs at_most 1.2
	umount_depot
}
