#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# daemon: the daemonising mount, and the verbs that talk to it.
. "${0%/*}/lib.sh"
need jq

BIG_BYTES=3000000
make_tree "$work/tree"
publish depot "$work/tree" "${tree_packages[@]}"
"$DEPOTFS" init "$work/strange" --name strange --key-dir "$work/strange.keys" >/dev/null
url=file://$work/depot
mkdir "$work/mnt"
mount_it() { "$DEPOTFS" mount "$url" "$work/mnt" -o "key=$key,cache=$work/mnt.cache,log=$work/mnt.log"; }
adopt() # the pid that status reports is from now on this test's to end
{
	daemon[mnt]=$("$DEPOTFS" status "$work/mnt" --json | jq .pid)
	is_running "${daemon[mnt]}" || fail "status reports pid ${daemon[mnt]}, which is not there"
}
gone() { ! is_running "$1"; }

step "its errors are reported by the command that started it"
assert_exit 1 "$DEPOTFS" mount "$url" "$work/mnt" \
	-o "key=$work/strange.keys/strange.pub,cache=$work/strange.cache"
assert_says 'signature|key'
! is_mounted "$work/mnt" || fail "mounted with a wrong key"
assert_exit 1 "$DEPOTFS" mount "file://$work/nowhere" "$work/mnt" -o "key=$key,cache=$work/no.cache"
assert_says 'nowhere'
assert_exit 1 "$DEPOTFS" status "$work/mnt"
assert_says 'mnt'

step "it is mounted when the command returns, and does not hold the terminal"
timeout 300 bash -c '"$0" "$@" | cat' "$DEPOTFS" mount "$url" "$work/mnt" \
	-o "key=$key,cache=$work/mnt.cache,log=$work/mnt.log" </dev/null ||
	fail "mount does not return when its output is a pipe"
is_mounted "$work/mnt" || fail "mount has returned, and nothing is mounted"
adopt
cmp "$work/tree/README" "$work/mnt/README"

step "status"
"$DEPOTFS" status "$work/mnt" --json >"$work/status.json"
assert_equal "pid's type" "$(jq -r '.pid | type' "$work/status.json")" number
jq . "$work/status.json" | head -n 30
lookups=$(jq .kernel.lookups "$work/status.json")
[ -e "$work/mnt/never-asked-for" ] && fail "never-asked-for is there"
assert_equal "lookups after one more" "$("$DEPOTFS" status "$work/mnt" --json | jq .kernel.lookups)" $((lookups + 1))
assert_exit 0 "$DEPOTFS" status "$work/mnt"
assert_says "depot|stable"
assert_says "kernel +asked for $((lookups + 1)) lookups"

step "report and history"
assert_exit 0 "$DEPOTFS" report "$work/mnt" --all
assert_says 'current +remote .*/pkg/big/1.0'
"$DEPOTFS" report "$work/mnt" --json >"$work/report.json"
assert_equal "states of the packages" \
	"$(jq -r '[.packages[].state] | unique | join(" ")' "$work/report.json")" current
assert_equal "packages" "$(jq '.packages | length' "$work/report.json")" \
	"$(jq '[.states[]] | add' "$work/report.json")"
assert_exit 0 "$DEPOTFS" history "$work/mnt"
assert_says 'STATE'
assert_equal "runs" "$("$DEPOTFS" history "$work/mnt" --json | jq -r '.runs | type')" array
assert_exit 1 "$DEPOTFS" history "$work/mnt" --run 999999
assert_says 'no run 999999'

step "umount, and the daemon ends"
assert_exit 0 "$DEPOTFS" umount "$work/mnt"
! is_mounted "$work/mnt" || fail "mounted after umount"
wait_for 60 gone "${daemon[mnt]}"
unset 'daemon[mnt]'
assert_exit 1 "$DEPOTFS" umount "$work/mnt"
assert_says 'mnt'
check_log mnt

step "SIGTERM ends it cleanly"
mount_it
adopt
kill -TERM "${daemon[mnt]}"
wait_for 60 gone "${daemon[mnt]}"
! is_mounted "$work/mnt" || fail "mounted after SIGTERM"
unset 'daemon[mnt]'
mount_depot mnt "$url"
kill -TERM "${daemon[mnt]}"
end_daemon mnt

step "files open at unmount"
mount_it
adopt
exec 7<"$work/mnt/pkg/big/1.0/big.bin"
status=0
timeout 300 "$DEPOTFS" umount "$work/mnt" >"$work/said" 2>&1 || status=$?
say "        umount: exit $status, $(cat "$work/said")"
if [ $status -ne 0 ]; then
	# refused: then it must work still, and end when the file is closed
	assert_has "$work/said" 'busy|in use|open' umount
	head -c 100 <&7 | cmp - <(head -c 100 "$work/tree/pkg/big/1.0/big.bin")
	exec 7<&-
	assert_exit 0 "$DEPOTFS" umount "$work/mnt"
else
	exec 7<&-
fi
! is_mounted "$work/mnt" || fail "mounted after umount"
wait_for 60 gone "${daemon[mnt]}"
unset 'daemon[mnt]'

step "usage errors"
assert_exit 2 "$DEPOTFS"
assert_exit 2 "$DEPOTFS" no-such-verb
assert_says 'no-such-verb'
assert_exit 2 "$DEPOTFS" mount "$url" "$work/mnt" -o "key=$key,cache=$work/c,colour=red"
assert_says 'colour'
assert_exit 2 "$DEPOTFS" mount "$url" "$work/mnt" -o "key=$key"
assert_says 'cache'
assert_exit 2 "$DEPOTFS" mount "$url" -o "key=$key,cache=$work/c"
assert_exit 2 "$DEPOTFS" mount "$url" "$work/mnt" -o "key=$key,cache=$work/c,rw"
assert_exit 0 "$DEPOTFS" --version
check_log mnt
