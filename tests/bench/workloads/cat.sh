# SPDX-License-Identifier: GPL-3.0-or-later
# cat: from mount to the first byte of a file of the million, with an empty cache, over 40 ms and
# 100 Mbit/s: round trips and bytes.
# shellcheck shell=bash disable=SC2034,SC2154

mount_and_read()
{
	mount_depot "$million_name"
	cat "$mnt/$path" >"$dir/got"
}

# time_cat RTT_MS: $elapsed and $sent, $requests.
time_cat()
{
	link "$1" 100
	forget
	: >"$request_log"
	seconds mount_and_read
	local time=$elapsed
	cmp "$dir/got" "$million/$path" || die "$path differs from the master's"
	sleep 0.5
	requests=$(request_count)
	sent=$(request_bytes)
	umount_depot
	elapsed=$time
}

time_cat_far() { time_cat 40; }
time_cat_near() { time_cat 0; }

workload_cat()
{
	need_million
	serve
	path=$(printf 'pkg/%04d/ten-kib.bin' $((million_shape[0] / 2)))
	begin_line "mount to first byte, $((million_shape[0] * million_shape[1])) files, 40 ms, 100 Mbit/s: round trips" \
		"depotfs mount; cat MNT/$path; less the same without round trip, divided by 40 ms"
	pairs time_cat_far time_cat_near
	value_line "$(calculate "($a - $b) / 0.040")" 'round trips' at_most 8 \
		"$(seconds_text "$a"), at 0 ms $(seconds_text "$b"); $requests requests"
	bar 'depotfs, 40 ms' "$a" depotfs
	bar 'depotfs, 0 ms' "$b" limit
	[ "$sent" -gt 10240 ] || die "nginx's log does not show the transfer"
	begin_line "the same: bytes" "the sum of \$bytes_sent in nginx's log"
	value_line "$sent" bytes at_most 1572864 –
}
