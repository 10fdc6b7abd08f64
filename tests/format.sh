#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# format: every C file is as .clang-format has it.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v clang-format >/dev/null; then
	echo "SKIP: clang-format is missing (contrib/packages --install test)"
	exit 77
fi
if ! find cache fs sync tests -name '*.[ch]' -print0 |
	xargs -0 clang-format --dry-run -Werror 2>&1 | grep 'error:' | cut -d: -f1 | sort | uniq -c; then
	exit 0
fi
echo "These are not formatted (lines each). Mend it with: clang-format -i FILE"
exit 1
