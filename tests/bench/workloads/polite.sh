# SPDX-License-Identifier: GPL-3.0-or-later
# polite: what background transfers leave to others: the rate they keep to, what they cost a reader's
# request, and what a download has left that shares the line with them. The line has a router's
# buffer of 300 ms, which is where whoever comes second waits.
# shellcheck shell=bash disable=SC2034,SC2154

polite_background()
{
	bounded "$tools/bench/polite" "$url/trees/polite" "$polite_digest" "$polite_bytes" "$@" ||
		die "polite failed"
}

# polite_field NAME TEXT
polite_field() { sed "s/.*\\<$1=\\([^ ]*\\).*/\\1/" <<<"$2"; }

# How far from the rate, in per cent; the line carries what it carries, whoever counts.
measure_rate()
{
	local wanted=$1 said i off=()
	for ((i = 0; i < runs; i++)); do
		said=$(polite_background --rate "$wanted" --seconds 10)
		off+=("$(calculate "100 * ($(polite_field rate "$said") / $wanted - 1)" | tr -d -)")
		say "  $said"
	done
	value=$(printf '%s\n' "${off[@]}" | sort -n | tail -n 1)
}

# How much later a reader's answer comes, in ms, for the background's sake.
measure_demand()
{
	local alone said i added=()
	for ((i = 0; i < runs; i++)); do
		alone=$(polite_background --rate none --warm-s 0 --demands 9)
		said=$(polite_background --rate "$1" --warm-s 3 --demands 9)
		added+=("$(calculate "$(polite_field worst_ms "$said") - $(polite_field demand_ms "$alone")")")
		say "  alone: $alone; beside: $said"
		[ "$(polite_field late_bytes "$said")" = 0 ] || die "it read on for more than 100 ms"
	done
	value=$(printf '%s\n' "${added[@]}" | sort -g | tail -n 1)
}

# What a mirror's sync makes of a window's rate: how far from it, in per cent.
measure_window()
{
	local wanted=$1 i off=()
	printf '[windows w]\nallow = mon-sun 00:00-24:00 rate %s\ntz = UTC\n' "$wanted" >"$dir/conf"
	for ((i = 0; i < runs; i++)); do
		forget
		mount_depot image-20 "on_change=none,conf=$dir/conf"
		: >"$request_log"
		seconds bounded "$depotfs" sync "$mnt" --prefetch all --wait >"$dir/said" 2>&1
		sleep 0.2 # a request is logged when it ends
		say "  $(request_bytes) bytes in $elapsed s"
		off+=("$(calculate "100 * ($(request_bytes) / $elapsed / $wanted - 1)" | tr -d -)")
		umount_depot
	done
	value=$(printf '%s\n' "${off[@]}" | sort -g | tail -n 1)
}

polite_curl() { seconds bounded curl -sS -o /dev/null "$url/trees/polite/$polite_path"; }

polite_curl_beside_idle()
{
	local background
	# no function: that would be a shell, and end_process would end it alone
	timeout --foreground "$limit_s" "$tools/bench/polite" "$url/trees/polite" "$polite_digest" \
		"$polite_bytes" --rate idle --warm-s 0 --seconds 30 >"$dir/idle" &
	background=$!
	pids+=("$background")
	sleep 4
	polite_curl
	end_process "$background"
}

workload_polite()
{
	need_file image-64 64
	need_file image-20 20
	need_depot image-20 "$trees/image-20" --packages '*'
	local file=$trees/image-64/image/1.0/image.bin
	polite_bytes=$(stat -c %s "$file")
	polite_digest=$(sha256sum <"$file" | cut -d' ' -f1)
	polite_path=pack/${polite_digest:0:2}/$polite_digest
	mkdir -p "$trees/polite/${polite_path%/*}"
	ln -sf "$file" "$trees/polite/$polite_path"
	serve
	link 40 100 300
	for rate in 500000 5000000; do
		begin_line "background at $rate bytes a second, 10 s: the worst deviation" \
			"polite --rate $rate URL DIGEST BYTES"
		measure_rate "$rate"
		value_line "$value" % at_most 5 "what was asked for"
	done
	link 0 0
	begin_line "sync --prefetch all of 20 MiB within a window of 2000000 bytes a second: the worst deviation" \
		"[windows w] allow = mon-sun 00:00-24:00 rate 2000000; depotfs sync MNT --prefetch all --wait"
	measure_window 2000000
	value_line "$value" % at_most 5 "what was asked for"
	link 40 100 300
	for rate in unlimited idle; do
		begin_line "a reader's frame while the background is $rate: the longest wait more" \
			"polite --rate $rate --demands 9; the same with --rate none"
		measure_demand "$rate"
		value_line "$value" ms at_most 100 "without background"
	done
	begin_line "64 MiB by curl beside an idle background (throughput)" \
		"polite --rate idle; curl URL beside it, and alone"
	pairs polite_curl_beside_idle polite_curl
	end_line 'curl alone' at_least 0.85
}
