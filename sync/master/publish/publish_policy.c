/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A channel's policy: a new head for the revision that it names. */
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/threads/clock.h"
#include "sync/master/publish/publish_state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define TMP_NAME "policy"

/* Depots from before there were policies have no such directory. */
static int make_folder(const struct publish *p)
{
	if (mkdirat(p->depot->fd, "policy", 0755) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (fchmodat(p->depot->fd, "policy", 0755, 0) < 0 || fsync(p->depot->fd) < 0)
		return -errno;
	return 0;
}

static int write_text(const struct publish *p, const void *text, size_t len)
{
	AUTO_CLOSE int fd = openat(
		p->tmp_fd, TMP_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	int r = fchmod(fd, 0644) < 0 ? -errno : io_write(fd, text, len);

	if (r < 0)
		return r;
	return close(TAKE_FD(fd)) < 0 ? -errno : 0;
}

static int store(struct publish *p, const void *text, size_t len)
{
	int r = make_folder(p);

	if (r == 0)
		r = write_text(p, text, len);
	if (r < 0)
		return log_error_errno(r, "cannot write the policy into %s: %s%s",
			p->depot->path, log_strerror(r),
			r == -ENOSPC ? "; make room and set it again" : "");
	r = staging_add(p->staging, "policy", &p->policy.digest, TMP_NAME);
	return r == 0 ? staging_install(p->staging) : r;
}

/* It lives as long from now on as the present one was given. */
static int write_head(struct publish *p)
{
	const struct head *present = &p->head;
	int64_t now_ns = clock_real_ns();
	const struct head draft = {.revision = present->revision,
		.root = present->root,
		.published_ns = now_ns,
		.expires_ns = present->expires_ns ? now_ns + present->expires_ns -
							    present->published_ns
						  : 0};

	return publish_write_head(p, &draft);
}

int publish_policy(const struct publish_options *options, const void *text, size_t len,
	bool *out_is_changed)
{
	struct publish_report report = {0};
	struct publish p CLEANUP(publish_release) = PUBLISH_INIT(options);
	struct policy_ref ref = {.bytes = len};

	p.report = &report;
	int r = len ? digest_of(text, len, &ref.digest) : 0;

	if (r == 0)
		r = publish_open(&p);
	if (r < 0)
		return r;
	if (!p.head.sequence)
		return log_error_errno(-ENOENT,
			"channel %s of %s has no head that a policy could be added to; "
			"publish to it first",
			options->channel, options->depot);
	/* a head from an old copy of the depot: another one would take its revision back, too */
	if (p.head.sequence < p.last_sequence)
		return log_error_errno(-ESTALE,
			"the head of channel %s in %s is older than the last one that "
			"was "
			"published; publish to it first",
			options->channel, options->depot);
	bool is_changed = ref.bytes != p.head.policy.bytes ||
			  !digest_equal(&ref.digest, &p.head.policy.digest);

	p.policy = ref;
	/* set again, it mends a file that was lost */
	if (len)
		r = store(&p, text, len);
	if (r == 0 && is_changed)
		r = write_head(&p);
	if (r == 0)
		*out_is_changed = is_changed;
	return r;
}
