/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/master/check/check.h"

#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "sync/master/check/check_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

void check_report_release(struct check_report *report)
{
	free(report->faults);
	*report = (struct check_report){0};
}

void check_fault_add(struct check *c, const char *object, const char *fmt, ...)
{
	struct check_fault fault;
	va_list args;

	(void)snprintf(fault.object, sizeof(fault.object), "%s", object);
	va_start(args, fmt);
	(void)vsnprintf(fault.text, sizeof(fault.text), fmt, args);
	va_end(args);
	mutex_lock(&c->lock);
	int r = mem_grow((void **)&c->report.faults, &c->fault_capacity,
		c->report.fault_count, sizeof(*c->report.faults));

	if (r == 0)
		c->report.faults[c->report.fault_count++] = fault;
	else if (!c->error)
		c->error = r;
	mutex_unlock(&c->lock);
}

static int compare_digests(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST_SIZE);
}

struct checked_pack *check_find_pack(const struct check *c, const struct digest *digest)
{
	/* the digest is the first member of what is searched */
	return c->pack_count ? bsearch(digest, c->packs, c->pack_count, sizeof(*c->packs),
				       compare_digests)
			     : NULL;
}

static bool is_known(const struct check *c, const char *kind, const struct digest *digest,
	const struct catalog_ref *sorted)
{
	if (strcmp(kind, "pack") == 0)
		return check_find_pack(c, digest) != NULL;
	if (strcmp(kind, "policy") == 0) {
		size_t i = 0;

		while (i < c->policy_count && !digest_equal(&c->policies[i], digest))
			i++;
		return i < c->policy_count;
	}
	return c->catalog_count && bsearch(digest, sorted, c->catalog_count,
					   sizeof(*sorted), compare_digests) != NULL;
}

static int count_orphans_in(struct check *c, const char *kind, const char *folder)
{
	char path[DEPOT_OBJECT_SIZE];

	(void)snprintf(path, sizeof(path), "%s/%.2s", kind, folder);
	int fd = openat(c->depot->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir) {
		cleanup_close(&fd);
		return errno == ENOTDIR ? 0 : -errno;
	}
	while ((d = readdir(dir))) {
		struct digest digest;
		struct stat st;

		if (d->d_name[0] == '.')
			continue;
		if (strlen(d->d_name) == DIGEST_HEX_SIZE - 1 &&
			digest_from_hex(d->d_name, &digest) == 0 &&
			is_known(c, kind, &digest, c->catalogs))
			continue;
		c->report.orphans++;
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			c->report.orphan_bytes += (uint64_t)st.st_size;
	}
	(void)closedir(dir);
	return 0;
}

int check_orphans(struct check *c)
{
	static const char *const kinds[] = {"catalog", "pack", "policy"};

	if (c->catalog_count)
		qsort(c->catalogs, c->catalog_count, sizeof(*c->catalogs),
			compare_digests);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int fd = openat(
			c->depot->fd, kinds[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *dir = fd < 0 ? NULL : fdopendir(fd);
		const struct dirent *d;
		int r = 0;

		if (!dir) {
			cleanup_close(&fd);
			/* depots from before there were policies */
			if (strcmp(kinds[i], "policy") == 0)
				continue;
			check_fault_add(c, kinds[i],
				"the directory is missing; a copy of the "
				"depot has to hold it");
			continue;
		}
		while (r == 0 && (d = readdir(dir))) {
			if (d->d_name[0] != '.')
				r = count_orphans_in(c, kinds[i], d->d_name);
		}
		(void)closedir(dir);
		if (r < 0)
			return log_error_errno(r, "cannot list %s/%s: %s", c->depot->path,
				kinds[i], log_strerror(r));
	}
	return 0;
}

static int load_trust(struct check *c, const char *key_path)
{
	int r = depot_trust(c->depot, key_path, &c->trust);

	if (r == -EBADMSG || r == -EKEYREJECTED || r == -ENOENT)
		check_fault_add(c, DEPOT_TRUST,
			"%s; restore it from a copy, or name the "
			"right public key with --key",
			log_strerror(r));
	return r;
}

static void release(struct check *c)
{
	free(c->catalogs);
	free(c->packs);
	free(c->policies);
	check_report_release(&c->report);
	depot_close(c->depot);
	mutex_release(&c->lock);
}

static int run(struct check *c, const char *key_path)
{
	struct catalog_graph *graph = NULL;
	int r = load_trust(c, key_path);

	/* nothing else can be believed then: the fault is the report */
	if (r == -EBADMSG || r == -EKEYREJECTED)
		return 0;
	if (r == 0)
		r = catalog_graph_new(c->depot, &graph);
	if (r < 0)
		return r;
	r = check_records(c, graph);
	if (r == 0)
		r = check_catalogs(c, graph);
	catalog_graph_free(graph);
	if (r == 0)
		r = check_packs(c);
	if (r == 0 && c->is_deep)
		r = check_contents(c);
	if (r == 0)
		r = check_orphans(c);
	return r == 0 ? c->error : r;
}

int check_depot(const char *path, const char *key_path, bool is_deep,
	unsigned int threads, struct check_report *out)
{
	struct check c CLEANUP(release) = {
		.is_deep = is_deep, .threads = threads, .lock = MUTEX_INIT};
	int r = depot_open(path, &c.depot);

	if (r == 0)
		r = run(&c, key_path);
	if (r < 0)
		return r;
	*out = c.report;
	c.report = (struct check_report){0};
	return 0;
}
