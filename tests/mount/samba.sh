#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# samba: a real smbd exports the mount as contrib/samba/smb.conf says, and smbclient reads it.
. "${0%/*}/lib.sh"
need jq

BIG_BYTES=3000000
make_tree "$work/tree"
mkdir "$work/tree/Straße"
printf 'x\n' >"$work/tree/Straße/Größe.txt"
publish depot "$work/tree" "${tree_packages[@]}"
# the directory above the mount is what is exported
mkdir -p export
chmod 755 "$work" export
start_smbd "$work/export"
mount_depot export/mirror "file://$work/depot" allow_other
smb() { timeout 300 "${smb[@]}" "$@"; }
get() { smb -c "get \"$1\" \"$2\"" >"$work/said" 2>&1 && ! grep -q NT_STATUS "$work/said"; }

step "a listing"
smb -c 'ls mirror\*' >said 2>&1 || fail "smbclient: $(cat said)"
assert_has said README
assert_has said 'pkg +DR?'

step "the whole tree, and it is the same"
mkdir got
smb -c "lcd $work/got; recurse on; prompt off; cd mirror; mget *" >said 2>&1 ||
	fail "mget: $(tail -n 5 said)"
! grep -q NT_STATUS said || fail "mget: $(grep NT_STATUS said | head -n 3)"
# a link is followed by smbd inside the share: on the client it is a file
diff -r tree got

step "names in the wrong case"
get 'mirror\PKG\SMALL\1.0\run me.SH' "$work/run-me"  || fail "$(cat said)"
cmp run-me 'tree/pkg/small/1.0/Run Me.sh'
get 'mirror\STRASSE\x' "$work/none" && fail "STRASSE is not Straße"
get 'mirror\sTRAßE\gRÖßE.TXT' "$work/groesse" || fail "$(cat said)"
cmp groesse tree/Straße/Größe.txt
# it is the module that answers: stock smbd would list the directory
assert_equal "get_real_filename" "$(getfattr --only-values \
	-n 'glusterfs.get_real_filename:readme' export/mirror 2>/dev/null | tr -d '\0')" README

step "missing names fail, and no directory is listed for them"
listings() { "$DEPOTFS" status "$work/export/mirror" --json | jq .kernel.listings; }
echo 3 >/proc/sys/vm/drop_caches # nor from memory
before=$(listings)
for i in {1..20}; do
	printf 'get mirror\\pkg\\small\\1.0\\docs\\missing-%s /dev/null\n' "$i"
done | timeout 300 "${smb[@]}" >said 2>&1 || true
assert_equal "missing names" "$(grep -c 'NT_STATUS_OBJECT_NAME_NOT_FOUND' said)" 20
assert_equal "listings after 20 missing names" "$(listings)" "$before"

step "it cannot be written"
[[ $(smb -c "put $work/said mirror\\new" 2>&1 || true) == *NT_STATUS_* ]] || fail "a file was written"
[ ! -e export/mirror/new ] || fail "a file was written"
unmount export/mirror

step "a stalled server holds up nobody who reads what is here"
start_bad_server "$work/depot" hang --only '/pack/*'
expect_errors export/mirror 'cannot fetch|no source answers'
random_file tree/pkg/late/1.0/late.bin 300000
publish depot "$work/tree"
mount_depot export/mirror "$bad_url" allow_other timeout=8
find export/mirror >/dev/null
# meet_stalled: gets what is here while four clients wait. False: these were told before it was through.
meet_stalled()
{
	local pid stalled=() stalled_from status=0
	stalled_from=$(now_ms)
	for _ in {1..4}; do
		smb -c "get mirror\\pkg\\late\\1.0\\late.bin /dev/null" >"$work/stalled.out" 2>&1 &
		stalled+=($!)
	done
	sleep 1
	for i in 1 2 3; do
		get "mirror\\pkg\\small\\1.0\\docs\\file-$i.bin" "$work/here" || fail "$(cat said)"
		cmp here "tree/pkg/small/1.0/docs/file-$i.bin"
	done
	is_running "${stalled[0]}" || status=1
	for pid in "${stalled[@]}"; do
		wait "$pid" || true
	done
	# each asks for several parts at once, and all of them for the same
	assert_less "ms until the stalled clients are told" $(($(now_ms) - stalled_from)) 60000
	return $status
}
for try in 1 2 3 4 5; do # on a busy machine they may be told first
	! meet_stalled || break
	[ $try -lt 5 ] || fail "nobody was waiting: $(cat stalled.out)"
done
assert_has stalled.out 'NT_STATUS_(IO_DEVICE_ERROR|IO_TIMEOUT)' 'the stalled client'
unmount export/mirror

step "sessions go on after a remount"
stop_bad_server
expect_errors export/mirror ''
rm -f export/mirror.log export/mirror.stderr
mount_depot export/mirror "file://$work/depot" allow_other
mkfifo commands
timeout 300 "${smb[@]}" <commands >session.out 2>&1 &
session=$!
processes+=("$session")
exec 8>commands
printf 'get mirror\\README %s\n' "$work/readme.1" >&8
wait_for 60 cmp tree/README readme.1
unmount export/mirror
mount_depot export/mirror "file://$work/depot" allow_other
printf 'get mirror\\README %s\n' "$work/readme.2" >&8
wait_for 60 cmp tree/README readme.2
printf 'quit\n' >&8 # the daemon has inherited the pipe: closing it would not do
exec 8>&-
wait $session || true
unmount export/mirror
