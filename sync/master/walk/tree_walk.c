/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Threads share a stack of directories still to be read. A directory on the stack holds a
 * reference to its parent's descriptor and is opened from there when its turn comes, so no
 * path is ever resolved from the top and paths may be longer than PATH_MAX. Last in, first
 * out keeps the number of open descriptors near the depth of the tree.
 */
#include "sync/master/walk/tree_walk.h"

#include "cache/base/data/buffer.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"
#include "cache/base/threads/mutex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

#define DENTS_BYTES   (64 * 1024)
#define PATH_TEXT_MAX (1024 * 1024)
#define THREADS_MAX   64

/* A directory's descriptor, shared by those of its children that wait to be opened. */
struct shared_fd {
	int fd;
	atomic_uint refs;
};

struct pending {
	struct pending *next;
	struct tree_dir *dir;
	struct shared_fd *parent;
};

struct walk {
	struct mutex lock; /* guards the stack, busy and error */
	struct condition wake;
	struct pending *stack;
	size_t busy; /* threads that may still push */
	int error;
	atomic_bool is_stopped;
	const struct stat *forbidden;
	const char *path;
	atomic_size_t sockets;
};

struct walker {
	struct walk *walk;
	struct arena arena;
	char *dents;
	struct tree_entry *found; /* the directory being read */
	size_t found_count;
	size_t found_capacity;
	struct pending *children;
	bool has_thread;
	pthread_t thread;
};

static void shared_fd_put(struct shared_fd *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	close(s->fd);
	free(s);
}

static void fail(struct walk *w, int r)
{
	mutex_lock(&w->lock);
	if (!w->error)
		w->error = r;
	atomic_store(&w->is_stopped, true);
	condition_broadcast(&w->wake);
	mutex_unlock(&w->lock);
}

static int log_dir_error(
	struct walker *t, const struct tree_dir *dir, const char *name, int r)
{
	struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_TEXT_MAX);

	if (tree_path(dir, dir->self, &path) < 0)
		path.len = 0;
	return log_error_errno(r, "cannot read %s/%.*s%s%s: %s", t->walk->path,
		(int)path.len, (const char *)path.data, name ? "/" : "", name ? name : "",
		log_strerror(r));
}

static int add_found(struct walker *t, const struct tree_dir *dir, int fd,
	const char *name, int64_t seen_ns)
{
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return errno == ENOENT ? 0 : log_dir_error(t, dir, name, -errno);
	if (S_ISSOCK(st.st_mode)) {
		struct buffer path AUTO_BUFFER = BUFFER_INIT(PATH_TEXT_MAX);

		if (tree_path(dir, dir->self, &path) < 0)
			return -ENOMEM;
		log_warn("left out the socket %s/%.*s%s%s", t->walk->path, (int)path.len,
			(const char *)path.data, path.len ? "/" : "", name);
		atomic_fetch_add(&t->walk->sockets, 1);
		return 0;
	}
	int r = mem_grow((void **)&t->found, &t->found_capacity, t->found_count,
		sizeof(*t->found));

	if (r < 0)
		return r;
	struct tree_entry *e = &t->found[t->found_count];
	size_t len = strlen(name);

	if (len > CATALOG_NAME_MAX)
		return log_dir_error(t, dir, name, -ENAMETOOLONG);
	memset(e, 0, sizeof(*e));
	e->name = arena_dup(&t->arena, name, len);
	if (!e->name)
		return -ENOMEM;
	e->name_length = (uint16_t)len;
	tree_entry_set_stat(e, &st, seen_ns);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		e->rdev = st.st_rdev;
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
		/* joined with the file's other names once all is read */
		e->links = arena_zalloc(&t->arena, sizeof(*e->links));
		if (!e->links)
			return -ENOMEM;
		e->links->device = st.st_dev;
		e->links->number = st.st_ino;
		e->links->seen = e->fingerprint;
		e->flags |= TREE_ENTRY_LINKED;
	}
	t->found_count++;
	return 0;
}

