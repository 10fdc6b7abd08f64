#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# lazy: what is not read is not fetched, what is read is fetched once, and the attributes say
# which is which.
. "${0%/*}/lib.sh"

step "a tree of 17 MB that does not compress, at a web server"
make_tree "$work/tree"
setfattr -n user.comment -v "the publisher's own" "$work/tree/README" 2>/dev/null || true
publish depot "$work/tree" "${tree_packages[@]}"
start_nginx "$work/depot"
small=pkg/small/1.0/docs/file-7.bin
big=pkg/big/1.0/big.bin
other=pkg/big/1.0/other.bin

step "a listing of everything fetches no content"
mount_depot mnt "$http_url"
find "$work/mnt" -printf '%s %P\n' >"$work/listing"
assert_equal "entries" "$(wc -l <"$work/listing")" "$(find "$work/tree" | wc -l)"
assert_less "bytes for a listing" "$(served)" 200000
! grep -q '/pack/' "$access_log" || fail "a listing fetches packs"
assert_state "$work/mnt/$small" remote
assert_state "$work/mnt/$big" remote
assert_state "$work/mnt" remote

step "one small file costs little"
forget_served
cmp "$work/tree/$small" "$work/mnt/$small"
assert_state "$work/mnt/$small" cached
bytes=$(served)
say "        $bytes bytes for a file of $(stat -c %s "$work/tree/$small")"
assert_less "bytes for a small file" "$bytes" 1572864
[ "$bytes" -ge 8000 ] || fail "the server's log does not show the fetch"

step "a block in the middle of a big file makes it partial"
dd if="$work/mnt/$big" of="$work/block" bs=64k skip=100 count=1 status=none
dd if="$work/tree/$big" bs=64k skip=100 count=1 status=none | cmp - "$work/block"
assert_state "$work/mnt/$big" partial
assert_less "cached_bytes of a block's file" "$(xattr "$work/mnt/$big" cached_bytes)" 8000000
[ "$(xattr "$work/mnt/$big" cached_bytes)" -ge 65536 ] || fail "cached_bytes leaves out the block"
[[ $(xattr "$work/mnt/$big" chunks) =~ ^([0-9]+)/([0-9]+)$ ]] || fail "chunks is no n/m"
[ "${BASH_REMATCH[1]}" -lt "${BASH_REMATCH[2]}" ] || fail "all chunks of a partial file are here"
assert_state "$work/mnt/pkg/big" partial

step "read to its end it is cached, and nothing is fetched again"
cmp "$work/tree/$big" "$work/mnt/$big"
assert_state "$work/mnt/$big" cached
assert_equal cached_bytes "$(xattr "$work/mnt/$big" cached_bytes)" 16777216
bytes=$(served)
assert_less "bytes for all of it" "$bytes" 18500000
assert_equal digest "$(xattr "$work/mnt/$big" digest)" "$(sha256sum <"$work/tree/$big" | cut -d' ' -f1)"
forget_served
cmp "$work/tree/$big" "$work/mnt/$big"
assert_equal "bytes for a second reading" "$(served)" 0

step "sixteen readers of one file cause one download"
forget_served
readers=()
for _ in {1..16}; do
	cmp "$work/tree/$other" "$work/mnt/$other" &
	readers+=($!)
done
for reader in "${readers[@]}"; do
	wait "$reader"
done
assert_less "bytes for one file read sixteen times at once" "$(served)" 1100000
twice=$(awk -F'"' '/\/pack\// { print $2, $4 }' "$access_log" | sort | uniq -d)
[ -z "$twice" ] || fail "these ranges were requested more than once: $twice"

step "the attributes of a file, a directory and the root"
for name in state cached_bytes digest chunks package revision source fetched; do
	[ -n "$(xattr "$work/mnt/$other" $name)" ] || fail "user.depotfs.$name of a file is empty"
done
assert_equal package "$(xattr "$work/mnt/$other" package)" pkg/big/1.0
assert_equal revision "$(xattr "$work/mnt/$other" revision)" 1
assert_has <(xattr "$work/mnt/$other" source) "^http://127.0.0.1:$http_port" source
[[ $(xattr "$work/mnt/$other" fetched) =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T ]] || fail "fetched is no time"
assert_state "$work/mnt/pkg/big" cached
assert_state "$work/mnt" partial
assert_equal "cached_bytes of a package" "$(xattr "$work/mnt/pkg/big/1.0" cached_bytes)" \
	$((16777216 + 700000))
assert_equal channel "$(xattr "$work/mnt" channel)" stable
assert_equal online "$(xattr "$work/mnt" online)" yes
[ "$(xattr "$work/mnt" cache_used)" -ge 17000000 ] || fail "cache_used: $(xattr "$work/mnt" cache_used)"
assert_equal "online of what is not the root" "$(xattr "$work/mnt/README" online || true)" ""

step "copies do not carry them along"
for path in "" /pkg/big "/$other" /README; do
	getfattr -d -m - "$work/mnt$path" >"$work/listed" 2>&1
	! grep -q "user\.depotfs" "$work/listed" || fail "listed on '$path': $(cat "$work/listed")"
done
if getfattr -n user.comment "$work/tree/README" >/dev/null 2>&1; then
	assert_equal "the publisher's attribute" \
		"$(getfattr --only-values -n user.comment "$work/mnt/README")" "the publisher's own"
	assert_has <(getfattr -d "$work/mnt/README") user.comment "getfattr -d"
fi

step "everything read: every directory is cached"
find "$work/mnt" -type f -exec cat {} + >/dev/null
assert_state "$work/mnt" cached
unmount mnt

step "at a slow server, a read waits for its own chunks only"
stop_nginx
NGINX_RATE=300k
start_nginx "$work/depot"
rm -rf "$work/mnt.cache"
mount_depot mnt "$http_url"
dd if="$work/mnt/$big" of="$work/block" bs=4k skip=2000 count=1 status=none
dd if="$work/tree/$big" bs=4k skip=2000 count=1 status=none | cmp - "$work/block"
# the rest of it is nobody's wish: were it waited for, it would be here
assert_state "$work/mnt/$big" partial
assert_less "cached_bytes for one block" "$(xattr "$work/mnt/$big" cached_bytes)" 8000000
unmount mnt
