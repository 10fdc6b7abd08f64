# SPDX-License-Identifier: GPL-3.0-or-later
# lib: what the workloads share: time, pairs, lines of the result, trees, servers, mounts.
#
# tests/bench/run sources it, then one workload in a subshell:
#
#   need_small_tree                       makes $cache/bench/depots-*/small, if it is not there
#   serve                                 an nginx of our own; $url and $request_log
#   link 40 100                           $url is now 40 ms and 100 Mbit/s away
#   begin_line "title" "what is run"
#   pairs time_depotfs time_yardstick     A B A B ...; each sets $elapsed
#   peer sshfs time_sshfs                 once, not for longer than $peer_limit_s
#   end_line "name of the yardstick" at_most 1.5
#
# A workload that ends, however it ends, takes with it what it mounted and started.
# shellcheck shell=bash disable=SC2030,SC2031,SC2034,SC2154 # one program in many files

say() { printf '%s\n' "$*" >&2; }

die()
{
	say "bench: $*"
	exit 1
}

skip()
{
	say "SKIP: $*"
	exit 77
}

# --- what a workload leaves behind: nothing ------------------------------------------------

pids=()
mounts=()

take_away()
{
	local point=$1
	mountpoint -q "$point" || return 0
	umount "$point" 2>/dev/null || umount -l "$point"
}

clean_up()
{
	local i
	set +e
	for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
		take_away "${mounts[i]}"
	done
	for i in "${pids[@]}"; do
		kill "$i" 2>/dev/null
		wait "$i" 2>/dev/null
	done
}

end_process()
{
	kill "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for()
{
	local i tries=$(($1 * 20))
	shift
	for ((i = 0; i < tries; i++)); do
		! "$@" 2>/dev/null || return 0
		sleep 0.05
	done
	return 1
}

# --- time ----------------------------------------------------------------------------------

# Nothing may take longer than this; a child stays in our process group and dies with us.
bounded() { timeout --foreground "$limit_s" "$@"; }

since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.4f", b - a }'; }

# seconds COMMAND...: its wall time, in $elapsed.
seconds()
{
	local start=$EPOCHREALTIME
	"$@" || die "failed: $*"
	elapsed=$(since "$start")
}

calculate() { awk "BEGIN { printf \"%.4g\", $1 }"; }

median()
{
	printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 }
		END { m = int((NR + 1) / 2); printf "%.4g", NR % 2 ? v[m] : (v[m] + v[m + 1]) / 2 }'
}

# fresh NAME: a new empty directory in $fresh. Nothing is deleted while it is measured, see
# make_disk() in run.
fresh_count=0
fresh()
{
	fresh=$dir/$1-$((++fresh_count))
	mkdir -p "$fresh"
}

settle() { sync -f "$dir"; }

drop_caches()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# pairs A B: runs the functions in turns; the medians in $a and $b, of the pairs' ratios in $ratio.
# Chance weighs most in what is short: there are more pairs of it, by the clock and not by what
# they show.
pairs()
{
	local i as=() bs=() begun=$SECONDS
	ratios=()
	for ((i = 1; i <= runs || (i <= runs_most && SECONDS - begun < short_s); i++)); do
		"$1"
		as+=("$elapsed")
		"$2"
		bs+=("$elapsed")
		ratios+=("$(calculate "${as[-1]} / ${bs[-1]}")")
		say "  pair $i: depotfs ${as[-1]}, yardstick ${bs[-1]}, ratio ${ratios[-1]}"
	done
	a=$(median "${as[@]}")
	b=$(median "${bs[@]}")
	ratio=$(median "${ratios[@]}")
}

# read_files WHAT [OPTION...]: the reader over a file or a tree; $elapsed, $files, $bytes, $digest.
read_files()
{
	local what=$1 result
	shift
	result=$(bounded "$tools/bench/reader" read "$@" "$what") || die "cannot read $what"
	take_result "$result"
}

take_result()
{
	read -r elapsed files bytes missing complete digest < <(
		sed 's/first_ms=[^ ]* //; s/[a-z]*=//g' <<<"$1"
	)
}

# must_equal WANTED: the last reader saw exactly what the master has.
must_equal()
{
	[ "$complete" -eq 0 ] || [ "$digest" = "$1" ] || die "the content differs: $digest, not $1"
}

