/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/bdi.h"

#include "cache/base/disk/io.h"
#include "cache/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void bdi_set_read_ahead(const char *mountpoint, unsigned int kib)
{
	char path[64];
	char value[16];
	struct statx stx;

	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stx) <
		0)
		return;
	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		stx.stx_dev_major, stx.stx_dev_minor);
	(void)snprintf(value, sizeof(value), "%u\n", kib);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : io_write(fd, value, strlen(value));

	if (r < 0)
		log_debug("%s: %s", path, log_strerror(r));
}
