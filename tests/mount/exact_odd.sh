#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# exact_odd: everything a file system can hold arrives as it was, byte by byte and attribute
# by attribute, in its first and in its second version.
. "${0%/*}/lib.sh"

# same_by_diff: special files cannot be compared by content, and diff(1) says so of two equal
# ones; the manifests have compared them. Paths beyond PATH_MAX are not for diff either.
same_by_diff()
{
	diff -r --no-dereference "$work/tree" "$work/mnt" >"$work/diff" 2>"$work/diff.errors" || true
	grep -vE '^File .* is a (fifo|character special file|block special file) while file .* is a \1$' \
		"$work/diff" >"$work/diff.rest" || true
	[ ! -s "$work/diff.rest" ] || fail "diff: $(head -n 10 "$work/diff.rest")"
	grep -v 'File name too long' "$work/diff.errors" >"$work/diff.rest" || true
	[ ! -s "$work/diff.rest" ] || fail "diff: $(head -n 10 "$work/diff.rest")"
}

step "the odd tree over http"
"$ODD" "$work/tree"
publish odd "$work/tree" --packages 'packages/*/*'
start_nginx "$work/odd"
mount_depot mnt "$http_url"
assert_same "$work/tree" "$work/mnt"
step "and again, from the cache"
assert_same_again "$work/mnt"
step "compared with diff"
same_by_diff
unmount mnt

step "publishing it again says that nothing changed"
publish odd "$work/tree"
assert_has "$work/publish.out" 'nothing|unchanged|no change' "the second publish"
assert_equal revisions "$("$DEPOTFS" log "$work/odd" --json | jq '.revisions | length')" 1

step "its second version, with a fresh cache"
"$ODD" --mutate "$work/tree"
publish odd "$work/tree"
rm -rf "$work/mnt.cache"
mount_depot mnt "$http_url"
assert_same "$work/tree" "$work/mnt"
unmount mnt

step "the depot is in order"
"$DEPOTFS" check "$work/odd" --deep >"$work/said" 2>&1 || fail "check: $(cat "$work/said")"
