/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/checkpoint.h"

#include "cache/base/buffer.h"
#include "cache/base/clock.h"
#include "cache/base/durable.h"
#include "cache/base/io.h"
#include "cache/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define CHECKPOINT_FILE "checkpoint"
#define BOOT_ID_FILE	"/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LENGTH	36

/* The kernel stamps files with the time of its last tick, of which there are 100 a second or
 * more: what this session lands first may look as much older than its start. */
#define TICK_NS (10 * NS_PER_MS)

struct checkpoint {
	int dirfd;
	char boot_id[BOOT_ID_LENGTH + 1];
	_Atomic int64_t horizon_ns; /* what was written up to here is durable */
	int64_t started_ns; /* what lies between this and now was landed by this session */
	int64_t started_mono_ns;
};

static void read_boot_id(char out[BOOT_ID_LENGTH + 1])
{
	AUTO_CLOSE int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);

	memset(out, '-', BOOT_ID_LENGTH);
	out[BOOT_ID_LENGTH] = '\0';
	if (fd >= 0 && io_read(fd, out, BOOT_ID_LENGTH) != BOOT_ID_LENGTH)
		out[0] = '-';
}

int checkpoint_open(int cache_dirfd, struct checkpoint **out)
{
	AUTO_FREE struct checkpoint *c = mem_calloc(1, sizeof(*c));
	AUTO_BUFFER struct buffer text = BUFFER_INIT(256);

	if (!c)
		return -ENOMEM;
	c->dirfd = cache_dirfd;
	c->started_ns = clock_real_ns() - TICK_NS;
	read_boot_id(c->boot_id);
	int r = io_read_file(cache_dirfd, CHECKPOINT_FILE, &text);

	if (r < 0 && r != -ENOENT && r != -EFBIG)
		return r;
	char boot_id[BOOT_ID_LENGTH + 1] = "";
	int64_t horizon_ns = 0;

	if (r == 0 && buffer_add(&text, "", 1) == 0 &&
			sscanf((const char *)text.data, "%36s %" SCNd64, boot_id,
					&horizon_ns) == 2) {
		/* a horizon in the future comes from a clock that was wrong: it says nothing */
		c->horizon_ns = horizon_ns > c->started_ns ? 0 : horizon_ns;
		if (strcmp(boot_id, c->boot_id) == 0 && boot_id[0] != '-')
			c->horizon_ns = INT64_MAX;
	}
	*out = TAKE_PTR(c);
	return 0;
}

void checkpoint_free(struct checkpoint *c)
{
	free(c);
}

bool checkpoint_is_doubtful(const struct checkpoint *c, int64_t mtime_ns)
{
	return mtime_ns > c->horizon_ns && !checkpoint_is_new(c, mtime_ns);
}

/* What comes from the future was landed when the clock was another: not by this session. The
 * future begins where an undisturbed clock would stand; a step forward does not move it. */
bool checkpoint_is_new(const struct checkpoint *c, int64_t mtime_ns)
{
	int64_t elapsed_ns = clock_mono_ns() - c->started_mono_ns;

	return mtime_ns >= c->started_ns && mtime_ns <= c->started_ns + elapsed_ns;
}

void checkpoint_settle(struct checkpoint *c)
{
	c->horizon_ns = INT64_MAX;
}

int checkpoint_write(struct checkpoint *c)
{
	char text[128];
	int64_t now_ns = clock_real_ns();

	/* a record of this boot would vouch for what is still in doubt */
	if (c->horizon_ns != INT64_MAX)
		return 0;
	if (syncfs(c->dirfd) < 0)
		return -errno;
	int len = snprintf(text, sizeof(text), "%s %" PRId64 "\n", c->boot_id, now_ns);

	return durable_write(c->dirfd, CHECKPOINT_FILE, text, (size_t)len, 0600);
}
