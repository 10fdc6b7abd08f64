/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/thread.h"
#include "fs/session/session_state.h"

#include <errno.h>

/* How long a read that has waited in vain fails without waiting again. */
#define LATE_NS NS_PER_SEC

struct parked {
	struct waiter waiter; /* first: what wakes gives back the whole */
	struct session *session;
	struct fuse_req *req;
	const struct parked_op *op;
	struct parked_args args;
	struct parked *prev; /* list lock, as all below */
	struct parked *next;
	bool is_listed;
	bool is_settling;    /* parking: only the one who parks may answer */
	bool is_interrupted; /* while it was settling */
	uint64_t id;
	char name[];
};

static void unlink_locked(struct parked_list *list, struct parked *p) REQUIRES(list->lock)
{
	*(p->prev ? &p->prev->next : &list->first) = p->next;
	*(p->next ? &p->next->prev : &list->last) = p->prev;
	p->is_listed = false;
}

/* True for the one caller who may answer the request. Who wakes it is counted until he has. */
static bool claim(struct parked *p, bool is_woken)
{
	struct parked_list *list = &p->session->parked;
	bool is_mine;

	mutex_lock(&list->lock);
	is_mine = p->is_listed;
	if (is_mine)
		unlink_locked(list, p);
	if (is_mine && is_woken)
		list->answering++;
	mutex_unlock(&list->lock);
	return is_mine;
}

static void on_wake(struct waiter *w, int error)
{
	struct parked *p = (struct parked *)w;

	if (claim(p, true)) {
		struct parked_list *list = &p->session->parked;

		if (error)
			fuse_reply_err(p->req, session_errno(error));
		else
			parked_start(p->session, p->req, p->op, &p->args);
		mutex_lock(&list->lock);
		if (--list->answering == 0)
			condition_signal(&list->changed);
		mutex_unlock(&list->lock);
	}
	free(p);
}

/* The reader was killed. It may be answered by somebody else at this moment: so a number, which
 * is looked up, and not a pointer. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct parked_list *list = &session_of(req)->parked;
	uint64_t id = (uint64_t)(uintptr_t)data;
	bool is_mine = false;

	mutex_lock(&list->lock);
	for (struct parked *p = list->first; p; p = p->next) {
		if (p->id != id)
			continue;
		p->is_interrupted = true;
		if (!p->is_settling) {
			unlink_locked(list, p);
			is_mine = true;
		}
		break;
	}
	mutex_unlock(&list->lock);
	if (is_mine)
		fuse_reply_err(req, EINTR);
}

/* Puts it on the list; -ECANCELED when the session is ending. */
static int enlist(struct parked *p)
{
	struct parked_list *list = &p->session->parked;
	int r = 0;

	mutex_lock(&list->lock);
	if (list->is_ending) {
		r = -ECANCELED;
	} else {
		p->id = ++list->next_id;
		p->prev = list->last;
		*(list->last ? &list->last->next : &list->first) = p;
		list->last = p;
		p->is_listed = true;
		p->is_settling = true;
		condition_signal(&list->changed);
	}
	mutex_unlock(&list->lock);
	return r;
}

/* From here on interrupts, the clock and the session's end may answer; -EINTR or -ECANCELED,
 * with the request off the list, if one of them wanted to before. */
static int settle(struct parked *p)
{
	struct parked_list *list = &p->session->parked;
	int r = 0;

	mutex_lock(&list->lock);
	p->is_settling = false;
	if (p->is_interrupted)
		r = -EINTR;
	else if (list->is_ending)
		r = -ECANCELED;
	if (r < 0)
		unlink_locked(list, p);
	condition_signal(&list->changed);
	mutex_unlock(&list->lock);
	return r;
}

static struct parked *parked_new(struct session *session, struct fuse_req *req,
	const struct parked_op *op, const struct parked_args *args)
{
	size_t name_size = args->name ? strlen(args->name) + 1 : 0;
	struct parked *p = mem_calloc(1, sizeof(*p) + name_size);

	if (!p)
		return NULL;
	p->waiter.wake = on_wake;
	p->session = session;
	p->req = req;
	p->op = op;
	p->args = *args;
	if (args->name) {
		memcpy(p->name, args->name, name_size);
		p->args.name = p->name;
	}
	return p;
}

/* Returns 0 when the request is parked (or was answered meanwhile), -EAGAIN when it may run
 * again at once, else why it fails. */
