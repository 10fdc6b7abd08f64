/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/policy_fetch.h"

#include "cache/base/disk/durable.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER	  "policy"
#define NAME_SIZE (sizeof(FOLDER) + CHANNEL_NAME_MAX + 2)

static int check(const struct policy_ref *ref, const struct buffer *text)
{
	struct digest digest;

	if (text->len != ref->bytes)
		return -EBADMSG;
	int r = digest_of(text->data, text->len, &digest);

	if (r == 0 && !digest_equal(&digest, &ref->digest))
		r = -EBADMSG;
	return r;
}

static int read_kept(int dirfd, const struct head *head, struct buffer *out)
{
	char name[NAME_SIZE];

	(void)snprintf(name, sizeof(name), FOLDER "/%s", head->channel);
	int r = io_read_file(dirfd, name, out);

	return r == 0 ? check(&head->policy, out) : r;
}

static void keep(int dirfd, const struct head *head, const struct buffer *text)
{
	char name[NAME_SIZE];
	int r = 0;

	(void)snprintf(name, sizeof(name), FOLDER "/%s", head->channel);
	if (mkdirat(dirfd, FOLDER, 0755) < 0 && errno != EEXIST)
		r = -errno;
	AUTO_CLOSE int fd = openat(dirfd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (r == 0)
		r = fd < 0 ? -errno : durable_sweep(fd);
	if (r == 0)
		r = durable_write(dirfd, name, text->data, text->len, 0644);
	if (r < 0)
		log_warn("cannot keep the policy of channel %s in the cache directory: "
			 "%s",
			head->channel, log_strerror(r));
}

static int ask_sources(struct fetcher *fetcher, const struct head *head,
	struct buffer *out, char words[POLICY_FETCH_REASON_SIZE])
{
	char reason[TRANSFER_REASON_SIZE];
	char object[sizeof(FOLDER) + DIGEST_HEX_SIZE + 4];
	char hex[DIGEST_HEX_SIZE];
	int error = -EHOSTUNREACH;

	digest_to_hex(&head->policy.digest, hex);
	(void)snprintf(object, sizeof(object), FOLDER "/%.2s/%s", hex, hex);
	for (size_t i = 0; i < fetcher_site_count(fetcher); i++) {
		out->len = 0;
		int r = fetcher_fetch_small_from(
			fetcher, i, object, (size_t)head->policy.bytes, 0, out, reason);

		if (r == 0)
			r = check(&head->policy, out);
		if (r == 0 || r == -ENOMEM || r == -ECANCELED)
			return r;
		if (r == -EBADMSG || r == -EPROTO) {
			error = -EBADMSG;
			(void)snprintf(words, POLICY_FETCH_REASON_SIZE,
				"%s from %s has other bytes than the head names", object,
				fetcher_site_name(fetcher, i));
		} else if (error == -EHOSTUNREACH) {
			error = r == -ENOENT ? r : error;
		}
	}
	if (error != -EBADMSG)
		(void)snprintf(words, POLICY_FETCH_REASON_SIZE, "%s: %s", object,
			log_strerror(error));
	return error;
}

int policy_fetch(struct fetcher *fetcher, const struct head *head, int cache_dirfd,
	struct policy *out, char words[POLICY_FETCH_REASON_SIZE])
{
	struct buffer text AUTO_BUFFER = BUFFER_INIT(POLICY_MAX_BYTES);
	char reason[TEXT_REASON_SIZE];
	bool is_kept;

	if (!head->policy.bytes) {
		*out = (struct policy){0};
		return 0;
	}
	int r = read_kept(cache_dirfd, head, &text);

	is_kept = r == 0;
	(void)snprintf(words, POLICY_FETCH_REASON_SIZE, "%s", log_strerror(r));
	if (r < 0 && r != -ENOMEM)
		r = ask_sources(fetcher, head, &text, words);
	if (r < 0)
		return r;
	r = policy_parse((const char *)text.data, text.len, out, reason);
	if (r < 0)
		(void)snprintf(words, POLICY_FETCH_REASON_SIZE, "%s",
			r == -EINVAL ? reason : log_strerror(r));
	if (r == 0 && !is_kept)
		keep(cache_dirfd, head, &text);
	return r;
}
