#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# jobs: what starts a sync and what holds it: news, schedules, the master's policy, hooks, windows,
# the queue, a cancellation.
. "${0%/*}/lib.sh"
need jq

revision() { "$DEPOTFS" status "$work/mnt" --json | jq .revision; }
shows() { [ "$(revision)" -eq "$1" ]; }
is_idle() { [ "$("$DEPOTFS" jobs "$work/mnt" --json | jq '.runs | length')" -eq 0 ]; }
last_run() { "$DEPOTFS" history "$work/mnt" --json --limit 1 | jq -r ".runs[0].$1"; }
phase() { "$DEPOTFS" jobs "$work/mnt" --json | jq -r '.runs[0].progress.phase'; }
has_phase() { [ "$(phase)" = "$1" ]; }
schedules() { "$DEPOTFS" schedule list "$work/mnt" --json | jq -r "$1"; }
asked() { grep -c 'channel/stable' "$access_log" || true; }

next_revision()
{
	published=$((${published:-0} + 1))
	printf '%s\n' $published >"$work/tree/RELEASE"
	random_file "$work/tree/pkg/a/$published" 300000
	publish depot "$work/tree" --packages 'pkg/*'
}

step "news are followed by themselves"
random_file "$work/tree/pkg/a/file" 1000
next_revision
start_nginx "$work/depot"
mount_depot mnt "$http_url" poll=1
assert_exit 0 "$DEPOTFS" jobs "$work/mnt"
assert_says 'nothing runs and nothing waits'
next_revision
wait_for 60 shows 2
assert_equal "what started it" "$(last_run trigger)" change
assert_equal "how" "$(last_run mode)" incremental

step "no news cost one small request, and nothing is written"
wait_for 60 is_idle
# until its second is over the head may change under the same ETag: so long it is sent again
told_of_none() { tail -n 1 "$access_log" | grep -q ' 304 '; }
wait_for 60 told_of_none
forget_served
touch "$work/mark"
asked_twice() { [ "$(asked)" -ge 2 ]; }
wait_for 60 asked_twice
cp "$access_log" "$work/asked" # it goes on growing
requests=$(wc -l <"$work/asked")
assert_equal "other requests than for the channel" \
	"$(grep -c 'channel/stable' "$work/asked")" "$requests"
assert_less "bytes of an answer" "$(awk 'n < $1 { n = $1 } END { print n }' "$work/asked")" 700
assert_equal "answers that there are none" "$(grep -c ' 304 ' "$work/asked")" "$requests"
assert_equal "files written" "$(find "$work/mnt.cache" -newer "$work/mark" -type f | wc -l)" 0
unmount mnt

step "a hook that fails stops the sync untouched"
cat >"$work/pre" <<-END
	#!/bin/sh
	env | grep ^DEPOTFS_ | sort >$work/pre.env
	cat >$work/pre.packages
	echo stopping the service
	while [ -e $work/hold ]; do sleep 0.02; done
	[ ! -e $work/refuse ]
END
cat >"$work/post" <<-END
	#!/bin/sh
	env | grep ^DEPOTFS_ | sort >$work/post.env
	[ ! -e $work/refuse-post ]
END
chmod 755 "$work/pre" "$work/post"
cat >"$work/conf" <<-END
	[mirror]
	pre_sync = $work/pre
	post_sync = $work/post
	logdir = $work/logs
	label = site:oslo
END
mount_depot mnt "$http_url" poll=0,on_change=none conf="$work/conf"
expect_errors mnt 'pre ended|post ended|run [0-9]+|cannot fetch|no source'
next_revision
touch "$work/refuse"
assert_exit 1 "$DEPOTFS" sync "$work/mnt" --wait
assert_says 'pre ended with status 1'
assert_equal revision "$(revision)" 2
assert_equal state "$(last_run state)" stopped
assert_has "$work/post.env" '^DEPOTFS_OUTCOME=stopped$'
rm "$work/post.env"
rm "$work/refuse"

