/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * manifest: one line per entry of a tree, made to be compared with diff(1).
 *
 *   manifest [--digest] [--no-holes] [--dir-size] [--cross-mounts] DIR
 *
 *   ./a\040b file mode=0644 uid=0 gid=0 size=12 mtime=-1.999999999 nlink=2 group=./a\040b
 *
 * Paths, link targets and xattr names are escaped: bytes outside 0x21..0x7e and the
 * backslash become \ooo. The order is that of the paths' bytes with '/' below every other
 * byte, so a directory's content follows it at once, the output streams, and the first
 * member of a hard link group is the first one met. mtime is the pair (tv_sec, tv_nsec)
 * as stat(2) gives it: one nanosecond before 1970 reads -1.999999999. data= lists what
 * SEEK_DATA finds, rounded out to pages, for files whose holes sum up to a page or more.
 *
 * Every step is relative to a directory's descriptor, so paths may be longer than
 * PATH_MAX, and no symlink is ever followed. What cannot be read is named on stderr; the
 * rest goes on, exit 1.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HOLE_PAGE     4096
#define READ_SIZE     (1 << 20)
#define HIDDEN_XATTRS "user.depotfs."

struct options {
	bool with_digest;
	bool without_holes;
	bool with_dir_size;
	bool cross_mounts;
};

/* Bytes that grow at their end. */
struct text {
	char *bytes;
	size_t len;
	size_t size;
};

struct link_group {
	struct link_group *older;
	dev_t dev;
	ino_t ino;
	char first[]; /* path of the first member met */
};

struct walk {
	struct options options;
	struct text path; /* of the entry at hand, escaped */
	struct link_group *link_groups;
	void *link_tree; /* finds them: tsearch(3) */
	EVP_MD_CTX *digest;
	unsigned char *read_buf;
	dev_t root_dev;
	unsigned long failures;
};

static void *must_have(void *memory)
{
	if (!memory) {
		(void)fputs("manifest: out of memory\n", stderr);
		exit(1);
	}
	return memory;
}

static void walk_fail(struct walk *w, const char *what, int err)
{
	(void)fprintf(stderr, "manifest: %s: cannot %s: %s\n", w->path.bytes, what,
		strerror(err));
	w->failures++;
}

/* Writes the escaped form of @len bytes to @out (4 * len + 1 bytes of room); its length.
 */
static size_t escape(char *out, const char *bytes, size_t len)
{
	char *o = out;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c >= 0x21 && c <= 0x7e && c != '\\') {
			*o++ = (char)c;
			continue;
		}
		*o++ = '\\';
		*o++ = (char)('0' + (c >> 6));
		*o++ = (char)('0' + (c >> 3 & 7));
		*o++ = (char)('0' + (c & 7));
	}
	*o = '\0';
	return (size_t)(o - out);
}

/* Makes room for @more bytes at the end, and returns that end. */
static char *text_reserve(struct text *text, size_t more)
{
	if (text->len + more > text->size) {
		text->size = 2 * (text->len + more);
		text->bytes = must_have(realloc(text->bytes, text->size));
	}
	return text->bytes + text->len;
}

/* Appends the string with its NUL; returns where it starts. */
static size_t text_add_string(struct text *text, const char *string)
{
	size_t start = text->len;
	size_t size = strlen(string) + 1;

	memcpy(text_reserve(text, size), string, size);
	text->len += size;
	return start;
}

static void text_release(struct text *text)
{
	free(text->bytes);
}

static void print_escaped(const char *bytes, size_t len)
{
	char *text = must_have(malloc(4 * len + 1));

	(void)escape(text, bytes, len);
	(void)fputs(text, stdout);
	free(text);
}

/* Appends "/name"; returns the length to give to path_pop(). */
static size_t path_push(struct text *path, const char *name)
{
	size_t before = path->len;
	size_t name_len = strlen(name);
	char *end = text_reserve(path, 4 * name_len + 2);

	*end = '/';
	path->len += 1 + escape(end + 1, name, name_len);
	return before;
}

