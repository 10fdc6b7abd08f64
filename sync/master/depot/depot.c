/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/depot/depot.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "cache/catalog/stored/catalog_codec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_NAME_SIZE 96

int depot_open(const char *path, struct depot **out)
{
	struct stat st;
	AUTO_FREE struct depot *d = mem_calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return log_error_errno(-errno, "cannot open the depot %s: %s", path,
			log_strerror(errno));
	if (fstatat(fd, DEPOT_TRUST, &st, 0) < 0)
		return log_error_errno(-errno,
			"%s is not a depot (it has no readable trust document: %s); "
			"'depotfs init' makes one",
			path, log_strerror(errno));
	d->fd = TAKE_FD(fd);
	d->path = path;
	*out = TAKE_PTR(d);
	return 0;
}

void depot_close(struct depot *depot)
{
	if (!depot)
		return;
	close(depot->fd);
	free(depot);
}

int depot_trust_by(const struct depot *depot, const struct key_ring *ring,
	const char *origin, struct trust *out)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	int r = io_read_file(depot->fd, DEPOT_TRUST, &text);

	if (r == 0)
		r = trust_decode(text.data, text.len, ring, out);
	if (r < 0)
		return log_error_errno(r,
			"cannot trust %s/" DEPOT_TRUST ": %s; is %s this depot's key?",
			depot->path, log_strerror(r), origin);
	return 0;
}

int depot_trust(const struct depot *depot, const char *key_path, struct trust *out)
{
	struct key_ring ring = {0};
	AUTO_FREE char *default_path = NULL;

	if (!key_path) {
		size_t size = strlen(depot->path) + sizeof("/" DEPOT_TRUSTED_KEYS);

		default_path = mem_alloc(size);
		if (!default_path)
			return -ENOMEM;
		(void)snprintf(default_path, size, "%s/" DEPOT_TRUSTED_KEYS, depot->path);
		key_path = default_path;
	}
	int r = key_ring_load(key_path, &ring);

	if (r < 0)
		return log_error_errno(r,
			"cannot read the public key %s: %s; name it with --key", key_path,
			log_strerror(r));
	return depot_trust_by(depot, &ring, key_path, out);
}

void depot_object_name(
	const char *kind, const struct digest *digest, char out[DEPOT_OBJECT_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_to_hex(digest, hex);
	(void)snprintf(out, DEPOT_OBJECT_SIZE, "%.8s/%.2s/%s", kind, hex, hex);
}

static int record_error(const struct depot *depot, const char *name, int r)
{
	return log_error_errno(
		r, "cannot use %s/%s: %s", depot->path, name, log_strerror(r));
}

int depot_head(const struct depot *depot, const struct trust *trust, const char *channel,
	struct head *out)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	char name[RECORD_NAME_SIZE];
	struct head head;

	(void)snprintf(name, sizeof(name), "channel/%s", channel);
	int r = io_read_file(depot->fd, name, &text);

	if (r == 0)
		r = head_decode(text.data, text.len, trust, &head);
	if (r == 0 && strcmp(head.channel, channel) != 0)
		r = -EBADMSG;
	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	*out = head;
	return 0;
}

static int read_revision(const struct depot *depot, const struct trust *trust,
	uint64_t number, struct revision *out, struct digest *out_digest)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(RECORD_MAX_BYTES);
	char name[RECORD_NAME_SIZE];
	struct revision revision;
	struct digest digest;

	(void)snprintf(name, sizeof(name), "revision/%" PRIu64, number);
	int r = io_read_file(depot->fd, name, &text);

	if (r == 0)
		r = revision_decode(text.data, text.len, trust, &revision);
	if (r == 0 && revision.number != number)
		r = -EBADMSG;
	if (r == 0)
		r = digest_of(text.data, text.len, &digest);
	if (r < 0)
		return r;
	*out = revision;
	*out_digest = digest;
	return 0;
}

int depot_revision(const struct depot *depot, const struct trust *trust, uint64_t number,
	struct revision *out, struct digest *out_digest)
{
	char name[RECORD_NAME_SIZE];
	int r = read_revision(depot, trust, number, out, out_digest);

