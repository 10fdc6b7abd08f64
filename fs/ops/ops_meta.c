/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/session_state.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#define BLOCK_SIZE 4096
#define STAT_BLOCK 512

int session_errno(int r)
{
	switch (-r) {
	case ENOMEM:
	case ENOTDIR:
	case EISDIR:
	case ESTALE:
	case EINTR:
	case EINVAL:
		return -r;
	case ECANCELED:
		return ENOTCONN;
	default:
		return EIO;
	}
}

/* Bytes that are not holes. */
static uint64_t data_bytes(const struct view_node *node)
{
	const struct catalog_content *content =
		catalog_content_of(node->catalog, node->entry);

	return content ? content->data_bytes : node->entry->size;
}

void ops_meta_attr(const struct view_node *node, struct stat *out)
{
	const struct catalog_entry *e = node->entry;

	*out = (struct stat){
		.st_ino = e->ino,
		.st_mode = e->mode,
		.st_nlink = e->nlink,
		.st_uid = e->uid,
		.st_gid = e->gid,
		.st_size = (off_t)e->size,
		.st_blksize = BLOCK_SIZE,
		.st_blocks = (blkcnt_t)((data_bytes(node) + STAT_BLOCK - 1) / STAT_BLOCK),
		.st_mtim = {.tv_sec = e->mtime_sec, .tv_nsec = e->mtime_nsec},
	};
	out->st_atim = out->st_mtim;
	out->st_ctim = out->st_mtim;
	if (S_ISCHR(e->mode) || S_ISBLK(e->mode))
		out->st_rdev = makedev(e->first, e->count);
}

void ops_meta_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;
	struct stat st;

	(void)fi;
	session_count(&session_of(req)->getattrs);
	int r = view_resolve(session_of(req)->config.view, ino, &node);

	if (r < 0) {
		fuse_reply_err(req, session_errno(r));
		return;
	}
	ops_meta_attr(&node, &st);
	fuse_reply_attr(req, &st, ENTRY_TIMEOUT_SEC);
}

void ops_meta_readlink(fuse_req_t req, fuse_ino_t ino)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;
	char target[BLOCK_SIZE];
	int r = view_resolve(session_of(req)->config.view, ino, &node);

	if (r == 0 && !S_ISLNK(node.entry->mode))
		r = -EINVAL;
	if (r < 0) {
		fuse_reply_err(req, session_errno(r));
		return;
	}
	/* catalog_check() has bounded the length */
	memcpy(target, node.catalog->targets + node.entry->first, node.entry->count);
	target[node.entry->count] = '\0';
	fuse_reply_readlink(req, target);
}

void ops_meta_statfs(fuse_req_t req, fuse_ino_t ino)
{
	AUTO_EPOCH epoch = epoch_enter();
	const struct catalog_header *h =
		view_root_catalog(session_of(req)->config.view)->header;
	struct statvfs st = {
		.f_bsize = BLOCK_SIZE,
		.f_frsize = BLOCK_SIZE,
		.f_blocks = (h->tree_bytes + BLOCK_SIZE - 1) / BLOCK_SIZE,
		.f_files = h->tree_entries,
		.f_namemax = CATALOG_NAME_MAX,
	};

	(void)ino;
	fuse_reply_statfs(req, &st);
}