static int list_dir(struct walker *t, const struct tree_dir *dir, int fd)
{
	int64_t seen_ns = clock_real_ns();

	t->found_count = 0;
	for (;;) {
		long n = syscall(SYS_getdents64, fd, t->dents, DENTS_BYTES);

		/* removed since it was opened: what it held is gone with it */
		if (n == 0 || (n < 0 && errno == ENOENT))
			return 0;
		if (n < 0)
			return log_dir_error(t, dir, NULL, -errno);
		for (long at = 0; at < n;) {
			struct dirent64 *d = (struct dirent64 *)(void *)(t->dents + at);

			at += d->d_reclen;
			if (d->d_name[0] == '.' &&
				(!d->d_name[1] || (d->d_name[1] == '.' && !d->d_name[2])))
				continue;
			int r = add_found(t, dir, fd, d->d_name, seen_ns);

			if (r < 0)
				return r;
		}
	}
}

static int compare_entries(const void *a, const void *b)
{
	const struct tree_entry *x = a, *y = b;

	return tree_name_compare(x->name, x->name_length, y->name, y->name_length);
}

/* Moves what was found into the directory and queues its sub-directories. */
static int settle_dir(struct walker *t, struct tree_dir *dir, struct shared_fd **fd)
{
	size_t n = t->found_count;

	if (n)
		qsort(t->found, n, sizeof(*t->found), compare_entries);
	dir->entries = arena_dup(&t->arena, t->found, n * sizeof(*t->found));
	if (!dir->entries)
		return -ENOMEM;
	dir->count = (uint32_t)n;
	/* pushed in order, taken from the end: the stack is turned round by the caller */
	for (size_t i = n; i-- > 0;) {
		struct tree_entry *e = &dir->entries[i];

		if (!S_ISDIR(e->mode))
			continue;
		e->dir = arena_zalloc(&t->arena, sizeof(*e->dir));
		struct pending *p = arena_alloc(&t->arena, sizeof(*p));

		if (!e->dir || !p)
			return -ENOMEM;
		e->dir->parent = dir;
		e->dir->self = e;
		*p = (struct pending){.next = t->children, .dir = e->dir, .parent = *fd};
		atomic_fetch_add(&(*fd)->refs, 1);
		t->children = p;
	}
	return 0;
}

static int open_dir(struct walker *t, const struct pending *p)
{
	char name[CATALOG_NAME_MAX + 1];
	const struct tree_entry *e = p->dir->self;

	memcpy(name, e->name, e->name_length);
	name[e->name_length] = '\0';
	int fd = openat(p->parent->fd, name,
		O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) {
		p->dir->self->flags |= TREE_ENTRY_GONE;
		return -ENOENT;
	}
	return log_dir_error(t, p->dir, NULL, -errno);
}

/* Reads the directory behind `fd`, which is taken over. */
static int read_dir(struct walker *t, struct tree_dir *dir, int fd)
{
	const struct stat *no = t->walk->forbidden;
	struct shared_fd *shared = mem_alloc(sizeof(*shared));
	struct stat st;

	if (!shared) {
		close(fd);
		return -ENOMEM;
	}
	shared->fd = fd;
	atomic_init(&shared->refs, 1);
	int r = fstat(fd, &st) < 0 ? log_dir_error(t, dir, NULL, -errno) : 0;

	if (r == 0 && no && st.st_dev == no->st_dev && st.st_ino == no->st_ino)
		r = -EDEADLK;
	if (r == 0)
		r = list_dir(t, dir, fd);
	if (r == 0)
		r = settle_dir(t, dir, &shared);
	shared_fd_put(shared);
	return r;
}

/* Puts the children of the directory just read on top of the stack, the first one topmost. */
static void push_children(struct walker *t)
{
	struct walk *w = t->walk;
	struct pending *last = t->children;

	if (!last)
		return;
	while (last->next)
		last = last->next;
	mutex_lock(&w->lock);
	last->next = w->stack;
	w->stack = t->children;
	condition_broadcast(&w->wake);
	mutex_unlock(&w->lock);
	t->children = NULL;
}

static struct pending *pop(struct walk *w)
{
	mutex_lock(&w->lock);
	w->busy--;
	while (!w->stack && w->busy && !w->error)
		condition_wait(&w->wake, &w->lock);
	struct pending *p = w->error ? NULL : w->stack;

	if (p) {
		w->stack = p->next;
		w->busy++;
	} else {
		condition_broadcast(&w->wake);
	}
	mutex_unlock(&w->lock);
	return p;
}

static void *walker_main(void *arg)
{
	struct walker *t = arg;
	struct pending *p;

	while ((p = pop(t->walk))) {
		int r = open_dir(t, p);

		shared_fd_put(p->parent);
		if (r >= 0)
			r = read_dir(t, p->dir, r);
		else if (r == -ENOENT)
			r = 0;
		push_children(t);
		if (r < 0)
			fail(t->walk, r);
	}
	return NULL;
}

