#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# layers: fs and sync build on cache and do not know each other; only the program's main files
# see all three. Prints every #include that breaches this, and first proves that it would.
set -euo pipefail
cd "$(dirname "$0")/.."

# breaches DIR: the lines that cross layers in the sources below DIR.
breaches()
{
	(
		cd "$1"
		grep -rnE '#[[:space:]]*include[[:space:]]*"(\.\./)*sync/' fs --include='*.[ch]' |
			grep -vE '^fs/([a-z_]+/)*[a-z_]*main\.c:'
		grep -rnE '#[[:space:]]*include[[:space:]]*"(\.\./)*fs/' sync cache --include='*.[ch]'
		grep -rnE '#[[:space:]]*include[[:space:]]*"(\.\./)*sync/' cache --include='*.[ch]'
		true
	)
}

planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
mkdir "$planted/fs" "$planted/sync" "$planted/cache"
echo '#include "sync/a.h"' >"$planted/fs/ops.c"
echo '#include "sync/a.h"' >"$planted/fs/mount_main.c"
echo '#include "fs/a.h"' >"$planted/sync/job.c"
echo '#include "sync/a.h"' >"$planted/cache/view.c"
echo '# include "../fs/a.h"' >"$planted/cache/view.h"
found=$(breaches "$planted" | cut -d: -f1 | sort | tr '\n' ' ')
if [ "$found" != "cache/view.c cache/view.h fs/ops.c sync/job.c " ]; then
	echo "this test is blind: of five planted includes it reports $found"
	exit 1
fi

found=$(breaches .)
if [ -n "$found" ]; then
	printf 'layers crossed (fs -> cache <- sync):\n%s\n' "$found"
	exit 1
fi
