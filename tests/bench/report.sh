# SPDX-License-Identifier: GPL-3.0-or-later
# report: from the lines and bars of a run to docs/benchmarks.md and docs/benchmarks/*.svg.
# shellcheck shell=bash disable=SC2016,SC2154

print_table()
{
	printf '| workload | depotfs | yardstick | ratio | limit | | peers |\n'
	printf '|---|---|---|---|---|---|---|\n'
	awk -F '\t' '{
		printf "| %s | %s | %s | %s | %s | %s | %s |\n", $2, $3, $4, $5, $6, $7, $8 }' "$results/lines"
}

print_repeats()
{
	awk -F '\t' -v only="$1" '$1 == only { printf "- %s: `%s`\n", $2, $9 }' "$results/lines"
}

machine()
{
	printf '%s cores (%s), %s GiB of memory, Linux %s, cache on %s; %s\n' "$(nproc)" \
		"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		"$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" \
		"$(uname -r | cut -d. -f1,2)" "$(stat -f -c %T "$work")" \
		"$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)"
}

print_report()
{
	local name
	cat <<-END
		# Benchmarks

		Written by \`tests/bench/run\`, which repeats all of it (Debian 12, as root). Do not edit.

		Measured on $(date -u +%Y-%m-%d), depotfs $("$depotfs" --version 2>/dev/null | awk '{ print $NF ; exit }')$(git -C "$source_dir" log -1 --format=' at %h' 2>/dev/null): $(machine).

		Every figure is the median of $runs runs. depotfs and the yardstick took turns, and a ratio is the
		median of the pairs' ratios (least–most): time by time, so less is better, except where the line says
		throughput. What was read was compared with the master's by digest. Peers ran once, for
		at most $peer_limit_s s: ≈ is projected from what they had read by then. \`MNT\` is a mount of
		\`depotfs mount\` with default options, and \`reader\` is \`tests/bench/reader.c\`. The lines are
		\`tests/bench/relay.c\` on loopback: round trip, rate and slow start, no loss.

	END
	print_table
	printf '\n%s\n' 'Where the time goes: [performance.md](performance.md).'
	for name in "${only[@]}"; do
		grep -q "^$name"$'\t' "$results/lines" || continue
		printf '\n## %s\n\n' "$name"
		! grep -q "^$name"$'\t' "$results/bars" || printf '![%s](benchmarks/%s.svg)\n\n' "$name" "$name"
		printf 'To repeat: `tests/bench/run --only %s`. What is run:\n\n' "$name"
		print_repeats "$name"
	done
}

write_report()
{
	local name
	mkdir -p "$1/benchmarks"
	for name in "${only[@]}"; do
		grep -q "^$name"$'\t' "$results/bars" || continue
		awk -F '\t' -v only="$name" '$1 == only' "$results/bars" | "$here/chart" >"$1/benchmarks/$name.svg"
	done
	print_report >"$1/benchmarks.md"
}
