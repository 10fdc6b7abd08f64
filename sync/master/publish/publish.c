/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/publish/publish.h"

#include "cache/base/disk/file_lock.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/catalog/catalog_check.h"
#include "cache/catalog/stored/catalog_codec.h"
#include "sync/master/catalog/catalog_writer.h"
#include "sync/master/ingest/chunks/chunk_index.h"
#include "sync/master/ingest/parallel.h"
#include "sync/master/publish/publish_state.h"
#include "sync/master/walk/links.h"
#include "sync/master/walk/tree_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The globs given, or those of the last publish. */
static int choose_globs(struct publish *p)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(GLOBS_MAX_BYTES);
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->o->glob_count; i++)
		r = buffer_printf(&text, "%s\n", p->o->globs[i]);
	if (r < 0)
		return r;
	if (p->o->glob_count) {
		p->globs_text = mem_dup(text.data, text.len);
		r = p->globs_text ? 0 : -ENOMEM;
	} else {
		r = scan_state_setting(p->state, "packages", &p->globs_text);
		if (r == -ENOENT) {
			p->globs_text = mem_strdup("");
			r = p->globs_text ? 0 : -ENOMEM;
		}
	}
	return r;
}

static int split_globs(struct publish *p)
{
	size_t capacity = 0;
	char *line = p->globs_text;

	while (*line) {
		char *end = strchr(line, '\n');
		int r = mem_grow(
			(void **)&p->globs, &capacity, p->glob_count, sizeof(char *));

		if (r < 0)
			return r;
		p->globs[p->glob_count++] = line;
		if (!end)
			break;
		*end = '\0';
		line = end + 1;
	}
	for (size_t i = 0; i < p->glob_count && !p->o->glob_count; i++)
		log_info("packages as in the last publish: %s", p->globs[i]);
	return 0;
}

static int scan(struct publish *p)
{
	struct stat st;

	if (fstat(p->depot->fd, &st) < 0)
		return -errno;
	int r = tree_walk(p->o->tree, &st, p->o->threads, &p->tree);

	if (r == -EDEADLK)
		return log_error_errno(r,
			"the depot %s lies inside the tree %s; keep them apart",
			p->o->depot, p->o->tree);
	if (r == 0)
		r = links_resolve(&p->tree);
	if (r == 0)
		r = packages_divide(&p->tree, p->globs, p->glob_count, &p->packages);
	if (r < 0)
		return r;
	packages_hash(&p->tree);
	p->report->entries = p->tree.entry_count;
	p->report->packages = p->packages.count;
	p->report->sockets = p->tree.skipped_sockets;
	return work_list_compare(&p->packages, p->state, p->depot);
}

static int read_contents(struct publish *p)
{
	struct ingest_result result;
	const struct ingest_options options = {.tree = &p->tree,
		.depot = p->depot,
		.state = p->state,
		.chunks = p->chunks,
		.packs = p->packs,
		.threads = p->o->threads,
		.level = p->o->level};
	int r = ingest_run(&options, p->work.items, p->work.count, &result);

	if (r < 0)
		return r;
	work_list_share(&p->work);
	packages_hash(&p->tree);
	p->report->files_read = result.files;
	p->report->bytes_read = result.bytes_read;
	p->report->bytes_stored = result.bytes_stored;
	size_t count;
	const struct finished_pack *packs = pack_writer_finished(p->packs, &count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		char name[PACK_TMP_NAME_SIZE];

		pack_tmp_name(packs[i].number, name);
		r = staging_add(p->staging, "pack", &packs[i].pack->digest, name);
	}
	return r;
}

/* Writes a catalog's stored form; an equal catalog that the depot has stays as it is,
 * because its stored size stands in records that name it. */
static int store_catalog(
	struct publish *p, struct package *pkg, const void *data, size_t len)
{
	char name[DEPOT_OBJECT_SIZE];
	char tmp_name[16 + DIGEST_HEX_SIZE];
	struct stat st;
	int r = digest_of(data, len, &pkg->ref.digest);

	if (r < 0)
		return r;
	pkg->ref.raw_bytes = len;
	depot_object_name("catalog", &pkg->ref.digest, name);
	if (fstatat(p->depot->fd, name, &st, 0) == 0 && st.st_size > 0) {
		pkg->ref.stored_bytes = (uint64_t)st.st_size;
		return 0;
	}
	struct buffer stored AUTO_BUFFER = BUFFER_INIT(CATALOG_STORED_MAX);

