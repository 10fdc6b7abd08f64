/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The master tree in memory, as tree_walk() found it: directories in depth-first order
 * (parents before children), each with its entries sorted by name bytes. Passes over the tree
 * are loops over `dirs`, forwards or backwards; nothing recurses, so depth costs no stack.
 */
#pragma once

#include "cache/base/data/arena.h"
#include "cache/base/data/hash.h"
#include "sync/master/ingest/content.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct package;
struct previous;
struct link_group;

enum tree_entry_flags {
	TREE_ENTRY_GONE = 1 << 0, /* vanished during the walk */
	TREE_ENTRY_LINKED =
		1 << 1, /* one of several names of a file: `links` is its group */
	TREE_ENTRY_CHANGED = 1 << 2, /* has to be looked at: new, or not as before */
};

struct tree_entry {
	const char *name; /* not terminated */
	uint16_t name_length;
	uint16_t flags;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t nlink; /* as published: names within the tree */
	uint32_t mtime_nsec;
	int64_t mtime_sec;
	uint64_t size;
	uint64_t fingerprint; /* of all stat(2) says; 0 never equals anything */
	uint64_t ino;	      /* as published; set for linked files only */
	union {
		struct tree_dir *dir;	       /* directory */
		const struct content *content; /* regular file with size > 0 */
		const struct blob *target;     /* symlink */
		uint64_t rdev;		       /* device */
	};
	const struct blob *xattrs; /* NULL: none */
	struct link_group *links;
};

struct tree_dir {
	struct tree_dir *parent; /* NULL for the top */
	struct tree_entry *self; /* its entry in the parent, or the tree's root entry */
	struct tree_entry *entries;
	uint32_t count;
	uint32_t weight;	 /* entries in it and below that share its catalog */
	struct package *package; /* whose catalog holds its entries */
	struct tree_dir *next;	 /* work lists */

	/* the same directory in the previous revision, NULL: none (see previous.h) */
	struct previous *previous;
	uint32_t previous_index;
};

/* One hard-linked file: all its names in the tree. The walk gives every name a group of its
 * own; links_resolve() leaves one for each file. */
struct link_group {
	struct tree_entry *reader; /* the name under which this publish reads it */
	uint64_t device;	   /* st_dev and st_ino: what is read must be this file */
	uint64_t number;
	uint64_t ino;  /* as published */
	uint64_t seen; /* the fingerprint that the walk found */
	uint32_t count;
	uint32_t read_count; /* names that get what this publish reads */
};

struct tree {
	int fd; /* the top */
	const char *path;
	struct arena arena;
	struct tree_entry root;
	struct tree_dir **dirs;
	size_t dir_count;
	size_t entry_count; /* the root included */
	size_t skipped_sockets;
};

/* The path from the tree's root of an entry ("" for the root itself), appended to `out`.
 * Returns 0 or -ENOMEM. */
struct buffer;
int tree_path(const struct tree_dir *dir, const struct tree_entry *entry,
	struct buffer *out) WARN_UNUSED;

/* A fingerprint of what stat(2) says. `seen_ns` is when it was asked, real time: an entry that
 * changed so shortly before that another change could leave no trace gets 0. */
uint64_t tree_fingerprint(const struct stat *st, int64_t seen_ns);

/* How long until a change of what `st` tells of is sure to change its ctime: 0 unless the last
 * change is too young. A ctime that lies far ahead is nobody's clock's, and no new change gets it:
 * 0 too. */
int64_t tree_racy_ns(const struct stat *st, int64_t now_ns);

/* Copies the published part of `st` into `e`; the fingerprint too. */
void tree_entry_set_stat(struct tree_entry *e, const struct stat *st, int64_t seen_ns);

/* memcmp order, the shorter name first. */
int tree_name_compare(const char *a, size_t a_len, const char *b, size_t b_len);

void tree_release(struct tree *tree);

/* The fingerprint of a linked entry, from the plain one in `e`: what is published of it also
 * depends on its other names. */
uint64_t tree_linked_fingerprint(const struct tree_entry *e);