# --- lines of the result -------------------------------------------------------------------

begin_line()
{
	title=$1
	repeat=$2
	peers_said=
	say "$title"
}

# bar SUBJECT SECONDS KIND: for the chart.
bar() { printf '%s\t%s\t%s\t%s\n' "$title" "$1" "$2" "$3" >>"$results/$workload.bars"; }

seconds_text() { awk -v v="$1" 'BEGIN { printf v < 1 ? "%.3f s" : v < 100 ? "%.2f s" : "%.0f s", v }'; }

# verdict VALUE at_most|at_least LIMIT
verdict()
{
	if [ "$2" = at_most ]; then
		awk -v v="$1" -v l="$3" 'BEGIN { exit !(v <= l) }' && echo met || echo '**missed**'
	else
		awk -v v="$1" -v l="$3" 'BEGIN { exit !(v >= l) }' && echo met || echo '**missed**'
	fi
}

# write_line DEPOTFS YARDSTICK RATIO LIMIT-TEXT VERDICT
write_line()
{
	printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$title" "$1" "$2" "$3" "$4" "$5" \
		"${peers_said:-–}" "$repeat" >>"$results/$workload.lines"
	say "  => $1 | $2 | $3 | $4 | $5 | ${peers_said:-–}"
}

# end_line YARDSTICK at_most|at_least LIMIT: of the last pairs. at_least judges the throughput,
# that is the yardstick's time by ours.
end_line()
{
	local value sign='≤' spread
	[ "$2" = at_most ] || sign='≥'
	read -r value spread < <(printf '%s\n' "$ratio" "${ratios[@]}" | awk -v sign="$sign" '
		{ v = sign == "≤" ? $1 : 1 / $1 }
		NR == 1 { median = low = high = v }
		{ if (v < low) low = v; if (v > high) high = v }
		END { printf "%.2f %.2f–%.2f\n", median, low, high }')
	[ "${#ratios[@]}" -gt 1 ] && spread=" ($spread)" || spread=
	bar "$1" "$b" limit
	bar depotfs "$a" depotfs
	write_line "$(seconds_text "$a")" "$(seconds_text "$b") ($1)" "$value$spread" "$sign $3" \
		"$(verdict "$value" "$2" "$3")"
}

# value_line VALUE UNIT at_most|at_least LIMIT YARDSTICK: a figure that is no pair of times.
value_line()
{
	local sign='≤'
	[ "$3" = at_most ] || sign='≥'
	write_line "$1 $2" "${5:-–}" "–" "$sign $4 $2" "$(verdict "$1" "$3" "$4")"
}

# peer NAME FUNCTION [ARGUMENT...]: one run that sets $elapsed, in a subshell of its own.
peer()
{
	local name=$1 text result
	shift
	[ -z "$no_peers" ] || return 0
	say "  $name"
	if ! result=$(
		pids=() mounts=()
		dir=$(mktemp -d -p "$dir")
		trap clean_up EXIT
		approximate=
		"$@" >&2
		printf '%s %s' "$elapsed" "$approximate"
	); then
		peers_said+="${peers_said:+, }$name: failed"
		return 0
	fi
	text=$(seconds_text "${result%% *}")
	case ${result#* } in
	projected) text="≈ $text" ;;
	longer) text="> $text" ;;
	esac
	bar "${text%%[0-9]*}$name" "${result%% *}" peer
	peers_said+="${peers_said:+, }$name $text"
}

# A peer's read that did not come to its end in time, by the share of the files (or bytes) it read.
project()
{
	[ "$complete" -eq 0 ] || return 0
	approximate=projected
	[ "$1" -gt 0 ] || { approximate=longer; return 0; }
	elapsed=$(calculate "$elapsed * $2 / $1")
}

# --- trees and depots ----------------------------------------------------------------------

# make_depot PLACE NAME: PLACE/NAME, its keys in PLACE/NAME.keys.
make_depot()
{
	rm -rf "${1:?}/$2" "$1/$2.keys"
	"$depotfs" init "$1/$2" --name "$2" --key-dir "$1/$2.keys" >"$dir/log" 2>&1 ||
		die "depotfs init: $(tail -n 3 "$dir/log")"
}

publish()
{
	bounded "$depotfs" publish "$@" >"$dir/log" 2>&1 ||
		die "depotfs publish: $(tail -n 3 "$dir/log")"
}

