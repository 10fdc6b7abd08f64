/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/open_files.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"

#include <errno.h>

/* A record lives while opens, users or content is set; it is idle while only content is. */
struct open_file {
	struct open_file *next; /* in its bucket; open_files.lock, as all below */
	uint64_t node;
	unsigned int opens; /* of the kernel, where their mode matters */
	unsigned int users; /* reads at this moment */
	int backing_id;	    /* of these opens; 0: cached mode */
	bool is_idle;
	int64_t idle_since_ns;
	struct open_file *older; /* among the idle ones */
	struct open_file *newer;
	struct content_file *content; /* set before anybody uses it */
	struct digest digest;	      /* of it */
};

static struct open_file **bucket_of(struct open_files *files, uint64_t node)
	REQUIRES(files->lock)
{
	/* node ids are a slot and a small index: mix both halves */
	uint64_t key = (node ^ node >> 32) * UINT64_C(0x9e3779b97f4a7c15);

	return &files->buckets[(key >> 32) % OPEN_FILES_BUCKETS];
}

static struct open_file *find(struct open_files *files, uint64_t node)
	REQUIRES(files->lock)
{
	struct open_file *f = *bucket_of(files, node);

	while (f && f->node != node)
		f = f->next;
	return f;
}

static struct open_file *add(struct open_files *files, uint64_t node)
	REQUIRES(files->lock)
{
	struct open_file *f = mem_calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	struct open_file **bucket = bucket_of(files, node);

	f->node = node;
	f->next = *bucket;
	*bucket = f;
	return f;
}

static void leave_idle(struct open_files *files, struct open_file *f)
	REQUIRES(files->lock)
{
	if (!f->is_idle)
		return;
	*(f->older ? &f->older->newer : &files->oldest_idle) = f->newer;
	*(f->newer ? &f->newer->older : &files->newest_idle) = f->older;
	f->older = NULL;
	f->newer = NULL;
	f->is_idle = false;
	files->idle_count--;
}

static void enter_idle(struct open_files *files, struct open_file *f)
	REQUIRES(files->lock)
{
	f->idle_since_ns = clock_mono_ns();
	f->older = files->newest_idle;
	*(f->older ? &f->older->newer : &files->oldest_idle) = f;
	files->newest_idle = f;
	f->is_idle = true;
	files->idle_count++;
	if (!files->is_watched) {
		files->is_watched = true;
		condition_signal(&files->changed);
	}
}

/* Takes a record out of the table; the caller ends it, without the lock. */
static struct open_file *take(struct open_files *files, struct open_file *f)
	REQUIRES(files->lock)
{
	struct open_file **at = bucket_of(files, f->node);

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	leave_idle(files, f);
	return f;
}

static void end(struct open_file *f)
{
	if (!f)
		return;
	if (f->content)
		content_close(f->content);
	free(f);
}

/* Takes the idle ones that are too old; says when to look again. */
static struct open_file *take_overdue(struct open_files *files, int64_t *out_next_ns)
	REQUIRES(files->lock)
{
	int64_t now_ns = clock_mono_ns();
	struct open_file *taken = NULL;

	while (files->oldest_idle &&
		files->oldest_idle->idle_since_ns + OPEN_FILES_IDLE_NS <= now_ns) {
		struct open_file *f = take(files, files->oldest_idle);

		f->next = taken;
		taken = f;
	}
	*out_next_ns = files->oldest_idle
			       ? files->oldest_idle->idle_since_ns + OPEN_FILES_IDLE_NS
			       : 0;
	return taken;
}

static void end_all(struct open_file *list)
{
	while (list) {
		struct open_file *next = list->next;

		end(list);
		list = next;
	}
}

static void *watch_idle(void *arg)
{
	struct open_files *files = arg;
	int64_t next_ns;

	mutex_lock(&files->lock);
	while (!files->is_ending) {
		struct open_file *overdue = take_overdue(files, &next_ns);

		if (overdue) {
			mutex_unlock(&files->lock);
			end_all(overdue);
			mutex_lock(&files->lock);
		} else if (next_ns) {
			(void)condition_wait_until(
				&files->changed, &files->lock, next_ns);
		} else {
			files->is_watched = false;
			condition_wait(&files->changed, &files->lock);
		}
	}
	mutex_unlock(&files->lock);
	return NULL;
}

