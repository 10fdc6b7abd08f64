# SPDX-License-Identifier: GPL-3.0-or-later
# storm: thousands of small files, cold, by 1 reader and by 16, over three lines; the limit is one
# archive of them over the same line.
# shellcheck shell=bash disable=SC2034,SC2154

time_storm_depotfs()
{
	forget
	mount_depot small
	settle
	: >"$request_log"
	read_files "$mnt" --threads "$readers"
	must_equal "$wanted"
	sleep 0.2 # a request is logged when it ends
	requests=$(request_count)
	umount_depot
}

time_storm_tar()
{
	fresh out
	settle
	seconds bounded bash -c "set -o pipefail; curl -sS '$url/trees/small-9.tar.zst' |
		zstd -dc | tar -x -C '$fresh'"
	local time=$elapsed
	read_files "$fresh"
	must_equal "$wanted"
	elapsed=$time
}

time_storm_peer()
{
	"$@"
	read_files "$mnt" --threads "$readers" --limit-s "$peer_limit_s"
	must_equal "$wanted"
	project "$files" "$files_all"
}

storm_line()
{
	local rtt=$1 mbit=$2 limit=$3
	readers=$4
	link "$rtt" "$mbit"
	begin_line "$files_all small files, $(link_text "$rtt" "$mbit"), readers: $readers" \
		"mount with an empty cache, then reader read --threads $readers MNT; curl URL/small.tar.zst | zstd -dc | tar -x"
	pairs time_storm_depotfs time_storm_tar
	peer rclone time_storm_peer peer_rclone trees/small
	peer sshfs time_storm_peer peer_sshfs trees/small
	[ "$rtt" != 0 ] || peer casync time_storm_peer peer_casync small
	say "  requests: $requests"
	end_line 'curl, zstd, tar' at_most "$limit"
}

workload_storm()
{
	need_small_tree
	need_casync small "$small"
	serve
	read_files "$small"
	wanted=$digest
	files_all=$files
	local readers
	for readers in 1 16; do storm_line 0 0 1.2 "$readers"; done
	for readers in 1 16; do storm_line 40 100 1.5 "$readers"; done
	for readers in 1 16; do storm_line 150 20 1.5 "$readers"; done
}
