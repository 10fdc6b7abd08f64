#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# format: every C file is as .clang-format has it. First proves that it would see one that is not.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v clang-format >/dev/null; then
	echo "SKIP: clang-format is missing (contrib/packages --install test)"
	exit 77
fi

# unformatted FILE...: their names, each with the number of places.
unformatted()
{
	{ clang-format --style=file:.clang-format --dry-run -Werror "$@" 2>&1 || true; } |
		sed -n 's/:[0-9]*:[0-9]*: error:.*//p' | sort | uniq -c
}

planted=$(mktemp --suffix=.c)
trap 'rm -f "$planted"' EXIT
echo 'int  f( void ) { return 1 ;}' >"$planted"
if [ -z "$(unformatted "$planted")" ]; then
	echo "this test is blind: it does not see what is planted"
	exit 1
fi

mapfile -d '' files < <(find cache fs sync tests -name '*.[ch]' -print0)
found=$(unformatted "${files[@]}")
if [ -n "$found" ]; then
	printf 'places that clang-format would change:\n%s\n' "$found"
	echo "mend it with: clang-format -i FILE"
	exit 1
fi