static void path_pop(struct text *path, size_t len)
{
	path->len = len;
	path->bytes[len] = '\0';
}

static int link_group_compare(const void *a, const void *b)
{
	const struct link_group *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->dev > y->dev) - (x->dev < y->dev);
}

static struct link_group *link_group_new(struct walk *w, const struct stat *st)
{
	size_t path_size = w->path.len + 1;
	struct link_group *group = must_have(malloc(sizeof(*group) + path_size));

	group->dev = st->st_dev;
	group->ino = st->st_ino;
	memcpy(group->first, w->path.bytes, path_size);
	group->older = w->link_groups;
	w->link_groups = group;
	return group;
}

/* The path of the group's first member: the one at hand if its inode was not met before.
 */
static const char *link_group_first(struct walk *w, const struct stat *st)
{
	struct link_group key = {.dev = st->st_dev, .ino = st->st_ino};
	struct link_group **node = tfind(&key, &w->link_tree, link_group_compare);

	if (!node)
		node = must_have(tsearch(
			link_group_new(w, st), &w->link_tree, link_group_compare));
	return (*node)->first;
}

/* For tdestroy(3): the groups are freed by their list. */
static void keep(void *group)
{
	(void)group;
}

static void link_groups_free(struct walk *w)
{
	tdestroy(w->link_tree, keep);
	while (w->link_groups) {
		struct link_group *group = w->link_groups;

		w->link_groups = group->older;
		free(group);
	}
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	case S_IFSOCK:
		return "socket";
	default:
		return "unknown";
	}
}

static void print_stat(struct walk *w, const struct stat *st)
{
	(void)printf("%s %s mode=%04o uid=%u gid=%u", w->path.bytes,
		type_name(st->st_mode), st->st_mode & 07777, st->st_uid, st->st_gid);
	if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode) ||
		(S_ISDIR(st->st_mode) && w->options.with_dir_size))
		(void)printf(" size=%jd", (intmax_t)st->st_size);
	(void)printf(" mtime=%jd.%09ld nlink=%ju", (intmax_t)st->st_mtim.tv_sec,
		st->st_mtim.tv_nsec, (uintmax_t)st->st_nlink);
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1)
		(void)printf(" group=%s", link_group_first(w, st));
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		(void)printf(" rdev=%u:%u", major(st->st_rdev), minor(st->st_rdev));
}

