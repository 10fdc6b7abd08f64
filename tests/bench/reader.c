/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * reader: reads, opens or looks at files, and says how long that took and what it saw.
 *
 *   reader read [--threads N] [--limit-s N] [--no-digest] PATH
 *   reader open [--passes N] DIR LIST
 *   reader stat [--suffix TEXT] DIR LIST
 *
 * read walks PATH in the order of its directories, as find(1) does, and reads every regular
 * file; one thread walks and the others read what it has found, or with --threads 1 it
 * reads itself. open opens, reads and closes the files of LIST (one path below DIR a line),
 * N times over; stat looks them up, with --suffix appended to each name.
 *
 * Prints seconds=S files=N bytes=N missing=N first_ms=F complete=0|1 digest=HEX.
 * The digest is over every path and the bytes that were read, and does not depend on the
 * order. --limit-s stops early: complete is 0, and the rest says how far it came. Exit 1 if
 * something could not be read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define BLOCK_BYTES ((size_t)256 * 1024)
#define MAX_THREADS 256
#define QUEUE_MAX   4096

struct reader {
	const char *root;
	unsigned threads, passes;
	double limit_s;
	bool is_digested;
	const char *suffix;
	int64_t start_ns;
	atomic_llong first_ns;
	atomic_ullong files, bytes, missing, digest_low, digest_high;
	atomic_bool has_failed, is_late;
	pthread_mutex_t lock;
	pthread_cond_t has_room, has_work;
	char *queue[QUEUE_MAX];
	size_t head, count;
	bool is_walked;
};

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void *must_have(void *memory)
{
	if (!memory) {
		(void)fputs("reader: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

static void complain(struct reader *r, const char *path)
{
	if (!atomic_exchange(&r->has_failed, true))
		(void)fprintf(stderr, "reader: %s: %s\n", path, strerror(errno));
}

static bool is_late(struct reader *r)
{
	if (r->limit_s > 0 && (double)(now_ns() - r->start_ns) > r->limit_s * 1e9)
		atomic_store(&r->is_late, true);
	return atomic_load(&r->is_late);
}

/* The thread's own; it is used for one file at a time. */
static XXH3_state_t *hash_state(void)
{
	static _Thread_local XXH3_state_t *state;

	if (!state)
		state = must_have(XXH3_createState());
	return state;
}

static void add_digest(struct reader *r, const char *path, XXH3_state_t *state)
{
	XXH128_hash_t hash;

	(void)XXH3_128bits_update(state, path, strlen(path));
	hash = XXH3_128bits_digest(state);
	atomic_fetch_add(&r->digest_low, hash.low64);
	atomic_fetch_add(&r->digest_high, hash.high64);
}

/* Reads all of @fd; @path is what the digest knows it by. */
static void read_open_file(struct reader *r, int fd, const char *path, char *block)
{
	XXH3_state_t *state = hash_state();
	ssize_t n;

	(void)XXH3_128bits_reset(state);
	while ((n = read(fd, block, BLOCK_BYTES)) > 0) {
		if (atomic_load_explicit(&r->first_ns, memory_order_relaxed) == 0)
			atomic_store(&r->first_ns, now_ns());
		atomic_fetch_add_explicit(&r->bytes, (uint64_t)n, memory_order_relaxed);
		if (r->is_digested)
			(void)XXH3_128bits_update(state, block, (size_t)n);
		if (is_late(r))
			return;
	}
	if (n < 0) {
		complain(r, path);
		return;
	}
	atomic_fetch_add(&r->files, 1);
	if (r->is_digested)
		add_digest(r, path, state);
}

static void read_file(struct reader *r, int dir, const char *path, char *block)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		complain(r, path);
		return;
	}
	read_open_file(r, fd, dir == AT_FDCWD ? path + strlen(r->root) : path, block);
	(void)close(fd);
}

/* --- read -------------------------------------------------------------------------- */

/* Takes over @path. */
static void queue_put(struct reader *r, char *path)
{
	(void)pthread_mutex_lock(&r->lock);
	while (r->count == QUEUE_MAX)
		(void)pthread_cond_wait(&r->has_room, &r->lock);
	r->queue[(r->head + r->count++) % QUEUE_MAX] = path;
	(void)pthread_cond_signal(&r->has_work);
	(void)pthread_mutex_unlock(&r->lock);
}

/* NULL when there will be no more. */
static char *queue_take(struct reader *r)
{
	char *path = NULL;

	(void)pthread_mutex_lock(&r->lock);
	while (r->count == 0 && !r->is_walked)
		(void)pthread_cond_wait(&r->has_work, &r->lock);
	if (r->count > 0) {
		path = r->queue[r->head];
		r->head = (r->head + 1) % QUEUE_MAX;
		r->count--;
		(void)pthread_cond_signal(&r->has_room);
	}
	(void)pthread_mutex_unlock(&r->lock);
	return path;
}

static void *read_queue(void *data)
{
	struct reader *r = data;
	char *block = must_have(malloc(BLOCK_BYTES));
	char *path;

	while ((path = queue_take(r))) {
		if (!is_late(r))
			read_file(r, AT_FDCWD, path, block);
		free(path);
	}
	free(block);
	return NULL;
}

static unsigned char type_of(const char *path, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (lstat(path, &st) < 0)
		return DT_UNKNOWN;
	return S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_UNKNOWN;
}

static void walk(struct reader *r, const char *dir, char *block)
{
	DIR *stream = opendir(dir);
	struct dirent *entry = NULL;

	if (!stream) {
		complain(r, dir);
		return;
	}
	errno = 0;
	while (!is_late(r) && (errno = 0, entry = readdir(stream))) {
		char *path;
		unsigned char type;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0)
			path = must_have(NULL);
		type = type_of(path, entry);
		if (type == DT_DIR)
			walk(r, path, block);
		else if (type == DT_REG && r->threads > 1)
			queue_put(r, strdup(path));
		else if (type == DT_REG)
			read_file(r, AT_FDCWD, path, block);
		free(path);
	}
	if (!entry && errno)
		complain(r, dir);
	(void)closedir(stream);
}

