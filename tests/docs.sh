#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# docs: what the documents name exists. Every path of the tree in README.md, docs/ and the sources'
# comments, every link and its heading; every verb, mount option and long option, in the man page
# and in the code, either way; every folder of sources is in docs/architecture.md. First proves on
# planted lies that it would see them.
# shellcheck disable=SC2016 # backticks are what it looks for
set -euo pipefail
cd "$(dirname "$0")/.."

roots='(fs|sync|cache|tests|contrib|docs|\.ci)'

# exists PATH: as it is, as a pattern, or as a noun that is a header, a source or a script.
exists()
{
	[ -e "$1" ] || [ -e "$1.h" ] || [ -e "$1.c" ] || [ -e "$1.sh" ] ||
		[[ $1 == *'*'* && -n $(compgen -G "$1") ]]
}

# named_paths FILE...: "FILE PATH" for each path in backticks, {a,b} spelled out.
named_paths()
{
	local file word paths

	grep -oHE '`'"$roots"'/[^` ]*`' "$@" | while IFS=: read -r file word; do
		word=${word//\`/}
		word=${word%%#*}
		if ! grep -q '[^A-Za-z0-9_./*{},-]' <<<"$word"; then
			set -f
			eval "paths=($word)" # only names, stars and braces get here
			set +f
			printf "$file %s\n" "${paths[@]}"
		fi
	done
}

# commented_paths DIR...: the same for the files that the sources' comments name.
commented_paths()
{
	grep -roHE '(^|[^A-Za-z0-9_/."<-])'"$roots"'/[a-z0-9_/-]+\.(c|h|sh|md)\b' \
		--include='*.[ch]' "$@" | sed -E 's/:[^a-z.]*/ /'
}

# headings FILE: what a link to a place in it may say behind the '#'.
headings()
{
	sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

# dead_links FILE...
dead_links()
{
	local file link target place

	grep -oHE '\]\([^)]+\)' "$@" | grep -vE '\]\((https?|mailto):' |
		while IFS=: read -r file link; do
			link=${link:2:-1}
			target=${link%%#*}
			place=${link#"$target"}
			target=${target:+$(dirname "$file")/$target}
			target=${target:-$file}
			if [ ! -e "$target" ]; then
				echo "$file: the link $link leads nowhere"
			elif [ -n "$place" ] && ! headings "$target" | grep -qxF -- "${place#\#}"; then
				echo "$file: the link $link names no heading"
			fi
		done
}

# The man page's words: verbs of the synopsis, options of `mount` (an entry is indented once), long
# options.
man_verbs()
{
	awk '$1 == "*depotfs*" { print $2 }' "$man" | tr '|' '\n' | grep -oE '[a-z]+' |
		grep -vxE 'help|version'
}
man_mount()
{
	awk '/^# / { is_mount = $2 == "MOUNT" } is_mount && /^\t\*/; is_mount && /is refused/' "$man" |
		sed 's/\\_/_/g' | grep -oE '\*[a-z_-]+=?\*' | tr -d '*=' | grep -vx -- -o
}
man_long() { grep -oE '\*--[a-z-]+' "$man" | tr -d '*'; }

# And the code's.
code_verbs() { sed -nE 's/^\t\{"([a-z]+)", cmd_.*/\1/p' fs/main.c; }
code_ignored()
{
	awk '/names\[\] = \{/,/\};/' fs/mount/mount_options.c | grep -oE '"[a-z_]+"' | tr -d '"'
	echo x-
}
code_mount()
{
	grep -oE 'strcmp\(option, "[a-z_]+"' fs/mount/mount_options.c | cut -d'"' -f2
	awk '/texts\[\] = \{/,/\};/' fs/mount/mount_options.c | grep -oE '\{"[a-z_]+"' | tr -d '{"'
	sed -nE 's/^\t\{"([a-z_]+)", [A-Z]+, offsetof.*/\1/p' sync/jobs/settings.c
	code_ignored
}
code_long()
{
	grep -rhoE '\{"[a-z-]+", (no|required)_argument' fs sync | cut -d'"' -f2 | sed 's/^/--/'
	echo --version
}
# `mount --help` tells all but what is taken and ignored.
help_mount()
{
	grep -hoE '^[[:space:]]"  -o [^ ]+( [a-z_]+=[A-Z]+,?)*' fs/mount/mount_options.c sync/jobs/settings.c |
		grep -oE '[a-z_]{2,}' | grep -vx o
	code_ignored
	echo rw
}

# differ WHAT IN AND A B: the lines of only one of two lists.
differ()
{
	comm -3 <(sort -u "$4") <(sort -u "$5") |
		sed -E "s|^\t(.*)|$1 \1: in $3, not in $2|; t; s|^(.*)|$1 \1: in $2, not in $3|"
}

# unnamed_folders PAGE: those that hold sources and are not in it.
unnamed_folders()
{
	comm -23 <(find cache fs sync -name '*.c' -printf '%h/\n' | grep '/.*/' | sort -u) \
		<(named_paths "$1" | cut -d' ' -f2 | sort -u) | sed "s|^|$1: nothing of |"
}

# lies: all that is wrong in the tree below the current directory.
lies()
{
	local man=docs/man/depotfs.1.scd file path
	local -a pages

	mapfile -t pages < <(find README.md docs -name '*.md' -not -name CHANGELOG.md | sort)
	{
		named_paths "${pages[@]}" "$man"
		commented_paths cache fs sync tests
	} | while read -r file path; do
		exists "$path" || echo "$file: there is no $path"
	done
	dead_links "${pages[@]}"
	unnamed_folders docs/architecture.md
	differ verb 'the man page' fs/main.c <(man_verbs) <(code_verbs)
	differ 'mount option' 'the man page' 'the code' <(man_mount) <(code_mount)
	differ 'mount option' 'the man page' '--help' <(man_mount) <(help_mount)
	differ option 'the man page' 'the code' <(man_long) <(code_long)
}

planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
mkdir -p "$planted"/{cache,docs/man,fs/mount,sync/jobs,tests}
cat >"$planted/README.md" <<'END'
# A b
`fs/main.c` `fs/no.c` `sync/{jobs,none}/`
[a](docs/architecture.md#the-one) [b](docs/architecture.md#two) [c](docs/none.md)
END
cat >"$planted/docs/architecture.md" <<'END'
## The `one`
[up](../README.md#a-b) [here](#the-one) [gone](#gone) `fs/main*`
END
cat >"$planted/docs/man/depotfs.1.scd" <<'END'
*depotfs* *mount* _URL_

*depotfs* *undone*|*sync*

# MOUNT

	*key=*_FILE_
		Its *--wait*, *--no*.
	*lost=*_N_, *poll=*_N_
	*ro*, *x-*...
		*rw* is refused.
END
cat >"$planted/fs/main.c" <<'END'
// see fs/none.h, fs/main.c
#include "fs/generated.h"
	{"mount", cmd_mount, ""},
	{"sync", cmd_sync, ""},
	{"secret", cmd_secret, ""},
	{"wait", no_argument},
	{"quiet", no_argument},
END
cat >"$planted/fs/mount/mount_options.c" <<'END'
names[] = {"ro"};
	"  -o key=FILE a\n"
	"  -o old=N b\n"
	texts[] = {{"key", &a}, {"hidden", &b}};
	if (strcmp(option, "rw") == 0)
END
cat >"$planted/sync/jobs/settings.c" <<'END'
	{"poll", SECONDS, offsetof(a, b)},
	"  -o poll=SEC c\n"
END
wanted='README.md: the link docs/architecture.md#two names no heading
README.md: the link docs/none.md leads nowhere
README.md: there is no fs/no.c
README.md: there is no sync/none/
docs/architecture.md: nothing of fs/mount/
docs/architecture.md: nothing of sync/jobs/
docs/architecture.md: the link #gone names no heading
fs/main.c: there is no fs/none.h
mount option hidden: in the code, not in the man page
mount option lost: in the man page, not in --help
mount option lost: in the man page, not in the code
mount option old: in --help, not in the man page
option --no: in the man page, not in the code
option --quiet: in the code, not in the man page
option --version: in the code, not in the man page
verb secret: in fs/main.c, not in the man page
verb undone: in the man page, not in fs/main.c'
found=$(cd "$planted" && lies | LC_ALL=C sort)
if [ "$found" != "$wanted" ]; then
	echo "this test is blind: of the planted lies it reports"
	diff <(echo "$wanted") <(echo "$found")
	exit 1
fi

found=$(lies)
if [ -n "$found" ]; then
	printf 'the documents and the tree differ:\n%s\n' "$found"
	exit 1
fi
