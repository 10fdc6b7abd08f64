/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the callbacks in fs/ share; not for others. */
#pragma once

#define FUSE_USE_VERSION 312

#include "cache/base/threads/epoch.h"
#include "fs/session/notify.h"
#include "fs/session/onward.h"
#include "fs/session/open_files.h"
#include "fs/session/parked.h"
#include "fs/session/passthrough.h"
#include "fs/session/pusher.h"
#include "fs/session/session.h"
#include "fs/session/sum_queue.h"
#include "fs/session/turns.h"

#include <fuse_lowlevel.h>
#include <stdatomic.h>

/* The kernel may keep what it was told until a flip makes it forget. */
#define ENTRY_TIMEOUT_SEC (365.0 * 24 * 3600)

/* Names and listings are answered from local catalogs; one that must be fetched first may keep
 * its caller this long at most (an SMB client's whole connection waits with it). */
#define METADATA_TIMEOUT_NS (5 * NS_PER_SEC)

struct session {
	struct session_config config;
	struct fuse_session *fuse;
	struct parked_list parked;
	struct sum_queue sums;
	bool is_opendir_needless; /* the kernel can do without; set at INIT */
	struct passthrough passthrough;
	struct open_files open_files;
	struct notify notify;
	struct pusher pusher;
	struct onward onward;
	struct turns turns;
	/* for session_get_stats() */
	atomic_uint_fast64_t lookups;
	atomic_uint_fast64_t listings;
	atomic_uint_fast64_t getattrs;
	atomic_uint_fast64_t opens;
	atomic_uint_fast64_t reads;
};

static inline void session_count(atomic_uint_fast64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static inline struct session *session_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The session's callbacks, by file. */
void ops_dir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_dir_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void ops_dir_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list);
void ops_dir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);
void ops_dir_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);

void ops_file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	struct fuse_file_info *fi);
void ops_file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_file_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
	struct fuse_file_info *fi);

void ops_meta_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_meta_readlink(fuse_req_t req, fuse_ino_t ino);
void ops_meta_statfs(fuse_req_t req, fuse_ino_t ino);

void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size);

/* Answers with an attribute of xattr_virtual.h; `name` is without the prefix. */
void xattr_answer_virtual(fuse_req_t req, uint64_t ino, const char *name, size_t size);

/* An entry's attributes as stat(2) shows them. */
void ops_meta_attr(const struct view_node *node, struct stat *out);

/* What the kernel is told for an internal error: metadata and reads that the network owes
 * fail with EIO, whatever the reason (which the log names). */
int session_errno(int r);
