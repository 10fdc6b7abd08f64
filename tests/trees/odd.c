/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * odd: a small package tree of everything a file system can hold.
 *
 *   odd [--socket] DIR     builds it in DIR, which must be empty or missing
 *   odd --mutate DIR       turns a tree built before into its second version
 *
 * Packages are packages/NAME/VERSION; some entries lie above them. The tree is the same
 * every time, modification times included. Run it as root for all of it: what the file
 * system or the user's rights do not allow is left out with a note on stderr, any other
 * failure ends in exit 1.
 */
#include "tests/trees/odd.h"

#include "tests/trees/plant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define KIB	     1024u
#define MIB	     (1024u * 1024u)
#define GIB	     (INT64_C(1) << 30)
#define EPOCH	     1600000000
#define DEEP	     30
#define DEEP_NAME    200
#define WIDE	     3000
#define LONGEST_LINK 4095

static bool is_unstorable(int err)
{
	static const int reasons[] = {EPERM, EOPNOTSUPP, EINVAL, EILSEQ, ENAMETOOLONG,
		EOVERFLOW, EFBIG, E2BIG, EMLINK, ENOSYS};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (err == reasons[i])
			return true;
	return false;
}

void odd_check(struct odd *odd, const char *path, const char *what, int r)
{
	if (r == 0)
		return;
	if (is_unstorable(-r)) {
		(void)fprintf(stderr, "odd: left out: %s of %s: %s\n", what, path,
			strerror(-r));
		return;
	}
	(void)fprintf(
		stderr, "odd: cannot make %s of %s: %s\n", what, path, strerror(-r));
	odd->failures++;
}

static int or_errno(int result)
{
	return result < 0 ? -errno : 0;
}

/* Regular files: the sizes around the chunker's and the frames' limits, twins and
 * versions. */
static const struct {
	const char *path;
	struct plant_segment segments[3];
} files[] = {
	{"README", {{PLANT_TEXT, 1, 2000}}},
	{".hidden", {{PLANT_TEXT, 2, 20}}},
	{"shared/notes.txt", {{PLANT_TEXT, 3, 20000}}},
	{"packages/index", {{PLANT_TEXT, 4, 300}}},
	{"packages/files/1.0/empty", {{0}}},
	{"packages/files/1.0/1", {{PLANT_RANDOM, 10, 1}}},
	{"packages/files/1.0/4095", {{PLANT_RANDOM, 11, 4095}}},
	{"packages/files/1.0/4096", {{PLANT_RANDOM, 12, 4096}}},
	{"packages/files/1.0/16383", {{PLANT_RANDOM, 13, 16383}}},
	{"packages/files/1.0/16384", {{PLANT_RANDOM, 14, 16384}}},
	{"packages/files/1.0/16385", {{PLANT_RANDOM, 15, 16385}}},
	{"packages/files/1.0/65536", {{PLANT_RANDOM, 16, 64 * KIB}}},
	{"packages/files/1.0/262143", {{PLANT_RANDOM, 17, 256 * KIB - 1}}},
	{"packages/files/1.0/262144", {{PLANT_RANDOM, 18, 256 * KIB}}},
	{"packages/files/1.0/262145", {{PLANT_RANDOM, 19, 256 * KIB + 1}}},
	{"packages/files/1.0/1m", {{PLANT_RANDOM, 20, MIB}}},
	{"packages/files/1.0/random-7m", {{PLANT_RANDOM, 21, 7 * MIB}}},
	{"packages/files/1.0/text-5m", {{PLANT_TEXT, 22, 5 * MIB}}},
	{"packages/files/1.0/zeros-written", {{PLANT_ZERO, 0, MIB}}},
	{"packages/files/1.0/grows", {{PLANT_TEXT, 23, 3 * MIB}, {PLANT_TEXT, 24, MIB}}},
	{"packages/files/1.0/twin", {{PLANT_RANDOM, 25, 100000}}},
	{"packages/files/1.0/sub/twin", {{PLANT_RANDOM, 25, 100000}}},
	{"packages/files/1.0/small-twin", {{PLANT_TEXT, 26, 200}}},
	{"packages/files/1.1/small-twin", {{PLANT_TEXT, 26, 200}}},
	{"packages/files/1.1/twin", {{PLANT_RANDOM, 25, 100000}}},
	{"packages/files/1.1/1m-moved", {{PLANT_RANDOM, 20, MIB}}},
	{"packages/files/1.1/grows", {{PLANT_TEXT, 23, 3 * MIB}, {PLANT_TEXT, 27, 100},
					     {PLANT_TEXT, 24, MIB}}},
	{"packages/links/1.0/one", {{PLANT_TEXT, 30, 100}}},
	{"packages/links/1.0/big", {{PLANT_RANDOM, 31, 300 * KIB}}},
	{"packages/links/1.0/across", {{PLANT_RANDOM, 32, 50 * KIB}}},
	{"packages/links/1.0/dir/inner", {{PLANT_TEXT, 33, 50}}},
	{"packages/with space/1.0+b~1/a file", {{PLANT_TEXT, 34, 500}}},
	{"packages/with space/\xff\n'\"/a file", {{PLANT_TEXT, 35, 500}}},
	{"packages/mutate/1.0/changed", {{PLANT_RANDOM, 40, MIB}}},
	{"packages/mutate/1.0/removed", {{PLANT_TEXT, 41, 1000}}},
	{"packages/mutate/1.0/before", {{PLANT_RANDOM, 42, 70000}}},
	{"packages/mutate/1.0/becomes-file/a", {{PLANT_TEXT, 43, 100}}},
	{"packages/mutate/1.0/becomes-file/sub/b", {{PLANT_TEXT, 44, 100}}},
	{"packages/mutate/1.0/mode", {{PLANT_TEXT, 45, 100}}},
	{"packages/mutate/1.0/xattr", {{PLANT_TEXT, 46, 100}}},
	{"packages/mutate/1.0/same", {{PLANT_RANDOM, 47, 200000}}},
};

