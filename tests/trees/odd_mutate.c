/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/trees/odd.h"

#include "tests/trees/plant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HERE "packages/mutate/1.0/"

static int change_content(int root, const char *path)
{
	struct plant_segment segment = {PLANT_RANDOM, 80, 100};
	int fd = openat(root, path, O_WRONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = plant_write(fd, &segment, 500000);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r;
}

static int replace_dir(int root, const char *path)
{
	static const char *const files[] = {
		HERE "becomes-file/sub/b", HERE "becomes-file/a"};
	static const char *const dirs[] = {HERE "becomes-file/sub", HERE "becomes-file"};
	struct plant_segment segment = {PLANT_TEXT, 81, 5000};

	for (size_t i = 0; i < 2; i++)
		if (unlinkat(root, files[i], 0) < 0)
			return -errno;
	for (size_t i = 0; i < 2; i++)
		if (unlinkat(root, dirs[i], AT_REMOVEDIR) < 0)
			return -errno;
	return plant_file(root, path, &segment, 1);
}

static int change_xattr(int root, const char *path)
{
	int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = fsetxattr(fd, "user.comment", "after", 5, 0) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}

/* @is_dated: its content is new, so its modification time is too. */
static void step(
	struct odd *odd, const char *verb, const char *path, bool is_dated, int r)
{
	if (r == 0 && is_dated)
		r = plant_mtime(odd->root, path, odd_time(plant_hash(82, path)));
	odd_check(odd, path, verb, r);
	if (r == 0)
		(void)printf("%s %s\n", verb, path);
}

void odd_mutate(struct odd *odd)
{
	struct plant_segment added = {PLANT_TEXT, 83, 3000};
	int root = odd->root;

	step(odd, "changed", HERE "changed", true, change_content(root, HERE "changed"));
	step(odd, "added", HERE "added", true, plant_file(root, HERE "added", &added, 1));
	step(odd, "removed", HERE "removed", false,
		unlinkat(root, HERE "removed", 0) < 0 ? -errno : 0);
	step(odd, "renamed", HERE "after", false,
		renameat(root, HERE "before", root, HERE "after") < 0 ? -errno : 0);
	step(odd, "replaced", HERE "becomes-file", true,
		replace_dir(root, HERE "becomes-file"));
	step(odd, "mode", HERE "mode", false,
		fchmodat(root, HERE "mode", 0755, 0) < 0 ? -errno : 0);
	step(odd, "xattr", HERE "xattr", false, change_xattr(root, HERE "xattr"));
	odd_check(odd, HERE, "the time", plant_mtime(root, HERE, odd_time(84)));
}
