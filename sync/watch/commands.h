/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs that speak to a mirror's daemon; see cache/base/cli.h for what a verb is. */
#pragma once

int cmd_status(int argc, char **argv);
int cmd_umount(int argc, char **argv);
