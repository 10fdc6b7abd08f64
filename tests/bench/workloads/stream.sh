# SPDX-License-Identifier: GPL-3.0-or-later
# stream: one large file that does not compress, read from its begin to its end, cold.
# shellcheck shell=bash disable=SC2034,SC2154

time_stream_depotfs()
{
	forget
	mount_depot "$image"
	settle
	: >"$request_log"
	read_files "$mnt/image/1.0/image.bin"
	[ "$digest" = "$wanted" ] || die "the content differs"
	sleep 0.2
	requests=$(request_count)
	umount_depot
}

# Eight connections at once, each an eighth.
time_stream_curl()
{
	local i part=$((image_bytes / 8)) ours=() start pid
	rm -f "$dir"/part-*
	settle
	start=$EPOCHREALTIME
	for ((i = 0; i < 8; i++)); do
		bounded curl -sS -r "$((i * part))-$(((i + 1) * part - 1))" -o "$dir/part-$i" \
			"$url/trees/$image/image/1.0/image.bin" &
		ours+=($!)
	done
	for pid in "${ours[@]}"; do
		wait "$pid" || die "curl failed"
	done
	elapsed=$(since "$start")
	cat "$dir"/part-? | cmp - "$trees/$image/image/1.0/image.bin" || die "curl got something else"
	rm -f "$dir"/part-*
}

time_stream_verified()
{
	rm -f "$dir/file"
	settle
	seconds bounded bash -c "set -o pipefail; curl -sS '$url/trees/$image/image/1.0/image.bin' |
		tee '$dir/file' | sha256sum >'$dir/sum'"
	rm -f "$dir/file"
}

time_stream_peer()
{
	"$@"
	read_files "$mnt/image/1.0/image.bin" --limit-s "$peer_limit_s"
	[ "$complete" -eq 0 ] || [ "$digest" = "$wanted" ] || die "the content differs"
	project "$bytes" "$image_bytes"
}

workload_stream()
{
	local mib=256 mbit
	[ -z "$quick" ] || mib=64
	image=image-$mib
	image_bytes=$((mib * 1048576))
	need_file "$image" "$mib"
	need_depot "$image" "$trees/$image"
	serve
	read_files "$trees/$image/image/1.0/image.bin"
	wanted=$digest
	for mbit in 1000 100; do
		link 40 "$mbit"
		begin_line "$mib MiB in sequence, cold, 40 ms, $mbit Mbit/s (throughput)" \
			"mount with an empty cache, then reader read MNT/image/1.0/image.bin; 8 times curl -r RANGE -o PART URL"
		pairs time_stream_depotfs time_stream_curl
		peer rclone time_stream_peer peer_rclone "trees/$image"
		peer sshfs time_stream_peer peer_sshfs "trees/$image"
		say "  requests: $requests"
		end_line 'curl, 8 ranges' at_least 0.95
	done
	link 0 0
	begin_line "$mib MiB in sequence, cold, loopback (throughput)" \
		"the same; curl URL | tee FILE | sha256sum"
	pairs time_stream_depotfs time_stream_verified
	peer rclone time_stream_peer peer_rclone "trees/$image"
	peer sshfs time_stream_peer peer_sshfs "trees/$image"
	end_line 'curl, tee, sha256sum' at_least 0.5
}