/* Lists all directories depth first and drops what vanished. */
static int flatten(struct tree *tree)
{
	struct tree_dir *todo = tree->root.dir;
	size_t capacity = 0;

	tree->entry_count = 1;
	while (todo) {
		struct tree_dir *dir = todo;
		uint32_t kept = 0;

		todo = dir->next;
		int r = mem_grow((void **)&tree->dirs, &capacity, tree->dir_count,
			sizeof(struct tree_dir *));

		if (r < 0)
			return r;
		tree->dirs[tree->dir_count++] = dir;
		for (uint32_t i = 0; i < dir->count; i++) {
			if (dir->entries[i].flags & TREE_ENTRY_GONE)
				continue;
			if (kept != i)
				dir->entries[kept] = dir->entries[i];
			kept++;
		}
		dir->count = kept;
		tree->entry_count += kept;
		for (uint32_t i = kept; i-- > 0;) {
			struct tree_entry *e = &dir->entries[i];

			if (!S_ISDIR(e->mode))
				continue;
			e->dir->self = e;
			e->dir->next = todo;
			todo = e->dir;
		}
	}
	return 0;
}

static int run_walkers(struct walk *w, unsigned int threads, struct tree *tree)
{
	struct walker walkers[THREADS_MAX] = {0};
	int r = 0;

	if (threads < 1)
		threads = 1;
	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	for (unsigned int i = 0; i < threads && r == 0; i++) {
		walkers[i].walk = w;
		walkers[i].dents = mem_alloc(DENTS_BYTES);
		if (!walkers[i].dents)
			r = -ENOMEM;
	}
	int top = r == 0 ? fcntl(tree->fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (r == 0 && top < 0)
		r = -errno;
	if (r == 0)
		r = read_dir(&walkers[0], tree->root.dir, top);
	if (r == 0) {
		push_children(&walkers[0]);
		mutex_lock(&w->lock);
		w->busy = threads;
		mutex_unlock(&w->lock);
		for (unsigned int i = 1; i < threads; i++) {
			walkers[i].has_thread = pthread_create(&walkers[i].thread, NULL,
							walker_main, &walkers[i]) == 0;
			if (walkers[i].has_thread)
				continue;
			mutex_lock(&w->lock);
			w->busy--;
			mutex_unlock(&w->lock);
		}
		(void)walker_main(&walkers[0]);
	}
	for (unsigned int i = 0; i < threads; i++) {
		if (walkers[i].has_thread)
			pthread_join(walkers[i].thread, NULL);
		for (struct pending *p = walkers[i].children; p; p = p->next)
			shared_fd_put(p->parent);
	}
	mutex_lock(&w->lock);
	for (struct pending *p = w->stack; p; p = p->next)
		shared_fd_put(p->parent);
	if (r == 0)
		r = w->error;
	mutex_unlock(&w->lock);
	for (unsigned int i = 0; i < threads; i++) {
		arena_merge(&tree->arena, &walkers[i].arena);
		free(walkers[i].found);
		free(walkers[i].dents);
	}
	return r;
}

int tree_walk(const char *path, const struct stat *forbidden, unsigned int threads,
	struct tree *out)
{
	struct walk w = {.lock = MUTEX_INIT, .forbidden = forbidden, .path = path};
	struct tree tree = {.path = path};
	struct stat st;
	int64_t seen_ns = clock_real_ns();

	tree.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree.fd < 0)
		return log_error_errno(
			-errno, "cannot open the tree %s: %s", path, log_strerror(errno));
	condition_init(&w.wake);
	int r = fstat(tree.fd, &st) < 0 ? -errno : 0;

	if (r == 0) {
		tree_entry_set_stat(&tree.root, &st, seen_ns);
		tree.root.name = "";
		tree.root.dir = arena_zalloc(&tree.arena, sizeof(*tree.root.dir));
		r = tree.root.dir ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = run_walkers(&w, threads, &tree);
	if (r == 0)
		r = flatten(&tree);
	condition_release(&w.wake);
	mutex_release(&w.lock);
	if (r < 0) {
		tree_release(&tree);
		return r;
	}
	tree.skipped_sockets = atomic_load(&w.sockets);
	*out = tree;
	/* the root entry moved with the struct */
	out->root.dir->self = &out->root;
	return 0;
}
