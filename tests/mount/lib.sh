# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by the tests
# lib.sh: what the mount tests stand on. A test reads
#
#	. "${0%/*}/lib.sh"
#	make_tree "$work/tree"
#	publish depot "$work/tree"		# $work/depot, its keys in $work/depot.keys
#	start_nginx "$work/depot"		# $http_url, $https_url, $access_log
#	mount_depot mnt "$http_url"		# on $work/mnt, cached in $work/mnt.cache
#	cmp "$work/tree/a" "$work/mnt/a"
#	unmount mnt				# and its exit status, its log, its memory
#
# Every test has a work directory. However it ends, what it mounted is unmounted, what it
# started has ended (by pid) and the directory is gone. A test fails if a daemon exits with
# anything but 0, if a log holds an `error:` that was not announced (expect_errors), or if a
# sanitizer had something to say about any process. KEEP=1 keeps the directory.
set -Eeuo pipefail
umask 022
export LC_ALL=C

test_name=${0##*/}
test_name=${test_name%.sh}
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${DEPOTFS:=$source_dir/build/dev/fs/depotfs}"
: "${MANIFEST:=${DEPOTFS%/fs/*}/tests/support/manifest}"
: "${BAD_SERVER:=${DEPOTFS%/fs/*}/tests/support/bad_server}"
: "${ODD:=${DEPOTFS%/fs/*}/tests/trees/odd}"
: "${DEPOTFS_SANITIZE:=}"

declare -A daemon=()         # name of a mount -> pid of its daemon
declare -A expected_errors=() # name of a mount -> pattern of the errors it may log
processes=()

say() { printf '%s\n' "$*"; }

# Milliseconds since some time.
now_ms() { printf '%s' "$((${EPOCHREALTIME/./} / 1000))"; }
started_ms=$(now_ms)

# step WHAT...: what comes next, and when.
step()
{
	local ms=$(($(now_ms) - started_ms))
	printf '%3d.%d s  %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*"
}

fail()
{
	printf 'FAIL: %s\n' "$*" >&2
	exit 1
}

skip()
{
	printf 'SKIP: %s\n' "$*"
	exit 77
}

need()
{
	local program
	for program; do
		command -v "$program" >/dev/null ||
			skip "$program is missing (contrib/packages --install test)"
	done
}

# --- the beginning and the end -------------------------------------------------------------

[ "$(id -u)" -eq 0 ] || skip "root is needed: trees with owners and devices, mounts"
[ -c /dev/fuse ] || skip "/dev/fuse is missing: a kernel with FUSE is needed"
[ -x "$DEPOTFS" ] || fail "$DEPOTFS is missing: build it first"
need getfattr mountpoint

work=$(mktemp -d --suffix="-depotfs-$test_name")
cd "$work"

# A second's wait at exit is the thread sanitizer's own, and a daemon is not a crash.
sanitizer_log=$work/sanitizer
export ASAN_OPTIONS=log_path=$sanitizer_log:exitcode=99:detect_stack_use_after_return=1
export UBSAN_OPTIONS=log_path=$sanitizer_log:print_stacktrace=1
export TSAN_OPTIONS=log_path=$sanitizer_log:exitcode=99:atexit_sleep_ms=0:second_deadlock_stack=1
TSAN_OPTIONS+=:suppressions=$source_dir/tests/support/tsan.supp
export LSAN_OPTIONS=log_path=$sanitizer_log

is_running() { grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }

# end_process PID: asks, then insists.
end_process()
{
	local i
	kill -TERM "$1" 2>/dev/null || true
	for ((i = 0; i < 100; i++)); do
		is_running "$1" || break
		sleep 0.05
	done
	! is_running "$1" || kill -KILL "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

# Mounts at or below a directory, the deepest first.
mounts_below()
{
	awk -v top="$1" '{ gsub(/\\040/, " ", $5)
		if ($5 == top || index($5, top "/") == 1) print $5 }' /proc/self/mountinfo | sort -r
}

is_mounted() { [ -n "$(mounts_below "$1" | grep -Fx -- "$1")" ]; }

check_sanitizer()
{
	local report status=0
	for report in "$sanitizer_log"*; do
		[ -s "$report" ] || continue
		printf 'a sanitizer reports (%s):\n' "${report##*/}" >&2
		head -n 80 "$report" >&2
		status=1
	done
	return $status
}

# check_log NAME: no error in the log of a mount but those that were expected.
check_log()
{
	local found
	found=$(cat "$work/$1.log" "$work/$1.stderr" 2>/dev/null |
		grep -E 'error: |Sanitizer|Assertion|corrupted|double free' |
		grep -vE -- "${expected_errors[$1]:-^\$}") || return 0
	printf 'unexpected in the log of %s:\n%s\n' "$1" "$found" >&2
	return 1
}

# end_daemon NAME: waits for the daemon to have ended by itself; its status and log are good.
end_daemon()
{
	local pid=${daemon[$1]} i status=0
	for ((i = 0; i < 2400; i++)); do
		is_running "$pid" || break
		sleep 0.05
	done
	if is_running "$pid"; then
		printf 'the daemon of %s is still there 120 s after its unmount\n' "$1" >&2
		return 1
	fi
	unset "daemon[$1]"
	wait "$pid" || status=$?
	if [ $status -ne 0 ]; then
		printf 'the daemon of %s ended with status %s\n' "$1" $status >&2
		tail -n 20 "$work/$1.stderr" >&2
		return 1
	fi
	check_log "$1"
}

finish()
{
	local status=$? name pid point
	trap - EXIT ERR INT TERM
	set +eE
	for name in "${!daemon[@]}"; do
		[ $status -ne 0 ] || "$DEPOTFS" umount "$work/$name" >/dev/null || status=1
		[ $status -ne 0 ] || end_daemon "$name" || status=1
	done
	for name in "${!daemon[@]}"; do
		end_process "${daemon[$name]}"
	done
	mounts_below "$work" | while IFS= read -r point; do
		umount "$point" 2>/dev/null || umount -l "$point"
	done
	for pid in "${processes[@]}"; do
		end_process "$pid"
	done
	check_sanitizer || status=1
	if [ $status -ne 0 ] && [ $status -ne 77 ]; then
		for name in "$work"/*.log "$work"/*.stderr; do
			[ -s "$name" ] || continue
			printf -- '--- %s\n' "${name##*/}"
			tail -n 25 "$name"
		done >&2
	fi
	cd /
	if [ -n "${KEEP:-}" ]; then
		say "kept: $work"
	elif [ -n "$(mounts_below "$work")" ]; then
		say "still mounted, not removed: $(mounts_below "$work")"
		status=1
	else
		rm -rf --one-file-system "$work"
	fi
	exit $status
}
trap finish EXIT
trap 'printf "FAIL: %s line %s: %s\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$BASH_COMMAND" >&2' ERR
trap 'exit 130' INT
trap 'exit 143' TERM

