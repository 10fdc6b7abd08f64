/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * prefetch URL CACHE KEY [JOBS]: makes all of a depot's channel `stable` complete in a cache
 * directory, without a mount: what a run of the reconciler does between plan and flip. The tree that the
 * same directory was made complete for before serves chunks. Prints one line,
 * "fetched=N reused=N done=N failed=N", and exits 0 if nothing failed.
 */
#include "cache/content/prefetch.h"
#include "cache/base/clock.h"
#include "cache/base/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/mutex.h"
#include "cache/base/thread.h"
#include "cache/catalog/catalog_store.h"
#include "sync/mirror/follower.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define TREE_MAX     4096
#define JOBS_MAX     16
#define LAST_FILE    "prefetched" /* the root of the run before */
#define DEADLINE_NS  (60 * NS_PER_SEC)
#define USAGE_STATUS 2

struct mirror {
	int cache_dirfd;
	struct key_ring keys;
	struct fetcher *fetcher;
	struct follower *follower;
	struct checkpoint *checkpoint;
	struct object_store *objects;
	struct catalog_store *catalogs;
	struct content_store *contents;
};

struct tree {
	struct catalog *catalogs[TREE_MAX];
	size_t count;
};

static struct mirror mirror;
static struct tree now;
static struct tree before;
static struct prefetch_progress progress;
static atomic_size_t next_catalog;
static atomic_int first_error;

struct awaited {
	struct catalog_request rq; /* first */
	struct catalog *catalog;
	struct mutex lock;
	struct condition changed;
	bool is_done;
	int error;
};

static int keep_catalog(struct catalog_request *rq, const uint8_t *data)
{
	struct awaited *a = (struct awaited *)rq;

	return catalog_store_put(mirror.catalogs, &rq->ref, data, &a->catalog);
}

static void end_catalog(struct catalog_request *rq, int error)
{
	struct awaited *a = (struct awaited *)rq;

	mutex_lock(&a->lock);
	a->is_done = true;
	a->error = error;
	condition_signal(&a->changed);
	mutex_unlock(&a->lock);
}

static int fetch_catalog(const struct catalog_ref *ref, struct catalog **out)
{
	struct awaited a = {.rq = {.ref = *ref,
				    .class = FETCH_BACKGROUND,
				    .deadline_ns = clock_mono_ns() + DEADLINE_NS,
				    .deliver = keep_catalog,
				    .done = end_catalog}};

	mutex_init(&a.lock);
	condition_init(&a.changed);
	source_fetch_catalog(fetcher_source(mirror.fetcher), &a.rq);
	mutex_lock(&a.lock);
	while (!a.is_done)
		condition_wait(&a.changed, &a.lock);
	mutex_unlock(&a.lock);
	condition_release(&a.changed);
	mutex_release(&a.lock);
	*out = a.catalog;
	return a.error;
}

/* All catalogs of a tree, breadth first. Those that are not here are fetched, or skipped. */
static int open_tree(struct tree *tree, const struct catalog_ref *root, bool may_fetch)
{
	struct catalog_ref *refs = mem_calloc(TREE_MAX, sizeof(*refs));
	size_t count = 1;

	if (!refs)
		return -ENOMEM;
	refs[0] = *root;
	for (size_t i = 0; i < count; i++) {
		struct catalog *c = NULL;
		int r = catalog_store_get(mirror.catalogs, &refs[i], &c);

		if (r == -ENOENT && may_fetch)
			r = fetch_catalog(&refs[i], &c);
		if (r < 0 && may_fetch) {
			free(refs);
			return r;
		}
		if (r < 0)
			continue;
		tree->catalogs[tree->count++] = c;
		for (uint32_t k = 0; k < c->nested_count && count < TREE_MAX; k++)
			refs[count++] =
				(struct catalog_ref){.digest = c->nested[k].digest,
					.stored_bytes = c->nested[k].stored_bytes,
					.raw_bytes = c->nested[k].raw_bytes};
	}
	free(refs);
	return 0;
}

static void close_tree(struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		catalog_close(tree->catalogs[i]);
}

