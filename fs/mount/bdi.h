/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernel's settings of one mount, at /sys/class/bdi/MAJOR:MINOR. */
#pragma once

/* Lets the kernel read up to `kib` KiB ahead of a sequential reader. What this process may not
 * set stays as it is. Asks the mount nothing: it need not be served yet. */
void bdi_set_read_ahead(const char *mountpoint, unsigned int kib);