step "a hook is told what happens"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
assert_equal revision "$(revision)" 3
for line in JOB=sync MODE=full REVISION_OLD=2 REVISION_NEW=3 ADDED=1 "PACKAGE=\\. pkg/a"; do
	assert_has "$work/pre.env" "^DEPOTFS_$line\$"
done
assert_has "$work/pre.packages" '^pkg/a$'
assert_has "$work/post.env" '^DEPOTFS_OUTCOME=done$'
assert_has "$work/logs/run-$(last_run run).log" 'hook: stopping the service'
next_revision
touch "$work/refuse-post"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
assert_equal revision "$(revision)" 4
assert_says 'is done, but: .*post ended with status 1'
assert_equal "errors of a run whose post_sync failed" "$(last_run errors)" 1
rm "$work/refuse-post"

step "after a kill between the hooks post_sync is run, even when no source answers"
next_revision
touch "$work/hold"
"$DEPOTFS" sync "$work/mnt" >/dev/null
wait_for 60 has_phase "running a hook"
kill_daemon mnt
umount -l "$work/mnt"
rm "$work/hold" "$work/post.env"
stop_nginx
mount_depot mnt "$http_url" poll=0,on_change=none conf="$work/conf"
wait_for 60 test -s "$work/post.env"
assert_has "$work/post.env" '^DEPOTFS_OUTCOME=failed$'
wait_for 60 is_idle
assert_equal "what a run showed that got no news" "$(last_run revision_before)" 4
unmount mnt
start_nginx "$work/depot"
mount_depot mnt "$http_url" poll=0,on_change=none conf="$work/conf"
wait_for 60 is_idle
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --package 'pkg/a' --wait
assert_says 'nothing differs in packages that match'
assert_exit 1 "$DEPOTFS" sync "$work/mnt" --package 'pkg/nothing' --wait
assert_says "no package matches 'pkg/nothing'"

step "a sync asked for while one runs waits for it; one that waits is joined; a cancelled one ends"
next_revision
touch "$work/hold"
"$DEPOTFS" sync "$work/mnt" >/dev/null
wait_for 60 has_phase "running a hook"
first=$("$DEPOTFS" jobs "$work/mnt" --json | jq .runs[0].run)
"$DEPOTFS" sync "$work/mnt" >/dev/null
"$DEPOTFS" sync "$work/mnt" >/dev/null
assert_equal "runs" "$("$DEPOTFS" jobs "$work/mnt" --json | jq '[.runs[].state] | join(" ")')" \
	'"running queued"'
assert_exit 0 "$DEPOTFS" job show "$work/mnt" "$first"
assert_says 'running a hook'
assert_exit 0 "$DEPOTFS" job cancel "$work/mnt" "$first"
rm "$work/hold"
wait_for 60 is_idle
assert_equal "the cancelled run" "$("$DEPOTFS" job show "$work/mnt" "$first" --json |
	jq -r .state)" cancelled
assert_equal "the one behind it" "$(last_run state)" "done"
assert_equal revision "$(revision)" 6
assert_exit 1 "$DEPOTFS" job cancel "$work/mnt" "$first"
assert_exit 1 "$DEPOTFS" job show "$work/mnt" 4711

step "schedules are added, listed, disabled and removed"
assert_exit 1 "$DEPOTFS" schedule add "$work/mnt" x --when 'every blue moon'
assert_exit 1 "$DEPOTFS" schedule add "$work/mnt" 'a b' --when 'daily at 02:00'
"$DEPOTFS" schedule add "$work/mnt" patches --when 'second tuesday + 4 days at 02:00' \
	--tz Europe/Oslo --package 'pkg/*' --package 'top/*' --prefetch all --rate 20M
"$DEPOTFS" schedule add "$work/mnt" nightly --when 'daily at 02:30' --incremental
assert_equal schedules "$(schedules '[.schedules[].name] | join(" ")')" "nightly patches"
assert_exit 0 "$DEPOTFS" schedule list "$work/mnt"
assert_says 'patches +command +enabled +second tuesday \+ 4 days at 02:00 \(Europe/Oslo\); full of pkg/\* top/\*; next 20'
"$DEPOTFS" schedule disable "$work/mnt" patches
assert_equal enabled "$(schedules '.schedules[] | select(.name == "patches") | .enabled')" false
"$DEPOTFS" schedule remove "$work/mnt" patches
assert_exit 1 "$DEPOTFS" schedule remove "$work/mnt" patches
# another mirror: its run may come at any time from here on
mount_depot often "$http_url" poll=0,on_change=none
"$DEPOTFS" schedule add "$work/often" often --when '* * * * *' --incremental

