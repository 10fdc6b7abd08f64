/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Readers who never stop while versions change under them.
 *
 *	flip_reader --fingerprint DIR			prints what DIR holds as one number
 *	flip_reader MOUNT VALID SECONDS READERS		loops over the packages of VALID
 *
 * VALID has lines "PACKAGE FINGERPRINT": all that a package may ever be. Each reader opens a
 * package's directory and reads everything below it from there, so it must find one version,
 * whole, whatever happens meanwhile: each file is what its own digest attribute says, and all
 * together are one of the package's fingerprints. Any error, wrong byte or mixture ends it with
 * status 1.
 */
#include "cache/base/data/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define PACKAGES_MAX 4096
#define LINE_SIZE    4096

struct valid {
	char *package;
	char fingerprint[DIGEST_HEX_SIZE];
};

struct reader {
	bool is_mount; /* files have the digest attribute */
	uint64_t files;
	uint64_t packages;
	char path[LINE_SIZE]; /* for messages */
};

static int complain(const struct reader *r, const char *name, const char *what)
{
	(void)fprintf(stderr, "flip_reader: %s: %s: %s\n", r->path, name, what);
	return -1;
}

static int read_file(struct reader *r, int dirfd, const char *name, struct digest *out)
{
	static char block[256 * 1024];
	struct digest_stream *stream;
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return complain(r, name, strerror(errno));
	if (digest_stream_new(&stream) < 0 || digest_stream_reset(stream) < 0)
		return complain(r, name, "out of memory");
	while ((n = read(fd, block, sizeof(block))) > 0)
		if (digest_stream_add(stream, block, (size_t)n) < 0)
			return complain(r, name, "digest");
	if (n < 0)
		return complain(r, name, strerror(errno));
	if (digest_stream_finish(stream, out) < 0)
		return complain(r, name, "digest");
	digest_stream_free(stream);
	if (r->is_mount) {
		char said[DIGEST_HEX_SIZE] = "";
		char found[DIGEST_HEX_SIZE];

		digest_to_hex(out, found);
		if (fgetxattr(fd, "user.depotfs.digest", said, sizeof(said) - 1) < 0)
			return complain(r, name, "no digest attribute");
		if (strcmp(said, found) != 0)
			return complain(r, name, "is not what its digest says");
	}
	close(fd);
	r->files++;
	return 0;
}

/* One name's share; the sum of them does not depend on the order of a directory. */
static int add_name(
	struct digest *sum, const char *rel, mode_t type, const struct digest *content)
{
	struct digest_stream *stream;
	struct digest d;
	int r = digest_stream_new(&stream);

	if (r == 0)
		r = digest_stream_reset(stream);
	if (r == 0)
		r = digest_stream_add(stream, rel, strlen(rel) + 1);
	if (r == 0)
		r = digest_stream_add(stream, &type, sizeof(type));
	if (r == 0)
		r = digest_stream_add(stream, content, sizeof(*content));
	if (r == 0)
		r = digest_stream_finish(stream, &d);
	digest_stream_free(stream);
	for (size_t i = 0; r == 0 && i < DIGEST_SIZE; i++)
		sum->bytes[i] ^= d.bytes[i];
	return r;
}

static int read_directory(struct reader *r, int fd, const char *rel, struct digest *sum)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *d;
	int status = 0;

	if (!dir)
		return complain(r, rel, strerror(errno));
	errno = 0;
	while (status == 0 && (d = readdir(dir))) {
		char name[LINE_SIZE];
		struct digest content = {0};
		struct stat st;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		(void)snprintf(name, sizeof(name), "%s/%s", rel, d->d_name);
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			status = complain(r, name, strerror(errno));
			break;
		}
		if (S_ISREG(st.st_mode))
			status = read_file(r, dirfd(dir), d->d_name, &content);
		if (status == 0)
			status = add_name(sum, name, st.st_mode & S_IFMT, &content);
		if (status == 0 && S_ISDIR(st.st_mode)) {
			int below = openat(dirfd(dir), d->d_name,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			status = below < 0 ? complain(r, name, strerror(errno))
					   : read_directory(r, below, name, sum);
		}
		errno = 0;
	}
	if (status == 0 && errno)
		status = complain(r, rel, strerror(errno));
	closedir(dir);
	return status;
}

static int read_package(struct reader *r, const char *path, char out[DIGEST_HEX_SIZE])
{
	struct digest sum = {0};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)snprintf(r->path, sizeof(r->path), "%s", path);
	if (fd < 0)
		return complain(r, "", strerror(errno));
	if (read_directory(r, fd, "", &sum) < 0)
		return -1;
	digest_to_hex(&sum, out);
	r->packages++;
	return 0;
}

static bool is_valid(const struct valid *list, size_t count, const char *package,
	const char *fingerprint)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].package, package) == 0 &&
			strcmp(list[i].fingerprint, fingerprint) == 0)
			return true;
	return false;
}

static int loop(const char *mount, const struct valid *list, size_t count, double seconds,
	unsigned int seed)
{
	struct reader r = {.is_mount = true};
	char path[LINE_SIZE];
	char found[DIGEST_HEX_SIZE];
	time_t end = time(NULL) + (time_t)seconds;

	while (time(NULL) < end) {
		const char *package = list[(size_t)rand_r(&seed) % count].package;

		(void)snprintf(path, sizeof(path), "%s/%s", mount, package);
		if (read_package(&r, path, found) < 0)
			return 1;
		if (!is_valid(list, count, package, found)) {
			(void)complain(&r, found, "is a mixture of versions");
			return 1;
		}
	}
	printf("reader: %llu packages, %llu files\n", (unsigned long long)r.packages,
		(unsigned long long)r.files);
	return r.packages == 0;
}

static size_t load(const char *path, struct valid *list)
{
	char line[LINE_SIZE];
	FILE *f = fopen(path, "re");
	size_t count = 0;

	while (f && count < PACKAGES_MAX && fgets(line, sizeof(line), f)) {
		char *space = strrchr(line, ' ');

		if (!space || strlen(space + 1) < DIGEST_HEX_SIZE - 1)
			continue;
		*space = '\0';
		memcpy(list[count].fingerprint, space + 1, DIGEST_HEX_SIZE - 1);
		list[count].package = strdup(line);
		if (list[count].package)
			count++;
	}
	if (f)
		(void)fclose(f);
	return count;
}

static int run_readers(const char *mount, const char *valid, double seconds, int readers)
{
	static struct valid list[PACKAGES_MAX];
	size_t count = load(valid, list);
	int failed = 0;
	int status;

	if (count == 0) {
		(void)fprintf(stderr, "flip_reader: %s holds nothing\n", valid);
		return 2;
	}
	for (int i = 0; i < readers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (pid == 0)
			exit(loop(mount, list, count, seconds, (unsigned int)i + 1));
	}
	for (int i = 0; i < readers; i++)
		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
			failed++;
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--fingerprint") == 0) {
		struct reader r = {0};
		char found[DIGEST_HEX_SIZE];

		if (read_package(&r, argv[2], found) < 0)
			return 1;
		return puts(found) < 0;
	}
	if (argc != 5) {
		(void)fprintf(stderr, "usage: flip_reader --fingerprint DIR\n"
				      "       flip_reader MOUNT VALID SECONDS READERS\n");
		return 2;
	}
	return run_readers(
		argv[1], argv[2], strtod(argv[3], NULL), (int)strtol(argv[4], NULL, 10));
}
