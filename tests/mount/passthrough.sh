#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# passthrough: complete files are read by the kernel itself, in every way that files are read;
# files that become complete while they are open stay as they were opened; and open=none.
. "${0%/*}/lib.sh"
need python3

make_tree "$work/tree"
sparse=$work/tree/pkg/big/1.0/sparse.bin
truncate -s 12M "$sparse"
random_file "$work/island" 300000
dd if="$work/island" of="$sparse" bs=1M seek=5 conv=notrunc status=none
publish depot "$work/tree" "${tree_packages[@]}"
start_nginx "$work/depot"
big=pkg/big/1.0/big.bin
other=pkg/big/1.0/other.bin
small=pkg/small/1.0/docs/file-7.bin

drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }

# read_alone FILE SECONDS: whether it can be read whole while the daemon is stopped: opened before, and
# with no page of it in memory.
read_alone()
{
	python3 - "${daemon[mnt]}" "$work/mnt/$1" "$work/tree/$1" "$2" <<-'END'
		import os, signal, sys
		pid, path = int(sys.argv[1]), sys.argv[2]
		wanted = open(sys.argv[3], "rb").read()
		fd = os.open(path, os.O_RDONLY)
		child = os.fork()
		if child == 0:
		    os.kill(pid, signal.SIGSTOP)
		    with open("/proc/sys/vm/drop_caches", "w") as f:
		        f.write("3")
		    signal.alarm(int(sys.argv[4]))
		    got = b""
		    while len(got) < len(wanted):
		        got += os.pread(fd, 1 << 20, len(got))
		    os._exit(0 if got == wanted else 1)
		import time
		ended, status = 0, 0
		until = time.time() + 120
		while not ended and time.time() < until:
		    time.sleep(0.05)
		    ended, status = os.waitpid(child, os.WNOHANG)
		os.kill(pid, signal.SIGCONT)
		if not ended:
		    ended, status = os.waitpid(child, 0)
		sys.exit(0 if status == 0 else 3)
	END
}

# every_way FILE: as a stream, by offsets, by mmap, by splice (cat into a pipe), with holes.
every_way()
{
	local offset
	cmp "$work/tree/$1" "$work/mnt/$1"
	# shellcheck disable=SC2002 # the pipe is what is tested
	cat "$work/mnt/$1" | cmp - "$work/tree/$1"
	for offset in 0 1 37 1000 2047; do
		dd if="$work/mnt/$1" bs=333 skip=$offset count=20 status=none |
			cmp - <(dd if="$work/tree/$1" bs=333 skip=$offset count=20 status=none)
	done
	python3 - "$work/tree/$1" "$work/mnt/$1" <<-'END'
		import mmap, os, random, sys
		a, b = (os.open(p, os.O_RDONLY) for p in sys.argv[1:])
		size = os.fstat(a).st_size
		assert size == os.fstat(b).st_size
		m = mmap.mmap(b, size, prot=mmap.PROT_READ)
		n = mmap.mmap(a, size, prot=mmap.PROT_READ)
		for _ in range(50):
		    at = random.randrange(size)
		    assert m[at:at + 9000] == n[at:at + 9000], at
		assert m[:] == n[:]
		assert os.pread(b, 100, size) == b""
		assert os.pread(b, 100, size - 10) == m[-10:]
	END
}

holes()
{
	python3 - "$1" <<-'END'
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDONLY)
		size, at, out = os.fstat(fd).st_size, 0, []
		while at < size:
		    try:
		        data = os.lseek(fd, at, os.SEEK_DATA)
		    except OSError:
		        break
		    at = os.lseek(fd, data, os.SEEK_HOLE)
		    out.append((data, at))
		print(out)
	END
}

