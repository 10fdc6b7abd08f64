# SPDX-License-Identifier: GPL-3.0-or-later
# nochange: what a mirror asks for while the master has nothing new, of a tree of 100 files and of one of
# 1,000,000: bytes of a poll, both ways, without TCP's own; and that nothing is written.
# shellcheck shell=bash disable=SC2034,SC2154

# need_hundred: 100 files in ten packages.
need_hundred()
{
	local tree=$trees/hundred i
	if [ ! -d "$tree" ]; then
		rm -rf "$tree.new"
		for ((i = 0; i < 100; i++)); do
			mkdir -p "$tree.new/pkg/$((i / 10))"
			printf 'this is file %s\n' $i >"$tree.new/pkg/$((i / 10))/$i"
		done
		mv "$tree.new" "$tree"
	fi
	need_depot hundred "$tree" --packages 'pkg/*'
}

polls_are_ten() { [ "$(request_count)" -ge 10 ]; }

# written: what the daemon has made the disk write, in bytes.
written() { awk '/^write_bytes:/ { print $2 }' "/proc/$(daemon_pid)/io"; }

# measure_polls NAME FILES: ten polls; the dearest in $value, the requests of all of them must be polls.
measure_polls()
{
	local name=$1 before new
	silent=,poll=1
	forget
	mount_depot "$name" on_change=full
	bounded "$depotfs" sync "$mnt" --prefetch none --wait >"$dir/said" 2>&1 ||
		die "depotfs sync: $(tail -n 3 "$dir/said")"
	sleep 32 # what came with the mount has landed, and its checkpoint is written
	sync -f "$depot_cache"
	before=$(written)
	touch "$dir/mark"
	sleep 0.1
	: >"$request_log"
	wait_for 30 polls_are_ten || die "there are no polls"
	! grep -v ' /[^ ]*/channel/stable ' "$request_log" >&2 || die "more is asked for than the head"
	! grep -v '^[0-9]* 0 304 ' "$request_log" >&2 || die "the head is sent again and again"
	new=$(find "$depot_cache" "$dir/depotfs.log" -newer "$dir/mark")
	[ -z "$new" ] || die "polls have written: $new"
	[ "$(written)" = "$before" ] || die "polls have written to the disk"
	value=$(awk '{ n = $1 + $NF ; if (n > most) most = n } END { print most }' "$request_log")
	begin_line "no change, a tree of $2 files: one request a poll, bytes both ways" \
		"mount -o poll=1, ten polls: \$bytes_sent + \$request_length in nginx's log, the largest"
	value_line "$value" bytes at_most 1023 "answer 304; nothing written"
	umount_depot
}

workload_nochange()
{
	need_hundred
	need_million
	serve
	link 0 0
	measure_polls hundred 100
	measure_polls "$million_name" "$((million_shape[0] * million_shape[1]))"
}
