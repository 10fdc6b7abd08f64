/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/session/notify.h"

#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "cache/content/content.h"
#include "fs/session/session_state.h"

#include <errno.h>

/* Forgotten nodes come in bursts: they are let go together. */
#define REAP_DELAY_NS (NS_PER_SEC / 2)

/* Contents that nobody reads any more hold their catalogs for a little longer (open_files.h). */
#define LINGER_NS (7 * NS_PER_SEC)

/* On the stack of the one who waits for it. */
struct notify_job {
	struct notify_job *next;
	const struct view_changes *changes;
	bool is_done; /* lock, both */
	int error;
};

static int send_one(
	struct fuse_session *fuse, const struct view_changes *changes, size_t i)
{
	const struct view_change *c = &changes->list[i];

	switch (c->kind) {
	case VIEW_CHANGE_NAME:
		return fuse_lowlevel_notify_inval_entry(
			fuse, c->node, view_change_name(changes, i), c->name_length);
	case VIEW_CHANGE_LISTING:
		return fuse_lowlevel_notify_inval_inode(fuse, c->node, 0, 0);
	default:
		return fuse_lowlevel_notify_inval_inode(fuse, c->node, -1, 0);
	}
}

/* What the kernel does not know of (ENOENT) it need not forget; nor need one that is gone, or has
 * not come yet. */
static int send_all(
	struct notify *n, struct fuse_session *fuse, const struct view_changes *changes)
{
	size_t failures = 0;
	int error = 0;

	for (size_t i = 0; fuse && i < changes->count; i++) {
		if (atomic_load(&n->is_ending))
			return -ECANCELED;
		int r = send_one(fuse, changes, i);

		atomic_fetch_add_explicit(&n->sent, 1, memory_order_relaxed);
		if (r == -ENOTCONN || r == -ENODEV || r == -EBADF)
			break;
		if (r < 0 && r != -ENOENT) {
			failures++;
			error = r;
		}
	}
	if (failures)
		log_warn("the kernel could not be told of %zu of %zu changes: %s; it may "
			 "show what was there before until the next mount",
			failures, changes->count, log_strerror(error));
	return 0;
}

static void let_go_of_kept(const struct notify *n)
{
	if (n->contents)
		content_store_let_go(n->contents);
}

/* Lets go what is superseded, and has the kernel forget what keeps the rest only by chance. */
static void tidy(struct notify *n, struct fuse_session *fuse)
{
	struct view_changes *changes;

	view_reap(n->view);
	let_go_of_kept(n);
	if (view_list_superseded(n->view, &changes) < 0)
		return; /* the next time */
	(void)send_all(n, fuse, changes);
	view_changes_free(changes);
}

static void run_job(struct notify *n) REQUIRES(n->lock)
{
	struct notify_job *job = n->first;
	struct fuse_session *fuse = n->fuse;

	mutex_unlock(&n->lock);
	int r = send_all(n, fuse, job->changes);

	mutex_lock(&n->lock);
	n->first = job->next;
	if (!n->first)
		n->last = NULL;
	job->error = r;
	job->is_done = true;
	condition_broadcast(&n->changed);
	/* what was forgotten by it comes back soon */
	if (!n->reap_ns)
		n->reap_ns = clock_mono_ns() + REAP_DELAY_NS;
}

static void *run(void *arg)
{
	struct notify *n = arg;

	mutex_lock(&n->lock);
	while (!atomic_load(&n->is_ending)) {
		if (n->first) {
			run_job(n);
		} else if (n->reap_ns && n->reap_ns <= clock_mono_ns()) {
			struct fuse_session *fuse = n->fuse;

			n->reap_ns = 0;
			mutex_unlock(&n->lock);
			tidy(n, fuse);
			mutex_lock(&n->lock);
			n->linger_ns = clock_mono_ns() + LINGER_NS;
		} else if (n->linger_ns && n->linger_ns <= clock_mono_ns()) {
			n->linger_ns = 0;
			mutex_unlock(&n->lock);
			let_go_of_kept(n);
			mutex_lock(&n->lock);
		} else if (n->reap_ns || n->linger_ns) {
			(void)condition_wait_until(&n->changed, &n->lock,
				n->reap_ns ? n->reap_ns : n->linger_ns);
		} else {
			condition_wait(&n->changed, &n->lock);
		}
	}
	for (; n->first; n->first = n->first->next) {
		n->first->error = -ECANCELED;
		n->first->is_done = true;
	}
	condition_broadcast(&n->changed);
	mutex_unlock(&n->lock);
	atomic_store(&n->is_over, true);
	return NULL;
}

int notify_init(struct notify *n, struct view *view, struct content_store *contents)
{
	*n = (struct notify){.view = view, .contents = contents};
	mutex_init(&n->lock);
	condition_init(&n->changed);
	int r = thread_start(&n->thread, "notify", run, n);

	n->has_thread = r == 0;
	return r;
}

void notify_attach(struct notify *n, struct fuse_session *fuse)
{
	mutex_lock(&n->lock);
	n->fuse = fuse;
	mutex_unlock(&n->lock);
}

int notify_send(struct notify *n, const struct view_changes *changes)
{
	struct notify_job job = {.changes = changes};

	mutex_lock(&n->lock);
	if (atomic_load(&n->is_ending)) {
		mutex_unlock(&n->lock);
		return -ECANCELED;
	}
	if (n->last)
		n->last->next = &job;
	else
		n->first = &job;
	n->last = &job;
	condition_broadcast(&n->changed);
	while (!job.is_done)
		condition_wait(&n->changed, &n->lock);
	mutex_unlock(&n->lock);
	return job.error;
}

void notify_reap(struct notify *n)
{
	mutex_lock(&n->lock);
	if (!n->reap_ns) {
		n->reap_ns = clock_mono_ns() + REAP_DELAY_NS;
		condition_broadcast(&n->changed);
	}
	mutex_unlock(&n->lock);
}

void notify_stop(struct notify *n)
{
	mutex_lock(&n->lock);
	atomic_store(&n->is_ending, true);
	condition_broadcast(&n->changed);
	mutex_unlock(&n->lock);
}

bool notify_is_over(struct notify *n)
{
	return !n->has_thread || atomic_load(&n->is_over);
}

void notify_release(struct notify *n)
{
	notify_stop(n);
	if (n->has_thread)
		pthread_join(n->thread, NULL);
	n->has_thread = false;
	condition_release(&n->changed);
	mutex_release(&n->lock);
}
