#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# valgrind: a publish, a check and a mount session make no memory error and lose no memory.
# Not part of the usual run: contrib/check --valgrind.
. "${0%/*}/lib.sh"
need valgrind
[ -z "$DEPOTFS_SANITIZE" ] || skip "valgrind and a sanitizer do not go together"

memcheck=(valgrind --quiet --error-exitcode=97 --leak-check=full --track-fds=no
	--errors-for-leak-kinds=definite,possible "--log-file=$work/memcheck.%p")
real=$DEPOTFS
cat >depotfs <<-END
	#!/bin/sh
	exec ${memcheck[*]} "$real" "\$@"
END
chmod 755 depotfs
DEPOTFS=$work/depotfs

# Errors; what valgrind has to say about itself (calls newer than it is) begins differently.
check_memory()
{
	! grep -hs '^==' memcheck.* || fail "valgrind"
}

step "publishing"
BIG_BYTES=3000000
make_tree "$work/tree"
publish depot "$work/tree" "${tree_packages[@]}"
printf 'more\n' >>tree/README
publish depot "$work/tree"
"$DEPOTFS" log "$work/depot" >/dev/null
"$DEPOTFS" check "$work/depot" --deep >/dev/null
check_memory

step "mounting, reading, status"
start_nginx "$work/depot"
mount_depot mnt "$http_url"
assert_same "$work/tree" "$work/mnt"
getfattr -d -m - "$work/mnt" "$work/mnt/README" >/dev/null 2>&1
assert_state "$work/mnt" cached
"$DEPOTFS" status "$work/mnt" --json | jq -e .pid >/dev/null
unmount mnt

step "with the server gone"
stop_nginx
rm -rf mnt.cache/objects
expect_errors mnt 'cannot fetch|no source answers|cannot read|vanished|missing'
mount_depot mnt "$http_url" timeout=3
cat "$work/mnt/README" >/dev/null 2>&1 || true
unmount mnt
check_memory
