# SPDX-License-Identifier: GPL-3.0-or-later
# update: typescript goes from one version to the next, all of it prefetched with the old version in
# the cache: bytes on the wire. rsync copies the new version fresh; casync has the old version as its
# seed and chunks of the same sizes. In every pair of versions that the packages have.
# shellcheck shell=bash disable=SC2034,SC2154

# sync_wire: bytes on the wire of one sync of everything, in $wire.
sync_wire()
{
	: >"$request_log"
	bounded "$depotfs" sync "$mnt" --prefetch all --wait >"$dir/said" 2>&1 ||
		die "depotfs sync: $(tail -n 3 "$dir/said")"
	sleep 0.2
	wire=$(request_bytes)
}

# publish_version VERSION: as all that the depot holds.
publish_version()
{
	rm -rf "$updates/tree/npm/typescript"
	cp -a "$packages/npm/typescript/$1" "$updates/tree/npm/typescript"
	publish "$updates/depot" "$updates/tree" --packages 'npm/*'
}

depotfs_wire()
{
	forget
	rm -rf "$updates/tree"
	mkdir -p "$updates/tree/npm"
	make_depot "$updates" depot
	publish_version "$1"
	mount_url "$url/${updates#"$served/"}/depot" "$updates/depot.keys/depot.pub" on_change=none
	sync_wire
	publish_version "$2"
	sync_wire
	read_files "$updates/tree"
	local wanted=$digest
	: >"$request_log"
	read_files "$mnt"
	must_equal "$wanted"
	sleep 0.2
	[ "$(request_count)" = 0 ] || die "the sync left something to fetch"
	umount_depot
}

rsync_wire()
{
	fresh rsync
	free_port
	printf 'use chroot = no\nport = %s\naddress = 127.0.0.1\nlog file = %s\n[new]\npath = %s\n' "$port" \
		"$dir/rsync.log" "$packages/npm/typescript/$2" >"$dir/rsyncd.conf"
	rsync --daemon --no-detach --config="$dir/rsyncd.conf" &
	local pid=$!
	pids+=("$pid")
	wait_for 10 port_answers "$port" || die "rsync does not start"
	bounded rsync -az --stats "rsync://127.0.0.1:$port/new/" "$fresh/" >"$dir/said"
	end_process "$pid"
	wire=$(sed -n 's/^sent \([0-9,]*\) bytes *received \([0-9,]*\) bytes.*/\1 \2/p' "$dir/said" |
		tr -d , | awk '{ print $1 + $2 }')
}

casync_wire()
{
	fresh casync
	local name=${fresh##*/}
	rm -rf "$updates/castr"
	bounded casync make --chunk-size=16384:65536:262144 --store="$updates/castr" "$updates/new.caidx" \
		"$packages/npm/typescript/$2" >"$dir/log" 2>&1 || die "casync make: $(tail -n 3 "$dir/log")"
	: >"$request_log"
	bounded casync extract --seed="$packages/npm/typescript/$1" --store="$url/${updates#"$served/"}/castr" \
		"$url/${updates#"$served/"}/new.caidx" "$fresh/$name" >"$dir/log" 2>&1 ||
		die "casync extract: $(tail -n 3 "$dir/log")"
	sleep 0.2
	wire=$(request_bytes)
}

workload_update()
{
	need_packages
	updates=$served/updates
	rm -rf "$updates"
	mkdir -p "$updates"
	serve
	link 0 0
	local old new ours theirs
	local -a versions
	mapfile -t versions < <(ls "$packages/npm/typescript" | sort -V)
	for ((i = 1; i < ${#versions[@]}; i++)); do
		old=${versions[i - 1]}
		new=${versions[i]}
		begin_line "typescript $old → $new, all prefetched, old version cached: bytes on the wire" \
			"depotfs sync MNT --prefetch all --wait; rsync -az of the new version, fresh; casync extract --seed=OLD"
		depotfs_wire "$old" "$new"
		ours=$wire
		rsync_wire "$old" "$new"
		theirs=$wire
		if [ -z "$no_peers" ]; then
			casync_wire "$old" "$new"
			peers_said="casync $((wire / 1000)) kB$([ "$ours" -le "$wire" ] || echo ' (less)')"
		fi
		write_line "$((ours / 1000)) kB" "$((theirs / 1000)) kB (rsync -az)" "$(calculate "$ours / $theirs")" \
			'≤ 0.6' "$(verdict "$(calculate "$ours / $theirs")" at_most 0.6)"
	done
	rm -rf "$updates"
}