static void print_target(struct walk *w, int fd, const struct stat *st)
{
	char target[PATH_MAX + 1];
	ssize_t len = readlinkat(fd, "", target, sizeof(target));

	if (len < 0) {
		walk_fail(w, "read the symlink", errno);
		return;
	}
	if (len != st->st_size)
		walk_fail(w, "trust the symlink: its length is not its size", EIO);
	(void)fputs(" target=", stdout);
	print_escaped(target, (size_t)len);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_xattr(struct walk *w, const char *proc_path, const char *name)
{
	unsigned char value[XATTR_SIZE_MAX];
	ssize_t len = getxattr(proc_path, name, value, sizeof(value));

	if (len < 0) {
		walk_fail(w, name, errno);
		return;
	}
	(void)putchar(' ');
	print_escaped(name, strlen(name));
	(void)putchar('=');
	for (ssize_t i = 0; i < len; i++)
		(void)printf("%02x", value[i]);
}

/* @fd may be an O_PATH descriptor, even of a symlink: the /proc name leads to that very
 * inode. */
static void print_xattrs(struct walk *w, int fd)
{
	char proc_path[64];
	char list[XATTR_LIST_MAX];
	char *names[XATTR_LIST_MAX / 2];
	size_t count = 0;
	ssize_t len;

	(void)snprintf(proc_path, sizeof(proc_path), "/proc/self/fd/%d", fd);
	len = listxattr(proc_path, list, sizeof(list));
	if (len < 0) {
		if (errno != EOPNOTSUPP)
			walk_fail(w, "list the extended attributes", errno);
		return;
	}
	for (char *name = list; name < list + len; name += strlen(name) + 1)
		if (strncmp(name, HIDDEN_XATTRS, strlen(HIDDEN_XATTRS)) != 0)
			names[count++] = name;
	qsort(names, count, sizeof(*names), compare_strings);
	for (size_t i = 0; i < count; i++)
		print_xattr(w, proc_path, names[i]);
}

/*
 * Walks the data extents, rounded out to pages and merged. With @print false it only sums
 * up what is data, which says whether the holes are worth a word.
 */
static int data_extents(int fd, off_t size, bool print, off_t *out_data)
{
	off_t start = -1, end = 0, data = 0, pos = 0;

	for (;;) {
		off_t from = pos < size ? lseek(fd, pos, SEEK_DATA) : -1;
		bool at_end = pos >= size || (from < 0 && errno == ENXIO);

		if (from < 0 && !at_end)
			return -errno;
		if (start >= 0 && (at_end || from - from % HOLE_PAGE > end)) {
			data += end - start;
			if (print)
				(void)printf("%s%jd-%jd", data > end - start ? "," : "",
					(intmax_t)start, (intmax_t)end);
			start = -1;
		}
		if (at_end)
			break;
		pos = lseek(fd, from, SEEK_HOLE);
		if (pos < 0)
			return -errno;
		if (start < 0)
			start = from - from % HOLE_PAGE;
		end = (pos + HOLE_PAGE - 1) / HOLE_PAGE * HOLE_PAGE;
		end = end < size ? end : size;
	}
	*out_data = data;
	return 0;
}

static void print_holes(struct walk *w, int fd, const struct stat *st)
{
	off_t data;
	int r = data_extents(fd, st->st_size, false, &data);

	if (r == 0 && st->st_size - data >= HOLE_PAGE) {
		(void)fputs(" data=", stdout);
		r = data_extents(fd, st->st_size, true, &data);
	}
	if (r < 0)
		walk_fail(w, "find the holes", -r);
}

static int digest_file(struct walk *w, int fd, unsigned char *out, unsigned int *out_len)
{
	off_t pos = 0;
	ssize_t n;

	if (!EVP_DigestInit_ex(w->digest, EVP_sha256(), NULL))
		return -EIO;
	while ((n = pread(fd, w->read_buf, READ_SIZE, pos)) > 0) {
		if (!EVP_DigestUpdate(w->digest, w->read_buf, (size_t)n))
			return -EIO;
		pos += n;
	}
	if (n < 0)
		return -errno;
	return EVP_DigestFinal_ex(w->digest, out, out_len) ? 0 : -EIO;
}

static void print_digest(struct walk *w, int fd)
{
	unsigned char sum[EVP_MAX_MD_SIZE] = {0};
	unsigned int len = 0;
	int r = digest_file(w, fd, sum, &len);

	if (r < 0) {
		walk_fail(w, "read the content", -r);
		return;
	}
	(void)fputs(" sha256=", stdout);
	for (unsigned int i = 0; i < len; i++)
		(void)printf("%02x", sum[i]);
}

static void print_content(
	struct walk *w, int dir_fd, const char *name, const struct stat *st)
{
	bool holes = !w->options.without_holes && st->st_size >= HOLE_PAGE;
	int fd;

	if (!holes && !w->options.with_digest)
		return;
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		walk_fail(w, "open", errno);
		return;
	}
	if (holes)
		print_holes(w, fd, st);
	if (w->options.with_digest)
		print_digest(w, fd);
	(void)close(fd);
}