# --- assertions ----------------------------------------------------------------------------

# assert_equal WHAT GOT WANTED
assert_equal() { [ "$2" = "$3" ] || fail "$1 is '$2', '$3' was expected"; }

# assert_less WHAT GOT LIMIT
assert_less() { [ "$2" -lt "$3" ] || fail "$1 is $2, less than $3 was expected"; }

# assert_has FILE PATTERN WHAT: an extended regular expression in a file.
assert_has()
{
	grep -qE -- "$2" "$1" || fail "${3:-${1##*/}} does not say '$2':
$(tail -n 15 "$1")"
}

# assert_exit STATUS COMMAND...: how a command ends; what it said is in $work/said.
assert_exit()
{
	local wanted=$1 status=0
	shift
	timeout 300 "$@" >"$work/said" 2>&1 </dev/null || status=$?
	[ $status -eq "$wanted" ] || fail "exit status $status instead of $wanted: $*
$(tail -n 15 "$work/said")"
}

# assert_says PATTERN: the last assert_exit's command.
assert_says() { assert_has "$work/said" "$1" "the command"; }

# read_blocks FILE OUT SECONDS: reads block by block, as the time-out is one of each read, and
# fails if one of them takes SECONDS. Returns 1 at the first that is refused: see $work/said.
read_blocks()
{
	local bytes at before status=0 block=131072
	bytes=$(stat -c %s "$1")
	: >"$2"
	for ((at = 0; at * block < bytes && status == 0; at++)); do
		before=$(now_ms)
		timeout 60 dd if="$1" bs=$block skip=$at count=1 status=none \
			>>"$2" 2>"$work/said" || status=1
		assert_less "the wait for block $at of ${1##*/} (ms)" $(($(now_ms) - before)) $(($3 * 1000))
	done
	return $status
}