	if (r == 0 || r == -ENOENT)
		return r;
	(void)snprintf(name, sizeof(name), "revision/%" PRIu64, number);
	return record_error(depot, name, r);
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static DIR *open_list(const struct depot *depot, const char *name)
{
	int fd = openat(depot->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

/* All numbers that stand as names in revision/, sorted. */
static int list_numbers(const struct depot *depot, uint64_t **out, size_t *out_count)
{
	DIR *dir CLEANUP(cleanup_dir) = open_list(depot, "revision");
	AUTO_FREE uint64_t *list = NULL;
	size_t capacity = 0;
	size_t count = 0;

	if (!dir)
		return record_error(depot, "revision", -errno);
	for (;;) {
		unsigned long long n;

		errno = 0;
		const struct dirent *d = readdir(dir);

		if (!d && errno)
			return record_error(depot, "revision", -errno);
		if (!d)
			break;
		if (d->d_name[0] == '0' || io_parse_u64(d->d_name, &n) < 0)
			continue;
		int r = mem_grow((void **)&list, &capacity, count, sizeof(*list));

		if (r < 0)
			return r;
		list[count++] = n;
	}
	if (count)
		qsort(list, count, sizeof(*list), compare_numbers);
	*out = TAKE_PTR(list);
	*out_count = count;
	return 0;
}

int depot_latest_number(
	const struct depot *depot, const struct trust *trust, uint64_t *out)
{
	AUTO_FREE uint64_t *list = NULL;
	size_t count = 0;
	int r = list_numbers(depot, &list, &count);
	size_t last = count; /* of a run without a gap; one past it */

	if (r < 0)
		return r;
	/* revisions follow each other: one sound record vouches for the run it is in, so that a
	 * damaged newest one is noticed, and one name out of nowhere is not believed */
	for (size_t i = count; i-- > 0;) {
		struct revision revision;
		struct digest digest;

		r = read_revision(depot, trust, list[i], &revision, &digest);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			break;
		if (i == 0 || list[i - 1] + 1 == list[i])
			continue;
		log_warn("%s/revision/%" PRIu64 " is no revision of this depot (%s); "
			 "remove it",
			depot->path, list[last - 1], log_strerror(r));
		last = i;
	}
	*out = last ? list[last - 1] : 0;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const char *const *x = a;
	const char *const *y = b;

	return strcmp(*x, *y);
}

int depot_channels(const struct depot *depot, char ***out, size_t *out_count)
{
	DIR *dir CLEANUP(cleanup_dir) = open_list(depot, "channel");
	char **names = NULL;
	size_t count = 0;
	size_t capacity = 0;
	int r = dir ? 0 : record_error(depot, "channel", -errno);

	while (r == 0) {
		errno = 0;
		const struct dirent *d = readdir(dir);

		if (!d) {
			r = errno ? record_error(depot, "channel", -errno) : 0;
			break;
		}
		/* temporary files of an interrupted write are nobody's channel */
		if (!record_name_is_valid(d->d_name) || strstr(d->d_name, ".tmp"))
			continue;
		r = mem_grow((void **)&names, &capacity, count, sizeof(char *));
		if (r == 0)
			names[count] = mem_strdup(d->d_name);
		if (r == 0 && !names[count++])
			r = -ENOMEM;
	}
	if (r < 0) {
		depot_channels_free(names, count);
		return r;
	}
	if (count)
		qsort(names, count, sizeof(char *), compare_names);
	*out = names;
	*out_count = count;
	return 0;
}

void depot_channels_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

int depot_catalog(
	const struct depot *depot, const struct catalog_ref *ref, struct catalog **out)
{
	char name[DEPOT_OBJECT_SIZE];
	struct digest digest;
	const char *reason = NULL;
	struct catalog *c = NULL;
	int r = 0;

	depot_object_name("catalog", &ref->digest, name);
	if (ref->raw_bytes > CATALOG_MAX_BYTES || ref->stored_bytes > CATALOG_MAX_BYTES)
		return record_error(depot, name, -EBADMSG);
	struct buffer stored AUTO_BUFFER = BUFFER_INIT(ref->stored_bytes);
	AUTO_FREE void *raw = mem_alloc(ref->raw_bytes);

	if (!raw)
		return -ENOMEM;
	r = io_read_file(depot->fd, name, &stored);
	if (r == -EFBIG || (r == 0 && stored.len != ref->stored_bytes))
		r = -EBADMSG;
	if (r == 0)
		r = catalog_decode(stored.data, stored.len, raw, ref->raw_bytes);
	if (r == 0)
		r = digest_of(raw, ref->raw_bytes, &digest);
	if (r == 0 && !digest_equal(&digest, &ref->digest))
		r = -EBADMSG;
	if (r == 0)
		r = catalog_open_memory(raw, ref->raw_bytes, &c, &reason);
	if (r == 0)
		raw = NULL; /* the catalog has it */
	if (r == 0 && catalog_is_composed(c)) {
		catalog_close(c);
		reason = "it was composed by a mirror";
		r = -EBADMSG;
	}
	if (r < 0)
		return log_error_errno(r, "cannot use %s/%s: %s%s%s", depot->path, name,
			log_strerror(r), reason ? ": " : "", reason ? reason : "");
	*out = c;
	return 0;
}

int depot_policy(
	const struct depot *depot, const struct policy_ref *ref, struct buffer *out)
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(POLICY_MAX_BYTES);
	char name[DEPOT_OBJECT_SIZE];
	struct digest digest;

	depot_object_name("policy", &ref->digest, name);
	int r = io_read_file(depot->fd, name, &text);

	if (r == -EFBIG || (r == 0 && text.len != ref->bytes))
		r = -EBADMSG;
	if (r == 0)
		r = digest_of(text.data, text.len, &digest);
	if (r == 0 && !digest_equal(&digest, &ref->digest))
		r = -EBADMSG;
	return r == 0 ? buffer_add(out, text.data, text.len) : r;
}

int depot_has_object(const struct depot *depot, const char *kind,
	const struct digest *digest, uint64_t bytes)
{
	char name[DEPOT_OBJECT_SIZE];
	struct stat st;

	depot_object_name(kind, digest, name);
	if (fstatat(depot->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes ? 0 : -EBADMSG;
}
