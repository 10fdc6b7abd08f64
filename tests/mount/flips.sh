#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# flips: revision after revision of the real tree, while readers loop over the mount: each finds
# every package whole and every byte right; memory and descriptors stay flat. FLIPS=50 for
# all that is promised (12 by default), FLIPS_ALL=1 with the largest package in the tree, too,
# FLIP_OPTIONS=open=none for more options of the mount.
. "${0%/*}/lib.sh"
need jq
: "${FLIP_READER:=${DEPOTFS%/fs/*}/tests/support/flip_reader}"
flips=${FLIPS:-12}
readers=8

status=0
"$source_dir/tests/trees/fetch" >"$work/fetch.out" 2>&1 || status=$?
[ $status -ne 77 ] || skip "$(tail -n 1 "$work/fetch.out" | sed 's/^SKIP: //')"
[ $status -eq 0 ] || fail "fetch: $(tail -n 5 "$work/fetch.out")"
real=$(tail -n 1 "$work/fetch.out")

step "packages that change between real versions"
globs=(--packages 'npm/[!@]*/*' --packages 'npm/@*/*/*' --packages 'deb/*/*')
mkdir -p "$work/tree/npm/date-fns" "$work/tree/npm/typescript"
cp -a "$real/deb" "$work/tree/"
cp -a "$real/npm/date-fns/3.5.0" "$work/tree/npm/date-fns/"
[ -z "${FLIPS_ALL:-}" ] || cp -a "$real/npm/@mui" "$work/tree/npm/"
slots=()
: >"$work/valid"
for name in date-fns typescript; do
	versions=("$real/npm/$name"/*)
	for slot in one two three; do
		slots+=("$name/$slot")
		cp -a "${versions[0]}" "$work/tree/npm/$name/$slot"
		for version in "${versions[@]}"; do
			printf 'npm/%s/%s %s\n' "$name" $slot "$("$FLIP_READER" --fingerprint "$version")"
		done >>"$work/valid"
	done
done
for package in "$real"/deb/*/*; do
	printf '%s %s\n' "${package#"$real/"}" "$("$FLIP_READER" --fingerprint "$package")"
done >>"$work/valid"
publish depot "$work/tree" "${globs[@]}"
start_nginx "$work/depot"
mount_depot mnt "$http_url" poll=1,on_change=full,guard_share=100${FLIP_OPTIONS:+,$FLIP_OPTIONS}

memory() { awk '/^(RssAnon|RssShmem):/ { s += $2 } END { print s }' "/proc/${daemon[mnt]}/status"; }
resident() { awk '/^VmRSS:/ { print $2 }' "/proc/${daemon[mnt]}/status"; }
# one that is closed while find looks at it is no failure
descriptors() { { find "/proc/${daemon[mnt]}/fd" -maxdepth 1 -type l 2>/dev/null || true; } | wc -l; }
shows() { [ "$("$DEPOTFS" status "$work/mnt" --json | jq .revision)" -ge "$1" ]; }

step "$flips revisions under $readers readers"
"$FLIP_READER" "$work/mnt" "$work/valid" 100000 $readers >"$work/readers.out" 2>&1 &
reader=$!
processes+=($reader)
for ((flip = 1; flip <= flips; flip++)); do
	for _ in 1 2; do
		slot=${slots[RANDOM % ${#slots[@]}]}
		versions=("$real/npm/${slot%/*}"/*)
		rm -rf "${work:?}/tree/npm/$slot"
		cp -a "${versions[RANDOM % ${#versions[@]}]}" "$work/tree/npm/$slot"
	done
	printf 'revision %s\n' $flip >"$work/tree/RELEASE"
	publish depot "$work/tree" "${globs[@]}"
	wait_for 600 shows $((flip + 1))
	assert_equal "RELEASE" "$(cat "$work/mnt/RELEASE")" "revision $flip"
	is_running $reader || fail "a reader has ended: $(tail -n 5 "$work/readers.out")"
	case $flip in
	$((flips / 5)) | $((flips / 2)) | "$flips")
		memory_after=$(memory)
		descriptors_after=$(descriptors)
		: "${memory_before:=$memory_after}" "${descriptors_before:=$descriptors_after}"
		say "        at revision $flip: resident $(resident) KiB, of it private $memory_after; $descriptors_after descriptors"
		;;
	esac
done

step "the readers found nothing wrong, and what is shown is the master's tree"
end_children() { local child; for child in $(cat "/proc/$1/task/$1/children"); do kill -TERM "$child"; done; }
is_running $reader || fail "a reader has ended: $(tail -n 5 "$work/readers.out")"
end_children $reader
wait $reader || true
[ ! -s "$work/readers.out" ] || fail "readers: $(cat "$work/readers.out")"
assert_same "$work/tree" "$work/mnt"
# readers come and go between the two looks, and caches fill
[ -n "$DEPOTFS_SANITIZE" ] ||
	assert_less "private memory (KiB)" "$memory_after" $((memory_before * 3 / 2 + 16384))
assert_less "open files" "$descriptors_after" $((descriptors_before + 64))
unmount mnt
