#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# faults: servers that fail, lie or stall, depots and caches that are damaged or not ours, and
# mountpoints that will not do. Reads fail in time or are right; nothing wrong is ever kept.
. "${0%/*}/lib.sh"

timeout_s=2
told_s=12 # a read that is told by then does not hang; how exact is not what is asked here
BIG_BYTES=3000000
make_tree "$work/tree"
publish depot "$work/tree" "${tree_packages[@]}"
good_url=file://$work/depot
known=pkg/small/1.0/docs        # read before anything goes wrong
victim=pkg/big/1.0/other.bin    # first read when it does
provoked='cannot (fetch|read|be had)|no source answers|corrupt'

# the cache every fault starts from: its catalogs are here, and the content of $known
mount_depot mnt "$good_url"
find "$work/mnt" >/dev/null
diff -r "$work/tree/$known" "$work/mnt/$known"
unmount mnt
mv mnt.cache warm.cache

fresh_cache()
{
	rm -rf "$work/mnt.cache" "$work/mnt.log" "$work/mnt.stderr"
	cp -a "$work/$1.cache" "$work/mnt.cache"
}
reads_right() { cmp "$work/tree/$1" "$work/mnt/$1"; }

# assert_explained PATTERN: object, source and reason are in the log.
assert_explained()
{
	wait_for $((timeout_s + 1)) grep -q 'cannot fetch pack' "$work/mnt.log"
	assert_has "$work/mnt.log" "cannot fetch pack/[0-9a-f]{2}/[0-9a-f]{64}.* from $bad_url: ." "the log"
	assert_has "$work/mnt.log" "$1" "the log"
	! grep -q secret "$work/mnt.log" || fail "a password is in the log"
}

faulty_server() # MODE PATTERN-OF-THE-REASON
{
	step "a server that answers: $1"
	fresh_cache warm
	start_bad_server "$work/depot" "$1" --only '/pack/*'
	expect_errors mnt "$provoked"
	mount_depot mnt "$bad_url" timeout=$timeout_s
	assert_read_fails "$work/mnt/$victim" $told_s
	assert_explained "$2"
	assert_state "$work/mnt/$known/file-3.bin" cached
	diff -r "$work/tree/$known" "$work/mnt/$known"
	[ "$(state "$work/mnt/$victim")" != cached ] || fail "$victim is cached after $1"
	unmount mnt
	stop_bad_server
	expect_errors mnt ''
	rm mnt.log mnt.stderr
	mount_depot mnt "$good_url"
	reads_right $victim
	reads_right pkg/big/1.0/big.bin
	unmount mnt
}

faulty_server 404 404
faulty_server 500 500
faulty_server redirect 302
faulty_server short .
faulty_server html .
faulty_server close .
faulty_server hang .
faulty_server flip 'not what the catalog says'

# A server that ignores ranges, goes on after the end or drips may be read from with care, or
# not; what comes is right, and it comes or fails in time.
for mode in no-range endless drip; do
	step "a server that answers: $mode"
	fresh_cache warm
	start_bad_server "$work/depot" "$mode" --only '/pack/*'
	expect_errors mnt "$provoked"
	mount_depot mnt "$bad_url" timeout=$timeout_s
	if read_blocks "$work/mnt/$victim" "$work/got" $told_s; then
		cmp "$work/got" "$work/tree/$victim"
		say "        read"
	else
		assert_has "$work/said" 'Input/output error'
		[ $mode = drip ] || assert_explained .
		say "        refused"
	fi
	assert_less "memory in kB while $mode" \
		"$(awk '/VmRSS/ { print $2 }' "/proc/${daemon[mnt]}/status")" 1000000
	diff -r "$work/tree/$known" "$work/mnt/$known"
	unmount mnt
	stop_bad_server
	expect_errors mnt ''
	rm mnt.log mnt.stderr
	mount_depot mnt "$good_url"
	reads_right $victim
	unmount mnt
done

