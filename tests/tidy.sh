#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# tidy: clang-tidy over the project's sources, as .clang-tidy has it.
#
#   tidy.sh BUILD [PATTERN]     PATTERN limits it to files whose path matches
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build=$1
pattern=${2:-.}
database=$build/compile_commands.json
if [ ! -f "$database" ]; then
	echo "tidy: $database is missing: configure the dev preset first"
	exit 1
fi
cd "$source_dir"
# one file a process: in the second, clang-tidy 14 takes every va_list for uninitialized
find cache fs sync tests -name '*.c' -not -path 'tests/fuzz/*' | grep -E "$pattern" |
	while read -r file; do
		! grep -qF "\"file\": \"$source_dir/$file\"" "$database" || printf '%s\0' "$file"
	done | xargs -0 -r -n 1 -P "$(nproc)" clang-tidy -p "$build" --quiet
echo "tidy: nothing to say"
