#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# sync: what a mount shows follows the master by jobs: incremental keeps what was dropped, full
# removes it from the mount and from the disk, the guard stops a mass deletion, and a job over
# some packages moves those. SYNC_OVER=https or =two (sources, of which one is http and one https).
. "${0%/*}/lib.sh"
need jq

# sync NAME [OPTION...]: and waits.
sync_mount()
{
	local name=$1
	shift
	assert_exit "${sync_status:-0}" "$DEPOTFS" sync "$work/$name" --wait "$@"
}

revision_of() { xattr "$1" revision; }
json() { "$DEPOTFS" "$1" "$work/mnt" --json | jq -r "$2"; }

# objects: what lies on the mirror's disk, by digest.
objects() { find "$work/mnt.cache/objects" -ignore_readdir_race -type f ! -name 'tmp-*' -printf '%f\n' | sort; }

# digests TREE: of what a tree's files hold.
digests() { find "$1" -type f -size +0 -exec sha256sum {} + | cut -d' ' -f1 | sort -u; }

version() # PACKAGE NUMBER
{
	local i
	for ((i = 0; i < 10; i++)); do
		random_file "$work/tree/pkg/$1/$2/file-$i" $((3000 + i))
	done
	printf '%s %s\n' "$1" "$2" >"$work/tree/pkg/$1/$2/VERSION"
}

step "a mount of revision 1, followed by hand"
for name in a b c; do version $name 1.0; done
printf 'read me\n' >"$work/tree/README"
publish depot "$work/tree" --packages 'pkg/*/*'
start_nginx "$work/depot"
case ${SYNC_OVER:-http} in
http) urls=$http_url ;;
https) urls=$https_url ;;
two) urls=$http_url,$https_url ;;
esac
mount_mirror() { mount_depot mnt "$urls" poll=0,on_change=none,cafile="$cafile"; }
mount_mirror
assert_same "$work/tree" "$work/mnt"
assert_equal revision "$(revision_of "$work/mnt/pkg/a/1.0")" 1

step "nothing new: a sync that does nothing"
sync_mount mnt
assert_says 'revision 1: 0 added, 0 changed, 0 removed'
assert_same_again "$work/mnt"

step "a dry run lists what would change, and changes nothing"
version a 2.0
rm -r "$work/tree/pkg/b/1.0"
printf 'read me again\n' >"$work/tree/README"
publish depot "$work/tree" --packages 'pkg/*/*'
assert_exit 0 "$DEPOTFS" sync "$work/mnt" --dry-run --full
assert_says '^added +pkg/a/2.0/VERSION$'
assert_says '^removed +pkg/b/1.0/file-3$'
assert_says '^changed +README$'
[ ! -e "$work/mnt/pkg/a/2.0" ] || fail "a dry run changes the mount"
assert_equal revision "$(json status .revision)" 1

step "incremental: the new appears, the dropped stays, as stale, and readable"
sync_mount mnt --incremental
assert_says '12 added|1[0-9] added'
cmp "$work/tree/pkg/a/2.0/VERSION" "$work/mnt/pkg/a/2.0/VERSION"
cmp "$work/tree/README" "$work/mnt/README"
assert_equal "a dropped file" "$(cat "$work/mnt/pkg/b/1.0/VERSION")" "b 1.0"
cat "$work"/mnt/pkg/b/1.0/file-* | wc -c >"$work/stale.bytes"
assert_state "$work/mnt/pkg/b/1.0/VERSION" stale
assert_state "$work/mnt/pkg/b/1.0" stale
assert_equal revision "$(revision_of "$work/mnt/pkg/a/2.0")" 2
[ "$(json status .revision)" -eq 2 ] || fail "status: $("$DEPOTFS" status "$work/mnt" --json)"

step "a restart keeps the mixture"
unmount mnt
mount_mirror
assert_equal "a dropped file" "$(cat "$work/mnt/pkg/b/1.0/VERSION")" "b 1.0"
assert_state "$work/mnt/pkg/b/1.0/VERSION" stale

step "catalogs that the disk cannot read: no mount, and what was stale is not given up"
unmount mnt
find mnt.cache/catalog -type f >catalogs
while read -r file; do
	mv "$file" "$file.away"
	mkdir "$file" # opens, and cannot be mapped
