/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sync/reconcile/mirror_name.h"

#include "cache/base/data/buffer.h"
#include "cache/base/disk/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define MACHINE_ID_SIZE 40

void mirror_name(const char *mountpoint, char out[MIRROR_NAME_SIZE])
{
	AUTO_BUFFER struct buffer machine = BUFFER_INIT(MACHINE_ID_SIZE);
	struct utsname host = {0};

	(void)uname(&host);
	/* not every machine has one, and the host's name will do */
	if (io_read_file(AT_FDCWD, "/etc/machine-id", &machine) < 0)
		machine.len = 0;
	(void)snprintf(out, MIRROR_NAME_SIZE, "%.*s%s %s", (int)machine.len,
		machine.len ? (const char *)machine.data : "", host.nodename, mountpoint);
}
