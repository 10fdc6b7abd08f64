/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The catalog's bytes, shared by the writer (sync/master/catalog/catalog_writer.h) and the mapped
 * reader (cache/catalog/catalog.h). All numbers are little-endian; the structures below are the file,
 * on hosts of that order. Every section starts on an eight-byte boundary. The prose and the
 * reasons stand in docs/formats/catalog.md.
 */
#pragma once

#include "cache/base/data/hash.h"

#include <stdint.h>

#define CATALOG_MAGIC	"depotfsC"
#define CATALOG_VERSION 1

/* No catalog is larger than this (decoded); bounds what a mirror will ever fetch for one. */
#define CATALOG_MAX_BYTES (UINT64_C(2) << 30)

#define FRAME_MAX_BYTES	 (256 * 1024) /* decoded size of a frame, and so of a chunk */
#define PACK_MAX_BYTES	 (UINT64_C(1) << 30)
#define CATALOG_NAME_MAX 255
#define CATALOG_ROOT	 0 /* index of the catalog's own top directory */

#define CATALOG_NO_XATTRS 0

/* Section numbers; the header's table is indexed by them. A reader refuses a catalog whose
 * `version` is not its own and ignores sections beyond those it knows. */
enum catalog_section {
	CATALOG_ENTRIES, /* struct catalog_entry */
	CATALOG_NAMES,	 /* bytes: the names, not terminated */
	CATALOG_FOLDED, /* uint32_t: entry indexes, each directory's range by folded name */
	CATALOG_TARGETS, /* bytes: symlink targets, not terminated */
	CATALOG_XATTRS, /* struct catalog_xattr_set, then the sets' bytes in XATTR_DATA */
	CATALOG_XATTR_DATA,
	CATALOG_CONTENTS, /* struct catalog_content */
	CATALOG_PIECES,	  /* struct catalog_piece: contents' chunks in file order */
	CATALOG_CHUNKS,	  /* struct catalog_chunk, by (frame, offset) */
	CATALOG_FRAMES,	  /* struct catalog_frame, by (pack, offset) */
	CATALOG_PACKS,	  /* struct catalog_pack */
	CATALOG_NESTED,	  /* struct catalog_nested */
	CATALOG_PATH, /* bytes: this catalog's path from the tree's root, "" for the root */
	CATALOG_LOCAL, /* struct catalog_local, one for each of NESTED; composed ones only */
	CATALOG_SECTIONS,
};

/* What a publisher writes, and so the least that a catalog has. */
#define CATALOG_PUBLISHED_SECTIONS CATALOG_LOCAL

#define CATALOG_HEADER_SECTIONS 24 /* room in the header; unused ones are zero */

struct catalog_section_ref {
	uint64_t offset; /* from the file's start */
	uint64_t count;	 /* items (bytes for byte sections) */
};

enum catalog_flags {
	/* a mirror put it together from entries of others: never taken from a source */
	CATALOG_COMPOSED = 1 << 0,
};

struct catalog_header {
	char magic[8];
	uint32_t version;
	uint32_t section_count; /* sections the writer knew */
	uint64_t total_bytes;	/* of the whole file */
	uint64_t tree_entries;	/* entries in this catalog and all nested ones */
	uint64_t tree_bytes;	/* sum of regular files' sizes, likewise */
	uint64_t flags;		/* enum catalog_flags; others are ignored */
	uint64_t reserved[2];
	struct catalog_section_ref sections[CATALOG_HEADER_SECTIONS];
};

enum catalog_entry_flags {
	/* a directory whose children are in a catalog of their own: `first` indexes NESTED */
	CATALOG_ENTRY_NESTED = 1 << 0,
	/* shown by this mirror, gone from the master; with NESTED: all below is, too.
	 * Composed catalogs only. */
	CATALOG_ENTRY_STALE = 1 << 1,
};

/*
 * Entries stand in breadth-first order; entry 0 is the catalog's top directory with an empty
 * name. `first`/`count` by type:
 *   directory  children first .. first+count-1, sorted by name bytes (memcmp, then length)
 *   nested     first = index into NESTED, count = 0
 *   regular    first = index into CONTENTS if size > 0, else 0; count = 0
 *   symlink    first = offset into TARGETS, count = length
 *   device     first = major, count = minor
 *   fifo       both 0
 */