static int park(struct session *session, struct fuse_req *req, const struct parked_op *op,
	const struct parked_args *args)
{
	struct parked *p = parked_new(session, req, op, args);

	if (!p)
		return -ENOMEM;
	int r = enlist(p);

	if (r == 0) {
		/* may call back at once; and takes the request's lock, so not under ours */
		fuse_req_interrupt_func(req, on_interrupt, (void *)(uintptr_t)p->id);
		r = settle(p);
	}
	bool is_mine = true;

	if (r == 0) {
		/* from here on it may be answered, and its file be closed */
		r = op->wait(session, &p->args, &p->waiter);
		if (r != -EINPROGRESS)
			is_mine = claim(p, false);
	}
	if (r == -EINPROGRESS)
		return 0;
	free(p);
	if (!is_mine)
		return 0;
	return r < 0 ? r : -EAGAIN;
}

static void note_late_locked(struct parked_list *list, const struct parked_args *args,
	int64_t now_ns) REQUIRES(list->lock)
{
	if (!args->size)
		return;
	list->late[list->next_late] = (struct parked_late){.ino = args->ino,
		.size = args->size,
		.offset = args->offset,
		.until_ns = now_ns + LATE_NS};
	list->next_late = (list->next_late + 1) % PARKED_LATE_MAX;
}

/* Whether another request has just waited in vain for some of what this one wants. */
static bool is_late(
	struct parked_list *list, const struct parked_args *args, int64_t now_ns)
{
	bool found = false;

	mutex_lock(&list->lock);
	for (size_t i = 0; i < PARKED_LATE_MAX && !found; i++) {
		const struct parked_late *late = &list->late[i];

		found = late->until_ns > now_ns && late->ino == args->ino &&
			args->offset < late->offset + (off_t)late->size &&
			late->offset < args->offset + (off_t)args->size;
	}
	mutex_unlock(&list->lock);
	return found;
}

void parked_start(struct session *session, struct fuse_req *req,
	const struct parked_op *op, struct parked_args *args)
{
	AUTO_EPOCH epoch = epoch_enter();

	for (;;) {
		int r = op->run(session, req, args);

		if (r == -ERESTART)
			continue; /* a flip has overtaken it */
		if (r != -EAGAIN)
			return;
		int64_t now_ns = clock_mono_ns();

		if (!args->deadline_ns)
			args->deadline_ns = is_late(&session->parked, args, now_ns)
						    ? now_ns
						    : now_ns + args->timeout_ns;
		r = now_ns < args->deadline_ns ? park(session, req, op, args)
					       : -ETIMEDOUT;
		if (r == 0)
			return;
		if (r != -EAGAIN) {
			fuse_reply_err(req, session_errno(r));
			return;
		}
	}
}

/* Takes all off whose time is up (or everything) and answers them without the lock. */
static int64_t fail_overdue(struct parked_list *list, bool everything)
	REQUIRES(list->lock)
{
	int64_t now_ns = clock_mono_ns();
	int64_t next_ns = INT64_MAX;
	struct parked *p = list->first;

	while (p) {
		if (!p->is_settling && (everything || p->args.deadline_ns <= now_ns)) {
			struct fuse_req *req = p->req;

			unlink_locked(list, p);
			if (!everything)
				note_late_locked(list, &p->args, now_ns);
			/* `p` may go as soon as the lock does */
			mutex_unlock(&list->lock);
			fuse_reply_err(req, everything ? ENOTCONN : EIO);
			mutex_lock(&list->lock);
			p = list->first;
			next_ns = INT64_MAX;
			continue;
		}
		if (p->args.deadline_ns < next_ns)
			next_ns = p->args.deadline_ns;
		p = p->next;
	}
	return next_ns;
}

static void *watch_deadlines(void *arg)
{
	struct parked_list *list = arg;

	mutex_lock(&list->lock);
	while (!list->is_ending) {
		int64_t next_ns = fail_overdue(list, false);

		if (list->is_ending)
			break;
		if (next_ns == INT64_MAX)
			condition_wait(&list->changed, &list->lock);
		else
			(void)condition_wait_until(&list->changed, &list->lock, next_ns);
	}
	(void)fail_overdue(list, true);
	mutex_unlock(&list->lock);
	return NULL;
}

int parked_list_init(struct parked_list *list)
{
	*list = (struct parked_list){0};
	mutex_init(&list->lock);
	condition_init(&list->changed);
	int r = thread_start(&list->thread, "parked", watch_deadlines, list);

	list->has_thread = r == 0;
	return r;
}

void parked_list_end(struct parked_list *list)
{
	mutex_lock(&list->lock);
	list->is_ending = true;
	condition_signal(&list->changed);
	mutex_unlock(&list->lock);
	if (list->has_thread)
		pthread_join(list->thread, NULL);
	list->has_thread = false;
}

void parked_list_wait_answered(struct parked_list *list)
{
	mutex_lock(&list->lock);
	while (list->answering)
		condition_wait(&list->changed, &list->lock);
	mutex_unlock(&list->lock);
}

void parked_list_release(struct parked_list *list)
{
	condition_release(&list->changed);
	mutex_release(&list->lock);
}
