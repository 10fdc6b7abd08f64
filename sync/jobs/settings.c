/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/jobs/settings.h"

#include "cache/base/data/buffer.h"
#include "cache/base/disk/io.h"
#include "cache/base/log.h"
#include "cache/base/memory.h"
#include "sync/jobs/policy/prefetch_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#define FILE_MAX_BYTES (1024 * 1024)

const char settings_help[] =
	"  -o conf=FILE      more settings ([mirror]), schedules and windows: an INI "
	"file\n"
	"  -o poll=SEC       how often the channel is asked for news (60; 0: never)\n"
	"  -o on_change=MODE what news start: incremental, full, none, or auto: "
	"incremental\n"
	"                    unless there is a schedule (the default)\n"
	"  -o prefetch=WHAT  what a sync fetches ahead: none, all, GLOBs over paths, or "
	"cached:\n"
	"                    what the mirror held of the old version (the default)\n"
	"  -o label=WORDS    how the master's policy knows this mirror: site:oslo\n"
	"  -o guard_share=PERCENT, guard_count=N\n"
	"                    a full sync that would remove more entries stops (25; "
	"none)\n"
	"  -o pre_sync=FILE, post_sync=FILE, hook_timeout=SEC\n"
	"                    programs run before and after a sync (600)\n"
	"  -o logdir=DIR     a log for each run, kept as long as the history\n";

enum kind { SECONDS, PERCENT, COUNT, PREFETCH, PATH, CHANGE, LABELS };

static const struct {
	const char *name;
	enum kind kind;
	size_t at;
} names[] = {
	{"poll", SECONDS, offsetof(struct settings, poll_sec)},
	{"on_change", CHANGE, offsetof(struct settings, on_change)},
	{"prefetch", PREFETCH, offsetof(struct settings, prefetch)},
	{"label", LABELS, offsetof(struct settings, labels)},
	{"guard_share", PERCENT, offsetof(struct settings, guard_share)},
	{"guard_count", COUNT, offsetof(struct settings, guard_count)},
	{"pre_sync", PATH, offsetof(struct settings, pre_sync)},
	{"post_sync", PATH, offsetof(struct settings, post_sync)},
	{"hook_timeout", SECONDS, offsetof(struct settings, hook_timeout_sec)},
	{"logdir", PATH, offsetof(struct settings, logdir)},
};

int settings_init(struct settings *s)
{
	*s = (struct settings){
		.poll_sec = SETTINGS_POLL_DEFAULT_SEC,
		.guard_share = SETTINGS_GUARD_SHARE,
		.hook_timeout_sec = 600,
		.prefetch = mem_strdup("cached"),
	};
	return s->prefetch ? 0 : -ENOMEM;
}

static void release_labels(struct settings *s)
{
	for (size_t i = 0; i < s->label_count; i++)
		free(s->labels[i]);
	free(s->labels);
	s->labels = NULL;
	s->label_count = 0;
}

void settings_release(struct settings *s)
{
	free(s->prefetch);
	release_labels(s);
	free(s->pre_sync);
	free(s->post_sync);
	free(s->logdir);
	policy_release(&s->local);
	*s = (struct settings){0};
}

static int set_number(unsigned long long max, const char *name, const char *value,
	unsigned long long *out, char reason[TEXT_REASON_SIZE])
{
	if (io_parse_u64(value, out) < 0 || *out > max)
		return words_refuse(reason, "%s=%s: a number from 0 to %llu is wanted",
			name, value, max);
	return 0;
}

static int set_change(enum on_change *slot, const char *value, char *reason)
{
	static const char *const words[] = {"auto", "none", "incremental", "full"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i], value) == 0) {
			*slot = (enum on_change)i;
			return 0;
		}
	return words_refuse(
		reason, "on_change=%s: auto, none, incremental or full is wanted", value);
}

/* Words, in place of those before. */
static int set_labels(struct settings *s, const char *value, char *reason)
{
	AUTO_FREE char *copy = mem_strdup(value);
	char *rest = copy;
	char *word;

	if (!copy)
		return -ENOMEM;
	release_labels(s);
	s->labels = mem_calloc(strlen(value) / 2 + 1, sizeof(*s->labels));
	if (!s->labels)
		return -ENOMEM;
	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		if (!policy_label_is_valid(word))
			return words_refuse(reason,
				"label=%s: small letters, digits and '.', '_', ':', '-' "
				"are wanted",
				word);
		s->labels[s->label_count] = mem_strdup(word);
		if (!s->labels[s->label_count])
			return -ENOMEM;
		s->label_count++;
	}
	return 0;
}

static int set_member(struct settings *s, size_t i, const char *value, char *reason)
{
	char *at = (char *)s + names[i].at;
	unsigned long long number;
	int r;

	switch (names[i].kind) {
	case SECONDS:
	case PERCENT:
		r = set_number(names[i].kind == PERCENT ? 100 : 86400, names[i].name,
			value, &number, reason);
		if (r == 0)
			*(unsigned int *)(void *)at = (unsigned int)number;
		return r;
	case COUNT:
		r = set_number(UINT32_MAX, names[i].name, value, &number, reason);
		if (r == 0)
			*(uint64_t *)(void *)at = number;
		return r;
	case CHANGE:
		return set_change((enum on_change *)(void *)at, value, reason);
	case PATH:
		if (*value != '/')
			return words_refuse(reason, "%s=%s: an absolute path is wanted",
				names[i].name, value);
		return mem_set_text((char **)(void *)at, value);
	case LABELS:
		return set_labels(s, value, reason);
	case PREFETCH:
		r = prefetch_text_check(value, reason);
		return r < 0 ? r : mem_set_text((char **)(void *)at, value);
	}
	return -EINVAL;
}

static size_t find_name(const char *name)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(names) && strcmp(names[i].name, name) != 0)
		i++;
	return i;
}

int settings_set(struct settings *s, const char *name, const char *value,
	char reason[TEXT_REASON_SIZE])
{
	size_t i = find_name(name);

	if (i == ARRAY_SIZE(names))
		return -ENOENT;
	int r = set_member(s, i, value, reason);

	if (r == 0)
		s->given |= UINT32_C(1) << i;
	return r;
}

/* A line of the file outside of schedules and windows. */
static int read_line(void *context, const char *section, const char *key,
	const char *value, char reason[TEXT_REASON_SIZE])
{
	struct settings *s = context;
	size_t i = find_name(key);

	if (strcmp(section, "mirror") != 0)
		return words_refuse(reason,
			"there is no section '%s': [mirror], [schedule NAME] or "
			"[windows NAME] is wanted",
			section);
	if (i == ARRAY_SIZE(names))
		return words_refuse(reason, "there is no setting '%s'", key);
	if (s->given & UINT32_C(1) << i)
		return 0; /* the command line's counts */
	return set_member(s, i, value, reason);
}

int settings_read(struct settings *s, const char *path, char reason[TEXT_REASON_SIZE])
{
	AUTO_BUFFER struct buffer text = BUFFER_INIT(FILE_MAX_BYTES);
	struct policy local;
	int r = io_read_regular(AT_FDCWD, path, &text);

	if (r == -EINVAL)
		return words_refuse(reason, "it is no regular file");
	if (r < 0) {
		(void)words_refuse(reason, "%s", log_strerror(r));
		return r;
	}
	r = policy_parse_config(
		(const char *)text.data, text.len, read_line, s, &local, reason);
	if (r < 0)
		return r;
	policy_release(&s->local);
	s->local = local;
	return 0;
}