struct catalog_entry {
	uint32_t name; /* offset into NAMES */
	uint16_t name_length;
	uint16_t flags;
	uint32_t mode; /* as st_mode, with the type */
	uint32_t uid;
	uint32_t gid;
	uint32_t nlink;
	uint64_t size;
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	uint32_t xattrs; /* 1 + index into XATTRS; 0 = none */
	uint64_t ino;	 /* never 0; the same for all names of a hard-linked file */
	uint32_t parent; /* index of the directory that holds it; 0 for entry 0 */
	uint32_t first;
	uint32_t count;
	uint32_t link; /* the lowest index among the names of this file in this catalog */
	uint32_t reserved[2];
};

struct catalog_xattr_set {
	uint32_t offset; /* into XATTR_DATA */
	uint32_t length;
	/* there: per attribute uint16 name length, uint32 value length, name, value;
	 * sorted by name; not aligned */
};

/* The content of regular files; files alike in content and holes share one. */
struct catalog_content {
	struct digest digest; /* SHA-256 of all of it, holes read as zeros */
	uint64_t size;
	uint64_t data_bytes; /* size less its holes */
	uint32_t first_piece;
	uint32_t piece_count; /* 0: one single hole */
};

/* Where a chunk lies in a content; what no piece covers is a hole. Sorted, not overlapping. */
struct catalog_piece {
	uint64_t position;
	uint32_t chunk;
	uint32_t reserved;
};

struct catalog_chunk {
	struct digest digest; /* SHA-256 of the chunk */
	uint32_t frame;
	uint32_t offset; /* in the decoded frame */
	uint32_t length; /* 1 .. FRAME_MAX_BYTES */
	uint32_t
		content; /* a content that uses it: who lands it when the frame arrives */
	uint32_t piece;	 /* that content's piece (index into PIECES) */
	uint32_t reserved;
};

enum catalog_frame_flags {
	CATALOG_FRAME_RAW = 1 << 0, /* stored as it is, not zstd */
};

struct catalog_frame {
	uint64_t offset;       /* in the pack */
	uint32_t stored_bytes; /* there */
	uint32_t raw_bytes;    /* decoded, 1 .. FRAME_MAX_BYTES */
	uint32_t pack;
	uint32_t flags;
	uint32_t first_chunk; /* this catalog's chunks that lie in it */
	uint32_t chunk_count;
};

struct catalog_pack {
	struct digest digest; /* SHA-256 of the pack file */
	uint64_t bytes;
};

struct catalog_nested {
	struct digest digest;  /* SHA-256 of the decoded catalog */
	uint64_t stored_bytes; /* of the file in the depot */
	uint64_t raw_bytes;
	uint64_t tree_entries; /* in it and below */
	uint64_t tree_bytes;
	uint32_t entry; /* the directory entry it hangs on */
	uint32_t reserved;
};

/* What a mirror knows of a nested catalog of one that it has composed. */
struct catalog_local {
	uint64_t revision; /* that it came from; 0: as the place of this catalog */
};

/* What names a catalog: all that is needed to fetch, bound and check it. */
struct catalog_ref {
	struct digest digest;
	uint64_t stored_bytes;
	uint64_t raw_bytes;
};

_Static_assert(sizeof(struct catalog_header) == 64 + 24 * 16, "header");
_Static_assert(sizeof(struct catalog_entry) == 80, "entry");
_Static_assert(sizeof(struct catalog_content) == 56, "content");
_Static_assert(sizeof(struct catalog_piece) == 16, "piece");
_Static_assert(sizeof(struct catalog_chunk) == 56, "chunk");
_Static_assert(sizeof(struct catalog_frame) == 32, "frame");
_Static_assert(sizeof(struct catalog_pack) == 40, "pack");
_Static_assert(sizeof(struct catalog_nested) == 72, "nested");
_Static_assert(sizeof(struct catalog_local) == 8, "local");
