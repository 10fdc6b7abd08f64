/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs that tell of runs and packages; see cache/base/cli.h for what a verb is. */
#pragma once

int cmd_history(int argc, char **argv);
int cmd_report(int argc, char **argv);
