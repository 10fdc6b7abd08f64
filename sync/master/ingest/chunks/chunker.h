/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Content-defined chunking: FastCDC with normalisation level 2 (W. Xia et al., "FastCDC: a
 * Fast and Efficient Content-Defined Chunking Approach for Data Deduplication", USENIX ATC
 * 2016). Where a chunk ends depends on the bytes near its end only, so an insertion moves
 * boundaries, it does not lose them. Pure; any thread.
 *
 *	while (len)
 *		n = chunker_cut(p, len), p += n, len -= n;
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CHUNK_MIN_BYTES (16 * 1024)
#define CHUNK_AVG_BYTES (64 * 1024)
#define CHUNK_MAX_BYTES (256 * 1024)

/* The length of the chunk that begins at `data`. `len` must be at least CHUNK_MAX_BYTES unless
 * the data ends there. */
size_t chunker_cut(const uint8_t *data, size_t len);
