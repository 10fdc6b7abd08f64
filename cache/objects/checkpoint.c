/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/objects/checkpoint.h"

#include "cache/base/data/buffer.h"
#include "cache/base/disk/durable.h"
#include "cache/base/disk/io.h"
#include "cache/base/memory.h"
#include "cache/base/threads/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define CHECKPOINT_FILE "checkpoint"
#define OBJECTS_DIR	"objects" /* of cache/objects/object_store.c */
#define BOOT_ID_FILE	"/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LENGTH	36

/* The kernel stamps files with the time of its last tick, of which there are 100 a second or
 * more: what this session lands first may look as much older than its start. */
#define TICK_NS (10 * NS_PER_MS)

#define STATE_OPEN  "open"
#define STATE_ENDED "ended" /* the session has ended and all of it is durable */
#define STATE_CRASHED                                                                    \
	"crashed" /* what is newer than the horizon is in doubt, on any boot */

#define PLACE_SIZE 64

struct checkpoint {
	int dirfd;
	char boot_id[BOOT_ID_LENGTH + 1];
	char place[PLACE_SIZE];
	_Atomic int64_t horizon_ns; /* what was written up to here is durable */
	bool is_after_crash;
	bool is_broken;	    /* a flush has failed: nothing can be vouched for any more */
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

/* Tells the directory from a copy of it: its inode and when that was made. A copy made while
 * a session wrote may hold a partial's bytes from before a piece landed and its bits from
 * after. */
static int read_place(int dirfd, char out[PLACE_SIZE])
{
	struct statx stx;

	if (statx(dirfd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) < 0)
		return -errno;
	if (!(stx.stx_mask & STATX_BTIME))
		stx.stx_btime = (struct statx_timestamp){0};
	(void)snprintf(out, PLACE_SIZE, "%llu:%lld.%09u", (unsigned long long)stx.stx_ino,
		(long long)stx.stx_btime.tv_sec, stx.stx_btime.tv_nsec);
	return 0;
}

/* The file: boot id, horizon, state, place. */
static int write_record(struct checkpoint *c, int64_t horizon_ns, const char *state)
{
	char text[192];
	int len = snprintf(text, sizeof(text), "%s %" PRId64 " %s %s\n", c->boot_id,
		horizon_ns, state, c->place);

	return durable_write(c->dirfd, CHECKPOINT_FILE, text, (size_t)len, 0600);
}

static void parse(struct checkpoint *c, const char *text)
{
	char boot_id[BOOT_ID_LENGTH + 1];
	char state[16];
	char place[PLACE_SIZE];
	char number[24];
	char *end;

	c->is_after_crash = true;
	if (sscanf(text, "%36s %23s %15s %63s", boot_id, number, state, place) != 4)
		return;
	errno = 0;
	int64_t horizon_ns = strtoll(number, &end, 10);

	if (errno || *end)
		return;
	if (strcmp(place, c->place) != 0)
		return; /* it is of the directory that this one was copied from */
	/* a horizon in the future comes from a clock that was wrong: it says nothing */
	c->horizon_ns = horizon_ns > c->started_ns ? 0 : horizon_ns;
	if (strcmp(state, STATE_CRASHED) == 0)
		return; /* a session after the crash has not got through its verification */
	bool is_same_boot = strcmp(boot_id, c->boot_id) == 0 && boot_id[0] != '-';

	c->is_after_crash = !is_same_boot && strcmp(state, STATE_ENDED) != 0;
	if (!c->is_after_crash)
		c->horizon_ns = INT64_MAX;
}

int checkpoint_open(int cache_dirfd, struct checkpoint **out)
{
	AUTO_FREE struct checkpoint *c = mem_calloc(1, sizeof(*c));
	AUTO_BUFFER struct buffer text = BUFFER_INIT(256);

	if (!c)
		return -ENOMEM;
	c->dirfd = cache_dirfd;
	c->started_ns = clock_real_ns() - TICK_NS;
	c->started_mono_ns = clock_mono_ns();
	read_boot_id(c->boot_id);
	int r = read_place(cache_dirfd, c->place);

	if (r == 0)
		r = io_read_file(cache_dirfd, CHECKPOINT_FILE, &text);
	if (r < 0 && r != -ENOENT && r != -EFBIG)
		return r;
	if (r == -ENOENT && faccessat(cache_dirfd, OBJECTS_DIR, F_OK, 0) < 0)
		c->horizon_ns = INT64_MAX; /* a new cache: there is nothing to doubt */
	else
		parse(c, r == 0 && buffer_add(&text, "", 1) == 0 ? (const char *)text.data
								 : "");
	/* from now on a crash is a crash: the old record may not say that all ended well */
	r = write_record(c, c->horizon_ns == INT64_MAX ? c->started_ns : c->horizon_ns,
		c->is_after_crash ? STATE_CRASHED : STATE_OPEN);
	if (r < 0 && r != -ENOSPC && r != -EDQUOT)
		return r;
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

	return mtime_ns >= c->started_ns &&
	       mtime_ns <= c->started_ns + TICK_NS + elapsed_ns;
}

bool checkpoint_is_after_crash(const struct checkpoint *c)
{
	return c->is_after_crash;
}

void checkpoint_settle(struct checkpoint *c)
{
	c->horizon_ns = INT64_MAX;
}

int checkpoint_write(struct checkpoint *c, bool is_last)
{
	/* what is stamped within the tick that the flush begins in may come after it */
	int64_t horizon_ns = clock_real_ns() - TICK_NS;

	/* a record now would vouch for what is still in doubt */
	if (c->horizon_ns != INT64_MAX || c->is_broken)
		return 0;
	if (syncfs(c->dirfd) < 0) {
		int r = -errno;

		/* the kernel tells of lost data once: a later success means nothing */
		c->is_broken = true;
		(void)write_record(c, 0, STATE_CRASHED);
		return r;
	}
	return write_record(c, horizon_ns, is_last ? STATE_ENDED : STATE_OPEN);
}
