/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The verb `mount`: see `depotfs mount --help`. Returns when the daemon is up, or with -f when
 * the mount has ended. */
int cmd_mount(int argc, char **argv);
