#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# hostile: heads that are rightly signed and name catalogs that are wrong in themselves or do not
# belong where they hang, over HTTP. A sync refuses the revision as a whole, and readers see nothing
# of it; a mirror that had nothing shows what is sound and gets out of it. And what is kept beside
# what is new, where one is a file and the other a directory.
. "${0%/*}/lib.sh"
need jq
: "${HOSTILE_DEPOT:=${DEPOTFS%/fs/*}/tests/support/hostile_depot}"

hostile() { "$HOSTILE_DEPOT" "$work/depot" "$work/depot.keys/depot" "$1"; }
shown() { "$DEPOTFS" status "$work/mnt" --json | jq "$1"; }
mount_mirror() { mount_depot mnt "$http_url" poll=0,on_change=none,guard_share=100,timeout=20; }

step "a sound tree"
mkdir -p tree/pkg/a
printf 'read me\n' >tree/README
printf 'one\n' >tree/pkg/a/VERSION
globs=(--packages pkg --packages 'pkg/*' --packages 'pkg/*/*')
publish depot "$work/tree" "${globs[@]}"
cp -a depot good
start_nginx "$work/depot"
mount_mirror
assert_same "$work/tree" "$work/mnt"

refused() # CASE PATTERN-OF-THE-REASON
{
	local before
	step "refused: $1"
	before=$(now_ms)
	hostile "$1"
	expect_errors mnt 'signed for but not sound|cannot compare revision'
	for mode in --incremental --full; do
		assert_exit 1 "$DEPOTFS" sync "$work/mnt" --wait $mode
	done
	assert_exit 1 "$DEPOTFS" sync "$work/mnt" --wait --package 'pkg/*'
	assert_less "ms until $1 is refused" $(($(now_ms) - before)) 200000
	assert_has mnt.log "signed for but not sound \($2\)" "the log"
	assert_equal "the revision that is shown" "$(shown .revision)" 1
	shown .last_error | grep -q '[^"]' || fail "status tells no error"
	assert_same_again "$work/mnt"
	: >mnt.log
}

refused composed 'it says that a mirror composed it'
refused stale 'an entry is stale, which only a mirror may say'
refused twice 'a directory is not in order'
refused entries 'its totals are not those of its entries'
refused claims 'its totals are not those that the one above it says'
refused path 'it is of another path than where it hangs'
refused itself 'it is of another path than where it hangs'
refused bomb 'it is of another path than where it hangs'
[ -z "$(find mnt.cache/objects -type f -exec grep -l hostile {} +)" ] || fail "content of what was refused is here"

step "after all of these, what is sound is shown"
hostile sound
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
assert_equal README "$(cat mnt/README)" hostile
assert_equal VERSION "$(cat mnt/pkg/a/VERSION)" hostile
unmount mnt

step "a mirror that has nothing yet shows what is sound, and goes on from there"
for case in twice path claims; do
	rm -rf mnt.cache
	hostile $case
	mount_mirror
	assert_equal README "$(cat mnt/README)" hostile
	assert_exit 2 ls mnt/pkg/a
	assert_says 'Input/output error'
	hostile sound
	assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait
	assert_equal VERSION "$(cat mnt/pkg/a/VERSION)" hostile
	unmount mnt
done
stop_nginx
expect_errors mnt ''
rm -rf mnt.log mnt.stderr mnt.cache depot
mv good depot

step "a file that became a package, and a package that became a file"
mkdir -p tree/pkg/dir/1
printf 'dir\n' >tree/pkg/dir/1/VERSION
printf 'file\n' >tree/pkg/file
printf 'lower\n' >tree/pkg/a/name
printf 'upper\n' >tree/pkg/a/Name
publish depot "$work/tree" "${globs[@]}"
start_nginx "$work/depot"
mount_mirror
assert_same "$work/tree" "$work/mnt" # names that differ in case are two names
cp -a tree old
rm -r tree/pkg/dir tree/pkg/file
mkdir -p tree/pkg/file/1
printf 'a package\n' >tree/pkg/file/1/VERSION
printf 'a file\n' >tree/pkg/dir
publish depot "$work/tree" "${globs[@]}"

step "a job over what became a package: the new one, beside what is kept"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait --incremental --package 'pkg/file/*'
cmp tree/pkg/file/1/VERSION mnt/pkg/file/1/VERSION
cmp old/pkg/dir/1/VERSION mnt/pkg/dir/1/VERSION
assert_equal "names of pkg" "$(ls mnt/pkg)" "$(ls tree/pkg)"

step "a job over what was a package and is below a file now: it stays, as stale"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait --incremental --package 'pkg/dir/*'
cmp old/pkg/dir/1/VERSION mnt/pkg/dir/1/VERSION
assert_state mnt/pkg/dir/1/VERSION stale

step "everything, incremental: the file takes the directory's place"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait --incremental
cmp tree/pkg/dir mnt/pkg/dir
cmp tree/pkg/file/1/VERSION mnt/pkg/file/1/VERSION
unmount mnt
mount_mirror
cmp tree/pkg/dir mnt/pkg/dir
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait --full
assert_same "$work/tree" "$work/mnt"

step "and back, the same way"
cp -a tree new
rm -r tree
cp -a old tree
publish depot "$work/tree" "${globs[@]}"
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait --incremental --package 'pkg/dir/*'
cmp tree/pkg/dir/1/VERSION mnt/pkg/dir/1/VERSION
cmp new/pkg/file/1/VERSION mnt/pkg/file/1/VERSION
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --wait --full
assert_same "$work/tree" "$work/mnt"
unmount mnt