static void make_files(struct odd *odd)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		int r = plant_parents(odd->root, files[i].path);

		if (r == 0)
			r = plant_file(odd->root, files[i].path, files[i].segments, 3);
		odd_check(odd, files[i].path, "the content", r);
	}
}

static void make_empty_dirs(struct odd *odd)
{
	static const char *const dirs[] = {"packages/empty/1.0/",
		"packages/empty/2.0/a/b/c/", "packages/empty/2.0/d/", "empty/"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		odd_check(
			odd, dirs[i], "the directory", plant_parents(odd->root, dirs[i]));
}

static void make_symlink(struct odd *odd, const char *path, const char *target)
{
	odd_check(odd, path, "the symlink", or_errno(symlinkat(target, odd->root, path)));
}

static void make_symlinks(struct odd *odd)
{
	char longest[LONGEST_LINK + 1];

	for (size_t i = 0; i < LONGEST_LINK; i++)
		longest[i] = "../very/long-target/"[i % 20];
	longest[LONGEST_LINK] = '\0';
	make_symlink(odd, "latest", "packages/files/1.1");
	make_symlink(odd, "packages/links/1.0/to-file", "one");
	make_symlink(odd, "packages/links/1.0/to-dir", "dir");
	make_symlink(odd, "packages/links/1.0/to-other-package", "../../files/1.0/1m");
	make_symlink(odd, "packages/links/1.0/absolute", "/etc/hostname");
	make_symlink(odd, "packages/links/1.0/dangling", "nowhere/at all");
	make_symlink(odd, "packages/links/1.0/loop", "loop");
	make_symlink(odd, "packages/links/1.0/odd-bytes", "\xff\xfe\n\\\"'");
	make_symlink(odd, "packages/links/1.0/one-byte", "x");
	make_symlink(odd, "packages/links/1.0/longest", longest);
}

static void make_hard_link(struct odd *odd, const char *path, const char *other)
{
	int r = plant_parents(odd->root, other);

	if (r == 0)
		r = or_errno(linkat(odd->root, path, odd->root, other, 0));
	odd_check(odd, other, "the hard link", r);
}

static void make_hard_links(struct odd *odd)
{
	make_hard_link(odd, "packages/links/1.0/one", "packages/links/1.0/two");
	make_hard_link(odd, "packages/links/1.0/one", "packages/links/1.0/dir/three");
	make_hard_link(odd, "packages/links/1.0/big", "packages/links/1.0/dir/big too");
	make_hard_link(odd, "packages/links/1.0/across", "packages/links/2.0/across");
	make_hard_link(odd, "packages/links/1.0/across", "shared/across");
	make_hard_link(
		odd, "packages/links/1.0/dangling", "packages/links/1.0/dangling too");
	for (int i = 0; i < 200; i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "packages/links/2.0/many/%03d", i);
		make_hard_link(odd, "packages/links/1.0/dir/inner", path);
	}
}