step "partial, then complete while it is open, then opened again"
mount_depot mnt "$http_url"
exec 5<"$work/mnt/$big"
head -c 100000 <&5 | cmp - <(head -c 100000 "$work/tree/$big")
assert_state "$work/mnt/$big" partial
exec 6<"$work/mnt/$big"
cmp "$work/tree/$big" - <&6
assert_state "$work/mnt/$big" cached
# while one of its opens is from before, another is in that one's mode, and reads
every_way "$big"
# the kernel drops caches under it, and both still read
drop_caches
cmp <(dd if="$work/mnt/$big" bs=1M skip=3 count=5 status=none) \
	<(dd if="$work/tree/$big" bs=1M skip=3 count=5 status=none)
exec 6<&-
cmp "$work/tree/$big" "$work/mnt/$big"
exec 5<&-
has_passthrough=yes
if grep -q 'no passthrough' "$work/mnt.log"; then
	has_passthrough=
	say "        $(grep -m1 -o 'no passthrough.*' "$work/mnt.log")"
fi

step "a complete file is read with the daemon stopped, an incomplete one is not"
if [ -n "$has_passthrough" ]; then
	# the last release is asynchronous: until it has come the file is read as before
	for try in 1 2 3 4 5; do
		! read_alone "$big" 20 || break
		[ $try -lt 5 ] || fail "reads of a complete file reach the daemon"
	done
	! read_alone "$small" 5 || fail "this test is blind: a small file was read without the daemon"
fi
drop_caches
every_way "$big"
every_way "$small"

step "holes are where the catalog has them"
cat "$work/mnt/pkg/big/1.0/sparse.bin" >/dev/null
assert_state "$work/mnt/pkg/big/1.0/sparse.bin" cached
every_way pkg/big/1.0/sparse.bin
assert_equal "the holes" "$(holes "$work/mnt/pkg/big/1.0/sparse.bin")" "$(holes "$sparse")"
assert_equal "st_size and st_blocks" "$(stat -c '%s %b' "$work/mnt/$big")" \
	"$(stat -c '%s' "$work/tree/$big") $((16777216 / 512))"

step "sixteen readers while it is being completed, at 8 MB/s"
unmount mnt
stop_nginx
NGINX_RATE=8m
start_nginx "$work/depot"
rm -rf "$work/mnt.cache"
mount_depot mnt "$http_url"
readers=()
for i in {1..16}; do
	(
		sleep 0.$((i % 10))
		cmp "$work/tree/$big" "$work/mnt/$big"
		cmp "$work/tree/$big" "$work/mnt/$big"
	) &
	readers+=($!)
done
for reader in "${readers[@]}"; do
	wait "$reader" || fail "a reader failed"
done
every_way "$big"
stop_nginx
NGINX_RATE=0
start_nginx "$work/depot"

# storm SECONDS: eight processes open, read and close while pages are dropped.
storm()
{
	local until=$(($(now_ms) + $1 * 1000)) workers=() worker i
	for i in {1..8}; do
		(
			files=("$big" "$other" pkg/small/1.0/docs/file-$i.bin README)
			while [ "$(now_ms)" -lt $until ]; do
				file=${files[RANDOM % 4]}
				offset=$((RANDOM % 100))
				cmp <(dd if="$work/mnt/$file" bs=4096 skip=$offset count=9 status=none) \
					<(dd if="$work/tree/$file" bs=4096 skip=$offset count=9 status=none)
			done
		) &
		workers+=($!)
	done
	while [ "$(now_ms)" -lt $until ]; do
		drop_caches
		sleep 0.1
	done
	for worker in "${workers[@]}"; do
		wait "$worker" || fail "a reader of the storm failed"
	done
}

step "eight processes open and close while pages are dropped"
storm 5
every_way "$other"

step "an unmount with files open"
exec 5<"$work/mnt/$big" 6<"$work/mnt/$small"
head -c 5000 <&5 | cmp - <(head -c 5000 "$work/tree/$big")
umount -l "$work/mnt"
! is_mounted "$work/mnt" || fail "mounted after umount -l"
cmp "$work/tree/$big" <(cat <(head -c 5000 "$work/tree/$big") - <&5)
exec 5<&- 6<&-
end_daemon mnt