# assert_read_fails FILE SECONDS: with EIO, and no read takes longer.
assert_read_fails()
{
	! read_blocks "$1" /dev/null "$2" || fail "$1 can be read"
	assert_has "$work/said" 'Input/output error'
}

# wait_for SECONDS COMMAND...: until it succeeds. The seconds tell what hangs from a machine that is
# busy: a test that passes does not wait for them, and how long a thing may take is a matter of
# tests/bench.
wait_for()
{
	local until=$(($(now_ms) + $1 * 1000)) limit=$1
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now_ms)" -lt $until ] || fail "not within $limit s: $*"
		sleep 0.05
	done
}

# --- depots and mounts ---------------------------------------------------------------------

# publish NAME TREE [OPTION...]: makes the depot $work/NAME at its first time.
publish()
{
	local name=$1 tree=$2
	shift 2
	if [ ! -d "$work/$name" ]; then
		"$DEPOTFS" init "$work/$name" --name "$name" --key-dir "$work/$name.keys" \
			>"$work/init.out"
	fi
	"$DEPOTFS" publish "$work/$name" "$tree" --key-dir "$work/$name.keys" --level 3 "$@" \
		>"$work/publish.out" 2>&1 || fail "publish: $(cat "$work/publish.out")"
	key=$work/$name.keys/$name.pub
}

# start_daemon NAME URL [OPTION...]: its program in the foreground, its pid in daemon[NAME].
start_daemon()
{
	local name=$1 url=$2 options
	shift 2
	is_mounted "$work/$name" || mkdir -p "$work/$name"
	options=key=$key,cache=$work/$name.cache,log=$work/$name.log
	options+=$(printf ',%s' "$@")
	# shellcheck disable=SC2086 # WRAPPER is a command with its options
	${WRAPPER:-} "$DEPOTFS" mount "$url" "$work/$name" -o "${options%,}" -f \
		2>>"$work/$name.stderr" </dev/null &
	daemon[$name]=$!
}

# mount_depot NAME URL [OPTION...]: on $work/NAME, with the public key $key.
FUSE_MAGIC=65735546 # of statfs(2), in hexadecimal

mount_depot()
{
	local i
	start_daemon "$@"
	for ((i = 0; i < ${MOUNT_PATIENCE:-2400}; i++)); do
		if is_live "$1"; then
			return 0
		fi
		is_running "${daemon[$1]}" || break
		sleep 0.05
	done
	fail "no mount on $1: $(tail -n 5 "$work/$1.stderr")"
}

# A mount answers that did not answer before: asked in one question, as a dead one may just be
# taken away.
is_live() { [ "$(stat -f -c %t "$work/$1" 2>/dev/null)" = "$FUSE_MAGIC" ]; }

# expect_errors NAME PATTERN: log lines of a mount that this test provokes.
expect_errors() { expected_errors[$1]=$2; }

# unmount NAME: and everything about the daemon is in order.
unmount()
{
	"$DEPOTFS" umount "$work/$1" >"$work/said" 2>&1 || fail "umount: $(cat "$work/said")"
	! is_mounted "$work/$1" || fail "$1 is mounted after umount"
	end_daemon "$1" || fail "the daemon of $1"
	check_sanitizer || fail "a sanitizer"
}

# kill_daemon NAME: with SIGKILL.
kill_daemon()
{
	kill -KILL "${daemon[$1]}"
	wait "${daemon[$1]}" 2>/dev/null || true
	unset "daemon[$1]"
}

# xattr FILE NAME: a depotfs attribute.
xattr() { getfattr -h --only-values -n "user.depotfs.$2" -- "$1" 2>/dev/null; }
state() { xattr "$1" state; }
has_state() { [ "$(state "$1")" = "$2" ]; }

# assert_state FILE STATE: at once, or shortly for what lands after its reader was answered.
assert_state()
{
	local i
	for ((i = 0; i < 600; i++)); do
		! has_state "$1" "$2" || return 0
		sleep 0.05
	done
	fail "state of $1 is '$(state "$1")', '$2' was expected"
}

# assert_same TREE MOUNTED: content, and every attribute that a manifest holds.
assert_same()
{
	"$MANIFEST" --digest "$1" >"$work/manifest.master"
	[ -s "$work/manifest.master" ] || fail "the manifest of $1 is empty"
	assert_same_again "$2"
}