static const struct {
	const char *path;
	int64_t size;
	struct {
		int64_t offset;
		size_t size_bytes;
	} data[4];
} sparse_files[] = {
	{"packages/sparse/1.0/hole-first", 10 * MIB, {{9 * MIB, MIB}}},
	{"packages/sparse/1.0/hole-middle", 10 * MIB, {{0, 100000}, {9 * MIB + 5, 1000}}},
	{"packages/sparse/1.0/hole-last", 10 * MIB, {{0, 12345}}},
	{"packages/sparse/1.0/all-hole", 3 * MIB + 17, {{0}}},
	{"packages/sparse/1.0/one-page-hole", 3 * 4096, {{0, 4096}, {8192, 4096}}},
	{"packages/sparse/1.0/small-all-hole", 5000, {{0}}},
	{"packages/sparse/1.0/over-4-gib", 5 * GIB + 3,
		{{4096, 4096}, {2 * GIB - 7, 100000}, {4 * GIB - 5, 65536},
			{5 * GIB + 2, 1}}},
};

static int make_sparse_file(int root, size_t which)
{
	const char *path = sparse_files[which].path;
	int fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return -errno;
	r = or_errno(ftruncate(fd, sparse_files[which].size));
	for (size_t i = 0; i < 4 && r == 0; i++) {
		struct plant_segment segment = {PLANT_RANDOM, 100 + 10 * which + i,
			sparse_files[which].data[i].size_bytes};

		r = plant_write(fd, &segment, sparse_files[which].data[i].offset);
	}
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

static void make_sparse_files(struct odd *odd)
{
	for (size_t i = 0; i < sizeof(sparse_files) / sizeof(*sparse_files); i++) {
		int r = plant_parents(odd->root, sparse_files[i].path);

		if (r == 0)
			r = make_sparse_file(odd->root, i);
		odd_check(odd, sparse_files[i].path, "the sparse content", r);
	}
}

static void make_named(struct odd *odd, const char *name)
{
	struct plant_segment segment = {PLANT_TEXT, plant_hash(7, name), 64};
	char path[512];
	int r;

	(void)snprintf(path, sizeof(path), "packages/names/1.0/%s", name);
	r = plant_parents(odd->root, path);
	if (r == 0)
		r = plant_file(odd->root, path, &segment, 1);
	if (r == -EEXIST) /* the file system folds case or normal forms */
		r = -EILSEQ;
	odd_check(odd, path, "the name", r);
}

static void make_names(struct odd *odd)
{
	/* UTF-8 is in octal: a hexadecimal escape would eat a letter after it. */
	static const char *const names[] = {"\377\376\200", "\303(", "new\nline", "\n",
		"quote\"double", "quote'single", "back\\slash", "\\", "-dash", "--help",
		"-rf", " leading", "trailing ", " ", "a  b", "tab\t",
		"\001control\033[31m", "\177", "readme", "README", "ReadMe",
		"stra\303\237e", "Stra\303\237e", "STRASSE", "STRA\341\272\236E",
		"caf\303\251", "cafe\314\201", "CAF\303\211", "\316\251mega",
		"\317\211mega", "\304\260stanbul", "istanbul", "\360\237\223\246", "...",
		"..a", ".dot", "*", "?", "[a-z]", "$HOME", "`id`", "a;b", "a|b", "a&b",
		"a<b>", "#", "%s%n%2f", "a:b", "CON", "aux.txt", "trailing.", "~", "!",
		"a=b", "dir \377\n/with '\" inside/file", "DIR/lower", "dir/UPPER"};
	char longest[256] = {0};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		make_named(odd, names[i]);
	memset(longest, 'n', 255);
	make_named(odd, longest);
	for (size_t i = 1; i < 255; i++)
		longest[i] = i % 2 ? '\303' : '\274';
	make_named(odd, longest);
	memset(longest, '\n', 255);
	make_named(odd, longest);
}

static void make_deep(struct odd *odd)
{
	struct plant_segment segment = {PLANT_TEXT, 60, 777};
	int fd = -1;
	int r = plant_parents(odd->root, "packages/deep/1.0/");

	if (r == 0)
		fd = openat(odd->root, "packages/deep/1.0", O_DIRECTORY | O_CLOEXEC);
	for (int level = 0; level < DEEP && fd >= 0 && r == 0; level++) {
		char name[DEEP_NAME + 1] = {0};
		int below;

		memset(name, 'a' + level % 26, DEEP_NAME);
		r = or_errno(mkdirat(fd, name, 0755));
		below = r == 0 ? openat(fd, name, O_DIRECTORY | O_CLOEXEC) : -1;
		(void)close(fd);
		fd = below;
		if (fd >= 0 && level % 10 == 9)
			r = plant_file(fd, "file", &segment, 1);
	}
	if (r == 0)
		r = fd < 0 ? -errno : or_errno(symlinkat("../file", fd, "link"));
	if (fd >= 0)
		(void)close(fd);
	odd_check(odd, "packages/deep/1.0", "the depth", r);
}

static void make_wide(struct odd *odd)
{
	int r = plant_parents(odd->root, "packages/wide/1.0/");

	for (unsigned i = 0; i < WIDE && r == 0; i++) {
		struct plant_segment segment = {PLANT_TEXT, 1000 + i, i % 300};
		char path[64];

		(void)snprintf(path, sizeof(path), "packages/wide/1.0/entry-%u", i);
		r = plant_file(odd->root, path, &segment, 1);
	}
	odd_check(odd, "packages/wide/1.0", "the width", r);
}

static void make_nodes(struct odd *odd)
{
	static const struct {
		const char *path;
		mode_t mode;
		unsigned major, minor;
	} nodes[] = {
		{"packages/nodes/1.0/fifo", S_IFIFO | 0640, 0, 0},
		{"packages/nodes/1.0/null", S_IFCHR | 0666, 1, 3},
		{"packages/nodes/1.0/loop0", S_IFBLK | 0660, 7, 0},
		{"packages/nodes/1.0/big-numbers", S_IFCHR | 0600, 500, 70000},
		{"packages/nodes/1.0/socket", S_IFSOCK | 0755, 0, 0},
	};

	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		int r = plant_parents(odd->root, nodes[i].path);

		if (S_ISSOCK(nodes[i].mode) && !odd->with_socket)
			continue;
		if (r == 0)
			r = or_errno(mknodat(odd->root, nodes[i].path, nodes[i].mode,
				makedev(nodes[i].major, nodes[i].minor)));
		odd_check(odd, nodes[i].path, "the node", r);
	}
	make_hard_link(odd, "packages/nodes/1.0/fifo", "packages/nodes/1.0/fifo too");
}

