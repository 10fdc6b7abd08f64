#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# onward: who goes through one package after the other finds the next ones here; who takes one
# package, or one file of each, causes no more than that to be fetched.
. "${0%/*}/lib.sh"

# package PATH FILES BYTES
package()
{
	local i
	mkdir -p "$work/tree/$1"
	for ((i = 0; i < $2; i++)); do
		random_file "$work/tree/$1/file-$i.bin" "$3"
	done
}

# read_all NAME PACKAGE: all its files, compared.
read_all() { diff -r "$work/tree/$2" "$work/$1/$2" || fail "$2 is not what was published"; }

step "seven packages of files that do not compress, not all at the same depth"
package pkg/a/1.0 40 12000
package pkg/b/1.0 40 12000
package pkg/b/2.0 40 12000
package pkg/c/sub/1.0 3 4000000
package pkg/d/1.0 40 12000
package pkg/e/1.0 40 12000
package pkg/f/1.0 40 12000
printf 'between the packages\n' >"$work/tree/pkg/b.txt"
mkdir "$work/tree/pkg/empty"
publish depot "$work/tree" --packages 'pkg/[abdef]/*' --packages 'pkg/c/*/*'
start_nginx "$work/depot"

step "one package costs one package"
mount_depot mnt "$http_url"
find "$work/mnt" >/dev/null
forget_served
read_all mnt pkg/a/1.0
sleep 1
assert_state "$work/mnt/pkg/b/1.0" remote
assert_less "bytes for a package of 480,000" "$(served)" 600000

step "behind the second one in a row come the next ones, four times as much as was read"
# No more than it comes through in eight seconds: on a machine so busy that it comes through less than the
# next one, it is tried again.
walk_two()
{
	local before
	unmount mnt
	rm -rf "$work/mnt.cache"
	mount_depot mnt "$http_url"
	find "$work/mnt" >/dev/null
	forget_served
	before=$(now_ms)
	read_all mnt pkg/a/1.0
	read_all mnt pkg/b/1.0
	[ $(($(now_ms) - before)) -lt 7000 ]
}
for try in 1 2 3 4 5; do
	! walk_two || break
	[ $try -lt 5 ] || skip "this machine is too busy to go through two packages in 7 s"
done
assert_state "$work/mnt/pkg/b/2.0" cached
assert_state "$work/mnt/pkg/c/sub/1.0" partial
sleep 1
bytes=$(served)
say "        $bytes bytes served for 960,000 that were read"
assert_less "bytes" "$bytes" 6000000
assert_state "$work/mnt/pkg/d/1.0" remote

step "what has come so is right, and is not asked for again; also over what is between, to the end"
forget_served
read_all mnt pkg/b/2.0
read_all mnt pkg/c/sub/1.0
for package in pkg/d/1.0 pkg/e/1.0 pkg/f/1.0; do
	wait_for 60 has_state "$work/mnt/$package" cached
	read_all mnt $package
done
bytes=$((bytes + $(served)))
say "        $bytes bytes served for 14,880,000"
assert_less "bytes" "$bytes" 15200000
unmount mnt

step "one file of each package is no walk"
mount_depot few "$http_url"
find "$work/few" >/dev/null
for package in pkg/a/1.0 pkg/b/1.0 pkg/b/2.0 pkg/c/sub/1.0 pkg/d/1.0; do
	cmp "$work/tree/$package/file-0.bin" "$work/few/$package/file-0.bin"
done
sleep 1
assert_state "$work/few/pkg/e/1.0" remote
unmount few

step "backwards is no walk"
mount_depot back "$http_url"
find "$work/back" >/dev/null
for package in pkg/f/1.0 pkg/e/1.0 pkg/d/1.0; do read_all back $package; done
sleep 1
assert_state "$work/back/pkg/c/sub/1.0" remote
assert_state "$work/back/pkg/b/2.0" remote
unmount back

step "where the kernel opens without asking it is the same"
mount_depot none "$http_url" open=none
find "$work/none" >/dev/null
read_all none pkg/a/1.0
read_all none pkg/b/1.0
assert_state "$work/none/pkg/b/2.0" cached
read_all none pkg/b/2.0
unmount none

step "while a window is closed for the background, nobody is run ahead of"
printf '[windows never]\nallow = %s 00:00-00:01\ntz = UTC\n' \
	"$(date -u -d '3 days' +%a | tr '[:upper:]' '[:lower:]')" >"$work/conf"
mount_depot shut "$http_url" conf="$work/conf"
find "$work/shut" >/dev/null
read_all shut pkg/a/1.0
read_all shut pkg/b/1.0
sleep 1
assert_state "$work/shut/pkg/b/2.0" remote
: >"$work/conf"
"$DEPOTFS" reload "$work/shut"
read_all shut pkg/b/2.0
read_all shut pkg/c/sub/1.0
wait_for 60 has_state "$work/shut/pkg/d/1.0" cached
unmount shut