int open_files_init(struct open_files *files, struct content_store *contents)
{
	*files = (struct open_files){.contents = contents};
	mutex_init(&files->lock);
	condition_init(&files->changed);
	int r = thread_start(&files->thread, "open-files", watch_idle, files);

	files->has_thread = r == 0;
	return r;
}

void open_files_release(struct open_files *files)
{
	mutex_lock(&files->lock);
	files->is_ending = true;
	condition_signal(&files->changed);
	mutex_unlock(&files->lock);
	if (files->has_thread)
		pthread_join(files->thread, NULL);
	for (size_t i = 0; i < OPEN_FILES_BUCKETS; i++)
		end_all(files->buckets[i]);
	condition_release(&files->changed);
	mutex_release(&files->lock);
}

bool open_files_join(struct open_files *files, uint64_t node, int *out_backing_id)
{
	mutex_lock(&files->lock);
	struct open_file *f = find(files, node);
	bool is_open = f && f->opens;

	if (is_open) {
		f->opens++;
		*out_backing_id = f->backing_id;
	}
	mutex_unlock(&files->lock);
	return is_open;
}

int open_files_begin(
	struct open_files *files, uint64_t node, int backing_id, int *out_backing_id)
{
	int r = 0;

	mutex_lock(&files->lock);
	struct open_file *f = find(files, node);

	if (!f)
		f = add(files, node);
	if (f) {
		if (f->opens++ == 0)
			f->backing_id = backing_id;
		*out_backing_id = f->backing_id;
		leave_idle(files, f);
	} else {
		r = -ENOMEM;
	}
	mutex_unlock(&files->lock);
	return r;
}

int open_files_leave(struct open_files *files, uint64_t node)
{
	struct open_file *unused = NULL;
	int backing_id = 0;

	mutex_lock(&files->lock);
	struct open_file *f = find(files, node);

	if (f && f->opens && --f->opens == 0) {
		backing_id = f->backing_id;
		f->backing_id = 0;
	}
	if (f && !f->opens && !f->users)
		unused = take(files, f);
	mutex_unlock(&files->lock);
	end(unused);
	return backing_id;
}

/* A number that was freed may be another file's, while the content of the former is idle. */
static bool holds(const struct open_file *f, const struct catalog_content *content)
{
	return f && f->content && digest_equal(&f->digest, &content->digest);
}

int open_files_get(struct open_files *files, uint64_t node, const struct catalog *catalog,
	const struct catalog_content *content, struct open_file **out)
{
	struct content_file *fresh = NULL;
	struct open_file *f;
	int r = 0;

	mutex_lock(&files->lock);
	f = find(files, node);
	if (!holds(f, content)) {
		mutex_unlock(&files->lock);
		r = content_open(files->contents, catalog, content, &fresh);
		if (r < 0)
			return r;
		mutex_lock(&files->lock);
		f = find(files, node);
		if (!f)
			f = add(files, node);
	}
	if (f) {
		if (fresh && !holds(f, content)) {
			struct content_file *former = f->content;

			f->content = fresh;
			f->digest = content->digest;
			fresh = former;
		}
		f->users++;
		leave_idle(files, f);
	} else {
		r = -ENOMEM;
	}
	mutex_unlock(&files->lock);
	if (fresh)
		content_close(fresh);
	if (r == 0)
		*out = f;
	return r;
}

struct content_file *open_file_content(const struct open_file *file)
{
	return file->content;
}

void open_files_put(struct open_files *files, struct open_file *file)
{
	struct open_file *unused = NULL;

	mutex_lock(&files->lock);
	if (--file->users == 0 && !file->opens) {
		enter_idle(files, file);
		if (files->idle_count > OPEN_FILES_IDLE_MAX)
			unused = take(files, files->oldest_idle);
	}
	mutex_unlock(&files->lock);
	end(unused);
}
