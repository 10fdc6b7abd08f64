# SPDX-License-Identifier: GPL-3.0-or-later
# cost: the daemon's memory after a walk, stats, reads and a storm on one mount; its CPU for each
# GiB fetched cold: verified, decompressed, landed.
# shellcheck shell=bash disable=SC2034,SC2154

idle_s=60 # mapped catalogs are given up when they have not been used for a while

status_kib() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$(daemon_pid)/status"; }

cost_memory()
{
	need_million
	link 0 0
	forget
	mount_depot "$million_name"
	begin_line "daemon memory after find, stats and reads over the million, $idle_s s later" \
		"find MNT; reader stat MNT LIST; reader read --threads 16 MNT/pkg/0000; sleep $idle_s; RssAnon and VmRSS of /proc/PID/status"
	bounded find "$mnt" -size +1M >/dev/null
	(cd "$million" && find pkg -name 'file-0000*.txt') >"$dir/list"
	bounded "$tools/bench/reader" stat "$mnt" "$dir/list" >/dev/null
	bounded "$tools/bench/reader" open "$mnt" "$dir/list" >/dev/null
	read_files "$mnt/pkg/0000" --threads 16
	read_files "$mnt/pkg/0001"
	local anon rss peak busy
	busy=$(status_kib VmRSS)
	sleep "$idle_s"
	anon=$(status_kib RssAnon)
	rss=$(status_kib VmRSS)
	peak=$(status_kib VmHWM)
	value_line "$(calculate "$rss / 1024")" MiB at_most 64 \
		"of it private $(calculate "$anon / 1024"); at once $(calculate "$busy / 1024"), peak $(calculate "$peak / 1024")"
	umount_depot
}

time_cost()
{
	forget
	mount_depot "$archive"
	settle
	local before
	before=$(daemon_cpu)
	read_files "$mnt/packages.tar"
	[ "$digest" = "$wanted" ] || die "the content differs"
	cpus+=("$(calculate "($(daemon_cpu) - $before) / ($bytes / 1073741824)")")
	umount_depot
}

cost_cpu()
{
	local i cpus=()
	need_whole_tree
	archive=archive${quick:+-quick}
	if [ ! -e "$trees/$archive/packages.tar" ]; then
		mkdir -p "$trees/$archive"
		tar --sort=name -c -C "$whole" -f "$trees/$archive/packages.new" .
		mv "$trees/$archive/packages.new" "$trees/$archive/packages.tar"
	fi
	need_depot "$archive" "$trees/$archive"
	read_files "$trees/$archive/packages.tar"
	wanted=$digest
	link 0 0
	begin_line "daemon CPU for each GiB fetched cold, verified, decompressed, landed ($((bytes / 1000000)) MB file)" \
		"mount with an empty cache; reader read MNT/packages.tar; utime and stime of /proc/PID/stat"
	for ((i = 0; i < runs; i++)); do
		time_cost
		say "  run $((i + 1)): ${cpus[-1]} s/GiB"
	done
	value_line "$(median "${cpus[@]}")" s at_most 4 –
}

workload_cost()
{
	serve
	cost_memory
	cost_cpu
}
