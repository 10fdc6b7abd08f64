/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The begin of whatever changes a channel: key, lock, records, state. */
#include "cache/base/disk/file_lock.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "sync/master/ingest/chunks/chunk_index.h"
#include "sync/master/publish/publish_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

/* The directory of the signing key: as told, as init remembered, or the default. */
static int find_key_dir(const struct publish *p, struct buffer *out)
{
	int r = 0;

	if (p->o->key_dir)
		return buffer_printf(out, "%s", p->o->key_dir);
	r = io_read_file(p->depot->fd, DEPOT_KEY_DIR, out);
	if (r == -ENOENT)
		return buffer_printf(out, "%s", DEPOT_DEFAULT_KEYS);
	return r;
}

static int load_key(struct publish *p)
{
	struct buffer dir AUTO_BUFFER = BUFFER_INIT(PATH_MAX);
	char path[PATH_MAX];
	const char *name = p->o->key;
	int r = 0;

	if (!name) {
		r = depot_trust(p->depot, NULL, &p->trust);
		if (r < 0)
			return r;
		r = find_key_dir(p, &dir);
		if (r < 0)
			return log_error_errno(r,
				"cannot tell where the signing key is: %s",
				log_strerror(r));
		if (snprintf(path, sizeof(path), "%.*s/%s.key", (int)dir.len,
			    (const char *)dir.data, p->trust.name) >= (int)sizeof(path))
			return -ENAMETOOLONG;
		name = path;
	}
	r = signing_key_load(name, &p->key);
	if (r < 0)
		return log_error_errno(r, "cannot use the signing key %s: %s%s", name,
			log_strerror(r),
			r == -EPERM    ? "; others may read it: chmod 600"
			: r == -ENOENT ? "; name it with --key or --key-dir"
				       : "");
	struct key_ring ring = {0};

	r = key_ring_add(&ring, signing_key_public(p->key)->bytes);
	if (r == 0)
		r = depot_trust_by(p->depot, &ring, name, &p->trust);
	if (r == 0 && p->trust.threshold > 1)
		r = log_error_errno(-EKEYREJECTED,
			"this depot wants %" PRIu32 " signatures on each record; "
			"one key alone cannot publish",
			p->trust.threshold);
	return r;
}

static int open_publisher(struct publish *p)
{
	pid_t holder = 0;

	if (mkdirat(p->depot->fd, DEPOT_PUBLISHER, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (mkdirat(p->depot->fd, DEPOT_TMP, 0700) < 0 && errno != EEXIST)
		return -errno;
	p->publisher_fd =
		openat(p->depot->fd, DEPOT_PUBLISHER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->tmp_fd = openat(p->depot->fd, DEPOT_TMP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->publisher_fd < 0 || p->tmp_fd < 0)
		return -errno;
	p->lock_fd = file_lock_take(p->publisher_fd, DEPOT_LOCK, &holder);
	if (p->lock_fd == -EWOULDBLOCK)
		return log_error_errno(-EBUSY,
			"another publisher (process %ld) works on %s; "
			"wait for it or stop it",
			(long)holder, p->depot->path);
	if (p->lock_fd < 0)
		return p->lock_fd;
	return 0;
}

static int load_records(struct publish *p)
{
	uint64_t number;
	int r = depot_latest_number(p->depot, &p->trust, &number);

	if (r == 0 && number)
		r = depot_revision(
			p->depot, &p->trust, number, &p->latest, &p->latest_digest);
	if (r < 0)
		return r;
	r = depot_head(p->depot, &p->trust, p->o->channel, &p->head);
	if (r == 0 || r == -ENOENT)
		return 0;
	/* no mirror takes it either: what is made from the depot can only be better */
	if (r == -EBADMSG || r == -EKEYREJECTED || r == -EXDEV) {
		log_warn("%s/channel/%s is damaged (%s); publishing replaces it",
			p->depot->path, p->o->channel, log_strerror(r));
		return 0;
	}
	return log_error_errno(r, "cannot read %s/channel/%s: %s", p->depot->path,
		p->o->channel, log_strerror(r));
}

static int open_state(struct publish *p)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/" DEPOT_PUBLISHER, p->depot->path) >=
		(int)sizeof(path))
		return -ENAMETOOLONG;
	int r = scan_state_open(path, p->trust.id, &p->state, &p->state_is_new);

	if (r < 0)
		return r;
	if (p->state_is_new && p->latest.number)
		log_warn("%s/state.db was lost: all files are read again", path);
	return chunk_index_catch_up(p->depot, &p->trust, p->state, p->latest.number);
}

int publish_open(struct publish *p)
{
	int r = depot_open(p->o->depot, &p->depot);

	if (r == 0)
		r = load_key(p);
	if (r == 0)
		r = publish_try_signing(p);
	if (r < 0)
		return r;
	r = open_publisher(p);
	if (r < 0 && r != -EBUSY)
		return log_error_errno(r, "cannot write to the depot %s: %s", p->o->depot,
			log_strerror(r));
	if (r == 0)
		r = load_records(p);
	if (r == 0)
		r = staging_new(p->depot, p->tmp_fd, &p->staging);
	if (r == 0)
		r = open_state(p);
	if (r == 0)
		r = publish_recall_channel(p);
	return r;
}

void publish_release(struct publish *p)
{
	work_list_release(&p->work);
	history_free(p->history);
	pack_writer_free(p->packs);
	staging_free(p->staging);
	chunk_table_free(p->chunks);
	packages_release(&p->packages);
	tree_release(&p->tree);
	arena_release(&p->arena);
	scan_state_close(p->state);
	signing_key_free(p->key);
	free(p->globs);
	free(p->globs_text);
	free(p->level_list);
	cleanup_close(&p->lock_fd);
	cleanup_close(&p->tmp_fd);
	cleanup_close(&p->publisher_fd);
	depot_close(p->depot);
}