step "catalogs that do not come: listing fails in time, and works later"
for mode in 404 flip hang; do
	rm -rf mnt.cache mnt.log mnt.stderr
	start_bad_server "$work/depot" $mode --only '/catalog/*' --after 1
	expect_errors mnt "$provoked"
	mount_depot mnt "$bad_url" timeout=$timeout_s
	before=$(now_ms)
	! ls "$work/mnt/pkg/small/1.0" >/dev/null 2>"$work/said" || fail "$mode: a listing without its catalog"
	assert_less "ms until a listing fails" $(($(now_ms) - before)) $((told_s * 1000))
	assert_has "$work/said" 'Input/output error'
	wait_for $((timeout_s + 1)) grep -q 'cannot fetch catalog' "$work/mnt.log"
	assert_has "$work/mnt.log" "cannot fetch catalog/.* from $bad_url" "the log ($mode)"
	reads_right README
	unmount mnt
	stop_bad_server
	expect_errors mnt ''
	rm mnt.log mnt.stderr
	mount_depot mnt "$good_url"
	diff -r "$work/tree/$known" "$work/mnt/$known"
	unmount mnt
done

step "heads that do not come: the mount goes on with the saved one"
for mode in 404 500 html flip hang endless; do
	fresh_cache warm
	start_bad_server "$work/depot" $mode
	expect_errors mnt "$provoked"
	mount_depot mnt "$bad_url" timeout=$timeout_s
	diff -r "$work/tree/$known" "$work/mnt/$known"
	unmount mnt
	mkdir -p empty
	assert_exit 1 "$DEPOTFS" mount "$bad_url" "$work/empty" \
		-o "key=$key,cache=$work/none.cache,timeout=$timeout_s"
	assert_says "${bad_url%/}"
	stop_bad_server
done

step "a root catalog that does not come: nothing is mounted, and the reason said"
start_bad_server "$work/depot" hang --only '/catalog/*'
assert_exit 1 "$DEPOTFS" mount "$bad_url" "$work/empty" \
	-o "key=$key,cache=$work/slow.cache,timeout=$timeout_s"
assert_says 'root catalog of revision 1 cannot be had'
stop_bad_server

step "a name that is no option and no setting"
for wrong in cahce=/d allow_other=yes; do
	assert_exit 2 "$DEPOTFS" mount "$good_url" "$work/empty" \
		-o "key=$key,cache=$work/none.cache,$wrong"
	assert_says "${wrong%=*}"
done

step "of two sources the first lies"
for mode in flip html hang 404; do
	fresh_cache warm
	start_bad_server "$work/depot" $mode --only '/pack/*'
	expect_errors mnt "$provoked"
	mount_depot mnt "$bad_url,$good_url" timeout=8
	reads_right $victim
	unmount mnt
	stop_bad_server
done
expect_errors mnt ''

step "an error in the depot's files, over file://"
damaged=$work/damaged
damage() # a fresh copy, with what the function does to it
{
	rm -rf "$damaged"
	cp -a "$work/depot" "$damaged"
	"$@"
}
# flip FILE: one bit in its middle.
flip()
{
	local at=$(($(stat -c %s "$1") / 2)) byte
	byte=$(od -An -tu1 -j $at -N 1 "$1")
	printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
}
flip_all() { find "$damaged/$1" -type f | while read -r file; do flip "$file"; done; }
halve_all() { find "$damaged/$1" -type f -exec sh -c 'truncate -s $(($(stat -c %s "$1") / 2)) "$1"' - {} \;; }
for harm in flip_all halve_all; do
	for what in channel trust catalog; do
		damage $harm $what
		assert_exit 1 "$DEPOTFS" mount "file://$damaged" "$work/empty" \
			-o "key=$key,cache=$work/damaged.cache,timeout=$timeout_s"
		assert_says "$what"
		! is_mounted "$work/empty" || fail "mounted with a damaged $what ($harm)"
		rm -rf damaged.cache
		assert_exit 3 "$DEPOTFS" check "$damaged" --deep
		assert_says "$what"
	done
	damage $harm pack
	fresh_cache warm
	expect_errors mnt "$provoked"
	mount_depot mnt "file://$damaged" timeout=$timeout_s
	assert_read_fails "$work/mnt/pkg/big/1.0/big.bin" $told_s
	assert_has mnt.log 'pack/[0-9a-f]{2}/[0-9a-f]{64}.*file://' "the log"
	diff -r "$work/tree/$known" "$work/mnt/$known"
	unmount mnt
	expect_errors mnt ''
	rm mnt.log mnt.stderr
	mount_depot mnt "$good_url"
	reads_right pkg/big/1.0/big.bin
	unmount mnt
	assert_exit 3 "$DEPOTFS" check "$damaged" --deep
	assert_says pack
