# SPDX-License-Identifier: GPL-3.0-or-later
# warm: a large file that is complete in the cache, the kernel's caches dropped.
# shellcheck shell=bash disable=SC2034,SC2154

time_warm_mount()
{
	drop_caches
	read_files "$mnt/image/1.0/image.bin" --no-digest
}

time_warm_native()
{
	drop_caches
	read_files "$dir/native.bin" --no-digest
}

time_warm_peer()
{
	"$@"
	read_files "$mnt/image/1.0/image.bin" --no-digest --limit-s "$peer_limit_s"
	[ "$complete" -eq 1 ] || { approximate=longer; return 0; }
	time_warm_mount
}

workload_warm()
{
	local mib=1024
	[ -z "$quick" ] || mib=256
	image=image-$mib
	need_file "$image" "$mib"
	need_depot "$image" "$trees/$image"
	serve
	link 0 0
	mount_depot "$image"
	cmp "$mnt/image/1.0/image.bin" "$trees/$image/image/1.0/image.bin" || die "the content differs"
	# on the disk that the cache is on: a loop device is slower than what is below it
	cp "$trees/$image/image/1.0/image.bin" "$dir/native.bin"
	begin_line "$mib MiB from a complete object, caches dropped (throughput)" \
		"echo 3 >/proc/sys/vm/drop_caches; reader read --no-digest MNT/image/1.0/image.bin; the same with a copy of the master's file on the cache's disk"
	pairs time_warm_mount time_warm_native
	umount_depot
	peer rclone time_warm_peer peer_rclone "trees/$image"
	peer sshfs time_warm_peer peer_sshfs "trees/$image"
	end_line 'native file' at_least 0.95
}
