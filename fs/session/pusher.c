/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/pusher.h"

#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "fs/session/session_state.h"

#include <errno.h>

/* Who has opened so many files of a package while its frames came goes through it: as the read-ahead
 * has it (cache/content/fetch/ahead.c). */
#define STORM_OPENS 8

/* So many names behind the one that was opened last are pushed, and some before it: parallel
 * readers overtake each other. */
#define NAMES_AHEAD  256
#define NAMES_BEHIND 32

/* Larger files are few, and their READs carry much. */
#define FILE_MAX_BYTES ((size_t)64 * 1024)

/* It is told of a directory's children and then takes its time to make nodes of them: some 4 us each. */
#define UNKNOWN_TRIES	8
#define UNKNOWN_WAIT_NS (100 * 1000)

/* Pushed until another directory may have its turn. */
#define FILES_PER_TURN 16

static struct push_dir *find_dir(struct pusher *p, uint64_t node) REQUIRES(p->lock)
{
	for (size_t i = 0; i < PUSH_DIRS; i++)
		if (p->dirs[i].node == node)
			return &p->dirs[i];
	return NULL;
}

static struct push_dir *add_dir(struct pusher *p, uint64_t node) REQUIRES(p->lock)
{
	struct push_dir *oldest = &p->dirs[0];

	for (size_t i = 1; i < PUSH_DIRS; i++)
		if (p->dirs[i].last_use < oldest->last_use)
			oldest = &p->dirs[i];
	*oldest = (struct push_dir){.node = node};
	return oldest;
}

/* One more open in a package. Whether it is a storm. */
static bool count_open(struct pusher *p, uint32_t slot) REQUIRES(p->lock)
{
	struct push_package *oldest = &p->packages[0];

	for (size_t i = 0; i < PUSH_PACKAGES; i++) {
		struct push_package *k = &p->packages[i];

		if (k->opens && k->slot == slot) {
			k->last_use = p->uses;
			if (k->opens < STORM_OPENS)
				k->opens++;
			return k->opens == STORM_OPENS;
		}
		if (k->last_use < oldest->last_use)
			oldest = k;
	}
	*oldest = (struct push_package){.slot = slot, .opens = 1, .last_use = p->uses};
	return false;
}

static bool is_storm(const struct pusher *p, uint32_t slot) REQUIRES(p->lock)
{
	for (size_t i = 0; i < PUSH_PACKAGES; i++)
		if (p->packages[i].slot == slot && p->packages[i].opens == STORM_OPENS)
			return true;
	return false;
}

static void wake(struct pusher *p) REQUIRES(p->lock)
{
	if (!p->is_idle)
		return;
	p->is_idle = false;
	condition_signal(&p->changed);
}

static void make_due(struct pusher *p, struct push_dir *d) REQUIRES(p->lock)
{
	d->is_due = true;
	wake(p);
}

static uint32_t slot_of(uint64_t node)
{
	return (uint32_t)((node - 1) >> 32);
}

void pusher_listed(struct pusher *p, uint64_t dir)
{
	if (!atomic_load_explicit(&p->is_active, memory_order_relaxed) ||
		!content_has_recent(p->contents))
		return;
	mutex_lock(&p->lock);
	if (is_storm(p, slot_of(dir))) {
		struct push_dir *d = find_dir(p, dir);

		if (!d)
			d = add_dir(p, dir);
		d->last_use = ++p->uses;
		make_due(p, d);
	}
	mutex_unlock(&p->lock);
}

static void note_progress(struct pusher *p, const struct view_node *node, uint64_t dir)
	REQUIRES(p->lock)
{
	uint32_t first = catalog_entry(node->catalog, node->entry->parent)->first;
	uint32_t at = node->index - first;

	p->uses++;
	if (!count_open(p, slot_of(dir)))
		return;
	struct push_dir *d = find_dir(p, dir);
	bool is_new = !d;

	if (!d)
		d = add_dir(p, dir);
	d->last_use = p->uses;
	if (is_new || at / FILES_PER_TURN != d->at / FILES_PER_TURN)
		make_due(p, d);
	d->at = at;
}