step "the master's policy is taken up by its label, and can be disabled, not edited"
printf '[schedule fleet]\nlabel = site:oslo\nwhen = daily at 02:00\ntz = UTC\n' >"$work/policy"
printf '[schedule other]\nlabel = site:bergen\nwhen = daily at 03:00\n' >>"$work/policy"
"$DEPOTFS" policy "$work/depot" --set "$work/policy" --key-dir "$work/depot.keys" >/dev/null
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
assert_equal schedules "$(schedules '[.schedules[].name] | join(" ")')" "fleet nightly"
assert_equal origin "$(schedules '.schedules[0].origin')" policy
assert_exit 1 "$DEPOTFS" schedule remove "$work/mnt" fleet
assert_exit 1 "$DEPOTFS" schedule add "$work/mnt" fleet --when 'daily at 04:00'
"$DEPOTFS" schedule disable "$work/mnt" fleet
assert_equal enabled "$(schedules '.schedules[0].enabled')" false

step "a policy for the same revision starts no run, neither by its news nor at a mount"
unmount mnt
printf '\n' >>"$work/policy"
"$DEPOTFS" policy "$work/depot" --set "$work/policy" --key-dir "$work/depot.keys" >/dev/null
mount_depot mnt "$http_url" poll=1,on_change=incremental conf="$work/conf"
expect_errors mnt 'pre ended|post ended|run [0-9]+|cannot fetch|no source'
before=$(last_run run)
sleep 2
printf '\n' >>"$work/policy"
forget_served
"$DEPOTFS" policy "$work/depot" --set "$work/policy" --key-dir "$work/depot.keys" >/dev/null
wait_for 60 grep -q policy/ "$access_log"
sleep 1
is_idle || fail "a run waits: $("$DEPOTFS" jobs "$work/mnt")"
[ "$("$DEPOTFS" history "$work/mnt" --json | jq '[.runs[] | select(.trigger == "change" and .run > '"$before"')] | length')" -eq 0 ] ||
	fail "a run was started: $("$DEPOTFS" history "$work/mnt")"
unmount mnt
mount_depot mnt "$http_url" poll=0,on_change=none conf="$work/conf"
expect_errors mnt 'pre ended|post ended|run [0-9]+|cannot fetch|no source'

step "outside of its windows background work waits, readers do not"
printf '[windows never]\nallow = %s 00:00-00:01\ntz = UTC\n' \
	"$(date -u -d '3 days' +%a | tr '[:upper:]' '[:lower:]')" >>"$work/conf"
"$DEPOTFS" reload "$work/mnt"
random_file "$work/tree/pkg/b/big" 20000000
next_revision
"$DEPOTFS" sync "$work/mnt" --prefetch all --wait >"$work/sync.said" 2>&1 &
waiting=($!)
wait_for 60 has_phase fetching
held=$("$DEPOTFS" jobs "$work/mnt" --json | jq .runs[0].run)
sleep 2
has_phase fetching || fail "background work goes on outside of the windows: $(phase)"
shows 6 || fail "the mount was switched over"
assert_exit 0 "$DEPOTFS" jobs "$work/mnt"
assert_says 'until the window opens'
find "$work/mnt.cache/objects" -ignore_readdir_race -type f -delete
cmp "$work/tree/pkg/a/file" "$work/mnt/pkg/a/file"