static void run_read(struct reader *r)
{
	pthread_t threads[MAX_THREADS];
	char *block = must_have(malloc(BLOCK_BYTES));
	struct stat st;
	unsigned started = 0;

	if (stat(r->root, &st) == 0 && S_ISREG(st.st_mode)) {
		read_file(r, AT_FDCWD, r->root, block);
		free(block);
		return;
	}
	while (r->threads > 1 && started < r->threads &&
		pthread_create(&threads[started], NULL, read_queue, r) == 0)
		started++;
	if (r->threads > 1 && !started)
		r->threads = 1;
	walk(r, r->root, block);
	(void)pthread_mutex_lock(&r->lock);
	r->is_walked = true;
	(void)pthread_cond_broadcast(&r->has_work);
	(void)pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	free(block);
}

/* --- open and stat ----------------------------------------------------------------- */

struct list {
	char **paths;
	size_t count;
};

static void list_release(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->paths[i]);
	free(list->paths);
}

static void load_list(const char *name, struct list *out)
{
	FILE *file = fopen(name, "re");
	char *line = NULL;
	size_t room = 0, line_room = 0;
	ssize_t n;

	if (!file) {
		perror(name);
		exit(1);
	}
	while ((n = getline(&line, &line_room, file)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (out->count == room) {
			room = room ? 2 * room : 1024;
			out->paths = must_have(
				realloc(out->paths, room * sizeof(*out->paths)));
		}
		out->paths[out->count++] = must_have(strdup(line));
	}
	free(line);
	(void)fclose(file);
}

static void run_open(struct reader *r, int dir, const struct list *list)
{
	char *block = must_have(malloc(BLOCK_BYTES));

	for (unsigned pass = 0; pass < r->passes; pass++)
		for (size_t i = 0; i < list->count; i++)
			read_file(r, dir, list->paths[i], block);
	free(block);
}

static void append_suffix(const struct reader *r, const struct list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		char *path;

		if (asprintf(&path, "%s%s", list->paths[i], r->suffix) < 0)
			path = must_have(NULL);
		free(list->paths[i]);
		list->paths[i] = path;
	}
}