# assert_same_again MOUNTED: as the tree that was compared last.
assert_same_again()
{
	"$MANIFEST" --digest "$1" >"$work/manifest.mirror" || fail "$1 cannot be read in full"
	diff "$work/manifest.master" "$work/manifest.mirror" >"$work/manifest.diff" ||
		fail "the mirror's manifest differs:
$(cut -c1-400 "$work/manifest.diff" | head -n 20)"
}

# random_file PATH BYTES: does not compress.
random_file()
{
	mkdir -p "${1%/*}"
	head -c "$2" /dev/urandom >"$1"
}

# make_tree DIR: two packages: many small files, and one big one.
make_tree()
{
	local i
	mkdir -p "$1/pkg/small/1.0/docs" "$1/pkg/big/1.0"
	for ((i = 0; i < 120; i++)); do
		random_file "$1/pkg/small/1.0/docs/file-$i.bin" $((8000 + i))
	done
	printf 'what this is\n' >"$1/README"
	printf '#!/bin/sh\necho hello\n' >"$1/pkg/small/1.0/Run Me.sh"
	chmod 755 "$1/pkg/small/1.0/Run Me.sh"
	ln -s docs/file-1.bin "$1/pkg/small/1.0/latest"
	random_file "$1/pkg/big/1.0/big.bin" "${BIG_BYTES:-16777216}"
	random_file "$1/pkg/big/1.0/other.bin" 700000
}
tree_packages=(--packages 'pkg/*/*')

# --- servers -------------------------------------------------------------------------------

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: one on loopback that nobody listens at, in $port. Tests that run at the same time have
# eight each: a server that is stopped for a while finds its port again.
ports_taken=0
free_port()
{
	port=$((20000 + $$ % 1500 * 8 + ports_taken++ % 8))
	while port_answers $port; do
		port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
	done
}

# make_certificates: a CA of our own ($work/tls/ca.crt) and a server's certificate.
make_certificates()
{
	[ ! -d "$work/tls" ] || return 0
	mkdir "$work/tls"
	(
		cd "$work/tls"
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
			-subj '/CN=depotfs test CA' -keyout ca.key -out ca.crt
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
			-subj '/CN=127.0.0.1' -keyout server.key -out server.csr
		printf 'subjectAltName=IP:127.0.0.1\n' >server.ext
		openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial \
			-days 2 -extfile server.ext -out server.crt
	) >"$work/openssl.out" 2>&1
}

# nginx_config ROOT: on $http_port and $https_port; NGINX_RATE limits each request.
nginx_config()
{
	cat <<-END
		user root;
		daemon off;
		master_process off;
		pid $work/nginx/pid;
		error_log $work/nginx/error_log;
		events { worker_connections 512; }
		http {
			log_format test '\$bytes_sent \$request_time \$status "\$request" "\$http_range"';
			access_log $access_log test;
			client_body_temp_path $work/nginx/body;
			proxy_temp_path $work/nginx/proxy;
			fastcgi_temp_path $work/nginx/fastcgi;
			uwsgi_temp_path $work/nginx/uwsgi;
			scgi_temp_path $work/nginx/scgi;
			default_type application/octet-stream;
			keepalive_requests 1000000;
			limit_rate ${NGINX_RATE:-0};
			root $1;
			server {
				listen 127.0.0.1:$http_port;
				location = /fence { access_log $work/nginx/fence; return 204; }
			}
			server {
				listen 127.0.0.1:$https_port ssl http2;
				ssl_certificate $work/tls/server.crt;
				ssl_certificate_key $work/tls/server.key;
			}
		}
	END
}

# start_nginx DEPOT: a web server of our own. Sets $http_url, $https_url (to be used with
# cafile=$cafile), $access_log and $nginx; a later start has the same ports.
start_nginx()
{
	need nginx openssl
	make_certificates
	mkdir -p "$work/nginx"
	access_log=$work/nginx/access_log
	if [ -z "${http_port:-}" ]; then
		free_port
		http_port=$port
		free_port
		https_port=$port
	fi
	http_url=http://127.0.0.1:$http_port/
	https_url=https://127.0.0.1:$https_port/
	cafile=$work/tls/ca.crt
	: >"$access_log"
	nginx_config "$1" >"$work/nginx/conf"
	nginx -e "$work/nginx/error_log" -c "$work/nginx/conf" >"$work/nginx.stderr" 2>&1 &
	nginx=$!
	processes+=("$nginx")
	wait_for 60 port_answers "$http_port"
}