static void wait_until_stored(struct pusher *p, const struct view_node *node)
{
	mutex_lock(&p->lock);
	while (atomic_load(&p->storing) == node->id)
		condition_wait(&p->is_stored, &p->lock);
	mutex_unlock(&p->lock);
}

void pusher_opened(struct pusher *p, const struct view_node *node,
	const struct catalog_content *content)
{
	struct view_node dir;

	if (!atomic_load_explicit(&p->is_active, memory_order_relaxed) ||
		!view_keeps_notes(node))
		return;
	bool was_noted = view_note_open(node);

	/* after the note: the thread sees one or the other */
	if (atomic_load(&p->storing) == node->id) {
		wait_until_stored(p, node);
		was_noted = true;
	}
	if (!content_has_recent(p->contents) || view_parent(p->view, node, &dir) < 0)
		return;
	mutex_lock(&p->lock);
	note_progress(p, node, dir.id);
	mutex_unlock(&p->lock);
	if (was_noted)
		content_touch(p->contents, node->catalog, content);
}

/* More has come than the directories had when they were looked through. */
static void on_recent(void *arg)
{
	struct pusher *p = arg;

	mutex_lock(&p->lock);
	wake(p);
	for (size_t i = 0; i < PUSH_DIRS; i++)
		if (p->dirs[i].node)
			make_due(p, &p->dirs[i]);
	mutex_unlock(&p->lock);
}

static int store(struct pusher *p, struct fuse_session *fuse,
	const struct view_node *node, uint8_t *data, size_t len)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(len);
	int r = -EEXIST;

	v.buf[0].mem = data;
	/* before the look: who opens it notes that before it looks here, so one of the two sees the other.
	 * The note itself is for who has opened it, until the page is there: what is noted stays so */
	atomic_store(&p->storing, node->id);
	if (!view_is_noted_open(node))
		r = fuse_lowlevel_notify_store(fuse, node->id, 0, &v, FUSE_BUF_NO_SPLICE);
	if (r == 0)
		(void)view_note_open(node);
	mutex_lock(&p->lock);
	atomic_store(&p->storing, 0);
	condition_broadcast(&p->is_stored);
	mutex_unlock(&p->lock);
	return r;
}

/* Pushes the file if it is in memory. 1 if so, 0, or -errno: -ENOENT if the kernel does not know it. */
static int push_file(struct pusher *p, struct fuse_session *fuse,
	const struct view_node *node, uint8_t *buffer)
{
	const struct catalog_content *content =
		catalog_content_of(node->catalog, node->entry);

	if (!content || view_is_noted_open(node) ||
		!content_copy_recent(
			p->contents, node->catalog, content, buffer, FILE_MAX_BYTES))
		return 0;
	int r = store(p, fuse, node, buffer, (size_t)content->size);

	if (r == 0)
		atomic_fetch_add_explicit(&p->pushed, 1, memory_order_relaxed);
	return r == 0 ? 1 : r == -EEXIST ? 0 : r;
}

/* 0 when there is nothing more, 1 when there may be, or -errno as push_file(). In an epoch, though it
 * writes to the kernel: that waits for nobody. */
static int push_some(struct pusher *p, struct fuse_session *fuse, uint64_t dir_node,
	uint32_t at, uint8_t *buffer)
{
	AUTO_EPOCH epoch = epoch_enter();
	struct view_node node;
	struct view_dir dir;
	int pushed = 0;
	int r = 0;

	if (view_resolve(p->view, dir_node, &node) < 0 ||
		view_enter_local(p->view, &node, &dir) < 0)
		return 0;
	const struct catalog_entry *top = catalog_entry(dir.catalog, dir.index);
	uint32_t end = at + NAMES_AHEAD < top->count ? at + NAMES_AHEAD : top->count;

	for (uint32_t i = at > NAMES_BEHIND ? at - NAMES_BEHIND : 0;
		i < end && r >= 0 && pushed < FILES_PER_TURN; i++) {
		r = view_child(p->view, &dir, top->first + i, &node);
		if (r == 0)
			r = push_file(p, fuse, &node, buffer);
		pushed += r > 0;
	}
	return r < 0 ? r : pushed == FILES_PER_TURN;
}