# need_depot NAME TREE PUBLISH-OPTION...: published once for each build of depotfs.
need_depot()
{
	local name=$1 tree=$2
	shift 2
	[ ! -e "$depots/$name.done" ] || return 0
	say "  publishing $tree"
	make_depot "$depots" "$name"
	publish "$depots/$name" "$tree" "$@"
	: >"$depots/$name.done"
}

# need_packages [--large]
need_packages()
{
	local r=0
	bounded "$source_dir/tests/trees/fetch" "$@" "$cache" >"$dir/fetch" || r=$?
	[ "$r" -eq 0 ] || skip "no real packages: $(tail -n 1 "$dir/fetch")"
	packages=$(tail -n 1 "$dir/fetch")
	package_globs=(--packages 'npm/[!@]*/*' --packages 'npm/@*/*/*' --packages 'deb/*/*')
}

# The packages the whole-tree workloads use: all, or with --quick one of them.
need_whole_tree()
{
	need_packages
	whole=$packages
	[ -n "$quick" ] || return 0
	whole=$trees/whole-quick
	if [ ! -d "$whole" ]; then
		mkdir -p "$whole/npm"
		cp -a "$packages/npm/date-fns" "$whole/npm/"
	fi
}

need_small_tree()
{
	need_packages
	small=$trees/small
	if [ ! -d "$small" ]; then
		rm -rf "$small.new"
		mkdir -p "$small.new/npm/date-fns"
		cp -a "$packages/npm/date-fns/4.1.0" "$small.new/npm/date-fns/"
		mv "$small.new" "$small"
	fi
	need_archive "$small" small 9
	need_depot small "$small" --packages 'npm/*/*'
}

# need_archive TREE NAME LEVEL: NAME.tar.zst-LEVEL beside the trees, for the limits.
need_archive()
{
	local file=$trees/$2-$3.tar.zst
	[ -e "$file" ] && [ "$file" -nt "$1" ] && return 0
	tar -c -C "$1" . | zstd -q -T0 "-$3" >"$file.new"
	mv "$file.new" "$file"
}

# need_file NAME MIB: bytes that do not compress, always the same.
need_file()
{
	local file=$trees/$1/image/1.0/image.bin
	[ ! -e "$file" ] || return 0
	mkdir -p "${file%/*}"
	head -c "${2}M" /dev/zero | openssl enc -aes-128-ctr -nosalt \
		-K 00112233445566778899aabbccddeeff -iv 0 2>/dev/null >"$file.new"
	mv "$file.new" "$file"
}

# need_pieces NAME [DIRS]: text of real packages in files of 40 lines, 1,000 to a directory, in 100.
need_pieces()
{
	local tree=$trees/$1 dirs=${2:-100} i
	[ ! -d "$tree" ] || return 0
	need_packages
	rm -rf "$tree.new"
	for ((i = 100; i < 100 + dirs; i++)); do
		mkdir -p "$tree.new/$i"
	done
	# cat dies of a closed pipe when there is enough
	{ find "$packages" -name '*.js' -print0 | sort -z | xargs -0 cat 2>/dev/null || true ; } |
		(for ((i = 100; i < 100 + dirs; i++)); do
			head -n 40000 | split -a 3 -d -l 40 - "$tree.new/$i/piece"
		done)
	mv "$tree.new" "$tree"
}

need_million()
{
	million=$cache/million-${million_shape[0]}-${million_shape[1]}
	bounded "$tools/trees/million" "$million" --packages "${million_shape[0]}" \
		--files "${million_shape[1]}"
	need_depot "$million_name" "$million" --packages 'pkg/*'
}

# --- servers and lines ---------------------------------------------------------------------

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port()
{
	port=$((20000 + RANDOM % 12000))
	while port_answers "$port"; do
		port=$((20000 + RANDOM % 12000))
	done
}