step "who waits for a window is told so once, until when, and how to go on at once"
opens=$("$DEPOTFS" jobs "$work/mnt" --json | jq -r .window_changes)
# is_told FILE TEXT
is_told()
{
	grep -qE "^depotfs: $2: background fetching pauses, until one opens at $opens\. To go on at once" \
		"$work/$1"
}
wait_for 60 is_told sync.said "run $held waits for a window"
"$DEPOTFS" sync "$work/mnt" --prefetch none --wait >"$work/next.said" 2>&1 &
waiting+=($!)
"$DEPOTFS" prefetch "$work/mnt/pkg/a/1" >"$work/prefetch.said" 2>&1 &
waiting+=($!)
wait_for 60 is_told prefetch.said "prefetch waits for a window"
"$DEPOTFS" verify "$work/mnt/pkg/a/1" >"$work/verify.said" 2>&1 &
waiting+=($!)
wait_for 60 is_told verify.said "verify waits for a prefetch, which waits for a window"
wait_for 60 is_told next.said "run [0-9]+ waits for run $held; run $held waits for a window"
sed -i '/^\[windows/,$d' "$work/conf"
"$DEPOTFS" reload "$work/mnt"
wait_for 60 shows 7
assert_state "$work/mnt/pkg/b/big" cached
for pid in "${waiting[@]}"; do
	wait "$pid"
done
for file in sync next prefetch verify; do
	assert_equal "lines that tell of the window in $file.said" \
		"$(grep -c 'waits for a window' "$work/$file.said")" 1
done

step "what is said of going on at once is so"
printf '[windows never]\nallow = %s 00:00-00:01\ntz = UTC\n' \
	"$(date -u -d '3 days' +%a | tr '[:upper:]' '[:lower:]')" >>"$work/conf"
"$DEPOTFS" reload "$work/mnt"
next_revision
"$DEPOTFS" sync "$work/mnt" --prefetch all >/dev/null
wait_for 60 has_phase fetching
assert_exit 0 "$DEPOTFS" job cancel "$work/mnt" "$(last_run run)"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --prefetch none --wait
! grep 'waits for a window' "$work/said" || fail "a sync that fetches nothing waits"
shows 8 || fail "the sync without prefetch did not switch over"
sed -i '/^\[windows/,$d' "$work/conf"
"$DEPOTFS" reload "$work/mnt"
printf '[mirror]\ncolour = red\n' >"$work/conf"
assert_exit 1 "$DEPOTFS" reload "$work/mnt"
assert_says "line 2: there is no setting 'colour' \\($work/conf\\)"

step "a schedule runs at its minute"
ran() { "$DEPOTFS" history "$work/often" --json | jq -e 'any(.runs[]; .trigger == "schedule" and .job == "often")'; }
wait_for 180 ran
unmount often
unmount mnt

step "a run that waits for the channel's answer is cancelled at once"
start_bad_server "$work/depot" hang --only '/channel/*' --after 1
mount_depot mnt "$bad_url" poll=0,on_change=none,timeout=600
expect_errors mnt 'run [0-9]+|cannot fetch'
"$DEPOTFS" sync "$work/mnt" >/dev/null
runs() { [ "$(last_run state)" = running ]; }
wait_for 60 runs
waiting=$(last_run run)
sleep 0.3 # so that it has asked
assert_exit 0 "$DEPOTFS" job cancel "$work/mnt" "$waiting"
wait_for 60 is_idle
assert_equal "state" "$(last_run state)" cancelled
assert_equal "what it showed" "$(last_run revision_before)" "$(revision)"
unmount mnt
stop_bad_server

step "a log directory is one mirror's"
mkdir "$work/other"
assert_exit 1 "$DEPOTFS" mount "$http_url" "$work/other" \
	-o "key=$key,cache=$work/other.cache,logdir=$work/logs"
assert_says "is of the mirror on $work/mnt"

step "a policy that cannot be had is told once in the log, and in the status"
printf '[schedule late]\nwhen = daily at 23:00\n' >>"$work/policy"
"$DEPOTFS" policy "$work/depot" --set "$work/policy" --key-dir "$work/depot.keys" >/dev/null
rm -r "$work/depot/policy"
mount_depot mnt "$http_url" poll=1,on_change=none
expect_errors mnt 'policy|state.db'
forget_served
asked_thrice() { [ "$(asked)" -ge 3 ]; }
wait_for 60 asked_thrice
assert_equal "lines in the log" "$(grep -c 'policy cannot be taken up' "$work/mnt.log")" 1
assert_exit 0 "$DEPOTFS" status "$work/mnt"
assert_says '^policy +not taken up: policy/'