static struct push_dir *newest_due(struct pusher *p) REQUIRES(p->lock)
{
	struct push_dir *newest = NULL;

	for (size_t i = 0; i < PUSH_DIRS; i++) {
		struct push_dir *d = &p->dirs[i];

		if (d->is_due && (!newest || d->last_use > newest->last_use))
			newest = d;
	}
	return newest;
}

static void serve_dir(struct pusher *p, struct push_dir *d, uint8_t *buffer)
	REQUIRES(p->lock)
{
	struct fuse_session *fuse = p->fuse;
	uint64_t node = d->node;
	uint32_t at = d->at;

	d->is_due = false;
	mutex_unlock(&p->lock);
	int r = fuse ? push_some(p, fuse, node, at, buffer) : 0;

	mutex_lock(&p->lock);
	if (d->node != node)
		return;
	if (r >= 0)
		d->unknown = 0;
	if (r > 0)
		d->is_due = true;
	if (r == -ENOENT && d->unknown++ < UNKNOWN_TRIES) {
		d->is_due = true;
		if (!atomic_load(&p->is_ending))
			(void)condition_wait_until(
				&p->changed, &p->lock, clock_mono_ns() + UNKNOWN_WAIT_NS);
	}
}

/* What is held for those who read it goes by the clock, which somebody must look at. */
static void wait_for_more(struct pusher *p) REQUIRES(p->lock)
{
	mutex_unlock(&p->lock);
	int64_t next_ns = content_expire_recent(p->contents);

	mutex_lock(&p->lock);
	if (!p->is_idle || atomic_load(&p->is_ending))
		return;
	if (next_ns)
		(void)condition_wait_until(&p->changed, &p->lock, next_ns);
	else
		condition_wait(&p->changed, &p->lock);
}

static void *run(void *arg)
{
	struct pusher *p = arg;

	mutex_lock(&p->lock);
	while (!atomic_load(&p->is_ending)) {
		struct push_dir *d = newest_due(p);

		if (d) {
			serve_dir(p, d, p->buffer);
		} else {
			p->is_idle = true;
			wait_for_more(p);
		}
	}
	mutex_unlock(&p->lock);
	atomic_store(&p->is_over, true);
	return NULL;
}

int pusher_init(struct pusher *p, struct view *view, struct content_store *contents)
{
	*p = (struct pusher){.view = view, .contents = contents};
	mutex_init(&p->lock);
	condition_init(&p->changed);
	condition_init(&p->is_stored);
	p->buffer = mem_alloc(FILE_MAX_BYTES);
	int r = p->buffer ? thread_start(&p->thread, "pusher", run, p) : -ENOMEM;

	p->has_thread = r == 0;
	if (r == 0)
		content_on_recent(contents, on_recent, p);
	return r;
}

void pusher_attach(struct pusher *p, struct fuse_session *fuse)
{
	mutex_lock(&p->lock);
	p->fuse = fuse;
	mutex_unlock(&p->lock);
	atomic_store(&p->is_active, fuse);
}

void pusher_stop(struct pusher *p)
{
	mutex_lock(&p->lock);
	atomic_store(&p->is_ending, true);
	condition_broadcast(&p->changed);
	mutex_unlock(&p->lock);
}

bool pusher_is_over(struct pusher *p)
{
	return !p->has_thread || atomic_load(&p->is_over);
}

void pusher_release(struct pusher *p)
{
	pusher_stop(p);
	if (p->has_thread)
		pthread_join(p->thread, NULL);
	if (p->has_thread)
		content_on_recent(p->contents, NULL, NULL);
	p->has_thread = false;
	free(p->buffer);
	condition_release(&p->is_stored);
	condition_release(&p->changed);
	mutex_release(&p->lock);
}
