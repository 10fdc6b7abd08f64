#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# limits: a cache that stays in its bounds while more is read than fits, on disks that are too
# small, with files larger than all of it; and every byte is right.
. "${0%/*}/lib.sh"

mib=$((1024 * 1024))
bound=$((8 * mib))
files=24

mkdir -p "$work/tree/set" "$work/tree/small"
for ((i = 0; i < files; i++)); do
	random_file "$work/tree/set/$i" $mib
done
for ((i = 0; i < 200; i++)); do
	random_file "$work/tree/small/$i" 6000
done
random_file "$work/tree/huge" $((20 * mib))
publish depot "$work/tree" --packages set --packages small
url=file://$work/depot

# on_disk CACHE: what its contents and catalogs take, as du counts.
on_disk()
{
	# what goes while find looks at it is no failure
	{ find "$1/objects" "$1/partial" "$1/catalog" -type f -printf '%b\n' 2>/dev/null || true; } |
		awk '{ n += $1 * 512 } END { print n + 0 }'
}

# watch CACHE: notes the most it ever took, in $work/most, until $work/watching is gone.
watch()
{
	local most=0 now
	: >"$work/watching"
	while [ -e "$work/watching" ]; do
		now=$(on_disk "$1")
		[ "$now" -le $most ] || most=$now
		printf '%s\n' $most >"$work/most"
		sleep 0.02
	done
}
start_watch()
{
	watch "$1" &
	watcher=$!
	processes+=("$watcher")
}
end_watch()
{
	rm -f "$work/watching"
	wait "$watcher" || true
	most=$(cat "$work/most")
}

read_all()
{
	local i
	for ((i = 0; i < files; i++)); do
		cmp "$work/tree/set/$i" "$work/mnt/set/$i"
	done
	diff -r "$work/tree/small" "$work/mnt/small"
}

# A piece that is landing while another one is counted may go beyond it.
in_bounds() { assert_less "the most that was on disk" "$most" $((bound + 2 * mib)); }
is_calm() { [ "$(xattr "$work/mnt" cache_used)" -le $((bound * 95 / 100)) ]; }

step "three times the limit is read, twice"
mount_depot mnt "$url" cache_limit=8M
assert_equal cache_limit "$(xattr "$work/mnt" cache_limit)" $bound
start_watch "$work/mnt.cache"
read_all
read_all
end_watch
say "        at most $((most / 1024)) KiB of $((bound / 1024))"
in_bounds
wait_for 60 is_calm
assert_has mnt.log 'let go of'
"$DEPOTFS" status "$work/mnt" >"$work/said"
assert_says 'of 8.0 MiB'
"$DEPOTFS" status "$work/mnt" --json >"$work/said"
assert_says "\"cache_limit\":.*$bound"

step "what is counted is what is there"
counted() { [ "$(xattr "$work/mnt" cache_used)" -eq "$(on_disk "$work/mnt.cache")" ]; }
wait_for 60 counted

# What is read lands as soon as there is room for it; in so small a cache not at the first try. The
# kernel's memory is passed by: what it answers nobody needs to keep.
lands()
{
	cmp "$work/tree/set/$1" <(dd if="$work/mnt/set/$1" bs=1M iflag=direct status=none) &&
		has_state "$work/mnt/set/$1" cached
}

step "what was used last is here, and says when"
wait_for 60 lands 3
[ "$(date -u -d "$(xattr "$work/mnt/set/3" last_access)" +%s)" -gt $(($(date +%s) - 3600)) ] ||
	fail "last_access: $(xattr "$work/mnt/set/3" last_access)"

step "an open file outlives its object"
wait_for 60 lands 5
exec 7<"$work/mnt/set/5"
cmp -n 4096 "$work/tree/set/5" /dev/fd/7
drives_out()
{
	local i
	for i in 10 11 12 13 14 15 16 17 18 19; do
		cmp "$work/tree/set/$i" "$work/mnt/set/$i"
	done
	! has_state "$work/mnt/set/5" cached
}
wait_for 60 drives_out
cmp "$work/tree/set/5" /dev/fd/7
exec 7<&-

step "a file larger than the whole cache"
start_watch "$work/mnt.cache"
cmp "$work/tree/huge" "$work/mnt/huge"
cmp "$work/tree/huge" "$work/mnt/huge"
end_watch
say "        at most $((most / 1024)) KiB of $((bound / 1024))"
in_bounds
read_all
unmount mnt

step "an older cache that is over a new limit comes down by itself"
rm mnt.log
mount_depot mnt "$url"
assert_equal cache_limit "$(xattr "$work/mnt" cache_limit)" 0
read_all
cmp "$work/tree/huge" "$work/mnt/huge"
[ "$(xattr "$work/mnt" cache_used)" -gt $((40 * mib)) ] || fail "an unlimited cache lets go"
unmount mnt
mount_depot mnt "$url" cache_limit=8M
wait_for 60 is_calm
read_all
unmount mnt

# on_small_disk MIB OPTION...: all is read from a cache on a disk of that size.
on_small_disk()
{
	local size=$1
	shift
	mkdir -p disk
	mount -t tmpfs -o "size=${size}m" tmpfs disk
	rm -f mnt.log
	mount_depot mnt "$url" cache="$work/disk/cache" "$@"
	read_all
	cmp "$work/tree/huge" "$work/mnt/huge"
	read_all
}
free_kib() { df --output=avail -k "$work/disk" | tail -n 1 | tr -d ' '; }

step "a disk that must stay half free"
on_small_disk 16 cache_free=50%
is_half_free() { [ "$(free_kib)" -ge $((8 * 1024)) ]; }
wait_for 60 is_half_free
assert_has mnt.log 'let go of'
unmount mnt
umount disk

step "a disk that fills up: room is made, reads go on"
on_small_disk 6 cache_free=0
assert_has mnt.log 'let go of'
! grep -E 'error:' mnt.log || fail "a full disk is no error"
wait_for 60 lands 7
step "one that others fill: reads go through"
dd if=/dev/zero of=disk/filler bs=64k 2>/dev/null || true
read_all
dd if=/dev/zero of=disk/filler2 bs=64k 2>/dev/null || true
read_all
assert_has mnt.log 'warning: .*(full|room)'
step "and keeps again what is read once there is room"
rm disk/filler disk/filler2
wait_for 180 lands 7
unmount mnt
umount disk
