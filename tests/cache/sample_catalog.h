/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One sound catalog with something of everything: the start for mutations, and the seed of
 * the fuzzer. Always the same bytes.
 *
 *	/a/          dir
 *	/a/big       three chunks in two frames
 *	/a/deep/     dir
 *	/a/deep/link   another name of /small
 *	/null        device
 *	/pack/       nested
 *	/pipe        fifo
 *	/small       one chunk, two names, attributes
 *	/sparse      a hole, a chunk, a hole
 *	/to          symlink
 */
#pragma once

#include "tests/support/catalog_builder.h"

struct built_catalog *sample_catalog(void);

/* What hangs on /pack: a catalog of the path "pack" with one file in it. */
struct built_catalog *sample_nested_catalog(void);