# An nginx of our own over $served; its requests are in $request_log.
serve()
{
	free_port
	nginx_port=$port
	request_log=$dir/access.log
	cat >"$dir/nginx.conf" <<-END
		user root;
		daemon off;
		worker_processes 1;
		pid $dir/nginx.pid;
		error_log $dir/nginx-error.log;
		events { worker_connections 512; }
		http {
			log_format counted '\$bytes_sent \$body_bytes_sent \$status \$request_uri \$msec \$request_time \$connection \$http_range \$request_length';
			access_log $request_log counted;
			client_body_temp_path $dir/nginx-body;
			proxy_temp_path $dir/nginx-proxy;
			fastcgi_temp_path $dir/nginx-fastcgi;
			uwsgi_temp_path $dir/nginx-uwsgi;
			scgi_temp_path $dir/nginx-scgi;
			default_type application/octet-stream;
			sendfile on;
			autoindex on;
			keepalive_requests 1000000;
			server {
				listen 127.0.0.1:$port;
				root $served;
			}
		}
	END
	nginx -e "$dir/nginx-error.log" -c "$dir/nginx.conf" 2>"$dir/log" &
	pids+=($!)
	wait_for 10 port_answers "$port" || die "nginx does not start: $(tail -n 3 "$dir/log")"
	url=http://127.0.0.1:$nginx_port
}

request_count() { wc -l <"$request_log"; }
request_bytes() { awk '{ n += $1 } END { print n + 0 }' "$request_log"; }

# relay_to PORT RTT_MS MBIT [QUEUE_MS]: its own port in $port. Lines that are open already are used
# again.
declare -A relays=()
relay_to()
{
	local key="$1 $2 $3 ${4:-0}" out
	port=${relays[$key]:-}
	[ -z "$port" ] || return 0
	out=$(mktemp -p "$dir")
	local options=()
	[ "$2" = 0 ] || options+=(--rtt-ms "$2")
	[ "$3" = 0 ] || options+=(--mbit "$3")
	[ "${4:-0}" = 0 ] || options+=(--queue-ms "$4")
	"$tools/bench/relay" 0 "$1" "${options[@]}" >"$out" &
	pids+=($!)
	wait_for 10 grep -q port "$out" || die "the relay does not start"
	port=$(sed -n 's/^{"port":\([0-9]*\)}$/\1/p' "$out")
	relays[$key]=$port
}

# link RTT_MS MBIT [QUEUE_MS]: moves the web server that far away; 0 0 is loopback.
link()
{
	port=$nginx_port
	[ "$1 $2" = '0 0' ] || relay_to "$nginx_port" "$1" "$2" "${3:-0}"
	url=http://127.0.0.1:$port
	link_rtt=$1
	link_mbit=$2
}

link_text() { [ "$1 $2" = '0 0' ] && echo loopback || echo "$1 ms, $2 Mbit/s"; }

# --- mounts --------------------------------------------------------------------------------

depot_url() { echo "$url/${depots#"$served/"}/$1"; }

# mount_url URL KEY [OPTIONS]: on $mnt; with the cache it has, see forget().
mount_url()
{
	mnt=$dir/mnt
	mkdir -p "$mnt"
	[[ " ${mounts[*]} " == *" $mnt "* ]] || mounts+=("$mnt")
	bounded "$depotfs" mount "$1" "$mnt" \
		-o "key=$2,cache=${depot_cache:=$dir/cache},log=$dir/depotfs.log$silent${3:+,$3}" \
		>"$dir/log" 2>&1 || die "depotfs mount: $(tail -n 3 "$dir/log")"
}

# mount_depot NAME [OPTIONS]: one of need_depot().
mount_depot() { mount_url "$(depot_url "$1")" "$depots/$1.keys/$1.pub" "${2:-}"; }

# The next mount knows nothing.
forget()
{
	fresh cache
	depot_cache=$fresh
}

# prefetch_depot NAME: mounted with an empty cache, and all of it fetched; readers ask for nothing.
prefetch_depot()
{
	mount_depot "$1" on_change=none
	bounded "$depotfs" sync "$mnt" --prefetch all --wait >"$dir/said" 2>&1 ||
		die "depotfs sync: $(tail -n 3 "$dir/said")"
}

# must_be_served_alone DIGEST: the mount serves the master's content without the source.
must_be_served_alone()
{
	: >"$request_log"
	read_files "$mnt" --threads 4
	must_equal "$1"
	sleep 0.2 # a request is logged when it ends
	[ "$(request_count)" = 0 ] || die "files were missing"
}