done

step "keys and caches of others"
"$DEPOTFS" init "$work/strange" --name strange --key-dir "$work/strange.keys" >/dev/null
"$DEPOTFS" publish "$work/strange" "$work/tree" --key-dir "$work/strange.keys" >/dev/null 2>&1
fresh_cache warm
refused() # PATTERN KEY CACHE URL MOUNTPOINT
{
	assert_exit 1 "$DEPOTFS" mount "$4" "$5" -o "key=$2,cache=$3,timeout=$timeout_s"
	assert_says "$1"
	[ -z "$(mounts_below "$5")" ] || fail "mounted: $1"
}
strange_key=$work/strange.keys/strange.pub
refused 'signature|key' "$strange_key" "$work/none.cache" "$good_url" "$work/empty"
refused 'repository|mnt.cache|another' "$strange_key" "$work/mnt.cache" "file://$work/strange" "$work/empty"
refused "nokey.pub" "$work/nokey.pub" "$work/none.cache" "$good_url" "$work/empty"
refused "README" "$work/tree/README" "$work/none.cache" "$good_url" "$work/empty"
mkdir read-only
mount -t tmpfs -o ro,size=1m tmpfs read-only
refused 'read-only' "$key" "$work/read-only" "$good_url" "$work/empty"
refused 'read-only' "$key" "$work/read-only/below" "$good_url" "$work/empty"
umount read-only

step "a cache that others may write is none"
mkdir -m 777 "$work/open.cache"
refused 'changed by others' "$key" "$work/open.cache" "$good_url" "$work/empty"
chmod 755 "$work/open.cache"
chown 65534 "$work/open.cache"
refused 'changed by others' "$key" "$work/open.cache" "$good_url" "$work/empty"

step "one cache serves one mount"
mount_depot mnt "$good_url"
refused 'in use|lock' "$key" "$work/mnt.cache" "$good_url" "$work/empty"
assert_exit 1 "$DEPOTFS" mount "$good_url" "$work/empty" -f -o "key=$key,cache=$work/mnt.cache"
assert_says 'in use'
step "mountpoints that will not do"
assert_exit 1 "$DEPOTFS" mount "$good_url" "$work/mnt" -o "key=$key,cache=$work/other.cache"
assert_says 'mounted'
unmount mnt
refused 'missing' "$key" "$work/other.cache" "$good_url" "$work/missing"
refused 'not empty' "$key" "$work/other.cache" "$good_url" "$work/tree"
refused 'not a directory|Not a directory' "$key" "$work/other.cache" "$good_url" "$work/tree/README"
assert_exit 2 "$DEPOTFS" mount "$good_url" "$work/empty" -o "key=$key,cache=$work/c,unheard=of"
assert_says unheard

step "a cache on a full disk reads through, and warns"
mkdir small-disk
mount -t tmpfs -o size=2m tmpfs small-disk
expect_errors mnt 'full|No space'
mount_depot mnt "$good_url" cache="$work/small-disk/cache"
find "$work/mnt" >/dev/null
dd if=/dev/zero of=small-disk/filler bs=64k 2>/dev/null || true
reads_right pkg/big/1.0/big.bin
reads_right $victim
diff -r "$work/tree/$known" "$work/mnt/$known"
# which of the two bounds it says is decided by who looks first
wait_for 60 grep -Eq 'warning: what is fetched cannot be kept in the cache: .*(full|cache_free)' mnt.log
step "and fills itself again when there is room"
rm small-disk/filler
mount -o remount,size=32m small-disk
cached_again() { cat "$work/mnt/$victim" >/dev/null && has_state "$work/mnt/$victim" cached; }
unmount mnt
mount_depot mnt "$good_url" cache="$work/small-disk/cache"
wait_for 20 cached_again
reads_right $victim
unmount mnt
