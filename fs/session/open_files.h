/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is known of the files in use, one record for each node. It says two things that have
 * nothing to do with each other but the node:
 *
 * - in which mode the kernel has the node open. A node may not be open in cached and in
 *   passthrough mode at once, and all its passthrough opens must name one backing id. The first
 *   open decides, for all that follow until the last one is closed.
 *
 *	if (!open_files_join(f, node, &id))
 *		id = open_files_begin(f, node, taken);	(another may have been faster)
 *	id = open_files_leave(f, node);			(not 0: drop it)
 *
 * - its content, for reads that reach this process. Requests name the node alone, so that a
 *   mount without OPEN works the same way, and nothing a request says is a pointer. A content
 *   that nobody reads stays open for some seconds; the number of these is bounded.
 *
 *	r = open_files_get(f, node, catalog, content, &use);
 *	n = content_read(open_file_content(use), ...);
 *	open_files_put(f, use);
 *
 * Any thread.
 */
#pragma once

#include "cache/base/threads/mutex.h"
#include "cache/content/content.h"

#include <stdbool.h>
#include <stdint.h>

#define OPEN_FILES_BUCKETS  1024
#define OPEN_FILES_IDLE_MAX 64
#define OPEN_FILES_IDLE_NS  (INT64_C(5) * 1000 * 1000 * 1000)

struct open_file;

struct open_files {
	struct content_store *contents;

	struct mutex lock;
	struct condition changed;
	struct open_file *buckets[OPEN_FILES_BUCKETS]; /* lock */
	struct open_file *oldest_idle;		       /* lock */
	struct open_file *newest_idle;		       /* lock */
	unsigned int idle_count;		       /* lock */
	bool is_watched; /* lock; the thread will look at the idle ones by itself */
	bool is_ending;	 /* lock */
	bool has_thread;
	pthread_t thread; /* closes what has been idle for long */
};

/* Borrows `contents`. 0 or -errno. */
int open_files_init(struct open_files *files, struct content_store *contents) WARN_UNUSED;

/* Closes everything; nobody uses a file any more. */
void open_files_release(struct open_files *files);

/* One more open of a node that the kernel has open; false (and nothing done) if it has not.
 * *out_backing_id is 0 for cached mode. */
bool open_files_join(struct open_files *files, uint64_t node, int *out_backing_id);

/* The first open of a node, in the mode that `backing_id` says; joins if meanwhile there was
 * another. Sets the backing id that counts. 0 or -ENOMEM. */
int open_files_begin(struct open_files *files, uint64_t node, int backing_id,
	int *out_backing_id) WARN_UNUSED;

/* One open less. Returns the backing id to drop after the last, else 0. An open that was not
 * counted may be given too: it closes the content if nobody else uses it. */
int open_files_leave(struct open_files *files, uint64_t node);

/* The node's content, opened if it is not yet. 0 or -errno. */
int open_files_get(struct open_files *files, uint64_t node, const struct catalog *catalog,
	const struct catalog_content *content, struct open_file **out) WARN_UNUSED;
struct content_file *open_file_content(const struct open_file *file);
void open_files_put(struct open_files *files, struct open_file *file);