umount_depot()
{
	bounded "$depotfs" umount "$mnt" >"$dir/log" 2>&1 ||
		die "depotfs umount: $(tail -n 3 "$dir/log")"
	! grep -qE ' (error|crit)' "$dir/depotfs.log" 2>/dev/null ||
		say "  the log has errors: $(grep -m1 -E ' (error|crit)' "$dir/depotfs.log")"
}

# does_mount_know OPTIONS: whether this build has a mount option.
does_mount_know() { "$depotfs" mount --help 2>&1 | grep -q -- "$1"; }

daemon_pid() { "$depotfs" status "$mnt" --json | jq .pid; }

# Seconds of CPU the daemon has used.
daemon_cpu()
{
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%.2f", ($12 + $13) / hz }' \
		"/proc/$(daemon_pid)/stat"
}

# mount_in_foreground POINT COMMAND...: a peer, or invent_fs.
mount_in_foreground()
{
	local point=$1
	shift
	mkdir -p "$point"
	mounts+=("$point")
	"$@" >"$dir/mount.log" 2>&1 &
	pids+=($!)
	wait_for 30 mountpoint -q "$point" || die "does not mount: $* $(tail -n 3 "$dir/mount.log")"
}

# mount_invented [OPTION...]: on $invented.
mount_invented()
{
	invented=$dir/invented
	mount_in_foreground "$invented" "$tools/bench/invent_fs" \
		--packages "${million_shape[0]}" --files "${million_shape[1]}" "$@" "$invented"
}

# --- peers: each mounts what it is given on $dir/mnt ------------------------------------------

peer_rclone()
{
	mnt=$dir/mnt
	mount_in_foreground "$mnt" rclone mount :http: "$mnt" --config /dev/null --http-url "$url/$1/" \
		--read-only --vfs-cache-mode full --cache-dir "$dir/cache" --dir-cache-time 24h \
		--attr-timeout 1h --buffer-size 4M --vfs-read-ahead 16M
}

peer_sshfs()
{
	local rtt=$link_rtt mbit=$link_mbit
	mnt=$dir/mnt
	ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
	ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
	free_port
	cat >"$dir/sshd_config" <<-END
		ListenAddress 127.0.0.1:$port
		HostKey $dir/host
		AuthorizedKeysFile $dir/key.pub
		StrictModes no
		PermitRootLogin prohibit-password
		PasswordAuthentication no
		PidFile none
		Subsystem sftp internal-sftp
	END
	mkdir -p /run/sshd
	/usr/sbin/sshd -D -e -f "$dir/sshd_config" 2>"$dir/sshd.log" &
	pids+=($!)
	wait_for 10 port_answers "$port" || die "sshd does not start"
	[ "$rtt $mbit" = '0 0' ] || relay_to "$port" "$rtt" "$mbit"
	mount_in_foreground "$mnt" sshfs -f "root@127.0.0.1:$(realpath "$served/$1")" "$mnt" -p "$port" \
		-o "ro,kernel_cache,dcache_timeout=86400,dcache_stat_timeout=86400,max_conns=4" \
		-o "entry_timeout=86400,attr_timeout=86400,dcache_max_size=2000000" \
		-o "IdentityFile=$dir/key,UserKnownHostsFile=$dir/known,StrictHostKeyChecking=no"
}

# peer_casync NAME: what need_casync made.
peer_casync()
{
	mnt=$dir/mnt
	mount_in_foreground "$mnt" casync mount --store="$url/trees/$1.castr" \
		"$url/trees/$1.caidx" "$mnt"
}

need_casync()
{
	[ -z "$no_peers" ] || return 0
	[ ! -e "$trees/$1.caidx" ] || return 0
	bounded casync make --store="$trees/$1.castr" "$trees/$1.new.caidx" "$2" >"$dir/log" 2>&1 || return 0
	mv "$trees/$1.new.caidx" "$trees/$1.caidx"
}

need_squashfs()
{
	[ -z "$no_peers" ] || return 0
	[ ! -e "$trees/$1.squashfs" ] || return 0
	bounded mksquashfs "$2" "$trees/$1.new" -comp zstd -no-progress -quiet >"$dir/log" 2>&1
	mv "$trees/$1.new" "$trees/$1.squashfs"
}

peer_squashfuse()
{
	mnt=$dir/mnt
	mount_in_foreground "$mnt" squashfuse_ll -f "$trees/$1.squashfs" "$mnt"
}