static void *run_job(void *arg)
{
	(void)arg;
	for (;;) {
		size_t i = atomic_fetch_add(&next_catalog, 1);

		if (i >= now.count)
			return NULL;
		const struct prefetch_config config = {.store = mirror.contents,
			.catalog = now.catalogs[i],
			.siblings = (const struct catalog *const *)before.catalogs,
			.sibling_count = before.count,
			.progress = &progress};
		int r = prefetch_run(&config);

		if (r < 0)
			atomic_store(&first_error, r);
	}
}

static int open_mirror(const char *url, const char *cache, const char *key)
{
	struct fetcher_config fetcher = {.urls = url};

	mirror.cache_dirfd = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mirror.cache_dirfd < 0)
		return -errno;
	int r = key_ring_load(key, &mirror.keys);

	if (r == 0)
		r = fetcher_new(&fetcher, &mirror.fetcher);
	if (r == 0)
		r = checkpoint_open(mirror.cache_dirfd, &mirror.checkpoint);
	if (r == 0)
		r = object_store_open(
			mirror.cache_dirfd, mirror.checkpoint, &mirror.objects);
	if (r == 0)
		r = catalog_store_open(mirror.cache_dirfd, &mirror.catalogs);
	if (r < 0)
		return r;
	checkpoint_settle(mirror.checkpoint);
	const struct content_config contents = {.cache_dirfd = mirror.cache_dirfd,
		.checkpoint = mirror.checkpoint,
		.objects = mirror.objects,
		.source = fetcher_source(mirror.fetcher),
		.fetch_deadline_ns = DEADLINE_NS};

	return content_store_new(&contents, &mirror.contents);
}

static void close_mirror(void)
{
	follower_free(mirror.follower);
	fetcher_free(mirror.fetcher);
	content_store_free(mirror.contents);
	close_tree(&now);
	close_tree(&before);
	catalog_store_free(mirror.catalogs);
	object_store_free(mirror.objects);
	checkpoint_free(mirror.checkpoint);
	if (mirror.cache_dirfd >= 0)
		close(mirror.cache_dirfd);
}

static int run_jobs(size_t jobs)
{
	pthread_t threads[JOBS_MAX];
	size_t started = 0;
	int r = 0;

	while (started < jobs && r == 0) {
		r = thread_start(&threads[started], "job", run_job, NULL);
		started += r == 0;
	}
	for (size_t i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	return r < 0 ? r : atomic_load(&first_error);
}

static int write_last(const struct catalog_ref *root)
{
	int fd = openat(mirror.cache_dirfd, LAST_FILE,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	int r = io_write(fd, root, sizeof(*root));

	return close(fd) < 0 && r == 0 ? -errno : r;
}

static void open_last(void)
{
	struct catalog_ref root;
	AUTO_CLOSE int fd = openat(mirror.cache_dirfd, LAST_FILE, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && io_pread_exact(fd, &root, sizeof(root), 0) == 0)
		(void)open_tree(&before, &root, false);
}

int main(int argc, char **argv)
{
	struct follower_result channel;
	unsigned long long jobs = 4;

	if (argc < 4 || argc > 5 ||
		(argc == 5 && (io_parse_u64(argv[4], &jobs) < 0 || jobs > JOBS_MAX))) {
		(void)fprintf(stderr, "usage: prefetch URL CACHE KEY [JOBS]\n");
		return USAGE_STATUS;
	}
	io_raise_nofile();
	mirror.cache_dirfd = -1;
	int r = open_mirror(argv[1], argv[2], argv[3]);

	if (r == 0)
		r = follower_new(mirror.cache_dirfd, &mirror.keys, "stable",
			mirror.fetcher, &mirror.follower);
	if (r == 0)
		r = follower_open(mirror.follower, &channel);
	if (r == 0) {
		open_last();
		r = open_tree(&now, &channel.head.root, true);
	}
	if (r == 0)
		r = run_jobs((size_t)jobs);
	if (r == 0)
		r = write_last(&channel.head.root);
	close_mirror();
	if (r < 0)
		(void)fprintf(stderr, "prefetch: %s\n", log_strerror(r));
	printf("fetched=%llu reused=%llu done=%llu failed=%llu\n",
		(unsigned long long)progress.bytes_fetched,
		(unsigned long long)progress.bytes_reused,
		(unsigned long long)progress.contents_done,
		(unsigned long long)progress.contents_failed);
	return r < 0 || progress.contents_failed;
}
