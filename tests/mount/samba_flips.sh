#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# samba_flips: clients of a real smbd list and get a package while the mount flips from version to
# version: no error, no file of two versions; what is open stays as it was, what is listed anew
# is new.
. "${0%/*}/lib.sh"
need jq python3

FILES=12
BIG_BYTES=12000000

# version NUMBER: each file holds its number and nothing else; each has another size by version.
version()
{
	python3 - "$work/tree/pkg/app/current" "$1" $FILES $BIG_BYTES <<-'END'
		import os, sys
		top, version, files, big = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
		os.makedirs(top, exist_ok=True)
		for old in os.listdir(top):
		    os.unlink(os.path.join(top, old))
		line = b"version %06d\n" % version
		for i in range(files):
		    with open(os.path.join(top, "file-%d" % i), "wb") as f:
		        f.write(line * (500 + 3000 * i + version))
		with open(os.path.join(top, "big"), "wb") as f:
		    f.write(line * (big // len(line)))
		open(os.path.join(top, "only-%d" % version), "wb").write(line)
	END
	publish depot "$work/tree" --packages 'pkg/*/*'
}

# flip NUMBER: publishes it, and returns when the mount shows it.
flip()
{
	version "$1"
	"$DEPOTFS" sync "$work/export/mirror" --full --wait --allow-delete >"$work/said" 2>&1 ||
		fail "sync: $(cat "$work/said")"
}

version 1
mkdir -p export got
chmod 755 "$work" export
start_smbd "$work/export"
start_nginx "$work/depot"
mount_depot export/mirror "$http_url" allow_other,poll=0,on_change=none,guard_share=100
smb() { timeout 300 "${smb[@]}" "$@"; }
app='mirror\pkg\app\current'

# one_version FILE...: each is lines of one version; says which.
one_version()
{
	local file
	for file; do
		assert_equal "versions in ${file##*/}" "$(uniq "$file" | wc -l)" 1
	done
	for file; do uniq "$file"; done | sort -u
}

step "a file held open keeps its bytes over flips; others see the new ones"
mkfifo slow
# smbclient writes what it gets into a pipe that is read slowly
timeout 300 "${smb[@]}" -c "get $app\\big $work/slow" >slow.out 2>&1 &
getter=$!
processes+=("$getter")
exec 7<slow
head -c 130000 <&7 >big.got
flip 2
smb -c "ls $app\\*" >listed 2>&1 || fail "$(cat listed)"
assert_has listed 'only-2'
! grep -q 'only-1' listed || fail "the old version is listed"
flip 3
smb -c "get $app\\big $work/big.new" >said 2>&1 || fail "$(cat said)"
assert_equal "the new big file" "$(one_version big.new)" 'version 000003'
cat <&7 >>big.got
exec 7<&-
wait $getter || fail "the slow get: $(cat slow.out)"
assert_equal "the open file" "$(one_version big.got)" 'version 000001'
assert_equal "its size" "$(stat -c %s big.got)" "$(stat -c %s big.new)"

step "one session lists before and after a flip: the first time after it what is new"
mkfifo commands
timeout 300 "${smb[@]}" <commands >session.out 2>&1 &
session=$!
processes+=("$session")
exec 8>commands
# It does not look at what its input's buffer holds while it waits for more: lines that came together
# are taken one by one as empty ones follow.
tell() { printf '%s\n' "$1" >&8; }
comes() { printf '\n' >&8; [ -s "$1" ]; }
tell 'prompt off'
tell "lcd $work/got"
tell "cd $app"
# mget asks for a listing; what smbclient prints of one stays in its buffer until it ends
tell 'mget only-*'
wait_for 60 comes got/only-3
flip 4
tell 'mget only-*' # once: what it does not list now never comes
wait_for 60 comes got/only-4
tell 'get file-3 session'
wait_for 60 comes got/session
tell quit # the daemon has inherited the pipe: closing it would not do
ended() { printf '\n' >&8; ! is_running $session; }
trap '' PIPE
wait_for 60 ended
trap - PIPE
exec 8>&-
wait $session || fail "the session: $(cat session.out)"
! grep -q NT_STATUS session.out || fail "$(grep NT_STATUS session.out)"
assert_equal "a file got by it" "$(one_version got/session)" 'version 000004'
assert_equal "what it listed" "$(echo got/only-*)" 'got/only-3 got/only-4'

step "clients list and get while it flips"
# client NUMBER: every get is one version's bytes; a name of an old listing may have gone
client()
{
	local i
	mkdir "$work/got/$1"
	for ((i = 0; ; i++)); do
		[ ! -e "$work/enough" ] || break
		smb -c "lcd $work/got/$1; cd $app; ls *; get file-$((i % FILES)); get big; get file-1" \
			>"$work/client.$1" 2>&1 || fail "client $1: $(cat "$work/client.$1")"
		! grep -q NT_STATUS "$work/client.$1" || fail "client $1: $(grep NT_STATUS "$work/client.$1")"
		for file in "$work/got/$1"/*; do
			one_version "$file" >"$work/seen.$1"
			[ "$(cat "$work/seen.$1")" '>' 'version 000003' ] ||
				fail "client $1 got $(cat "$work/seen.$1") after version 4 was shown"
		done
		printf '%s\n' $i >"$work/rounds.$1"
	done
}
clients=()
all=0 # whether each client has come round once
for i in 1 2 3; do
	client $i &
	clients+=($!)
done
came_round() { [ -s rounds.1 ] && [ -s rounds.2 ] && [ -s rounds.3 ]; }
for ((n = 5; n <= 11 || (n <= 60 && all == 0); n++)); do
	! came_round || all=1
	flip $n
	assert_equal "what is shown" "$(one_version "$work/export/mirror/pkg/app/current/file-0")" \
		"$(printf 'version %06d' $n)"
	sleep 0.3
done
touch enough
for pid in "${clients[@]}"; do
	wait "$pid" || fail "a client"
done
for i in 1 2 3; do
	say "        client $i: $(cat "rounds.$i") rounds, the last saw $(one_version "got/$i/big")"
done
unmount export/mirror