done <catalogs
assert_exit 1 "$DEPOTFS" mount "$http_url" "$work/mnt" -o "key=$key,cache=$work/mnt.cache,poll=0"
assert_says 'root catalog of what was shown last, revision 2, cannot be opened: .*; nothing is changed'
while read -r file; do
	rmdir "$file"
	mv "$file.away" "$file"
done <catalogs
mount_mirror
assert_equal "a dropped file" "$(cat "$work/mnt/pkg/b/1.0/VERSION")" "b 1.0"
assert_state "$work/mnt/pkg/b/1.0/VERSION" stale

step "full: exactly the master's tree, in the mount and on the disk"
# what is read lands shortly
digests "$work/mnt" >"$work/shown"
all_landed() { [ -z "$(objects | comm -23 "$work/shown" -)" ]; }
wait_for 60 all_landed
objects >"$work/before"
sync_mount mnt --full
assert_same "$work/tree" "$work/mnt"
[ ! -e "$work/mnt/pkg/b/1.0" ] || fail "a dropped package is still there"
digests "$work/tree" >"$work/wanted"
for _ in {1..600}; do
	objects >"$work/after"
	! cmp -s "$work/wanted" "$work/after" || break
	sleep 0.05
done
diff "$work/wanted" "$work/after" || fail "the disk holds something else than the tree"
[ "$(comm -23 "$work/before" "$work/after" | wc -l)" -ge 11 ] ||
	fail "the dropped content was never on the disk"
assert_exit 0 "$DEPOTFS" history "$work/mnt"

step "a glob that no package matches is refused by name, and changes nothing"
expect_errors mnt 'no package matches'
sync_status=1 sync_mount mnt --package 'pkg/a/*' --package 'pkg/typo/*'
assert_says "no package matches 'pkg/typo/\*'"
assert_exit 1 "$DEPOTFS" sync "$work/mnt" --dry-run --package 'pkg/typo/*'
assert_says "no package matches 'pkg/typo/\*'"

step "a job over one package moves that one"
version a 3.0
version c 2.0
publish depot "$work/tree" --packages 'pkg/*/*'
sync_mount mnt --package 'pkg/c/*'
cmp "$work/tree/pkg/c/2.0/VERSION" "$work/mnt/pkg/c/2.0/VERSION"
[ ! -e "$work/mnt/pkg/a/3.0" ] || fail "a package that was not selected has moved"
assert_equal revision "$(revision_of "$work/mnt/pkg/c/2.0")" 3
assert_equal revision "$(revision_of "$work/mnt/pkg/a/2.0")" 2
assert_exit 3 "$DEPOTFS" report "$work/mnt"
unmount mnt
mount_mirror
assert_equal "revision after a restart" "$(revision_of "$work/mnt/pkg/c/2.0")" 3
assert_equal "revision after a restart" "$(revision_of "$work/mnt/pkg/a/2.0")" 2
sync_mount mnt
assert_same "$work/tree" "$work/mnt"
assert_equal revision "$(revision_of "$work/mnt/pkg/a/2.0")" 3

step "the guard stops an incremental sync, too, that a directory's replacement would make remove"
mv "$work/tree" "$work/whole"
mkdir -p "$work/tree/pkg"
printf 'gone\n' >"$work/tree/pkg/a"
publish depot "$work/tree" --packages 'pkg/*/*'
expect_errors mnt 'guard'
sync_status=1 sync_mount mnt --incremental
assert_says 'guard'
[ -d "$work/mnt/pkg/a/2.0" ] || fail "the guard came too late"
rm -r "$work/tree"
mv "$work/whole" "$work/tree"

step "the guard stops the publish of an emptied tree, and lets it through once"
mkdir "$work/empty"
publish depot "$work/empty" --packages 'pkg/*/*'
expect_errors mnt 'guard'
sync_status=1 sync_mount mnt
assert_says 'guard'
assert_says 'allow-delete'
assert_same "$work/tree" "$work/mnt"
sync_mount mnt --allow-delete
assert_equal "entries left" "$(find "$work/mnt" | wc -l)" 1
assert_equal "objects left" "$(objects | wc -l)" 0

step "an empty glob is refused: it does not come to mean everything"
assert_exit 1 "$DEPOTFS" sync "$work/mnt" --wait --package "$(true)"
assert_says 'glob is empty'
assert_exit 2 "$DEPOTFS" schedule add "$work/mnt" x --when 'daily at 02:00' --package ''

step "what was published by mistake comes back"
publish depot "$work/tree" --packages 'pkg/*/*'
sync_mount mnt
assert_same "$work/tree" "$work/mnt"