step "a history that is removed under the mount is written anew"
rm "$work/mnt.cache/state.db"
before=$(last_run run)
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
removed() { "$DEPOTFS" status "$work/mnt" | grep -q '^records +state.db was removed' -E; }
wait_for 60 removed
assert_exit 0 "$DEPOTFS" status "$work/mnt"
assert_says '^last error .*state.db.*, logged at [0-9-]+T'
unmount mnt
mount_depot mnt "$http_url" poll=0,on_change=none
expect_errors mnt 'policy|state.db'
assert_equal "the newest run" "$(last_run run)" $((before + 1))
assert_exit 0 "$DEPOTFS" job show "$work/mnt" 1
unmount mnt

step "a hook that would wait for itself is told so, and ends nothing"
cat >"$work/waits" <<-END
	#!/bin/sh
	"$DEPOTFS" sync "\$DEPOTFS_MOUNTPOINT" --wait; echo "wait: \$?"
	"$DEPOTFS" sync "\$DEPOTFS_MOUNTPOINT/." --dry-run; echo "dry: \$?"
	"$DEPOTFS" status "\$DEPOTFS_MOUNTPOINT" >/dev/null; echo "status: \$?"
END
chmod 755 "$work/waits"
mount_depot mnt "$http_url" poll=0,on_change=none,pre_sync="$work/waits",logdir="$work/shared"
expect_errors mnt 'policy|state.db'
next_revision
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
log=$work/shared/run-$(last_run run).log
assert_has "$log" 'a hook cannot wait for a sync of its own mount'
assert_has "$log" 'hook: wait: 2$'
assert_has "$log" 'hook: dry: 2$'
assert_has "$log" 'hook: status: 0$'
wait_for 60 is_idle
unmount mnt

step "a cache directory that is removed under the mount: reads go on, and what is wrong is said"
mount_depot mnt "$http_url" poll=0,on_change=none
expect_errors mnt 'cache directory|state.db|policy'
cat "$work/mnt/RELEASE" >/dev/null
next_revision
rm -r "$work/mnt.cache"
assert_exit 1 "$DEPOTFS" sync "$work/mnt" --wait
assert_says 'cannot be written into the cache directory: it was removed, unmount and mount again'
assert_exit 0 "$DEPOTFS" status "$work/mnt"
assert_says '^last error +what the channel offers cannot be written'
assert_equal "RELEASE as it is shown" "$(cat "$work/mnt/RELEASE")" $((published - 1))
cmp "$work/tree/pkg/a/1" "$work/mnt/pkg/a/1"
unmount mnt
mount_depot mnt "$http_url" poll=0,on_change=none
expect_errors mnt 'cache directory|policy|state.db'
assert_equal "RELEASE after the next mount" "$(cat "$work/mnt/RELEASE")" "$published"
unmount mnt

step "a mount that is told to end goes at once, while its hook goes on"
cat >"$work/slow" <<-END
	#!/bin/sh
	touch $work/slow.began
	while [ -e $work/hold ]; do sleep 0.02; done
	touch $work/slow.ended
END
chmod 755 "$work/slow"
touch "$work/hold"
mount_depot mnt "$http_url" poll=0,on_change=none,post_sync="$work/slow"
next_revision
assert_exit 0 "$DEPOTFS" sync "$work/mnt"
wait_for 60 test -e "$work/slow.began"
kill -TERM "${daemon[mnt]}"
is_gone() { ! is_mounted "$work/mnt"; }
wait_for 60 is_gone
timeout 60 ls "$work/mnt" >/dev/null || fail "what was a mount hangs"
[ ! -e "$work/slow.ended" ] || fail "the hook has ended before it was let go"
rm "$work/hold"
end_daemon mnt
[ -e "$work/slow.ended" ] || fail "the hook was not waited for"
