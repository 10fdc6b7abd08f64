/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * million_shape: names and sizes of the million-file tree, for the program that stores it
 * and for the file system that invents it.
 *
 *   pkg/0007/ten-kib.bin           incompressible, its own in every package
 *   pkg/0007/big.bin               over 1 MiB, nearly all hole
 *   pkg/0007/d03/file-00412.txt    0 to 200 bytes of text
 *
 * A package has shape.files regular files: the two above and the rest spread over the
 * sub-directories in order.
 */
#ifndef TESTS_TREES_MILLION_SHAPE_H
#define TESTS_TREES_MILLION_SHAPE_H

#include <stdint.h>
#include <stdio.h>

#define MILLION_TOP	  "pkg"
#define MILLION_TEN_KIB	  "ten-kib.bin"
#define MILLION_BIG	  "big.bin"
#define MILLION_DIRS	  10
#define MILLION_NAME_SIZE 24

struct million_shape {
	unsigned packages;
	unsigned files;	    /* regular files per package, at least 2 */
	uint64_t ten_bytes; /* size of ten-kib.bin */
};

#define MILLION_SHAPE_DEFAULT                                                            \
	{                                                                                \
		.packages = 1000, .files = 1000, .ten_bytes = 10240                      \
	}

/* The text files below one sub-directory are [first(dir), first(dir + 1)). */
static inline unsigned million_first(const struct million_shape *shape, unsigned dir)
{
	return (unsigned)((uint64_t)(shape->files - 2) * dir / MILLION_DIRS);
}

static inline void million_package_name(char *name, unsigned package)
{
	(void)snprintf(name, MILLION_NAME_SIZE, "%04u", package);
}

static inline void million_dir_name(char *name, unsigned dir)
{
	(void)snprintf(name, MILLION_NAME_SIZE, "d%02u", dir);
}

static inline void million_file_name(char *name, unsigned file)
{
	(void)snprintf(name, MILLION_NAME_SIZE, "file-%05u.txt", file);
}

static inline uint64_t million_file_bytes(unsigned package, unsigned file)
{
	return (package * 31u + file * 37u) % 201;
}

static inline uint64_t million_big_bytes(unsigned package)
{
	return (UINT64_C(1) << 20) + 4096 * (1 + package % 256);
}

static inline int64_t million_mtime(unsigned package, unsigned file)
{
	return 1500000000 + (int64_t)package * 86400 + file;
}

#endif
