#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# exact_real: adjacent versions of real npm and Debian packages, over every protocol.
. "${0%/*}/lib.sh"

status=0
"$source_dir/tests/trees/fetch" >"$work/fetch.out" 2>&1 || status=$?
[ $status -ne 77 ] || skip "$(tail -n 1 "$work/fetch.out" | sed 's/^SKIP: //')"
[ $status -eq 0 ] || fail "fetch: $(tail -n 5 "$work/fetch.out")"
tree=$(tail -n 1 "$work/fetch.out")

step "publishing $(du -sh "$tree" | cut -f1) of packages"
publish depot "$tree" --packages 'npm/[!@]*/*' --packages 'npm/@*/*/*' --packages 'deb/*/*'
tail -n 3 "$work/publish.out"
start_nginx "$work/depot"

step "all of it over http"
mount_depot mnt "$http_url"
assert_same "$tree" "$work/mnt"
step "compared with diff, from the cache"
diff -r --no-dereference "$tree" "$work/mnt"
assert_state "$work/mnt" cached
unmount mnt

step "all of it over https, with a CA of our own"
rm -rf "$work/mnt.cache"
mount_depot mnt "$https_url" cafile="$cafile"
assert_same_again "$work/mnt"
unmount mnt
stop_nginx

# a package of each kind
part() { (cd "$1" && printf '%s\n' deb/*/* npm/date-fns/* | sed -n '1p;$p'); }
start_sftp "$work/depot"
for source in sftp file; do
	step "a part over $source"
	rm -rf "$work/mnt.cache"
	if [ $source = sftp ]; then
		mount_depot mnt "$sftp_url" "${sftp_options[@]}"
	else
		mount_depot mnt "file://$work/depot"
	fi
	assert_equal "packages in the part" "$(part "$work/mnt")" "$(part "$tree")"
	for package in $(part "$tree"); do
		assert_same "$tree/$package" "$work/mnt/$package"
	done
	assert_state "$work/mnt" partial
	unmount mnt
done