/* Prints one entry's line; 0 and its stat, or -1 if it could not be looked up. */
static int print_entry(struct walk *w, int dir_fd, const char *name, struct stat *out_st)
{
	struct stat st;
	int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		walk_fail(w, "look it up", errno);
		return -1;
	}
	if (fstat(fd, &st) < 0) {
		walk_fail(w, "stat", errno);
		(void)close(fd);
		return -1;
	}
	print_stat(w, &st);
	if (S_ISLNK(st.st_mode))
		print_target(w, fd, &st);
	print_xattrs(w, fd);
	if (S_ISREG(st.st_mode))
		print_content(w, dir_fd, name, &st);
	(void)putchar('\n');
	(void)close(fd);
	*out_st = st;
	return 0;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Reads all names of @dir into @text; returns their number. */
static size_t read_names(struct walk *w, DIR *dir, struct text *text)
{
	struct dirent *entry;
	size_t count = 0;

	while (errno = 0, (entry = readdir(dir))) {
		if (is_dot(entry->d_name))
			continue;
		(void)text_add_string(text, entry->d_name);
		count++;
	}
	if (errno)
		walk_fail(w, "read the directory", errno);
	return count;
}

static char **sort_names(struct text *text, size_t count)
{
	char **names = must_have(calloc(count + 1, sizeof(*names)));
	char *name = text->bytes;

	for (size_t i = 0; i < count; i++, name += strlen(name) + 1)
		names[i] = name;
	qsort(names, count, sizeof(*names), compare_strings);
	return names;
}

static void walk_dir(struct walk *w, int parent_fd, const char *dir_name)
{
	int fd = openat(
		parent_fd, dir_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct text text = {0};
	char **names;
	size_t count;

	if (!dir) {
		walk_fail(w, "open the directory", errno);
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	count = read_names(w, dir, &text);
	names = sort_names(&text, count);
	for (size_t i = 0; i < count; i++) {
		size_t before = path_push(&w->path, names[i]);
		struct stat st;

		if (print_entry(w, fd, names[i], &st) == 0 && S_ISDIR(st.st_mode) &&
			(w->options.cross_mounts || st.st_dev == w->root_dev))
			walk_dir(w, fd, names[i]);
		path_pop(&w->path, before);
	}
	free(names);
	text_release(&text);
	(void)closedir(dir);
}

/* One descriptor is open per level: take as many as the system allows. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int walk_tree(struct walk *w, const char *top)
{
	int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0) {
		(void)fprintf(stderr, "manifest: %s: %s\n", top, strerror(errno));
		return 1;
	}
	(void)text_add_string(&w->path, ".");
	w->path.len = 1;
	w->digest = must_have(EVP_MD_CTX_new());
	w->read_buf = must_have(malloc(READ_SIZE));
	if (print_entry(w, fd, ".", &st) == 0) {
		w->root_dev = st.st_dev;
		walk_dir(w, fd, ".");
	}
	EVP_MD_CTX_free(w->digest);
	free(w->read_buf);
	text_release(&w->path);
	link_groups_free(w);
	(void)close(fd);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		(void)fprintf(stderr, "manifest: cannot write: %s\n", strerror(errno));
		return 1;
	}
	return w->failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"digest", no_argument, NULL, 'd'},
		{"no-holes", no_argument, NULL, 'n'},
		{"dir-size", no_argument, NULL, 's'},
		{"cross-mounts", no_argument, NULL, 'x'},
		{NULL, 0, NULL, 0},
	};
	struct walk w = {0};
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'd':
			w.options.with_digest = true;
			break;
		case 'n':
			w.options.without_holes = true;
			break;
		case 's':
			w.options.with_dir_size = true;
			break;
		case 'x':
			w.options.cross_mounts = true;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc) {
		(void)fputs("usage: manifest [--digest] [--no-holes] [--dir-size] "
			    "[--cross-mounts] DIR\n",
			stderr);
		return 2;
	}
	raise_descriptor_limit();
	return walk_tree(&w, argv[optind]);
}