/* Gives each entry below @fd a time of its own that depends on its path only. */
static int stamp_below(int fd, uint64_t hash)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir))) {
		const char *name = entry->d_name;
		uint64_t mine = plant_hash(hash ^ '/', name);
		struct stat st;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		r = or_errno(fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW));
		if (r == 0 && S_ISDIR(st.st_mode)) {
			int below =
				openat(fd, name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			r = below < 0 ? -errno : stamp_below(below, mine);
		} else if (r == 0 && st.st_nlink > 1) { /* all its paths agree */
			mine = (uint64_t)st.st_size;
		}
		if (r == 0)
			r = plant_mtime(fd, name, odd_time(mine));
	}
	(void)closedir(dir);
	return r;
}

struct timespec odd_time(uint64_t hash)
{
	return (struct timespec){EPOCH + (time_t)(hash % 100000000),
		(long)((hash >> 20) * 1000003 % 1000000000)};
}

static void stamp(struct odd *odd)
{
	int fd = openat(odd->root, ".", O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : stamp_below(fd, 1);

	if (r == 0)
		r = plant_mtime(odd->root, ".", odd_time(1));
	odd_check(odd, ".", "the times", r);
}

static int open_top(const char *path, bool is_new)
{
	int fd;

	if (is_new && mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	/* rmdir says ENOTEMPTY without a list being read; an empty one is made again. */
	if (is_new && (rmdir(path) < 0 || mkdir(path, 0755) < 0))
		return -errno;
	fd = open(path, O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"socket", no_argument, NULL, 's'},
		{"mutate", no_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
	struct odd odd = {0};
	bool is_mutation = false;
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == '?')
			return 2;
		odd.with_socket |= c == 's';
		is_mutation |= c == 'm';
	}
	if (optind + 1 != argc) {
		(void)fputs("usage: odd [--socket] DIR | odd --mutate DIR\n", stderr);
		return 2;
	}
	(void)umask(0);
	odd.root = open_top(argv[optind], !is_mutation);
	if (odd.root < 0) {
		(void)fprintf(stderr, "odd: %s: %s\n", argv[optind], strerror(-odd.root));
		return 1;
	}
	if (is_mutation) {
		odd_mutate(&odd);
	} else {
		make_files(&odd);
		make_empty_dirs(&odd);
		make_symlinks(&odd);
		make_hard_links(&odd);
		make_sparse_files(&odd);
		make_names(&odd);
		make_deep(&odd);
		make_wide(&odd);
		make_nodes(&odd);
		odd_make_attributes(&odd);
		stamp(&odd);
		odd_set_attributes(&odd);
	}
	(void)close(odd.root);
	return odd.failures ? 1 : 0;
}