step "the guard stops an incremental sync that removes: a file came in a directory's place"
mv "$work/tree/pkg" "$work/pkg"
printf 'no directory\n' >"$work/tree/pkg"
publish depot "$work/tree" --packages 'pkg/*/*'
sync_status=1 sync_mount mnt --incremental
assert_says 'guard'
[ -f "$work/mnt/pkg/a/3.0/VERSION" ] || fail "the packages are gone"
assert_equal "removed by a run that was stopped" "$("$DEPOTFS" history "$work/mnt" --json |
	jq '.runs[0].removed')" 0
assert_exit 3 "$DEPOTFS" report "$work/mnt" --json
grep -q '"last_error":.*guard' "$work/said" ||
	fail "the report does not tell that the guard stands in the way"
sync_mount mnt --incremental --allow-delete
assert_same "$work/tree" "$work/mnt"
rm "$work/tree/pkg"
mv "$work/pkg" "$work/tree/pkg"
publish depot "$work/tree" --packages 'pkg/*/*'
sync_mount mnt
assert_same "$work/tree" "$work/mnt"

step "what is pinned is fetched, whatever the policy; what is promised and not here falls short"
assert_exit 0 "$DEPOTFS" pin "$work/mnt/pkg/a"
version a 4.0
random_file "$work/tree/pkg/c/2.0/file-1" 4000
publish depot "$work/tree" --packages 'pkg/*/*'
sync_mount mnt --prefetch none
assert_state "$work/mnt/pkg/a/4.0/file-3" pinned
assert_state "$work/mnt/pkg/c/2.0/file-1" remote
assert_exit 0 "$DEPOTFS" report "$work/mnt"
[[ $(xattr "$work/mnt" last_sync) == 20??-* ]] || fail "last_sync is '$(xattr "$work/mnt" last_sync)'"
assert_equal last_error "$(xattr "$work/mnt" last_error)" ""
printf '[mirror]\nprefetch = pkg/c/*\n' >"$work/conf"
unmount mnt
mount_depot mnt "$http_url" poll=0,on_change=none,conf="$work/conf"
assert_exit 3 "$DEPOTFS" report "$work/mnt"
sync_mount mnt
assert_state "$work/mnt/pkg/c/2.0/file-1" cached
assert_exit 0 "$DEPOTFS" report "$work/mnt"

step "what the disk damages, a full sync finds and fetches again"
object=$(xattr "$work/mnt/pkg/c/2.0/file-1" digest)
object=$work/mnt.cache/objects/${object:0:2}/$object
printf 'damage' | dd of="$object" conv=notrunc status=none
truncate -s 100 "$work/mnt.cache/objects/"??/"$(xattr "$work/mnt/pkg/a/4.0/file-3" digest)"
expect_errors mnt 'damaged|not whole|removed'
sync_mount mnt --deep
cmp "$work/tree/pkg/c/2.0/file-1" "$object"
assert_state "$work/mnt/pkg/a/4.0/file-3" pinned
assert_exit 0 "$DEPOTFS" history "$work/mnt" --run "$("$DEPOTFS" history "$work/mnt" --json --limit 1 |
	jq '.runs[0].run')" --changes
assert_says 'repaired +pkg/c/2.0/file-1'
unmount mnt

step "versions that share most of their files: what they share is fetched once"
mkdir -p "$work/versions/pkg/d/1"
for ((i = 0; i < 200; i++)); do
	random_file "$work/versions/pkg/d/1/file-$i" 20000
done
for ((i = 2; i <= 12; i++)); do
	cp -a "$work/versions/pkg/d/1" "$work/versions/pkg/d/$i"
	random_file "$work/versions/pkg/d/$i/file-$i" 20000
done
publish versions.depot "$work/versions" --packages 'pkg/*/*'
mount_depot versions.mnt "file://$work/versions.depot" poll=0,on_change=none
sync_mount versions.mnt --prefetch all
fetched=$("$DEPOTFS" history "$work/versions.mnt" --json | jq '[.. | .bytes_fetched? // empty] | add')
packed=$(find "$work/versions.depot/pack" -type f -printf '%s\n' | awk '{ s += $1 } END { print s }')
# a frame that holds the file of one version among the files of all comes a second time
assert_less "bytes fetched" "$fetched" $((packed * 3 / 2))
unmount versions.mnt
