#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# upkeep: pin, unpin, prefetch, evict and verify, on paths of a running mount: what they bring, keep and
# take away, and how they say that something falls short.
. "${0%/*}/lib.sh"

mib=$((1024 * 1024))
mkdir -p "$work/tree/set" "$work/tree/top/deep"
for i in 0 1 2 3 4 5 6 7; do
	random_file "$work/tree/set/$i" $mib
	random_file "$work/tree/top/deep/$i" 9000
done
random_file "$work/tree/top/kept" $((2 * mib))
cp "$work/tree/set/1" "$work/tree/top/same-as-1"
: >"$work/tree/top/empty"
publish depot "$work/tree" --packages set --packages top --packages top/deep
start_nginx "$work/depot"
mount_depot mnt "$http_url"
cd "$work/mnt"

step "prefetch brings all below, catalogs too, and nothing else"
assert_exit 0 "$DEPOTFS" prefetch top
assert_says '10 contents here'
assert_state top cached
assert_state set/0 remote
assert_exit 0 "$DEPOTFS" prefetch top/deep/3 "$work/mnt/set/4"
assert_state set/4 cached
forget_served
diff -r "$work/tree/top" top
assert_less "bytes served for what was prefetched" "$(served)" 1000
assert_exit 0 "$DEPOTFS" prefetch top --json
assert_says '"bytes_fetched":.*0'

step "what does not exist, or lies elsewhere, is said"
assert_exit 1 "$DEPOTFS" prefetch top/no-such
assert_says 'no-such'
assert_exit 1 "$DEPOTFS" pin no-such
assert_exit 1 "$DEPOTFS" prefetch "$work/tree/set"
assert_says 'no depot is mounted'
assert_exit 2 "$DEPOTFS" prefetch
assert_exit 2 "$DEPOTFS" evict --deep set
assert_exit 0 "$DEPOTFS" pin --list .
[ ! -s "$work/said" ] || fail "something is pinned: $(cat "$work/said")"

step "pin fetches and keeps"
assert_exit 0 "$DEPOTFS" evict .
for i in set/4 top/kept top/deep/0; do
	assert_state $i remote
done
assert_equal "objects" "$(find "$work/mnt.cache/objects" -type f | wc -l)" 0
assert_exit 0 "$DEPOTFS" pin set/1 top/deep
assert_state set/1 pinned
assert_state top/deep pinned
assert_state top/deep/5 pinned
assert_state top/same-as-1 cached
assert_exit 0 "$DEPOTFS" pin --list .
assert_equal "the pins" "$(cat "$work/said")" "/set/1
/top/deep"
assert_exit 0 "$DEPOTFS" prefetch .
assert_exit 0 "$DEPOTFS" evict .
assert_says 'pinned and kept'
assert_state set/1 pinned
assert_state top/deep pinned
assert_state top/kept remote
cmp "$work/tree/top/kept" top/kept

step "pins outlive the mount, and bounds"
cd "$work"
unmount mnt
mount_depot mnt "$http_url" cache_limit=4M
cd "$work/mnt"
assert_state set/1 pinned
for i in 0 2 3 4 5 6 7; do
	cmp "$work/tree/set/$i" set/$i
done
assert_state set/1 pinned
assert_state top/deep pinned

step "a limit that a pin or a sync hits is named, and what is in use"
assert_exit 1 "$DEPOTFS" pin set
assert_says "pin failed: set: the mount's cache_limit is reached: .* of 4.0 MiB are in use"
! grep '8 contents here' "$work/said" || fail "what did not land is counted"
! grep 'disk is full' "$work/said" || fail "the disk is blamed for the limit"
assert_exit 0 "$DEPOTFS" unpin set
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --prefetch all --wait
assert_says "not all could be fetched ahead: the mount's cache_limit is reached"
cd "$work"
unmount mnt
mount_depot mnt "$http_url"
cd "$work/mnt"

step "unpin gives back"
assert_exit 0 "$DEPOTFS" unpin set/1
assert_state set/1 cached
assert_exit 1 "$DEPOTFS" unpin set/1
assert_says 'not pinned itself'
assert_exit 0 "$DEPOTFS" evict set
assert_state set/1 remote
assert_exit 0 "$DEPOTFS" evict top/deep
assert_state top/deep pinned
assert_exit 0 "$DEPOTFS" evict --force top/deep
assert_state top/deep remote

step "verify finds what is damaged, removes it and says so"
assert_exit 0 "$DEPOTFS" prefetch .
assert_exit 0 "$DEPOTFS" verify . --deep
assert_says '18 checked, 0 damaged'
object_of()
{
	local digest
	digest=$(sha256sum "$work/tree/$1" | cut -d' ' -f1)
	printf '%s/objects/%s/%s' "$work/mnt.cache" "${digest:0:2}" "$digest"
}
printf x | dd of="$(object_of set/2)" bs=1 seek=5000 conv=notrunc status=none
truncate -s 100 "$(object_of top/kept)"
assert_exit 3 "$DEPOTFS" verify .
assert_says '1 damaged'
assert_says 'damaged top/kept'
assert_state top/kept remote
assert_exit 0 "$DEPOTFS" verify .
assert_exit 3 "$DEPOTFS" verify set --deep
assert_says 'damaged set/2'
assert_state set/2 remote
cmp "$work/tree/set/2" set/2
cmp "$work/tree/top/kept" top/kept
assert_exit 0 "$DEPOTFS" verify . --deep

step "without a source"
assert_exit 0 "$DEPOTFS" evict set/6
cd "$work"
unmount mnt
stop_nginx
expect_errors mnt 'cannot (fetch|read|be had)|no source answers'
mount_depot mnt "$http_url" timeout=2
cd "$work/mnt"
assert_exit 1 "$DEPOTFS" prefetch set
assert_says 'set/6|source'
assert_exit 0 "$DEPOTFS" verify set
cd "$work"
unmount mnt

step "what no source has is said of the source"
start_bad_server "$work/depot" 404 --only '/pack/*'
mount_depot mnt "$bad_url"
expect_errors mnt 'cannot fetch|no source'
cd "$work/mnt"
assert_exit 0 "$DEPOTFS" evict .
assert_exit 1 "$DEPOTFS" prefetch set/3
assert_says "not everything could be fetched: no source has it \\($bad_url: HTTP 404\\)"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --prefetch 'set/*' --wait
run=$("$DEPOTFS" history "$work/mnt" | awk 'NR == 2 { print $1 }')
assert_exit 0 "$DEPOTFS" job show "$work/mnt" "$run"
assert_says "set/3.*no source has it \\($bad_url: HTTP 404\\)"
! grep 'No such file' "$work/said" || fail "a file here is blamed for the source"
cd "$work"
unmount mnt