stop_nginx() { end_process "$nginx"; }

# A request is logged when it has ended, and one that is asked for later by the same process is logged
# later: once that is, so are those that have been answered.
settle_access_log()
{
	port_answers "$http_port" || return 0
	: >"$work/nginx/fence"
	(
		exec 3<>"/dev/tcp/127.0.0.1/$http_port"
		printf 'GET /fence HTTP/1.0\r\n\r\n' >&3
		cat <&3 >/dev/null
	)
	wait_for 60 test -s "$work/nginx/fence"
}

# served: what the web server has sent since forget_served, in bytes.
served()
{
	settle_access_log
	awk '{ n += $1 } END { print n + 0 }' "$access_log"
}
forget_served()
{
	settle_access_log
	: >"$access_log"
}

# start_sftp DEPOT: an sshd of our own. Sets $sftp_url and $sftp_options, for mount_depot.
start_sftp()
{
	local dir=$work/ssh
	need sshd ssh-keygen
	mkdir -p "$dir" /run/sshd
	[ -f "$dir/host" ] || ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
	[ -f "$dir/user" ] || ssh-keygen -q -t ed25519 -N '' -f "$dir/user"
	free_port
	printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1-2 "$dir/host.pub")" >"$dir/known_hosts"
	cp "$dir/user.pub" "$dir/authorized_keys"
	cat >"$dir/config" <<-END
		Port $port
		ListenAddress 127.0.0.1
		HostKey $dir/host
		PidFile $dir/pid
		AuthorizedKeysFile $dir/authorized_keys
		StrictModes no
		PermitRootLogin yes
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		UsePAM no
		LogLevel ERROR
		Subsystem sftp internal-sftp
		ForceCommand internal-sftp
	END
	"$(command -v sshd)" -D -e -f "$dir/config" 2>"$work/sshd.stderr" </dev/null &
	sshd=$!
	processes+=("$sshd")
	wait_for 60 port_answers "$port"
	sftp_url=sftp://root@127.0.0.1:$port$1/
	sftp_options=(sshkey="$dir/user" knownhosts="$dir/known_hosts")
}

# start_bad_server DEPOT MODE [OPTION...]: sets $bad_url and $bad_server.
start_bad_server()
{
	: >"$work/bad_server.out"
	"$BAD_SERVER" 0 "$@" >"$work/bad_server.out" </dev/null &
	bad_server=$!
	processes+=("$bad_server")
	wait_for 60 test -s "$work/bad_server.out"
	bad_url=http://127.0.0.1:$(cat "$work/bad_server.out")/
}

stop_bad_server() { end_process "$bad_server"; }

# start_smbd DIRECTORY: a Samba of our own that exports it as `packages`, configured by
# contrib/samba/smb.conf. Sets $smb, the beginning of an smbclient command.
start_smbd()
{
	local dir=$work/samba
	need smbd smbclient setsid
	[ -e "$(smbd -b | awk '$1 == "MODULESDIR:" { print $2 }')/vfs/glusterfs_fuse.so" ] ||
		skip "Samba's glusterfs_fuse module is missing (package samba-vfs-modules)"
	mkdir -p "$dir/private" "$dir/run"
	free_port
	# what is the machine's becomes this directory's; what the mount needs stays as it is
	sed -e "s|^\([[:space:]]*path = \).*|\1$1|" \
		-e "/^\[global\]/a\\
	private dir = $dir/private\\
	lock directory = $dir/run\\
	state directory = $dir/run\\
	cache directory = $dir/run\\
	pid directory = $dir/run\\
	ncalrpc dir = $dir/run/ncalrpc\\
	log file = $dir/log\\
	smb ports = $port\\
	interfaces = 127.0.0.1\\
	bind interfaces only = yes\\
	disable netbios = yes\\
	load printers = no" \
		"$source_dir/contrib/samba/smb.conf" >"$dir/smb.conf"
	# its own session: smbd signals its whole process group when it ends
	setsid smbd -F --no-process-group -s "$dir/smb.conf" >"$work/smbd.stderr" 2>&1 </dev/null &
	smbd=$!
	processes+=("$smbd")
	wait_for 60 port_answers "$port"
	smb=(smbclient -N -s "$dir/smb.conf" -p "$port" //127.0.0.1/packages)
}
