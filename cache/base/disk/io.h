/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whole reads and writes, and small files. All return 0 or -errno unless said otherwise and
 * restart after signals. Any thread.
 */
#pragma once

#include "cache/base/cleanup.h"
#include "cache/base/data/buffer.h"

#include <stddef.h>
#include <sys/types.h>

/* Writes all of it; a short write without an error is -EIO. */
int io_write(int fd, const void *data, size_t len) WARN_UNUSED;
int io_pwrite(int fd, const void *data, size_t len, off_t offset) WARN_UNUSED;

/* Reads up to `len` bytes; fewer only at the end. Returns the count or -errno. */
ssize_t io_read(int fd, void *data, size_t len) WARN_UNUSED;
ssize_t io_pread(int fd, void *data, size_t len, off_t offset) WARN_UNUSED;

/* Reads exactly `len` bytes, else -EBADMSG at an early end. */
int io_pread_exact(int fd, void *data, size_t len, off_t offset) WARN_UNUSED;

/* Appends the whole file to `out`, whose maximum bounds it (-EFBIG). */
int io_read_file(int dirfd, const char *path, struct buffer *out) WARN_UNUSED;

/* As io_read_file(), for what an admin names: -EINVAL unless it is a regular file, so that a FIFO or a
 * device is not waited for. */
int io_read_regular(int dirfd, const char *path, struct buffer *out) WARN_UNUSED;

/* Creates `path` and its missing parents (mode for each). An existing directory is fine. */
int io_mkdirs(const char *path, mode_t mode) WARN_UNUSED;

/* Raises the limit of open files as far as this process may. */
void io_raise_nofile(void);

/* Reads a whole decimal number, nothing before or behind. Returns 0, -EINVAL or -ERANGE. */
int io_parse_u64(const char *text, unsigned long long *out) WARN_UNUSED;
