# SPDX-License-Identifier: GPL-3.0-or-later
# small: open, read and close of warm small files, against a file system that makes them up.
# shellcheck shell=bash disable=SC2034,SC2154

time_open()
{
	local result
	result=$(bounded "$tools/bench/reader" open --passes "$passes" --no-digest "$1" "$dir/list") ||
		die "cannot read all files of $1"
	take_result "$result"
	[ "$files" -eq "$((passes * $(wc -l <"$dir/list")))" ] || die "$files files read"
}

time_open_mount() { time_open "$mnt"; }
time_open_invented() { time_open "$invented"; }
time_open_native() { time_open "$million"; }

time_open_peer()
{
	"$@"
	read_files "$mnt/pkg/0000" --limit-s "$peer_limit_s" --no-digest
	[ "$complete" -eq 1 ] || { elapsed=$peer_limit_s; approximate=longer; return 0; }
	grep ^pkg/0000/ "$all_names" >"$dir/list"
	time_open "$mnt"
	elapsed=$(calculate "$elapsed * $list_files / $(wc -l <"$dir/list")")
}

small_line()
{
	begin_line "open, read and close of $((passes * list_files)) warm small files, $1" \
		"reader open --passes $passes MNT LIST; the same on invent_fs${3:+ $3}"
	mount_depot "$million_name" "$2"
	read_files "$mnt/pkg/0000" --no-digest
	time_open_mount
	mount_invented ${3:+"$3"}
	time_open_invented
	pairs time_open_mount time_open_invented
	umount_depot
	take_away "$invented"
}

workload_small()
{
	need_million
	serve
	link 0 0
	passes=10
	(cd "$million" && LC_ALL=C find pkg/000[0-3] -name '*.txt' | LC_ALL=C sort) >"$dir/list"
	all_names=$dir/list
	list_files=$(wc -l <"$dir/list")
	small_line 'default' ''
	if [ -z "$no_peers" ]; then
		time_open_native
		time_open_native
		peers_said="native $(seconds_text "$elapsed")"
		bar native "$elapsed" peer
	fi
	peer sshfs time_open_peer peer_sshfs trees/million
	end_line invent_fs at_most 1.1
	if does_mount_know open=; then
		small_line 'open=none' open=none --open-enosys
		end_line 'invent_fs without OPEN' at_most 1.1
	else
		say "SKIP: this build does not know open=none"
		begin_line "open, read and close of warm small files, open=none" '–'
		write_line – – – '≤ 1.1' 'skipped: this build has no such option'
	fi
}