static void run_stat(struct reader *r, int dir, const struct list *list)
{
	for (size_t i = 0; i < list->count && !is_late(r); i++) {
		struct stat st;

		if (fstatat(dir, list->paths[i], &st, AT_SYMLINK_NOFOLLOW) == 0) {
			atomic_fetch_add(&r->files, 1);
			atomic_fetch_add(&r->digest_low,
				(uint64_t)st.st_size * (i + 1) + (uint64_t)st.st_mode);
		} else if (errno == ENOENT) {
			atomic_fetch_add(&r->missing, 1);
		} else {
			complain(r, list->paths[i]);
		}
	}
}

/* --- the program ------------------------------------------------------------------- */

static void print_result(struct reader *r)
{
	int64_t end = now_ns();
	int64_t first = atomic_load(&r->first_ns);

	(void)printf("seconds=%.4f files=%llu bytes=%llu missing=%llu first_ms=%.1f "
		     "complete=%d "
		     "digest=%016llx%016llx\n",
		(double)(end - r->start_ns) / 1e9, atomic_load(&r->files),
		atomic_load(&r->bytes), atomic_load(&r->missing),
		first ? (double)(first - r->start_ns) / 1e6 : 0.0,
		!atomic_load(&r->is_late), atomic_load(&r->digest_high),
		atomic_load(&r->digest_low));
}

static void usage(void)
{
	(void)fputs("usage: reader read [--threads N] [--limit-s N] [--no-digest] PATH\n"
		    "       reader open [--passes N] [--no-digest] DIR LIST\n"
		    "       reader stat [--suffix TEXT] [--limit-s N] DIR LIST\n",
		stderr);
	exit(2);
}

static void parse_options(int argc, char **argv, struct reader *r)
{
	static const struct option long_options[] = {
		{"threads", required_argument, NULL, 't'},
		{"limit-s", required_argument, NULL, 'l'},
		{"no-digest", no_argument, NULL, 'n'},
		{"passes", required_argument, NULL, 'p'},
		{"suffix", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == 't')
			r->threads = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'l')
			r->limit_s = strtod(optarg, NULL);
		else if (c == 'n')
			r->is_digested = false;
		else if (c == 'p')
			r->passes = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 's')
			r->suffix = optarg;
		else
			usage();
	}
	if (r->threads < 1 || r->threads > MAX_THREADS || r->passes < 1)
		usage();
}

int main(int argc, char **argv)
{
	static struct reader r = {.threads = 1,
		.passes = 1,
		.is_digested = true,
		.suffix = "",
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.has_room = PTHREAD_COND_INITIALIZER,
		.has_work = PTHREAD_COND_INITIALIZER};
	struct list list = {0};
	bool is_read, is_open;
	int dir = -1;

	if (argc < 3)
		usage();
	is_read = strcmp(argv[1], "read") == 0;
	is_open = strcmp(argv[1], "open") == 0;
	if (!is_read && !is_open && strcmp(argv[1], "stat") != 0)
		usage();
	parse_options(argc - 1, argv + 1, &r);
	argv += 1 + optind;
	argc -= 1 + optind;
	if (argc != (is_read ? 1 : 2))
		usage();
	r.root = argv[0];
	if (!is_read) {
		dir = open(r.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0) {
			perror(r.root);
			return 1;
		}
		load_list(argv[1], &list);
		append_suffix(&r, &list);
	}
	r.start_ns = now_ns();
	if (is_read)
		run_read(&r);
	else if (is_open)
		run_open(&r, dir, &list);
	else
		run_stat(&r, dir, &list);
	print_result(&r);
	list_release(&list);
	if (dir >= 0)
		(void)close(dir);
	return atomic_load(&r.has_failed);
}
