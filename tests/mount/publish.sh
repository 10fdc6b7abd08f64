#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# publish: trees that change, disks that fill, publishers that meet or are killed. The depot is
# as it was before, `check` finds nothing, and the next publish completes.
. "${0%/*}/lib.sh"

revisions() { "$DEPOTFS" log "$work/$1" --json | jq '.revisions | length'; }
assert_clean()
{
	"$DEPOTFS" check "$work/$1" --deep >"$work/said" 2>&1 || fail "check: $(cat "$work/said")"
	assert_has "$work/said" decoded "the deep check"
}
# a command and no function: what is killed must be depotfs, and not a shell that runs it
try_publish=("$DEPOTFS" publish "$work/depot" "$work/tree" --key-dir "$work/depot.keys")

step "a first revision"
BIG_BYTES=12000000
make_tree "$work/tree"
publish depot "$work/tree" "${tree_packages[@]}"
assert_equal revisions "$(revisions depot)" 1
assert_clean depot

step "a dry run writes nothing"
printf 'more\n' >>tree/README
find depot -type f -not -path '*/.publisher/*' | sort | xargs sha256sum >before
"${try_publish[@]}" --dry-run >said
find depot -type f -not -path '*/.publisher/*' | sort | xargs sha256sum | diff before -
publish depot "$work/tree"
assert_equal revisions "$(revisions depot)" 2
publish depot "$work/tree"
assert_equal "revisions after a publish of nothing" "$(revisions depot)" 2

step "a file that changes while it is read is named, and never published torn"
changing=$work/tree/pkg/big/1.0/big.bin
perl -e 'open(F, "+<", $ARGV[0]) or die; open(M, ">", $ARGV[1]);
	for ($i = 0; ; $i++) { sysseek(F, $i * 8 % 8000000, 0); syswrite(F, sprintf("%08d", $i)); }' \
	"$changing" "$work/changes" &
changer=$!
processes+=("$changer")
wait_for 60 test -e "$work/changes"
assert_exit 1 "${try_publish[@]}"
assert_says 'big\.bin'
assert_equal revisions "$(revisions depot)" 2
end_process $changer
assert_clean depot
publish depot "$work/tree"
assert_equal revisions "$(revisions depot)" 3

step "a socket is left out with a warning"
mkdir sockets
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => "sockets/listener", Listen => 1) or die'
[ -S sockets/listener ] || fail "no socket was made"
publish without "$work/sockets"
grep -i 'warning' publish.out | grep -q socket || fail "no warning: $(tail -n 5 publish.out)"

step "two publishers exclude each other"
random_file tree/new.bin 30000000
"${try_publish[@]}" --level 19 >first.out 2>&1 & # slowly
first=$!
processes+=("$first")
has_lock() { awk -v pid=$first '$2 == "FLOCK" && $5 == pid { f = 1 } END { exit !f }' /proc/locks; }
wait_for 60 has_lock
kill -STOP $first || fail "the first publisher is too fast: $(cat first.out)"
second=0
timeout 300 "${try_publish[@]}" >said 2>&1 || second=$?
kill -CONT $first
wait $first || fail "the first publisher: $(cat first.out)"
if [ $second -ne 1 ]; then
	fail "the second publisher ends with $second: $(cat said)"
fi
assert_has said "$first|another|in use" "the second publisher"
assert_clean depot

step "a full disk"
mkdir disk
mount -t tmpfs -o size=12m tmpfs disk
random_file small/a.bin 3000000
"$DEPOTFS" init "$work/disk/depot" --name full --key-dir "$work/full.keys" >/dev/null
"$DEPOTFS" publish "$work/disk/depot" "$work/small" --key-dir "$work/full.keys" >/dev/null 2>&1
before_full=$(revisions disk/depot)
assert_exit 1 "$DEPOTFS" publish "$work/disk/depot" "$work/tree" --key-dir "$work/full.keys"
assert_says 'full|[Nn]o space'
assert_equal revisions "$(revisions disk/depot)" "$before_full"
assert_clean disk/depot
mount -o remount,size=200m disk
"$DEPOTFS" publish "$work/disk/depot" "$work/tree" --key-dir "$work/full.keys" >said 2>&1 ||
	fail "with room again: $(cat said)"
assert_clean disk/depot

step "killed at twenty moments"
killed=0
# grow ROUND: what a publish then has to do, in as many ms as the first one took
grow()
{
	random_file "tree/round-$1/a.bin" 4000000
	cp -r tree/pkg/small "tree/round-$1/"
}
grow 0
before=$(now_ms)
"${try_publish[@]}" --level 9 >said 2>&1 || fail "publish: $(cat said)"
span_ms=$(($(now_ms) - before)) # and less where one turns out to take less
for i in {1..20}; do
	grow "$i"
	was=$(revisions depot)
	"${try_publish[@]}" --level 9 >killed.out 2>&1 &
	victim=$!
	ms=$((RANDOM % (span_ms * 5 / 4)))
	sleep $((ms / 1000)).$(printf '%03d' $((ms % 1000)))
	kill -KILL $victim 2>/dev/null || true
	status=0
	wait $victim 2>/dev/null || status=$?
	if [ $status -eq 137 ]; then
		killed=$((killed + 1))
	else
		span_ms=$((span_ms * 3 / 4 + 1))
	fi
	now=$(revisions depot)
	[ "$now" -eq "$was" ] || [ "$now" -eq $((was + 1)) ] || fail "from $was revisions to $now"
	"$DEPOTFS" check "$work/depot" >said 2>&1 || fail "after kill $i: $(cat said)"
	"${try_publish[@]}" --level 9 >said 2>&1 || fail "publishing after kill $i: $(cat said)"
done
say "        $killed of 20 were killed before their end"
[ $killed -ge 5 ] || fail "only $killed of 20 were killed"
assert_clean depot

step "a policy is published, shown, kept by the next publish, and cleared"
policy=("$DEPOTFS" policy "$work/depot")
printf '[schedule nightly]\nwhen = daily at 02:00\nevery = night\n' >policy.ini
assert_exit 1 "${policy[@]}" --set "$work/policy.ini" --key-dir "$work/depot.keys"
assert_says 'policy.ini: line 3: '
printf '[schedule nightly]\nlabel = site:oslo\nwhen = second tuesday + 4 days at 02:00\n' >policy.ini
"${policy[@]}" --set "$work/policy.ini" --key-dir "$work/depot.keys" >/dev/null
printf 'more\n' >>tree/README
publish depot "$work/tree"
"${policy[@]}" --show | cmp - policy.ini
assert_clean depot
"${policy[@]}" --clear --key-dir "$work/depot.keys" >/dev/null
[ -z "$("${policy[@]}" --show 2>/dev/null)" ] || fail "there is still a policy"
assert_clean depot

step "what came of it reads like the tree"
key=$work/depot.keys/depot.pub
mount_depot mnt "file://$work/depot"
assert_same "$work/tree" "$work/mnt"
unmount mnt