	r = catalog_encode(data, len, p->o->level, &stored);
	if (r < 0)
		return r;
	pkg->ref.stored_bytes = stored.len;
	digest_to_hex(&pkg->ref.digest, name);
	(void)snprintf(tmp_name, sizeof(tmp_name), "catalog-%.64s", name);
	AUTO_CLOSE int fd = openat(
		p->tmp_fd, tmp_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	r = fchmod(fd, 0644) < 0 ? -errno : io_write(fd, stored.data, stored.len);
	if (r < 0)
		return r;
	if (close(TAKE_FD(fd)) < 0)
		return -errno;
	return staging_add(p->staging, "catalog", &pkg->ref.digest, tmp_name);
}

/* Nothing is signed that every mirror would refuse. */
static int prove_sound(const struct package *pkg, const void *data, size_t len)
{
	struct catalog as_read;
	const char *reason = "";
	int r = catalog_check(&as_read, data, len, &reason);

	if (r < 0)
		log_error("package '%s' cannot be described: %s", pkg->path, reason);
	return r;
}

static int make_catalog(void *context, size_t index)
{
	struct publish *p = context;
	struct package *pkg = p->packages.list[p->level_list[index]];
	AUTO_FREE void *data = NULL;
	size_t len;
	int r = catalog_write(pkg, &data, &len);

	if (r == 0)
		r = prove_sound(pkg, data, len);
	if (r == 0)
		r = store_catalog(p, pkg, data, len);
	if (r < 0)
		return log_error_errno(r, "cannot write the catalog of '%s': %s%s",
			pkg->path, log_strerror(r),
			r == -ENOSPC  ? "; make room and publish again"
			: r == -E2BIG ? "; divide it with --packages"
				      : "");
	return 0;
}

/* From the leaves up: a catalog names those nested in it. */
static int make_catalogs(struct publish *p)
{
	uint32_t top = p->packages.list[0]->height;

	p->level_list = mem_alloc(p->packages.count * sizeof(*p->level_list));
	if (!p->level_list)
		return -ENOMEM;
	for (uint32_t height = 0; height <= top; height++) {
		size_t n = 0;

		for (size_t i = 0; i < p->packages.count; i++) {
			const struct package *pkg = p->packages.list[i];

			if (pkg->is_dirty && pkg->height == height)
				p->level_list[n++] = i;
		}
		int r = parallel_for(n, p->o->threads, make_catalog, p);

		if (r < 0)
			return r;
	}
	return 0;
}

static int start_work(struct publish *p)
{
	int r = history_new(p->depot, p->state, &p->arena, &p->history);

	if (r == 0)
		r = work_list_make(&p->tree, &p->packages, p->history, &p->work);
	if (r == 0)
		r = chunk_table_new(&p->chunks);
	for (size_t i = 0; i < p->packages.count; i++)
		p->report->changed_packages += p->packages.list[i]->is_dirty;
	return r;
}

static int dry_run(struct publish *p)
{
	p->report->outcome = PUBLISH_DRY_RUN;
	p->report->has_changes = p->work.count > 0 || !publish_is_as_latest(p);
	p->report->revision = p->latest.number + p->report->has_changes;
	p->report->files_read = p->work.files;
	p->report->bytes_read = p->work.bytes;
	return 0;
}

static int prepare(struct publish *p)
{
	int r = publish_open(p);

	if (r == 0)
		r = choose_globs(p);
	if (r == 0)
		r = split_globs(p);
	return r;
}

int publish(const struct publish_options *options, struct publish_report *out)
{
	struct publish_report report = {0};
	struct publish p CLEANUP(publish_release) = PUBLISH_INIT(options);
	int64_t start_ns = clock_mono_ns();

	p.report = &report;
	io_raise_nofile();
	int r = prepare(&p);

	if (r == 0)
		r = scan(&p);
	if (r < 0)
		return r;
	if (!p.packages.list[0]->is_dirty && publish_is_as_latest(&p) &&
		!options->is_dry_run) {
		r = publish_point_channel(&p);
	} else {
		r = start_work(&p);
		if (r == 0 && options->is_dry_run) {
			r = dry_run(&p);
		} else if (r == 0) {
			r = pack_writer_new(p.tmp_fd, &p.arena, &p.packs);
			if (r == 0)
				r = read_contents(&p);
			if (r == 0)
				r = make_catalogs(&p);
			if (r == 0)
				r = publish_commit(&p);
		}
	}
	if (r < 0)
		return r;
	report.seconds = (double)(clock_mono_ns() - start_ns) / (double)NS_PER_SEC;
	*out = report;
	return 0;
}