step "kill -9 with files open; the next mount has it all"
mount_depot mnt "$http_url"
exec 5<"$work/mnt/$big"
kill_daemon mnt
exec 5<&-
umount -l "$work/mnt"
mount_depot mnt "$http_url"
every_way "$big"
unmount mnt

step "a cache on a stacked file system: reads are spliced, and the log says why"
mkdir "$work/lower" "$work/upper" "$work/overlay.work" "$work/overlay"
if mount -t overlay overlay "$work/overlay" \
	-o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/overlay.work" 2>/dev/null; then
	mkdir "$work/overlay/cache"
	ln -s overlay/cache "$work/stacked.cache"
	mount_depot stacked "$http_url"
	cmp "$work/tree/$big" "$work/stacked/$big"
	cmp "$work/tree/$big" "$work/stacked/$big"
	if [ -n "$has_passthrough" ]; then
		assert_equal "lines on passthrough" "$(grep -c 'no passthrough' "$work/stacked.log")" 1
		assert_has "$work/stacked.log" 'no passthrough.*stacked'
	fi
	unmount stacked
	umount "$work/overlay"
else
	say "        no overlay file system here: left out"
fi

step "a user without CAP_SYS_ADMIN: likewise"
user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
if ! "${user[@]}" test -w /dev/fuse || ! command -v fusermount3 >/dev/null; then
	say "        users may not mount here: left out"
else
	chmod 755 "$work" "$work/depot.keys"
	mkdir "$work/user" "$work/user.mnt"
	chown 65534:65534 "$work/user" "$work/user.mnt"
	XDG_RUNTIME_DIR=$work/user "${user[@]}" "$DEPOTFS" mount "$http_url" "$work/user.mnt" -f \
		-o "key=$key,cache=$work/user/cache,log=$work/user/log" 2>"$work/user.stderr" &
	daemon[user]=$!
	user_reads() { "${user[@]}" cmp "$work/tree/$big" "$work/user.mnt/$big"; }
	wait_for 60 is_mounted "$work/user.mnt"
	user_reads
	user_reads
	if [ -n "$has_passthrough" ]; then
		assert_has "$work/user/log" 'no passthrough.*CAP_SYS_ADMIN'
	fi
	umount "$work/user.mnt"
	end_daemon user
fi

step "open=none: the same bytes, with no OPEN"
assert_exit 2 "$DEPOTFS" mount "$http_url" "$work/mnt" -o "key=$key,cache=$work/c,open=always"
assert_says "open=always"
mount_depot mnt "$http_url" open=none
every_way "$big"
every_way "$small"
every_way pkg/big/1.0/sparse.bin
storm 3
drop_caches
cmp "$work/tree/$other" "$work/mnt/$other"
contents_open() { [ -n "$(find -L "/proc/${daemon[mnt]}/fd" -maxdepth 1 -samefile "$(object_of "$1")" 2>/dev/null)" ]; }
object_of()
{
	local digest
	digest=$(xattr "$work/mnt/$1" digest)
	printf '%s/objects/%s/%s' "$work/mnt.cache" "${digest:0:2}" "$digest"
}
contents_open "$other" || fail "the content of a file just read is not open: this test is blind"
closed() { ! contents_open "$1"; }
wait_for 60 closed "$other"
cat "$work/mnt"/pkg/small/1.0/docs/* >/dev/null
assert_less "contents open after 120 files" \
	"$(find "/proc/${daemon[mnt]}/fd" -lname '*/objects/*/*' | grep -cE '/fd/' || true)" 80
unmount mnt

step "open=none with a cold cache"
rm -rf "$work/mnt.cache"
mount_depot mnt "$http_url" open=none
readers=()
for i in {1..8}; do
	cmp "$work/tree/$big" "$work/mnt/$big" &
	readers+=($!)
done
for reader in "${readers[@]}"; do
	wait "$reader" || fail "a reader failed"
done
assert_same "$work/tree" "$work/mnt"
unmount mnt
