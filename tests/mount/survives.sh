#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# survives: the cache outlives servers that are gone, unmounts, and daemons that are killed.
. "${0%/*}/lib.sh"

timeout_s=5
make_tree "$work/tree"
publish depot "$work/tree" "${tree_packages[@]}"
start_nginx "$work/depot"
big=pkg/big/1.0/big.bin
other=pkg/big/1.0/other.bin

step "with the server stopped, what was read before reads"
mount_depot mnt "$http_url" timeout=$timeout_s
diff -r --no-dereference "$work/tree/pkg/small" "$work/mnt/pkg/small"
cat "$work/mnt/README" >/dev/null
ls "$work/mnt/pkg/big/1.0" >/dev/null
assert_state "$work/mnt/pkg/small" cached
unmount mnt
stop_nginx
expect_errors mnt 'cannot fetch|no source answers|cannot read'
mount_depot mnt "$http_url" timeout=$timeout_s
diff -r --no-dereference "$work/tree/pkg/small" "$work/mnt/pkg/small"
cmp "$work/tree/README" "$work/mnt/README"
assert_state "$work/mnt/pkg/small" cached
assert_equal online "$(xattr "$work/mnt" online)" no

step "what was not read before fails within the timeout"
assert_state "$work/mnt/$other" remote
assert_read_fails "$work/mnt/$other" $((timeout_s + 10))
assert_has "$work/mnt.log" "cannot fetch .*pack.*$http_port" "the log"

step "and reads when the server is back"
start_nginx "$work/depot"
reads_again() { cmp "$work/tree/$other" "$work/mnt/$other"; }
wait_for 60 reads_again
assert_equal online "$(xattr "$work/mnt" online)" yes
unmount mnt

step "kill -9 of the daemon while readers read"
stop_nginx
NGINX_RATE=300k # of each request: much is left to read when half is here
start_nginx "$work/depot"
expected_errors[mnt]=
mount_depot mnt "$http_url"
cat "$work/mnt/$big" >/dev/null 2>"$work/reader.stderr" &
reader=$!
half_is_here() { [ "$(xattr "$work/mnt/$big" cached_bytes)" -ge 6000000 ]; }
wait_for 60 half_is_here
kill_daemon mnt
status=0
wait $reader || status=$?
[ $status -ne 0 ] || fail "the reader did not notice"
is_mounted "$work/mnt" || fail "the dead mount is gone by itself"
! ls "$work/mnt" >/dev/null 2>&1 || fail "a dead mount answers"

step "the next mount takes the dead one over, with the cache intact"
stop_nginx
NGINX_RATE=0
start_nginx "$work/depot"
mount_depot mnt "$http_url"
assert_equal "mounts on the mountpoint" "$(mounts_below "$work/mnt" | wc -l)" 1
assert_has "$work/mnt.log" 'dead mount' "the log"
assert_state "$work/mnt/pkg/small" cached
forget_served
diff -r --no-dereference "$work/tree/pkg/small" "$work/mnt/pkg/small"
! grep -q '/pack/' "$access_log" || fail "cached content was fetched again"

step "the partial file goes on where it was"
assert_state "$work/mnt/$big" partial
kept=$(xattr "$work/mnt/$big" cached_bytes)
say "        $kept of 16777216 bytes were kept"
[ "$kept" -ge 3000000 ] || fail "of a partial file only $kept bytes were kept"
cmp "$work/tree/$big" "$work/mnt/$big"
assert_less "bytes for the rest" "$(served)" $((16777216 - kept + 1500000))
assert_state "$work/mnt/$big" cached
unmount mnt

step "ten more kills while everything is read"
rm -rf "$work/mnt.cache"
for i in {1..10}; do
	mount_depot mnt "$http_url"
	find "$work/mnt" -type f -exec cat {} + >/dev/null 2>&1 &
	reader=$!
	sleep 0.$((RANDOM % 4))$((RANDOM % 10))
	kill_daemon mnt
	wait $reader || true
done
mount_depot mnt "$http_url"
assert_same "$work/tree" "$work/mnt"
unmount mnt
