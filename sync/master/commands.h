/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The publisher's verbs; see cache/base/cli.h for what a verb is. */
#pragma once

int cmd_init(int argc, char **argv);
int cmd_publish(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_check(int argc, char **argv);
