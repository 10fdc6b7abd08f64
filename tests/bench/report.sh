# SPDX-License-Identifier: GPL-3.0-or-later
# report: from the lines and bars of the workloads to docs/benchmarks.md and docs/benchmarks/*.svg.
# shellcheck shell=bash disable=SC2016,SC2154

# print_table WORKLOAD...
print_table()
{
	local name
	printf '| workload | depotfs | yardstick | ratio | limit | | peers |\n'
	printf '|---|---|---|---|---|---|---|\n'
	for name in "$@"; do
		[ ! -e "$results/$name.lines" ] || awk -F '\t' '{
			printf "| %s | %s | %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5, $6, $7
		}' "$results/$name.lines"
	done
}

machine()
{
	printf '%s cores (%s), %s GiB of memory, Linux %s, ext4; %s' "$(nproc)" \
		"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		"$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" \
		"$(uname -r | cut -d. -f1,2)" \
		"$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)"
}

print_report()
{
	local name
	cat <<-END
		# Benchmarks

		Written by \`tests/bench/run\`, which repeats all of it (Debian 12, as root). Do not edit.

		Machine: $(machine).

		Every figure is a median, of $runs turns or, where these are short, of up to $runs_most.
		depotfs and the yardstick took turns, and a ratio is the median of the pairs' ratios
		(least–most): time by time, so less is better, except where the line says throughput. What was read was compared with the master's by digest. Peers ran once, for
		at most $peer_limit_s s: ≈ is projected from what they had read by then. \`MNT\` is a mount of
		\`depotfs mount\` with default options, and \`reader\` is \`tests/bench/reader.c\`. The lines are
		\`tests/bench/relay.c\` on loopback: round trip, rate and slow start, no loss. Each workload
		writes to a new ext4 of its own. Where the time goes: [performance.md](performance.md).

	END
	print_table "${all[@]}"
	for name in "${all[@]}"; do
		[ -e "$results/$name.lines" ] || continue
		printf '\n## %s\n\n' "$name"
		[ ! -e "$results/$name.bars" ] || printf '![%s](benchmarks/%s.svg)\n\n' "$name" "$name"
		printf 'Measured %s. To repeat: `tests/bench/run --only %s`. What is run:\n\n' \
			"$(cat "$results/$name.when")" "$name"
		awk -F '\t' '{ printf "- %s: `%s`\n", $1, $8 }' "$results/$name.lines"
	done
}

write_report()
{
	local name
	mkdir -p "$1/benchmarks"
	for name in "${all[@]}"; do
		[ ! -e "$results/$name.bars" ] ||
			"$here/chart" "$results/$name.bars" >"$1/benchmarks/$name.svg"
	done
	print_report >"$1/benchmarks.md"
}
