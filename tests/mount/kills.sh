#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kills: the daemon is killed at random moments of a sync. After a restart the mount shows the old
# revision or the new one, whole, and the interrupted run is taken up and finished. KILLS=100
# for all that is promised (8 by default), KILL_OPTIONS=open=none for more options of the mount.
. "${0%/*}/lib.sh"
need jq
kills=${KILLS:-8}

# revision N: each package differs from the one before in some files, and the set of them, too.
make_revision()
{
	local n=$1 package
	for package in a b c d; do
		random_file "$work/tree/pkg/$package/file-$((n % 7))" $((20000 + n))
		printf '%s\n' "$n" >"$work/tree/pkg/$package/VERSION"
	done
	random_file "$work/tree/pkg/big/big.bin" 24000000
	rm -rf "$work/tree/pkg/only-$((n - 2))"
	random_file "$work/tree/pkg/only-$n/file" 50000
	printf '%s\n' "$n" >"$work/tree/RELEASE"
	publish depot "$work/tree" --packages 'pkg/*'
	"$MANIFEST" --digest "$work/tree" >"$work/manifest.$n"
}

# whole: the number of the revision that the mount shows, if it shows one.
whole()
{
	local n
	"$MANIFEST" --digest "$work/mnt" >"$work/manifest.shown" ||
		fail "the mount cannot be read after kill $kill"
	for n in $((kill - 1)) $kill; do
		! cmp -s "$work/manifest.$n" "$work/manifest.shown" || { printf '%s' $n && return; }
	done
	fail "after kill $kill the mount is neither revision: $(
		diff "$work/manifest.$kill" "$work/manifest.shown" | cut -c1-200 | head -n 10)"
}

shows() { [ "$("$DEPOTFS" status "$work/mnt" --json | jq .revision)" -eq "$1" ]; }
is_idle() { [ "$("$DEPOTFS" jobs "$work/mnt" --json | jq '.runs | length')" -eq 0 ]; }

step "a mount of revision 0"
for ((n = 0; n < 7; n++)); do
	for package in a b c d; do random_file "$work/tree/pkg/$package/file-$n" $((20000 + n)); done
done
make_revision 0
start_nginx "$work/depot"
# what is taken up again waits here, so that there is time to look
printf '#!/bin/sh\ntouch %s/began\nwhile [ ! -e %s/go ]; do sleep 0.02; done\n' "$work" "$work" >"$work/hook"
chmod 755 "$work/hook"
options=(poll=0 on_change=none guard_share=100 prefetch=all pre_sync="$work/hook" ${KILL_OPTIONS:+"$KILL_OPTIONS"})
mount_depot mnt "$http_url" "${options[@]}"
# how long a sync takes here, so that its whole length is hit
before=$(now_ms)
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
took_ms=$(($(now_ms) - before))
rm -f "$work/began"

step "$kills kills, within $took_ms ms of the beginning of a sync"
old=0
interrupted=0
for ((kill = 1; kill <= kills; kill++)); do
	make_revision $kill
	# the first one is sure to hit a sync: its hook waits
	[ $kill -eq 1 ] || touch "$work/go"
	delay_ms=$((RANDOM % (took_ms + 1)))
	"$DEPOTFS" sync "$work/mnt" >/dev/null
	[ $kill -ne 1 ] || wait_for 60 test -e "$work/began"
	sleep "$(printf '%d.%03d' $((delay_ms / 1000)) $((delay_ms % 1000)))"
	kill_daemon mnt
	umount -l "$work/mnt"
	rm -f "$work/go"
	mount_depot mnt "$http_url" "${options[@]}"
	shown=$(whole)
	[ "$shown" -eq $kill ] || old=$((old + 1))
	touch "$work/go"
	wait_for 300 is_idle
	if ! shows $((kill + 1)); then
		fail "revision $((kill + 1)) is not shown after kill $kill: $("$DEPOTFS" history "$work/mnt" | head -n 5)"
	fi
	interrupted=$((interrupted + $("$DEPOTFS" history "$work/mnt" --json --limit 1 |
		jq '[.runs[] | select(.trigger == "resume")] | length')))
	assert_equal "the revision shown at last" "$(whole)" $kill
done
say "        after the kill the old revision was shown $old times; $interrupted runs were taken up again"
[ "$interrupted" -gt 0 ] || fail "no kill has hit a sync"
unmount mnt
