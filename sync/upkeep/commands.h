/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs that look after what a mirror has cached; see cache/base/cli.h for what a verb is. */
#pragma once

int cmd_pin(int argc, char **argv);
int cmd_unpin(int argc, char **argv);
int cmd_prefetch(int argc, char **argv);
int cmd_evict(int argc, char **argv);
int cmd_verify(int argc, char **argv);
